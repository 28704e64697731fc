//! The commands of the prompt: `\d` and its like, with a dot for the backslash if one prefers.

use super::plot::Plot;
use crate::error::{Error, Result};

/// What a line asks of the shell and not of the database.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Help,
    Quit,
    Tables,
    Describe(String),
    Timing,
    Expanded,
    Paging,
    Format(String),
    Output(Option<String>),
    Include(String),
    Edit,
    /// Seconds between two runs of the last statement.
    Watch(f64),
    Plot(Plot),
}

/// Names, what they take, and what they do.
pub(super) const COMMANDS: [(&str, &str, &str); 13] = [
    ("help", "", "this (also \\?)"),
    ("q", "", "leave (also Ctrl-D)"),
    ("d", "[TABLE]", "the tables and views, or the columns of one"),
    ("dt", "", "the tables and views"),
    ("i", "FILE", "run the statements of a file"),
    ("o", "[FILE]", "write results to a file, or to the terminal again"),
    ("e", "", "edit the last statement with $EDITOR, and run it"),
    ("watch", "[SECONDS]", "run the last statement again and again, until Ctrl-C"),
    ("plot", "[KIND] [-o FILE] [SELECT]", "draw a query, the last one or the last run: line, points, histogram or picture; as PNG or SVG"),
    ("x", "", "tables with a line for each column, or with columns again"),
    ("format", "FORMAT", "how results are written: table, csv, json, ndjson or arrow"),
    ("timing", "", "tell how long each statement takes, or no more"),
    ("pager", "", "show whole tables page by page with $PAGER, or no more"),
];

/// Other names that users of other shells try.
const ALIASES: [(&str, &str); 11] = [
    ("?", "help"),
    ("h", "help"),
    ("quit", "q"),
    ("exit", "q"),
    ("tables", "dt"),
    ("schema", "d"),
    ("read", "i"),
    ("output", "o"),
    ("edit", "e"),
    ("timer", "timing"),
    ("mode", "format"),
];

impl Command {
    /// The command of a line; `None` where it is SQL.
    pub fn of(line: &str) -> Option<Result<Self>> {
        let line = line.trim();
        if let word @ ("help" | "quit" | "exit") = line.trim_end_matches(';') {
            return Some(Self::named(word, ""));
        }
        // A number may begin with a dot.
        let rest =
            line.strip_prefix('\\').or_else(|| line.strip_prefix('.').filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())))?;
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some(Self::named(name.trim_end_matches(';'), argument.trim().trim_end_matches(';').trim()))
    }

    fn named(name: &str, argument: &str) -> Result<Self> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        let Some((_, takes, _)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
            return Err(Error::new(format!("unknown command \\{name}")).hint("\\help lists the commands"));
        };
        if takes.is_empty() && !argument.is_empty() {
            return Err(Error::new(format!("\\{name} takes nothing, not '{argument}'")));
        }
        if argument.is_empty() && !takes.is_empty() && !takes.starts_with('[') {
            return Err(Error::new(format!("\\{name} needs a {}", takes.to_lowercase())).hint(format!("\\{name} {takes}")));
        }
        let given = (!argument.is_empty()).then(|| argument.to_string());
        Ok(match name {
            "help" => Command::Help,
            "q" => Command::Quit,
            "dt" => Command::Tables,
            "d" => given.map_or(Command::Tables, Command::Describe),
            "i" => Command::Include(argument.into()),
            "o" => Command::Output(given),
            "e" => Command::Edit,
            "watch" => match given.map_or(Ok(2.0), |text| text.parse::<f64>()) {
                Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Command::Watch(seconds),
                _ => return Err(Error::new(format!("'{argument}' is no number of seconds")).hint("\\watch 2")),
            },
            "plot" => Command::Plot(argument.parse()?),
            "x" => Command::Expanded,
            "format" => Command::Format(argument.into()),
            "timing" => Command::Timing,
            _ => Command::Paging,
        })
    }
}

/// All commands, for reading.
pub(super) fn help() -> String {
    let lines = COMMANDS.map(|(name, takes, does)| format!("  {:<31} {does}\n", format!("\\{name} {takes}")));
    format!(
        "Statements end with a semicolon and may take several lines; Tab completes, Ctrl-C cancels.\n{}\
         TRAIN ... {{ MINIMIZE | MAXIMIZE }} ( SELECT ... ) learns; EXPLAIN TRAIN shows how.",
        lines.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::plot::Kind;

    #[test]
    fn commands_have_a_backslash_or_a_dot_and_other_shells_names() {
        let read = |line: &str| Command::of(line).map(|c| c.map_err(|e| e.to_string()));
        assert_eq!(read("\\d docs;"), Some(Ok(Command::Describe("docs".into()))));
        assert_eq!(read(".tables"), Some(Ok(Command::Tables)));
        assert_eq!(read("\\watch"), Some(Ok(Command::Watch(2.0))));
        assert_eq!(read(".read  a b.sql"), Some(Ok(Command::Include("a b.sql".into()))));
        assert_eq!(read("\\o"), Some(Ok(Command::Output(None))));
        assert_eq!(read("exit;"), Some(Ok(Command::Quit)));
        assert_eq!(read("SELECT 1"), None);
        assert_eq!(read(".5"), None);
        for (line, said) in
            [("\\nope", "unknown command \\nope"), ("\\i", "\\i needs a file"), ("\\x on", "takes nothing"), ("\\watch -1", "seconds")]
        {
            assert!(read(line).expect("a command").expect_err("refused").contains(said), "{line}");
        }
        assert!(
            COMMANDS
                .iter()
                .all(|(name, takes, _)| takes.is_empty() || *name == "plot" || read(&format!("\\{name} 1")).expect("a command").is_ok())
        );
        assert!(matches!(read("\\plot points;"), Some(Ok(Command::Plot(Plot { kind: Kind::Points, .. })))));
    }
}
