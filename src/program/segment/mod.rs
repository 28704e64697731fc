//! `segment-select`: whole-segment operations, for what needs all rows of a segment at once and is no sum of them.
//!
//! A segment is the rows of a child domain that belong to one parent row, next to each other, or a whole domain at once.
//! These operations read stored columns and leave one: each is a step of its own between the passes.
//!
//! | operation | of a segment | adjoint |
//! |---|---|---|
//! | `root` | theta with `sum w F((s - theta) unit) = target` | by the implicit function theorem, a map and two segment sums |
//! | `pair_sums` | for each row i, `sum_j a_j F((s_j - s_i) unit)` | pair sums of F and of its slope |
//! | `extremum` | `sum_i x_i w_i prod_j (1 - w_j)`, j over the rows that are better | those products, and the extrema of the rows after each |
//! | `prefix_sums` | for each row the sum up to it | prefix sums from the other end |
//! | `stack` | its rows one after another, as one vector; segments are of one length | the same numbers as rows again |
//!
//! None can be composed of maps and sums: each depends on the order of the rows within the segment.

mod extremum;
mod pairs;
mod root;
mod shape;
mod step;

pub(super) use root::Sweeps;
pub(super) use step::{Scratch, Share, Step};

use super::graph::{Domain, Graph, Index, ONE, Op, Symbol, Value};
use crate::scalar::{Binary, Unary};

/// The rows of each parent row, which lie next to each other; or all rows of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Segments {
    Of(Index),
    All(Domain),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// Minus infinity where the weights cannot reach the target, infinity where nothing is to be reached.
    Root {
        scores: Value,
        weights: Value,
        target: Value,
        unit: Value,
        shape: Unary,
    },
    /// With `slope`, the slope of the shape in its place.
    Pairs {
        scores: Value,
        amounts: Value,
        unit: Value,
        shape: Unary,
        slope: bool,
    },
    /// The expected greatest value of each segment, from the chance of each row; a row that is absent counts nothing.
    Extremum {
        values: Value,
        weights: Value,
        chance: Value,
    },
    /// For each row, the degree to which no better row is present.
    Chance {
        values: Value,
        weights: Value,
    },
    /// For each row, the expected greatest value of the rows after it.
    Rest {
        values: Value,
        weights: Value,
    },
    Prefix {
        values: Value,
        backwards: bool,
    },
    /// Rows as one vector of their segment, or such vectors as rows: the numbers lie the same way.
    Stack {
        values: Value,
        unstacked: bool,
    },
}

impl Segment {
    pub fn operands(self) -> [Option<Value>; 4] {
        match self {
            Segment::Root { scores, weights, target, unit, .. } => [Some(scores), Some(weights), Some(target), Some(unit)],
            Segment::Pairs { scores, amounts, unit, .. } => [Some(scores), Some(amounts), Some(unit), None],
            Segment::Extremum { values, weights, chance } => [Some(values), Some(weights), Some(chance), None],
            Segment::Chance { values, weights } | Segment::Rest { values, weights } => [Some(values), Some(weights), None, None],
            Segment::Prefix { values, .. } | Segment::Stack { values, .. } => [Some(values), None, None, None],
        }
    }

    /// Whether it is infinite where a segment has no row.
    pub fn can_be_infinite(self) -> bool {
        matches!(self, Segment::Root { .. })
    }

    /// Whether there is one number for each segment, not one for each of its rows.
    pub fn is_of_parent(self) -> bool {
        matches!(self, Segment::Root { .. } | Segment::Extremum { .. } | Segment::Stack { unstacked: false, .. })
    }
}

impl Graph {
    /// Child and parent of segments.
    pub(super) fn sides(&self, segments: Segments) -> (Domain, Domain) {
        match segments {
            Segments::Of(index) => self.ends(index),
            Segments::All(domain) => (domain, ONE),
        }
    }

    /// For each segment, theta with `sum weight F((score - theta) unit) = target`, F being `shape`.
    pub fn root(&self, shape: Unary, scores: Value, weights: Value, target: Value, unit: Value, segments: Segments) -> Value {
        self.segment(Segment::Root { scores, weights, target, unit, shape }, segments)
    }

    /// For each row i, `sum_j amount_j F((score_j - score_i) unit)` over its segment, itself included.
    pub fn pair_sums(&self, shape: Unary, scores: Value, amounts: Value, unit: Value, segments: Segments) -> Value {
        self.segment(Segment::Pairs { scores, amounts, unit, shape, slope: false }, segments)
    }

    /// For each segment, the expected greatest value: `sum_i value_i weight_i prod_j (1 - weight_j)`, j over greater values.
    pub fn extremum(&self, values: Value, weights: Value, segments: Segments) -> Value {
        let chance = self.segment(Segment::Chance { values, weights }, segments);
        self.segment(Segment::Extremum { values, weights, chance }, segments)
    }

    /// For each row the sum up to it within its segment, itself included.
    pub fn prefix_sums(&self, values: Value, segments: Segments) -> Value {
        self.segment(Segment::Prefix { values, backwards: false }, segments)
    }

