//! MEDIAN, PERCENTILE_CONT, APPROX_MEDIAN, APPROX_PERCENTILE_CONT, and the same WITH_WEIGHT, a factor of a row's weight.
//!
//! Exact: with n rows that are present and not NULL, h = (n - 1) p and j = floor(h), the j-th and the next value in
//! ascending order (counted from 0), interpolated at h - j. Relaxed: n is `sum w`, and the j-th value is the root q of
//! `sum w F((q - x) / (T scale)) = j + 1/2`.
//! Limit: of the rows, j lie below q and the row at q counts F(0) = 1/2, so q goes to the j-th value. h moves with the weights
//! and the value is continuous in them, also where j steps. The approximate functions of SQL are estimates of the same number.
//! Gradient: by the implicit function theorem, for the values and for the weights.

use super::comparison::Boundary;
use super::{Number, Workplace};
use crate::algebra::Grouping;
use crate::program::{Lanes, Value};
use crate::scalar::{Binary, Unary};

impl<R: Lanes> Workplace<'_, R> {
    /// `rows` is the weight of each group.
    pub(super) fn quantile(&mut self, p: f64, x: Number, weight: Option<Value>, rows: Value, label: &str) -> Number {
        let graph = self.graph();
        let value = self.guarded(x, 0.0);
        let value = self.through(value);
        let weights = weight.unwrap_or_else(|| graph.number(1.0));
        let unit = self.unit(label, x, Boundary::Run);
        let between = self.between(p, value, weights, unit);
        if let Some(sharp) = self.sharp(unit) {
            let exact = self.between(p, value, self.twin(weights), sharp);
            self.with_twin(between, exact);
        }
        let between = self.through(between);
        let some = self.some(rows);
        let value = some.map_or(between, |some| graph.select(some, between, graph.number(0.0)));
        // A row may weigh more than 1, but is no more than there.
        let each = self.stage.grouping == Grouping::Each;
        let there = weight.filter(|_| each).map(|w| self.of_degrees([w], |at, [w]| at.all.graph.binary(Binary::Least, w, at.number(1.0))));
        Number { value, presence: self.presence_of_group(there, some) }
    }

    /// Between the two order statistics around the place.
    fn between(&mut self, p: f64, value: Value, weights: Value, unit: Value) -> Value {
        let (graph, segments, shape) = (self.graph(), self.segments(), self.all.softness.sigmoid);
        let rows = self.sum(weights);
        let (zero, half, one) = (graph.number(0.0), graph.number(0.5), graph.number(1.0));
        let h = graph.multiply(graph.binary(Binary::Greatest, graph.subtract(rows, one), zero), graph.number(p));
        let below = graph.unary(Unary::Floor, h);
        // The last value has half a row above it, or half of what there is.
        let least = graph.multiply(half, graph.binary(Binary::Least, rows, one));
        let statistic = |place: Value| {
            // F(-x) = 1 - F(x): the weight above q.
            let above = graph.subtract(graph.subtract(rows, place), half);
            graph.root(shape, value, weights, graph.binary(Binary::Greatest, above, least), unit, segments)
        };
        let (lower, upper) = (statistic(below), statistic(graph.add(below, one)));
        let share = graph.subtract(h, below);
        graph.add(graph.multiply(graph.complement(share), lower), graph.gate(share, upper))
    }
}
