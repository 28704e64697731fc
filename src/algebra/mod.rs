//! Our own operators and expressions, as plain data: what is left of a query when its frozen part has
//! been taken out. This room never hears of DataFusion, of gradients or of how anything is computed.

mod order;
mod output;
mod read;
mod vector;

pub use order::{Order, Ranking, Running};
pub use vector::{LAYER_NORM_EPSILON, LEAST_LOGARITHM, Vector};

use crate::buffer::Buffer;
use crate::scalar::{Binary, Function, Unary};

/// A live query: stages in order, each reading finished ones. The outputs of the last one are the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub stages: Vec<Stage>,
    /// Number of the stage whose aggregates a batch samples, when there is exactly one outermost.
    pub outermost: Option<usize>,
}

/// A piece of a query with one domain: the rows of its skeleton, reduced to groups when they are all there.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What the stage is, for `EXPLAIN` and for errors.
    pub name: String,
    /// Frozen columns that the skeleton leaves for the live part, in the order of their slots.
    pub residuals: Vec<Residual>,
    /// Live relations that a row refers to.
    pub inputs: Vec<Input>,
    /// Factors of a row's weight; none means that every row is present.
    pub weight: Vec<Expression>,
    pub grouping: Grouping,
    /// The live columns of the finished stage.
    pub outputs: Vec<Output>,
    /// Which stage of the query it is, and for which time: the rounds of a recursion repeat stages.
    pub origin: usize,
    pub round: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    /// The frozen expression, as SQL.
    pub name: String,
    pub kind: ResidualKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidualKind {
    /// A number, or a vector or matrix of numbers.
    Numbers,
    /// A truth value, as 1 and 0.
    Truth,
    /// Row numbers of an input.
    Rows,
}

/// A live relation and the residual that holds its row for each row of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    pub source: Source,
    pub rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A table with live columns, by number.
    Table(usize),
    /// A finished stage, by number.
    Stage(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// The rows as they are: the stage is a list of rows that the next one reads.
    Rows,
    /// The rows as they are, those of equal frozen keys next to each other, for what depends on a row's place among them.
    /// Without keys, all rows together.
    Partitions,
    /// One row for each distinct value of the frozen keys.
    Keys,
    /// The same, where a group stands for a row of a query around this one, which has it even when nothing is in it:
    /// its aggregates are there to the degree that it has a row.
    Each,
    /// One row for all.
    Whole,
}

impl Grouping {
    pub fn has_keys(self) -> bool {
        matches!(self, Grouping::Keys | Grouping::Each)
    }
}

/// A live column of a finished stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub value: OutputValue,
    /// As SQL, for `EXPLAIN` and for errors.
    pub label: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OutputValue {
    /// A value of each row (only with [`Grouping::Rows`] and [`Grouping::Partitions`]).
    Row(Expression),
    /// What the place of each row in its partition is worth (only with [`Grouping::Partitions`]).
    Ranked {
        ranking: Ranking,
        order: Order,
    },
    Aggregate {
        aggregate: Aggregate,
        argument: Option<Expression>,
        filter: Option<Predicate>,
    },
    /// Of each row, the sum or the count of the rows of its partition before it, and up to it with `through`
    /// (only with [`Grouping::Partitions`]).
    Running {
        running: Running,
        argument: Option<Expression>,
        filter: Option<Predicate>,
        through: bool,
    },
    /// The value of the first row of a group in a live order.
    First {
        value: Expression,
        ignore_nulls: bool,
        order: Order,
        filter: Option<Predicate>,
    },
    /// A column of the rows of several finished stages, one stage after another.
    Stacked {
        stages: Vec<usize>,
        column: usize,
    },
    /// The values of a group's rows as one vector, in the order in which the skeleton leaves them.
    Array(Expression),
    /// A moment about the mean; `y` is `x` where it is of one value.
    Moment {
        moment: Moment,
        x: Expression,
        y: Expression,
        filter: Option<Predicate>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    /// Interpolated between the rows around this fraction of the others, MEDIAN being 0.5.
    Quantile(f64),
    /// All, and any, of the truth values that are not NULL.
    And,
    Or,
    /// The degree to which a group has a row: 1 - prod(1 - w).
    Presence,
    /// The same where at most one of the group's rows is ever present: sum w.
    PresenceOfOne,
    /// The degree to which a group has no row: prod(1 - w).
    Absence,
}

/// An aggregate about the mean of one value or of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    VariancePopulation,
    VarianceSample,
    DeviationPopulation,
    DeviationSample,
    CovariancePopulation,
    CovarianceSample,
    Correlation,
    RegressionSlope,
    RegressionIntercept,
    RegressionR2,
    RegressionCount,
    RegressionAvgX,
    RegressionAvgY,
    RegressionSxx,
    RegressionSxy,
    RegressionSyy,
}

