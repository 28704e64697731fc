//! Joins that look rows up. What is read of the rows of one side alone is computed for these, before the join, and the joined rows
//! keep a row number of it: an objective over a star join touches each dimension row once, and not once for each fact.
//! (Learning over normalized data: Kumar, Naughton, Patel, SIGMOD 2015.)

use super::product::is_of_its_row;
use super::table::numbered;
use crate::error::Result;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Sort, SubqueryAlias, ident,
};
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use std::collections::HashMap;
use std::sync::Arc;

/// How many rows read one row of the side that is looked up, on the average, at the least.
pub(super) const FEWEST_READERS: usize = 2;

/// A side of a join that rows look up.
pub(super) struct Dimension {
    /// The columns that were asked for, for each of its rows.
    pub columns: RecordBatch,
    /// The column of the joined rows with their row of it.
    pub row: String,
    /// What the exact engine ran for it.
    pub plan: String,
}

/// The plan with row numbers in place of those of `columns` that are of the rows of one smaller side of its joins, and these sides,
/// run. The plan itself where there are none.
pub(super) async fn looked_up(
    plan: LogicalPlan,
    columns: &[(String, bool)],
    context: &SessionContext,
) -> Result<(LogicalPlan, Vec<Dimension>)> {
    let mut sides = vec![];
    each_side(&plan, &mut sides);
    let mut wanted: Vec<Vec<(String, Expr)>> = vec![vec![]; sides.len()];
    let mut is_worth_it = vec![false; sides.len()];
    for (name, is_number) in columns {
        if let Some((side, e)) = traced(&plan, ident(name), 0) {
            wanted[side].push((name.clone(), e));
            is_worth_it[side] |= is_number;
        }
    }
    if !is_worth_it.contains(&true) {
        return Ok((plan, vec![]));
    }
    let lengths = lengths(&sides, context).await?;
    let longest = lengths.iter().map(|n| n.unwrap_or(usize::MAX)).max().unwrap_or(0);
    let (mut dimensions, mut found) = (vec![], HashMap::new());
    for (side, wanted) in wanted.into_iter().enumerate() {
        if is_worth_it[side] && lengths[side].is_some_and(|rows| rows <= longest / FEWEST_READERS) {
            let (dimension, rows) = run(sides[side], wanted, side, context).await?;
            found.insert(side, (rows, dimension.row.clone()));
            dimensions.push(dimension);
        }
    }
    if dimensions.is_empty() {
        return Ok((plan, dimensions));
    }
    let moved = |name: &str| dimensions.iter().any(|d| d.columns.column_by_name(name).is_some());
    let stay = plan.schema().fields().iter().map(|f| f.name()).filter(|name| !moved(name));
    let rows = dimensions.iter().map(|d| &d.row);
    let all: Vec<Expr> = stay.chain(rows).map(ident).collect();
    let replaced = with_rows(&plan, &found, &mut 0)?;
    Ok((LogicalPlanBuilder::from(replaced).project(all)?.build()?, dimensions))
}

/// What a node passes on row by row.
fn passed_on(plan: &LogicalPlan) -> Option<&Arc<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
        | LogicalPlan::Filter(Filter { input, .. })
        | LogicalPlan::Sort(Sort { input, fetch: None, .. }) => Some(input),
        _ => None,
    }
}

/// The join of equal keys that a plan is, or passes on.
fn as_join(plan: &LogicalPlan) -> Option<&Join> {
    match plan {
        LogicalPlan::Join(join) => {
            let by_keys = !join.on.is_empty() || join.filter.as_ref().is_some_and(compares);
            (join.join_type == JoinType::Inner && by_keys).then_some(join)
        }
        other => passed_on(other).and_then(|input| as_join(input)),
    }
}

/// Whether a condition has an equality, which joins by keys.
fn compares(filter: &Expr) -> bool {
    split_conjunction(filter).iter().any(|e| matches!(e, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. })))
}

/// The plans that are joined, from left to right.
fn each_side<'p>(plan: &'p LogicalPlan, sides: &mut Vec<&'p LogicalPlan>) {
    match as_join(plan) {
        Some(join) => [&join.left, &join.right].into_iter().for_each(|side| each_side(side, sides)),
        None => sides.push(plan),
    }
}

fn count(plan: &LogicalPlan) -> usize {
    as_join(plan).map_or(1, |join| count(&join.left) + count(&join.right))
}

