//! `conv2d` and `max_pool2d` in exact queries, by the same loops as when they learn; and their calls as plain data.
//!
//! An image is an array \[channels\]\[height\]\[width\], or \[height\]\[width\] where it has one channel. As in PyTorch, `conv2d` is a
//! cross-correlation, without padding unless it is asked for, and windows do not overlap unless a stride says so.

use super::expression::constant;
use super::functions::{list_of, numbers};
use crate::algebra::Vector;
use crate::error::{Error, Result};
use crate::program::{Convolution, Pooling};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as EngineResult;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Conv2d,
    MaxPool2d,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ImageFunction {
    kind: Kind,
    signature: Signature,
}

/// An array of arrays, flat, with its shape.
#[derive(Debug)]
pub(super) struct Nested {
    pub dimensions: Vec<usize>,
    pub values: Vec<f64>,
}

pub(super) fn register(context: &SessionContext) {
    for kind in [Kind::Conv2d, Kind::MaxPool2d] {
        context.register_udf(ScalarUDF::from(ImageFunction { kind, signature: Signature::user_defined(Volatility::Immutable) }));
    }
}

/// A call of one of these functions, and the arguments that are not literals.
pub(super) fn call<'e>(name: &str, arguments: &'e [Expr]) -> Result<Option<(Vector, &'e [Expr])>> {
    let Some(kind) = [Kind::Conv2d, Kind::MaxPool2d].into_iter().find(|k| k.name() == name) else { return Ok(None) };
    let literals: Vec<Option<ScalarValue>> = arguments.iter().map(constant).collect();
    let arrays = arguments.len() - literals.iter().rev().take_while(|l| l.as_ref().is_some_and(|l| l.data_type().is_integer())).count();
    Ok(Some((kind.function(literals[arrays..].iter().map(Option::as_ref))?, &arguments[..arrays])))
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Conv2d => "conv2d",
            Kind::MaxPool2d => "max_pool2d",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Kind::Conv2d => {
                "conv2d(image, kernel [, bias] [, stride [, padding]]): image [c][h][w], kernel [filters][c][h][w], bias [filters]; or image and kernel [h][w]; stride and padding are literal whole numbers"
            }
            Kind::MaxPool2d => {
                "max_pool2d(image, window [, stride]): image [c][h][w] or [h][w]; window and stride are literal whole numbers of 1 or more"
            }
        }
    }

    fn misused(self, what: impl Into<String>) -> Error {
        Error::new(what).hint(self.usage())
    }

    /// Depths of the arrays, for arguments of these depths (0 for a whole number); the numbers after them are the literals.
    fn arrays(self, depths: &[usize]) -> Option<usize> {
        match (self, depths) {
            (Kind::Conv2d, [2, 2, numbers @ ..] | [2 | 3, 4, numbers @ ..]) if numbers.len() <= 2 && numbers.iter().all(|d| *d == 0) => {
                Some(2)
            }
            (Kind::Conv2d, [2 | 3, 4, 1, numbers @ ..]) if numbers.len() <= 2 && numbers.iter().all(|d| *d == 0) => Some(3),
            (Kind::MaxPool2d, [2 | 3, 0] | [2 | 3, 0, 0]) => Some(1),
            _ => None,
        }
    }

    /// The function with the literals after its arrays.
    fn function<'v>(self, literals: impl Iterator<Item = Option<&'v ScalarValue>>) -> Result<Vector> {
        let numbers = literals.map(|literal| match literal.map(|l| l.cast_to(&DataType::Int64)) {
            Some(Ok(ScalarValue::Int64(Some(n)))) => {
                u32::try_from(n).map(|n| n as usize).map_err(|_| self.misused(format!("{n} in {}", self.name())))
            }
            _ => Err(self.misused(format!("a stride, a padding or a window of {} that is not a literal whole number", self.name()))),
        });
        let numbers = numbers.collect::<Result<Vec<usize>>>()?;
        if let (Kind::Conv2d, Some(0)) | (Kind::MaxPool2d, Some(0)) = (self, numbers.first()) {
            return Err(self.misused(format!("0 in {}", self.name())));
        }
        match (self, numbers.as_slice()) {
            (Kind::Conv2d, []) => Ok(Vector::Conv2d { stride: 1, padding: 0 }),
            (Kind::Conv2d, [stride]) => Ok(Vector::Conv2d { stride: *stride, padding: 0 }),
            (Kind::Conv2d, [stride, padding]) => Ok(Vector::Conv2d { stride: *stride, padding: *padding }),
            (Kind::MaxPool2d, [window]) => Ok(Vector::MaxPool2d { window: *window, stride: *window }),
            (Kind::MaxPool2d, [window, stride @ 1..=usize::MAX]) => Ok(Vector::MaxPool2d { window: *window, stride: *stride }),
            _ => Err(self.misused(format!("the arguments of {}", self.name()))),
        }
    }
}

