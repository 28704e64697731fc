//! Sub-queries that DataFusion does not take apart: correlated other than by an equality below their aggregate, or written
//! where it knows none (in the argument of an aggregate, EXISTS and IN in a SELECT list). LATERAL likewise.
//!
//! The sub-query is run once for each distinct combination of the outer values that it reads, as a join with these
//! (`dependent`), and looked up by them. What DataFusion takes apart is left to it.

use super::dependent::{OuterRows, same};
use crate::error::Error;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::bool_or;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, when,
};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Unnest;

impl OptimizerRule for Unnest {
    fn name(&self) -> &str {
        "unnest_sub_queries"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|node| unnested(node, config))
    }
}

/// A sub-query with the value that it is compared with, if it is.
struct Nested<'e> {
    subquery: &'e Subquery,
    compared: Option<(&'e Expr, Operator)>,
    exists: bool,
    /// Whether the answer is turned round, and for ALL the comparison too.
    negated: bool,
}

impl Nested<'_> {
    fn of(e: &Expr) -> Result<Option<Nested<'_>>> {
        Ok(Some(match e {
            Expr::ScalarSubquery(subquery) => Nested { subquery, compared: None, exists: false, negated: false },
            Expr::Exists(Exists { subquery, negated }) => Nested { subquery, compared: None, exists: true, negated: *negated },
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                Nested { subquery, compared: Some((expr, Operator::Eq)), exists: false, negated: *negated }
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let all = *quantifier == SetQuantifier::All;
                let op = if all { op.negate().ok_or_else(|| Error::new(format!("{op} ALL has no opposite")))? } else { *op };
                Nested { subquery, compared: Some((expr, op)), exists: false, negated: all }
            }
            _ => return Ok(None),
        }))
    }

    fn is_scalar(&self) -> bool {
        !self.exists && self.compared.is_none()
    }

    /// Whether DataFusion's own rules take it apart. `conjunct` is a conjunct of a filter, as it stands or under one NOT.
    fn is_known(&self, node: &LogicalPlan, conjunct: bool) -> Result<bool> {
        let correlated = !self.subquery.outer_ref_columns.is_empty();
        let placed = match node {
            LogicalPlan::Filter(_) if self.is_scalar() || self.exists => true,
            // Within an expression DataFusion's mark knows no NULL.
            LogicalPlan::Filter(_) => conjunct,
            LogicalPlan::Projection(_) => self.is_scalar(),
            _ => self.is_scalar() && !correlated,
        };
        if !placed || !correlated {
            return Ok(placed);
        }
        let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(self.is_scalar()).with_exists_sub_query(self.exists);
        if let Some((value, op)) = self.compared {
            let right = Expr::Column(Column::from(self.subquery.subquery.schema().qualified_field(0)));
            pull_up = pull_up.with_in_predicate_opt(Some(binary_expr(value.clone(), op, right)));
        }
        Ok(self.subquery.subquery.as_ref().clone().rewrite(&mut pull_up).is_ok() && pull_up.can_pull_up)
    }
}

fn unnested(node: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    let input = match &node {
        LogicalPlan::Filter(filter) => filter.input.as_ref().clone(),
        LogicalPlan::Projection(projection) => projection.input.as_ref().clone(),
        LogicalPlan::Aggregate(aggregate) => aggregate.input.as_ref().clone(),
        LogicalPlan::Join(join) => return Ok(lateral(join, config)?.map_or_else(|| Transformed::no(node.clone()), Transformed::yes)),
        _ => return Ok(Transformed::no(node)),
    };
    let conjuncts: Vec<Expr> = if let LogicalPlan::Filter(filter) = &node {
        let of = |e: &Expr| if let Expr::Not(inner) = e { inner.as_ref().clone() } else { e.clone() };
        split_conjunction(&filter.predicate).into_iter().map(of).collect()
    } else {
        vec![]
    };
    let (mut plan, mut changed) = (input, false);
    let names = NamePreserver::new(&node);
    let mut expressions = vec![];
    for e in node.expressions() {
        let name = names.save(&e);
        let e = e.transform_down(|e| {
            let Some(nested) = Nested::of(&e)? else { return Ok(Transformed::no(e)) };
            if nested.is_known(&node, conjuncts.contains(&e))? {
                return Ok(Transformed::new(e, false, TreeNodeRecursion::Jump));
            }
            let Some((joined, answer)) = joined(&nested, plan.clone(), config)? else {
                return Ok(Transformed::new(e, false, TreeNodeRecursion::Jump));
            };
            (plan, changed) = (joined, true);
            Ok(Transformed::new(answer, true, TreeNodeRecursion::Jump))
        })?;
        expressions.push(e.update_data(|e| name.restore(e)).data);
    }
    if !changed {
        return Ok(Transformed::no(node));
    }
    let before = node.schema().columns();
    Ok(Transformed::yes(match node {
        LogicalPlan::Filter(_) => {
            let filtered = LogicalPlan::Filter(Filter::try_new(expressions.swap_remove(0), Arc::new(plan))?);
            LogicalPlanBuilder::from(filtered).project(before.into_iter().map(Expr::Column))?.build()?
        }
        other => other.with_new_exprs(expressions, vec![plan])?,
    }))
}

