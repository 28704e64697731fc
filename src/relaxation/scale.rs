//! The unit of each comparison's gap: its spread over the rows when training starts, so that one temperature
//! suits all comparisons. No gradient passes through it.

use super::{Number, Relaxed};
use crate::buffer::Buffer;
use crate::program::{Domain, Graph, Lanes, Machine, Slot, Value};
use std::sync::Arc;

/// The scale of each gap, by setting. A gap of one row, or equal in all rows, has scale 1.
pub fn scales<R: Lanes>(
    relaxed: &Relaxed<R>,
    residuals: &Arc<Vec<Buffer<R>>>,
    parameters: &[Vec<R>],
    temperature: f64,
) -> Vec<(Slot, f64)> {
    let mut known: Vec<(Slot, f64)> = vec![];
    let mut wide = None;
    // A gap may lie over softer ones: they come first, and their scales are set by then.
    for gap in &relaxed.gaps {
        let (Some(slot), graph) = (gap.scale, &relaxed.graph) else { continue };
        // The gaps of later rounds lie over those of earlier ones, whose scale is 1 here.
        let set: Vec<(Slot, f64)> = known.iter().copied().chain([(slot, 1.0)]).collect();
        let start = Start { relaxed, parameters, temperature, scales: &set };
        let one = graph.number(1.0);
        let presence = |g: &Number| g.presence.unwrap_or(one);
        let (first, presence_of_first) = (gap.gaps[0].value, presence(&gap.gaps[0]));
        let product = [first, presence_of_first].map(|v| graph.domain_of(v)).into_iter().find(|d| graph.is_product(*d));
        let scale = match product {
            Some(pairs) => {
                let doubled = || Arc::new(residuals.iter().map(|column| column.iter().map(|x| x.wide()).collect()).collect());
                let residuals: &Arc<Vec<Buffer<f64>>> = wide.get_or_insert_with(doubled);
                let mut machine = start.machine(residuals, &moments(graph, first, presence_of_first, pairs));
                machine.run();
                let [weight, mean, first, second] = [0, 1, 2, 3].map(|output| machine.output(output)[0]);
                scale(mean, second / weight - (first / weight).powi(2))
            }
            None => {
                let outputs: Vec<Value> = gap.gaps.iter().flat_map(|g| [g.value, presence(g)]).map(|v| graph.detach(v)).collect();
                let mut machine = start.machine(residuals, &outputs);
                machine.run();
                let rows = (0..gap.gaps.len()).flat_map(|g| weighted(machine.output(2 * g), machine.output(2 * g + 1)));
                spread(&rows.collect::<Vec<_>>())
            }
        };
        known.push((slot, scale));
    }
    known
}

/// Where training starts.
pub(super) struct Start<'a, R> {
    pub relaxed: &'a Relaxed<R>,
    pub parameters: &'a [Vec<R>],
    pub temperature: f64,
    /// Scales of gaps, as far as they are known.
    pub scales: &'a [(Slot, f64)],
}

impl<R: Lanes> Start<'_, R> {
    /// A machine of these outputs that is ready to run there.
    pub(super) fn machine<S: Lanes>(&self, residuals: &Arc<Vec<Buffer<S>>>, outputs: &[Value]) -> Machine<S> {
        let mut machine = Machine::build(&self.relaxed.graph, residuals.clone(), outputs, false);
        for (slot, values) in self.parameters.iter().enumerate() {
            machine.parameter_mut(slot as Slot).iter_mut().zip(values).for_each(|(ours, value)| *ours = S::of(value.wide()));
        }
        machine.set(self.relaxed.temperature, self.temperature);
        for &(slot, scale) in self.scales {
            machine.set(slot, scale);
        }
        if let Some(sample) = &self.relaxed.sample {
            machine.set(sample.scale, 1.0);
        }
        machine
    }
}

/// Over a cross product no gap is written out, and its moments are sums in double precision: the weight, the mean, and the first
/// two moments about it.
fn moments(graph: &Graph, gap: Value, presence: Value, pairs: Domain) -> [Value; 4] {
    let sum = |x: Value| graph.total(graph.gate(presence, x), pairs);
    let weight = graph.total(presence, pairs);
    let mean = graph.divide(sum(gap), weight);
    let about = graph.subtract(gap, mean);
    [weight, mean, sum(about), sum(graph.multiply(about, about))].map(|v| graph.detach(v))
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
    scale(mean, variance)
}

fn scale(mean: f64, variance: f64) -> f64 {
    let spread = variance.sqrt();
    if spread.is_finite() && spread > 1e-12 * mean.abs() && spread > 0.0 { spread } else { 1.0 }
}
