//! The prompt, through a pseudo-terminal: what is typed, and the screens that come of it.

use expectrl::session::OsSession;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const COLUMNS: u16 = 100;
const ROWS: u16 = 50;
const PATIENCE: Duration = Duration::from_secs(30);

/// A shell with its terminal.
struct Terminal {
    session: OsSession,
    screen: vt100::Parser,
    /// The end of what was read, in which a question may have begun.
    tail: Vec<u8>,
}

/// Where is the cursor?
const ASKED: &[u8] = b"\x1b[6n";

impl Terminal {
    fn new(home: &Path) -> Self {
        Self::with(home, &[])
    }

    fn with(home: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nabla"));
        command.arg(home.join("db")).env("HOME", home).env("TERM", "xterm-256color").env("PAGER", "cat").env("XDG_CONFIG_HOME", home);
        command.env_remove("NABLA_HISTORY").env_remove("NABLA_CONFIG").env_remove("NO_COLOR").envs(variables.iter().copied());
        let mut session = OsSession::spawn(command).expect("a pseudo-terminal");
        session.get_process_mut().set_window_size(COLUMNS, ROWS).expect("a size");
        let mut terminal = Self { session, screen: vt100::Parser::new(ROWS, COLUMNS, 0), tail: vec![] };
        terminal.until(|screen| screen.contains("nabla>"));
        terminal
    }

