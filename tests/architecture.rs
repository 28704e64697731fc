//! The law of the house: what `src/lib.rs` says of the rooms is what the code does.
//!
//! The table's rows are the rooms. A file may name its own room, the rooms and crates of its row, `error` and `std`, by whatever path
//! it takes: `crate::...`, `super::...` up to the root, or a name that `lib.rs` hands on. Tests within the rooms may name anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

struct Row {
    may_use: BTreeSet<String>,
    may_name: BTreeSet<String>,
}

struct Law {
    rows: BTreeMap<String, Row>,
    /// What `lib.rs` hands on from a room: name -> room.
    handed_on: BTreeMap<String, String>,
    /// The crates that `Cargo.toml` names.
    crates: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Law {
    fn of_the_house() -> Self {
        Self::read(&text(&root().join("src/lib.rs")), &text(&root().join("Cargo.toml")))
    }

    fn read(lib: &str, manifest: &str) -> Self {
        let words = |cell: &str| cell.split_whitespace().filter(|w| *w != "-").map(str::to_string).collect();
        let table = lib.lines().filter_map(|l| l.strip_prefix("//! |")).skip_while(|l| !l.starts_with("---")).skip(1);
        let rows = table.map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert!(cells.len() == 5 && cells[4].is_empty(), "a row of the law has four cells: {line}");
            (cells[0].to_string(), Row { may_use: words(cells[2]), may_name: words(cells[3]) })
        });
        let tokens = tokens(lib);
        let mut handed_on = BTreeMap::new();
        for (at, token) in tokens.iter().enumerate().filter(|(_, t)| t.text == "use") {
            let room = &tokens[at + 1].text;
            handed_on.extend(names_after(&tokens, at + 2).into_iter().map(|(name, _)| (name, room.clone())));
            assert!(tokens[at + 2].text == "::", "src/lib.rs:{}: it only hands on names of rooms", token.line);
        }
        let section = manifest.lines().skip_while(|l| *l != "[dependencies]").skip(1).take_while(|l| !l.starts_with('['));
        let crates = section.filter(|l| l.starts_with(|c: char| c.is_alphabetic())).filter_map(|l| l.split_once(" ="));
        Self { rows: rows.collect(), handed_on, crates: crates.map(|(name, _)| name.replace('-', "_")).collect() }
    }

    /// What a file names that its room may not, each with its place.
    fn breaches(&self, path: &str, source: &str) -> Vec<String> {
        let module = module(path);
        let Some(row) = self.rows.get(&module[0]) else { return vec![format!("{path}: room '{}' has no row", module[0])] };
        let mut breaches = Vec::new();
        for (name, line) in self.rooms_named(&module, &outside_tests(tokens(source))) {
            let room = self.handed_on.get(&name).unwrap_or(&name);
            let fine = *room == module[0] || room == "error" || row.may_use.contains(room);
            if !fine {
                breaches.push(format!("{path}:{line}: room '{}' may not use '{room}'", module[0]));
            }
        }
        for (name, line) in self.crates_named(&outside_tests(tokens(source))) {
            if !row.may_name.contains(&name) {
                breaches.push(format!("{path}:{line}: room '{}' may not name the crate '{name}'", module[0]));
            }
        }
        breaches
    }

    /// The first names below the root of our crate, with their lines.
    fn rooms_named(&self, module: &[String], tokens: &[Token]) -> Vec<(String, usize)> {
        let mut named = Vec::new();
        // Where inner modules end, in numbers of open braces.
        let (mut open, mut inner): (usize, Vec<usize>) = (0, Vec::new());
        for (at, token) in tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" => open += 1,
                "}" => {
                    open -= 1;
                    inner.pop_if(|end| *end == open);
                }
                "mod" if tokens.get(at + 2).is_some_and(|t| t.text == "{") => inner.push(open),
                "crate" | "nabladb" => named.extend(names_after(tokens, at + 1)),
                "super" if !is(tokens, at.wrapping_sub(1), "::") => {
                    let mut end = at + 1;
                    let mut climbed = 1;
                    while is(tokens, end, "::") && is(tokens, end + 1, "super") {
                        (end, climbed) = (end + 2, climbed + 1);
                    }
                    if climbed >= module.len() + inner.len() {
                        named.extend(names_after(tokens, end));
                    }
                }
                _ => {}
            }
        }
        named
    }

    fn crates_named(&self, tokens: &[Token]) -> Vec<(String, usize)> {
        let heads = tokens.iter().enumerate().filter(|(at, token)| {
            let continues = at.checked_sub(2).is_some_and(|two| is(tokens, two + 1, "::") && tokens[two].is_name());
            let begins = is(tokens, at + 1, "::") || at.checked_sub(1).is_some_and(|one| matches!(&*tokens[one].text, "use" | "crate"));
            self.crates.contains(&token.text) && begins && !continues
        });
        heads.map(|(_, token)| (token.text.clone(), token.line)).collect()
    }
}

