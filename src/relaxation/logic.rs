//! AND, OR, NOT, IS NULL over degrees.
//!
//! Exact: Kleene's three-valued logic. Relaxed: every predicate has a degree of truth and a degree of falsity that sum
//! to its presence (1 - the degree of being NULL); NOT exchanges them, AND multiplies truths and joins falsities by noisy-or,
//! OR the other way round (product logic; Goedel's minimum and maximum and Lukasiewicz's bounded sums by `logic => ...`).
//! Limit: on 0 and 1 these are Kleene's tables. Gradient: of products, so every conjunct has one while the others hold.

use super::comparison::Boundary;
use super::{Logic, Number, Workplace};
use crate::algebra::Predicate;
use crate::program::{Lanes, Value};
use crate::scalar::Binary;

impl<R: Lanes> Workplace<'_, R> {
    /// The degree to which a predicate is true.
    pub(super) fn truth(&mut self, p: &Predicate) -> Value {
        self.degree(p, true, Boundary::Run)
    }

    /// The degree to which a predicate is true, or false; a NULL is neither.
    pub(super) fn degree(&mut self, p: &Predicate, truth: bool, boundary: Boundary) -> Value {
        match p {
            Predicate::Not(p) => self.degree(p, !truth, boundary),
            Predicate::And(a, b) | Predicate::Or(a, b) => {
                let (x, y) = (self.degree(a, truth, boundary), self.degree(b, truth, boundary));
                if matches!(p, Predicate::And(..)) == truth { self.all_of(x, y) } else { self.any_of(x, y) }
            }
            Predicate::Compare { comparison, left, right, label } => {
                let degree = self.comparison(*comparison, left, right, label, boundary);
                self.side(degree, truth)
            }
            Predicate::Frozen(slot) => {
                let degree = self.residual(*slot);
                let side = self.side(degree, truth);
                self.all.settle(side)
            }
            Predicate::Degree(e) => {
                let degree = self.expression(e);
                self.side(degree, truth)
            }
            Predicate::Known { truth: t, possible } => {
                let degree = self.expression(if truth { t } else { possible });
                self.side(degree, truth)
            }
            Predicate::IsNull(e) => {
                let presence = self.expression(e).presence.unwrap_or_else(|| self.number(1.0));
                if truth { self.not(presence) } else { presence }
            }
            Predicate::Hard(p) => self.degree(p, truth, Boundary::Hard),
            Predicate::Soft(p, t) => self.degree(p, truth, Boundary::Soft(*t)),
        }
    }

    /// A predicate as a value: its truth, and the degree to which it is not NULL, which is truth and falsity together.
    pub(super) fn truth_value(&mut self, p: &Predicate, boundary: Boundary) -> Number {
        match p {
            Predicate::Compare { comparison, left, right, label } => self.comparison(*comparison, left, right, label, boundary),
            Predicate::Frozen(slot) => self.residual(*slot),
            Predicate::Degree(e) => self.expression(e),
            Predicate::Hard(p) => self.truth_value(p, Boundary::Hard),
            Predicate::Soft(p, t) => self.truth_value(p, Boundary::Soft(*t)),
            Predicate::IsNull(_) => Number { value: self.degree(p, true, boundary), presence: None },
            Predicate::Not(p) => {
                let truth = self.truth_value(p, boundary);
                Number { value: self.not(truth.value), ..truth }
            }
            Predicate::And(a, b) | Predicate::Or(a, b) => {
                let truth = self.degree(p, true, boundary);
                let (a, b) = (self.truth_value(a, boundary), self.truth_value(b, boundary));
                if a.presence.is_none() && b.presence.is_none() {
                    return Number { value: truth, presence: None };
                }
                let falsity = self.degree(p, false, boundary);
                self.given(truth, falsity)
            }
            Predicate::Known { .. } => {
                let (truth, falsity) = (self.degree(p, true, boundary), self.degree(p, false, boundary));
                self.given(truth, falsity)
            }
        }
    }

    /// The truth of what is true or false, which it is to the degree of both together.
    fn given(&mut self, truth: Value, falsity: Value) -> Number {
        let presence = self.of_degrees([truth, falsity], |at, [t, f]| at.all.graph.add(t, f));
        let value = self.of_degrees([truth, presence], |at, [t, p]| at.all.graph.divide(t, at.divisor(p)));
        Number { value, presence: Some(presence) }
    }

    fn side(&mut self, degree: Number, truth: bool) -> Value {
        let value = if truth { degree.value } else { self.not(degree.value) };
        self.guarded(Number { value, ..degree }, 0.0)
    }

    /// 1 - a.
    pub(super) fn not(&mut self, a: Value) -> Value {
        self.of_degrees([a], |at, [a]| at.all.graph.complement(a))
    }

    fn all_of(&mut self, a: Value, b: Value) -> Value {
        let logic = self.all.softness.logic;
        self.of_degrees([a, b], |at, [a, b]| {
            let graph = at.graph();
            match logic {
                Logic::Product => graph.multiply(a, b),
                Logic::Godel => graph.binary(Binary::Least, a, b),
                Logic::Lukasiewicz => graph.binary(Binary::Greatest, graph.subtract(graph.add(a, b), graph.number(1.0)), graph.number(0.0)),
            }
        })
    }

    fn any_of(&mut self, a: Value, b: Value) -> Value {
        let logic = self.all.softness.logic;
        self.of_degrees([a, b], |at, [a, b]| {
            let graph = at.graph();
            match logic {
                Logic::Product => graph.subtract(graph.add(a, b), graph.multiply(a, b)),
                Logic::Godel => graph.binary(Binary::Greatest, a, b),
                Logic::Lukasiewicz => graph.binary(Binary::Least, graph.add(a, b), graph.number(1.0)),
            }
        })
    }
}
