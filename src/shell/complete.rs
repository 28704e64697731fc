//! Completion: commands, tables and columns of the catalog, options, and the words of the language.

use super::command::COMMANDS;
use crate::session::{WORDS, option_names};
use std::collections::HashSet;

/// What may stand at the end of `before`, a part of the text `whole`, and where in it what is replaced begins. `names` are tables with their
/// columns.
pub(super) fn completions(before: &str, whole: &str, names: &[(String, Vec<String>)]) -> (usize, Vec<String>) {
    let is_of_name = |c: char| c.is_alphanumeric() || "_.\\".contains(c);
    let start = before.char_indices().rev().find(|(_, c)| !is_of_name(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let word = &before[start..];
    if let Some(command) = word.strip_prefix('\\').filter(|_| start == 0) {
        let found = COMMANDS.iter().filter(|(name, ..)| begins(name, command)).map(|(name, ..)| format!("\\{name}"));
        return (start, found.collect());
    }
    if let Some((table, column)) = word.rsplit_once('.') {
        let columns = names.iter().filter(|(name, _)| is_table(whole, table, name)).flat_map(|(_, columns)| columns);
        return (word.len() - column.len() + start, columns.filter(|name| begins(name, column)).cloned().collect());
    }
    if let Some(options) = options_at(&before[..start]) {
        return (start, options.iter().filter(|name| begins(name, word)).map(|name| format!("{name} => ")).collect());
    }
    let mut found = if word.is_empty() { vec![] } else { candidates(&before[..start], whole, word, names) };
    found.retain(|name| begins(name, word));
    let mut known = HashSet::new();
    found.retain(|name| known.insert(name.clone()));
    (start, found)
}

/// Names and words that may stand after `before`, those that are likelier first.
fn candidates(before: &str, whole: &str, word: &str, names: &[(String, Vec<String>)]) -> Vec<String> {
    let tables = names.iter().map(|(table, _)| table.clone());
    let last = words(before).last().map(str::to_uppercase).unwrap_or_default();
    if matches!(last.as_str(), "FROM" | "JOIN" | "INTO" | "UPDATE" | "TABLE" | "TRAIN" | "DESCRIBE" | "VIEW") {
        return tables.collect();
    }
    let optimizers = option_names().into_iter().skip(1).filter(|_| last == "USING").map(|(name, _)| name.to_string());
    let read = names.iter().filter(|(table, _)| words(whole).any(|word| word.eq_ignore_ascii_case(table)));
    let columns = read.flat_map(|(_, columns)| columns).cloned();
    // Words are written as the user writes.
    let is_lower = !word.contains(char::is_uppercase);
    let known = WORDS.iter().map(|name| if is_lower { name.to_lowercase() } else { name.to_string() });
    optimizers.chain(columns).chain(tables).chain(known).collect()
}

fn begins(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Whether a name before a dot is a table, or stands after one in the statement.
fn is_table(statement: &str, name: &str, table: &str) -> bool {
    if name.eq_ignore_ascii_case(table) {
        return true;
    }
    let all: Vec<&str> = words(statement).filter(|word| !word.eq_ignore_ascii_case("as")).collect();
    all.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(table) && pair[1].eq_ignore_ascii_case(name))
}

/// The options that may stand here: within the parentheses of RELAX, or of an optimizer.
fn options_at(before: &str) -> Option<Vec<&'static str>> {
    let open = before.rfind('(').filter(|open| !before[*open..].contains(')'))?;
    let after_arrow = before.trim_end().ends_with("=>");
    let name = words(&before[..open]).last().filter(|_| !after_arrow)?;
    option_names().into_iter().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, options)| options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str) -> Vec<String> {
        let table = |name: &str, columns: &[&str]| (name.to_string(), columns.iter().map(|c| c.to_string()).collect());
        let names = [table("docs", &["id", "bm25", "quality"]), table("ranker", &["w_text", "cutoff"])];
        let (before, after) = text.split_once('|').expect("a cursor");
        completions(before, &format!("{before}{after}"), &names).1
    }

    #[test]
    fn completion_knows_tables_columns_options_and_words() {
        assert_eq!(completed("SELECT * FROM d|"), ["docs"]);
        assert_eq!(completed("SELECT d.| FROM docs d, ranker r"), ["id", "bm25", "quality"]);
        assert_eq!(completed("SELECT r.cu| FROM docs d, ranker AS r"), ["cutoff"]);
        assert_eq!(completed("SELECT qu| FROM docs"), ["quality", "qualify"]);
        assert_eq!(completed("sel|"), ["select"]);
        assert_eq!(completed("TRAIN ranker MAXI|"), ["MAXIMIZE"]);
        assert_eq!(completed("TRAIN ra|"), ["ranker"]);
        assert_eq!(completed("USING ad|")[0], "adam");
        assert_eq!(completed("USING adam (learn|"), ["learning_rate => "]);
        assert_eq!(completed("RELAX (temperature => 1, sig|"), ["sigmoid => "]);
        assert!(completed("RELAX (temperature => 1, |").contains(&"final_temperature => ".to_string()));
        assert_eq!(completed("\\ti|"), ["\\timing"]);
    }
}