/// The names that follow a `::` at a place: one, those of a group, or `*`.
fn names_after(tokens: &[Token], at: usize) -> Vec<(String, usize)> {
    let name = |at: usize| tokens.get(at).map(|t| (t.text.clone(), t.line));
    if !is(tokens, at, "::") {
        return Vec::new();
    }
    if !is(tokens, at + 1, "{") {
        return name(at + 1).into_iter().collect();
    }
    let (mut names, mut open) = (Vec::new(), 0);
    for (i, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "{" => open += 1,
            "}" => open -= 1,
            _ => {}
        }
        if open == 0 {
            break;
        }
        if open == 1 && matches!(token.text.as_str(), "{" | ",") && !is(tokens, i + 1, "}") {
            names.extend(name(i + 1));
        }
    }
    names
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|t| t.text == text)
}

/// `src/session/copy_from/csv.rs` -> session, copy_from, csv.
fn module(path: &str) -> Vec<String> {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').map(str::to_string).collect()
}

#[derive(Clone)]
struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The names, `::` and other signs of a source, without comments and literals.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let begin = at;
        if starts(at, "//") {
            at += chars[at..].iter().position(|c| *c == '\n').unwrap_or(chars.len() - at);
        } else if starts(at, "/*") {
            let mut open = 0;
            while at < chars.len() {
                let (opens, closes) = (starts(at, "/*"), starts(at, "*/"));
                open += usize::from(opens);
                open -= usize::from(closes);
                at += if opens || closes { 2 } else { 1 };
                if open == 0 {
                    break;
                }
            }
        } else if let Some(end) = raw_string(&chars, at) {
            at = end;
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if chars[at] == '\'' {
            // A character, unless it is a lifetime.
            at += match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('\\'), _) => 3 + chars[at + 3..].iter().position(|c| *c == '\'').unwrap_or_default() + 1,
                (_, Some('\'')) => 3,
                _ => 1,
            };
        } else if word(&chars[at]) {
            at += chars[at..].iter().position(|c| !word(c)).unwrap_or(chars.len() - at);
            tokens.push(Token { text: chars[begin..at].iter().collect(), line });
        } else {
            at += if starts(at, "::") { 2 } else { 1 };
            if !chars[begin].is_whitespace() {
                tokens.push(Token { text: chars[begin..at].iter().collect(), line });
            }
        }
        line += chars[begin..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Where a raw string ends that begins here: `r"..."`, `br#"..."#`.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let after_word = at.checked_sub(1).is_some_and(|before| chars[before].is_alphanumeric() || chars[before] == '_');
    let mut i = at + usize::from(chars[at] == 'b');
    if after_word || chars.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    let ends = |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (i + 1..chars.len()).find(ends).map(|end| end + 1 + hashes)
}

