//! The factors of a skeleton whose rows are all combinations of the rows of smaller plans. They are run, and it is not.
//!
//! A cross join multiplies. What is about the rows of one factor goes there: an expression, a filter, an alias, a sort. What
//! reads several makes one factor of them: a frozen condition is a join of those that it compares, and nobody else's.

use super::Skeleton;
use crate::algebra::{Grouping, Stage};
use crate::error::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr, SubqueryAlias, lit};
use std::sync::Arc;

impl Skeleton {
    /// The plans that are run for a stage: the skeleton itself, or its factors. What reads all rows needs them written out:
    /// the next skeleton, a rank, a frozen aggregate.
    pub(super) fn factors(&self, stage: &Stage) -> Result<Vec<LogicalPlan>> {
        let sums = match stage.grouping {
            Grouping::Whole => true,
            Grouping::Keys | Grouping::Each => stage.outputs.iter().all(|o| o.value.is_sum() || o.value.is_of_segment()),
            Grouping::Rows | Grouping::Partitions => false,
        };
        if !sums || !self.aggregates.is_empty() || self.unique.is_some() {
            return Ok(vec![self.plan.clone()]);
        }
        // The groups of sums may be combinations of the groups of several factors.
        let apart = stage.outputs.iter().all(|output| output.value.is_sum());
        let factors = Factors { counted: 0, apart }.of(&self.plan)?;
        // A plan of no columns still has rows: their count is kept by a constant.
        let counted = |plan: LogicalPlan| match plan.schema().fields().is_empty() {
            true => LogicalPlanBuilder::from(plan).project(vec![lit(true).alias("rows")])?.build(),
            false => Ok(plan),
        };
        Ok(factors.into_iter().map(counted).collect::<Result<_, _>>()?)
    }
}

struct Factors {
    /// Whether a sort may sort each factor by its own keys.
    apart: bool,
    /// Constants that keep the rows of factors of which nothing is read.
    counted: usize,
}

impl Factors {
    /// Plans whose cross join has the rows of this one, in any order, and its columns by name.
    fn of(&mut self, plan: &LogicalPlan) -> Result<Vec<LogicalPlan>> {
        let mut factors = match plan {
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => return self.of_join(plan, join),
            LogicalPlan::Projection(Projection { input, .. })
            | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
            | LogicalPlan::Filter(Filter { input, .. })
            | LogicalPlan::Sort(Sort { input, fetch: None, .. }) => self.of(input)?,
            _ => vec![],
        };
        if factors.len() < 2 {
            return Ok(vec![plan.clone()]);
        }
        match plan {
            LogicalPlan::Projection(Projection { expr, .. }) => self.projected(factors, expr),
            LogicalPlan::SubqueryAlias(SubqueryAlias { alias, .. }) => {
                let aliased = |f: LogicalPlan| Ok(LogicalPlanBuilder::from(f).alias(alias.clone())?.build()?);
                factors.into_iter().map(aliased).collect()
            }
            LogicalPlan::Filter(Filter { predicate, .. }) => {
                let at = joined(&mut factors, [predicate])?;
                factors[at] = LogicalPlanBuilder::from(factors[at].clone()).filter(predicate.clone())?.build()?;
                Ok(factors)
            }
            LogicalPlan::Sort(Sort { expr, .. }) => {
                let alone = |key: &SortExpr| factors.iter().filter(|f| reads(&key.expr, f)).count() <= 1;
                if !self.apart || !expr.iter().all(alone) {
                    joined(&mut factors, expr.iter().map(|key| &key.expr))?;
                }
                let sorted = |factor: LogicalPlan| {
                    let own: Vec<SortExpr> = expr.iter().filter(|key| reads(&key.expr, &factor)).cloned().collect();
                    if own.is_empty() { Ok(factor) } else { Ok(LogicalPlanBuilder::from(factor).sort(own)?.build()?) }
                };
                factors.into_iter().map(sorted).collect()
            }
            _ => Ok(vec![plan.clone()]),
        }
    }

    fn projected(&mut self, mut factors: Vec<LogicalPlan>, expressions: &[Expr]) -> Result<Vec<LogicalPlan>> {
        for e in expressions {
            joined(&mut factors, [e])?;
        }
        let mut of_each: Vec<Vec<Expr>> = vec![vec![]; factors.len()];
        for e in expressions {
            of_each[joined(&mut factors, [e])?].push(e.clone());
        }
        let mut project = |(factor, mut expressions): (LogicalPlan, Vec<Expr>)| {
            if expressions.is_empty() {
                self.counted += 1;
                expressions.push(lit(true).alias(format!("rows {}", self.counted)));
            }
            Ok(LogicalPlanBuilder::from(factor).project(expressions)?.build()?)
        };
        factors.into_iter().zip(of_each).map(&mut project).collect()
    }

    /// An inner join with a condition is one of the factors that the condition compares.
    fn of_join(&mut self, plan: &LogicalPlan, join: &Join) -> Result<Vec<LogicalPlan>> {
        let (mut left, mut right) = (self.of(&join.left)?, self.of(&join.right)?);
        let compared: Vec<&Expr> = join.on.iter().flat_map(|(l, r)| [l, r]).chain(&join.filter).collect();
        if compared.is_empty() {
            left.extend(right);
            return Ok(left);
        }
        if left.len() == 1 && right.len() == 1 {
            return Ok(vec![plan.clone()]);
        }
        let (here, there) = (joined(&mut left, compared.iter().copied())?, joined(&mut right, compared.iter().copied())?);
        let (l, r) = (left.remove(here), right.remove(there));
        let (on, filter) = (join.on.clone(), join.filter.clone());
        let both = Join::try_new(Arc::new(l), Arc::new(r), on, filter, join.join_type, join.join_constraint, join.null_equality, false)?;
        Ok(std::iter::once(LogicalPlan::Join(both)).chain(left).chain(right).collect())
    }
}

/// Makes one factor of those that these expressions read, and says which it is: the first where they read none.
fn joined<'e>(factors: &mut Vec<LogicalPlan>, expressions: impl IntoIterator<Item = &'e Expr>) -> Result<usize> {
    let expressions: Vec<&Expr> = expressions.into_iter().collect();
    let read = |f: &LogicalPlan| expressions.iter().any(|e| reads(e, f));
    let Some(at) = factors.iter().position(&read) else { return Ok(0) };
    let (others, rest): (Vec<_>, Vec<_>) = factors.split_off(at + 1).into_iter().partition(&read);
    factors.extend(rest);
    for other in others {
        factors[at] = LogicalPlanBuilder::from(factors[at].clone()).cross_join(other)?.build()?;
    }
    Ok(at)
}

/// Whether an expression reads a factor. A sub-query may read anything, and what differs from call to call is for each pair.
fn reads(e: &Expr, factor: &LogicalPlan) -> bool {
    any(e, |e| may_read_anything(e) || matches!(e, Expr::Column(c) if has(factor, c)))
}

/// Whether an expression reads nothing but its row, and is the same each time.
pub(super) fn is_of_its_row(e: &Expr) -> bool {
    !any(e, may_read_anything)
}

fn may_read_anything(e: &Expr) -> bool {
    e.is_volatile_node()
        || matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::OuterReferenceColumn(..)
        )
}

fn any(e: &Expr, is: impl Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    let walked = e.apply(|e| {
        found |= is(e);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err()
}

fn has(factor: &LogicalPlan, column: &Column) -> bool {
    factor.schema().has_column(column)
}