    /// Takes what has been written; answers whoever asks where the cursor is.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.session.try_read(&mut bytes) {
            self.screen.process(&bytes[..count]);
            self.tail.extend_from_slice(&bytes[..count]);
            let asked = self.tail.windows(ASKED.len()).any(|window| window == ASKED);
            self.tail.drain(..if asked { self.tail.len() } else { self.tail.len().saturating_sub(ASKED.len() - 1) });
            if asked {
                let (row, column) = self.screen.screen().cursor_position();
                write!(self.session, "\x1b[{};{}R", row + 1, column + 1).expect("an answer");
            }
        }
    }

    /// The screen, as soon as it is as it should be.
    fn until(&mut self, holds: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            self.read();
            let screen = self.screen.screen().contents();
            if holds(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "the screen stays:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Colour and dimness of the first letter of a piece of the last row that has it and another.
    fn style(&self, row: &str, piece: &str) -> (vt100::Color, bool) {
        let screen = self.screen.screen();
        let lines: Vec<String> = screen.rows(0, COLUMNS).collect();
        let found = lines.iter().rposition(|line| line.contains(row) && line.contains(piece));
        let found = found.unwrap_or_else(|| panic!("no row has {row} and {piece}:\n{}", lines.join("\n")));
        let column = lines[found][..lines[found].find(piece).unwrap()].chars().count();
        let cell = screen.cell(found as u16, column as u16).expect("a cell");
        (cell.fgcolor(), cell.dim())
    }

    fn leave(mut self) {
        self.keys("\\q\r");
        let start = Instant::now();
        while self.session.get_process().is_alive().expect("a process") {
            self.read();
            assert!(start.elapsed() < PATIENCE, "the shell does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn keys(&mut self, keys: &str) {
        self.session.write_all(keys.as_bytes()).expect("keys are taken");
        self.session.flush().expect("keys are taken");
    }

    /// Types a line on an empty screen, and waits for the next prompt.
    fn line(&mut self, line: &str) -> String {
        self.keys("\x0c");
        self.until(|screen| lines(screen) == ["nabla>"]);
        self.keys(line);
        self.keys("\r");
        self.until(|screen| lines(screen).len() > 1 && lines(screen).last() == Some(&"nabla>"))
    }
}

fn lines(screen: &str) -> Vec<&str> {
    screen.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

#[test]
fn statements_commands_and_errors_on_the_screen() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Terminal::new(home.path());
    shell.line(
        "CREATE TABLE m (id BIGINT PRIMARY KEY, w DOUBLE LEARNABLE DEFAULT 0.5 CHECK (w >= 0), e REAL[8] LEARNABLE DEFAULT init_zeros());",
    );
    shell.line("INSERT INTO m (id) VALUES (1), (20);");
    let screen = shell.line("SELECT id, w, 'text' AS t FROM m ORDER BY id;");
    let table = [
        "nabla> SELECT id, w, 'text' AS t FROM m ORDER BY id;",
        "+----+-----+------+",
        "| id |   w | t    |",
        "+----+-----+------+",
        "|  1 | 0.5 | text |",
        "| 20 | 0.5 | text |",
        "+----+-----+------+",
        "(2 rows)",
        "nabla>",
    ];
    assert_eq!(lines(&screen), table, "{screen}");
    // A statement may take several lines, and an error shows its own.
    let screen = shell.line("SELECT id,\r  nope\rFROM m;");
    assert_eq!(lines(&screen)[3..7], ["error: column 'nope' not found", "  at: line 2, column 3", "      nope", "      ^"], "{screen}");
    let screen = shell.line("\\d m");
    assert!(screen.contains("| w      | DOUBLE  | NO       | learnable | 0.5          | >= 0  |"), "{screen}");
    let screen = shell.line("\\nope");
    assert!(screen.contains("unknown command \\nope"), "{screen}");
    shell.line("\\x");
    let screen = shell.line("SELECT id, w FROM m WHERE id = 20;");
    assert_eq!(lines(&screen)[1..5], ["-[ row 1 ]------------", "id | 20", "w  | 0.5", "(1 row)"], "{screen}");
    shell.line("\\x");
    // Lists are shortened to the width of the terminal.
    let screen =
        shell.line("SELECT [sin(id), cos(id), tan(id), exp(id), sqrt(id), id / 7.0] AS v, repeat('x', 60) AS t FROM m WHERE id = 1;");
    assert!(screen.contains(", ...] |") && screen.lines().skip(1).all(|line| line.chars().count() <= usize::from(COLUMNS)), "{screen}");
    let screen = shell.line("SELECT value AS x, value * value AS y FROM generate_series(0, 20);");
    assert!(screen.contains("(21 rows)"), "{screen}");
    let screen = shell.line("\\plot");
    let drawn = lines(&screen);
    assert!(drawn[1] == "y over x" && drawn[2].starts_with(" 400 ") && drawn.contains(&"nabla>") && screen.contains('⠤'), "{screen}");
    // Results go to a file, and come back.
    let file = home.path().join("out.csv");
    shell.line("\\format csv");
    shell.line(&format!("\\o {}", file.display()));
    shell.line("SELECT id FROM m ORDER BY id;");
    shell.line("\\o");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "id\n1\n20\n");
    let screen = shell.line("SELECT 7 AS seven;");
    assert_eq!(lines(&screen)[1..3], ["seven", "7"], "{screen}");
    std::fs::write(home.path().join("script.sql"), "SELECT 1 AS one;\nSELECT 2 AS two;").unwrap();
    let screen = shell.line(&format!("\\i {}", home.path().join("script.sql").display()));
    assert!(screen.contains("one\n1\ntwo\n2\n"), "{screen}");
    let screen = shell.line("\\d nabla.steps");
    assert!(screen.contains("gradient_norm") && !screen.contains("statement"), "{screen}");
    let history = std::fs::read_to_string(home.path().join(".nabla_history")).unwrap();
    assert!(history.contains("SELECT 7 AS seven;") && history.contains("\\x"), "{history}");
}

#[test]
fn a_plot_is_drawn_into_a_png_or_an_svg_file() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Terminal::new(home.path());
    let file = |name: &str| home.path().join(name);
    shell.line("CREATE TABLE t AS SELECT value AS x, value * value AS y, [value, 0, 0, 1] AS v FROM range(10);");
    let screen = shell.line(&format!("\\plot -o {} SELECT x, y FROM t", file("curve.png").display()));
    assert!(screen.contains("curve.png: y over x"), "{screen}");
    assert_eq!(std::fs::read(file("curve.png")).unwrap()[..8], *b"\x89PNG\r\n\x1a\n");
    for (kind, sql, piece) in [
        ("line", "SELECT x, y FROM t", "<polyline"),
        ("points", "SELECT x, y FROM t", "<circle"),
        ("histogram", "SELECT y FROM t", "\ny, how often\n</text>"),
        ("picture", "SELECT x, v FROM t", "height=\"16\" opacity=\"1\" fill=\"#1C1C1C\""),
        ("picture 4x1", "SELECT v FROM t", "<rect"),
    ] {
        shell.line(&format!("\\plot {kind} -o '{}' {sql};", file("a plot.svg").display()));
        let svg = std::fs::read_to_string(file("a plot.svg")).unwrap();
        assert!(svg.starts_with("<svg ") && svg.contains(piece), "{kind}: {svg}");
        std::fs::remove_file(file("a plot.svg")).unwrap();
    }
    let screen = shell.line("\\plot -o no/such.png SELECT x FROM t");
    assert!(screen.contains("error: no/such.png cannot be written"), "{screen}");
    let screen = shell.line(&format!("\\plot -o {} SELECT x FROM t WHERE false", file("none.png").display()));
    assert!(screen.contains("error: there are no numbers to draw") && !file("none.png").exists(), "{screen}");
    let screen = shell.line("\\plot -o x.png SELECT nope FROM t");
    assert!(screen.contains("column 'nope' not found") && screen.contains("           ^"), "{screen}");
    shell.line("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 1);");
    shell.line("INSERT INTO m DEFAULT VALUES;");
    shell.line("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 5 STEPS;");
    let screen = shell.line(&format!("\\plot -o {}", file("run.svg").display()));
    assert!(screen.contains("run.svg: objective over step"), "{screen}");
}

#[test]
fn pictures_are_greys_on_the_terminal_and_shades_without_colours() {
    let home = tempfile::tempdir().unwrap();
    let sql =
        "\\plot picture SELECT * FROM (VALUES ('img', [0.0, 1.0, 0.5, 0.0]), ('two', [1.0, 1.0, 1.0, 1.0])) AS t (name, p) ORDER BY name";
    let mut shell = Terminal::with(home.path(), &[("COLORTERM", "truecolor")]);
    let screen = shell.line(sql);
    assert!(screen.contains("\n▀▀  ▀▀\nfrom 0, which is black, to 1, which is white"), "{screen}");
    let row = shell.screen.screen().rows(0, COLUMNS).position(|line| line.starts_with('▀')).unwrap() as u16;
    let grey = |x: u8| vt100::Color::Rgb(x, x, x);
    let cell = |column| shell.screen.screen().cell(row, column).map(|cell| (cell.fgcolor(), cell.bgcolor()));
    assert_eq!([cell(0), cell(1), cell(4)], [Some((grey(0), grey(128))), Some((grey(255), grey(0))), Some((grey(255), grey(255)))]);
    shell.leave();
    let mut shell = Terminal::with(home.path(), &[("NO_COLOR", "1")]);
    let screen = shell.line(sql);
    assert!(screen.contains("im  tw\n░▒  ██\n"), "{screen}");
    let screen = shell.line("\\plot picture SELECT [1, 2, 3] AS v");
    assert!(screen.contains("vectors of 3 numbers are no squares"), "{screen}");
    let screen = shell.line("\\plot picture SELECT 1 AS v");
    assert!(screen.contains("the statement gives no arrays"), "{screen}");
}

#[test]
fn tab_completes_tables_and_columns_of_the_catalog() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Terminal::new(home.path());
    shell.line("CREATE TABLE documents AS SELECT 1 AS quality, 2 AS number;");
    shell.keys("SELECT 1 FROM docu\t");
    shell.until(|screen| screen.contains("FROM documents"));
    shell.keys(" WHERE documents.qu\t");
    shell.until(|screen| screen.contains("documents.quality"));
    shell.keys("\x03");
}

