//! Errors with the line that they are about.

use crate::error::{Error, Place};
use unicode_width::UnicodeWidthChar;

/// An error, with the lines of a text that it places itself in, and a mark below each column.
pub(super) fn marked(error: &Error, sql: &str) -> String {
    let mut told = String::new();
    for (number, refusal) in error.refusals().iter().enumerate() {
        if number > 0 {
            told.push('\n');
        }
        told.push_str(&refusal.what);
        if let Some(place) = &refusal.place {
            told.push_str(&format!("\n  at: {place}"));
        }
        if let Some(Place::Position { line, column }) = refusal.place
            && let Some(text) = sql.lines().nth((line as usize).saturating_sub(1))
        {
            let blank = |c: char| if c == '\t' { "\t".to_string() } else { " ".repeat(c.width().unwrap_or(0)) };
            let before: String = text.chars().take((column as usize).saturating_sub(1)).map(blank).collect();
            told.push_str(&format!("\n    {text}\n    {before}^"));
        }
        if let Some(hint) = &refusal.hint {
            told.push_str(&format!("\n  hint: {hint}"));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_the_column() {
        let error = Error::new("column 'nope' not found").at(Place::Position { line: 2, column: 8 }).hint("did you mean 'note'?");
        let told = "column 'nope' not found\n  at: line 2, column 8\n    SELECT nope\n           ^\n  hint: did you mean 'note'?";
        assert_eq!(marked(&error, "SELECT 1;\nSELECT nope"), told);
        let far = Error::new("x").at(Place::Position { line: 9, column: 1 });
        assert_eq!(marked(&far, "SELECT 1"), far.to_string());
    }
}
