//! Pictures in half blocks: each letter is two numbers, one above the other, as greys or, without colours, as one shade.

use crate::plot::{Pictures, label};
use nu_ansi_term::{Color, Style};
use unicode_width::UnicodeWidthChar;

/// Without colours.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// More pictures are not drawn.
const MOST: usize = 100;
/// Columns between pictures.
const GAP: usize = 2;

/// Draws pictures side by side within so many columns; those that are wider are made smaller.
pub(super) fn pictures(pictures: &Pictures, columns: usize, is_coloured: bool) -> String {
    let drawn = if pictures.width > columns { &pictures.shrunk(pictures.width.div_ceil(columns.max(1))) } else { pictures };
    let ends = drawn.ends();
    let pen = Pen { is_coloured, has_all_colours: std::env::var("COLORTERM").is_ok_and(|is| is == "truecolor" || is == "24bit") };
    let each_line = ((columns + GAP) / (drawn.width + GAP)).max(1);
    let gap = " ".repeat(GAP);
    let mut text = String::new();
    for line in drawn.all[..drawn.all.len().min(MOST)].chunks(each_line) {
        if drawn.has_captions() {
            let captions: Vec<String> = line.iter().map(|(caption, _)| fitted(caption, drawn.width)).collect();
            text += &format!("{}\n", captions.join(&gap).trim_end());
        }
        for y in (0..drawn.height).step_by(2) {
            let rows = line.iter().map(|(_, pixels)| {
                let shade = |x: usize, y: usize| (y < drawn.height).then(|| drawn.shade(pixels[y * drawn.width + x], ends));
                (0..drawn.width).map(|x| pen.letter(shade(x, y).unwrap_or(0.0), shade(x, y + 1))).collect::<String>()
            });
            text += &format!("{}\n", rows.collect::<Vec<_>>().join(&gap));
        }
    }
    text += &format!("from {}, which is black, to {}, which is white", label(ends.0), label(ends.1));
    if drawn.all.len() > MOST {
        text += &format!("; {MOST} of {} pictures", drawn.all.len());
    }
    text
}

/// A caption in exactly so many columns.
fn fitted(caption: &str, width: usize) -> String {
    let (mut text, mut room) = (String::new(), width);
    for letter in caption.chars() {
        let Some(left) = room.checked_sub(letter.width().unwrap_or(0)) else { break };
        room = left;
        text.push(letter);
    }
    text + &" ".repeat(room)
}

/// What a terminal can show.
struct Pen {
    is_coloured: bool,
    has_all_colours: bool,
}

impl Pen {
    /// Two shades, one above the other; below the last row of an odd number there is none.
    fn letter(&self, upper: f64, lower: Option<f64>) -> String {
        if !self.is_coloured {
            let mean = lower.map_or(upper, |lower| f64::midpoint(upper, lower));
            return SHADES[(mean * (SHADES.len() - 1) as f64).round() as usize].to_string();
        }
        let style = Style::new().fg(self.grey(upper));
        lower.map_or(style, |lower| style.on(self.grey(lower))).paint("▀").to_string()
    }

    fn grey(&self, shade: f64) -> Color {
        if self.has_all_colours {
            let grey = (shade * 255.0).round() as u8;
            return Color::Rgb(grey, grey, grey);
        }
        // The 24 greys of 256 colours.
        Color::Fixed(232 + (shade * 23.0).round() as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Pictures {
        let all = vec![("one".to_string(), vec![0.0, 1.0, 1.0, 0.0, 0.5, 0.5]), ("zwei".to_string(), vec![1.0; 6])];
        Pictures { width: 2, height: 3, all }
    }

    #[test]
    fn pictures_stand_side_by_side_below_their_captions() {
        let told = pictures(&two(), 80, false);
        assert_eq!(told, "on  zw\n▒▒  ██\n▒▒  ██\nfrom 0, which is black, to 1, which is white");
        assert_eq!(pictures(&two(), 5, false).lines().count(), 7);
        assert!(pictures(&two(), 1, false).starts_with("o\n \nz\n█\n"), "{}", pictures(&two(), 1, false));
    }

    #[test]
    fn with_colours_a_letter_is_two_greys() {
        let pen = |has_all_colours| Pen { is_coloured: true, has_all_colours };
        assert_eq!(pen(true).letter(1.0, Some(0.0)), "\u{1b}[48;2;0;0;0;38;2;255;255;255m▀\u{1b}[0m");
        assert_eq!(pen(false).letter(0.0, None), "\u{1b}[38;5;232m▀\u{1b}[0m");
    }
}