#[test]
fn a_run_shows_a_live_line_and_ctrl_c_cancels_it_and_not_the_shell() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Terminal::new(home.path());
    shell.line("CREATE TABLE p AS SELECT sin(value) AS x FROM generate_series(1, 20000);");
    shell.line("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3);");
    shell.line("INSERT INTO m DEFAULT VALUES;");
    let screen = shell.line("TRAIN MINIMIZE (SELECT AVG(power(m.a - p.x, 2)) FROM m, p) FOR 50 STEPS;");
    let told = lines(&screen);
    assert!(told[1].starts_with("run 1: 50 steps in ") && told[1].ends_with(", version 5"), "{screen}");
    assert!(told[2].starts_with("  relaxed objective  9.") && told[4] == "  relaxation gap     0.000000", "{screen}");
    shell.keys("\x0c");
    let screen =
        shell.line("TRAIN MINIMIZE (SELECT SUM(power(a - 2, 2)) FROM m) FOR 9 STEPS VALIDATE MAXIMIZE (SELECT a FROM m) EVERY 2 STEPS;");
    assert!(screen.contains("  best validation    ") && screen.contains(" at step 2\n"), "{screen}");
    shell.keys("\x0c");
    shell.keys(
        "TRAIN MINIMIZE (SELECT AVG(power(m.a - p.x, 2)) FROM m, p) FOR 1000000 STEPS VALIDATE MINIMIZE (SELECT 0.812) EVERY 9 STEPS;\r",
    );
    shell.until(|screen| screen.contains("/1000000  objective ") && screen.contains("  valid 0.812"));
    shell.keys("\x03");
    shell.until(|screen| screen.contains("error: cancelled"));
    shell.keys("\x0c");
    shell.keys("TRAIN MINIMIZE (SELECT AVG(power(m.a - p.x, 2)) FROM m, p) FOR 1000000 STEPS;\r");
    shell.until(|screen| screen.contains("/1000000  objective ") && screen.contains("T 0.") && screen.contains(" left"));
    shell.keys("\x03");
    let screen = shell.until(|screen| screen.contains("error: cancelled"));
    assert!(!screen.contains("objective "), "the line stays:\n{screen}");
    let screen = shell.line("SELECT COUNT(*) AS runs FROM nabla.runs;");
    assert!(screen.contains("|    2 |"), "{screen}");
}

