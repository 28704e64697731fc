//! Our functions in exact queries: those of the scalar table and of the vectors that DataFusion does not have (`image` has
//! those of images, `array_sum` the aggregates).

use super::{array_sum, image};
use crate::algebra::{LAYER_NORM_EPSILON, LEAST_LOGARITHM};
use crate::error::{Error, Result};
use crate::scalar::Unary;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use datafusion::error::Result as EngineResult;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Functions of one number that are ours.
const UNARY: &[Unary] = &[Unary::Sigmoid, Unary::Relu, Unary::Gelu, Unary::Softplus, Unary::Erf];

/// Makes our functions known to exact queries.
pub fn register(context: &SessionContext) {
    for f in UNARY {
        context.register_udf(ScalarUDF::from(Elementwise { function: *f, signature: Signature::user_defined(Volatility::Immutable) }));
    }
    image::register(context);
    array_sum::register(context);
    for kind in [Rows::MatVec, Rows::Softmax, Rows::LogSoftmax, Rows::LayerNorm] {
        context.register_udf(ScalarUDF::from(RowFunction { kind, signature: Signature::user_defined(Volatility::Immutable) }));
    }
    for kind in [Loss::CrossEntropy, Loss::Bce] {
        context.register_udf(ScalarUDF::from(LossFunction { kind, signature: Signature::user_defined(Volatility::Immutable) }));
    }
    for (name, arguments) in [("detach", 1), ("hard", 1), ("soft", 2)] {
        context.register_udf(ScalarUDF::from(First { name, signature: Signature::any(arguments, Volatility::Immutable) }));
    }
}

/// A function of the scalar table, over REAL or DOUBLE, or over each element of an array.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Elementwise {
    function: Unary,
    signature: Signature,
}

impl ScalarUDFImpl for Elementwise {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> EngineResult<Vec<DataType>> {
        Ok(arguments.iter().map(|t| reals(t).unwrap_or_else(|| t.clone())).collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> EngineResult<DataType> {
        match arguments {
            [x] if reals(x).is_some() => Ok(x.clone()),
            _ => Err(Error::new(format!("{} takes one number, or an array of numbers", self.name()))
                .hint(format!("{}(x)", self.name()))
                .into()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let array = arguments.args[0].to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(elementwise(&array, self.function)))
    }
}

/// The type as REAL or DOUBLE, or as an array of them.
fn reals(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => reals(item.data_type()).map(list_of),
        DataType::Float32 => Some(DataType::Float32),
        kind => (kind.is_numeric() || kind.is_null()).then_some(DataType::Float64),
    }
}

fn elementwise(array: &ArrayRef, function: Unary) -> ArrayRef {
    match array.data_type() {
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            let values = elementwise(lists.values(), function);
            Arc::new(ListArray::new(item.clone(), lists.offsets().clone(), values, lists.nulls().cloned()))
        }
        DataType::Float32 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(|x| function.value(x))),
        _ => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| function.value(x))),
    }
}

