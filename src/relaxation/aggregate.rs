//! COUNT, SUM, AVG with FILTER, of numbers and of the elements of vectors, over groups of frozen keys or over all rows; the
//! presence of a group.
//!
//! Exact: over the rows that are present and not NULL. Relaxed: the weighted moments `sum w`, `sum w x`, `sum w x / sum w`;
//! a group is present to the degree 1 - prod(1 - w), as a sum of `ln(1 - w)`, or `sum w` where its rows exclude each other.
//! FILTER is a factor of the weight.
//! Limit: exact when every w is 0 or 1. What has weight 0 cannot spoil a sum, even where its value is not finite.
//! Gradient: of sums. The average of no weight at all is NULL.

use super::{Number, Workplace};
use crate::algebra::{Aggregate, Expression, Grouping, Predicate};
use crate::program::{Lanes, Value};
use crate::scalar::{Binary, Unary};

pub(super) fn became(aggregate: Aggregate, weighted: bool, smooth_max: bool) -> &'static str {
    match (aggregate, weighted) {
        (Aggregate::Count, _) => "segment-reduce: sum of weights",
        (Aggregate::Sum, true) => "segment-reduce: weighted sum",
        (Aggregate::Sum, false) => "segment-reduce: sum",
        (Aggregate::Avg, true) => "segment-reduce: weighted mean",
        (Aggregate::Avg, false) => "segment-reduce: mean",
        (Aggregate::Min | Aggregate::Max, _) if smooth_max => "segment-select: mellowmax, temperature of the run",
        (Aggregate::Min | Aggregate::Max, _) => "segment-select: expected extremum of the rows that are present",
        (Aggregate::Quantile(_), _) => "segment-select: order statistics as roots",
        (Aggregate::And, _) => "segment-reduce: product of (1 - weight * falsity)",
        (Aggregate::Or, _) => "segment-reduce: 1 - product of (1 - weight * truth)",
        (Aggregate::Presence, _) => "segment-reduce: 1 - product of (1 - weight)",
        (Aggregate::PresenceOfOne, _) => "segment-reduce: sum of the weights of rows that exclude each other",
        (Aggregate::Absence, _) => "segment-reduce: product of (1 - weight)",
    }
}

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn aggregate(
        &mut self,
        aggregate: Aggregate,
        argument: Option<&Expression>,
        filter: Option<&Predicate>,
        weight: Option<Value>,
        label: &str,
    ) -> Number {
        let graph = self.graph();
        let degree = filter.map(|p| self.truth(p));
        let weight = self.both(weight, degree);
        if matches!(aggregate, Aggregate::Presence | Aggregate::Absence) {
            let present = self.any_row(weight);
            let value = if aggregate == Aggregate::Presence { present } else { self.not(present) };
            return Number { value, presence: None };
        }
        if aggregate == Aggregate::PresenceOfOne {
            let weight = weight.unwrap_or_else(|| self.number(1.0));
            let present = self.of_degrees([weight], |at, [w]| {
                let sum = at.sum(w);
                at.all.graph.binary(Binary::Least, sum, at.number(1.0))
            });
            return Number { value: present, presence: None };
        }
        let x = argument.map(|e| self.expression(e));
        let weight = self.both(weight, x.and_then(|x| x.presence));
        let exact_weight = self.weight_through(weight);
        let rows = self.sum(exact_weight.unwrap_or_else(|| self.number(1.0)));
        let x =
            x.map(|x| if matches!(aggregate, Aggregate::And | Aggregate::Or) { x } else { Number { value: self.through(x.value), ..x } });
        match (aggregate, x) {
            (Aggregate::Min | Aggregate::Max, Some(x)) => self.extremum(aggregate, x, weight, rows, label),
            (Aggregate::Quantile(p), Some(x)) => self.quantile(p, x, weight, rows, label),
            (Aggregate::Sum, Some(x)) if self.stage.grouping == Grouping::Each => {
                let value = self.weighted(exact_weight, x.value);
                let sum = self.sum(value);
                self.given_a_row(sum, weight)
            }
            (Aggregate::And | Aggregate::Or, Some(x)) => {
                let side = if aggregate == Aggregate::Or { x.value } else { self.not(x.value) };
                let sided = weight.map_or(side, |w| self.of_degrees([w, side], |at, [w, side]| at.all.graph.multiply(w, side)));
                let any = self.any_row(Some(sided));
                if self.stage.grouping == Grouping::Each {
                    // To the degree that there is a row at all: of AND, that there is one and all are true.
                    let some = self.any_row(weight);
                    let both = if aggregate == Aggregate::Or {
                        any
                    } else {
                        self.of_degrees([some, any], |at, [some, any]| at.all.graph.subtract(some, any))
                    };
                    return self.given_a_row(both, weight);
                }
                let value = if aggregate == Aggregate::Or { any } else { self.not(any) };
                Number { value, presence: self.known(rows, degree, x.presence) }
            }
            (Aggregate::Sum, Some(x)) => {
                let value = self.weighted(exact_weight, x.value);
                let value = self.sum(value);
                let presence = self.known(rows, degree, x.presence);
                Number { value: self.scaled(value), presence }
            }
            (Aggregate::Avg, Some(x)) => {
                let value = self.weighted(exact_weight, x.value);
                let (sum, some) = (self.sum(value), self.some(rows));
                let whole = some.map_or(rows, |p| graph.select(p, rows, graph.number(1.0)));
                let presence = self.presence_of_group(weight, some);
                // Over a sample, a live weight is summed over the same rows; a frozen one is known for all.
                let sum = if graph.is_frozen(rows) { self.scaled(sum) } else { sum };
                Number { value: graph.scale(graph.divide(graph.number(1.0), whole), sum), presence }
            }
            _ => {
                let value = if graph.is_frozen(rows) { rows } else { self.scaled(rows) };
                Number { value, presence: None }
            }
        }
    }

    /// Whether a sum is not NULL. Over all soft rows it is NULL only where what is frozen leaves it none: with its weight it
    /// goes to 0. In a group, which other rows may keep present, it is NULL where nothing is left of its weight.
    fn known(&mut self, rows: Value, degree: Option<Value>, there: Option<Value>) -> Option<Value> {
        let graph = self.graph();
        let frozen = self.both(degree.filter(|d| graph.is_frozen(*d)), there.filter(|p| graph.is_frozen(*p)));
        match frozen {
            _ if graph.is_frozen(rows) => self.some(rows),
            _ if self.stage.grouping != Grouping::Whole && (degree.is_some() || there.is_some()) => self.some(rows),
            None if self.rows.count() > 0 => None,
            frozen => {
                let known = self.sum(frozen.unwrap_or_else(|| self.number(1.0)));
                self.some(known)
            }
        }
    }

    /// The degree to which a group has a row of these weights.
    pub(super) fn any_row(&mut self, weight: Option<Value>) -> Value {
        let graph = self.graph();
        match weight {
            None => self.number(if self.rows.count() > 0 { 1.0 } else { 0.0 }),
            Some(weight) => self.of_degrees([weight], |at, [weight]| {
                let absent = at.sum(graph.unary(Unary::LnOneMinus, weight));
                let present = graph.unary(Unary::OneMinusExp, absent);
                at.all.settle(present)
            }),
        }
    }

    /// The same as a presence: `None` where it is always 1.
    pub(super) fn present(&mut self, weight: Option<Value>) -> Option<Value> {
        let present = self.any_row(weight);
        (!self.all.is_all_one(present)).then_some(present)
    }

    /// The presence of a value that a group has where it has a row.
    pub(super) fn presence_of_group(&mut self, weight: Option<Value>, some: Option<Value>) -> Option<Value> {
        if self.stage.grouping == Grouping::Each { self.present(weight) } else { some }
    }

    /// A sum as the value that it has when there is a row, and the degree to which there is one: together the sum again.
    fn given_a_row(&mut self, sum: Value, weight: Option<Value>) -> Number {
        let presence = self.present(weight);
        let graph = self.graph();
        let value = presence
            .map_or(sum, |p| self.of_degrees([p, sum], |at, [p, sum]| graph.scale(graph.divide(graph.number(1.0), at.divisor(p)), sum)));
        Number { value, presence }
    }

    /// A degree to divide by: 1 in place of 0.
    pub(super) fn divisor(&self, degree: Value) -> Value {
        let graph = self.graph();
        let some = graph.binary(Binary::Greater, degree, graph.number(0.0));
        graph.select(some, degree, graph.number(1.0))
    }

    pub(super) fn weighted(&mut self, weight: Option<Value>, x: Value) -> Value {
        let graph = self.graph();
        match weight {
            None => x,
            Some(w) if graph.width(x) == 1 && !self.all.is_finite(x) => graph.gate(w, x),
            Some(w) => graph.scale(w, x),
        }
    }

    /// Sum over the rows of each group. What is frozen is summed once, now.
    pub(super) fn sum(&mut self, x: Value) -> Value {
        let graph = self.graph();
        let sum = match (self.groups.1.as_slice(), graph.constant(x)) {
            ([], Some(x)) => graph.number(x * self.rows.count() as f64),
            ([], None) => graph.total(x, self.domain),
            (way, _) => way.iter().fold(x, |sum, index| graph.segment_sum(sum, *index)),
        };
        self.all.settle(sum)
    }

    /// 1 where a sum of weights is not 0; `None` when it never is.
    pub(super) fn some(&mut self, rows: Value) -> Option<Value> {
        let some = self.all.graph.binary(Binary::Greater, rows, self.number(0.0));
        let settled = self.all.settle(some);
        (!self.all.is_all_one(settled)).then_some(settled)
    }

    pub(super) fn scaled(&mut self, sum: Value) -> Value {
        match self.sample_scale {
            Some(scale) => self.all.graph.scale(scale, sum),
            None => sum,
        }
    }
}