    /// The rows of each segment as one vector. All segments have as many rows.
    pub fn stack(&self, rows: Value, segments: Segments) -> Value {
        let (child, parent) = self.sides(segments);
        assert!(self.rows(child).is_multiple_of(self.rows(parent)), "segments are of one length");
        let length = self.rows(child) / self.rows(parent);
        if self.domain_of(rows) == ONE {
            return self.outer(self.spread(self.number(1.0), length), rows);
        }
        self.segment_of(Segment::Stack { values: rows, unstacked: false }, segments, length * self.width(rows))
    }

    /// The vector of each segment as its rows.
    fn unstack(&self, vectors: Value, segments: Segments) -> Value {
        let (child, parent) = self.sides(segments);
        let width = self.width(vectors) * self.rows(parent) / self.rows(child);
        self.segment_of(Segment::Stack { values: vectors, unstacked: true }, segments, width)
    }

    fn segment(&self, segment: Segment, segments: Segments) -> Value {
        self.segment_of(segment, segments, 1)
    }

    fn segment_of(&self, segment: Segment, segments: Segments, width: usize) -> Value {
        let (child, parent) = self.sides(segments);
        if let Segments::Of(index) = segments {
            assert!(self.0.borrow().indices[index.0 as usize].rows.is_sorted(), "the rows of a segment lie next to each other");
        }
        let domain = if segment.is_of_parent() { parent } else { child };
        self.push(domain, width, Op::Segment(segment, segments))
    }

    /// Brings a number of each segment to its rows.
    pub fn to_rows(&self, x: Value, segments: Segments) -> Value {
        if let Segments::Of(index) = segments { self.gather(x, index) } else { x }
    }

    /// Sum over the rows of each segment.
    pub fn over_rows(&self, x: Value, segments: Segments) -> Value {
        match segments {
            Segments::Of(index) => self.segment_sum(x, index),
            Segments::All(domain) => self.total(x, domain),
        }
    }
}

/// What each operand receives, over the operand's own domain.
pub(super) fn adjoints(graph: &Graph, value: Value, segment: Segment, segments: Segments, adjoint: Value) -> Vec<(Value, Value)> {
    let (child, parent) = graph.sides(segments);
    let contributions = match segment {
        Segment::Root { scores, weights, target, unit, shape } => {
            let margin = graph.multiply(graph.subtract(scores, graph.to_rows(value, segments)), unit);
            let degree = graph.unary(shape, margin);
            let slope = shape.slope(Symbol { graph, value: margin }, Symbol { graph, value: degree }).value;
            let slope = graph.gate(weights, slope);
            let whole = graph.over_rows(slope, segments);
            // Where every degree is flat, theta moves freely and nothing depends on it.
            let steep = graph.binary(Binary::Greater, whole, graph.number(0.0));
            let share = graph.select(steep, graph.divide(adjoint, graph.select(steep, whole, graph.number(1.0))), graph.number(0.0));
            let per_unit = graph.divide(share, unit);
            let spread = graph.to_rows(share, segments);
            vec![
                (scores, child, graph.gate(spread, slope)),
                (weights, child, graph.gate(graph.to_rows(per_unit, segments), degree)),
                (target, parent, graph.unary(Unary::Negate, per_unit)),
            ]
        }
        Segment::Pairs { scores, amounts, unit, shape, slope } => {
            assert!(!slope, "pair sums have no second derivative");
            let of = |amounts, slope| graph.segment(Segment::Pairs { scores, amounts, unit, shape, slope }, segments);
            let all = graph.to_rows(graph.over_rows(adjoint, segments), segments);
            let pulls = graph.subtract(graph.multiply(amounts, of(adjoint, true)), graph.multiply(adjoint, of(amounts, true)));
            // F(-x) = 1 - F(x).
            vec![(scores, child, graph.multiply(unit, pulls)), (amounts, child, graph.subtract(all, of(adjoint, false)))]
        }
        Segment::Extremum { values, weights, chance } => {
            let rest = graph.segment(Segment::Rest { values, weights }, segments);
            let share = graph.multiply(graph.to_rows(adjoint, segments), chance);
            let gain = graph.subtract(values, rest);
            vec![(values, child, graph.multiply(share, weights)), (weights, child, graph.multiply(share, gain))]
        }
        Segment::Chance { .. } | Segment::Rest { .. } => unreachable!("an extremum has no second derivative"),
        Segment::Prefix { values, backwards } => {
            vec![(values, child, graph.segment(Segment::Prefix { values: adjoint, backwards: !backwards }, segments))]
        }
        Segment::Stack { values, unstacked: false } => vec![(values, child, graph.unstack(adjoint, segments))],
        Segment::Stack { values, unstacked: true } => vec![(values, parent, graph.stack(adjoint, segments))],
    };
    let whole = |operand: Value, domain: Domain, x: Value| {
        let same_for_all = graph.domain_of(operand) == ONE && domain != ONE;
        if same_for_all { graph.total(x, domain) } else { x }
    };
    contributions.into_iter().map(|(operand, domain, x)| (operand, whole(operand, domain, x))).collect()
}

#[cfg(test)]
mod tests;
