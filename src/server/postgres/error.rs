//! Errors as PostgreSQL's clients show them: with a code, the place in the text, and the hint.

use crate::error::{Error, Place};
use crate::server::statement::Failure;
use pgwire::error::{ErrorInfo, PgWireError};

/// What a client is told of a statement that failed; the place is one in `sql`.
pub(super) fn refused(failure: &Failure, sql: &str) -> PgWireError {
    let error = failure.error();
    let mut info = ErrorInfo::new("ERROR".into(), code(failure, &error).into(), String::new());
    if let [only] = error.refusals() {
        info.message = only.what.clone();
        info.hint = only.hint.clone();
        match &only.place {
            Some(Place::Position { line, column }) => info.position = position(sql, *line, *column).map(|at| at.to_string()),
            Some(place) => info.detail = Some(format!("at: {place}")),
            None => {}
        }
    } else {
        info.message = error.to_string();
    }
    PgWireError::UserError(Box::new(info))
}

/// The letter of a text that is at a line and a column, counted from 1.
fn position(sql: &str, line: u64, column: u64) -> Option<u64> {
    let before: usize = sql.split_inclusive('\n').take(line.checked_sub(1)? as usize).map(|l| l.chars().count()).sum();
    Some(before as u64 + column)
}

/// A code of PostgreSQL's list: one that clients act upon, or that the statement was refused.
fn code(failure: &Failure, error: &Error) -> &'static str {
    let what = error.refusals().first().map_or("", |refusal| refusal.what.as_str());
    match failure {
        Failure::Cancelled | Failure::GivenUp | Failure::TimedOut => "57014",
        Failure::TooMany => "53400",
        Failure::Stopping => "57P01",
        Failure::Statement(_) if what.starts_with("duplicate primary key") => "23505",
        Failure::Statement(_) if what.contains("NOT NULL") => "23502",
        Failure::Statement(_) if what.starts_with("expected: ") || what.contains("does not begin a statement") => "42601",
        Failure::Statement(_) if what.contains("READ ONLY") || what.contains("for reading only") => "25006",
        Failure::Statement(_) if what.starts_with("another session has changed") => "40001",
        Failure::Statement(_) if what.starts_with("a statement of the transaction has failed") => "25P02",
        Failure::Statement(_) if what.starts_with("table '") && what.ends_with("not found") => "42P01",
        Failure::Statement(_) => "42000",
    }
}
