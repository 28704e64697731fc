//! The command: what it reads, what it writes where, and how it ends.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn nabla(arguments: &[&str], input: &str) -> Output {
    nabla_with(&[("NABLA_CONFIG", "")], arguments, input)
}

fn nabla_with(variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabla"));
    command.env_remove("NABLA_CONFIG").env_remove("XDG_CONFIG_HOME").envs(variables.iter().copied());
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn statements_come_from_standard_input_and_results_go_to_standard_output_alone() {
    let output =
        nabla(&["--format", "csv"], "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1), (2);\nSELECT a, a * 0.5 AS h FROM t ORDER BY a\n");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "a,h\n1,0.5\n2,1.0\n");
    assert!(err(&output).contains("CREATE TABLE") && err(&output).contains("INSERT 0 2"));
}

#[test]
fn a_failing_statement_ends_the_script_with_status_1_and_what_came_before_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let database = path.to_str().unwrap();
    let output = nabla(&[database], "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('x');\nDROP TABLE t;");
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).is_empty() && err(&output).contains("error: "), "{}", err(&output));
    let output = nabla(&[database, "--format", "ndjson", "-c", "SELECT * FROM t"], "");
    assert_eq!(out(&output), "{\"a\":1}\n");
    let output = nabla(&[database, "-c", "SELECT 1 AS a;\nSELECT nope"], "");
    assert!(out(&output).contains("| 1 |") && err(&output).contains("line 2, column 8"), "{}", err(&output));
}

#[test]
fn commands_and_files_run_in_the_order_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.sql");
    std::fs::write(&file, "SELECT 2 AS x; -- the second\n").unwrap();
    let output = nabla(&["--format", "csv", "-c", "SELECT 1 AS x", "-f", file.to_str().unwrap(), "-c", "SELECT 3 AS x"], "SELECT 9 AS x");
    assert_eq!(out(&output), "x\n1\nx\n2\nx\n3\n");
    let output = nabla(&["-f", "no/such.sql"], "");
    assert!(output.status.code() == Some(1) && err(&output).contains("file no/such.sql"), "{}", err(&output));
}

#[test]
fn every_format_writes_the_same_rows() {
    let sql = "SELECT * FROM (VALUES (1, 'a', [0.1, 1.0]), (2, NULL, NULL)) AS t (i, s, v) ORDER BY i";
    let written = |format: &str| out(&nabla(&["--format", format, "-c", sql], ""));
    assert_eq!(written("csv"), "i,s,v\n1,a,\"[0.1, 1.0]\"\n2,,\n");
    assert_eq!(written("json"), "[{\"i\":1,\"s\":\"a\",\"v\":[0.1,1.0]},{\"i\":2,\"s\":null,\"v\":null}]\n");
    assert_eq!(written("ndjson"), "{\"i\":1,\"s\":\"a\",\"v\":[0.1,1.0]}\n{\"i\":2,\"s\":null,\"v\":null}\n");
    assert!(written("table").contains("| 1 | a    | [0.1, 1.0] |") && written("table").contains("(2 rows)"), "{}", written("table"));
    let ipc = nabla(&["--format", "arrow", "-c", sql], "").stdout;
    let rows: usize = arrow::ipc::reader::StreamReader::try_new(ipc.as_slice(), None).unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 2);
    let empty = "SELECT 1 AS a WHERE false";
    assert_eq!(out(&nabla(&["--format", "json", "-c", empty], "")), "[]\n");
    assert_eq!(out(&nabla(&["--format", "csv", "-c", empty], "")), "a\n");
}

