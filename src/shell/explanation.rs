//! The colours of an explanation: what runs exactly is dim, what is live is green, what is learned is yellow.

use super::grid::Grid;
use nu_ansi_term::{Color, Style};
use std::collections::HashSet;

/// What is said of a stage where it is live; anything else is the exact engine's.
const LIVE: [&str; 2] = ["relaxed", "gather"];
/// The name of what is said of all stages together.
const RUN: &str = "run";

/// Gives the cells of the columns `stage`, `what` and `detail` their styles.
pub(super) fn paint(grid: &mut Grid) {
    let [stages, whats, details] = grid.columns.as_mut_slice() else { return };
    let pairs = || stages.cells.iter().zip(&whats.cells);
    let live: HashSet<&String> = pairs().filter(|(_, what)| LIVE.contains(&what.as_str())).map(|(stage, _)| stage).collect();
    let style_of = |(stage, what): (&String, &String)| match (stage.as_str(), what.as_str()) {
        (RUN, "learnable") => Color::Yellow.normal(),
        (RUN, _) => Style::new(),
        (_, what) if LIVE.contains(&what) => Color::Green.normal(),
        _ => Style::new().dimmed(),
    };
    let style_of_stage = |stage: &String| match stage.as_str() {
        RUN => Color::Cyan.normal(),
        _ if live.contains(stage) => Color::Green.bold(),
        _ => Style::new().dimmed(),
    };
    let (styles, styles_of_stages) = (pairs().map(style_of).collect::<Vec<_>>(), stages.cells.iter().map(style_of_stage).collect());
    stages.styles = styles_of_stages;
    details.styles.clone_from(&styles);
    whats.styles = styles;
}
