//! Runs every skeleton exactly once and hands its rows over as plain numbers.

use super::column::{Budget, Incoming};
use super::factor::{Wanted, factor};
use super::{AnswerRows, Skeleton, Split};
use crate::algebra::{Dimension, FactorGroups, Grouping, Groups, Pipeline, Residual, Rows, Source, Stage};
use crate::error::{Error, Result};
use crate::program::Lanes;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, LargeListArray, ListArray, RecordBatch, RecordBatchOptions,
    UInt32Array,
};
use datafusion::arrow::compute::{cast, concat_batches, filter, is_not_null, partition, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{LogicalPlanBuilder, lit};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Combinations of rows up to which their number is exact in any arithmetic.
const MOST_COMBINATIONS: usize = 1 << 53;

/// What makes a sub-query one row.
const ONE_ROW: &str = "aggregate in the sub-query, SELECT SUM(...) or AVG(...), or take its first row: ORDER BY ... LIMIT 1";

/// Time that the skeletons took.
pub type Seconds = f64;

/// A pipeline with its rows.
pub struct Materialized<R> {
    pub pipeline: Pipeline,
    pub rows: Vec<Rows<R>>,
    /// When rows were asked for: what their columns are, and the frozen ones.
    pub answer: (AnswerRows, RecordBatch),
    /// What the exact engine ran for each stage, and how long it took.
    pub plans: Vec<(String, Seconds)>,
    /// The memory that the rows take, as long as they do.
    pub budget: Budget,
}

impl Skeleton {
    /// Names of the columns that the exact engine reads again when the rows are there.
    fn columns_that_stay(&self, stage: &Stage) -> HashSet<String> {
        let mut stay: HashSet<String> = self.keys.iter().cloned().chain(self.unique.iter().map(|(name, _)| name.clone())).collect();
        stay.extend(self.aggregates.iter().flat_map(|(e, _)| e.column_refs()).map(|c| c.name.clone()));
        if matches!(stage.grouping, Grouping::Rows | Grouping::Partitions) {
            stay.extend(self.table.kept().map(str::to_string));
        }
        stay
    }
}

impl Split {
    /// Runs the skeletons in order. `context` should run them in one partition, so that the same query gives the same order of rows.
    pub async fn materialize<R: Lanes>(self, context: &SessionContext) -> Result<Materialized<R>> {
        let mut run = Run::new(&self, context);
        run.all().await?;
        let Run { stages, places, rows, plans, frozen, budget, .. } = run;
        let last = rows.last().map_or(0, Rows::count);
        if last != 1 && self.answer.columns.is_empty() {
            return Err(Error::new(format!("a TRAIN objective has one row, this one has {last}"))
                .hint("aggregate: SELECT SUM(...), AVG(...) or COUNT(*)"));
        }
        let pipeline = Pipeline { stages, outermost: self.pipeline.outermost.map(|stage| places[stage]) };
        Ok(Materialized { pipeline, rows, answer: (self.answer, frozen), plans, budget })
    }
}

/// The stages as they are run. Those of a recursion are run in rounds, each time as stages of their own.
pub(super) struct Run<'a, R> {
    pub split: &'a Split,
    context: &'a SessionContext,
    pub stages: Vec<Stage>,
    /// Where each stage of the split has last been run.
    pub places: Vec<usize>,
    pub rows: Vec<Rows<R>>,
    plans: Vec<(String, Seconds)>,
    /// What later skeletons see of the stage that has just been run.
    pub frozen: RecordBatch,
    budget: Budget,
}

impl<'a, R: Lanes> Run<'a, R> {
    fn new(split: &'a Split, context: &'a SessionContext) -> Self {
        let frozen = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let places = vec![usize::MAX; split.skeletons.len()];
        Self { split, context, stages: vec![], places, rows: vec![], plans: vec![], frozen, budget: Budget::new(context) }
    }

    async fn all(&mut self) -> Result<()> {
        let mut number = 0;
        while number < self.split.skeletons.len() {
            match self.split.recursions.iter().find(|r| r.round.start == number) {
                Some(recursion) => number = self.rounds(recursion).await?,
                None => {
                    self.stage(number, 1).await?;
                    number += 1;
                }
            }
        }
        Ok(())
    }

