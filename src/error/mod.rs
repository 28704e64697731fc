//! Every way a sentence can fail: what went wrong, where in the SQL, and what to do about it.
//! It never hears of gradients, tables or files; it only carries what the other rooms say.

use std::fmt;

/// The result of anything that can fail with a reason that the user can act on.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One failed sentence, with every reason that was found for refusing it.
///
/// ```
/// use nabladb::error::{Error, Place};
/// let e = Error::new("unknown option 'learning_rat'").at(Place::Position { line: 1, column: 40 }).hint("did you mean 'learning_rate'?");
/// assert_eq!(e.to_string(), "unknown option 'learning_rat'\n  at: line 1, column 40\n  hint: did you mean 'learning_rate'?");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    refusals: Vec<Refusal>,
}

/// One reason: what, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, in lower case and without a full stop.
    pub what: String,
    /// Where, if that is known.
    pub place: Option<Place>,
    /// What to write or do instead.
    pub hint: Option<String>,
}

/// Where the trouble is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line and a column of the SQL text, both counted from 1.
    Position {
        /// Counted from 1.
        line: u64,
        /// In letters, counted from 1.
        column: u64,
    },
    /// A piece of the query, written as SQL.
    Expression(String),
    /// A file, with the line and the column name where they are known.
    File {
        /// As it was given.
        path: String,
        /// Counted from 1.
        line: Option<u64>,
        /// The name of a column of the file.
        column: Option<String>,
    },
    /// A step of a training run and the operator that was at work.
    Step {
        /// Counted from 1.
        step: u64,
        /// As SQL.
        operator: String,
    },
}

/// Both results, or the reasons of both.
pub fn both<A, B>(a: Result<A>, b: Result<B>) -> Result<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(Error::all(a.err().into_iter().chain(b.err())).expect("one of them failed")),
    }
}

impl Error {
    /// An error with one reason. `what` is lower case and short.
    pub fn new(what: impl Into<String>) -> Self {
        Self { refusals: vec![Refusal { what: what.into(), place: None, hint: None }] }
    }

    /// All reasons of a sentence at once; `None` when there are none. Equal reasons are said once.
    pub fn all(errors: impl IntoIterator<Item = Error>) -> Option<Self> {
        let mut refusals: Vec<Refusal> = Vec::new();
        for refusal in errors.into_iter().flat_map(|e| e.refusals) {
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
        (!refusals.is_empty()).then_some(Self { refusals })
    }

    /// Says where, unless the place is already known.
    pub fn at(mut self, place: Place) -> Self {
        for refusal in &mut self.refusals {
            refusal.place.get_or_insert_with(|| place.clone());
        }
        self
    }

    /// Tells lines and columns of another text: `place` gives those that each has there.
    pub fn moved(mut self, place: impl Fn(u64, u64) -> (u64, u64)) -> Self {
        for refusal in &mut self.refusals {
            if let Some(Place::Position { line, column }) = &mut refusal.place {
                (*line, *column) = place(*line, *column);
            }
        }
        self
    }

    /// Forgets the places in the SQL, which are those of a text that the user did not write just now.
    pub fn without_positions(mut self) -> Self {
        for refusal in &mut self.refusals {
            refusal.place.take_if(|place| matches!(place, Place::Position { .. }));
        }
        self
    }

    /// Says what to do, unless that is already said.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        for refusal in &mut self.refusals {
            refusal.hint.get_or_insert_with(|| hint.clone());
        }
        self
    }

    /// Every reason.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, refusal) in self.refusals.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", refusal.what)?;
            if let Some(place) = &refusal.place {
                write!(f, "\n  at: {place}")?;
            }
            if let Some(hint) = &refusal.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Position { line, column } => write!(f, "line {line}, column {column}"),
            Place::Expression(sql) => write!(f, "{sql}"),
            Place::File { path, line, column } => {
                write!(f, "file {path}")?;
                line.map_or(Ok(()), |line| write!(f, ", line {line}"))?;
                column.as_ref().map_or(Ok(()), |column| write!(f, ", column {column}"))
            }
            Place::Step { step, operator } => write!(f, "step {step}, {operator}"),
        }
    }
}

impl std::error::Error for Error {}

mod engine;
