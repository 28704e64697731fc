//! The rewrites that a live plan goes through: one fixed list, each sound under product logic.
//!
//! - type coercion (the analyzer): changes types, no truth values;
//! - splitting a join's condition into keys: the same conjuncts, each once;
//! - comma joins to keyed joins: a conjunct moves from a filter to the join below it; the weight is the same product;
//! - pushing conjuncts down: weights multiply wherever the conjunct stands, and an outer join's null-extended side is respected by the rule;
//!   they stay above scans, where the optimizer of the skeletons finds their sub-queries;
//! - lateral joins to joins: the same rows;
//! - dropping columns that nothing reads: what is not read is not live either.
//!
//! Duplicate conjuncts are removed by the rule for joins. Everything else of the optimizer runs on the skeletons only.

use crate::error::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Filter, LogicalPlan};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use std::sync::Arc;

/// Makes a planned objective ready to be split. A rule that fails fails the sentence.
pub fn prepare(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let rules = Optimizer::with_rules(vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PushDownFilter::new()),
    ]);
    let context = OptimizerContext::new().with_skip_failing_rules(false).with_max_passes(3);
    let plan = filters_above_scans(rules.optimize(plan, &context, |_, _| {})?)?;
    Ok(Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]).optimize(plan, &context, |_, _| {})?)
}

fn filters_above_scans(plan: LogicalPlan) -> Result<LogicalPlan> {
    let moved = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Some(condition) = conjunction(std::mem::take(&mut scan.filters)) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(LogicalPlan::TableScan(scan)))?)))
    })?;
    Ok(moved.data)
}
