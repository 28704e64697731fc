//! The rewrites that a live plan goes through: one fixed list, each sound under product logic.
//!
//! - type coercion (the analyzer): changes types, no truth values;
//! - splitting a join's condition into keys: the same conjuncts, each once;
//! - comma joins to keyed joins: a conjunct moves from a filter to the join below it; the weight is the same product;
//! - pushing conjuncts down: weights multiply wherever the conjunct stands, and an outer join's null-extended side is respected by the rule.
//!
//! Duplicate conjuncts are removed by the rule for joins. Everything else of the optimizer runs on the skeletons only.

use crate::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use std::sync::Arc;

/// Makes a planned objective ready to be split. A rule that fails fails the sentence.
pub fn prepare(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let rules = Optimizer::with_rules(vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PushDownFilter::new()),
    ]);
    let context = OptimizerContext::new().with_skip_failing_rules(false).with_max_passes(3);
    Ok(rules.optimize(plan, &context, |_, _| {})?)
}
