//! IN lists hold nothing but values: what else is listed is compared by itself. DataFusion's simplification takes two lists of one
//! expression for sets of values: `x NOT IN (y) AND x IN (1, 2)` became `x IN (1, 2)`, and a NULL in either was lost.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

#[derive(Debug)]
pub(super) struct InLists;

impl OptimizerRule for InLists {
    fn name(&self) -> &str {
        "in_lists_of_values"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|e| {
            let name = names.save(&e);
            Ok(e.transform_up(of_values)?.update_data(|e| name.restore(e)))
        })
    }
}

fn of_values(e: Expr) -> Result<Transformed<Expr>> {
    match e {
        Expr::InList(list) if !list.list.iter().all(is_value) && !list.expr.is_volatile() => Ok(Transformed::yes(expanded(list))),
        other => Ok(Transformed::no(other)),
    }
}

fn is_value(e: &Expr) -> bool {
    matches!(e, Expr::Literal(value, _) if !value.is_null())
}

/// `x IN (1, y, NULL)` as `x IN (1) OR x = y OR NULL`.
fn expanded(InList { expr, list, negated }: InList) -> Expr {
    let expr = *expr;
    let (values, others): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(is_value);
    let values = (!values.is_empty()).then(|| expr.clone().in_list(values, negated));
    let others = others.into_iter().map(|other| match other {
        Expr::Literal(..) => lit(ScalarValue::Boolean(None)),
        other if negated => expr.clone().not_eq(other),
        other => expr.clone().eq(other),
    });
    let all = values.into_iter().chain(others).reduce(if negated { Expr::and } else { Expr::or });
    all.unwrap_or_else(|| lit(negated))
}