#[test]
fn floats_are_written_in_their_shortest_form_that_reads_back_the_same() {
    let output = nabla(&["--format", "csv", "-c", "SELECT 0.1::DOUBLE AS a, 1e-7::DOUBLE AS b, 0.1::REAL AS c, 1e300::DOUBLE AS d"], "");
    let line = out(&output).lines().nth(1).unwrap().to_string();
    let values: Vec<&str> = line.split(',').collect();
    assert_eq!(values[0], "0.1");
    assert_eq!(values[1].parse::<f64>().unwrap(), 1e-7);
    assert_eq!(values[2], "0.1");
    assert_eq!(values[3].parse::<f64>().unwrap(), 1e300);
}

#[test]
fn long_tables_lose_their_middle() {
    let output = out(&nabla(&["-c", "SELECT value AS i FROM range(100)"], ""));
    assert!(output.contains("| 19 |\n| .. |\n| 80 |"), "{output}");
    assert!(output.contains("(100 rows, 40 shown)"), "{output}");
    let output = out(&nabla(&["-c", "SELECT value AS i FROM range(40)"], ""));
    assert!(output.contains("(40 rows)") && !output.contains("..."), "{output}");
}

#[test]
fn settings_come_from_a_file_and_the_command_line_wins_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let home = folder.path().to_str().unwrap();
    let sql = "SELECT value AS i FROM range(9)";
    file(".config/nabla/config.toml", "max_rows = 3\ntiming = true");
    let csv = file("csv.toml", "format = 'csv' # for scripts");
    let ndjson = file("xdg/nabla/config.toml", "format = 'ndjson'");
    let own = nabla_with(&[("HOME", home)], &["-c", sql], "");
    assert!(out(&own).contains("| 0 |\n| 1 |\n| . |\n| 8 |") && out(&own).contains("(9 rows, 3 shown)"), "{}", out(&own));
    assert!(err(&own).contains("Time: "), "{}", err(&own));
    let xdg = nabla_with(&[("HOME", home), ("XDG_CONFIG_HOME", &format!("{home}/xdg"))], &["-c", "SELECT 1 AS a"], "");
    assert_eq!(out(&xdg), "{\"a\":1}\n");
    let variable = [("HOME", home), ("NABLA_CONFIG", csv.as_str())];
    assert_eq!(out(&nabla_with(&variable, &["-c", "SELECT 1 AS a"], "")), "a\n1\n");
    assert_eq!(out(&nabla_with(&variable, &["--config", &ndjson, "-c", "SELECT 1 AS a"], "")), "{\"a\":1}\n");
    assert_eq!(out(&nabla_with(&variable, &["--format", "json", "-c", "SELECT 1 AS a"], "")), "[{\"a\":1}]\n");
    let memory = file("memory.toml", "memory_limit = '2MB'");
    let join = "CREATE TABLE t AS SELECT value AS x FROM generate_series(1, 300000); SELECT COUNT(*) FROM t a JOIN t b ON a.x = b.x";
    assert!(err(&nabla(&["--config", &memory, "-c", join], "")).contains("more memory than its limit"));
    assert_eq!(nabla(&["--config", &memory, "--memory-limit", "1GB", "-c", join], "").status.code(), Some(0));
    let wrong = file("wrong.toml", "timing = true\nformatt = 'csv'");
    let output = nabla(&["--config", &wrong, "-c", "SELECT 1"], "");
    let told = format!("error: unknown setting 'formatt'\n  at: file {wrong}, line 2\n  hint: did you mean 'format'?\n");
    assert_eq!((output.status.code(), err(&output)), (Some(2), told));
    let output = nabla(&["--config", "no/such.toml", "-c", "SELECT 1"], "");
    assert!(output.status.code() == Some(2) && err(&output).contains("file no/such.toml"), "{}", err(&output));
}

