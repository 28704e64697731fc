//! The unit of each comparison's gap: its spread over the rows when training starts, so that one temperature
//! suits all comparisons. No gradient passes through it.

use super::Relaxed;
use crate::program::{Lanes, Machine, Slot};
use std::sync::Arc;

/// The scale of each gap, by setting. A gap of one row, or equal in all rows, has scale 1.
pub fn scales<R: Lanes>(relaxed: &Relaxed<R>, residuals: &Arc<Vec<Vec<R>>>, parameters: &[Vec<R>], temperature: f64) -> Vec<(Slot, f64)> {
    let mut known: Vec<(Slot, f64)> = vec![];
    // A gap may lie over softer ones: they come first, and their scales are set by then.
    for gap in &relaxed.gaps {
        let Some(slot) = gap.scale else { continue };
        let presence = gap.gap.presence.unwrap_or_else(|| relaxed.graph.number(1.0));
        let mut machine = Machine::build(
            &relaxed.graph,
            residuals.clone(),
            &[relaxed.graph.detach(gap.gap.value), relaxed.graph.detach(presence)],
            false,
        );
        for (slot, values) in parameters.iter().enumerate() {
            let ours = machine.parameter_mut(slot as Slot);
            if !ours.is_empty() {
                ours.copy_from_slice(values);
            }
        }
        machine.set(relaxed.temperature, temperature);
        for &(slot, scale) in &known {
            machine.set(slot, scale);
        }
        if let Some(sample) = &relaxed.sample {
            machine.set(sample.scale, 1.0);
        }
        machine.run();
        known.push((slot, spread(machine.output(0), machine.output(1))));
    }
    known
}

/// The weighted standard deviation; 1 where there is none.
fn spread<R: Lanes>(gaps: &[R], weights: &[R]) -> f64 {
    let weight = |i: usize| weights[if weights.len() == 1 { 0 } else { i }].wide();
    let rows = || gaps.iter().enumerate().map(|(i, g)| (weight(i), g.wide())).filter(|(w, _)| *w > 0.0);
    let total: f64 = rows().map(|(w, _)| w).sum();
    let mean = rows().map(|(w, g)| w * g).sum::<f64>() / total;
    let variance = rows().map(|(w, g)| w * (g - mean) * (g - mean)).sum::<f64>() / total;
    let spread = variance.sqrt();
    if spread.is_finite() && spread > 1e-12 * mean.abs() && spread > 0.0 { spread } else { 1.0 }
}
