//! Functions that an application brings: their value and their slope, over rows of numbers in double precision.

use super::arguments::{Arguments, Cotangents};
use crate::error::{Error, Result};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The SQL type of an argument or of the result of a [`DifferentiableFunction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionType {
    /// A number of single precision.
    Real,
    /// A number of double precision.
    Double,
    /// A vector of so many numbers of single precision.
    RealArray(usize),
    /// A vector of so many numbers of double precision.
    DoubleArray(usize),
}

impl FunctionType {
    /// How many numbers a row has: 1 for a number, its length for a vector.
    pub fn width(self) -> usize {
        match self {
            FunctionType::Real | FunctionType::Double => 1,
            FunctionType::RealArray(length) | FunctionType::DoubleArray(length) => length,
        }
    }

    /// The length of a vector; empty for a number.
    pub fn dimensions(self) -> Vec<usize> {
        match self {
            FunctionType::Real | FunctionType::Double => vec![],
            FunctionType::RealArray(length) | FunctionType::DoubleArray(length) => vec![length],
        }
    }
}

/// As SQL writes it.
impl fmt::Display for FunctionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FunctionType::Real => write!(f, "REAL"),
            FunctionType::Double => write!(f, "DOUBLE"),
            FunctionType::RealArray(length) => write!(f, "REAL[{length}]"),
            FunctionType::DoubleArray(length) => write!(f, "DOUBLE[{length}]"),
        }
    }
}

/// A function of numbers and vectors, written in Rust, with its slope. Once [registered](crate::Database::register_function) it works in
/// exact queries and, where learnable columns reach its arguments, in TRAIN, RELAX and GRADIENT OF.
///
/// Both methods are given many rows at once, and are called on several threads. What a row gets may depend on the arguments of that row
/// alone, and must be the same each time. No argument of a row that counts is NULL: where one is, so is the result.
///
/// A result that is infinite, or no number, is one in SQL too; as an objective it ends a run. A function does not panic: that goes on to
/// who runs the statement, and ends a run.
///
/// ```
/// use nabladb::{Arguments, Cotangents, Database, DifferentiableFunction, FunctionType, values};
///
/// /// What is left after an age, when a half is left after another.
/// struct Decay;
///
/// impl DifferentiableFunction for Decay {
///     fn name(&self) -> &str {
///         "decay"
///     }
///     fn arguments(&self) -> Vec<FunctionType> {
///         vec![FunctionType::Double, FunctionType::Double]
///     }
///     fn result(&self) -> FunctionType {
///         FunctionType::Double
///     }
///     fn value(&self, arguments: Arguments, out: &mut [f64]) {
///         for row in 0..arguments.rows() {
///             out[row] = (-arguments[0][row] / arguments[1][row]).exp2();
///         }
///     }
///     fn vector_jacobian_product(&self, arguments: Arguments, cotangent: &[f64], mut out: Cotangents) {
///         for row in 0..arguments.rows() {
///             let (age, half) = (arguments[0][row], arguments[1][row]);
///             let slope = std::f64::consts::LN_2 * (-age / half).exp2() / half;
///             out[0][row] = -cotangent[row] * slope;
///             out[1][row] = cotangent[row] * slope * age / half;
///         }
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let database = Database::in_memory().await?;
/// database.register_function(Decay)?;
/// let session = database.session()?;
/// assert_eq!(session.run("SELECT decay(6, 3)").await?.value().await?, 0.25.into());
///
/// session.run("CREATE TABLE m (half DOUBLE LEARNABLE DEFAULT 1 CHECK (half >= 0.1))").await?;
/// session.run("INSERT INTO m DEFAULT VALUES").await?;
/// let train = "TRAIN MINIMIZE (SELECT AVG(power(decay(s.age, m.half) - s.left, 2))
///                              FROM (VALUES (3.0, 0.5), (6.0, 0.25)) AS s (age, left), m)
///              USING adam (learning_rate => 0.1) FOR 300 STEPS";
/// session.train(train, &values![]).await?.finish().await?;
/// let half = session.parameter("m.half").await?.f64().unwrap()[[0]];
/// assert!((half - 3.0).abs() < 0.01, "{half}");
/// # nabladb::Result::<()>::Ok(()) }).unwrap();
/// ```
pub trait DifferentiableFunction: Send + Sync {
    /// The name in SQL: lower-case letters, digits and `_`.
    fn name(&self) -> &str;

    /// The types of the arguments, of which there is one at least.
    fn arguments(&self) -> Vec<FunctionType>;

    /// The type of the result.
    fn result(&self) -> FunctionType;

    /// Writes the result of each row: rows x width of the result, row after row. `out` is all 0 before.
    fn value(&self, arguments: Arguments<'_>, out: &mut [f64]);

    /// Writes the vector-Jacobian product of each row: for each number of each argument, the sum over the numbers of the result of the
    /// cotangent times the slope of that number of the result. `cotangent` is laid out as the result is, `out` as the arguments are, and
    /// all 0 before. In rows whose cotangent is 0 the product counts as 0, whatever is written.
    fn vector_jacobian_product(&self, arguments: Arguments<'_>, cotangent: &[f64], out: Cotangents<'_>);
}

/// A function of an application, with what it says of itself. Clones are the same one, and are equal.
#[derive(Clone)]
pub struct Function(Arc<Described>);

struct Described {
    function: Box<dyn DifferentiableFunction>,
    name: String,
    arguments: Vec<FunctionType>,
    /// Where each argument begins among the numbers of a row, and where the last one ends.
    starts: Vec<usize>,
    result: FunctionType,
}

impl Function {
    pub fn new(function: impl DifferentiableFunction + 'static) -> Result<Self> {
        let (name, arguments, result) = (function.name().to_string(), function.arguments(), function.result());
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !begins || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Err(Error::new(format!("'{name}' is no name of a function"))
                .hint("a name is of lower-case letters, digits and _, and begins with no digit"));
        }
        if arguments.is_empty() {
            return Err(
                Error::new(format!("function '{name}' has no arguments")).hint("declare one at least, such as FunctionType::Double")
            );
        }
        if let Some(empty) = arguments.iter().chain([&result]).find(|t| t.width() == 0) {
            return Err(Error::new(format!("function '{name}' has a vector of type {empty}")).hint("a vector has one element at least"));
        }
        let ends = arguments.iter().scan(0, |end, t| {
            *end += t.width();
            Some(*end)
        });
        let starts = std::iter::once(0).chain(ends).collect();
        Ok(Self(Arc::new(Described { function: Box::new(function), name, arguments, starts, result })))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn arguments(&self) -> &[FunctionType] {
        &self.0.arguments
    }

    pub fn result(&self) -> FunctionType {
        self.0.result
    }

    /// Where each argument begins among the numbers of a row, and where the last one ends.
    pub fn starts(&self) -> &[usize] {
        &self.0.starts
    }

    /// How many numbers the arguments of a row have together.
    pub fn width(&self) -> usize {
        self.0.starts[self.0.arguments.len()]
    }

    /// The name with the types of the arguments.
    pub fn signature(&self) -> String {
        let types: Vec<String> = self.0.arguments.iter().map(FunctionType::to_string).collect();
        format!("{}({})", self.0.name, types.join(", "))
    }

    /// The results of rows, from their arguments one after another.
    pub fn value(&self, arguments: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.0.function.value(self.rows(arguments), out);
    }

    /// The cotangents of the arguments of rows, from those of the results.
    pub fn pull_back(&self, arguments: &[f64], cotangent: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let given = self.rows(arguments);
        self.0.function.vector_jacobian_product(given, cotangent, Cotangents::new(out, &self.0.starts, given.rows()));
    }

    fn rows<'a>(&'a self, numbers: &'a [f64]) -> Arguments<'a> {
        Arguments::new(numbers, &self.0.starts, numbers.len() / self.width())
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.signature())
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
