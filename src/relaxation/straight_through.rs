//! `forward => 'exact'`: the value of the exact query with the gradient of the relaxed one (Bengio et al. 2013,
//! arXiv:1308.3432).
//!
//! Every degree has an exact twin, 0 or 1 (of a rank, the whole number). What is made of degrees - AND, the weight of a row,
//! the presence of a group, a CASE - has the twin that is made of their twins. Where such a value meets arithmetic it becomes
//! `stop(exact) + relaxed - stop(relaxed)`, which is the exact value to the last bit. So a conjunction passes on the gradient
//! of its relaxed product, however many of its conjuncts are false: one factor at a time, a single false one would stop the
//! gradients of all others.
//! Limit: the value is exact at any temperature; ties of a top-k are split evenly, as when relaxed.

use super::{Number, Workplace};
use crate::algebra::Expression;
use crate::program::{Lanes, Value};
use crate::scalar::Unary;

/// By how much sharper the twin of a top-k or of a rank is. The exact order is within the rounding of its scores.
const SHARPER: f64 = 1e12;

impl<R: Lanes> Workplace<'_, R> {
    /// The exact twin of a value; a value without one is its own.
    pub(super) fn twin(&self, v: Value) -> Value {
        self.all.twins.get(&v).copied().unwrap_or(v)
    }

    /// Declares the exact twin of a relaxed value.
    pub(super) fn with_twin(&mut self, relaxed: Value, exact: Value) -> Value {
        if relaxed != exact {
            self.all.twins.insert(relaxed, exact);
        }
        relaxed
    }

    fn has_twin(&self, v: Value) -> bool {
        self.all.twins.contains_key(&v)
    }

    /// Whether these are factors of a weight: each is relaxed, or frozen.
    pub(super) fn are_degrees(&self, values: [Value; 2]) -> bool {
        values.iter().any(|v| self.has_twin(*v)) && values.iter().all(|v| self.has_twin(*v) || self.all.graph.is_frozen(*v))
    }

    /// An operation over degrees, and the same over their twins.
    pub(super) fn of_degrees<const N: usize>(&mut self, degrees: [Value; N], make: impl Fn(&mut Self, [Value; N]) -> Value) -> Value {
        let relaxed = make(self, degrees);
        if !degrees.iter().any(|d| self.has_twin(*d)) {
            return relaxed;
        }
        let twins = degrees.map(|d| self.twin(d));
        let exact = make(self, twins);
        self.with_twin(relaxed, exact)
    }

    /// A value where it meets arithmetic: exact, with the gradient of the relaxed one.
    pub(super) fn through(&mut self, v: Value) -> Value {
        match self.all.twins.get(&v) {
            None => v,
            Some(&exact) => self.with_gradient_of(exact, v),
        }
    }

    fn with_gradient_of(&self, exact: Value, relaxed: Value) -> Value {
        let graph = &self.all.graph;
        graph.add(graph.detach(exact), graph.subtract(relaxed, graph.detach(relaxed)))
    }

    /// The weight of rows where it meets arithmetic.
    pub(super) fn weight_through(&mut self, weight: Option<Value>) -> Option<Value> {
        weight.map(|w| self.through(w))
    }

    /// A number with its presence, both as the exact query has them.
    pub(super) fn both_through(&mut self, number: Number) -> Number {
        Number { value: self.through(number.value), presence: self.weight_through(number.presence) }
    }

    /// A live number where it meets arithmetic.
    pub(super) fn numeric(&mut self, e: &Expression) -> Number {
        let number = self.expression(e);
        Number { value: self.through(number.value), ..number }
    }

    /// The unit of the gaps between scores, and of their twins' where there are any.
    pub(super) fn sharp(&mut self, unit: Value) -> Option<Value> {
        let graph = self.graph();
        self.all.softness.straight_through.then(|| graph.multiply(unit, graph.number(SHARPER)))
    }

    /// A step: its value is exact, and its slope is taken as 1.
    pub(super) fn step(&mut self, step: Unary, x: &Expression) -> Number {
        let graph = self.graph();
        let x = self.numeric(x);
        self.note(step.name(), "exact, with the gradient of its argument");
        Number { value: self.with_gradient_of(graph.unary(step, x.value), x.value), ..x }
    }
}