impl Moment {
    pub const ALL: &'static [Moment] = &[
        Moment::VariancePopulation,
        Moment::VarianceSample,
        Moment::DeviationPopulation,
        Moment::DeviationSample,
        Moment::CovariancePopulation,
        Moment::CovarianceSample,
        Moment::Correlation,
        Moment::RegressionSlope,
        Moment::RegressionIntercept,
        Moment::RegressionR2,
        Moment::RegressionCount,
        Moment::RegressionAvgX,
        Moment::RegressionAvgY,
        Moment::RegressionSxx,
        Moment::RegressionSxy,
        Moment::RegressionSyy,
    ];

    /// The SQL name.
    pub fn name(self) -> &'static str {
        match self {
            Moment::VariancePopulation => "var_pop",
            Moment::VarianceSample => "var",
            Moment::DeviationPopulation => "stddev_pop",
            Moment::DeviationSample => "stddev",
            Moment::CovariancePopulation => "covar_pop",
            Moment::CovarianceSample => "covar_samp",
            Moment::Correlation => "corr",
            Moment::RegressionSlope => "regr_slope",
            Moment::RegressionIntercept => "regr_intercept",
            Moment::RegressionR2 => "regr_r2",
            Moment::RegressionCount => "regr_count",
            Moment::RegressionAvgX => "regr_avgx",
            Moment::RegressionAvgY => "regr_avgy",
            Moment::RegressionSxx => "regr_sxx",
            Moment::RegressionSxy => "regr_sxy",
            Moment::RegressionSyy => "regr_syy",
        }
    }
}

/// A live number (or vector) of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Number(f64),
    /// NULL.
    Null,
    Residual(usize),
    /// A column of an input: of a table, the number of a learnable column; of a stage, of an output.
    Input {
        input: usize,
        column: usize,
    },
    Unary(Unary, Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// `label` is the SQL text.
    Vector {
        function: Vector,
        arguments: Vec<Expression>,
        label: String,
    },
    /// A function of the application; `label` is the SQL text.
    Call {
        function: Function,
        arguments: Vec<Expression>,
        label: String,
    },
    /// An element of a vector, counted from 0; NULL beyond its end.
    Element(Box<Expression>, usize),
    /// A step function of a live number, in a run whose values are exact: it has no slope of its own.
    Step(Unary, Box<Expression>),
    /// The value without its gradient.
    Detach(Box<Expression>),
    Coalesce(Vec<Expression>),
    Case {
        branches: Vec<(Predicate, Expression)>,
        otherwise: Box<Expression>,
    },
    /// The degree of truth of a predicate, as a number.
    Degree(Box<Predicate>),
}

/// A live truth value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Two live numbers compared; `label` is the SQL text.
    Compare {
        comparison: Comparison,
        left: Box<Expression>,
        right: Box<Expression>,
        label: String,
    },
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    Not(Box<Predicate>),
    IsNull(Box<Expression>),
    /// A truth value among the residuals.
    Frozen(usize),
    /// A degree, such as the presence of a group.
    Degree(Box<Expression>),
    /// True to the degree `truth` and false to the degree 1 - `possible`.
    Known {
        truth: Box<Expression>,
        possible: Box<Expression>,
    },
    /// Exact forward, without gradient.
    Hard(Box<Predicate>),
    /// With a temperature of its own.
    Soft(Box<Predicate>, f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
}

/// The rows of a materialized skeleton, as plain numbers: all combinations of one row of each factor.
#[derive(Debug, Clone)]
pub struct Rows<R> {
    /// How many rows each factor has. Most stages have one; none is empty unless it is the only one.
    pub factors: Vec<usize>,
    /// Where only some of the combinations are rows: the row of each factor in each of them.
    pub chosen: Option<Vec<Buffer<u32>>>,
    /// What rows of the factors look up.
    pub dimensions: Vec<Dimension>,
    /// One for each residual of the stage.
    pub columns: Vec<Column<R>>,
    pub groups: Option<Groups>,
}

/// The groups (or partitions) of the rows: all combinations of those of the factors that have keys, those of the last one
/// next to each other.
#[derive(Debug, Clone)]
pub struct Groups {
    pub of_factors: Vec<FactorGroups>,
}

