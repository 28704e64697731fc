//! `arg_max(x, y)` and `arg_min(x, y)`, or `max_by` and `min_by`, as in DuckDB: x where y is greatest, or least. They are the first value
//! in that order, of the rows where neither is NULL.

use crate::error::Error;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionContext;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use std::sync::Arc;

const NAMES: [(&str, &str); 2] = [("arg_max", "max_by"), ("arg_min", "min_by")];

pub(super) fn register(context: &mut SessionContext) -> Result<()> {
    for (name, alias) in NAMES {
        let (aliases, signature) = (vec![alias.to_string()], Signature::any(2, Volatility::Immutable));
        SessionContext::register_udaf(context, AggregateUDF::from(Named { name, aliases, signature }));
    }
    context.register_expr_planner(Arc::new(First))
}

/// The name, which is planned as another function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Named {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for Named {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let way = format!("FIRST_VALUE(x) OVER (PARTITION BY ... ORDER BY y{})", if self.name == NAMES[0].0 { " DESC" } else { "" });
        Err(Error::new(format!("{} as a window function", self.name)).hint(way).into())
    }
}

#[derive(Debug)]
struct First;

impl ExprPlanner for First {
    fn plan_aggregate(&self, aggregate: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let name = aggregate.func.name();
        let ([x, y], Some(descending)) = (aggregate.args.as_slice(), NAMES.iter().position(|(known, _)| *known == name).map(|at| at == 0))
        else {
            return Ok(PlannerResult::Original(aggregate));
        };
        let label = Expr::AggregateFunction(AggregateFunction::new_udf(
            aggregate.func.clone(),
            aggregate.args.clone(),
            aggregate.distinct,
            aggregate.filter.clone(),
            vec![],
            None,
        ));
        let there = y.clone().is_not_null();
        let filter = aggregate.filter.map_or(there.clone(), |filter| filter.and(there));
        let order = vec![y.clone().sort(!descending, false)];
        let (filter, nulls) = (Some(Box::new(filter)), Some(NullTreatment::IgnoreNulls));
        let first = AggregateFunction::new_udf(first_value_udaf(), vec![x.clone()], false, filter, order, nulls);
        Ok(PlannerResult::Planned(Expr::AggregateFunction(first).alias(label.schema_name().to_string())))
    }
}
