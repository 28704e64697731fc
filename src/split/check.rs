//! The theorem of the split, asserted: skeletons read nothing live, expressions read nothing but residuals
//! and inputs of earlier stages.

use super::{Split, column_name};
use crate::algebra::{Expression, Output, ResidualKind, Source, Stage};
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::DataType;

pub(super) fn check(split: &Split) -> Result<()> {
    let stages = &split.pipeline.stages;
    if stages.len() != split.skeletons.len() || stages.is_empty() {
        return broken(format!("{} stages have {} skeletons", stages.len(), split.skeletons.len()));
    }
    for (number, (stage, skeleton)) in stages.iter().zip(&split.skeletons).enumerate() {
        let fields = skeleton.plan.schema().fields();
        if fields.len() < stage.residuals.len() {
            return broken(format!("{} has more residuals than its skeleton has columns", stage.name));
        }
        for (residual, field) in stage.residuals.iter().zip(fields) {
            if residual.kind == ResidualKind::Rows && field.data_type() != &DataType::UInt32 {
                return broken(format!("the row numbers {} of {} are {}", residual.name, stage.name, field.data_type()));
            }
        }
        for key in &skeleton.keys {
            skeleton.plan.schema().field_with_unqualified_name(key)?;
        }
        for input in &stage.inputs {
            if input.rows >= stage.residuals.len() || matches!(input.source, Source::Stage(s) if s >= number) {
                return broken(format!("{} reads a stage that is not finished before it", stage.name));
            }
        }
        for expression in expressions(stage) {
            check_expression(&expression, stage)?;
        }
    }
    Ok(())
}

fn expressions(stage: &Stage) -> Vec<Expression> {
    let mut all = stage.weight.clone();
    all.extend(stage.outputs.iter().flat_map(Output::expressions));
    all
}

fn check_expression(e: &Expression, stage: &Stage) -> Result<()> {
    let mut wrong = None;
    e.clone().renumber(&mut |slot, is_row| {
        let bound = if is_row { stage.inputs.len() } else { stage.residuals.len() };
        let rows = !is_row && slot < bound && stage.residuals[slot].kind == ResidualKind::Rows;
        if slot >= bound || rows {
            wrong = Some(column_name(slot));
        }
        slot
    });
    wrong.map_or(Ok(()), |column| broken(format!("{} reads {column}, which its skeleton does not give", stage.name)))
}

fn broken<T>(what: String) -> Result<T> {
    Err(Error::new(format!("the split broke its theorem: {what}")).hint("this is a defect of the engine: please report the query"))
}
