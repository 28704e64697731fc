//! Figures on a sheet, by plotters: as a PNG file, or as the text of an SVG.

use super::{Chart, Figure, Histogram, label, sheet};
use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use std::path::Path;
use std::sync::OnceLock;

pub(super) type Area<DB> = DrawingArea<DB, Shift>;
/// Those of a chart's axes.
type Ends = ((f64, f64), (f64, f64));
pub(super) type Drawn<DB> = std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// The size of a chart where nobody asks for another.
const SHEET: (u32, u32) = (960, 600);
/// Points of a curve beyond which it is thinned, in pairs.
const MOST_PAIRS: usize = 1000;
pub(super) const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 107, 180),
    RGBColor(217, 95, 2),
    RGBColor(27, 145, 90),
    RGBColor(170, 51, 119),
    RGBColor(102, 102, 102),
    RGBColor(166, 118, 29),
];

/// Writes a figure as a PNG file.
pub fn png(figure: &Figure, path: &Path) -> Result<()> {
    font()?;
    let area = BitMapBackend::new(path, size(figure)?).into_drawing_area();
    draw(figure, &area)?;
    area.present().map_err(|e| Error::new(format!("{} cannot be written: {e}", path.display())))
}

/// A figure as SVG, of a width and a height where it is given.
pub fn svg(figure: &Figure, given: Option<(u32, u32)>) -> Result<String> {
    font()?;
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, given.map_or_else(|| size(figure), Ok)?).into_drawing_area();
    draw(figure, &area)?;
    area.present().map_err(|e| Error::new(format!("the figure cannot be drawn: {e}")))?;
    drop(area);
    Ok(text)
}

/// Text is measured and drawn with a font that comes along.
fn font() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok();
    if *REGISTERED.get_or_init(register) { Ok(()) } else { Err(Error::new("the font of figures cannot be read")) }
}

fn draw<DB: DrawingBackend>(figure: &Figure, area: &Area<DB>) -> Result<()> {
    let failed = |e: DrawingAreaErrorKind<DB::ErrorType>| Error::new(format!("the figure cannot be drawn: {e}"));
    area.fill(&WHITE).map_err(failed)?;
    let drawn = match figure {
        Figure::Chart(chart) => draw_chart(chart, chart.ends()?, area),
        Figure::Histogram(histogram) => draw_histogram(histogram, area),
        Figure::Pictures(pictures) => sheet::draw(pictures, area),
    };
    drawn.map_err(failed)
}

fn draw_chart<DB: DrawingBackend>(chart: &Chart, (x_ends, y_ends): Ends, area: &Area<DB>) -> Drawn<DB> {
    let ((left, right), (low, high)) = (wider(x_ends, 0.01), wider(y_ends, 0.04));
    let mut sheet = ChartBuilder::on(area)
        .caption(chart.title(), (FONT, 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(left..right, low..high)?;
    let y_name = if let [(name, _)] = chart.curves.as_slice() { name.as_str() } else { "" };
    axes(&mut sheet, (&chart.x.0, right - left), (y_name, high - low))?;
    for (number, (name, y)) in chart.curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let key = move |(x, y): (i32, i32)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled());
        let points: Vec<(f64, f64)> = chart.x.1.iter().copied().zip(y.iter().copied()).collect();
        let is_point = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
        if chart.is_scattered {
            let dots = points.iter().filter(is_point).map(|point| Circle::new(*point, 2, colour.filled()));
            sheet.draw_series(dots)?.label(name).legend(key);
            continue;
        }
        let thin = thinned(&points);
        let pieces = thin.split(|point| !is_point(&point)).filter(|piece| !piece.is_empty());
        let lines = pieces.map(|piece| PathElement::new(piece, colour.stroke_width(2)));
        sheet.draw_series(lines)?.label(name).legend(key);
    }
    if chart.curves.len() > 1 { keys(&mut sheet) } else { Ok(()) }
}

/// The shape of a long curve: the least and the greatest of as many points as fall together.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 2 * MOST_PAIRS {
        return points.to_vec();
    }
    let pair = |points: &[(f64, f64)]| {
        let finite = || points.iter().enumerate().filter(|(_, point)| point.1.is_finite());
        let by_height = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        let (least, greatest) = (finite().min_by(by_height), finite().max_by(by_height));
        let mut ends: Vec<(usize, (f64, f64))> = least.into_iter().chain(greatest).map(|(at, point)| (at, *point)).collect();
        ends.sort_by_key(|(at, _)| *at);
        ends.into_iter().map(|(_, point)| point).collect::<Vec<_>>()
    };
    points.chunks(points.len().div_ceil(MOST_PAIRS)).flat_map(pair).collect()
}

