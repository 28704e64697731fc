//! The rewrites that a live plan goes through: one fixed list, each sound under product logic.
//!
//! - type coercion (the analyzer): changes types, no truth values;
//! - sub-queries become functions of the outer columns that they read (`subquery`): a change of spelling;
//! - lateral joins to joins that name the columns which their right side reads (`lateral`): a change of spelling;
//! - pushing conjuncts down (`push_down`): weights multiply wherever the conjunct stands, and each stands in one place;
//!   of equal conjuncts of a filter one is kept;
//! - dropping columns that nothing reads: what is not read is not live either.
//!
//! What is not in the list: rules that add conjuncts which follow from others (transitive keys, clauses out of an OR), since
//! a conjunct that stands twice counts twice; and the decorrelation of sub-queries, whose joins could not say NULL to a
//! degree. The split decorrelates (`dependent`). Everything else of the optimizer runs on the skeletons only.

use super::{push_down, subquery};
use crate::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use std::sync::Arc;

/// Makes a planned objective ready to be split. A rule that fails fails the sentence.
pub fn prepare(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    rewritten(state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?)
}

fn rewritten(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = subquery::take_out(plan, &rewritten)?;
    let plan = push_down::push_down(plan)?;
    optimized(plan, Arc::new(OptimizeProjections::new()))
}

fn optimized(plan: LogicalPlan, rule: Arc<dyn OptimizerRule + Send + Sync>) -> Result<LogicalPlan> {
    let context = OptimizerContext::new().with_skip_failing_rules(false).with_max_passes(3);
    Ok(Optimizer::with_rules(vec![rule]).optimize(plan, &context, |_, _| {})?)
}
