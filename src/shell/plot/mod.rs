//! `\plot`: a result as a curve, points, a histogram or pictures, on the terminal or in a file.

mod blocks;
mod letters;
mod reading;

use super::{Stop, say_so};
use crate::error::{Error, Result};
use crate::plot::{self, Figure};
use crate::session::Outcome;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What is to be drawn, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plot {
    pub kind: Kind,
    /// A file instead of the terminal.
    pub file: Option<PathBuf>,
    /// A query instead of the last one.
    pub sql: Option<String>,
}

/// How a result is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every column after the first over the first; one column over the numbers of its rows.
    Line,
    Points,
    /// How often the first column has which values.
    Histogram,
    /// The first column of arrays, each a picture of a width and a height, or as square as it is.
    Picture(Option<(usize, usize)>),
}

const USAGE: &str = "\\plot [line | points | histogram | picture [WIDTHxHEIGHT]] [-o FILE.png | -o FILE.svg] [SELECT ...]";

/// How a query begins.
const QUERIES: [&str; 6] = ["select", "with", "values", "relax", "gradient", "("];

impl FromStr for Plot {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut plot = Plot { kind: Kind::Line, file: None, sql: None };
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (word, after) = rest.split_once(char::is_whitespace).map_or((rest, ""), |(word, after)| (word, after.trim_start()));
            rest = after;
            match word {
                "line" => plot.kind = Kind::Line,
                "points" => plot.kind = Kind::Points,
                "histogram" => plot.kind = Kind::Histogram,
                "picture" => plot.kind = Kind::Picture(None),
                "-o" => {
                    let (file, after) = file_name(rest)?;
                    plot.file = Some(file);
                    rest = after;
                }
                word if matches!(plot.kind, Kind::Picture(None)) && size(word).is_some() => plot.kind = Kind::Picture(size(word)),
                word if QUERIES.iter().any(|query| word.to_lowercase().starts_with(query)) => {
                    plot.sql = Some(format!("{word} {after}"));
                    break;
                }
                word => return Err(Error::new(format!("\\plot knows no '{word}'")).hint(USAGE)),
            }
        }
        Ok(plot)
    }
}

/// A width and a height, such as `28x28`.
fn size(word: &str) -> Option<(usize, usize)> {
    let (width, height) = word.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?)).filter(|(width, height)| *width > 0 && *height > 0)
}

/// A name, which may be quoted, and what stands after it.
fn file_name(text: &str) -> Result<(PathBuf, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let (name, after) = match quote {
        Some(quote) => text[1..].split_once(quote).ok_or_else(|| Error::new("the name of the file has no end").hint(USAGE))?,
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    };
    let path = PathBuf::from(name);
    match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
        Some("png" | "svg") => Ok((path, after.trim_start())),
        _ => Err(Error::new(format!("'{name}' is neither a PNG nor an SVG file")).hint("end its name with .png or .svg")),
    }
}

/// Draws a result into a file.
pub(super) async fn save(outcome: Outcome, kind: Kind, path: &Path) -> Result<(), Stop> {
    let figure = reading::figure(outcome, kind, FILE_BINS).await?;
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
        plot::png(&figure, path)?;
    } else {
        let cannot = |e: std::io::Error| Error::new(format!("{} cannot be written: {e}", path.display()));
        std::fs::write(path, plot::svg(&figure, None)?).map_err(cannot)?;
    }
    say_so(&format!("{}: {}", path.display(), title(&figure)));
    Ok(())
}

/// Intervals of a histogram in a file.
const FILE_BINS: usize = 40;

/// Draws a result within so many columns and rows of letters; pictures take the rows that they need.
pub(super) async fn drawn(outcome: Outcome, kind: Kind, size: (usize, usize), is_coloured: bool) -> Result<String, Stop> {
    Ok(match reading::figure(outcome, kind, size.1.saturating_sub(2).clamp(1, 20)).await? {
        Figure::Chart(chart) => letters::chart(&chart, size)?,
        Figure::Histogram(histogram) => letters::histogram(&histogram, size.0),
        Figure::Pictures(pictures) => blocks::pictures(&pictures, size.0, is_coloured),
    })
}

fn title(figure: &Figure) -> String {
    match figure {
        Figure::Chart(chart) => chart.title(),
        Figure::Histogram(histogram) => histogram.title(),
        Figure::Pictures(pictures) => format!("{} of {} x {}", pictures.all.len(), pictures.width, pictures.height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_kind_a_file_and_a_query_and_needs_none() {
        let read = |text: &str| text.parse::<Plot>().map_err(|e| e.to_string());
        let plot =
            |kind, file: Option<&str>, sql: Option<&str>| Ok(Plot { kind, file: file.map(PathBuf::from), sql: sql.map(str::to_string) });
        assert_eq!(read(""), plot(Kind::Line, None, None));
        assert_eq!(read("points"), plot(Kind::Points, None, None));
        assert_eq!(read("-o 'a b.PNG' SELECT  1 AS x"), plot(Kind::Line, Some("a b.PNG"), Some("SELECT 1 AS x")));
        assert_eq!(read("histogram -o c.svg"), plot(Kind::Histogram, Some("c.svg"), None));
        assert_eq!(read("picture 28x14 with t as (select 1)"), plot(Kind::Picture(Some((28, 14))), None, Some("with t as (select 1)")));
        for (text, said) in [
            ("pie", "knows no 'pie'"),
            ("28x28", "knows no '28x28'"),
            ("picture 0x1", "knows no '0x1'"),
            ("-o", "neither a PNG nor"),
            ("-o x.jpeg", "end its name with"),
            ("-o 'x.png", "no end"),
        ] {
            assert!(read(text).expect_err(text).contains(said), "{text}");
        }
    }
}
