//! MIN and MAX of a group, or of the frame of each row; FIRST_VALUE and LAST_VALUE of a group by a live order (arg-min and arg-max).
//!
//! Exact: the best value of the rows that are present and not NULL; the value of the row that an order puts first.
//! Relaxed: the expected best value, `sum x_(i) w_(i) prod (1 - w_(j))` with j over better rows, given that a row is present;
//! duplicates do not move it. With `smooth_max => true` mellowmax, `T scale ln(sum w exp(x / (T scale)) / sum w)`. The first
//! value is the mean of the values, weighted by the membership of a top 1.
//! Limit: exact for any T when every w is 0 or 1; mellowmax is below the maximum by at most `T scale ln(sum w)`.
//! Gradient: of that expectation: where all rows are present, only the best one has any.

use super::comparison::Boundary;
use super::{Number, Workplace};
use crate::algebra::{Aggregate, Expression, Order, Predicate};
use crate::program::{Lanes, Value};
use crate::scalar::Unary;

impl<R: Lanes> Workplace<'_, R> {
    /// `rows` is the weight of each group.
    pub(super) fn extremum(&mut self, aggregate: Aggregate, x: Number, weight: Option<Value>, rows: Value, label: &str) -> Number {
        let graph = self.graph();
        let negate = |x: Value| if aggregate == Aggregate::Min { graph.unary(Unary::Negate, x) } else { x };
        let value = self.guarded(x, 0.0);
        let value = negate(self.through(value));
        let (segments, weights) = (self.segments(), weight.unwrap_or_else(|| graph.number(1.0)));
        let some = self.some(rows);
        let expected = |at: &mut Self, [weights]: [Value; 1]| {
            let best = graph.extremum(value, weights, segments);
            if weight.is_none() { best } else { graph.divide(best, at.whole(Some(weights), some)) }
        };
        let best = if self.all.softness.smooth_max {
            let unit = self.unit(label, x, Boundary::Run);
            let best = graph.root(Unary::Exp, value, weights, rows, unit, segments);
            if self.all.softness.straight_through {
                let weights = self.twin(weights);
                let exact = expected(self, [weights]);
                self.with_twin(best, exact)
            } else {
                best
            }
        } else {
            self.of_degrees([weights], expected)
        };
        let best = self.through(best);
        let best = some.map_or(best, |some| graph.select(some, best, graph.number(0.0)));
        Number { value: negate(best), presence: self.presence_of_group(weight, some) }
    }

    /// The presence of a group, as a divisor.
    fn whole(&mut self, weight: Option<Value>, some: Option<Value>) -> Value {
        let graph = self.graph();
        let present = self.any_row(weight);
        some.map_or(present, |some| graph.select(some, present, graph.number(1.0)))
    }

    /// The value of the first row.
    pub(super) fn first(
        &mut self,
        value: &Expression,
        ignore_nulls: bool,
        order: &Order,
        filter: Option<&Predicate>,
        weight: Option<Value>,
        label: &str,
    ) -> Number {
        let graph = self.graph();
        let x = self.expression(value);
        let degree = filter.map(|p| self.truth(p));
        let weight = self.both(weight, degree);
        let weight = if ignore_nulls { self.both(weight, x.presence) } else { weight };
        let key = order.key.as_ref().expect("the order of a first value is live");
        let rows = self.scored(key, order, weight);
        let first = self.among(&rows, order, 1.0);
        let share = self.both(weight, Some(first)).unwrap_or(first);
        let known = self.both(Some(share), x.presence.filter(|_| !ignore_nulls)).unwrap_or(share);
        let (share, known, x) = (self.through(share), self.through(known), Number { value: self.through(x.value), ..x });
        let (all, sum) = (self.sum(share), self.sum(known));
        let is_number = graph.width(x.value) == 1;
        let total = self.sum(if is_number { graph.gate(known, x.value) } else { graph.scale(known, x.value) });
        let some = self.some(sum);
        let divisor = |whole: Value, some: Option<Value>| some.map_or(whole, |some| graph.select(some, whole, graph.number(1.0)));
        // NULL to the degree that the first row's value is.
        let some_row = self.some(all);
        let presence = if sum == all { some } else { Some(graph.divide(sum, divisor(all, some_row))) };
        self.note(label, "segment-select: mean weighted by a top 1, softmax, temperature of the run");
        let whole = divisor(sum, some);
        let mean = if is_number { graph.divide(total, whole) } else { graph.scale(graph.divide(graph.number(1.0), whole), total) };
        Number { value: mean, presence }
    }
}