/// Functions that an exact query passes through, and that mean something only when the query learns.
#[derive(Debug, PartialEq, Eq, Hash)]
struct First {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for First {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> EngineResult<DataType> {
        if self.name != "detach" && arguments[0] != DataType::Boolean {
            return Err(Error::new(format!("{} takes a predicate, not {}", self.name, arguments[0]))
                .hint(format!("{}(a > b)", self.name))
                .into());
        }
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        Ok(arguments.args.swap_remove(0))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rows {
    MatVec,
    Softmax,
    LogSoftmax,
    LayerNorm,
}

/// A function of vectors that gives a vector for each row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowFunction {
    kind: Rows,
    signature: Signature,
}

pub(super) fn list_of(inner: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(inner, true)))
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        match self.kind {
            Rows::MatVec => "matvec",
            Rows::Softmax => "softmax",
            Rows::LogSoftmax => "log_softmax",
            Rows::LayerNorm => "layer_norm",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> EngineResult<Vec<DataType>> {
        let vector = list_of(DataType::Float64);
        let wanted = if self.kind == Rows::MatVec { vec![list_of(vector.clone()), vector] } else { vec![vector] };
        if arguments.len() != wanted.len() {
            return Err(Error::new(format!("{} takes {} arguments, not {}", self.name(), wanted.len(), arguments.len())).into());
        }
        Ok(wanted)
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(list_of(DataType::Float64))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        // An argument that is the same for all rows stays one row.
        let arrays = arguments.args.iter().map(|a| a.to_array(if is_constant(a) { 1 } else { arguments.number_rows }));
        let arrays = arrays.collect::<EngineResult<Vec<_>>>()?;
        let rows = (0..arguments.number_rows).map(|i| self.row(&arrays, i)).collect::<Result<Vec<_>>>()?;
        let list = ListArray::from_iter_primitive::<Float64Type, _, _>(rows.into_iter().map(|r| r.map(|v| v.into_iter().map(Some))));
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

impl RowFunction {
    fn row(&self, arrays: &[ArrayRef], i: usize) -> Result<Option<Vec<f64>>> {
        let at = |array: &ArrayRef| if array.len() == 1 { 0 } else { i };
        if arrays.iter().any(|a| a.is_null(at(a))) {
            return Ok(None);
        }
        let last = &arrays[arrays.len() - 1];
        let last = numbers(&last.as_list::<i32>().value(at(last)));
        Ok(Some(match self.kind {
            Rows::MatVec => {
                let matrix = arrays[0].as_list::<i32>().value(at(&arrays[0]));
                let (rows, elements) = (matrix.as_list::<i32>(), matrix.as_list::<i32>().values().as_primitive::<Float64Type>());
                if rows.null_count() + elements.null_count() > 0 {
                    return (0..rows.len()).map(|r| inner_product(&numbers(&rows.value(r)), &last)).collect::<Result<_>>().map(Some);
                }
                let bounds = rows.value_offsets().windows(2).map(|w| w[0] as usize..w[1] as usize);
                bounds.map(|row| inner_product(&elements.values()[row], &last)).collect::<Result<_>>()?
            }
            Rows::Softmax => {
                let (e, sum) = exponentials(&last);
                e.into_iter().map(|x| x / sum).collect()
            }
            Rows::LogSoftmax => log_softmax(&last),
            Rows::LayerNorm => {
                let count = last.len() as f64;
                let mean = last.iter().sum::<f64>() / count;
                let variance = last.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
                last.iter().map(|x| (x - mean) / (variance + LAYER_NORM_EPSILON).sqrt()).collect()
            }
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Loss {
    CrossEntropy,
    Bce,
}

/// How far a prediction is from what was seen, as a number for each row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct LossFunction {
    kind: Loss,
    signature: Signature,
}

impl ScalarUDFImpl for LossFunction {
    fn name(&self) -> &str {
        if self.kind == Loss::Bce { "bce" } else { "cross_entropy" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// `bce(p, y)`; `cross_entropy(logits, label)` with a class number, counted from 0, or a vector of probabilities.
    fn coerce_types(&self, arguments: &[DataType]) -> EngineResult<Vec<DataType>> {
        let [_, seen] = arguments else {
            return Err(Error::new(format!("{} takes 2 arguments, not {}", self.name(), arguments.len())).into());
        };
        let vector = list_of(DataType::Float64);
        let is_vector = matches!(seen, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..));
        Ok(match self.kind {
            Loss::Bce => vec![DataType::Float64, DataType::Float64],
            Loss::CrossEntropy if is_vector => vec![vector.clone(), vector],
            Loss::CrossEntropy => vec![vector, DataType::Float64],
        })
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let arrays = arguments.args.iter().map(|a| a.to_array(arguments.number_rows)).collect::<EngineResult<Vec<_>>>()?;
        let losses = (0..arguments.number_rows).map(|i| {
            if arrays.iter().any(|a| a.is_null(i)) {
                return Ok(None);
            }
            Ok(Some(match self.kind {
                Loss::Bce => binary_cross_entropy(real(&arrays[0], i), real(&arrays[1], i))?,
                Loss::CrossEntropy => cross_entropy(&numbers(&arrays[0].as_list::<i32>().value(i)), &arrays[1], i)?,
            }))
        });
        Ok(ColumnarValue::Array(Arc::new(losses.collect::<Result<Float64Array>>()?)))
    }
}

fn cross_entropy(logits: &[f64], label: &ArrayRef, i: usize) -> Result<f64> {
    let logarithms = log_softmax(logits);
    if let Some(lists) = label.as_list_opt::<i32>() {
        let probabilities = numbers(&lists.value(i));
        if probabilities.len() != logits.len() {
            return Err(Error::new(format!(
                "dimension mismatch in cross_entropy: {} logits and {} probabilities",
                logits.len(),
                probabilities.len()
            )));
        }
        return Ok(-logarithms.iter().zip(probabilities).map(|(l, p)| l * p).sum::<f64>());
    }
    let class = real(label, i);
    let found = (class.fract() == 0.0 && class >= 0.0).then(|| logarithms.get(class as usize)).flatten();
    found.map(|l| -l).ok_or_else(|| {
        Error::new(format!("the label {class} of cross_entropy is not a class of {} logits", logits.len()))
            .hint("classes are counted from 0")
    })
}

fn binary_cross_entropy(p: f64, y: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::new(format!("bce takes a probability, between 0 and 1, not {p}")).hint("bce(sigmoid(x), y)"));
    }
    Ok(-(y * p.ln().max(LEAST_LOGARITHM) + (1.0 - y) * (-p).ln_1p().max(LEAST_LOGARITHM)))
}

fn real(array: &ArrayRef, i: usize) -> f64 {
    array.as_primitive::<Float64Type>().value(i)
}

fn log_softmax(v: &[f64]) -> Vec<f64> {
    let top = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (_, sum) = exponentials(v);
    v.iter().map(|x| x - top - sum.ln()).collect()
}

fn inner_product(a: &[f64], b: &[f64]) -> Result<f64> {
    if a.len() != b.len() {
        return Err(Error::new(format!("dimension mismatch in matvec: a row of {} elements and a vector of {}", a.len(), b.len())));
    }
    // Partial sums side by side.
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    Ok(lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f64>())
}

/// exp(x - max) and their sum.
fn exponentials(v: &[f64]) -> (Vec<f64>, f64) {
    let top = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = v.iter().map(|x| (x - top).exp()).collect();
    let sum = e.iter().sum();
    (e, sum)
}

fn is_constant(argument: &ColumnarValue) -> bool {
    matches!(argument, ColumnarValue::Scalar(_))
}

pub(super) fn numbers(list: &ArrayRef) -> Vec<f64> {
    let wide = cast(list, &DataType::Float64).expect("coerced to DOUBLE");
    let wide: &Float64Array = wide.as_primitive();
    wide.iter().map(|x| x.unwrap_or(f64::NAN)).collect()
}