    /// Runs the skeleton of a stage.
    pub async fn stage(&mut self, number: usize, round: usize) -> Result<()> {
        let (stage, skeleton) = (&self.split.pipeline.stages[number], &self.split.skeletons[number]);
        let start = Instant::now();
        let (rows, plan, finished) = run(stage, skeleton, self.context, &mut self.budget).await?;
        if let Some(place) = self.split.single.get(&number)
            && rows.count() > 1
        {
            return Err(Error::new(format!("a scalar sub-query of the objective has {} rows", rows.count()))
                .at(place.clone())
                .hint(ONE_ROW));
        }
        let seconds = start.elapsed().as_secs_f64();
        self.push(number, round, rows, (plan, seconds), finished);
        Ok(())
    }

    /// Adds a stage that has been run, with its place among all.
    pub fn push(&mut self, number: usize, round: usize, rows: Rows<R>, plan: (String, Seconds), finished: RecordBatch) {
        let mut stage = self.split.pipeline.stages[number].clone();
        for input in &mut stage.inputs {
            if let Source::Stage(before) = &mut input.source {
                *before = self.places[*before];
            }
        }
        stage.round = round;
        stage.name = format!("stage {}", self.stages.len() + 1);
        self.places[number] = self.stages.len();
        self.stages.push(stage);
        self.rows.push(rows);
        self.plans.push(plan);
        self.frozen = finished;
    }
}

async fn run<R: Lanes>(
    stage: &Stage,
    skeleton: &Skeleton,
    context: &SessionContext,
    budget: &mut Budget,
) -> Result<(Rows<R>, String, RecordBatch)> {
    let (mut factors, mut columns, mut dimensions, mut shown) = (vec![], HashMap::new(), vec![], String::new());
    let names = skeleton.plan.schema().fields().iter();
    let residuals: Vec<Wanted> =
        stage.residuals.iter().zip(names).map(|(r, f)| Wanted { name: f.name(), kind: r.kind, label: &r.name }).collect();
    let stay = skeleton.columns_that_stay(stage);
    for plan in skeleton.factors(stage)? {
        let found = factor::<R>(plan, &residuals, &stay, context, budget).await?;
        let (number, first) = (factors.len(), dimensions.len());
        columns.extend(found.columns.into_iter().map(|(name, of, column)| (name, (number, of.map(|d| first + d), column))));
        dimensions.extend(found.dimensions.into_iter().map(|(rows, of_row)| Dimension { factor: number, rows, of_row }));
        factors.push(found.rows);
        shown += &found.plan;
    }
    let is_empty = factors.iter().any(|f| f.num_rows() == 0);
    if is_empty {
        factors = factors.into_iter().map(|f| f.slice(0, 0)).collect();
        dimensions.clear();
    }
    within_bounds(stage, &factors)?;
    let of = |name: &str| factors.iter().position(|f| f.column_by_name(name).is_some()).ok_or_else(|| lost(name));
    let grouped = stage.grouping.has_keys() || (stage.grouping == Grouping::Partitions && !skeleton.keys.is_empty());
    // Combinations with nothing are nothing, whichever factor is empty.
    let number = |factor: usize| if is_empty { 0 } else { factor };
    let keyed: BTreeSet<usize> = skeleton.keys.iter().map(|key| of(key)).collect::<Result<_>>()?;
    let first = keyed.first().copied().unwrap_or(0);
    let groups = grouped.then(|| groups(&factors, &keyed, &skeleton.keys, number)).transpose()?;
    if let Some((key, place)) = &skeleton.unique {
        one_for_each(&factors[first], key).map_err(|e| e.at(place.clone()))?;
    }
    let finished = match keyed.len() {
        0 | 1 => finished_rows(stage, skeleton, &factors[first], context).await?,
        _ => combinations(&factors, &keyed, &skeleton.keys)?,
    };
    if let Some(count) = groups.as_ref().map(Groups::count)
        && stage.grouping.has_keys()
        && finished.num_rows() != count
    {
        return Err(Error::new(format!("{} has {count} groups by its rows and {} by the exact engine", stage.name, finished.num_rows())));
    }
    skeleton.table.finish(&finished)?;
    let of_residual = |(residual, field): (&Residual, &Arc<Field>)| match columns.remove(field.name()) {
        Some(_) if is_empty => Incoming::<R>::new(residual.kind, field.data_type()).finish(0, None),
        Some((factor, dimension, column)) => column.finish(factor, dimension),
        None => Err(lost(field.name())),
    };
    let columns = stage.residuals.iter().zip(skeleton.plan.schema().fields()).map(of_residual).collect::<Result<_>>()?;
    let rows = if is_empty { vec![0] } else { factors.iter().map(RecordBatch::num_rows).collect() };
    Ok((Rows { factors: rows, chosen: None, dimensions, columns, groups }, shown, finished))
}

