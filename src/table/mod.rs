//! Tables, learnable columns and constraints, as the SQL side sees them.
//! This room never hears of gradients, training or files.

mod bound;
mod constraint;
mod initial;
mod parts;

pub use bound::element_type;
pub use constraint::{Keys, breaches, cast, elements, learnable_type, numbers};
pub use initial::{INITIALIZERS, Initializer, fill, shape};
pub use parts::parts;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// Everything that is declared about a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDefinition {
    /// `main` for users' tables, `nabla` for the engine's own.
    pub schema: String,
    pub name: String,
    pub columns: Vec<ColumnDefinition>,
    /// Names of the columns of the primary key; empty when there is none.
    pub primary_key: Vec<String>,
    /// CHECK conditions as SQL text, over the table's columns.
    pub checks: Vec<String>,
}

/// Everything that is declared about a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDefinition {
    pub name: String,
    /// The type as stored: `List` (of `List`) of `Float32`/`Float64` for arrays and matrices.
    pub data_type: DataType,
    /// The declared shape of an array or matrix in row-major order: `REAL[32]` is `[32]`, `REAL[128][784]` is `[128, 784]`; empty for a scalar.
    pub dimensions: Vec<usize>,
    pub nullable: bool,
    /// DEFAULT as SQL text: a literal expression, or an initializer such as `init_normal(0, 0.1)`.
    pub default: Option<String>,
    pub learnable: bool,
    /// How a CHECK on a learnable column is kept; `None` when there is no CHECK on it.
    pub bound: Option<Bound>,
}

/// The set that a learnable column is projected onto after every step.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// `lower <= element <= upper`; an open side is infinite.
    Box { lower: f64, upper: f64 },
    /// Vectors of Euclidean length 1.
    UnitNorm,
    /// Vectors of non-negative elements that sum to 1.
    Simplex,
}

impl TableDefinition {
    pub fn column(&self, name: &str) -> Option<&ColumnDefinition> {
        self.columns.iter().find(|c| c.name == name)
    }

    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable)).collect::<Vec<_>>()))
    }
}

impl ColumnDefinition {
    /// Elements per row: 1 for a scalar, the product of the dimensions otherwise.
    pub fn width(&self) -> usize {
        self.dimensions.iter().product()
    }

    /// The type as it is declared: `REAL[32]`.
    pub fn type_name(&self) -> String {
        type_name(&self.data_type, &self.dimensions)
    }
}

/// A type as SQL declares it; arrays with their lengths where those are known.
pub fn type_name(data_type: &DataType, dimensions: &[usize]) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::UInt8 => "TINYINT UNSIGNED".into(),
        DataType::UInt16 => "SMALLINT UNSIGNED".into(),
        DataType::UInt32 => "INT UNSIGNED".into(),
        DataType::UInt64 => "BIGINT UNSIGNED".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".into(),
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".into(),
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP".into(),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", fraction_digits(*unit)),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Null => "NULL".into(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => {
            let mut element = data_type;
            let mut depth = 0;
            while let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = element {
                (element, depth) = (item.data_type(), depth + 1);
            }
            let lengths: String = (0..depth).map(|d| dimensions.get(d).map_or("[]".into(), |length| format!("[{length}]"))).collect();
            type_name(element, &[]) + &lengths
        }
        other => other.to_string(),
    }
}

fn fraction_digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
