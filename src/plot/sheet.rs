//! Pictures side by side on a sheet, each below its caption.

use super::Pictures;
use super::draw::{Area, Drawn, FONT};
use crate::error::{Error, Result};
use plotters::prelude::*;

/// A sheet of pictures has no more dots, and is about so wide.
const MOST_DOTS: u64 = 64_000_000;
const WIDE: usize = 1200;
/// The largest side of a number of a picture, what is between pictures, and the height of a caption.
const LARGEST: usize = 16;
const GAP: usize = 10;
const CAPTION: usize = 20;
/// About the width of a letter of a caption.
const LETTER: usize = 8;

/// Width and height of the sheet.
pub(super) fn size(pictures: &Pictures) -> Result<(u32, u32)> {
    let Layout { columns, across, down, .. } = Layout::of(pictures);
    let (width, height) = (columns * across + GAP, pictures.all.len().div_ceil(columns) * down + GAP);
    if width as u64 * height as u64 > MOST_DOTS {
        let error = format!("{} pictures of {} x {} are too many for a file", pictures.all.len(), pictures.width, pictures.height);
        return Err(Error::new(error).hint("draw fewer of them: LIMIT 100"));
    }
    Ok((width as u32, height as u32))
}

pub(super) fn draw<DB: DrawingBackend>(pictures: &Pictures, area: &Area<DB>) -> Drawn<DB> {
    let Layout { columns, side, across, down } = Layout::of(pictures);
    let ends = pictures.ends();
    for (number, (caption, pixels)) in pictures.all.iter().enumerate() {
        let (left, mut top) = (GAP + number % columns * across, GAP + number / columns * down);
        if pictures.has_captions() {
            let shown: String = caption.chars().take((pictures.width * side / LETTER).max(1)).collect();
            area.draw(&Text::new(shown, (left as i32, top as i32), (FONT, 15)))?;
            top += CAPTION;
        }
        for (at, x) in pixels.iter().enumerate() {
            let grey = (pictures.shade(*x, ends) * 255.0).round() as u8;
            let (x, y) = ((left + at % pictures.width * side) as i32, (top + at / pictures.width * side) as i32);
            let corner = (x + side as i32, y + side as i32);
            area.draw(&Rectangle::new([(x, y), corner], RGBColor(grey, grey, grey).filled()))?;
        }
    }
    Ok(())
}

/// How pictures lie on a sheet.
struct Layout {
    columns: usize,
    /// Dots of a side of a number.
    side: usize,
    /// Dots from one picture to the next.
    across: usize,
    down: usize,
}

impl Layout {
    fn of(pictures: &Pictures) -> Self {
        let (width, height, count) = (pictures.width, pictures.height, pictures.all.len().max(1));
        // About three wide for two high.
        let columns = ((count as f64 * 1.5 * height as f64 / width as f64).sqrt().ceil() as usize).clamp(1, count);
        let side = (WIDE / columns).saturating_sub(GAP).checked_div(width).unwrap_or(1).clamp(1, LARGEST);
        let caption = if pictures.has_captions() { CAPTION } else { 0 };
        Self { columns, side, across: width * side + GAP, down: height * side + GAP + caption }
    }
}
