//! `candidates => m`: of a cross product that a live condition weighs, the m likeliest combinations for each row.
//!
//! Exact: a join compares every row of one table with every row of the other. Relaxed: for each row of the factor that the stage
//! groups by, or else of the first, only the m combinations with rows of the others that have the greatest weight stay, at the values that the learnable columns have when
//! training starts; they are found by comparing all, once, a window of rows at a time. Where weights round to the same number, the
//! margin of the condition decides, and then the order of the rows. The scales of gaps stay those of all combinations.
//! Limit: with m as large as the other factors it is the same query, bit for bit. With less it lacks the weight of what is left
//! out; the exact objective at the end has all, so that the relaxation gap says what the choice costs.
//! Gradient: that of the combinations which stay. What never had a live weight is always present and is not left out.

use super::scale::Start;
use super::{Note, Relaxed, Softness, relax, scales};
use crate::algebra::{Parameter, Pipeline, Rows};
use crate::buffer::Buffer;
use crate::error::{Error, Place, Result};
use crate::program::{Lanes, Slot, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Combinations that are compared at once.
const WINDOW: usize = 1 << 20;

/// The rows of all stages with their candidates.
pub struct Kept<R> {
    pub rows: Vec<Rows<R>>,
    /// The scales of all combinations, where any are left out.
    pub scales: Option<Vec<(Slot, f64)>>,
    pub notes: Vec<Note>,
}

/// Where training starts, and how.
#[derive(Clone, Copy)]
struct Run<'a, R> {
    pipeline: &'a Pipeline,
    parameters: &'a [Parameter],
    values: &'a [Vec<R>],
    softness: Softness,
    temperature: f64,
    batch: bool,
}

/// Chooses the candidates, if the run asks for them. `values` are those of the learnable columns.
pub fn candidates<R: Lanes>(
    pipeline: &Pipeline,
    mut rows: Vec<Rows<R>>,
    parameters: &[Parameter],
    values: &[Vec<R>],
    (softness, temperature): (Softness, f64),
    batch: bool,
) -> Result<Kept<R>> {
    let Some(most) = softness.candidates else { return Ok(Kept { rows, scales: None, notes: vec![] }) };
    // Where values are those of the exact query, degrees still tell what is near.
    let soft = Softness { straight_through: false, ..softness };
    let run = Run { pipeline, parameters, values, softness: soft, temperature, batch };
    let (all, residuals) = run.relaxed(&rows)?;
    let weighed: Vec<usize> = (0..rows.len()).filter(|stage| has_live_pairs(&all, *stage)).collect();
    if weighed.is_empty() {
        return Err(Error::new("no cross join of the query has a live condition that compares its sides, so that no pair can be left out")
            .at(Place::Expression(format!("candidates => {most}")))
            .hint("compare learnable columns of both tables, FROM a, b WHERE cosine_distance(a.emb, b.emb) < ..., and count or sum the pairs; or leave candidates out"));
    }
    let of_all = scales(&all, &residuals, values, temperature);
    let of_run = if softness.straight_through {
        let (all, residuals) = Run { softness, ..run }.relaxed(&rows)?;
        scales(&all, &residuals, values, temperature)
    } else {
        of_all.clone()
    };
    let (mut notes, mut fewer) = (vec![], false);
    for stage in weighed {
        let factors = Factors::new(&rows[stage]);
        let became = if most >= factors.others {
            format!("all of them, for there are only {} for each row", factors.others)
        } else {
            let chosen = run.choose(&rows, stage, &factors, most, &of_all)?;
            rows[stage].chosen = Some(chosen);
            fewer = true;
            format!("for each of {} rows the {most} combinations of greatest weight, chosen once, when training starts", factors.first)
        };
        notes.push(Note { stage, operator: format!("candidates => {most}"), became });
    }
    Ok(Kept { rows, scales: fewer.then_some(of_run), notes })
}

/// Whether a stage is a cross product whose weight is a live number of each combination.
fn has_live_pairs<R>(relaxed: &Relaxed<R>, stage: usize) -> bool {
    let graph = &relaxed.graph;
    relaxed.stages[stage]
        .weight
        .is_some_and(|weight| graph.is_product(graph.domain_of(weight)) && !graph.is_frozen(weight) && graph.gathered(weight).is_none())
}

/// The factors of a cross product: the one whose rows choose, and all others.
struct Factors {
    lengths: Vec<usize>,
    at: usize,
    /// Rows of that one.
    first: usize,
    /// Combinations of rows of the others.
    others: usize,
}