fn draw_histogram<DB: DrawingBackend>(histogram: &Histogram, area: &Area<DB>) -> Drawn<DB> {
    let most = histogram.series.iter().flat_map(|(_, counts)| counts).max().copied().unwrap_or(1) as f64;
    let (left, right) = wider((histogram.low, histogram.high), 0.01);
    let mut sheet = ChartBuilder::on(area)
        .caption(histogram.title(), (FONT, 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(left..right, 0.0..most * 1.04)?;
    let x_name = if let [(name, _)] = histogram.series.as_slice() { name.as_str() } else { "" };
    axes(&mut sheet, (x_name, right - left), ("", most))?;
    for (number, (name, counts)) in histogram.series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let edge = |bin: usize| match (histogram.high > histogram.low, bin) {
            (true, bin) => histogram.start(bin),
            (false, 0) => left,
            (false, _) => right,
        };
        let filled = colour.mix(if histogram.series.len() > 1 { 0.45 } else { 0.8 }).filled();
        let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let bars = bars.map(|(bin, count)| Rectangle::new([(edge(bin), 0.0), (edge(bin + 1), *count as f64)], filled));
        sheet.draw_series(bars)?.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], filled));
    }
    if histogram.series.len() > 1 { keys(&mut sheet) } else { Ok(()) }
}

type Sheet<'a, DB> = ChartContext<'a, DB, Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>>;

/// Names of the axes, and how long they are.
fn axes<DB: DrawingBackend>(sheet: &mut Sheet<DB>, (x, width): (&str, f64), (y, height): (&str, f64)) -> Drawn<DB> {
    // What rounding left of zero is zero.
    let told = |length: f64| move |x: &f64| label(if x.abs() < 1e-6 * length { 0.0 } else { *x });
    let (x_told, y_told) = (told(width), told(height));
    sheet
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .x_label_formatter(&x_told)
        .y_label_formatter(&y_told)
        .x_desc(x)
        .y_desc(y)
        .draw()
}

/// Which colour is whose.
fn keys<'a, DB: DrawingBackend + 'a>(sheet: &mut Sheet<'a, DB>) -> Drawn<DB> {
    sheet
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .label_font((FONT, 14))
        .draw()
}

/// Ends with some room beyond them.
fn wider((low, high): (f64, f64), part: f64) -> (f64, f64) {
    let room = if high > low { (high - low) * part } else { (low.abs() * 0.1).max(0.5) };
    (low - room, high + room)
}

/// The size of the sheet; a figure that cannot be drawn has none, so that no file is begun.
fn size(figure: &Figure) -> Result<(u32, u32)> {
    match figure {
        Figure::Chart(chart) => chart.ends().map(|_| SHEET),
        Figure::Histogram(_) => Ok(SHEET),
        Figure::Pictures(pictures) => sheet::size(pictures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_least_and_greatest_points() {
        let points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x), if x == 54_321 { -9.0 } else { f64::from(x % 7) })).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= 2 * MOST_PAIRS && thin.contains(&(54_321.0, -9.0)), "{}", thin.len());
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    fn numbers_of_any_size_are_drawn_or_refused() {
        let drawn = |numbers: &[f64]| {
            let x = ("x".into(), (0..numbers.len()).map(|x| x as f64).collect());
            let chart = Chart { x, curves: vec![("y".into(), numbers.to_vec())], is_scattered: false };
            let histogram = Histogram::of(&[("y", numbers)], 10).map(Figure::Histogram).and_then(|figure| svg(&figure, None));
            svg(&Figure::Chart(chart), None).and(histogram).map_err(|e| e.to_string())
        };
        for numbers in [&[1e16, 1e16 + 2.0], &[5e-324, 0.0], &[1.0, 1.0 + f64::EPSILON], &[-1e300, 1e300], &[3.0, 3.0], &[1e-18, 2e-18]] {
            assert!(drawn(numbers).is_ok_and(|svg| svg.ends_with("</svg>\n")), "{numbers:?}");
        }
        assert_eq!(drawn(&[-1e308, 1e308]), Err("numbers from -1e308 to 1e308 are too large to draw".into()));
        assert_eq!(drawn(&[1.7e308, 1.7e308]), Err("numbers from 1.7e308 to 1.7e308 are too large to draw".into()));
        assert_eq!(drawn(&[f64::NAN, f64::INFINITY]), Err("there are no numbers to draw".into()));
    }

    #[test]
    fn names_in_an_svg_are_text_and_never_markup() {
        let chart = Chart { x: ("<x>".into(), vec![1.0, 2.0]), curves: vec![("a & b".into(), vec![1.0, 2.0])], is_scattered: false };
        let text = svg(&Figure::Chart(chart), Some((300, 200))).unwrap();
        assert!(text.starts_with("<svg width=\"300\" height=\"200\"") && text.contains("a &amp; b over &lt;x&gt;"), "{text}");
    }
}
