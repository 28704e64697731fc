//! The numbers of a result, as a figure.

use super::Kind;
use crate::error::{Error, Result};
use crate::plot::{Chart, Figure, Histogram, Pictures};
use crate::session::Outcome;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::util::display::array_value_to_string;

pub(super) async fn figure(outcome: Outcome, kind: Kind, bins: usize) -> Result<Figure> {
    let schema = outcome.schema().ok_or_else(|| Error::new("the statement gives no rows").hint("\\plot draws a SELECT"))?;
    let batches = outcome.collect().await?;
    if let Kind::Picture(size) = kind {
        return Ok(Figure::Pictures(pictures(&schema, &batches, size)?));
    }
    let mut series = series(&schema, &batches)?;
    let Some((name, first)) = series.first() else {
        return Err(Error::new("the statement gives no numbers").hint("\\plot draws columns of numbers; \\plot picture arrays of them"));
    };
    if kind == Kind::Histogram {
        return Ok(Figure::Histogram(Histogram::of(&[(name, first)], bins)?));
    }
    let rows = ("row".to_string(), (1..=first.len()).map(|row| row as f64).collect());
    let x = if series.len() > 1 { series.remove(0) } else { rows };
    Ok(Figure::Chart(Chart { x, curves: series, is_scattered: kind == Kind::Points }))
}

/// The numeric columns by name; NULLs are NaN.
fn series(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<(String, Vec<f64>)>> {
    let is_number = |kind: &DataType| kind.is_numeric() || matches!(kind, DataType::Date32 | DataType::Timestamp(..));
    let numeric = schema.fields().iter().enumerate().filter(|(_, field)| is_number(field.data_type()));
    let column = |(at, name): (usize, &String)| {
        let mut all = vec![];
        for batch in batches {
            extend(&mut all, batch.column(at))?;
        }
        Ok((name.clone(), all))
    };
    numeric.map(|(at, field)| column((at, field.name()))).collect()
}

fn extend(all: &mut Vec<f64>, numbers: &ArrayRef) -> Result<()> {
    let numbers = cast(numbers, &DataType::Float64)?;
    all.extend(numbers.as_primitive::<Float64Type>().iter().map(|x| x.unwrap_or(f64::NAN)));
    Ok(())
}

/// The first column of arrays; the first other column has the captions.
fn pictures(schema: &SchemaRef, batches: &[RecordBatch], size: Option<(usize, usize)>) -> Result<Pictures> {
    let is_list = |kind: &DataType| matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..));
    let place = |wanted: bool| schema.fields().iter().position(|field| is_list(field.data_type()) == wanted);
    let arrays = place(true).ok_or_else(|| Error::new("the statement gives no arrays").hint("a picture is an array of numbers"))?;
    let captions = place(false);
    let (mut lengths, mut found) = (vec![], vec![]);
    for batch in batches {
        for row in 0..batch.num_rows() {
            let caption = captions.map_or(Ok(String::new()), |at| array_value_to_string(batch.column(at), row))?;
            let mut numbers = vec![];
            let picture =
                element(batch.column(arrays), row).ok_or_else(|| Error::new("a picture is NULL").hint("WHERE ... IS NOT NULL"))?;
            elements(&picture, 0, &mut lengths, &mut numbers)?;
            found.push((caption, numbers));
        }
    }
    let (width, height) = match (size, lengths.as_slice()) {
        (_, []) => return Err(Error::new("there are no pictures to draw")),
        (None, [length]) => {
            let side = length.isqrt();
            if side * side != *length {
                let error = Error::new(format!("vectors of {length} numbers are no squares"));
                return Err(error.hint("write the width and the height of the pictures: \\plot picture 28x14"));
            }
            (side, side)
        }
        (None, [.., height, width]) => (*width, *height),
        (Some((width, height)), lengths) => {
            let fits = lengths.ends_with(&[height, width]) || lengths.last() == Some(&(width * height));
            if !fits {
                let error = Error::new(format!("the arrays {} have no pictures of {width} x {height}", dimensions(lengths)));
                return Err(error.hint("write a width and a height whose product is the length of the innermost arrays"));
            }
            (width, height)
        }
    };
    if width * height == 0 {
        return Err(Error::new("the pictures are empty"));
    }
    let all = found.into_iter().flat_map(|(caption, numbers)| {
        let pictures: Vec<Vec<f64>> = numbers.chunks(width * height).map(<[f64]>::to_vec).collect();
        let several = pictures.len() > 1;
        let captioned = move |(number, pixels): (usize, Vec<f64>)| match several {
            true => (format!("{caption} {}", number + 1).trim_start().to_string(), pixels),
            false => (caption.clone(), pixels),
        };
        pictures.into_iter().enumerate().map(captioned).collect::<Vec<_>>()
    });
    Ok(Pictures { width, height, all: all.collect() })
}

/// The elements of an array, innermost last; `lengths` are those of its dimensions, and the same for all.
fn elements(array: &ArrayRef, depth: usize, lengths: &mut Vec<usize>, numbers: &mut Vec<f64>) -> Result<()> {
    match lengths.get(depth) {
        None => lengths.push(array.len()),
        Some(length) if *length == array.len() => {}
        Some(length) => return Err(Error::new(format!("the pictures have different sizes: {length} and {} numbers", array.len()))),
    }
    match array.data_type() {
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => (0..array.len()).try_for_each(|row| {
            let inner = element(array, row).ok_or_else(|| Error::new("a row of a picture is NULL"))?;
            elements(&inner, depth + 1, lengths, numbers)
        }),
        kind if kind.is_numeric() => extend(numbers, array),
        kind => Err(Error::new(format!("a picture is an array of numbers, not of {kind}"))),
    }
}

/// The array in a row of a column of arrays; `None` for NULL.
fn element(arrays: &ArrayRef, row: usize) -> Option<ArrayRef> {
    if arrays.is_null(row) {
        return None;
    }
    match arrays.data_type() {
        DataType::FixedSizeList(..) => Some(arrays.as_fixed_size_list().value(row)),
        DataType::LargeList(_) => Some(arrays.as_list::<i64>().value(row)),
        _ => Some(arrays.as_list::<i32>().value(row)),
    }
}

fn dimensions(lengths: &[usize]) -> String {
    lengths.iter().map(|length| format!("[{length}]")).collect()
}