/// The tokens without the items that are only there for tests.
fn outside_tests(tokens: Vec<Token>) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        match test_item(&tokens, at) {
            Some(end) => at = end,
            None => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Where an item under `#[cfg(test)]` ends that begins here.
fn test_item(tokens: &[Token], at: usize) -> Option<usize> {
    let here = |(i, text): (usize, &str)| is(tokens, at + i, text);
    if !["#", "[", "cfg", "(", "test", ")", "]"].into_iter().enumerate().all(here) {
        return None;
    }
    let mut open = 0;
    let end = tokens.iter().enumerate().skip(at + 7).find(|(_, token)| {
        open += isize::from(matches!(&*token.text, "{" | "(" | "["));
        open -= isize::from(matches!(&*token.text, "}" | ")" | "]"));
        open == 0 && matches!(&*token.text, ";" | "}")
    });
    Some(end.map_or(tokens.len(), |(i, _)| i + 1))
}

/// The modules that a source declares for tests only, in files of their own.
fn test_modules(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let items = (0..tokens.len()).filter_map(|at| test_item(&tokens, at).map(|end| &tokens[at + 7..end]));
    items
        .filter(|item| item.last().is_some_and(|t| t.text == ";"))
        .filter_map(|item| Some(item.iter().skip_while(|t| t.text != "mod").nth(1)?.text.clone()))
        .collect()
}

/// Every Rust file below a folder but those of tests: its path from the root, and its text.
fn sources() -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    let mut files: Vec<(String, String)> = found.iter().map(|path| (name(path), text(path))).collect();
    let tests: Vec<Vec<String>> =
        files.iter().flat_map(|(path, source)| test_modules(source).into_iter().map(|test| [module(path), vec![test]].concat())).collect();
    files.retain(|(path, _)| !tests.iter().any(|test| module(path).starts_with(test)));
    files.sort();
    files
}

#[test]
fn no_room_uses_what_its_row_does_not_allow() {
    let law = Law::of_the_house();
    let files = sources();
    assert!(files.len() > 50, "only {} files were found", files.len());
    let breaches: Vec<String> = files.iter().filter(|(p, _)| p != "src/lib.rs").flat_map(|(p, s)| law.breaches(p, s)).collect();
    assert!(breaches.is_empty(), "the table in src/lib.rs does not allow:\n{}", breaches.join("\n"));
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let law = Law::of_the_house();
    let rooms: BTreeSet<String> = sources().iter().map(|(path, _)| module(path).remove(0)).filter(|room| room != "lib").collect();
    let rows: BTreeSet<String> = law.rows.keys().cloned().collect();
    assert_eq!(rooms, rows);
    for (room, row) in &law.rows {
        assert!(row.may_use.is_subset(&rows) && row.may_name.is_subset(&law.crates), "the row of '{room}' names what there is not");
    }
}

#[test]
fn no_room_uses_itself_by_a_detour() {
    let law = Law::of_the_house();
    let mut below: BTreeSet<&str> = BTreeSet::new();
    while below.len() < law.rows.len() {
        let next =
            law.rows.iter().find(|(room, row)| !below.contains(room.as_str()) && row.may_use.iter().all(|r| below.contains(r.as_str())));
        let (room, _) = next.unwrap_or_else(|| panic!("a circle among the rooms above {below:?}"));
        below.insert(room);
    }
}

#[test]
fn every_file_begins_with_a_sentence_about_itself() {
    for (path, source) in sources() {
        let paragraph: Vec<&str> = source.lines().map_while(|l| l.strip_prefix("//! ")).collect();
        let sentence = paragraph.join(" ");
        assert!(sentence.starts_with(char::is_alphanumeric) || sentence.starts_with('`'), "{path} does not begin with //!");
        assert!(sentence.contains(['.', ':', '?']), "{path} does not begin with a sentence");
    }
}

const LIB: &str = "
//! | room | holds | may use | may name |
//! |---|---|---|---|
//! | main | the door | session | - |
//! | session | the waist | scalar table | datafusion |
//! | table | tables | - | datafusion arrow |
//! | scalar | slopes | - | - |
//! | error | errors | - | - |
pub use error::{Error, Result};
pub use session::Session;
";

