//! Runs one plan of a skeleton. Columns that only the live part reads become numbers as they come, and do not stay.

use super::column::{Budget, Incoming};
use super::lookup::{FEWEST_READERS, looked_up};
use crate::algebra::ResidualKind;
use crate::buffer::Buffer;
use crate::error::{Place, Result};
use crate::program::Lanes;
use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use futures::TryStreamExt;
use std::collections::HashSet;
use std::sync::Arc;

/// Rows of a side of a join that are written out at a time.
const TAKEN: usize = 64 * 1024;

/// A column that becomes numbers as its rows come.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub kind: ResidualKind,
    /// As SQL, for errors.
    pub label: &'a str,
}

/// A plan of a skeleton, run.
pub(super) struct Factor<R> {
    pub rows: RecordBatch,
    /// By name; those that are looked up with the number of the dimension that they are of.
    pub columns: Vec<(String, Option<usize>, Incoming<R>)>,
    /// Rows of each side that is looked up, and the row of it that each row reads.
    pub dimensions: Vec<(usize, Buffer<u32>)>,
    pub plan: String,
}

pub(super) async fn factor<R: Lanes>(
    plan: LogicalPlan,
    residuals: &[Wanted<'_>],
    stay: &HashSet<String>,
    context: &SessionContext,
    budget: &mut Budget,
) -> Result<Factor<R>> {
    let (of_plan, moved): (Vec<&Wanted>, Vec<&Wanted>) = {
        let of_plan = residuals.iter().filter(|w| plan.schema().has_column_with_unqualified_name(w.name));
        of_plan.partition(|w| stay.contains(w.name))
    };
    let asked: Vec<(String, bool)> = moved.iter().map(|w| (w.name.to_string(), w.kind != ResidualKind::Rows)).collect();
    let (plan, dimensions) = looked_up(plan, &asked, context).await?;
    let of_dimension = |w: &Wanted| dimensions.iter().position(|d| d.columns.column_by_name(w.name).is_some());
    let (here, there): (Vec<&Wanted>, Vec<&Wanted>) = of_plan.into_iter().chain(moved).partition(|w| of_dimension(w).is_none());
    let rows = dimensions.iter().map(|d| Wanted { name: &d.row, kind: ResidualKind::Rows, label: &d.row });
    let wanted: Vec<Wanted> = here.into_iter().cloned().chain(rows).collect();
    let plan = context.state().create_physical_plan(&plan).await?;
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    let shown = dimensions.iter().fold(shown, |shown, dimension| shown + &dimension.plan);
    let (rows, mut incoming) = gather::<R>(plan, &wanted, stay, context, budget).await?;
    let of_row = incoming.split_off(wanted.len() - dimensions.len());
    let names = wanted.iter().map(|w| w.name.to_string());
    let mut columns: Vec<_> = names.zip(incoming).map(|(name, column)| (name, None, column)).collect();
    let (mut kept, mut numbers) = (vec![], vec![]);
    for (dimension, of_row) in dimensions.iter().zip(of_row) {
        let of_row = of_row.finish_index()?;
        let is_kept = of_row.len() >= FEWEST_READERS * dimension.columns.num_rows();
        numbers.push((is_kept.then_some(kept.len()), of_row.clone()));
        if is_kept {
            kept.push((dimension.columns.num_rows(), of_row));
        }
    }
    for w in there {
        let at = of_dimension(w).expect("it is of one");
        let values = &dimensions[at].columns[w.name];
        let (number, of_row) = &numbers[at];
        let mut column = Incoming::new(w.kind, values.data_type());
        let appended = match number {
            Some(_) => column.append(values, budget),
            // Few rows read the same: each has its own.
            None => of_row.chunks(TAKEN).try_for_each(|rows| {
                let taken = take(values, &UInt32Array::from(rows.to_vec()), None)?;
                column.append(&taken, budget)
            }),
        };
        appended.map_err(|e| e.at(Place::Expression(w.label.to_string())))?;
        columns.push((w.name.to_string(), *number, column));
    }
    Ok(Factor { rows, columns, dimensions: kept, plan: shown })
}

/// The rows of a plan, as far as they stay, and the columns that are wanted of them.
async fn gather<R: Lanes>(
    plan: Arc<dyn ExecutionPlan>,
    wanted: &[Wanted<'_>],
    stay: &HashSet<String>,
    context: &SessionContext,
    budget: &mut Budget,
) -> Result<(RecordBatch, Vec<Incoming<R>>)> {
    let schema = plan.schema();
    let stay: Vec<usize> = (0..schema.fields().len()).filter(|i| stay.contains(schema.field(*i).name().as_str())).collect();
    let places: Vec<usize> = wanted.iter().map(|w| schema.index_of(w.name)).collect::<Result<_, _>>()?;
    let mut incoming: Vec<Incoming<R>> =
        wanted.iter().zip(&places).map(|(w, i)| Incoming::new(w.kind, schema.field(*i).data_type())).collect();
    let (mut batches, mut stream) = (vec![], execute_stream(plan, context.task_ctx())?);
    while let Some(batch) = stream.try_next().await? {
        for ((w, i), column) in wanted.iter().zip(&places).zip(&mut incoming) {
            column.append(batch.column(*i), budget).map_err(|e| e.at(Place::Expression(w.label.to_string())))?;
        }
        batches.push(batch.project(&stay)?);
    }
    Ok((concat_batches(&Arc::new(schema.project(&stay)?), &batches)?, incoming))
}
