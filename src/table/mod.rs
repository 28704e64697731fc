//! Tables, learnable columns and constraints, as the SQL side sees them.
//! This room never hears of gradients, training or files.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
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
}
