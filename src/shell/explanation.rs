//! The colours of an explanation: what runs exactly is dim, what is live is green, what is learned is yellow.

use super::grid::Grid;
use crate::session::{Tells, tells};
use nu_ansi_term::{Color, Style};
use std::collections::HashSet;

/// Gives the cells of the columns `stage`, `what` and `detail` their styles.
pub(super) fn paint(grid: &mut Grid) {
    let [stages, whats, details] = grid.columns.as_mut_slice() else { return };
    let told: Vec<Tells> = stages.cells.iter().zip(&whats.cells).map(|(stage, what)| tells(stage, what)).collect();
    let live: HashSet<&String> = stages.cells.iter().zip(&told).filter(|(_, told)| **told == Tells::Live).map(|(stage, _)| stage).collect();
    let style_of = |told: &Tells| match told {
        Tells::Exact => Style::new().dimmed(),
        Tells::Live => Color::Green.normal(),
        Tells::Learned => Color::Yellow.normal(),
        Tells::Run => Style::new(),
    };
    let style_of_stage = |(stage, told): (&String, &Tells)| match told {
        Tells::Run | Tells::Learned => Color::Cyan.normal(),
        _ if live.contains(stage) => Color::Green.bold(),
        _ => Style::new().dimmed(),
    };
    stages.styles = stages.cells.iter().zip(&told).map(style_of_stage).collect();
    details.styles = told.iter().map(style_of).collect();
    whats.styles.clone_from(&details.styles);
}