const EXPLAINED: &str = "EXPLAIN TRAIN MINIMIZE (SELECT SUM(p.x) FROM m, p WHERE p.x > m.a AND p.x > 0);";

fn with_a_model(home: &Path, variables: &[(&str, &str)]) -> Terminal {
    let mut shell = Terminal::with(home, variables);
    shell.line("CREATE TABLE p AS SELECT sin(value) AS x FROM range(20);");
    shell.line("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.5);");
    shell.line("INSERT INTO m DEFAULT VALUES;");
    shell
}

#[test]
fn an_explanation_is_dim_where_it_is_exact_green_where_it_is_live_and_yellow_where_it_learns() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = with_a_model(home.path(), &[]);
    shell.line(EXPLAINED);
    let (plain, green, yellow) = (vt100::Color::Default, vt100::Color::Idx(2), vt100::Color::Idx(3));
    assert_eq!(shell.style("skeleton", "skeleton"), (plain, true));
    assert_eq!(shell.style("degree, logistic", "relaxed"), (green, false));
    assert_eq!(shell.style("degree, logistic", "p.x > m.a"), (green, false));
    assert_eq!(shell.style("m.a: reached", "learnable"), (yellow, false));
    assert_eq!(shell.style("m.a: reached", "m.a: reached"), (yellow, false));
    assert_eq!(shell.style("m.a: reached", "| learnable"), (plain, false));
    // The colours end with the cell, and other results have none.
    shell.line("SELECT 'relaxed' AS what, 'x' AS stage, 'y' AS detail;");
    assert_eq!(shell.style("| relaxed", "relaxed"), (plain, false));
}

#[test]
fn no_colours_where_they_are_turned_off_or_there_is_no_terminal() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = with_a_model(home.path(), &[("NO_COLOR", "1")]);
    shell.line(EXPLAINED);
    for (row, piece) in [("m.a: reached", "learnable"), ("skeleton", "skeleton"), ("EXPLAIN TRAIN", "EXPLAIN")] {
        assert_eq!(shell.style(row, piece), (vt100::Color::Default, false), "{row}");
    }
    shell.leave();
    std::fs::create_dir(home.path().join("nabla")).unwrap();
    std::fs::write(home.path().join("nabla/config.toml"), "colours = false\ntiming = true\nhistory = '~/other'\npager = 'tr a A'").unwrap();
    let mut shell = Terminal::new(home.path());
    let screen = shell.line(EXPLAINED);
    assert_eq!(shell.style("m.a: reached", "learnable"), (vt100::Color::Default, false));
    assert!(screen.contains("Time: "), "{screen}");
    shell.line("\\pager");
    let screen = shell.line("SELECT 'banana' AS fruit;");
    assert!(screen.contains("| bAnAnA |"), "{screen}");
    assert!(std::fs::read_to_string(home.path().join("other")).unwrap().contains("EXPLAIN TRAIN"));
    shell.leave();
    std::fs::remove_dir_all(home.path().join("nabla")).unwrap();
    let mut shell = Terminal::new(home.path());
    shell.line(&format!("\\o {}", home.path().join("out.txt").display()));
    shell.line(EXPLAINED);
    let written = std::fs::read_to_string(home.path().join("out.txt")).unwrap();
    assert!(written.contains("| learnable ") && !written.contains('\x1b'), "{written}");
}

#[test]
fn the_prompt_tells_of_a_transaction() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Terminal::new(home.path());
    for (line, prompt) in [("BEGIN;", "nabla*>"), ("SELECT nope;", "nabla!>"), ("SELECT 1;", "nabla!>"), ("ROLLBACK;", "nabla>")] {
        shell.keys("\x0c");
        shell.until(|screen| lines(screen).len() == 1);
        shell.keys(&format!("{line}\r"));
        shell.until(|screen| lines(screen).len() > 1 && lines(screen).last() == Some(&prompt));
    }
    shell.leave();
}
