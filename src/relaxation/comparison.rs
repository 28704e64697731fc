//! Comparison of live numbers.
//!
//! Exact: true or false by the sign of the gap `a - b`.
//! Relaxed: `F(gap / (T s))`, with F a distribution function, T the temperature and s the spread of the gaps when
//! training starts; `a = b` has the degree `exp(-(gap / (T s))^2 / 2)`.
//! Limit: for gap <> 0 and T -> 0 the degree goes to 0 or 1; with the logistic F the error is below `exp(-|gap| / (T s))`.
//! Gradient: that of F, so it is largest at the boundary and never exactly 0.

use super::{Gap, Number, STOPS, Workplace};
use crate::algebra::{Comparison, Expression, Stage};
use crate::program::{Lanes, Value};
use crate::scalar::{Binary, Unary};

/// The predicate's own softness, where it has one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Boundary {
    /// As the run says.
    Run,
    /// Exact forward, without gradient.
    Hard,
    /// At this temperature.
    Soft(f64),
}

impl<R: Lanes> Workplace<'_, R> {
    /// The degree of truth, and the degree to which neither side is NULL.
    pub(super) fn comparison(
        &mut self,
        comparison: Comparison,
        left: &Expression,
        right: &Expression,
        label: &str,
        boundary: Boundary,
    ) -> Number {
        let (a, b) = (self.numeric(left), self.numeric(right));
        let presence = self.both(a.presence, b.presence);
        let graph = self.graph();
        let (a, b) = if matches!(comparison, Comparison::Less | Comparison::LessEqual) { (b.value, a.value) } else { (a.value, b.value) };
        let exact = || match comparison {
            Comparison::Greater | Comparison::Less => graph.binary(Binary::Greater, a, b),
            Comparison::GreaterEqual | Comparison::LessEqual => graph.binary(Binary::GreaterEqual, a, b),
            Comparison::Equal => graph.binary(Binary::Equal, a, b),
            Comparison::NotEqual => graph.complement(graph.binary(Binary::Equal, a, b)),
        };
        if boundary == Boundary::Hard {
            self.note(format!("hard({label})"), STOPS);
            return Number { value: exact(), presence };
        }
        let gap = graph.subtract(a, b);
        graph.label(gap, label);
        let unit = self.unit(label, Number { value: gap, presence }, boundary);
        let temperature = if let Boundary::Soft(t) = boundary { t.to_string() } else { "of the run".into() };
        let shape = if matches!(comparison, Comparison::Equal | Comparison::NotEqual) { "gaussian" } else { self.shape() };
        self.note(label, format!("degree, {shape}, temperature {temperature}"));
        let margin = graph.multiply(gap, unit);
        let value = match comparison {
            Comparison::Equal => self.bump(margin),
            Comparison::NotEqual => {
                let equal = self.bump(margin);
                graph.complement(equal)
            }
            _ => graph.unary(self.all.softness.sigmoid, margin),
        };
        graph.label(value, label);
        let value = if self.all.softness.straight_through { self.with_twin(value, exact()) } else { value };
        Number { value, presence }
    }

    /// The name of the run's distribution function.
    pub(super) fn shape(&self) -> &'static str {
        match self.all.softness.sigmoid {
            Unary::Sigmoid => "logistic",
            other => other.name().trim_end_matches("_cdf"),
        }
    }

    /// 1 / (T s).
    pub(super) fn unit(&mut self, label: &str, gap: Number, boundary: Boundary) -> Value {
        let graph = self.graph();
        let temperature = match boundary {
            Boundary::Soft(t) => self.number(t),
            _ => self.all.temperature,
        };
        let Stage { origin, round, .. } = *self.stage;
        let is_known = |g: &&mut Gap| g.gaps[0].value == gap.value || (round > 1 && g.origin == origin && g.label == label);
        let slot = match self.all.gaps.iter_mut().find(is_known) {
            Some(known) => {
                if round > 1 {
                    known.gaps.push(gap);
                }
                known.scale
            }
            None => {
                let scale = self.all.softness.auto_scale.then(|| graph.setting().0);
                self.all.gaps.push(Gap { label: label.to_string(), gaps: vec![gap], origin, scale });
                scale
            }
        };
        let scale = slot.map_or_else(|| self.number(1.0), |slot| graph.setting_value(slot));
        graph.divide(self.number(1.0), graph.multiply(temperature, scale))
    }

    /// exp(-margin^2 / 2).
    fn bump(&mut self, margin: Value) -> Value {
        let graph = self.graph();
        graph.unary(Unary::Exp, graph.multiply(graph.number(-0.5), graph.multiply(margin, margin)))
    }
}