fn lost(name: &str) -> Error {
    Error::new(format!("a skeleton lost its column {name}")).hint("this is a defect of the engine: please report the query")
}

/// Rows are numbered in 32 bits, but for those of a cross product of which only sums are read.
fn within_bounds(stage: &Stage, factors: &[RecordBatch]) -> Result<()> {
    let most = if stage.outputs.iter().all(|output| output.value.is_sum()) { MOST_COMBINATIONS } else { u32::MAX as usize };
    let all = factors.iter().try_fold(1usize, |all, f| all.checked_mul(f.num_rows()).filter(|all| *all <= most));
    let long = factors.iter().any(|f| f.num_rows() > u32::MAX as usize);
    match all {
        Some(_) if !long => Ok(()),
        _ => Err(Error::new(format!("{} has more than {} rows", stage.name, if long { u32::MAX as usize } else { most }))
            .hint("filter the rows of the query")),
    }
}

/// A correlated scalar sub-query has one row for each row around it, or none.
fn one_for_each(batch: &RecordBatch, key: &str) -> Result<()> {
    let rows = batch.column_by_name(key).ok_or_else(|| Error::new("a sub-query lost the rows around it"))?;
    let mut seen = HashSet::new();
    if rows.as_primitive::<UInt32Type>().iter().all(|row| seen.insert(row)) {
        return Ok(());
    }
    Err(Error::new("a correlated scalar sub-query of the objective has several rows for one row around it").hint(ONE_ROW))
}

/// The groups of the rows of each factor that has keys; the rows come sorted by them.
fn groups(factors: &[RecordBatch], keyed: &BTreeSet<usize>, keys: &[String], number: impl Fn(usize) -> usize) -> Result<Groups> {
    // Of several factors, one of a single row has nothing to tell apart.
    let many: Vec<usize> = keyed.iter().copied().filter(|f| factors[*f].num_rows() != 1).collect();
    let several = if many.iter().any(|f| factors[*f].num_rows() == 0) { vec![many[0]] } else { many };
    let chosen = if several.is_empty() { vec![keyed.first().copied().unwrap_or(0)] } else { several };
    let of_factor = |&factor: &usize| {
        let ranges = ranges(&factors[factor], keys)?;
        let mut of_row = Vec::with_capacity(factors[factor].num_rows());
        for (group, range) in ranges.iter().enumerate() {
            of_row.extend(range.clone().map(|_| group as u32));
        }
        Ok(FactorGroups { factor: number(factor), of_row: of_row.into(), count: ranges.len() })
    };
    Ok(Groups { of_factors: chosen.iter().map(of_factor).collect::<Result<_>>()? })
}

/// Rows of equal keys, of those keys that a factor has.
fn ranges(batch: &RecordBatch, keys: &[String]) -> Result<Vec<Range<usize>>> {
    let columns: Vec<ArrayRef> = keys.iter().filter_map(|k| batch.column_by_name(k).cloned()).collect();
    match (batch.num_rows(), columns.is_empty()) {
        (0, _) => Ok(vec![]),
        (rows, true) => Ok(std::iter::once(0..rows).collect()),
        _ => Ok(partition(&columns)?.ranges()),
    }
}

