//! CASE WHEN p THEN x ... ELSE y END, and COALESCE.
//!
//! Exact: the first branch whose predicate is true. Relaxed: branches share by stick-breaking: the first takes d(p) of the
//! whole, the next its degree of what is left, ELSE the rest. A frozen predicate chooses exactly.
//! Limit: one share goes to 1. A branch of share 0 has no part in the value, whatever it holds. A branch that is NULL takes
//! its share of the presence instead, so that aggregates skip it to that degree.

use super::{Number, Workplace};
use crate::algebra::{Expression, Predicate};
use crate::error::Error;
use crate::program::{Lanes, Value};

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn case(&mut self, branches: &[(Predicate, Expression)], otherwise: &Expression) -> Number {
        let Some(((p, x), rest)) = branches.split_first() else { return self.expression(otherwise) };
        let frozen = matches!(p, Predicate::Frozen(_));
        let share = self.truth(p);
        if matches!(x, Expression::Null) {
            let rest = self.case(rest, otherwise);
            let left = self.not(share);
            return Number { value: rest.value, presence: self.both(rest.presence, Some(left)) };
        }
        let x = self.expression(x);
        if rest.is_empty() && matches!(otherwise, Expression::Null) {
            return Number { value: x.value, presence: self.both(x.presence, Some(share)) };
        }
        let rest = self.case(rest, otherwise);
        let (x, rest) = self.same_width(x, rest);
        let width = self.graph().width(x.value);
        let (value, presence) =
            if frozen { (self.choose(share, x.value, rest.value), self.choose_presence(share, x, rest)) } else { self.mix(share, x, rest) };
        debug_assert_eq!(width, self.graph().width(value));
        Number { value, presence }
    }

    /// The first value that is not NULL; later ones fill in to the degree that it is.
    pub(super) fn coalesce(&mut self, list: &[Expression]) -> Number {
        let Some((first, rest)) = list.split_first() else { return Number { value: self.number(0.0), presence: Some(self.number(0.0)) } };
        let x = self.expression(first);
        if x.presence.is_none() || rest.is_empty() {
            return x;
        }
        let rest = self.coalesce(rest);
        self.or(x, rest)
    }

    /// The first, and the second to the degree that the first is NULL.
    pub(super) fn or(&mut self, x: Number, rest: Number) -> Number {
        let Some(share) = x.presence else { return x };
        let (x, rest) = self.same_width(x, rest);
        self.mix(share, Number { value: x.value, presence: None }, rest).into()
    }

    /// Both values with as many elements as the longer one has. What is always NULL has any number of them.
    fn same_width(&mut self, a: Number, b: Number) -> (Number, Number) {
        let graph = self.graph();
        let widths = (graph.width(a.value), graph.width(b.value));
        let nowhere = |n: Number| graph.width(n.value) == 0 || n.presence.is_some_and(|p| graph.constant(p) == Some(0.0));
        let as_wide = |n: Number, width: usize| Number { value: graph.spread(graph.number(0.0), width), ..n };
        match widths {
            (x, y) if x == y => (a, b),
            (_, width) if nowhere(a) => (as_wide(a, width), b),
            (width, _) if nowhere(b) => (a, as_wide(b, width)),
            (x, y) => {
                let what = format!("dimension mismatch: the branches of a CASE or COALESCE have {x} and {y} elements");
                let error = Error::new(what).hint("give all branches the same number of elements");
                let other = self.all.refuse(error);
                (other, other)
            }
        }
    }

    fn choose(&mut self, mask: Value, a: Value, b: Value) -> Value {
        self.of_degrees([a, b], |at, [a, b]| at.all.graph.select(mask, a, b))
    }

    fn choose_presence(&mut self, mask: Value, a: Number, b: Number) -> Option<Value> {
        if a.presence.is_none() && b.presence.is_none() {
            return None;
        }
        let one = self.number(1.0);
        let presences = [a.presence.unwrap_or(one), b.presence.unwrap_or(one)];
        Some(self.of_degrees(presences, |at, [a, b]| {
            let chosen = at.all.graph.select(mask, a, b);
            at.all.settle(chosen)
        }))
    }

    /// `share * a + (1 - share) * b`, where each counts only to the degree that it is there.
    fn mix(&mut self, share: Value, a: Number, b: Number) -> (Value, Option<Value>) {
        let left = self.not(share);
        if a.presence.is_none() && b.presence.is_none() {
            let value = self.of_degrees([share, left, a.value, b.value], |at, [share, left, a, b]| {
                at.all.graph.add(at.part(share, a), at.part(left, b))
            });
            return (value, None);
        }
        let (of_a, of_b) = (self.both(Some(share), a.presence).unwrap_or(share), self.both(Some(left), b.presence).unwrap_or(left));
        let presence = self.of_degrees([of_a, of_b], |at, [a, b]| at.all.graph.add(a, b));
        let value = self.of_degrees([of_a, of_b, a.value, b.value], |at, [of_a, of_b, a, b]| {
            let graph = at.graph();
            let (presence, sum) = (graph.add(of_a, of_b), graph.add(at.part(of_a, a), at.part(of_b, b)));
            graph.scale(graph.divide(graph.number(1.0), at.divisor(presence)), sum)
        });
        (value, Some(presence))
    }

    fn part(&self, weight: Value, x: Value) -> Value {
        let graph = &self.all.graph;
        if graph.width(x) == 1 { graph.gate(weight, x) } else { graph.scale(weight, x) }
    }
}

impl From<(Value, Option<Value>)> for Number {
    fn from((value, presence): (Value, Option<Value>)) -> Self {
        Number { value, presence }
    }
}
