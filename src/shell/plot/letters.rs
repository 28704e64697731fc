//! Charts and histograms in letters.

use crate::error::Result;
use crate::plot::{Chart, Histogram, label};
use crate::shell::canvas::Canvas;

/// Draws curves within so many columns and rows.
pub(super) fn chart(chart: &Chart, (columns, rows): (usize, usize)) -> Result<String> {
    let ((left, right), (low, high)) = chart.ends()?;
    let labels = [label(high), label(low)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0) + 2;
    let mut canvas = Canvas::new(columns.saturating_sub(margin).max(10), rows.saturating_sub(2).max(4));
    let place = |x: f64, y: f64, canvas: &Canvas| {
        let along = |x: f64, low: f64, high: f64, dots: usize| {
            if high > low { ((x - low) / (high - low) * (dots - 1) as f64).round() as usize } else { dots / 2 }
        };
        (along(x, left, right, canvas.width()), along(y, low, high, canvas.height()))
    };
    for (_, y) in &chart.curves {
        let mut before = None;
        for (x, y) in chart.x.1.iter().zip(y) {
            let now = (x.is_finite() && y.is_finite()).then(|| place(*x, *y, &canvas));
            match (chart.is_scattered, before, now) {
                (false, Some(before), Some(now)) => canvas.line(before, now),
                (_, _, Some((x, y))) => canvas.dot(x, y),
                _ => {}
            }
            before = now;
        }
    }
    let mut text = format!("{}\n", chart.title());
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

/// A bar on a line for each interval of the first series.
pub(super) fn histogram(histogram: &Histogram, columns: usize) -> String {
    let Some((name, counts)) = histogram.series.first() else { return String::new() };
    let starts: Vec<String> = (0..counts.len()).map(|bin| label(histogram.start(bin))).collect();
    let margin = starts.iter().map(String::len).max().unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(1).max(1);
    let room = columns.saturating_sub(margin + most.to_string().len() + 3).max(10);
    let mut text = format!("{name}, how often from where on, up to {}", label(histogram.high));
    for (start, count) in starts.iter().zip(counts) {
        let bar = "█".repeat((count * room).div_ceil(most));
        text += &format!("\n{start:>margin$} {bar} {count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_corner_to_corner_with_its_ends_beside_it() {
        let curves = vec![("loss".to_string(), vec![0.0, 5.0, 10.0])];
        let told = chart(&Chart { x: ("step".into(), vec![1.0, 2.0, 3.0]), curves, is_scattered: false }, (24, 6)).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "loss over step");
        assert!(lines[1].starts_with(" 10 ⠀") && lines[1].ends_with('⠉'), "{told}");
        assert!(lines[4].starts_with("  0 ⣀"), "{told}");
        assert!(lines[5].trim_start().starts_with('1') && lines[5].ends_with('3'), "{told}");
    }

    #[test]
    fn a_histogram_has_a_bar_for_each_interval() {
        let told = histogram(&Histogram::of(&[("x", &[0.0, 0.5, 9.0, 10.0, 10.0])], 2).unwrap(), 20);
        assert_eq!(told, format!("x, how often from where on, up to 10\n0 {} 2\n5 {} 3", "█".repeat(10), "█".repeat(15)));
    }
}
