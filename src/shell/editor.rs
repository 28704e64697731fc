//! The line editor: colours, completion, history, and when a statement is finished.

use super::command::{COMMANDS, Command};
use crate::session::{Piece, WORDS, is_complete, option_names, pieces};
use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultHinter, Emacs, FileBackedHistory, Highlighter, KeyCode, KeyModifiers, MenuBuilder,
    Reedline, ReedlineEvent, ReedlineMenu, Span, StyledText, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// How many entries the history keeps.
const HISTORY: usize = 10_000;
const MENU: &str = "completion";

/// Tables with their columns, as the newest commit has them.
pub(super) type Names = Arc<Mutex<Vec<(String, Vec<String>)>>>;

pub(super) fn editor(names: Names) -> reedline::Result<Reedline> {
    let mut keys = default_emacs_keybindings();
    let complete = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let history = match history_file() {
        Some(path) => FileBackedHistory::with_file(HISTORY, path),
        None => FileBackedHistory::new(HISTORY),
    };
    Ok(Reedline::create()
        .with_history(Box::new(history?))
        .with_validator(Box::new(Sentences))
        .with_highlighter(Box::new(Colours))
        .with_hinter(Box::new(DefaultHinter::default().with_style(Style::new().dimmed())))
        .with_completer(Box::new(Completion(names)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU))))
        .with_edit_mode(Box::new(Emacs::new(keys))))
}

/// NABLA_HISTORY, or .nabla_history in the home folder; an empty one keeps none.
fn history_file() -> Option<PathBuf> {
    match std::env::var_os("NABLA_HISTORY") {
        Some(path) => (!path.is_empty()).then(|| PathBuf::from(path)),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".nabla_history")),
    }
}

/// A line is finished when its last statement is, or when it is a command of the shell.
struct Sentences;

impl Validator for Sentences {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.trim().is_empty() || Command::of(line).is_some() || is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut text = StyledText::new();
        if line.starts_with('\\') {
            text.push((Color::Magenta.normal(), line.into()));
            return text;
        }
        for (bytes, piece) in pieces(line) {
            let style = match piece {
                Piece::Word => Color::Blue.bold(),
                Piece::Number => Color::Cyan.normal(),
                Piece::Text => Color::Green.normal(),
                Piece::Comment => Color::DarkGray.normal(),
                Piece::Name | Piece::Other => Style::new(),
            };
            text.push((style, line[bytes].into()));
        }
        text
    }
}

struct Completion(Names);

impl Completer for Completion {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, found) = completions(&line[..position], line, &names);
        let suggestion =
            |value: String| Suggestion { value, span: Span::new(start, position), append_whitespace: false, ..Suggestion::default() };
        CompletionResult::fresh(found.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// What may stand at the end of `before`, and where in it what is replaced begins.
fn completions(before: &str, whole: &str, names: &[(String, Vec<String>)]) -> (usize, Vec<String>) {
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || "_.\\".contains(c)))
        .map_or(0, |i| i + before[i..].chars().next().map_or(0, char::len_utf8));
    let word = &before[start..];
    let begins = |name: &str, word: &str| {
        name.len() >= word.len() && name.is_char_boundary(word.len()) && name[..word.len()].eq_ignore_ascii_case(word)
    };
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
    if word.is_empty() {
        return (start, vec![]);
    }
    let last = words(&before[..start]).last().map(|word| word.to_uppercase()).unwrap_or_default();
    let of_tables = matches!(last.as_str(), "FROM" | "JOIN" | "INTO" | "UPDATE" | "TABLE" | "TRAIN" | "DESCRIBE" | "VIEW");
    let mut found: Vec<String> = names.iter().map(|(table, _)| table).filter(|name| begins(name, word)).cloned().collect();
    if !of_tables {
        let read = names.iter().filter(|(table, _)| words(whole).any(|word| word.eq_ignore_ascii_case(table)));
        found.splice(0..0, read.flat_map(|(_, columns)| columns).filter(|name| begins(name, word)).cloned());
        if last == "USING" {
            found.splice(0..0, option_names().iter().skip(1).map(|(name, _)| name.to_string()).filter(|name| begins(name, word)));
        }
        let lower = word.chars().all(|c| !c.is_uppercase());
        found.extend(WORDS.iter().filter(|name| begins(name, word)).map(|name| if lower { name.to_lowercase() } else { name.to_string() }));
    }
    let mut known = std::collections::HashSet::new();
    found.retain(|name| known.insert(name.clone()));
    (start, found)
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
