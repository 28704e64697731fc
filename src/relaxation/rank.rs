//! ROW_NUMBER, RANK, DENSE_RANK, PERCENT_RANK, CUME_DIST, NTILE OVER (PARTITION BY frozen ORDER BY live), as live numbers.
//!
//! Exact: 1 + the number of rows that come before. Relaxed: `1 + sum_{j <> i} w_j F((s_j - s_i) / (T scale))`, the rank of a
//! row given that it is present; with n, the weight of the other rows, PERCENT_RANK is (rank - 1) / n and CUME_DIST is
//! rank / (1 + n). Rows whose score is NULL come first or last, exactly.
//! Limit: without ties, all five are exact, and ROW_NUMBER, RANK and DENSE_RANK are equal. Gradient: that of F.
//! Cost: all pairs of a partition; with `sigmoid => 'laplace'` a sort.

use super::Workplace;
use super::top_k::Scored;
use crate::algebra::{FactorGroups, Groups, Order, Ranking};
use crate::buffer::Buffer;
use crate::error::{Error, Place};
use crate::program::{Lanes, Value};
use crate::scalar::{Binary, Unary};

/// Pairs of rows that a step may compare.
const MOST_PAIRS: f64 = 4e9;

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn rank(&mut self, ranking: Ranking, rows: &Scored, order: &Order, weight: Option<Value>) -> Value {
        let graph = self.graph();
        let pairs = self.pairs();
        if pairs > MOST_PAIRS && self.all.softness.sigmoid != Unary::LaplaceCdf {
            let what = format!("a rank by {} compares {pairs:.1e} pairs of rows at each step", order.label);
            let error = Error::new(what).at(Place::Expression(order.label.clone()));
            return self.all.refuse(error.hint("RELAX (sigmoid => 'laplace') sorts instead, or rank within smaller partitions")).value;
        }
        let total = |x: Value| graph.to_rows(graph.over_rows(x, rows.segments), rows.segments);
        let earlier = graph.pair_sums(self.all.softness.sigmoid, rows.score, rows.scored, rows.unit, rows.segments);
        // A row meets itself with the degree F(0).
        let mut place = graph.subtract(earlier, graph.multiply(rows.scored, graph.number(0.5)));
        if let Some(unscored) = rows.unscored {
            let (all, own) = (total(unscored), unscored);
            let others = graph.subtract(all, own);
            let tied = match ranking {
                Ranking::RowNumber => graph.multiply(others, graph.number(0.5)),
                Ranking::CumeDist => others,
                _ => graph.number(0.0),
            };
            let (ahead_of_scored, ahead_of_unscored) = match (order.nulls_first, ranking) {
                (true, Ranking::DenseRank) => (graph.binary(Binary::Least, all, graph.number(1.0)), graph.number(0.0)),
                (true, _) => (all, graph.number(0.0)),
                (false, _) => (graph.number(0.0), total(rows.scored)),
            };
            let (scored, unscored) = (graph.add(place, ahead_of_scored), graph.add(ahead_of_unscored, tied));
            place = self.by_known(rows, scored, unscored);
        }
        if let Some(before) = rows.before {
            place = graph.add(place, graph.to_rows(before, rows.segments));
        }
        let one = graph.number(1.0);
        let weight = weight.unwrap_or(one);
        let others = graph.subtract(total(weight), weight);
        match ranking {
            Ranking::PercentRank => {
                let some = graph.binary(Binary::Greater, others, graph.number(0.0));
                graph.divide(graph.gate(some, place), graph.select(some, others, one))
            }
            Ranking::CumeDist => graph.divide(graph.add(place, one), graph.add(others, one)),
            _ => graph.add(place, one),
        }
    }

    /// NTILE(n): 1 + the degree to which a row is not in the first tile, nor in the first two, and so on. Earlier tiles have
    /// the rows that do not divide.
    pub(super) fn tile(&mut self, rows: &Scored, order: &Order, tiles: u64) -> Value {
        let (graph, sizes) = (self.graph(), self.sizes());
        let parent = self.groups.0;
        (1..tiles).fold(graph.number(1.0), |tile, number| {
            let first: Buffer<R> = sizes.iter().map(|n| R::of((number * (n / tiles) + number.min(n % tiles)) as f64)).collect();
            self.all.residuals.push(first);
            let first = graph.residual(self.all.residuals.len() as u32 - 1, parent, 1);
            let among = self.among_first(rows, order, first);
            graph.add(tile, graph.complement(among))
        })
    }

    /// Pairs of rows of the same partition.
    fn pairs(&self) -> f64 {
        self.sizes().iter().map(|n| (*n as f64).powi(2)).sum()
    }

    /// The number of rows of each partition.
    fn sizes(&self) -> Vec<u64> {
        match self.rows.groups.as_ref().and_then(Groups::of_one) {
            Some(FactorGroups { of_row, count, .. }) if !self.groups.1.is_empty() => {
                let mut sizes = vec![0; *count];
                of_row.iter().for_each(|p| sizes[*p as usize] += 1);
                sizes
            }
            _ => vec![self.rows.count() as u64],
        }
    }
}
