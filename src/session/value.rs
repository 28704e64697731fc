//! Values for the parameters of a sentence.

use crate::error::{Error, Result};
use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::sql::unparser::expr_to_sql;

/// One value of SQL, typed: DataFusion's `ScalarValue`.
pub type Value = ScalarValue;

/// What can stand for a parameter: numbers, text, bytes, vectors and arrays, `Option`s of those (`None` is NULL), and [`Value`] itself.
pub trait ToValue {
    /// The value, in its SQL type.
    fn to_value(&self) -> Value;
}

macro_rules! to_value {
    ($($rust:ty => $make:expr;)*) => { $(
        impl ToValue for $rust {
            fn to_value(&self) -> Value {
                #[allow(clippy::redundant_closure_call)]
                ($make)(self)
            }
        }
    )* };
}

to_value! {
    bool => |x: &bool| Value::from(*x);
    i8 => |x: &i8| Value::from(*x);
    i16 => |x: &i16| Value::from(*x);
    i32 => |x: &i32| Value::from(*x);
    i64 => |x: &i64| Value::from(*x);
    u8 => |x: &u8| Value::from(*x);
    u16 => |x: &u16| Value::from(*x);
    u32 => |x: &u32| Value::from(*x);
    u64 => |x: &u64| Value::from(*x);
    usize => |x: &usize| Value::from(*x as u64);
    f32 => |x: &f32| Value::from(*x);
    f64 => |x: &f64| Value::from(*x);
    str => |x: &str| Value::from(x);
    String => |x: &String| Value::from(x.as_str());
    Value => Value::clone;
    [u8] => |x: &[u8]| Value::Binary(Some(x.to_vec()));
    Vec<u8> => |x: &Vec<u8>| Value::Binary(Some(x.clone()));
    [f32] => list;
    [f64] => list;
    [i64] => list;
    [String] => list;
    Vec<f32> => |x: &Vec<f32>| list(x);
    Vec<f64> => |x: &Vec<f64>| list(x);
    Vec<i64> => |x: &Vec<i64>| list(x);
    Vec<String> => |x: &Vec<String>| list(x);
}

impl<T: ToValue, const N: usize> ToValue for [T; N]
where
    [T]: ToValue,
{
    fn to_value(&self) -> Value {
        self.as_slice().to_value()
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}

fn list<T: ToValue>(elements: &[T]) -> Value {
    let values: Vec<Value> = elements.iter().map(T::to_value).collect();
    let element = values.first().map_or(DataType::Float64, Value::data_type);
    Value::List(Value::new_list_nullable(&values, &element))
}

/// An array of [`Value`]s, one for each parameter: `values![7, "text", 0.5, vec![0.1f32, 0.2]]`.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::ToValue::to_value(&$value)),*] };
}

/// The value as SQL has it.
pub(super) fn literal(value: &Value) -> Result<String> {
    let list = |elements: &dyn Array| {
        let literals = (0..elements.len()).map(|i| literal(&Value::try_from_array(elements, i)?));
        Ok(format!("[{}]", literals.collect::<Result<Vec<_>>>()?.join(", ")))
    };
    match value {
        value if value.is_null() => Ok("NULL".into()),
        Value::Float32(Some(x)) if !x.is_finite() => Ok(format!("CAST('{x}' AS REAL)")),
        Value::Float64(Some(x)) if !x.is_finite() => Ok(format!("CAST('{x}' AS DOUBLE)")),
        // The single-precision number itself, not the shortest decimal that stands for it.
        Value::Float32(Some(x)) => Ok(number(format!("{:e}", f64::from(*x)))),
        Value::Float64(Some(x)) => Ok(number(format!("{x:e}"))),
        Value::Decimal32(..) | Value::Decimal64(..) | Value::Decimal128(..) | Value::Decimal256(..) => {
            Ok(format!("arrow_cast('{value}', '{}')", value.data_type()))
        }
        // The unparser escapes as other dialects do.
        Value::Utf8(Some(text)) | Value::LargeUtf8(Some(text)) | Value::Utf8View(Some(text)) => {
            Ok(format!("'{}'", text.replace('\'', "''")))
        }
        Value::Dictionary(_, value) | Value::RunEndEncoded(_, _, value) => literal(value),
        Value::Union(Some((_, value)), ..) => literal(value),
        Value::List(array) => list(array.value(0).as_ref()),
        Value::LargeList(array) => list(array.value(0).as_ref()),
        Value::FixedSizeList(array) => list(array.value(0).as_ref()),
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => Ok(number(value.to_string())),
        value => {
            let sql = expr_to_sql(&Expr::Literal(value.clone(), None));
            Ok(sql.map_err(|_| Error::new(format!("a value of type {} cannot be given to a parameter", value.data_type())))?.to_string())
        }
    }
}

/// Two signs would begin a comment.
fn number(digits: String) -> String {
    if digits.starts_with('-') { format!("({digits})") } else { digits }
}
