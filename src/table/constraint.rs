//! What every row of a table must keep: types, dimensions, NOT NULL, bounds and the primary key.

use super::{ColumnDefinition, TableDefinition, element_type};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::HashSet;

/// A column's values in the column's type, as DataFusion's INSERT casts them; a value that does not fit is an error.
pub fn cast(column: &ColumnDefinition, values: &ArrayRef) -> Result<ArrayRef> {
    if values.data_type() == &column.data_type {
        return Ok(values.clone());
    }
    let strict = CastOptions { safe: false, ..Default::default() };
    let cannot = || format!("column '{}' is {}", column.name, column.type_name());
    if !arrow::compute::can_cast_types(values.data_type(), &column.data_type) {
        return Err(Error::new(format!("{}, but the value is {}", cannot(), super::type_name(values.data_type(), &[]))));
    }
    cast_with_options(values, &column.data_type, &strict).map_err(|e| {
        let reason = Error::from(e).to_string();
        let reason = reason.trim_start_matches("cast error: ").trim_start_matches("Cast error: ");
        Error::new(format!("{}, but a value does not fit: {reason}", cannot()))
    })
}

/// Every breach of the columns' own constraints in new rows, one for each column and kind. `first` numbers the rows in messages.
pub fn breaches(table: &TableDefinition, rows: &RecordBatch, first: usize) -> Vec<Error> {
    table.columns.iter().zip(rows.columns()).filter_map(|(column, values)| breach(table, column, values, first).err()).collect()
}

fn breach(table: &TableDefinition, column: &ColumnDefinition, values: &ArrayRef, first: usize) -> Result<()> {
    let is_key = table.primary_key.contains(&column.name);
    if (!column.nullable || column.learnable || is_key)
        && let Some(row) = (0..values.len()).find(|row| values.is_null(*row))
    {
        let why = if column.learnable {
            "LEARNABLE and never NULL"
        } else if is_key {
            "in the PRIMARY KEY and never NULL"
        } else {
            "NOT NULL"
        };
        let error = Error::new(format!("column '{}' of table '{}' is {why}, but row {} has NULL", column.name, table.name, first + row));
        return Err(error.hint("give a value, or a DEFAULT to the column"));
    }
    dimensions(column, values, &column.dimensions, first)?;
    let Some(bound) = &column.bound else { return Ok(()) };
    let elements = elements(values);
    let outside = elements.chunks(column.width().max(1)).position(|row| !bound.holds(row, column));
    outside.map_or(Ok(()), |row| {
        Err(Error::new(format!("CHECK ({} {bound}) fails in row {} of the new rows of table '{}'", column.name, first + row, table.name))
            .hint("give a value within the CHECK"))
    })
}

/// Every array has the declared length, at every level; arrays that are learned have no NULL in them.
fn dimensions(column: &ColumnDefinition, values: &ArrayRef, expected: &[usize], first: usize) -> Result<()> {
    let Some((length, inner)) = expected.split_first() else {
        return if column.learnable && !column.dimensions.is_empty() && values.null_count() > 0 {
            Err(Error::new(format!("column '{}' is LEARNABLE, but an element of its array is NULL", column.name))
                .hint("give every element a value"))
        } else {
            Ok(())
        };
    };
    let Some(lists) = values.as_list_opt::<i32>() else { return Ok(()) };
    let wrong = (0..lists.len()).find(|row| lists.is_valid(*row) && lists.value_length(*row) as usize != *length);
    if let Some(row) = wrong {
        let what = format!("column '{}' is {}, but an array has {} elements", column.name, column.type_name(), lists.value_length(row));
        let outermost = expected.len() == column.dimensions.len();
        let what = if outermost { format!("{what} in row {}", first + row) } else { what };
        return Err(Error::new(what).hint(format!("dimension mismatch: give {length} elements")));
    }
    dimensions(column, &inner_values(values), inner, first)
}

/// The elements of scalars, arrays or matrices in row-major order; NULLs count as zero.
pub fn elements(values: &ArrayRef) -> Vec<f64> {
    let numbers = arrow::compute::cast(&numbers(values), &DataType::Float64);
    let numbers = numbers.unwrap_or_else(|_| arrow::array::new_null_array(&DataType::Float64, 0));
    numbers.as_primitive::<Float64Type>().iter().map(Option::unwrap_or_default).collect()
}

/// The numbers of a column side by side: rows, and in them dimensions, row-major.
pub fn numbers(values: &ArrayRef) -> ArrayRef {
    if let DataType::List(_) = values.data_type() { numbers(&inner_values(values)) } else { values.clone() }
}

/// What the lists of an array hold, without what its slice left out.
fn inner_values(values: &ArrayRef) -> ArrayRef {
    let lists = values.as_list::<i32>();
    let offsets = lists.value_offsets();
    let (start, end) = (offsets.first().copied().unwrap_or(0) as usize, offsets.last().copied().unwrap_or(0) as usize);
    lists.values().slice(start, end - start)
}

/// The primary keys of new rows, each of which may occur once in the table.
pub struct Keys {
    names: Vec<String>,
    table: String,
    converter: RowConverter,
    known: HashSet<Box<[u8]>>,
}

impl Keys {
    /// The keys of new rows; `None` when the table has no primary key. The second of two equal keys is an error.
    pub fn of(table: &TableDefinition, new: &[RecordBatch]) -> Result<Option<Self>> {
        if table.primary_key.is_empty() {
            return Ok(None);
        }
        let types = table.primary_key.iter().filter_map(|name| table.column(name));
        let converter = RowConverter::new(types.map(|c| SortField::new(c.data_type.clone())).collect())?;
        let mut keys = Self { names: table.primary_key.clone(), table: table.name.clone(), converter, known: HashSet::new() };
        for batch in new {
            let columns = keys.columns(batch)?;
            let rows = keys.converter.convert_columns(&columns)?;
            for (i, row) in rows.iter().enumerate() {
                if !keys.known.insert(row.as_ref().into()) {
                    return Err(keys.duplicate(&columns, i).hint("two of the new rows have this key"));
                }
            }
        }
        Ok(Some(keys))
    }

    /// An error when rows that the table has already hold one of the keys.
    pub fn refuse(&self, existing: &RecordBatch) -> Result<()> {
        let columns = self.columns(existing)?;
        let rows = self.converter.convert_columns(&columns)?;
        match rows.iter().position(|row| self.known.contains(row.as_ref())) {
            Some(i) => Err(self.duplicate(&columns, i).hint("the table has a row with this key already")),
            None => Ok(()),
        }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column =
            |name: &String| batch.column_by_name(name).cloned().ok_or_else(|| Error::new(format!("the key column '{name}' is missing")));
        self.names.iter().map(column).collect()
    }

    fn duplicate(&self, columns: &[ArrayRef], row: usize) -> Error {
        let options = FormatOptions::default();
        let values: Vec<String> = columns
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).map_or_else(|_| "?".into(), |f| f.value(row).to_string()))
            .collect();
        Error::new(format!("duplicate primary key ({}) = ({}) in table '{}'", self.names.join(", "), values.join(", "), self.table))
    }
}

/// Whether a column of this type can be learned.
pub fn learnable_type(data_type: &DataType, dimensions: &[usize]) -> bool {
    let depth = |mut t: &DataType| {
        let mut depth = 0;
        while let DataType::List(item) = t {
            (t, depth) = (item.data_type(), depth + 1);
        }
        depth
    };
    matches!(element_type(data_type), DataType::Float32 | DataType::Float64)
        && depth(data_type) == dimensions.len()
        && !dimensions.contains(&0)
}
