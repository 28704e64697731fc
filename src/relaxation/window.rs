//! SUM, AVG, COUNT over a frame of a frozen order; aggregates of a whole partition for each of its rows.
//!
//! Exact: over the rows of the frame, which the exact engine finds. Relaxed: `sum w x` and `sum w` over them, as the
//! difference of two running sums; AVG is their ratio, and SUM and AVG are NULL to the degree that the count is below 1.
//! Limit: exact when every w is 0 or 1. Gradient: linear; the adjoint of a running sum runs the other way.
//! Frames start at the partition's first row without any difference, so that nothing cancels.

use super::{Number, Workplace};
use crate::algebra::{Expression, Predicate, Running};
use crate::program::{Lanes, Value};

impl<R: Lanes> Workplace<'_, R> {
    /// What has run up to each row, or `through` it.
    pub(super) fn running(
        &mut self,
        running: Running,
        argument: Option<&Expression>,
        filter: Option<&Predicate>,
        weight: Option<Value>,
        through: bool,
        label: &str,
    ) -> Number {
        let graph = self.graph();
        let degree = filter.map(|p| self.truth(p));
        let x = argument.map(|e| self.numeric(e));
        let weight = self.both(weight, degree);
        let weight = self.both(weight, x.and_then(|x| x.presence));
        let weight = self.weight_through(weight);
        let added = match (running, x) {
            (Running::Sum, Some(x)) => self.weighted(weight, x.value),
            _ => weight.unwrap_or_else(|| graph.number(1.0)),
        };
        let sums = graph.prefix_sums(added, self.segments());
        let sums = self.all.settle(sums);
        let value = if through { sums } else { graph.subtract(sums, added) };
        self.note(label, "segment-select: difference of running sums");
        Number { value: self.all.settle(value), presence: None }
    }

    /// A number of each partition, for each of its rows.
    pub(super) fn for_each_row(&mut self, of_partition: Number) -> Number {
        let segments = self.segments();
        let mut spread = |x: Value| self.of_degrees([x], |at, [x]| at.all.graph.to_rows(x, segments));
        Number { value: spread(of_partition.value), presence: of_partition.presence.map(spread) }
    }
}
