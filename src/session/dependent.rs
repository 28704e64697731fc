//! A sub-query as a join with the distinct outer values that it reads (Neumann and Kemper, "Unnesting Arbitrary Queries",
//! BTW 2015): pushed down to where it reads none, operator by operator.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, ExprSchemable, FetchType, Filter, Join, Limit, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, SkipType, SortExpr, Window, binary_expr, lit,
};
use datafusion::optimizer::OptimizerConfig;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

/// The rows around a sub-query, of which it sees the distinct values that it reads.
pub(super) struct OuterRows<'a> {
    pub input: &'a LogicalPlan,
    /// What the sub-query calls the first of the keys; it reads the others nowhere.
    pub outer: Vec<Column>,
    pub keys: &'a [Expr],
    pub config: &'a dyn OptimizerConfig,
}

/// A plan with the columns of the outer values, or `None` where it is of no known shape.
type Dependent = Option<(LogicalPlan, Vec<Column>)>;

impl OuterRows<'_> {
    /// Whether a plan reads any of them.
    fn is_read_by(&self, plan: &LogicalPlan) -> Result<bool> {
        plan.exists(|node| {
            let is_ours = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, c) if self.outer.contains(c));
            Ok(node.expressions().iter().any(|e| e.exists(|e| Ok(is_ours(e))).unwrap_or(false)))
        })
    }

    /// The distinct values, and their columns.
    fn values(&self) -> Result<(LogicalPlan, Vec<Column>)> {
        let alias = self.config.alias_generator().next("__outer");
        let name = |at: usize| format!("{alias}_{at}");
        let keys = self.keys.iter().enumerate().map(|(at, e)| e.clone().alias(name(at)));
        let plan = LogicalPlanBuilder::from(self.input.clone()).project(keys)?.distinct()?.alias(alias.clone())?.build()?;
        Ok((plan, (0..self.keys.len()).map(|at| Column::new(Some(alias.clone()), name(at))).collect()))
    }

    /// The plan for every combination of outer values, whose columns come last.
    pub fn dependent(&self, plan: &LogicalPlan) -> Result<Dependent> {
        if !self.is_read_by(plan)? {
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
            LogicalPlan::Subquery(subquery) => self.dependent(&subquery.subquery),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.dependent(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Window(window) => self.over(&window.input, |input, columns| {
                let names = NamePreserver::new(plan);
                let functions = window.window_expr.iter().map(|e| {
                    let name = names.save(e);
                    Ok(name.restore(partitioned(self.bound(e, &columns)?, &columns)?))
                });
                let windowed = Window::try_new(functions.collect::<Result<_>>()?, Arc::new(input))?;
                let own = window.schema.columns().into_iter().chain(columns.iter().cloned()).map(Expr::Column);
                Ok((LogicalPlanBuilder::from(LogicalPlan::Window(windowed)).project(own)?.build()?, columns))
            }),
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

    /// The first rows of each combination.
    fn limit(&self, limit: &Limit) -> Result<Dependent> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
            return Ok(None);
        };
        // Which rows are first is decided below what is computed of each.
        if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
            let first = LogicalPlan::Limit(Limit { input: projection.input.clone(), ..limit.clone() });
            return self.dependent(&LogicalPlan::Projection(Projection::try_new(projection.expr.clone(), Arc::new(first))?));
        }
        let (order, input): (&[SortExpr], _) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (&sort.expr, &sort.input),
            _ => (&[], &limit.input),
        };
        self.over(input, |rows, columns| {
            let name = self.config.alias_generator().next("__place");
            let place = || Expr::Column(Column::from_name(&name));
            let order =
                order.iter().map(|key| Ok(SortExpr { expr: self.bound(&key.expr, &columns)?, ..key.clone() })).collect::<Result<_>>()?;
            let by = columns.iter().cloned().map(Expr::Column).collect();
            let number = row_number().partition_by(by).order_by(order).build()?.alias(&name);
            let last = fetch.map(|n| skip.saturating_add(n) as u64);
            let taken = last.map_or(lit(true), |last| place().lt_eq(lit(last)));
            let own = rows.schema().columns().into_iter().map(Expr::Column);
            let first = LogicalPlanBuilder::from(rows).window(vec![number])?.filter(place().gt(lit(skip as u64)).and(taken))?;
            Ok((first.project(own)?.build()?, columns))
        })
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
        let right = if self.is_read_by(&join.right)? {
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

pub(super) fn same(left: &[Column], right: &[Column]) -> Vec<Expr> {
    let same = |(l, r): (&Column, &Column)| binary_expr(Expr::Column(l.clone()), Operator::IsNotDistinctFrom, Expr::Column(r.clone()));
    left.iter().zip(right).map(same).collect()
}

/// A window function over the rows of each combination.
fn partitioned(function: Expr, columns: &[Column]) -> Result<Expr> {
    let partitioned = function.transform_up(|e| match e {
        Expr::WindowFunction(mut function) => {
            function.params.partition_by.extend(columns.iter().cloned().map(Expr::Column));
            Ok(Transformed::yes(Expr::WindowFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(partitioned.data)
}
