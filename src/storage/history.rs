//! The engine's own tables: what was trained, and how each run went.
//! It never hears of how they are stored or who fills them.

use crate::table::{ColumnDefinition, TableDefinition};
use arrow::datatypes::{DataType, TimeUnit};

/// The schema of the engine's own tables.
pub const SCHEMA: &str = "nabla";

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// `nabla.runs`: one row for each TRAIN.
#[rustfmt::skip]
pub fn runs() -> TableDefinition {
    table(
        "runs",
        &[
            ("run_id",            DataType::Int64),
            ("started_at",        TIMESTAMP),
            ("statement",         DataType::Utf8View),
            ("direction",         DataType::Utf8View),
            ("optimizer",         DataType::Utf8View),
            ("seed",              DataType::Int64),
            ("steps",             DataType::Int64),
            ("relaxed_objective", DataType::Float64),
            ("exact_objective",   DataType::Float64),
            ("relaxation_gap",    DataType::Float64),
            ("version",           DataType::Int64),
            ("elapsed_ms",        DataType::Float64),
        ],
    )
}

/// `nabla.steps`: one row for each logged step of a run.
#[rustfmt::skip]
pub fn steps() -> TableDefinition {
    table(
        "steps",
        &[
            ("run_id",          DataType::Int64),
            ("step",            DataType::Int64),
            ("epoch",           DataType::Int64),
            ("objective",       DataType::Float64),
            ("validation",      DataType::Float64),
            ("temperature",     DataType::Float64),
            ("gradient_norm",   DataType::Float64),
            ("rows_per_second", DataType::Float64),
            ("elapsed_ms",      DataType::Float64),
        ],
    )
}

fn table(name: &str, columns: &[(&str, DataType)]) -> TableDefinition {
    let column = |(name, data_type): &(&str, DataType)| ColumnDefinition {
        name: name.to_string(),
        data_type: data_type.clone(),
        dimensions: Vec::new(),
        nullable: true,
        default: None,
        learnable: false,
        bound: None,
    };
    let columns = columns.iter().map(column).collect();
    TableDefinition { schema: SCHEMA.to_string(), name: name.to_string(), columns, primary_key: Vec::new(), checks: Vec::new() }
}
