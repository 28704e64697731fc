//! Figures of numbers: curves, points, histograms and pictures, and how they become PNG and SVG.
//! It never hears of SQL, results or terminals.

mod draw;
mod picture;
mod sheet;

pub use draw::{png, svg};
pub use picture::Pictures;

use crate::error::{Error, Result};

/// What can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    Chart(Chart),
    Histogram(Histogram),
    Pictures(Pictures),
}

/// Curves over common numbers; what is not finite is a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub x: (String, Vec<f64>),
    pub curves: Vec<(String, Vec<f64>)>,
    /// Points instead of lines.
    pub is_scattered: bool,
}

/// How many of some numbers are in which of some intervals of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    pub low: f64,
    pub high: f64,
    /// Names, and a count for each interval.
    pub series: Vec<(String, Vec<usize>)>,
}

impl Chart {
    pub fn title(&self) -> String {
        let names: Vec<&str> = self.curves.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} over {}", names.join(", "), self.x.0)
    }

    /// The ends of both axes.
    pub fn ends(&self) -> Result<((f64, f64), (f64, f64))> {
        let all = self.curves.iter().flat_map(|(_, y)| y.iter().copied());
        Ok((spread(self.x.1.iter().copied())?, spread(all)?))
    }
}

impl Histogram {
    /// Counts the finite numbers of each series, in at most so many intervals.
    pub fn of(series: &[(&str, &[f64])], most: usize) -> Result<Self> {
        let (low, high) = spread(series.iter().flat_map(|(_, numbers)| numbers.iter().copied()))?;
        let bins = if high > low { most.max(1) } else { 1 };
        let counts = |numbers: &[f64]| {
            let mut counts = vec![0; bins];
            for x in numbers.iter().filter(|x| x.is_finite()) {
                let bin = if high > low { ((x - low) / (high - low) * bins as f64) as usize } else { 0 };
                counts[bin.min(bins - 1)] += 1;
            }
            counts
        };
        Ok(Self { low, high, series: series.iter().map(|(name, numbers)| (name.to_string(), counts(numbers))).collect() })
    }

    /// Where an interval begins.
    pub fn start(&self, bin: usize) -> f64 {
        let bins = self.series.first().map_or(1, |(_, counts)| counts.len());
        let start = self.low + (self.high - self.low) * bin as f64 / bins as f64;
        // What rounding left of zero is zero.
        if start.abs() < 1e-6 * (self.high - self.low) { 0.0 } else { start }
    }

    pub fn title(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|(name, _)| name.as_str()).collect();
        format!("{}, how often", names.join(", "))
    }
}

/// The least and the greatest of the finite numbers, if there is one.
pub fn ends(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    numbers.filter(|x| x.is_finite()).fold(None, |ends, x| match ends {
        Some((low, high)) => Some((f64::min(low, x), f64::max(high, x))),
        None => Some((x, x)),
    })
}

/// Four digits that matter.
pub fn label(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e6).contains(&x.abs()) {
        return format!("{x:.3e}");
    }
    let decimals = (3 - x.abs().max(1e-3).log10().floor() as i64).clamp(0, 6) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// The ends of numbers that can be drawn on an axis.
fn spread(numbers: impl Iterator<Item = f64>) -> Result<(f64, f64)> {
    match ends(numbers) {
        None => Err(Error::new("there are no numbers to draw")),
        // Axes have room beyond their ends.
        Some((low, high)) if low.abs().max(high.abs()) > f64::MAX / 8.0 => {
            Err(Error::new(format!("numbers from {low:e} to {high:e} are too large to draw")))
        }
        Some(ends) => Ok(ends),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_number_once() {
        let numbers: Vec<f64> = (0..100).map(f64::from).chain([f64::NAN]).collect();
        let both = Histogram::of(&[("x", &numbers), ("few", &[99.0, 99.0])], 10).unwrap();
        assert_eq!(both.series[0].1, [10; 10]);
        assert_eq!(both.series[1].1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(Histogram::of(&[("x", &[2.0, 2.0])], 10).unwrap().series[0].1, [2]);
        assert!(Histogram::of(&[("x", &[f64::NAN])], 10).is_err());
    }

    #[test]
    fn labels_have_four_digits_that_matter() {
        assert_eq!([0.25, 12_000.0, 1e-5, -3.0].map(label), ["0.25", "12000", "1.000e-5", "-3"]);
    }
}
