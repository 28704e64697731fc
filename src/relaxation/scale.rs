//! The unit of each comparison's gap: its spread over the rows when training starts, so that one temperature
//! suits all comparisons. No gradient passes through it.

use super::Relaxed;
use crate::program::{Lanes, Machine, Slot, Value};
use std::sync::Arc;

/// The scale of each gap, by setting. A gap of one row, or equal in all rows, has scale 1.
pub fn scales<R: Lanes>(relaxed: &Relaxed<R>, residuals: &Arc<Vec<Vec<R>>>, parameters: &[Vec<R>], temperature: f64) -> Vec<(Slot, f64)> {
    let mut known: Vec<(Slot, f64)> = vec![];
    // A gap may lie over softer ones: they come first, and their scales are set by then.
    for gap in &relaxed.gaps {
        let Some(slot) = gap.scale else { continue };
        let one = relaxed.graph.number(1.0);
        let outputs: Vec<Value> =
            gap.gaps.iter().flat_map(|g| [g.value, g.presence.unwrap_or(one)]).map(|v| relaxed.graph.detach(v)).collect();
        let mut machine = Machine::build(&relaxed.graph, residuals.clone(), &outputs, false);
        for (slot, values) in parameters.iter().enumerate() {
            let ours = machine.parameter_mut(slot as Slot);
            if !ours.is_empty() {
                ours.copy_from_slice(values);
            }
        }
        machine.set(relaxed.temperature, temperature);
        // The gaps of later rounds lie over those of earlier ones, whose scale is 1 here.
        for &(slot, scale) in known.iter().chain(&[(slot, 1.0)]) {
            machine.set(slot, scale);
        }
        if let Some(sample) = &relaxed.sample {
            machine.set(sample.scale, 1.0);
        }
        machine.run();
        let rows = (0..gap.gaps.len()).flat_map(|g| weighted(machine.output(2 * g), machine.output(2 * g + 1)));
        known.push((slot, spread(&rows.collect::<Vec<_>>())));
    }
    known
}

/// Weight and gap of each row that is there.
fn weighted<'a, R: Lanes>(gaps: &'a [R], weights: &'a [R]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let weight = |i: usize| weights[if weights.len() == 1 { 0 } else { i }].wide();
    gaps.iter().enumerate().map(move |(i, g)| (weight(i), g.wide())).filter(|(w, _)| *w > 0.0)
}

/// The weighted standard deviation; 1 where there is none.
fn spread(rows: &[(f64, f64)]) -> f64 {
    let total: f64 = rows.iter().map(|(w, _)| w).sum();
    let mean = rows.iter().map(|(w, g)| w * g).sum::<f64>() / total;
    let variance = rows.iter().map(|(w, g)| w * (g - mean) * (g - mean)).sum::<f64>() / total;
    let spread = variance.sqrt();
    if spread.is_finite() && spread > 1e-12 * mean.abs() && spread > 0.0 { spread } else { 1.0 }
}