impl Factors {
    fn new<R>(rows: &Rows<R>) -> Self {
        let lengths = rows.factors.clone();
        let grouped = rows.groups.as_ref().and_then(|g| g.of_factors.first()).map(|g| g.factor).filter(|f| lengths[*f] > 1);
        let at = grouped.or_else(|| lengths.iter().position(|n| *n > 1)).unwrap_or(0);
        let (first, all) = (lengths[at], lengths.iter().product::<usize>());
        Self { lengths, at, first, others: all / first.max(1) }
    }

    /// The row of each factor in combinations of a row of that one with some of the others.
    fn rows(&self, combinations: &[(usize, usize)]) -> Vec<Buffer<u32>> {
        let mut inner = 1;
        let mut rows: Vec<Buffer<u32>> = vec![];
        for (factor, length) in self.lengths.iter().enumerate().rev() {
            if factor == self.at {
                rows.push(combinations.iter().map(|(first, _)| *first as u32).collect());
            } else {
                rows.push(combinations.iter().map(|(_, other)| (other / inner % length) as u32).collect());
                inner *= length;
            }
        }
        rows.reverse();
        rows
    }
}

/// The columns that a program finds in place.
type Residuals<R> = Arc<Vec<Buffer<R>>>;

impl<R: Lanes> Run<'_, R> {
    fn relaxed(&self, rows: &[Rows<R>]) -> Result<(Relaxed<R>, Residuals<R>)> {
        let mut relaxed = relax(self.pipeline, rows.to_vec(), self.parameters, self.softness, self.batch)?;
        let residuals = Arc::new(std::mem::take(&mut relaxed.residuals));
        Ok((relaxed, residuals))
    }

    /// The program of a window of the combinations is made once, and the rows of the first factor pass through it.
    fn choose(&self, rows: &[Rows<R>], stage: usize, factors: &Factors, most: usize, scales: &[(Slot, f64)]) -> Result<Vec<Buffer<u32>>> {
        if factors.first.checked_mul(most).is_none_or(|n| n > u32::MAX as usize) {
            return Err(Error::new(format!("{} rows with {most} candidates each are more than {} pairs", factors.first, u32::MAX))
                .at(Place::Expression(format!("candidates => {most}")))
                .hint("keep fewer"));
        }
        let height = (WINDOW / factors.others).clamp(1, factors.first);
        let seen = |begin: usize| {
            (0..height * factors.others).map(move |i| ((begin + i / factors.others).min(factors.first - 1), i % factors.others))
        };
        let mut window = rows.to_vec();
        window[stage].chosen = Some(factors.rows(&seen(0).collect::<Vec<_>>()));
        let (relaxed, residuals) = self.relaxed(&window)?;
        drop(window);
        let (graph, of_stage) = (&relaxed.graph, &relaxed.stages[stage]);
        let (Some(weight), Some(along)) = (of_stage.weight, of_stage.along[factors.at]) else {
            unreachable!("the stage has a weight, and its first factor has rows")
        };
        let outputs: [Value; 2] = [weight, graph.margin(weight).unwrap_or(weight)].map(|v| graph.detach(v));
        let start = Start { relaxed: &relaxed, parameters: self.values, temperature: self.temperature, scales };
        let mut machine = start.machine(&residuals, &outputs);
        let mut chosen: Vec<(usize, usize)> = Vec::with_capacity(factors.first * most);
        for begin in (0..factors.first).step_by(height) {
            machine.read_through(along, seen(begin).map(|(first, _)| first as u32).collect());
            machine.run();
            let (weights, margins) = (machine.output(0), machine.output(1));
            for first in begin..(begin + height).min(factors.first) {
                let from = (first - begin) * factors.others;
                let pairs = from..from + factors.others;
                chosen.extend(greatest(&weights[pairs.clone()], &margins[pairs], most).into_iter().map(|other| (first, other)));
            }
        }
        Ok(factors.rows(&chosen))
    }
}

/// The places of so many of the greatest weights, ascending.
fn greatest<R: Lanes>(weights: &[R], margins: &[R], most: usize) -> Vec<usize> {
    let before = |a: &usize, b: &usize| -> Ordering {
        let by = |x: &[R]| x[*b].wide().total_cmp(&x[*a].wide());
        by(weights).then_with(|| by(margins)).then(a.cmp(b))
    };
    let mut places: Vec<usize> = (0..weights.len()).collect();
    places.select_nth_unstable_by(most - 1, before);
    places.truncate(most);
    places.sort_unstable();
    places
}