/// All combinations of the keys of several factors, in the order of [`Groups`].
fn combinations(factors: &[RecordBatch], keyed: &BTreeSet<usize>, keys: &[String]) -> Result<RecordBatch> {
    let mut first_rows = keyed.iter().map(|f| Ok((*f, ranges(&factors[*f], keys)?))).collect::<Result<Vec<_>>>()?;
    let all: usize = first_rows.iter().map(|(_, ranges)| ranges.len()).product();
    let (mut each, mut taken) = (all, HashMap::new());
    for (factor, ranges) in first_rows.drain(..) {
        each /= ranges.len().max(1);
        let rows: UInt32Array = (0..all).map(|i| ranges[i / each % ranges.len()].start as u32).collect();
        taken.insert(factor, rows);
    }
    let column = |key: &String| {
        let factor = *keyed.iter().find(|f| factors[**f].column_by_name(key).is_some()).expect("some factor has the key");
        let schema = factors[factor].schema();
        Ok((schema.field_with_name(key)?.clone(), take(&factors[factor][key.as_str()], &taken[&factor], None)?))
    };
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = keys.iter().map(column).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What later skeletons see of the stage: keys and frozen aggregates, by the exact engine; or the rows themselves.
async fn finished_rows(stage: &Stage, skeleton: &Skeleton, batch: &RecordBatch, context: &SessionContext) -> Result<RecordBatch> {
    if matches!(stage.grouping, Grouping::Rows | Grouping::Partitions) {
        let kept: Vec<usize> = skeleton.table.kept().map(|name| batch.schema().index_of(name)).collect::<Result<_, _>>()?;
        return Ok(batch.project(&kept)?);
    }
    if skeleton.aggregates.is_empty() && skeleton.keys.is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        return Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?);
    }
    let table = Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?);
    let rows = LogicalPlanBuilder::scan("rows", provider_as_source(table), None)?;
    let name = |k: &String| datafusion::logical_expr::ident(k);
    let keys: Vec<_> = skeleton.keys.iter().map(name).collect();
    let aggregates: Vec<_> = skeleton.aggregates.iter().map(|(e, id)| e.clone().alias(id)).collect();
    // An aggregate needs something to compute; a count is dropped again by the projection.
    let computed =
        if aggregates.is_empty() { vec![datafusion::functions_aggregate::count::count(lit(1)).alias("rows")] } else { aggregates };
    let outputs: Vec<_> = keys.iter().cloned().chain(skeleton.aggregates.iter().map(|(_, id)| name(id))).collect();
    let mut plan = rows.aggregate(keys.clone(), computed)?.project(outputs)?;
    if !keys.is_empty() {
        plan = plan.sort(keys.iter().map(|k| k.clone().sort(true, true)).collect::<Vec<_>>())?;
    }
    let plan = context.state().create_physical_plan(&plan.build()?).await?;
    let batches = datafusion::physical_plan::collect(plan.clone(), context.task_ctx()).await?;
    Ok(concat_batches(&plan.schema(), &batches)?)
}

/// Rows x elements, 0 where a row is NULL, and the shape of a row.
pub(super) fn reals<R: Lanes>(array: &ArrayRef) -> Result<(Vec<R>, Vec<usize>)> {
    if !matches!(array.data_type(), DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)) {
        return Ok((scalars(array)?, vec![]));
    }
    // Where a row is NULL, its elements are whatever lies there.
    let there = filter(array, &is_not_null(array)?)?;
    let (length, elements) = elements(&there)?;
    if elements.null_count() > 0 {
        return Err(Error::new("a vector with an element that is NULL").hint("leave such rows out in WHERE, or give every element a value"));
    }
    let (values, inner) = reals::<R>(&elements)?;
    let dimensions = [vec![length], inner].concat();
    if there.len() == array.len() {
        return Ok((values, dimensions));
    }
    let width: usize = dimensions.iter().product();
    let mut rows = vec![R::ZERO; array.len() * width];
    if width > 0 {
        let places = rows.chunks_exact_mut(width).enumerate().filter(|(row, _)| array.is_valid(*row));
        places.zip(values.chunks_exact(width)).for_each(|((_, place), row)| place.copy_from_slice(row));
    }
    Ok((rows, dimensions))
}

/// The length of lists that are of one length, and their elements.
fn elements(lists: &ArrayRef) -> Result<(usize, ArrayRef)> {
    let (lengths, elements): (Vec<usize>, ArrayRef) = match lists.data_type() {
        DataType::FixedSizeList(_, length) => {
            let lists: &FixedSizeListArray = lists.as_fixed_size_list();
            (vec![*length as usize; lists.len()], lists.values().slice(lists.value_offset(0) as usize, lists.len() * *length as usize))
        }
        DataType::LargeList(_) => {
            let lists: &LargeListArray = lists.as_list();
            let (start, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            (lists.offsets().lengths().collect(), lists.values().slice(start, end - start))
        }
        _ => {
            let lists: &ListArray = lists.as_list();
            let (start, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            (lists.offsets().lengths().collect(), lists.values().slice(start, end - start))
        }
    };
    let first = lengths.first().copied().unwrap_or(0);
    match lengths.iter().find(|n| **n != first) {
        Some(other) => Err(Error::new(format!("dimension mismatch: a vector column has rows of {first} and of {other} elements"))
            .hint("give every row the same number of elements")),
        None => Ok((first, elements)),
    }
}

fn scalars<R: Lanes>(array: &ArrayRef) -> Result<Vec<R>> {
    if let Some(floats) = array.as_any().downcast_ref::<Float32Array>()
        && floats.null_count() == 0
    {
        return Ok(floats.values().iter().map(|x| R::of(f64::from(*x))).collect());
    }
    let wide = cast(array, &DataType::Float64)?;
    let wide: &Float64Array = wide.as_primitive();
    Ok((0..wide.len()).map(|i| if wide.is_valid(i) { R::of(wide.value(i)) } else { R::ZERO }).collect())
}
