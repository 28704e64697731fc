//! Keys of a join are all compared in one way: with NULL equal to NULL, or to nothing. DataFusion's rule adds `a = b` to the
//! keys of a join whose others are compared by IS NOT DISTINCT FROM, where NULLs would then match; such a join is kept from it.

use datafusion::common::NullEquality;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

#[derive(Debug, Default)]
pub(super) struct EqualKeys(ExtractEquijoinPredicate);

impl OptimizerRule for EqualKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(ref join) if join.null_equality == NullEquality::NullEqualsNull => Ok(Transformed::no(plan)),
            plan => self.0.rewrite(plan, config),
        }
    }
}
