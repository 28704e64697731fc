//! Conjuncts of filters move towards the rows that they are about. Each one moves, none is copied or made up, so that
//! the weight stays the same product; DataFusion's own rule also adds conjuncts that follow from others.
//!
//! Below an aggregate goes only what is about its keys, which are frozen. A union's conjunct goes to every part, and each
//! row passes one of them.

use crate::error::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Distinct, Expr, Filter, LogicalPlan};
use std::sync::Arc;

use super::subquery::{Call, reads_outer};

pub(super) fn push_down(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_down(|node| if let LogicalPlan::Filter(filter) = node { pushed(filter) } else { Ok(Transformed::no(node)) })?.data)
}

fn pushed(filter: Filter) -> EngineResult<Transformed<LogicalPlan>> {
    let mut conjuncts: Vec<Expr> = vec![];
    let mut input = LogicalPlan::Filter(filter);
    while let LogicalPlan::Filter(Filter { predicate, input: below, .. }) = input {
        for conjunct in split_conjunction(&predicate) {
            if !conjuncts.contains(conjunct) {
                conjuncts.push(conjunct.clone());
            }
        }
        input = Arc::unwrap_or_clone(below);
    }
    let (still, moving): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(Expr::is_volatile);
    let (kept, input) = below(moving, input)?;
    Ok(Transformed::yes(filtered(input, still.into_iter().chain(kept))?))
}

fn filtered(plan: LogicalPlan, conjuncts: impl IntoIterator<Item = Expr>) -> EngineResult<LogicalPlan> {
    match conjunction(conjuncts) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

/// The conjuncts that stay, and the plan with the others in it.
fn below(conjuncts: Vec<Expr>, plan: LogicalPlan) -> EngineResult<(Vec<Expr>, LogicalPlan)> {
    match plan {
        LogicalPlan::SubqueryAlias(ref alias) => {
            let columns: Vec<Expr> = alias.input.schema().columns().into_iter().map(Expr::Column).collect();
            one_input(conjuncts, &plan, &alias.input, |c| Some(columns[alias.schema.maybe_index_of_column(c)?].clone()))
        }
        LogicalPlan::Projection(ref projection) => one_input(conjuncts, &plan, &projection.input, |c| {
            let e = projection.expr[projection.schema.maybe_index_of_column(c)?].clone().unalias();
            (!e.is_volatile() && !has_call(&e)).then_some(e)
        }),
        LogicalPlan::Aggregate(ref aggregate) => one_input(conjuncts, &plan, &aggregate.input, |c| {
            let e = aggregate.group_expr.get(aggregate.schema.maybe_index_of_column(c)?)?;
            matches!(e, Expr::Column(_)).then(|| e.clone())
        }),
        LogicalPlan::Sort(ref sort) if sort.fetch.is_none() => one_input(conjuncts, &plan, &sort.input, |c| Some(Expr::Column(c.clone()))),
        LogicalPlan::Distinct(Distinct::All(ref input)) => one_input(conjuncts, &plan, input, |c| Some(Expr::Column(c.clone()))),
        LogicalPlan::Union(ref union) => {
            let mut inputs = vec![];
            for input in &union.inputs {
                let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                let moved = conjuncts.iter().map(|e| replaced(e, &|c| Some(columns[union.schema.maybe_index_of_column(c)?].clone())));
                match moved.collect::<EngineResult<Option<Vec<Expr>>>>()? {
                    Some(moved) => inputs.push(filtered(input.as_ref().clone(), moved)?),
                    None => return Ok((conjuncts, plan)),
                }
            }
            Ok((vec![], plan.with_new_exprs(vec![], inputs)?))
        }
        LogicalPlan::Join(mut join) => {
            let (to_left, to_right) = match join.join_type {
                JoinType::Inner => (true, true),
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (false, true),
                _ => (false, false),
            };
            // A lateral side reads the other: both stay as they are.
            let lateral = reads_outer(&join.right)?;
            let (mut left, mut right, mut kept) = (vec![], vec![], vec![]);
            for conjunct in conjuncts {
                if to_left && is_about(&conjunct, join.left.schema()) {
                    left.push(conjunct);
                } else if to_right && !lateral && is_about(&conjunct, join.right.schema()) {
                    right.push(conjunct);
                } else {
                    kept.push(conjunct);
                }
            }
            join.left = Arc::new(filtered(Arc::unwrap_or_clone(join.left), left)?);
            join.right = Arc::new(filtered(Arc::unwrap_or_clone(join.right), right)?);
            Ok((kept, LogicalPlan::Join(join)))
        }
        other => Ok((conjuncts, other)),
    }
}

/// Moves the conjuncts whose columns all have a counterpart below.
fn one_input(
    conjuncts: Vec<Expr>,
    plan: &LogicalPlan,
    input: &LogicalPlan,
    below: impl Fn(&Column) -> Option<Expr>,
) -> EngineResult<(Vec<Expr>, LogicalPlan)> {
    let (mut kept, mut moved) = (vec![], vec![]);
    for conjunct in conjuncts {
        match replaced(&conjunct, &below)? {
            Some(e) if !conjunct.column_refs().is_empty() => moved.push(e),
            _ => kept.push(conjunct),
        }
    }
    let input = filtered(input.clone(), moved)?;
    Ok((kept, plan.with_new_exprs(plan.expressions(), vec![input])?))
}

fn replaced(e: &Expr, below: &dyn Fn(&Column) -> Option<Expr>) -> EngineResult<Option<Expr>> {
    let mut all = true;
    let replaced = e.clone().transform_up(|e| match &e {
        Expr::Column(c) => match below(c) {
            Some(counterpart) => Ok(Transformed::yes(counterpart)),
            None => {
                all = false;
                Ok(Transformed::no(e))
            }
        },
        _ => Ok(Transformed::no(e)),
    })?;
    Ok(all.then_some(replaced.data))
}

fn is_about(e: &Expr, schema: &DFSchema) -> bool {
    let columns = e.column_refs();
    !columns.is_empty() && columns.into_iter().all(|c| schema.is_column_from_schema(c))
}

fn has_call(e: &Expr) -> bool {
    e.exists(|e| Ok(Call::of(e).is_some())).unwrap_or(true)
}