/// The rows of a query with what a sub-query says of each, and the expression for it. `None` where it is of no known shape.
fn joined(nested: &Nested, input: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Option<(LogicalPlan, Expr)>> {
    let outer = outer_columns(nested.subquery, &input);
    let mut keys: Vec<Expr> = outer.iter().cloned().map(Expr::Column).collect();
    keys.extend(nested.compared.map(|(value, _)| value.clone()));
    if is_volatile(&input)? {
        return Ok(None);
    }
    let outer_rows = OuterRows { input: &input, outer, keys: &keys, config };
    let Some((rows, values)) = outer_rows.dependent(nested.subquery.subquery.as_ref())? else { return Ok(None) };
    let first = || Expr::Column(Column::from(nested.subquery.subquery.schema().qualified_field(0)));
    let key = |at: usize| format!("key_{at}");
    let keyed = |with: Vec<Expr>| {
        let keys = values.iter().enumerate().map(|(at, c)| Expr::Column(c.clone()).alias(key(at)));
        with.into_iter().chain(keys).collect::<Vec<_>>()
    };
    let by_key: Vec<Expr> = (0..values.len()).map(|at| Expr::Column(Column::from_name(key(at)))).collect();
    let rows = LogicalPlanBuilder::from(rows);
    let found = match nested.compared {
        Some((_, op)) => {
            let value = values.last().ok_or_else(|| Error::new("a comparison with a sub-query has no value"))?;
            let compared = Expr::BinaryExpr(BinaryExpr::new(Box::new(Expr::Column(value.clone())), op, Box::new(first())));
            let of = |name: &str| Expr::Column(Column::from_name(name));
            rows.project(keyed(vec![compared.clone().alias("matches"), compared.is_null().alias("unknown")]))?
                .aggregate(by_key, vec![bool_or(of("matches")).alias("found"), bool_or(of("unknown")).alias("may_be")])?
        }
        None if nested.exists && values.is_empty() => rows.limit(0, Some(1))?.project(vec![lit(true).alias("found")])?,
        None if nested.exists => rows.project(keyed(vec![]))?.distinct()?.project(by_key.into_iter().chain([lit(true).alias("found")]))?,
        None => rows.project(keyed(vec![first().alias("found")]))?,
    };
    let alias = config.alias_generator().next("__nested");
    let of = |name: &str| Expr::Column(Column::new(Some(alias.clone()), name));
    let found = found.alias(alias.clone())?.build()?;
    let on = keys.iter().enumerate().map(|(at, e)| binary_expr(e.clone(), Operator::IsNotDistinctFrom, of(&key(at))));
    let on: Vec<Expr> = if keys.is_empty() { vec![lit(true)] } else { on.collect() };
    let answer = if nested.compared.is_some() {
        when(of("found"), lit(true)).when(of("may_be"), lit(ScalarValue::Boolean(None))).otherwise(lit(false))?
    } else if nested.exists {
        of("found").is_not_null()
    } else {
        of("found")
    };
    let plan = LogicalPlanBuilder::from(input.clone()).join_on(found, JoinType::Left, on)?.build()?;
    Ok(Some((plan, if nested.negated { Expr::Not(Box::new(answer)) } else { answer })))
}

/// `FROM a, LATERAL (...) b`: the lateral side for each combination of the values of `a` that it reads, joined to the rows that
/// have these. `None` where it is no lateral join, DataFusion takes it apart, or it is of no known shape.
fn lateral(join: &Join, config: &dyn OptimizerConfig) -> Result<Option<LogicalPlan>> {
    let Some(subquery) = lateral_side(&join.right) else { return Ok(None) };
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) || is_known_lateral(&subquery.subquery)? || is_volatile(&join.left)? {
        return Ok(None);
    }
    let outer = outer_columns(subquery, &join.left);
    let keys: Vec<Expr> = outer.iter().cloned().map(Expr::Column).collect();
    let outer_rows = OuterRows { input: &join.left, outer: outer.clone(), keys: &keys, config };
    let Some((rows, values)) = outer_rows.dependent(&join.right)? else { return Ok(None) };
    let mut on = same(&outer, &values);
    on.extend(join.on.iter().map(|(l, r)| binary_expr(l.clone(), Operator::Eq, r.clone())));
    on.extend(join.filter.clone());
    let joined = LogicalPlanBuilder::from(join.left.as_ref().clone()).join_on(rows, join.join_type, on)?;
    Ok(Some(joined.project(join.schema.columns().into_iter().map(Expr::Column))?.build()?))
}

/// The sub-query that the right side of a lateral join is, below nothing but new names.
fn lateral_side(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some(subquery).filter(|s| !s.outer_ref_columns.is_empty()),
        LogicalPlan::SubqueryAlias(alias) => lateral_side(&alias.input),
        LogicalPlan::Projection(projection) => lateral_side(&projection.input),
        _ => None,
    }
}

/// Whether DataFusion takes it apart: not by HAVING, and what runs over all rows of a sub-query it would run over those of all
/// outer rows together.
fn is_known_lateral(plan: &LogicalPlan) -> Result<bool> {
    use LogicalPlan::{Aggregate, Filter, Projection, SubqueryAlias, TableScan};
    if plan.exists(|node| Ok(!matches!(node, Aggregate(_) | Filter(_) | Projection(_) | SubqueryAlias(_) | TableScan(_))))? {
        return Ok(false);
    }
    let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    let taken_apart = plan.clone().rewrite(&mut pull_up).is_ok();
    Ok(taken_apart && pull_up.can_pull_up && pull_up.pull_up_having_expr.is_none())
}

/// The columns of these rows that a sub-query reads. What else it reads is of a query further out.
fn outer_columns(subquery: &Subquery, rows: &LogicalPlan) -> Vec<Column> {
    let mut outer: Vec<Column> = vec![];
    for e in &subquery.outer_ref_columns {
        if let Expr::OuterReferenceColumn(_, c) = e
            && !outer.contains(c)
            && rows.schema().is_column_from_schema(c)
        {
            outer.push(c.clone());
        }
    }
    outer
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(node.expressions().iter().any(Expr::is_volatile)))
}
