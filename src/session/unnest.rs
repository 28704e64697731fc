//! Sub-queries that DataFusion does not take apart: correlated other than by an equality below their aggregate, or written
//! where it knows none (in the argument of an aggregate, EXISTS and IN in a SELECT list).
//!
//! The sub-query is run once for each distinct combination of the outer values that it reads, as a join with these, and
//! looked up by them (Neumann and Kemper, "Unnesting Arbitrary Queries", BTW 2015). What DataFusion takes apart is left to it.

use crate::error::Error;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::bool_or;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Subquery,
    binary_expr, lit, when,
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

    fn supports_rewrite(&self) -> bool {
        true
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
    let mut keys: Vec<Expr> = vec![];
    let mut outer: Vec<Column> = vec![];
    for e in &nested.subquery.outer_ref_columns {
        if let Expr::OuterReferenceColumn(_, c) = e
            && !outer.contains(c)
        {
            outer.push(c.clone());
            keys.push(Expr::Column(c.clone()));
        }
    }
    keys.extend(nested.compared.map(|(value, _)| value.clone()));
    if !outer.iter().all(|c| input.schema().is_column_from_schema(c)) || is_volatile(&input)? {
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

/// The rows around a sub-query, of which it sees the distinct values that it reads.
struct OuterRows<'a> {
    input: &'a LogicalPlan,
    outer: Vec<Column>,
    keys: &'a [Expr],
    config: &'a dyn OptimizerConfig,
}

type Dependent = Option<(LogicalPlan, Vec<Column>)>;

impl OuterRows<'_> {
    /// The distinct values, and their columns.
    fn values(&self) -> Result<(LogicalPlan, Vec<Column>)> {
        let alias = self.config.alias_generator().next("__outer");
        let name = |at: usize| format!("{alias}_{at}");
        let keys = self.keys.iter().enumerate().map(|(at, e)| e.clone().alias(name(at)));
        let plan = LogicalPlanBuilder::from(self.input.clone()).project(keys)?.distinct()?.alias(alias.clone())?.build()?;
        Ok((plan, (0..self.keys.len()).map(|at| Column::new(Some(alias.clone()), name(at))).collect()))
    }

    /// The plan for every combination of outer values, whose columns come last.
    fn dependent(&self, plan: &LogicalPlan) -> Result<Dependent> {
        if !reads_outer(plan)? {
            let (values, columns) = self.values()?;
            if columns.is_empty() {
                return Ok(Some((plan.clone(), columns)));
            }
            return Ok(Some((LogicalPlanBuilder::from(plan.clone()).cross_join(values)?.build()?, columns)));
        }
        match plan {
            LogicalPlan::Filter(filter) => self.over(&filter.input, |input, columns| {
                let predicate = self.bound(&filter.predicate, &columns)?;
                Ok((LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?), columns))
            }),
            LogicalPlan::Projection(projection) => self.over(&projection.input, |input, columns| {
                let expressions = self.all_bound(plan, &projection.expr, &columns)?;
                let all = expressions.into_iter().chain(columns.iter().cloned().map(Expr::Column)).collect();
                Ok((LogicalPlan::Projection(Projection::try_new(all, Arc::new(input))?), columns))
            }),
            LogicalPlan::SubqueryAlias(alias) => self.over(&alias.input, |input, columns| {
                let columns = columns.into_iter().map(|c| Column::new(Some(alias.alias.clone()), c.name)).collect();
                Ok((LogicalPlanBuilder::from(input).alias(alias.alias.clone())?.build()?, columns))
            }),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.dependent(&sort.input),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                self.over(input, |input, columns| Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(input))), columns)))
            }
            LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) => {
                self.over(&aggregate.input, |input, columns| self.aggregate(plan, aggregate, input, columns))
            }
            LogicalPlan::Join(join) => self.join(plan, join),
            LogicalPlan::Union(union) => {
                let mut all: Option<LogicalPlanBuilder> = None;
                for input in &union.inputs {
                    let Some((part, columns)) = self.dependent(input)? else { return Ok(None) };
                    let own = input.schema().columns().into_iter().chain(columns).map(Expr::Column);
                    let part = LogicalPlanBuilder::from(part).project(own)?;
                    all = Some(if let Some(before) = all { before.union(part.build()?)? } else { part });
                }
                let Some(all) = all else { return Ok(None) };
                let plan = all.build()?;
                let columns = plan.schema().columns().split_off(union.schema.fields().len());
                Ok(Some((plan, columns)))
            }
            _ => Ok(None),
        }
    }

    fn over(
        &self,
        input: &LogicalPlan,
        make: impl FnOnce(LogicalPlan, Vec<Column>) -> Result<(LogicalPlan, Vec<Column>)>,
    ) -> Result<Dependent> {
        self.dependent(input)?.map(|(input, columns)| make(input, columns)).transpose()
    }

    /// Groups for each combination. One without GROUP BY has a row for every combination, whether it has rows or not.
    fn aggregate(
        &self,
        plan: &LogicalPlan,
        aggregate: &Aggregate,
        input: LogicalPlan,
        columns: Vec<Column>,
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        let mut keys = self.all_bound(plan, &aggregate.group_expr, &columns)?;
        keys.extend(columns.iter().cloned().map(Expr::Column));
        let aggregates = self.all_bound(plan, &aggregate.aggr_expr, &columns)?;
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), keys, aggregates)?);
        if !aggregate.group_expr.is_empty() {
            return Ok((grouped, columns));
        }
        let (values, all) = self.values()?;
        let on = same(&all, &columns);
        let joined = LogicalPlanBuilder::from(values).join_on(grouped, JoinType::Left, on)?;
        let mut filled = vec![];
        for (e, column) in aggregate.aggr_expr.iter().zip(aggregate.schema.columns()) {
            let value = Expr::Column(column.clone());
            let empty = match e.clone().unalias() {
                Expr::AggregateFunction(f) => f.func.default_value(&e.get_type(aggregate.input.schema())?)?,
                _ => ScalarValue::Null,
            };
            filled.push(if empty.is_null() { value } else { coalesce(vec![value, lit(empty)]).alias(column.name) });
        }
        filled.extend(all.iter().cloned().map(Expr::Column));
        Ok((joined.project(filled)?.build()?, all))
    }

    fn join(&self, plan: &LogicalPlan, join: &Join) -> Result<Dependent> {
        let kept = match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => &join.left,
            _ => return Ok(None),
        };
        let Some((left, columns)) = self.dependent(kept)? else { return Ok(None) };
        let mut on: Vec<Expr> = vec![];
        let right = if reads_outer(&join.right)? {
            let Some((right, theirs)) = self.dependent(&join.right)? else { return Ok(None) };
            on.extend(same(&columns, &theirs));
            right
        } else {
            join.right.as_ref().clone()
        };
        let equal = match join.null_equality {
            datafusion::common::NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
            datafusion::common::NullEquality::NullEqualsNothing => Operator::Eq,
        };
        let keys = join.on.iter().map(|(l, r)| binary_expr(l.clone(), equal, r.clone()));
        for e in keys.chain(join.filter.clone()) {
            on.push(self.bound(&e, &columns)?);
        }
        debug_assert_eq!(plan.inputs().len(), 2);
        let on = if on.is_empty() { vec![lit(true)] } else { on };
        Ok(Some((LogicalPlanBuilder::from(left).join_on(right, join.join_type, on)?.build()?, columns)))
    }

    /// The expression with the values in place of the outer columns.
    fn bound(&self, e: &Expr, columns: &[Column]) -> Result<Expr> {
        let bound = e.clone().transform_up(|e| match &e {
            Expr::OuterReferenceColumn(_, c) => match self.outer.iter().position(|known| known == c) {
                Some(at) => Ok(Transformed::yes(Expr::Column(columns[at].clone()))),
                None => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        })?;
        Ok(bound.data)
    }

    fn all_bound(&self, plan: &LogicalPlan, expressions: &[Expr], columns: &[Column]) -> Result<Vec<Expr>> {
        let names = NamePreserver::new(plan);
        expressions
            .iter()
            .map(|e| {
                let name = names.save(e);
                Ok(name.restore(self.bound(e, columns)?))
            })
            .collect()
    }
}

fn same(left: &[Column], right: &[Column]) -> Vec<Expr> {
    let same = |(l, r): (&Column, &Column)| binary_expr(Expr::Column(l.clone()), Operator::IsNotDistinctFrom, Expr::Column(r.clone()));
    left.iter().zip(right).map(same).collect()
}

fn reads_outer(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(node.contains_outer_reference()))
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(node.expressions().iter().any(Expr::is_volatile)))
}
