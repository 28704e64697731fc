//! The prompt on a terminal: lines are edited, and a statement ends with a semicolon.

use super::{Format, Stop, run_text, say_error};
use crate::error::Error;
use crate::session::{Session, is_complete};
use reedline::{DefaultPrompt, DefaultPromptSegment, FileBackedHistory, Reedline, Signal, ValidationResult, Validator};
use std::io::{Write, stderr};

const HELP: &str = "\
Statements end with a semicolon and may take several lines.
  \\d          the tables and views
  \\q          leave (also Ctrl-D)
  \\help       this
TRAIN ... { MINIMIZE | MAXIMIZE } ( SELECT ... ) learns; EXPLAIN TRAIN shows how.";

const TABLES: &str = "SELECT table_schema, table_name, table_type FROM information_schema.tables
WHERE table_schema <> 'information_schema' ORDER BY table_schema, table_name";

/// How many entries the history keeps.
const HISTORY: usize = 10_000;

pub(super) async fn talk(session: &Session, format: Format) -> Result<(), Stop> {
    let failed = |e: &dyn std::fmt::Display| Stop::Failed(Error::new(format!("the terminal cannot be used: {e}")));
    let history = FileBackedHistory::new(HISTORY).map_err(|e| failed(&e))?;
    let mut editor = Reedline::create().with_history(Box::new(history)).with_validator(Box::new(Sentences));
    let prompt = DefaultPrompt::new(DefaultPromptSegment::Basic("nabla".into()), DefaultPromptSegment::Empty);
    let _ = writeln!(stderr(), "NablaDB {}: \\help for help, \\q to leave", env!("CARGO_PKG_VERSION"));
    loop {
        let line = match editor.read_line(&prompt).map_err(|e| failed(&e))? {
            Signal::Success(line) => line,
            Signal::CtrlC => continue,
            _ => return Ok(()),
        };
        let result = match line.trim().trim_end_matches(';') {
            "" => continue,
            "\\q" | "quit" | "exit" => return Ok(()),
            "\\help" | "\\?" | "help" => {
                let _ = writeln!(stderr(), "{HELP}");
                continue;
            }
            "\\d" | "\\dt" => run_text(session, TABLES, format).await,
            word if word.starts_with('\\') => {
                Err(Stop::Failed(Error::new(format!("unknown command {word}")).hint("\\help lists the commands")))
            }
            _ => run_text(session, &line, format).await,
        };
        match result {
            Err(Stop::Failed(error)) => say_error(&error),
            Err(Stop::Closed) => return Ok(()),
            Ok(()) => {}
        }
    }
}

/// A line is finished when its last statement is, or when it is a command of the shell.
struct Sentences;

impl Validator for Sentences {
    fn validate(&self, line: &str) -> ValidationResult {
        let line = line.trim();
        let is_command = line.starts_with('\\') || matches!(line, "" | "help" | "quit" | "exit");
        if is_command || is_complete(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}
