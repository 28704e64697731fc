//! Functions of the application in exact queries. Where a query learns, the split takes them out of its expressions again.

use super::functions::list_of;
use crate::error::{Error, Result};
use crate::scalar::{Function, FunctionType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result as EngineResult;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Makes a function known to exact queries.
pub fn register(context: &SessionContext, function: &Function) {
    let signature = Signature::user_defined(Volatility::Immutable);
    context.register_udf(ScalarUDF::from(UserFunction { function: function.clone(), signature }));
}

/// The function of the application that one of the engine is, if it is one.
pub(super) fn of(function: &ScalarUDF) -> Option<&Function> {
    function.inner().downcast_ref::<UserFunction>().map(|f| &f.function)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UserFunction {
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for UserFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What does not fit stays as it is: the engine keeps the reason for a refusal to itself here, and not in the next method.
    fn coerce_types(&self, given: &[DataType]) -> EngineResult<Vec<DataType>> {
        Ok(match self.check(given) {
            Ok(()) => self.function.arguments().iter().map(|t| type_of(*t)).collect(),
            Err(_) => given.to_vec(),
        })
    }

    fn return_type(&self, given: &[DataType]) -> EngineResult<DataType> {
        self.check(given)?;
        Ok(type_of(self.function.result()))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns = arguments.args.iter().zip(self.function.arguments()).enumerate().map(|(number, (given, declared))| {
            let column = Column::new(&given.to_array(rows)?, declared.width());
            column.map_err(|e| Error::new(format!("{} takes {declared} as argument {}, {e}", self.name(), number + 1)).into())
        });
        let columns = columns.collect::<EngineResult<Vec<Column>>>()?;
        let there: Vec<usize> = (0..rows).filter(|row| columns.iter().all(|c| c.row(*row).is_some())).collect();
        let mut numbers = Vec::with_capacity(there.len() * self.function.width());
        for column in &columns {
            there.iter().filter_map(|row| column.row(*row)).for_each(|row| numbers.extend_from_slice(row));
        }
        let width = self.function.result().width();
        let mut values = vec![0.0; there.len() * width];
        self.function.value(&numbers, &mut values);
        Ok(ColumnarValue::Array(self.result(rows, &there, &values)?))
    }
}

impl UserFunction {
    fn check(&self, given: &[DataType]) -> Result<()> {
        let wrong = |what: String| Err(Error::new(format!("{} {what}", self.name())).hint(self.function.signature()));
        let declared = self.function.arguments();
        if given.len() != declared.len() {
            let plural = if declared.len() == 1 { "" } else { "s" };
            return wrong(format!("takes {} argument{plural}, not {}", declared.len(), given.len()));
        }
        match given.iter().zip(declared).position(|(given, declared)| !fits(given, *declared)) {
            Some(at) => wrong(format!("takes {} as argument {}, not {}", declared[at], at + 1, given[at])),
            None => Ok(()),
        }
    }

    /// Values of some of the rows; the others are NULL.
    fn result(&self, rows: usize, there: &[usize], values: &[f64]) -> Result<ArrayRef> {
        let kind = self.function.result();
        let mut found = vec![None; rows];
        for (row, value) in there.iter().zip(values.chunks_exact(kind.width())) {
            found[*row] = Some(value);
        }
        let array: ArrayRef = match kind {
            FunctionType::Real | FunctionType::Double => Arc::new(found.iter().map(|v| v.map(|v| v[0])).collect::<Float64Array>()),
            FunctionType::RealArray(_) | FunctionType::DoubleArray(_) => {
                let lists = found.iter().map(|v| v.map(|v| v.iter().copied().map(Some)));
                Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
            }
        };
        Ok(cast(&array, &type_of(kind))?)
    }
}

/// An argument of all rows.
struct Column {
    numbers: Float64Array,
    /// Where each row begins, and its length; `None` where it is NULL.
    rows: Vec<Option<usize>>,
    width: usize,
}

impl Column {
    /// Fails with what a row has instead of so many numbers.
    fn new(array: &ArrayRef, width: usize) -> std::result::Result<Self, String> {
        let wide = |array: &ArrayRef| cast(array, &DataType::Float64).map_err(|e| e.to_string());
        let Some(lists) = array.as_list_opt::<i32>() else {
            let numbers = wide(array)?.as_primitive::<Float64Type>().clone();
            let rows = (0..numbers.len()).map(|row| numbers.is_valid(row).then_some(row)).collect();
            return Ok(Self { numbers, rows, width });
        };
        let numbers = wide(lists.values())?.as_primitive::<Float64Type>().clone();
        let rows = (0..lists.len()).map(|row| {
            let (start, length) = (lists.value_offsets()[row] as usize, lists.value_length(row) as usize);
            if lists.is_null(row) || numbers.slice(start, length).null_count() > 0 {
                return Ok(None);
            }
            if length == width { Ok(Some(start)) } else { Err(format!("not an array [{length}]")) }
        });
        let rows = rows.collect::<std::result::Result<_, String>>()?;
        Ok(Self { numbers, rows, width })
    }

    fn row(&self, row: usize) -> Option<&[f64]> {
        self.rows[row].map(|start| &self.numbers.values()[start..start + self.width])
    }
}

/// Whether a type becomes a declared one.
fn fits(given: &DataType, declared: FunctionType) -> bool {
    let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null();
    match (given, declared) {
        (DataType::Null, _) => true,
        (given, FunctionType::Real | FunctionType::Double) => is_number(given),
        (DataType::List(item) | DataType::LargeList(item), _) => is_number(item.data_type()),
        (DataType::FixedSizeList(item, length), declared) => is_number(item.data_type()) && *length as usize == declared.width(),
        _ => false,
    }
}

fn type_of(kind: FunctionType) -> DataType {
    match kind {
        FunctionType::Real => DataType::Float32,
        FunctionType::Double => DataType::Float64,
        FunctionType::RealArray(_) => list_of(DataType::Float32),
        FunctionType::DoubleArray(_) => list_of(DataType::Float64),
    }
}