/// The only side that an expression over the rows of a plan reads, `first` being the number of its first, and the expression there.
fn traced(plan: &LogicalPlan, e: Expr, first: usize) -> Option<(usize, Expr)> {
    if as_join(plan).is_none() {
        let reads = !e.column_refs().is_empty() && is_of_its_row(&e);
        return reads.then_some((first, e));
    }
    let below = |input: &LogicalPlan, written: &dyn Fn(usize) -> Expr| traced(input, replaced(e.clone(), plan.schema(), written)?, first);
    match plan {
        LogicalPlan::Join(join) => {
            let all_in = |schema: &DFSchema| e.column_refs().iter().all(|c| schema.has_column(c));
            match (all_in(join.left.schema()), all_in(join.right.schema())) {
                (true, false) => traced(&join.left, e, first),
                (false, true) => traced(&join.right, e, first + count(&join.left)),
                _ => None,
            }
        }
        LogicalPlan::Projection(projection) => below(&projection.input, &|at| projection.expr[at].clone().unalias()),
        _ => {
            let input = passed_on(plan)?;
            below(input, &|at| Expr::Column(Column::from(input.schema().qualified_field(at))))
        }
    }
}

/// The expression with what the columns of a schema are in place of these.
fn replaced(e: Expr, schema: &DFSchema, written: &dyn Fn(usize) -> Expr) -> Option<Expr> {
    let replaced = e.transform(|e| match &e {
        Expr::Column(c) => Ok(Transformed::yes(written(schema.index_of_column(c)?))),
        _ => Ok(Transformed::no(e)),
    });
    replaced.ok().map(|e| e.data)
}

/// How many rows each plan has, where that is known without running it.
async fn lengths(plans: &[&LogicalPlan], context: &SessionContext) -> Result<Vec<Option<usize>>> {
    let mut lengths = vec![];
    for plan in plans {
        let plan = context.state().create_physical_plan(plan).await?;
        let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new())?;
        lengths.push(statistics.num_rows.get_value().copied());
    }
    Ok(lengths)
}

/// Runs a side of a join: what is wanted of its rows, and a plan that gives them once more, with their numbers.
async fn run(side: &LogicalPlan, wanted: Vec<(String, Expr)>, number: usize, context: &SessionContext) -> Result<(Dimension, LogicalPlan)> {
    let own = |at: usize| format!("side {number} column {at}");
    let fields: Vec<Column> = side.schema().columns();
    let all = fields.iter().enumerate().map(|(at, c)| Expr::Column(c.clone()).alias(own(at)));
    let all: Vec<Expr> = all.chain(wanted.iter().map(|(name, e)| e.clone().alias(name))).collect();
    let plan = LogicalPlanBuilder::from(side.clone()).project(all)?.build()?;
    let plan = context.state().create_physical_plan(&plan).await?;
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    let batches = datafusion::physical_plan::collect(plan.clone(), context.task_ctx()).await?;
    let batch = concat_batches(&plan.schema(), &batches)?;
    let row = format!("row of side {number}");
    let columns = batch.project(&(fields.len()..batch.num_columns()).collect::<Vec<_>>())?;
    let rows = numbered(&batch.project(&(0..fields.len()).collect::<Vec<_>>())?, &row)?;
    let table = Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?);
    let as_before = fields.iter().enumerate().map(|(at, c)| match &c.relation {
        Some(relation) => ident(own(at)).alias_qualified(Some(relation.clone()), &c.name),
        None => ident(own(at)).alias(&c.name),
    });
    let as_before: Vec<Expr> = as_before.chain([ident(&row)]).collect();
    let plan = LogicalPlanBuilder::scan("side", provider_as_source(table), None)?.project(as_before)?.build()?;
    Ok((Dimension { columns, row, plan: shown }, plan))
}

/// The plan over sides that have been run, with the numbers of their rows.
fn with_rows(plan: &LogicalPlan, found: &HashMap<usize, (LogicalPlan, String)>, next: &mut usize) -> Result<LogicalPlan> {
    if as_join(plan).is_none() {
        *next += 1;
        return Ok(found.get(&(*next - 1)).map_or_else(|| plan.clone(), |(side, _)| side.clone()));
    }
    if let LogicalPlan::Join(join) = plan {
        let (left, right) = (with_rows(&join.left, found, next)?, with_rows(&join.right, found, next)?);
        let (on, filter) = (join.on.clone(), join.filter.clone());
        let (left, right) = (Arc::new(left), Arc::new(right));
        let joined = Join::try_new(left, right, on, filter, join.join_type, join.join_constraint, join.null_equality, false)?;
        return Ok(LogicalPlan::Join(joined));
    }
    let first = *next;
    let input = with_rows(passed_on(plan).expect("what is no join passes one on"), found, next)?;
    let builder = LogicalPlanBuilder::from(input);
    let rows = || (first..*next).filter_map(|side| found.get(&side)).map(|(_, row)| ident(row));
    let builder = match plan {
        LogicalPlan::Projection(projection) => builder.project(projection.expr.iter().cloned().chain(rows()))?,
        LogicalPlan::Filter(filter) => builder.filter(filter.predicate.clone())?,
        LogicalPlan::Sort(sort) => builder.sort(sort.expr.clone())?,
        LogicalPlan::SubqueryAlias(alias) => builder.alias(alias.alias.clone())?,
        _ => unreachable!("nothing else passes rows on"),
    };
    Ok(builder.build()?)
}
