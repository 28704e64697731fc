//! Lateral joins: `FROM a, LATERAL (SELECT ... a.x ...) b`.
//!
//! While a plan is prepared, the outer columns that the right side reads stand as the arguments of a function in the join's
//! condition, so that rules which drop unread columns keep them. The right side is then split over pairs with the left rows
//! like any sub-query that depends on the rows around it, and joined to these by their number.

use super::dependent::Context;
use super::relation::{Relation, Slot};
use super::subquery::{each_outer_reference, signature};
use super::{Splitter, column};
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{ColumnarValue, Expr, Join, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};
use std::sync::Arc;

/// The outer columns that a lateral side reads, as it calls them, in the order of the arguments. True of every pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lateral {
    outer: Vec<Column>,
    signature: Signature,
}

impl Lateral {
    /// What a join's condition says of its lateral side, and the rest of the condition.
    fn of(join: &Join) -> Option<(Lateral, Vec<Expr>, Option<Expr>)> {
        let is_mark = |e: &Expr| matches!(e, Expr::ScalarFunction(f) if f.func.inner().downcast_ref::<Lateral>().is_some());
        let (marks, rest): (Vec<_>, Vec<_>) = split_conjunction(join.filter.as_ref()?).into_iter().cloned().partition(is_mark);
        let Some(Expr::ScalarFunction(f)) = marks.into_iter().next() else { return None };
        Some((f.func.inner().downcast_ref::<Lateral>()?.clone(), f.args, conjunction(rest)))
    }
}

pub(super) fn is_lateral(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if Lateral::of(join).is_some())
}

/// A lateral join as an ordinary join whose condition names what its right side reads. Of a right side that only filters,
/// DataFusion makes a plain join.
pub(super) fn taken_out(node: LogicalPlan) -> EngineResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = node else { return Ok(Transformed::no(node)) };
    let Some(right) = without_mark(&join.right)? else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    if only_filters(&right)? {
        let plain = DecorrelateLateralJoin::new().rewrite(LogicalPlan::Join(join.clone()), &OptimizerContext::new())?;
        if plain.transformed {
            return Ok(plain);
        }
    }
    let (mut outer, mut args): (Vec<Column>, Vec<Expr>) = (vec![], vec![]);
    each_outer_reference(&right, &mut |e, c| {
        if !outer.contains(c) {
            outer.push(c.clone());
            // What the left side does not have either is a column of the query around both.
            args.push(if join.left.schema().has_column(c) { Expr::Column(c.clone()) } else { e.clone() });
        }
    })?;
    let mark = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(Lateral { outer, signature: signature() })), args));
    let filter = conjunction([mark].into_iter().chain(join.filter));
    let join = Join::try_new(join.left, Arc::new(right), join.on, filter, join.join_type, join.join_constraint, join.null_equality, false)?;
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

/// The lateral join that it was.
pub(super) fn given_back(node: LogicalPlan) -> EngineResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = node else { return Ok(Transformed::no(node)) };
    let Some((_, _, filter)) = Lateral::of(&join) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let outer_ref_columns = join.right.all_out_ref_exprs();
    let right = Arc::new(LogicalPlan::Subquery(Subquery { subquery: join.right, outer_ref_columns, spans: Default::default() }));
    let join = Join::try_new(join.left, right, join.on, filter, join.join_type, join.join_constraint, join.null_equality, false)?;
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

/// The plan of a lateral side, if it is one: a sub-query with outer columns below nothing but new names.
fn without_mark(plan: &LogicalPlan) -> EngineResult<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => Ok(Some(subquery.subquery.as_ref().clone())),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) => {
            let Some(inner) = without_mark(plan.inputs()[0])? else { return Ok(None) };
            Ok(Some(plan.with_new_exprs(plan.expressions(), vec![inner])?))
        }
        _ => Ok(None),
    }
}

fn only_filters(plan: &LogicalPlan) -> EngineResult<bool> {
    use LogicalPlan::{Filter, Projection, SubqueryAlias, TableScan};
    Ok(!plan.exists(|node| Ok(!matches!(node, Filter(_) | Projection(_) | SubqueryAlias(_) | TableScan(_))))?)
}

impl Splitter<'_> {
    /// The join, if its right side reads columns of the left.
    pub(super) fn lateral_join(&mut self, join: &Join) -> Result<Option<Relation>> {
        let Some((lateral, args, filter)) = Lateral::of(join) else { return Ok(None) };
        let left = self.relation(&join.left)?;
        let mut left = self.with_outer(left, filter.iter().chain(&args))?;
        let (width, outer) = (left.columns.len(), left.carried.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        let context = self.around(&mut left, join.left.schema(), lateral.outer, &args)?;
        self.contexts.push(context.clone());
        let join = Join { filter, ..join.clone() };
        let joined = self.beside_its_rows(&context, width, &join);
        self.contexts.pop();
        let mut joined = joined?;
        joined.carried.retain(|(name, _)| outer.contains(name));
        Ok(Some(joined))
    }

    fn beside_its_rows(&mut self, context: &Context, width: usize, join: &Join) -> Result<Relation> {
        let right = self.relation(&join.right)?;
        let right = self.meet(right)?;
        let (mut left, row) = self.read(&context.rows)?;
        left.columns.truncate(width);
        let key = self.fresh();
        left.add(key, "outer row".into(), column(row));
        left.flush()?;
        left.carried.push((context.key.clone(), Slot::Frozen(key)));
        if join.join_type == JoinType::Left { self.left_joined(left, right, join) } else { self.inner_joined(left, right, join) }
    }
}

impl ScalarUDFImpl for Lateral {
    fn name(&self) -> &str {
        "lateral"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        Err(Error::new("a lateral join was left out of the plan").into())
    }
}
