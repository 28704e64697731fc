//! Vectors and matrices of one-row tables as constants of a plan: a join would copy them to every row that it makes.

use crate::error::Result;
use arrow::array::RecordBatch;
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, lit};
use datafusion::scalar::ScalarValue;

/// The plan with constants where its expressions read such columns. `rows` gives the rows of a table, where they are known.
pub(super) fn inlined<'r>(plan: LogicalPlan, rows: &dyn Fn(&TableScan) -> Option<&'r RecordBatch>) -> Result<LogicalPlan> {
    let inlined = plan.transform_up_with_subqueries(|node| {
        use LogicalPlan::{Aggregate, Filter, Projection, Window};
        if !matches!(node, Aggregate(_) | Filter(_) | Projection(_) | Window(_)) {
            return Ok(Transformed::no(node));
        }
        let input = node.inputs()[0];
        let (schema, constants) = (input.schema().clone(), constants(input, rows)?);
        if constants.iter().all(Option::is_none) {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        let replaced = node.map_expressions(|e| {
            let name = names.save(&e);
            let replaced = e.transform_up(|e| match &e {
                Expr::Column(c) => match schema.maybe_index_of_column(c).and_then(|at| constants[at].clone()) {
                    Some(constant) => Ok(Transformed::yes(constant)),
                    None => Ok(Transformed::no(e)),
                },
                _ => Ok(Transformed::no(e)),
            })?;
            Ok(replaced.update_data(|e| name.restore(e)))
        })?;
        replaced.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(inlined.data)
}

/// For each column of the plan the constant that it is in all rows, if that is known.
fn constants<'r>(plan: &LogicalPlan, rows: &dyn Fn(&TableScan) -> Option<&'r RecordBatch>) -> EngineResult<Vec<Option<Expr>>> {
    let unknown = |plan: &LogicalPlan| vec![None; plan.schema().fields().len()];
    Ok(match plan {
        LogicalPlan::TableScan(scan) => match rows(scan).filter(|rows| rows.num_rows() == 1) {
            Some(rows) => {
                let of = |name: &str| match rows.column_by_name(name) {
                    Some(column) if column.data_type().is_nested() => ScalarValue::try_from_array(column, 0).map(|v| Some(lit(v))),
                    _ => Ok(None),
                };
                plan.schema().fields().iter().map(|field| of(field.name())).collect::<EngineResult<_>>()?
            }
            None => unknown(plan),
        },
        LogicalPlan::Projection(projection) => {
            let known = |e: &Expr| Some(e.clone().unalias()).filter(|e| matches!(e, Expr::Literal(v, _) if v.data_type().is_nested()));
            projection.expr.iter().map(known).collect()
        }
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            constants(plan.inputs()[0], rows)?
        }
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::Left) => {
            let right = if join.join_type == JoinType::Inner { constants(&join.right, rows)? } else { unknown(&join.right) };
            constants(&join.left, rows)?.into_iter().chain(right).collect()
        }
        other => unknown(other),
    })
}
