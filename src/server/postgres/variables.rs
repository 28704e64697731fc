//! Settings that drivers of PostgreSQL make as they begin, and that say how to speak, not what to do: they are taken and told again.

use crate::error::{Error, Result};
use arrow::array::{RecordBatch, StringArray};
use std::sync::Arc;

/// The version of PostgreSQL whose clients find here what they ask for.
pub(super) const SERVER_VERSION: &str = "16.6";

/// Names with the values that they have here.
const VARIABLES: [(&str, &str); 18] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("intervalstyle", "postgres"),
    ("lock_timeout", "0"),
    ("search_path", "main"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_isolation", "serializable"),
];

pub(super) enum Answer {
    Set,
    Shown(RecordBatch),
}

/// The answer to SET or SHOW of one of them; `None` for any other statement.
///
/// # Errors
/// A session is to be read-only, which a client would rely on.
pub(super) fn answer(sql: &str) -> Result<Option<Answer>> {
    let (text, answer) = (sql.to_lowercase(), answered(sql));
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let is_off = words.last().is_some_and(|value| ["off", "false", "no", "0", "default"].contains(value));
    let protects = match words.iter().position(|word| ["characteristics", "default_transaction_read_only"].contains(word)) {
        Some(at) if words[at] == "characteristics" => words.windows(2).any(|pair| pair == ["read", "only"]),
        Some(_) => words[0] == "set" && !is_off,
        None => false,
    };
    match answer {
        Some(Answer::Set) if protects => {
            Err(Error::new("a session cannot be made read-only").hint("BEGIN READ ONLY, or serve with --read-only"))
        }
        answer => Ok(answer),
    }
}

fn answered(sql: &str) -> Option<Answer> {
    let sql = sql.trim().trim_end_matches(';').to_lowercase();
    let mut words = sql.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    let verb = words.next()?;
    let words: Vec<&str> = words.skip_while(|word| ["session", "local"].contains(word) && verb == "set").collect();
    let name = match words.as_slice() {
        ["transaction", "isolation", "level", ..] => "transaction_isolation",
        ["time", "zone", ..] => "timezone",
        ["characteristics", "as", "transaction", ..] => "default_transaction_isolation",
        ["names", ..] => "client_encoding",
        [name, ..] => name,
        [] => return None,
    };
    let (name, value) = VARIABLES.iter().find(|(known, _)| *known == name)?;
    match verb {
        "set" | "reset" => Some(Answer::Set),
        "show" => {
            let value = Arc::new(StringArray::from(vec![*value]));
            RecordBatch::try_from_iter([(*name, value as _)]).ok().map(Answer::Shown)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_drivers_are_known_and_those_of_the_engine_are_not() {
        for known in [
            "SET extra_float_digits = 3",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "set client_encoding to 'UTF8';",
            "SET LOCAL statement_timeout=0",
            "SET TIME ZONE 'UTC'",
            "SET NAMES 'utf8'",
            "RESET application_name",
            "SET application_name = 'read only report'",
            "SET default_transaction_read_only TO off",
        ] {
            assert!(matches!(answer(known), Ok(Some(Answer::Set))), "{known}");
        }
        assert!(matches!(answer("SHOW transaction isolation level"), Ok(Some(Answer::Shown(_)))));
        for other in ["SET datafusion.execution.batch_size = 10", "SHOW TABLES", "SELECT 1", "SHOW ALL", "", "SET"] {
            assert!(matches!(answer(other), Ok(None)), "{other}");
        }
        for protects in [
            "SET default_transaction_read_only = on",
            "SET default_transaction_read_only='on'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ  ONLY",
        ] {
            assert!(answer(protects).is_err(), "{protects}");
        }
    }
}