const MANIFEST: &str = "
[package]
name = \"nabladb\"
[dependencies]
arrow = \"59\"
datafusion = { version = \"55\", features = [
  \"sql\",
] }
rand-chacha = \"0.10\"
[dev-dependencies]
criterion = \"0.8\"
";

#[test]
fn a_breach_is_caught_wherever_it_hides() {
    let law = Law::read(LIB, MANIFEST);
    let caught = [
        ("src/scalar/mod.rs", "use crate::table::Table;", "src/scalar/mod.rs:1: room 'scalar' may not use 'table'"),
        ("src/scalar/sum.rs", "\n\nfn f() -> crate::table::Table {}", "src/scalar/sum.rs:3: room 'scalar' may not use 'table'"),
        ("src/scalar/sum.rs", "use crate::{error::Error, table::{Table, Row}};", "may not use 'table'"),
        ("src/scalar/sum.rs", "use crate::{\n    Result,\n    Session,\n};", "src/scalar/sum.rs:3: room 'scalar' may not use 'session'"),
        ("src/scalar/sum.rs", "use crate::*;", "may not use '*'"),
        ("src/scalar/sum.rs", "use super::super::table::Table;", "may not use 'table'"),
        ("src/scalar/mod.rs", "use super::table::Table;", "may not use 'table'"),
        ("src/scalar/mod.rs", "mod inner { use super::super::{error, table}; }", "may not use 'table'"),
        ("src/table.rs", "pub fn f() {}\nmod a { fn g() {} }\nuse super::scalar;", "src/table.rs:3: room 'table' may not use 'scalar'"),
        ("src/scalar/mod.rs", "use datafusion::prelude::*;", "may not name the crate 'datafusion'"),
        ("src/scalar/mod.rs", "fn f() { ::rand_chacha::seed() }", "may not name the crate 'rand_chacha'"),
        ("src/scalar/mod.rs", "extern crate arrow;", "may not name the crate 'arrow'"),
        ("src/scalar/mod.rs", "use arrow as a;", "may not name the crate 'arrow'"),
        ("src/session/mod.rs", "let quote = '\\''; let raw = r#\"\"\"#; arrow::cast()", "may not name the crate 'arrow'"),
        (
            "src/session/mod.rs",
            "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more { use arrow::x; }\nuse arrow::y;",
            "src/session/mod.rs:5:",
        ),
        ("src/main.rs", "use nabladb::table::Table;", "room 'main' may not use 'table'"),
        ("src/attic/mod.rs", "", "room 'attic' has no row"),
    ];
    for (path, source, expected) in caught {
        let breaches = law.breaches(path, source);
        assert!(breaches.len() == 1 && breaches[0].contains(expected), "{source}\ngave {breaches:?}, not {expected}");
    }
    let allowed = [
        ("src/session/mod.rs", "use crate::{Error, scalar, table::Table};\nuse datafusion::arrow::array::Array;\nuse std::fmt;"),
        ("src/scalar/sum.rs", "use super::table::Entry; // crate::table\nuse crate::scalar::Real; /* arrow::x /* nested */ arrow::y */"),
        ("src/scalar/mod.rs", "/// crate::table::Table\nconst A: (&str, &str, char) = (\"arrow::x\", r#\"crate::\"table\"#, '\"');"),
        (
            "src/scalar/mod.rs",
            "pub(crate) fn f<'a>(x: &'a str) {}\n#[cfg(test)]\n#[allow(unused)]\nmod tests { use arrow::array; fn f() {} }",
        ),
        ("src/scalar/mod.rs", "mod inner { use super::table; }"),
        ("src/main.rs", "use nabladb::Session;"),
    ];
    for (path, source) in allowed {
        assert_eq!(law.breaches(path, source), Vec::<String>::new(), "{source}");
    }
    assert_eq!(test_modules("#[cfg(test)]\nmod tests;\nmod real;\n#[cfg(test)]\nmod inline { }"), ["tests"]);
}
