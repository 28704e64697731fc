//! VAR, STDDEV, COVAR, CORR and REGR_*: moments about the mean.
//!
//! Exact: over the rows of a group where neither value is NULL. Relaxed: with weights w and the means mx = sum w x / sum w
//! and my, the sums sum w (x - mx)^2, sum w (x - mx)(y - my), sum w (y - my)^2, each over all the weight n for the population.
//! Over a sample they are divided by sum w (n - w) / n, which is n - 1 when every w is 0 or 1 and does not change when all
//! weights are halved. Centred first, so that nothing is left of the difference of two large sums.
//! Limit: exact; NULL where no weight is, for a sample where one row has it all, for a slope or a correlation where nothing varies.
//! Gradient: of sums; that of a root is taken as 0 at 0, its kink.

use super::{Number, Workplace};
use crate::algebra::{Expression, Grouping, Moment, Predicate};
use crate::program::{Lanes, Value};
use crate::scalar::{Binary, Unary};

pub(super) fn became(moment: Moment) -> String {
    format!("segment-reduce: weighted means, then {} about them", moment.name())
}

/// Sums over the rows of each group, about the means.
struct Sums {
    /// Weight of the group, 1 where it is 0.
    whole: Value,
    mean_x: Value,
    mean_y: Value,
    xx: Value,
    xy: Value,
    yy: Value,
    /// Whether x, and y, varies.
    x_varies: Value,
    y_varies: Value,
}

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn moment(
        &mut self,
        moment: Moment,
        x: &Expression,
        y: &Expression,
        filter: Option<&Predicate>,
        weight: Option<Value>,
    ) -> Number {
        use Moment::*;
        let graph = self.graph();
        let degree = filter.map(|p| self.truth(p));
        let (x, y) = (self.numeric(x), self.numeric(y));
        let there = self.both(x.presence, y.presence);
        let weight = self.both(weight, degree);
        let degree = self.both(weight, there);
        let weight = self.weight_through(degree);
        let n = self.sum(weight.unwrap_or_else(|| self.number(1.0)));
        if moment == RegressionCount {
            let value = if graph.is_frozen(n) { n } else { self.scaled(n) };
            return Number { value, presence: None };
        }
        let sums = self.sums(x, y, weight, n);
        let population = |sum: Value| graph.divide(sum, sums.whole);
        let (value, also) = match moment {
            VariancePopulation => (population(sums.xx), None),
            DeviationPopulation => (self.root(population(sums.xx)), None),
            CovariancePopulation => (population(sums.xy), None),
            VarianceSample | DeviationSample | CovarianceSample => {
                let (freedom, some) = self.freedom(weight, n, sums.whole);
                let value = graph.divide(if moment == CovarianceSample { sums.xy } else { sums.xx }, freedom);
                (if moment == DeviationSample { self.root(value) } else { value }, some)
            }
            Correlation => {
                let both = graph.multiply(self.root(sums.xx), self.root(sums.yy));
                let vary = graph.multiply(sums.x_varies, sums.y_varies);
                (graph.divide(sums.xy, graph.select(vary, both, self.number(1.0))), Some(vary))
            }
            RegressionSlope => (self.slope(&sums), Some(sums.x_varies)),
            RegressionIntercept => {
                let rise = graph.multiply(self.slope(&sums), sums.mean_x);
                (graph.subtract(sums.mean_y, rise), Some(sums.x_varies))
            }
            RegressionR2 => {
                let vary = graph.multiply(sums.x_varies, sums.y_varies);
                let both = graph.select(vary, graph.multiply(sums.xx, sums.yy), self.number(1.0));
                (graph.divide(graph.multiply(sums.xy, sums.xy), both), Some(vary))
            }
            RegressionAvgX => (sums.mean_x, None),
            RegressionAvgY => (sums.mean_y, None),
            RegressionSxx => (self.scaled(sums.xx), None),
            RegressionSxy => (self.scaled(sums.xy), None),
            RegressionSyy => (self.scaled(sums.yy), None),
            RegressionCount => unreachable!("a count has no mean"),
        };
        let some = if self.stage.grouping == Grouping::Each { self.present(degree) } else { self.some(n) };
        let also = also.map(|v| self.all.settle(v)).filter(|v| !self.all.is_all_one(*v));
        Number { value, presence: self.both(some, also) }
    }

    fn sums(&mut self, x: Number, y: Number, weight: Option<Value>, n: Value) -> Sums {
        let graph = self.graph();
        let some = graph.binary(Binary::Greater, n, self.number(0.0));
        let whole = graph.select(some, n, self.number(1.0));
        let whole = self.all.settle(whole);
        let mean = |at: &mut Self, v: Value| {
            let weighted = at.weighted(weight, v);
            let sum = at.sum(weighted);
            // Over a sample, a live weight is summed over the same rows; a frozen one is known for all.
            let sum = if graph.is_frozen(n) { at.scaled(sum) } else { sum };
            graph.divide(sum, whole)
        };
        let (mean_x, mean_y) = (mean(self, x.value), mean(self, y.value));
        let (of_x, of_y) = (self.of_group(mean_x), self.of_group(mean_y));
        let (dx, dy) = (graph.subtract(x.value, of_x), graph.subtract(y.value, of_y));
        let product = |at: &mut Self, a: Value, b: Value| {
            let weighted = at.weighted(weight, graph.multiply(a, b));
            let sum = at.sum(weighted);
            if graph.is_frozen(n) { at.scaled(sum) } else { sum }
        };
        let (xx, xy, yy) = (product(self, dx, dx), product(self, dx, dy), product(self, dy, dy));
        let (x_varies, y_varies) = (self.varies(xx, mean_x, whole), self.varies(yy, mean_y, whole));
        Sums { whole, mean_x, mean_y, xx, xy, yy, x_varies, y_varies }
    }

    /// Whether a sum of squares is more than what is left of rounding the mean.
    fn varies(&mut self, squares: Value, mean: Value, whole: Value) -> Value {
        let graph = self.graph();
        let rounding = graph.multiply(self.number(if size_of::<R>() == 4 { 1e-6 } else { 1e-14 }), mean);
        let least = graph.multiply(whole, graph.multiply(rounding, rounding));
        graph.binary(Binary::Greater, squares, least)
    }

    /// The divisor of a sample, and where there is one.
    fn freedom(&mut self, weight: Option<Value>, n: Value, whole: Value) -> (Value, Option<Value>) {
        let graph = self.graph();
        let w = weight.unwrap_or_else(|| self.number(1.0));
        let others = graph.divide(graph.subtract(self.of_group(n), w), self.of_group(whole));
        let freedom = self.sum(graph.multiply(w, others));
        let some = graph.binary(Binary::Greater, freedom, self.number(0.0));
        (graph.select(some, freedom, self.number(1.0)), Some(some))
    }

    fn slope(&mut self, sums: &Sums) -> Value {
        let graph = self.graph();
        graph.divide(sums.xy, graph.select(sums.x_varies, sums.xx, self.number(1.0)))
    }

    /// The square root, whose slope at 0 is taken as 0.
    fn root(&mut self, x: Value) -> Value {
        let graph = self.graph();
        let some = graph.binary(Binary::Greater, x, graph.number(0.0));
        let root = graph.unary(Unary::Sqrt, graph.select(some, x, graph.number(1.0)));
        graph.select(some, root, graph.number(0.0))
    }

    /// A value of each group, for the rows of the group.
    fn of_group(&self, value: Value) -> Value {
        let graph = self.graph();
        self.groups.1.iter().rev().fold(value, |value, index| graph.gather(value, *index))
    }
}
