//! ORDER BY frozen LIMIT k, `ROW_NUMBER() OVER (PARTITION BY frozen ORDER BY frozen) <= k`, DISTINCT ON, ROW_NUMBER and RANK over
//! rows that a live condition weighs.
//!
//! Exact: a row's place is one more than the number of present rows before it; the first k are kept.
//! Relaxed: with c the weight of the rows before it, the place of a row is `1 + c`, the expected rank (Cormode, Li and Yi, 2009). Rows are
//! taken in their order until their weights add up to k: a row of weight w is among the first k to the degree
//! `m = min(1, max(0, k - c) / w)`, so that `sum w m = min(k, sum w)`. That is the membership of a top k by a live score whose gaps
//! are infinitely many temperatures wide. Rows of equal keys have the place of the first of them in RANK.
//! Limit: exact when every w is 0 or 1. Gradient: linear, with kinks where a row is taken whole, or not at all.

use super::{Number, Workplace};
use crate::algebra::Ranking;
use crate::program::{Lanes, Value};
use crate::scalar::Binary;

/// A weight below it counts as this much where it divides.
const LEAST_WEIGHT: f64 = 1e-12;

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn place_in_order(&mut self, ranking: Ranking, weight: Option<Value>, label: &str) -> Number {
        let (graph, segments) = (self.graph(), self.segments());
        let weight = weight.unwrap_or_else(|| graph.number(1.0));
        let (one, least) = (graph.number(1.0), graph.number(LEAST_WEIGHT));
        let value = self.of_degrees([weight], |at, [weight]| {
            let through = graph.prefix_sums(weight, segments);
            let before = graph.subtract(through, weight);
            let Ranking::Among(k) = ranking else { return at.all.settle(graph.add(one, before)) };
            let left = graph.binary(Binary::Greatest, graph.subtract(graph.number(k as f64), before), graph.number(0.0));
            let taken = graph.divide(left, graph.binary(Binary::Greatest, weight, least));
            at.all.settle(graph.binary(Binary::Least, taken, one))
        });
        let place = !matches!(ranking, Ranking::Among(_));
        self.note(
            label,
            if place { "segment-select: 1 + running sum of weights" } else { "segment-select: rows until their weights add up" },
        );
        Number { value: if place { self.through(value) } else { value }, presence: None }
    }
}
