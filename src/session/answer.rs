//! `RELAX (...) SELECT ...`: the relaxed rows of a query, each with its weight in a last column.

use super::learn::{self, Column};
use super::objective::{Answer, Objective};
use super::{Outcome, Session, settings, train};
use crate::algebra::{Pipeline, Rows};
use crate::error::{Error, Place, Result, both};
use crate::grammar::Relaxed;
use crate::program::{Machine, Slot};
use crate::relaxation::{self, Kept, Relaxed as RelaxedRows, Softness};
use crate::split::{AnswerColumn, Materialized, Part};
use crate::table;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

const WEIGHT: &str = "_weight";

pub(super) async fn relax(session: &Session, query: &Relaxed) -> Result<Outcome> {
    let (settings, objective) = both(settings::relaxed(query), Objective::new(session, query, Answer::Rows).await)?;
    let columns = train::columns(&objective.planned, query)?;
    let skeletons = Objective::one_partition(&objective.planned.exact.context);
    let materialized = objective.split.materialize::<f64>(&skeletons).await?;
    Ok(Outcome::batch(answer(materialized, &columns, settings)?))
}

/// A relaxed query whose rows are asked for, ready to run.
pub(super) struct Prepared {
    pub relaxed: RelaxedRows<f64>,
    pub machine: Machine<f64>,
    pub scales: Vec<(Slot, f64)>,
}

pub(super) fn prepare(
    pipeline: &Pipeline,
    rows: Vec<Rows<f64>>,
    columns: &[Column],
    (softness, temperature): (Softness, f64),
) -> Result<Prepared> {
    let parameters: Vec<_> = columns.iter().map(|c| c.parameter.clone()).collect();
    let start = learn::start(columns);
    let Kept { rows, scales, notes } = relaxation::candidates(pipeline, rows, &parameters, &start, (softness, temperature), false)?;
    let mut relaxed = relaxation::relax(pipeline, rows, &parameters, softness, false)?;
    relaxed.notes.extend(notes);
    let outputs = learn::output_values(&relaxed.graph, &relaxed.outputs);
    let residuals = Arc::new(std::mem::take(&mut relaxed.residuals));
    let mut machine = Machine::build(&relaxed.graph, residuals.clone(), &outputs, false);
    let scales = learn::begin(&mut machine, &relaxed, &residuals, columns, (temperature, scales));
    Ok(Prepared { relaxed, machine, scales })
}

fn answer(materialized: Materialized<f64>, columns: &[Column], settings: (Softness, f64)) -> Result<RecordBatch> {
    let Materialized { pipeline, rows, answer: (answer, frozen), budget: _budget, .. } = materialized;
    let Prepared { relaxed, mut machine, .. } = prepare(&pipeline, rows, columns, settings)?;
    machine.run();
    let count = frozen.num_rows();
    let live = |output: usize, column: Option<&AnswerColumn>| {
        let (values, presence) = (machine.output(2 * output), machine.output(2 * output + 1));
        let width = relaxed.graph.width(relaxed.outputs[output].value);
        let dimensions = relaxed.dimensions[output].as_deref();
        live_column(every_row(values, width, count), &every_row(presence, 1, count), dimensions, column)
    };
    let (mut fields, mut arrays) = (vec![], vec![]);
    let array = |part: Part, column: Option<&AnswerColumn>| match part {
        Part::Frozen(place) => Ok(frozen.column(place).clone()),
        Part::Live(output) => live(output, column),
    };
    for column in &answer.columns {
        if column.name == WEIGHT {
            return Err(Error::new(format!("a column of the name {WEIGHT}, which RELAX gives to the weight of the rows"))
                .at(Place::Expression(WEIGHT.into()))
                .hint("give it another name: SELECT ... AS other"));
        }
        let array = array(column.part, Some(column))?;
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    fields.push(Field::new(WEIGHT, DataType::Float64, true));
    arrays.push(live(relaxed.outputs.len() - 1, None)?);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
    let keys = answer.order.iter().map(|key| Ok((array(key.part, None)?, key.descending, key.nulls_first)));
    in_order(&rows, keys.collect::<Result<Vec<_>>>()?)
}

/// The rows sorted by these columns, each descending or not and with NULLs first or not.
fn in_order(rows: &RecordBatch, keys: Vec<(ArrayRef, bool, bool)>) -> Result<RecordBatch> {
    if keys.is_empty() {
        return Ok(rows.clone());
    }
    let keys = keys.into_iter().map(|(values, descending, nulls_first)| {
        let options = Some(SortOptions { descending, nulls_first });
        SortColumn { values, options }
    });
    let number: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows.num_rows() as u64));
    let keys: Vec<SortColumn> = keys.chain([SortColumn { values: number, options: None }]).collect();
    Ok(take_record_batch(rows, &lexsort_to_indices(&keys, None)?)?)
}

/// The numbers of every row, where one row may stand for all.
fn every_row(numbers: &[f64], width: usize, rows: usize) -> Vec<f64> {
    if numbers.len() == rows * width { numbers.to_vec() } else { numbers.repeat(rows) }
}

/// A column of numbers or arrays, NULL where nothing is there.
fn live_column(values: Vec<f64>, presence: &[f64], dimensions: Option<&[usize]>, column: Option<&AnswerColumn>) -> Result<ArrayRef> {
    let valid: NullBuffer = presence.iter().map(|p| *p > 0.0).collect();
    match (column.map(|c| &c.data_type), dimensions) {
        (Some(kind @ DataType::List(_)), Some(dimensions)) => {
            let (item, offsets, elements, _) = table::shape(values, kind, dimensions)?.as_list::<i32>().clone().into_parts();
            Ok(Arc::new(ListArray::try_new(item, offsets, elements, Some(valid))?))
        }
        (Some(kind @ DataType::List(_)), None) => Ok(new_null_array(kind, presence.len())),
        // A sum with 0 has no negative 0, which a weight of nothing would show.
        _ => Ok(Arc::new(Float64Array::new(values.iter().map(|x| x + 0.0).collect(), Some(valid)))),
    }
}
