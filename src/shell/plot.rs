//! `\plot`: the numbers of a result as a curve, points or a histogram on the terminal.

use super::Stop;
use super::canvas::Canvas;
use crate::error::{Error, Result};
use crate::session::Outcome;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use std::str::FromStr;

/// How numbers are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every column after the first over the first; one column over the numbers of its rows.
    Line,
    Points,
    /// How often the first column has which values.
    Histogram,
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "line" => Ok(Kind::Line),
            "points" => Ok(Kind::Points),
            "histogram" => Ok(Kind::Histogram),
            _ => Err(Error::new(format!("\\plot knows no '{name}'")).hint("\\plot line, \\plot points or \\plot histogram")),
        }
    }
}

/// The numeric columns of a result, by name; NULLs are NaN.
type Series = Vec<(String, Vec<f64>)>;

/// Draws a result within so many columns and rows of letters.
pub(super) async fn plot(outcome: Outcome, kind: Kind, size: (usize, usize)) -> Result<String, Stop> {
    let schema = outcome.schema().ok_or_else(|| Error::new("the last statement gives no rows").hint("\\plot draws the last SELECT"))?;
    let mut series: Series = schema.fields().iter().filter(|f| is_number(f.data_type())).map(|f| (f.name().clone(), vec![])).collect();
    if series.is_empty() {
        return Err(Error::new("the last statement gives no numbers").hint("\\plot draws columns of numbers").into());
    }
    for batch in outcome.collect().await? {
        let numeric = batch.columns().iter().filter(|column| is_number(column.data_type()));
        for ((_, numbers), column) in series.iter_mut().zip(numeric) {
            let column = cast(column, &DataType::Float64).map_err(super::format::io_or_engine)?;
            let column = column.as_primitive::<Float64Type>();
            numbers.extend((0..column.len()).map(|row| if column.is_null(row) { f64::NAN } else { column.value(row) }));
        }
    }
    Ok(drawn(&series, kind, size)?)
}

fn is_number(kind: &DataType) -> bool {
    kind.is_numeric() || matches!(kind, DataType::Date32 | DataType::Timestamp(..))
}

fn drawn(series: &Series, kind: Kind, (columns, rows): (usize, usize)) -> Result<String> {
    if kind == Kind::Histogram {
        let (name, numbers) = &series[0];
        return histogram(name, numbers, (columns, rows));
    }
    let numbers: Vec<f64> = (1..=series[0].1.len()).map(|row| row as f64).collect();
    let (x_name, x, curves) = match series.as_slice() {
        [only] => ("row", &numbers, std::slice::from_ref(only)),
        [first, rest @ ..] => (first.0.as_str(), &first.1, rest),
        [] => return Err(nothing()),
    };
    let (left, right) = ends(x.iter().copied()).ok_or_else(nothing)?;
    let (low, high) = ends(curves.iter().flat_map(|(_, y)| y.iter().copied())).ok_or_else(nothing)?;
    let labels = [label(high), label(low)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0) + 2;
    let mut canvas = Canvas::new(columns.saturating_sub(margin).max(10), rows.saturating_sub(2).max(4));
    let place = |x: f64, y: f64, canvas: &Canvas| {
        let along = |x: f64, low: f64, high: f64, dots: usize| {
            if high > low { ((x - low) / (high - low) * (dots - 1) as f64).round() as usize } else { dots / 2 }
        };
        (along(x, left, right, canvas.width()), along(y, low, high, canvas.height()))
    };
    for (_, y) in curves {
        let mut before = None;
        for (x, y) in x.iter().zip(y) {
            let now = (x.is_finite() && y.is_finite()).then(|| place(*x, *y, &canvas));
            match (kind, before, now) {
                (Kind::Line, Some(before), Some(now)) => canvas.line(before, now),
                (_, _, Some((x, y))) => canvas.dot(x, y),
                _ => {}
            }
            before = now;
        }
    }
    let names: Vec<&str> = curves.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = format!("{} over {x_name}\n", names.join(", "));
    let last = rows.saturating_sub(3).max(3);
    for (number, line) in canvas.lines().enumerate() {
        let label = if number == 0 {
            labels[0].as_str()
        } else if number == last {
            labels[1].as_str()
        } else {
            ""
        };
        text += &format!("{label:>width$} {line}\n", width = margin - 1);
    }
    let (left, right) = (label(left), label(right));
    let gap = (columns.max(margin + 10) - margin).saturating_sub(left.len() + right.len());
    Ok(text + &format!("{:margin$}{left}{:gap$}{right}", "", ""))
}

/// Bars of equal width, at most one for each line.
fn histogram(name: &str, numbers: &[f64], (columns, rows): (usize, usize)) -> Result<String> {
    let (low, high) = ends(numbers.iter().copied()).ok_or_else(nothing)?;
    let bins = if high > low { rows.saturating_sub(2).clamp(1, 20) } else { 1 };
    let mut counts = vec![0usize; bins];
    for x in numbers.iter().filter(|x| x.is_finite()) {
        let bin = if high > low { ((x - low) / (high - low) * bins as f64) as usize } else { 0 };
        counts[bin.min(bins - 1)] += 1;
    }
    let start = |bin: usize| low + (high - low) * bin as f64 / bins as f64;
    // What rounding left of zero is zero.
    let starts: Vec<String> = (0..bins).map(start).map(|x| label(if x.abs() < 1e-6 * (high - low) { 0.0 } else { x })).collect();
    let margin = starts.iter().map(String::len).max().unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(1).max(1);
    let room = columns.saturating_sub(margin + most.to_string().len() + 3).max(10);
    let mut text = format!("{name}, how often from where on, up to {}", label(high));
    for (start, count) in starts.iter().zip(&counts) {
        let bar = "█".repeat((count * room).div_ceil(most));
        text += &format!("\n{start:>margin$} {bar} {count}");
    }
    Ok(text)
}

/// The least and the greatest of the finite numbers, if there is one.
fn ends(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    numbers.filter(|x| x.is_finite()).fold(None, |ends, x| match ends {
        Some((low, high)) => Some((f64::min(low, x), f64::max(high, x))),
        None => Some((x, x)),
    })
}

/// Four digits that matter.
fn label(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e6).contains(&x.abs()) {
        return format!("{x:.3e}");
    }
    let decimals = (3 - x.abs().max(1e-3).log10().floor() as i64).clamp(0, 6) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn nothing() -> Error {
    Error::new("there are no numbers to draw")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_corner_to_corner_with_its_ends_beside_it() {
        let series = vec![("step".to_string(), vec![1.0, 2.0, 3.0]), ("loss".to_string(), vec![0.0, 5.0, 10.0])];
        let told = drawn(&series, Kind::Line, (24, 6)).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "loss over step");
        assert!(lines[1].starts_with(" 10 ⠀") && lines[1].ends_with('⠉'), "{told}");
        assert!(lines[4].starts_with("  0 ⣀"), "{told}");
        assert!(lines[5].trim_start().starts_with('1') && lines[5].ends_with('3'), "{told}");
    }

    #[test]
    fn a_histogram_counts_every_number_once() {
        let series = vec![("x".to_string(), (0..100).map(f64::from).chain([f64::NAN]).collect())];
        let told = drawn(&series, Kind::Histogram, (60, 12)).unwrap();
        let counted: usize = told.lines().skip(1).map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(counted, 100, "{told}");
        assert!(drawn(&vec![("x".to_string(), vec![f64::NAN])], Kind::Histogram, (60, 12)).is_err());
        assert_eq!([0.25, 12_000.0, 1e-5, -3.0].map(label), ["0.25", "12000", "1.000e-5", "-3"]);
    }
}
