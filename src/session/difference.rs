//! Differences of numbers without a sign, such as ranks, have one: as in PostgreSQL, where all integers do. A number that no
//! BIGINT holds is then an error, where the difference of two ranks used to wrap around without a word.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

#[derive(Debug)]
pub(super) struct Signed;

impl ExprPlanner for Signed {
    fn plan_binary_op(&self, binary: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let unsigned = |e: &Expr| e.get_type(schema).is_ok_and(|kind| kind.is_unsigned_integer());
        if binary.op != BinaryOperator::Minus || ![&binary.left, &binary.right].into_iter().all(unsigned) {
            return Ok(PlannerResult::Original(binary));
        }
        let [left, right] = [binary.left, binary.right].map(|e| cast(e, DataType::Int64));
        Ok(PlannerResult::Planned(binary_expr(left, Operator::Minus, right)))
    }
}