impl ScalarUDFImpl for ImageFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> EngineResult<Vec<DataType>> {
        // What does not fit is refused where the type is asked for, in our own words.
        let as_reals = |t: &DataType| depth(t).filter(|d| *d > 0).map_or_else(|| t.clone(), nested);
        Ok(arguments.iter().map(as_reals).collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> EngineResult<DataType> {
        let depths: Vec<usize> = arguments.iter().filter_map(depth).collect();
        // A kernel of several filters makes channels of what had none.
        Ok(nested(if self.kind == Kind::Conv2d && depths.get(1) == Some(&4) { 3 } else { depths[0] }))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> EngineResult<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let depths: Option<Vec<usize>> = types.iter().map(depth).collect();
        let Some(arrays) = depths.and_then(|d| self.kind.arrays(&d)) else {
            let given = types.iter().map(shown).collect::<Vec<_>>().join(", ");
            return Err(self.kind.misused(format!("{}({given})", self.name())).into());
        };
        self.kind.function(arguments.scalar_arguments[arrays..].iter().copied())?;
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let (arrays, literals): (Vec<_>, Vec<_>) = arguments.args.iter().partition(|a| matches!(a.data_type(), DataType::List(_)));
        let literals = literals.into_iter().map(|l| if let ColumnarValue::Scalar(value) = l { Some(value) } else { None });
        let function = self.kind.function(literals)?;
        let arrays = arrays.into_iter().map(|a| a.to_array(arguments.number_rows)).collect::<EngineResult<Vec<_>>>()?;
        let row = |i: usize| {
            if arrays.iter().any(|a| a.is_null(i)) {
                return Ok(None);
            }
            let operands = arrays.iter().map(|a| read(&a.as_list::<i32>().value(i))).collect::<Result<Vec<_>>>()?;
            run(function, &operands).map(Some)
        };
        let rows = (0..arguments.number_rows).map(row).collect::<Result<Vec<_>>>()?;
        let depth = depth(arguments.return_field.data_type()).unwrap_or_default();
        Ok(ColumnarValue::Array(Arc::new(written(&rows, depth))))
    }
}

/// Of one row.
fn run(function: Vector, operands: &[Nested]) -> Result<Nested> {
    let image = &operands[0];
    let (output, mut values) = match function {
        Vector::MaxPool2d { window, stride } => {
            let by = Pooling::new(&image.dimensions, window, stride)?;
            let mut out = vec![0.0; by.output().iter().product()];
            by.pick(&image.values, &image.values, &mut out);
            (by.output(), out)
        }
        Vector::Conv2d { stride, padding } => {
            let by = Convolution::new(&image.dimensions, &operands[1].dimensions, stride, padding)?;
            let mut out = vec![0.0; by.output().iter().product()];
            by.convolve(&operands[1].values, &image.values, &mut out);
            (by.output(), out)
        }
        other => return Err(Error::new(format!("{} is no function of images", other.name()))),
    };
    if let Some(bias) = operands.get(2) {
        let places = output[1] * output[2];
        if bias.values.len() != output[0] {
            return Err(Error::new(format!("a bias of {} numbers for {} filters", bias.values.len(), output[0]))
                .hint("a bias has one number for each filter of the kernel"));
        }
        values.chunks_exact_mut(places).zip(&bias.values).for_each(|(plane, b)| plane.iter_mut().for_each(|x| *x += b));
    }
    let flat = operands.get(1).unwrap_or(image).dimensions.len() == 2;
    Ok(Nested { dimensions: output[usize::from(flat)..].to_vec(), values })
}

/// How many arrays are in each other; 0 for a whole number.
pub(super) fn depth(kind: &DataType) -> Option<usize> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => match item.data_type() {
            inner if inner.is_nested() => depth(inner).map(|d| d + 1),
            inner => (inner.is_numeric() || inner.is_null()).then_some(1),
        },
        kind => kind.is_integer().then_some(0),
    }
}

/// A type with its depth.
fn shown(kind: &DataType) -> String {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => shown(item.data_type()) + "[]",
        other => other.to_string(),
    }
}

pub(super) fn nested(depth: usize) -> DataType {
    (0..depth).fold(DataType::Float64, |inner, _| list_of(inner))
}

/// An array of arrays of one length each.
fn read(list: &ArrayRef) -> Result<Nested> {
    let Some(lists) = list.as_list_opt::<i32>() else { return Ok(Nested { dimensions: vec![list.len()], values: numbers(list) }) };
    let mut all = Nested { dimensions: vec![lists.len()], values: vec![] };
    for i in 0..lists.len() {
        let inner = read(&lists.value(i))?;
        if i == 0 {
            all.dimensions.extend(&inner.dimensions);
        } else if all.dimensions[1..] != inner.dimensions {
            return Err(
                Error::new("an image or a kernel whose rows are not of one length").hint("give every row the same number of elements")
            );
        }
        all.values.extend(inner.values);
    }
    Ok(all)
}

/// Rows of one depth as arrays of arrays.
pub(super) fn written(rows: &[Option<Nested>], depth: usize) -> ListArray {
    let mut array: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().flatten().flat_map(|row| row.values.iter().copied())));
    for level in (0..depth).rev() {
        // Each array of the levels above has as many of this one as the row's shape says.
        let lengths = rows.iter().flat_map(|row| {
            let (times, length) = match row {
                Some(row) => (row.dimensions[..level].iter().product(), row.dimensions[level]),
                None => (usize::from(level == 0), 0),
            };
            std::iter::repeat_n(length, times)
        });
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = (level == 0).then(|| NullBuffer::from_iter(rows.iter().map(Option::is_some)));
        array = Arc::new(ListArray::new(Arc::new(Field::new_list_field(array.data_type().clone(), true)), offsets, array, nulls));
    }
    array.as_list::<i32>().clone()
}
