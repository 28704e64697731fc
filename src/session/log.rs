//! The training log as a result set.

use crate::error::Result;
use crate::storage::history;
use crate::training::Step;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// How a run ended, for the last row of its log and for `nabla.runs`.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Of what was learned, where it was validated.
    pub validation: Option<f64>,
    pub relaxed_objective: f64,
    pub exact_objective: Option<f64>,
    pub version: i64,
}

impl End {
    pub fn gap(&self) -> Option<f64> {
        self.exact_objective.map(|exact| self.relaxed_objective - exact)
    }
}

/// The columns of `nabla.steps`, and what only the last row has.
pub(super) fn schema() -> SchemaRef {
    let steps = history::steps().arrow_schema();
    let mut fields: Vec<Arc<Field>> = steps.fields().iter().cloned().collect();
    for name in ["relaxed_objective", "exact_objective", "relaxation_gap"] {
        fields.push(Arc::new(Field::new(name, DataType::Float64, true)));
    }
    fields.push(Arc::new(Field::new("version", DataType::Int64, true)));
    Arc::new(Schema::new(fields))
}

/// Rows of `nabla.steps`.
pub(super) fn steps(run: i64, steps: &[Step]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(history::steps().arrow_schema(), step_columns(run, steps))?)
}

fn step_columns(run: i64, steps: &[Step]) -> Vec<ArrayRef> {
    let whole = |f: &dyn Fn(&Step) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(steps.iter().map(f))) };
    let real = |f: &dyn Fn(&Step) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(steps.iter().map(f))) };
    vec![
        whole(&|_| run),
        whole(&|s| s.step as i64),
        whole(&|s| s.epoch as i64),
        real(&|s| s.objective),
        Arc::new(steps.iter().map(|s| s.validation).collect::<Float64Array>()),
        real(&|s| s.temperature),
        real(&|s| s.gradient_norm),
        real(&|s| s.rows_per_second),
        real(&|s| s.elapsed.as_secs_f64() * 1e3),
    ]
}

/// Rows of the log while it runs.
pub(super) fn progress(run: i64, steps: &[Step]) -> Result<RecordBatch> {
    let mut columns = step_columns(run, steps);
    columns.extend((0..3).map(|_| Arc::new(Float64Array::new_null(steps.len())) as ArrayRef));
    columns.push(Arc::new(Int64Array::new_null(steps.len())));
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The last row of the log.
pub(super) fn last(run: i64, steps: u64, end: End, elapsed_ms: f64) -> Result<RecordBatch> {
    let real = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
    let whole = |x: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![x])) };
    let columns = vec![
        whole(Some(run)),
        whole(Some(steps as i64)),
        whole(None),
        real(None),
        real(end.validation),
        real(None),
        real(None),
        real(None),
        real(Some(elapsed_ms)),
        real(Some(end.relaxed_objective)),
        real(end.exact_objective),
        real(end.gap()),
        whole(Some(end.version)),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