#[test]
fn run_is_the_programs_of_files_with_the_same_options() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (database, one, two) = (file("db"), file("one.sql"), file("two.sql"));
    std::fs::write(&one, "CREATE TABLE t AS SELECT 7 AS a;").unwrap();
    std::fs::write(&two, "SELECT a FROM t;").unwrap();
    let output = nabla(&["run", &database, &one, &two, "--format", "csv"], "");
    assert_eq!((output.status.code(), out(&output)), (Some(0), "a\n7\n".into()), "{}", err(&output));
    let output = nabla(&["run", &database, &two, &one, &two, "--read-only"], "");
    assert!(output.status.code() == Some(1) && err(&output).contains("for reading only"), "{}", err(&output));
    assert_eq!(nabla(&["run", &database], "").status.code(), Some(2));
}

#[test]
fn a_report_is_one_page_about_a_run_and_asks_nobody_for_anything() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (database, page) = (file("db"), file("page.html"));
    let learn = "CREATE TABLE p AS SELECT value, sin(value) AS x, '<i>' AS kind FROM range(50);
        CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3, idle DOUBLE LEARNABLE DEFAULT 1); INSERT INTO m DEFAULT VALUES;
        CREATE TABLE u (id BIGINT, e REAL[8] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO u (id) SELECT value FROM range(5);
        TRAIN m MINIMIZE (SELECT AVG(power(m.a - p.x, 2)) FROM m, p WHERE p.kind = '<i>') USING adam (learning_rate => 0.1) FOR 40 STEPS;
        TRAIN u MINIMIZE (SELECT SUM(inner_product(u.e, u.e)) FROM u) FOR 10 STEPS; UPDATE m SET a = 7700770; DROP TABLE u;";
    let ran = nabla(&[&database, "-c", learn], "");
    assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));
    let output = nabla(&["report", &database, "1", "-o", &page], "");
    assert_eq!((output.status.code(), out(&output), err(&output)), (Some(0), String::new(), format!("{page}: run 1 of {database}\n")));
    let html = std::fs::read_to_string(&page).unwrap();
    for piece in [
        "<h1>Run 1</h1>",
        "WHERE p.kind = &#39;&lt;i&gt;&#39;",
        "<tr><th>optimizer</th><td>adam</td></tr>",
        "<tr><th>relaxation gap</th><td>0.0</td></tr>",
        "\nrelaxed objective, exact objective at the end over step\n",
        "\ntemperature over step\n",
        "<td>m.a</td><td>3</td><td>",
        "Not changed: m.idle, u.e.",
        "<tr class=\"learned\"><td>run</td><td>learnable</td><td>m.a: reached by the gradient, 1 x 1 DOUBLE</td></tr>",
        "<tr class=\"exact\"><td>stage 1</td><td>frozen rows</td><td>50",
    ] {
        assert!(html.contains(piece), "without {piece}:\n{html}");
    }
    let outside = ["http://", "https://", "src=", "<script", "<link", "<i>", "@import", "7700770"];
    let own = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    let own = own.split("<svg").map(|piece| piece.split_once("</svg>").map_or(piece, |(_, rest)| rest)).collect::<String>();
    assert!(outside.iter().all(|piece| !own.contains(piece)), "{own}");
    // The newest run, of a table that is gone by now, over the database as it was.
    let newest = nabla(&["report", &database, "-o", "-"], "");
    let html = out(&newest);
    assert!(newest.status.success() && html.contains("<h1>Run 2</h1>") && html.ends_with("</html>\n"), "{}", err(&newest));
    assert!(
        html.contains("<h3>u.e, 5 x 8</h3>")
            && html.contains("<th>norm of the change</th>")
            && html.contains("\nbefore, after, how often\n")
    );
    assert!(html.contains("<tr class=\"live\">"), "{html}");
    let unknown = nabla(&["report", &database, "9"], "");
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(err(&unknown), "error: there is no run 9\n  hint: the runs, newest first, are 2, 1\n");
    let missing = nabla(&["report", &file("none")], "");
    assert!(missing.status.code() == Some(1) && err(&missing).ends_with("\n  hint: check the path\n"), "{}", err(&missing));
}

