//! ORDER BY live LIMIT k, `ROW_NUMBER() OVER (PARTITION BY frozen ORDER BY live) <= k`, DISTINCT ON.
//!
//! Exact: a row is kept when fewer than k rows of its partition come before it.
//! Relaxed: with s the score, greater for what comes first, a row is among the first k to the degree
//! `m = F((s - theta) / (T scale))`, theta being the root of `sum w m = min(k, sum w)`; its weight becomes `w m`. For k = 1,
//! `F(x) = min(1, exp(x))`: where all w are 1 that is the softmax of `s / (T scale)`, and no row gets more than its own weight.
//! Rows whose score is NULL come first or last as the ORDER BY says, and share what is left for them equally.
//! Limit: theta lies between the scores of the k-th and the next row, so m goes to 1 above it and to 0 below.
//! Gradient: by the implicit function theorem; a membership rises with its own score and falls with the others'.

use super::comparison::Boundary;
use super::{Number, Workplace};
use crate::algebra::{Expression, Order, Ranking};
use crate::program::{Lanes, Segments, Value};
use crate::scalar::{Binary, Unary};

/// The rows of a stage in an order by a live score.
pub(super) struct Scored {
    pub segments: Segments,
    /// Greater for what comes first; 0 where it is NULL.
    pub score: Value,
    /// The degree to which the score is not NULL.
    pub known: Option<Value>,
    /// Weights of the rows with a score, and of those without.
    pub scored: Value,
    pub unscored: Option<Value>,
    /// For each partition, how many rows of the SQL partition come before it.
    pub before: Option<Value>,
    pub unit: Value,
}

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn ranked(&mut self, ranking: Ranking, order: &Order, weight: Option<Value>, label: &str) -> Number {
        let Some(key) = &order.key else { return self.place_in_order(ranking, weight, label) };
        let rows = self.scored(key, order, weight);
        let exact = self.exactly(&rows);
        let ties = if order.ties_broken { "; later keys of the order only break ties" } else { "" };
        let became = match ranking {
            Ranking::Among(1) => "segment-select: top 1, softmax".to_string(),
            Ranking::Among(k) => format!("segment-select: top {k}, {}", self.shape()),
            Ranking::Tile(n) => format!("segment-select: {} memberships, {}", n - 1, self.shape()),
            _ => format!("segment-select: 1 + sum of {} degrees over pairs", self.shape()),
        };
        let of = |at: &mut Self, rows: &Scored, weight: Option<Value>| match ranking {
            Ranking::Among(k) => at.among_k(rows, order, k as f64),
            Ranking::Tile(n) => at.tile(rows, order, n),
            other => at.rank(other, rows, order, weight),
        };
        let mut value = of(self, &rows, weight);
        if let Some(exact) = exact {
            let weight = weight.map(|w| self.twin(w));
            let exact = of(self, &exact, weight);
            self.with_twin(value, exact);
            value = if matches!(ranking, Ranking::Among(_)) { value } else { self.through(value) };
        }
        self.note(label, format!("{became}, temperature of the run{ties}"));
        Number { value, presence: None }
    }

    pub(super) fn scored(&mut self, key: &Expression, order: &Order, weight: Option<Value>) -> Scored {
        let graph = self.graph();
        let key = self.numeric(key);
        let value = self.guarded(key, 0.0);
        let value = self.through(value);
        let score = if order.descending { value } else { graph.unary(Unary::Negate, value) };
        let unit = self.unit(&order.label, Number { value, presence: key.presence }, Boundary::Run);
        let weight = weight.unwrap_or_else(|| self.number(1.0));
        let absent = key.presence.map(|p| self.not(p));
        let scored = self.both(Some(weight), key.presence).unwrap_or(weight);
        let unscored = absent.and_then(|a| self.both(Some(weight), Some(a)));
        Scored { segments: self.segments(), score, known: key.presence, scored, unscored, before: self.before(order), unit }
    }

    /// The same rows as the exact query has them, where its values are wanted.
    fn exactly(&mut self, rows: &Scored) -> Option<Scored> {
        let unit = self.sharp(rows.unit)?;
        let twin = |v: Value| self.twin(v);
        Some(Scored { known: rows.known.map(twin), scored: twin(rows.scored), unscored: rows.unscored.map(twin), unit, ..*rows })
    }

    /// The partitions of the stage's rows.
    pub(super) fn segments(&self) -> Segments {
        match self.groups.1.as_slice() {
            [] => Segments::All(self.domain),
            [index] => Segments::Of(*index),
            [after, before, ..] => Segments::Of(self.graph().through(*before, *after)),
        }
    }

    /// A column that is the same for all rows of a partition, as a column of the partitions.
    fn before(&mut self, order: &Order) -> Option<Value> {
        let column = self.residual(order.before?).value;
        let graph = self.graph();
        let parent = self.groups.0;
        if self.groups.1.is_empty() {
            return Some(column);
        }
        let slot = graph.residual_slot(column)?;
        let of_row = self.rows.groups.as_ref()?.of_one()?.of_row.clone();
        let mut of_partition = vec![R::ZERO; graph.rows(parent)];
        for (row, &p) in of_row.iter().enumerate() {
            of_partition[p as usize] = self.all.residuals[slot as usize][row];
        }
        self.all.residuals.push(of_partition.into());
        Some(graph.residual(self.all.residuals.len() as u32 - 1, parent, 1))
    }

    /// The degree to which each row is among the first k, with its exact twin.
    pub(super) fn among(&mut self, rows: &Scored, order: &Order, k: f64) -> Value {
        let value = self.among_k(rows, order, k);
        match self.exactly(rows) {
            None => value,
            Some(exact) => {
                let exact = self.among_k(&exact, order, k);
                self.with_twin(value, exact)
            }
        }
    }

    fn among_k(&mut self, rows: &Scored, order: &Order, k: f64) -> Value {
        let graph = self.graph();
        let k = rows.before.map_or_else(|| graph.number(k), |before| graph.subtract(graph.number(k), before));
        self.among_first(rows, order, k)
    }

    /// The same, with a number of each partition.
    pub(super) fn among_first(&mut self, rows: &Scored, order: &Order, k: Value) -> Value {
        let graph = self.graph();
        let Some(unscored) = rows.unscored else { return self.membership(rows, order, k) };
        let (all_scored, all_unscored) = (graph.over_rows(rows.scored, rows.segments), graph.over_rows(unscored, rows.segments));
        let taken = if order.nulls_first { all_unscored } else { all_scored };
        let left = graph.subtract(k, taken);
        let (for_scored, for_unscored) = if order.nulls_first { (left, k) } else { (k, left) };
        let scored = self.membership(rows, order, for_scored);
        let some = graph.binary(Binary::Greater, all_unscored, graph.number(0.0));
        let share = graph.divide(for_unscored, graph.select(some, all_unscored, graph.number(1.0)));
        let share = graph.binary(Binary::Least, graph.binary(Binary::Greatest, share, graph.number(0.0)), graph.number(1.0));
        let share = graph.to_rows(share, rows.segments);
        self.by_known(rows, scored, share)
    }

    /// The first where the score is known, and the second where it is NULL.
    pub(super) fn by_known(&mut self, rows: &Scored, scored: Value, unscored: Value) -> Value {
        let graph = self.graph();
        match rows.known {
            None => scored,
            Some(known) if graph.is_frozen(known) => graph.select(known, scored, unscored),
            Some(known) => graph.add(graph.multiply(known, scored), graph.multiply(graph.complement(known), unscored)),
        }
    }

    fn membership(&mut self, rows: &Scored, order: &Order, k: Value) -> Value {
        let graph = self.graph();
        let first = graph.constant(k) == Some(1.0) && order.before.is_none();
        let shape = if first { Unary::ExponentialCdf } else { self.all.softness.sigmoid };
        let theta = graph.root(shape, rows.score, rows.scored, k, rows.unit, rows.segments);
        let margin = graph.multiply(graph.subtract(rows.score, graph.to_rows(theta, rows.segments)), rows.unit);
        graph.unary(shape, margin)
    }
}
