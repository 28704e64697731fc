//! From one domain to another: gathers, and the sums that are their transposes.

use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use super::index::{Part, Rows};
use crate::buffer::Buffer;
use crate::scalar::{Binary, Unary};

impl Graph {
    pub fn gather(&self, x: Value, index: Index) -> Value {
        let node = self.node(x);
        if node.domain == ONE {
            return x;
        }
        let (child, parent) = self.ends(index);
        assert_eq!(node.domain, parent, "a gather reads its index's parent");
        if let Some((before, after)) = self.parts(index) {
            let between = self.gather(x, before);
            return self.gather(between, after);
        }
        match node.op {
            Op::Gather(x, before) if self.is_written_down(index) => self.gather(x, self.through(before, index)),
            _ => self.push(child, node.width as usize, Op::Gather(x, index)),
        }
    }

    pub(super) fn is_written_down(&self, index: Index) -> bool {
        self.0.borrow().indices[index.0 as usize].rows.stored().is_some()
    }

    /// The two indices that one through a factor of a cross product is made of.
    fn parts(&self, index: Index) -> Option<(Index, Index)> {
        let nodes = self.0.borrow();
        let is_computed = matches!(nodes.indices[index.0 as usize].rows, Rows::Cells(_));
        nodes.composed.iter().find(|(_, composed)| is_computed && **composed == index).map(|(parts, _)| *parts)
    }

    /// The rows that `before` reads, for the rows that read through `after`, as one index.
    pub fn through(&self, before: Index, after: Index) -> Index {
        if let Some(&known) = self.0.borrow().composed.get(&(before, after)) {
            return known;
        }
        let ((_, parent), (child, _)) = (self.ends(before), self.ends(after));
        let rows = {
            let nodes = self.0.borrow();
            let [first, second] = [before, after].map(|i| &nodes.indices[i.0 as usize].rows);
            match (first, second) {
                (Rows::Stored(of), Rows::Along { inner, rows, .. }) => {
                    Rows::Cells([Part { inner: *inner, rows: *rows, of: of.clone() }].into())
                }
                _ => Rows::Stored((0..second.len()).map(|row| first.at(second.at(row)) as u32).collect()),
            }
        };
        let index = self.add_index(child, parent, rows);
        self.0.borrow_mut().composed.insert((before, after), index);
        index
    }

    /// The row of `parent` for each row of a cross product: what its factors' rows add, by the index of each factor. The rows of
    /// combinations that are written down are written down too.
    pub fn cells(&self, child: Domain, parent: Domain, parts: &[(Index, Buffer<u32>)]) -> Index {
        let rows = {
            let nodes = self.0.borrow();
            let along = |index: &Index| &nodes.indices[index.0 as usize].rows;
            let computed = parts.iter().map(|(index, of)| match along(index) {
                Rows::Along { inner, rows, .. } => Some(Part { inner: *inner, rows: *rows, of: of.clone() }),
                _ => None,
            });
            match computed.collect::<Option<Vec<Part>>>() {
                Some(mut parts) => {
                    parts.sort_by_key(|part| std::cmp::Reverse(part.inner));
                    Rows::Cells(parts.into())
                }
                None => {
                    let at = |row: usize| parts.iter().map(|(index, of)| of[along(index).at(row)]).sum();
                    Rows::Stored((0..nodes.domains[child.0 as usize].rows).map(at).collect())
                }
            }
        };
        self.add_index(child, parent, rows)
    }

    /// Sum over the child rows of each parent row; a value of [`ONE`] counts once for each child row.
    pub fn segment_sum(&self, x: Value, index: Index) -> Value {
        let (child, parent) = self.ends(index);
        if parent == ONE {
            return self.total(x, child);
        }
        if let Some((before, after)) = self.parts(index) {
            return self.segment_sum(self.segment_sum(x, after), before);
        }
        let node = self.node(x);
        assert!(node.domain == child || node.domain == ONE, "a segment sum reads its index's child");
        let along = match self.0.borrow().indices[index.0 as usize].rows {
            Rows::Along { len, rows, .. } if node.domain == ONE => Some(rows / len),
            _ => None,
        };
        if let Some(each) = along {
            return self.scale(self.number(each as f64), x);
        }
        let written_out = || self.push(parent, node.width as usize, Op::SegmentSum(x, index));
        self.factorized_sum(x, index).unwrap_or_else(written_out)
    }

    /// Sum over all rows of a domain. What is the same in all rows is taken out of the sum.
    pub fn total(&self, x: Value, domain: Domain) -> Value {
        if domain == ONE {
            return x;
        }
        if self.domain_of(x) == ONE {
            let count = self.count(domain);
            return self.scale(count, x);
        }
        let (factor, rest) = self.factor(x);
        let written_out = || self.push(ONE, self.width(rest), Op::Total(rest, domain));
        let sum = self.factorized_total(rest, domain).unwrap_or_else(written_out);
        factor.map_or(sum, |f| self.scale(f, sum))
    }

    /// `x` as a factor that is the same in all rows, if it has one, times the rest.
    pub(super) fn factor(&self, x: Value) -> (Option<Value>, Value) {
        let uniform = |v: Value| self.domain_of(v) == ONE;
        let (factor, rest) = match self.node(x).op {
            _ if uniform(x) => return (None, x),
            Op::Unary(Unary::Negate, rest) => (self.number(-1.0), rest),
            Op::Binary(Binary::Multiply, factor, rest) | Op::Scale(factor, rest) if uniform(factor) && self.width(factor) == 1 => {
                (factor, rest)
            }
            Op::Binary(Binary::Multiply, rest, factor) if uniform(factor) && self.width(factor) == 1 => (factor, rest),
            Op::Binary(Binary::Divide, rest, divisor) if uniform(divisor) && self.width(divisor) == 1 => {
                (self.divide(self.number(1.0), divisor), rest)
            }
            _ => return (None, x),
        };
        match self.factor(rest) {
            (Some(inner), rest) => (Some(self.multiply(factor, inner)), rest),
            (None, rest) => (Some(factor), rest),
        }
    }
}
