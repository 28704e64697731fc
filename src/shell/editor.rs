//! The line editor: colours, completion, history, and when a statement is finished.

use super::command::Command;
use super::complete::completions;
use super::settings::Settings;
use crate::session::{Piece, is_complete, pieces};
use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultHinter, Emacs, FileBackedHistory, Highlighter, KeyCode, KeyModifiers, MenuBuilder,
    Reedline, ReedlineEvent, ReedlineMenu, Span, StyledText, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};
use std::sync::{Arc, Mutex, PoisonError};

const MENU: &str = "completion";

/// Tables with their columns, as the newest commit has them.
pub(super) type Names = Arc<Mutex<Vec<(String, Vec<String>)>>>;

pub(super) fn editor(names: Names, settings: &Settings) -> reedline::Result<Reedline> {
    let mut keys = default_emacs_keybindings();
    let complete = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let entries = settings.history_size.get();
    let history = match settings.history_file() {
        Some(path) => FileBackedHistory::with_file(entries, path),
        None => FileBackedHistory::new(entries),
    };
    Ok(Reedline::create()
        .with_history(Box::new(history?))
        .with_ansi_colors(settings.is_coloured())
        .with_validator(Box::new(Sentences))
        .with_highlighter(Box::new(Colours))
        .with_hinter(Box::new(DefaultHinter::default().with_style(Style::new().dimmed())))
        .with_completer(Box::new(Completion(names)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU))))
        .with_edit_mode(Box::new(Emacs::new(keys))))
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