/// The groups of the rows of one factor, by its own keys.
#[derive(Debug, Clone)]
pub struct FactorGroups {
    pub factor: usize,
    /// Ascending.
    pub of_row: Buffer<u32>,
    pub count: usize,
}

impl Groups {
    pub fn count(&self) -> usize {
        self.of_factors.iter().map(|groups| groups.count).product()
    }

    /// The groups, if those of one factor are all.
    pub fn of_one(&self) -> Option<&FactorGroups> {
        if let [one] = self.of_factors.as_slice() { Some(one) } else { None }
    }
}

impl<R> Rows<R> {
    /// Bytes of the columns that are in files.
    pub fn spilled(&self) -> usize {
        let bytes = |column: &Column<R>| {
            let numbers = match &column.numbers {
                Numbers::Real { values, .. } => values.spilled_bytes(),
                Numbers::Index(rows) => rows.spilled_bytes(),
            };
            numbers + column.valid.as_ref().map_or(0, Buffer::spilled_bytes)
        };
        self.columns.iter().map(bytes).sum()
    }

    pub fn count(&self) -> usize {
        self.chosen.as_ref().and_then(|rows| rows.first()).map_or_else(|| self.factors.iter().product(), |rows| rows.len())
    }
}

/// A side of a join whose rows are read by many rows of a factor.
#[derive(Debug, Clone)]
pub struct Dimension {
    pub factor: usize,
    pub rows: usize,
    /// For each row of the factor.
    pub of_row: Buffer<u32>,
}

/// A number, a vector or a row number of each row of one factor, or of one dimension of it.
#[derive(Debug, Clone)]
pub struct Column<R> {
    pub factor: usize,
    pub dimension: Option<usize>,
    pub numbers: Numbers<R>,
    /// 1 where a row is not NULL and 0 where it is; `None` when no row is NULL.
    pub valid: Option<Buffer<R>>,
}

#[derive(Debug, Clone)]
pub enum Numbers<R> {
    /// Rows x elements, row-major; 0 where NULL. `dimensions` is the shape of a row, empty for a number; a column without any vector
    /// is of 0 elements.
    Real { dimensions: Vec<usize>, values: Buffer<R> },
    /// Row numbers; 0 where NULL.
    Index(Buffer<u32>),
}

/// A learnable column as the learning side sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub table: usize,
    /// `table.column`.
    pub name: String,
    pub rows: usize,
    /// Shape of an element in row-major order; empty for a number.
    pub dimensions: Vec<usize>,
}

impl Parameter {
    pub fn width(&self) -> usize {
        self.dimensions.iter().product()
    }
}

impl Expression {
    /// Renumbers every residual (`is_row` false) and every input (`is_row` true).
    pub fn renumber(&mut self, f: &mut dyn FnMut(usize, bool) -> usize) {
        match self {
            Expression::Number(_) | Expression::Null => {}
            Expression::Residual(id) => *id = f(*id, false),
            Expression::Input { input, .. } => *input = f(*input, true),
            Expression::Unary(_, x) | Expression::Step(_, x) | Expression::Detach(x) | Expression::Element(x, _) => x.renumber(f),
            Expression::Binary(_, a, b) => {
                a.renumber(f);
                b.renumber(f);
            }
            Expression::Vector { arguments: list, .. } | Expression::Call { arguments: list, .. } | Expression::Coalesce(list) => {
                list.iter_mut().for_each(|e| e.renumber(f));
            }
            Expression::Case { branches, otherwise } => {
                for (p, e) in branches {
                    p.renumber(f);
                    e.renumber(f);
                }
                otherwise.renumber(f);
            }
            Expression::Degree(p) => p.renumber(f),
        }
    }
}

impl Predicate {
    pub fn renumber(&mut self, f: &mut dyn FnMut(usize, bool) -> usize) {
        match self {
            Predicate::Compare { left, right, .. } => {
                left.renumber(f);
                right.renumber(f);
            }
            Predicate::And(a, b) | Predicate::Or(a, b) => {
                a.renumber(f);
                b.renumber(f);
            }
            Predicate::Not(p) | Predicate::Hard(p) | Predicate::Soft(p, _) => p.renumber(f),
            Predicate::IsNull(e) | Predicate::Degree(e) => e.renumber(f),
            Predicate::Known { truth, possible } => {
                truth.renumber(f);
                possible.renumber(f);
            }
            Predicate::Frozen(id) => *id = f(*id, false),
        }
    }
}