#[test]
fn completions_and_the_manual_page_are_written() {
    let bash = nabla(&["completions", "bash"], "");
    assert!(bash.status.success() && out(&bash).contains("--memory-limit"), "{}", err(&bash));
    let man = nabla(&["man"], "");
    assert!(man.status.success() && out(&man).starts_with(".ie") && out(&man).contains("Examples"), "{}", out(&man));
    let help = out(&nabla(&["--help"], ""));
    assert!(help.contains("nabla shop -f learn.sql") && help.contains("nabla run shop"), "{help}");
    assert!([&help, &out(&man)].iter().all(|text| text.contains("max_rows = 40")), "{help}");
    assert_eq!(nabla(&["completions", "cmd"], "").status.code(), Some(2));
}

#[test]
fn wrong_usage_ends_with_status_2() {
    assert_eq!(nabla(&["--format", "xml"], "").status.code(), Some(2));
    assert_eq!(nabla(&["--nope"], "").status.code(), Some(2));
    assert_eq!(nabla(&["a", "b"], "").status.code(), Some(2));
}

#[test]
fn a_memory_limit_has_a_unit_and_sends_rows_to_files() {
    let script = "CREATE TABLE t AS SELECT CAST(value AS DOUBLE) AS x FROM generate_series(1, 300000); CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 1);
        INSERT INTO m DEFAULT VALUES; EXPLAIN TRAIN MINIMIZE (SELECT AVG(sin(m.a * t.x)) FROM t, m);";
    for (limit, spills) in [("2MB", true), ("1.5 mb", true), ("2097152", true), ("1GB", false), ("4T", false)] {
        let output = nabla(&["--memory-limit", limit, "-c", script], "");
        assert_eq!(output.status.code(), Some(0), "{limit}: {}", err(&output));
        assert_eq!(out(&output).contains("2400000 bytes in temporary files"), spills, "{limit}");
    }
    let join = "CREATE TABLE t AS SELECT value AS x FROM generate_series(1, 300000); SELECT COUNT(*) FROM t a JOIN t b ON a.x = b.x";
    let output = nabla(&["--memory-limit", "2MB", "-c", join], "");
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    let said = ["the query needs more memory than its limit: ", "hint: raise it: --memory-limit"];
    assert!(said.iter().all(|s| err(&output).contains(s)), "{}", err(&output));
    for (set, hint) in [("memory_limit = '1GB'", "datafusion.runtime.memory_limit"), ("nope = 1", "SHOW ALL")] {
        let output = nabla(&["-c", &format!("SET {set}")], "");
        assert!(err(&output).contains("hint: ") && err(&output).contains(hint), "{}", err(&output));
    }
    for limit in ["much", "-1MB", "3XB", "1.2.3GB"] {
        let output = nabla(&["--memory-limit", limit, "-c", "SELECT 1"], "");
        assert_eq!(output.status.code(), Some(2), "{limit}: {}", out(&output));
    }
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabla"));
    let sql = "SELECT value AS i FROM range(10000000)";
    let mut child = command.args(["--format", "csv", "-c", sql]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code() == Some(0) && err(&output).is_empty(), "{:?} {}", output.status, err(&output));
}

#[test]
fn a_read_only_command_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let database = path.to_str().unwrap();
    assert_eq!(nabla(&[database, "-c", "CREATE TABLE t (a INT)"], "").status.code(), Some(0));
    let output = nabla(&[database, "--read-only", "-c", "INSERT INTO t VALUES (1)"], "");
    assert!(output.status.code() == Some(1) && err(&output).contains("open for reading only"), "{}", err(&output));
}

#[test]
fn long_chains_of_operators_need_no_luck() {
    let sum = |terms: usize| format!("SELECT {} AS x", vec!["1"; terms].join(" + "));
    let output = nabla(&["--format", "csv"], &sum(2_000));
    assert_eq!(out(&output), "x\n2000\n", "{}", err(&output));
    assert_eq!(nabla(&[], &sum(6_000)).status.code(), Some(1));
}
