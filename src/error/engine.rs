//! What DataFusion, its parser and Arrow say, in the form of our errors: the message without the
//! layers it passed through, and the place in the SQL where they know it.

use super::{Error, Place};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        // A DataFusion error that carries one of ours came from our own table or function.
        if let DataFusionError::External(inner) = error.find_root()
            && let Some(ours) = inner.downcast_ref::<Error>()
        {
            return ours.clone();
        }
        if let DataFusionError::ResourcesExhausted(message) = error.find_root() {
            // What each operator holds comes before what none could be had for.
            let missing = message.lines().last().unwrap_or_default().trim_start_matches("Error: ");
            return Error::new(format!("the query needs more memory than its limit: {}", first_lower(missing)))
                .hint("raise it: --memory-limit, or SET datafusion.runtime.memory_limit = '1G'");
        }
        if let DataFusionError::Collection(errors) = error {
            return Error::all(errors.into_iter().map(Error::from)).unwrap_or_else(|| Error::new("the engine failed without a reason"));
        }
        let span = error.diagnostic().and_then(|d| d.span);
        let notes: Vec<String> = error.diagnostic().map(|d| d.helps.iter().map(|h| h.message.clone()).collect()).unwrap_or_default();
        let message = root_message(&error);
        let (what, meant) = readable(without_place(&message));
        let mut ours = Error::new(first_lower(&what));
        if let Some(span) = span {
            ours = ours.at(Place::Position { line: span.start.line, column: span.start.column });
        } else if let Some(place) = parser_place(&message) {
            ours = ours.at(place);
        }
        if let Some(meant) = meant {
            ours = ours.hint(meant);
        } else if !notes.is_empty() {
            ours = ours.hint(first_lower(&notes.join("; ")));
        }
        ours
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(engine) => Error::from(*engine),
                Err(inner) => Error::new(first_lower(&inner.to_string())),
            },
            other => Error::new(first_lower(&other.to_string())),
        }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

fn root_message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => root_message(inner),
        DataFusionError::Shared(inner) => root_message(inner),
        DataFusionError::Plan(m) | DataFusionError::Execution(m) | DataFusionError::NotImplemented(m) => m.clone(),
        DataFusionError::SQL(inner, _) => inner.to_string().trim_start_matches("sql parser error: ").to_string(),
        DataFusionError::SchemaError(inner, _) => inner.to_string(),
        DataFusionError::ArrowError(inner, _) => inner.to_string(),
        other => other.strip_backtrace(),
    }
}

/// The parser ends its messages with "at Line: 1, Column: 8".
fn parser_place(message: &str) -> Option<Place> {
    let (_, tail) = message.rsplit_once("at Line: ")?;
    let (line, column) = tail.split_once(", Column: ")?;
    Some(Place::Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn without_place(message: &str) -> &str {
    message.rsplit_once(" at Line: ").map_or(message, |(what, _)| what)
}

/// The message without what is not for the user, and what it says that helps.
fn readable(message: &str) -> (String, Option<String>) {
    if let Some((name, rest)) = message.strip_prefix("No field named ").and_then(|rest| rest.split_once(['\n', ' ']).or(Some((rest, "")))) {
        let what = format!("column '{}' not found", name.trim_end_matches('.').replace('"', ""));
        let meant = between(rest, "Did you mean '", "'").map(|meant| format!("did you mean '{meant}'?"));
        let known = rest.split_once("Valid fields are ").map(|(_, known)| format!("the columns are {}", known.trim_end_matches('.')));
        return (what, meant.or(known));
    }
    if let Some(call) = between(message, "No function matches the given name and argument types '", "'") {
        let candidates = message.split_once("Candidate functions:").map(|(_, list)| list.split_whitespace().collect::<Vec<_>>().join(" "));
        return (format!("no function '{call}'"), candidates.map(|list| format!("cast the arguments; there is {list}")));
    }
    if message.contains("could not cast array of type List(") {
        let what = "a function of vectors, or of numbers, was given arrays of another depth";
        return (what.into(), Some("flatten(x) takes one level of nesting away, and x[1] is an element".into()));
    }
    if message.starts_with("Projections require unique expression names") {
        let named: Vec<&str> = message.split('"').skip(1).step_by(2).take(2).collect();
        let what = format!("two columns of a SELECT list have one name: {}", named.join(" and "));
        return (what, Some("give one of them another: SELECT ... AS other".into()));
    }
    match message.split_once("\nDid you mean") {
        Some((what, meant)) => (what.trim_end_matches('.').to_string(), Some(format!("did you mean{meant}"))),
        None => (message.split("\nThis issue was likely caused by").next().unwrap_or_default().to_string(), None),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

fn first_lower(message: &str) -> String {
    let mut letters = message.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().collect::<String>() + letters.as_str()
        }
        _ => message.to_string(),
    }
}
