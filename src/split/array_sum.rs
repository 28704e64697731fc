//! SUM and AVG of arrays in exact queries, element by element, as pgvector has them. Those of numbers stay DataFusion's.

use super::expression::is_list;
use super::image::{Nested, depth, nested, written};
use super::materialize::reals;
use crate::error::{Error, Result};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as EngineResult;
use datafusion::execution::context::SessionContext;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ArrayFunctionSignature, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs, TypeSignature, Volatility,
};
use std::sync::Arc;

pub(super) fn register(context: &SessionContext) {
    for numbers in [sum_udaf(), avg_udaf()] {
        let arrays = TypeSignature::ArraySignature(ArrayFunctionSignature::RecursiveArray);
        let kinds = vec![numbers.signature().type_signature.clone(), arrays];
        context.register_udaf(AggregateUDF::from(OfArrays { numbers, signature: Signature::one_of(kinds, Volatility::Immutable) }));
    }
}

/// An aggregate of numbers that also takes arrays of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfArrays {
    numbers: Arc<AggregateUDF>,
    signature: Signature,
}

impl AggregateUDFImpl for OfArrays {
    fn name(&self) -> &str {
        self.numbers.name()
    }

    fn aliases(&self) -> &[String] {
        self.numbers.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> EngineResult<DataType> {
        match arguments {
            [array] if is_list(array) => match depth(array) {
                Some(depth) => Ok(nested(depth)),
                None => Err(Error::new(format!("{} takes numbers, or arrays of numbers, not {array}", self.name())).into()),
            },
            _ => self.numbers.return_type(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> EngineResult<Box<dyn Accumulator>> {
        let kind = arguments.return_field.data_type();
        if !is_list(kind) {
            return self.numbers.accumulator(arguments);
        }
        if arguments.is_distinct {
            return Err(Error::new(format!("{}(DISTINCT) of arrays", self.name()))
                .hint("SELECT DISTINCT the arrays in a sub-query, and aggregate them outside")
                .into());
        }
        let average = self.numbers.name() == avg_udaf().name();
        Ok(Box::new(ArraySum { kind: kind.clone(), average, rows: 0, sum: Nested { dimensions: vec![], values: vec![] } }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> EngineResult<Vec<FieldRef>> {
        if !is_list(arguments.return_type()) {
            return self.numbers.state_fields(arguments);
        }
        let named = |what: &str, kind: DataType| Arc::new(Field::new(format!("{}[{what}]", arguments.name), kind, true));
        Ok(vec![named("sum", arguments.return_type().clone()), named("rows", DataType::Int64)])
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        !is_list(arguments.return_type()) && self.numbers.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> EngineResult<Box<dyn GroupsAccumulator>> {
        self.numbers.create_groups_accumulator(arguments)
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> EngineResult<Box<dyn Accumulator>> {
        if is_list(arguments.return_type()) { self.accumulator(arguments) } else { self.numbers.create_sliding_accumulator(arguments) }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.numbers.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.numbers.simplify()
    }

    fn simplify_expr_op_literal(
        &self,
        whole: &AggregateFunction,
        argument: &Expr,
        op: Operator,
        literal: &Expr,
        argument_is_left: bool,
    ) -> EngineResult<Option<Expr>> {
        self.numbers.simplify_expr_op_literal(whole, argument, op, literal, argument_is_left)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.numbers.reverse_udf()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        self.numbers.value_from_stats(statistics)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.numbers.documentation()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.numbers.inner().set_monotonicity(kind)
    }
}

/// The sum of the arrays so far, and how many they are. NULLs are skipped.
#[derive(Debug)]
struct ArraySum {
    kind: DataType,
    average: bool,
    rows: i64,
    sum: Nested,
}

impl ArraySum {
    /// Adds the arrays, which are the sums of `rows` rows; takes them away where that is negative.
    fn add(&mut self, arrays: &ArrayRef, rows: i64) -> Result<()> {
        let there = filter(arrays, &is_not_null(arrays)?)?;
        if there.is_empty() {
            return Ok(());
        }
        let (values, dimensions) = reals::<f64>(&there)?;
        if self.rows == 0 {
            self.sum = Nested { values: vec![0.0; dimensions.iter().product()], dimensions };
        } else if self.sum.dimensions != dimensions {
            let (a, b) = (&self.sum.dimensions, dimensions);
            return Err(Error::new(format!("dimension mismatch in an aggregate of arrays: {a:?} and {b:?} elements"))
                .hint("give every row the same number of elements"));
        }
        let sign = rows.signum() as f64;
        for row in values.chunks_exact(self.sum.values.len().max(1)) {
            self.sum.values.iter_mut().zip(row).for_each(|(sum, x)| *sum += sign * x);
        }
        self.rows += rows;
        Ok(())
    }

    fn array(&self, divisor: f64) -> EngineResult<ScalarValue> {
        if self.rows == 0 {
            return ScalarValue::try_from(&self.kind);
        }
        let values = self.sum.values.iter().map(|x| x / divisor).collect();
        let array = Nested { dimensions: self.sum.dimensions.clone(), values };
        Ok(ScalarValue::List(Arc::new(written(&[Some(array)], self.sum.dimensions.len()))))
    }
}

fn present(arrays: &ArrayRef) -> i64 {
    (arrays.len() - arrays.null_count()) as i64
}

impl Accumulator for ArraySum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        Ok(self.add(&values[0], present(&values[0]))?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        Ok(self.add(&values[0], -present(&values[0]))?)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> EngineResult<()> {
        let rows = states[1].as_primitive::<Int64Type>().iter().flatten().sum();
        Ok(self.add(&states[0], rows)?)
    }

    fn state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        Ok(vec![self.array(1.0)?, ScalarValue::Int64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> EngineResult<ScalarValue> {
        self.array(if self.average { self.rows as f64 } else { 1.0 })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sum.values.capacity() * size_of::<f64>()
    }
}
