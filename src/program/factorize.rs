//! Sums over rows that read few others: what is live of a term is the same for all rows that read one row, so that it is taken out of
//! their sum. A sum over a join then touches each row of a dimension once. (Factorized aggregates: Olteanu, Schleich, SIGMOD
//! Record 2016.)

use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use crate::scalar::Binary;

/// How many rows read one, on the average, at the least.
const FEWEST_READERS: usize = 2;

/// A product of what is frozen (1 where there is none) and what is read through an index.
struct Term {
    frozen: Option<Value>,
    live: Value,
    index: Index,
}

impl Graph {
    /// Says that a run goes over samples of the rows, of which sums are not known before.
    pub fn sampled(&self) {
        self.0.borrow_mut().is_sampled = true;
    }

    pub fn is_sampled(&self) -> bool {
        self.0.borrow().is_sampled
    }

    /// The sum over all rows of a domain, if it is one over the rows that these read.
    pub(super) fn factorized_total(&self, x: Value, domain: Domain) -> Option<Value> {
        let term = self.term(x, domain)?;
        let parent = self.ends(term.index).1;
        Some(self.total(self.once_for_each(&term), parent))
    }

    /// The sum for each row of another domain, if all rows that read the same belong to the same.
    pub(super) fn factorized_sum(&self, x: Value, groups: Index) -> Option<Value> {
        let (child, to) = self.ends(groups);
        let term = self.term(x, child)?;
        let parent = self.ends(term.index).1;
        let of_parent = self.between(term.index, groups)?;
        let groups = self.index(parent, to, of_parent.into());
        Some(self.segment_sum(self.once_for_each(&term), groups))
    }

    /// The live part of each row that is read, times the sum of the frozen ones of the rows that read it.
    fn once_for_each(&self, term: &Term) -> Value {
        let sum = self.segment_sum(term.frozen.unwrap_or_else(|| self.number(1.0)), term.index);
        match (self.width(sum), self.width(term.live)) {
            (a, b) if a == b => self.multiply(sum, term.live),
            (1, _) => self.scale(sum, term.live),
            _ => self.scale(term.live, sum),
        }
    }

    fn term(&self, x: Value, domain: Domain) -> Option<Term> {
        if self.is_sampled() || self.is_product(domain) || self.is_frozen(x) {
            return None;
        }
        let gathered = |v: Value| self.gathered(v).filter(|(live, index)| self.reads_few(*live, *index));
        let part = |frozen: Value, v: Value| {
            let (live, index) = gathered(v).filter(|_| self.is_frozen(frozen) && self.domain_of(frozen) != ONE)?;
            Some(Term { frozen: Some(frozen), live, index })
        };
        match self.node(x).op {
            Op::Gather(..) => gathered(x).map(|(live, index)| Term { frozen: None, live, index }),
            Op::Binary(Binary::Multiply, a, b) => part(a, b).or_else(|| part(b, a)),
            Op::Scale(s, v) => part(s, v).or_else(|| part(v, s)),
            // What is gated is there where the gate is not 0, so that it must be finite to be weighed by it.
            Op::Binary(Binary::Gate, gate, v) if self.is_finite(v) => part(v, gate),
            _ => None,
        }
    }

    fn reads_few(&self, live: Value, index: Index) -> bool {
        let (child, parent) = self.ends(index);
        !self.is_frozen(live) && parent != ONE && self.is_written_down(index) && self.rows(parent) * FEWEST_READERS <= self.rows(child)
    }

    fn is_finite(&self, v: Value) -> bool {
        self.residual_slot(v).is_some_and(|slot| !self.0.borrow().infinite.contains(&slot))
    }

    /// The row of `groups` for each row that is read through `index`, if it is one.
    fn between(&self, index: Index, groups: Index) -> Option<Vec<u32>> {
        const NONE: u32 = u32::MAX;
        let nodes = self.0.borrow();
        let [index, groups] = [index, groups].map(|i| &nodes.indices[i.0 as usize]);
        let (rows, of) = (index.rows.stored()?, groups.rows.stored()?);
        let mut found = vec![NONE; nodes.domains[index.parent.0 as usize].rows];
        for (row, group) in rows.iter().zip(of.iter()) {
            let known = &mut found[*row as usize];
            if *known != NONE && known != group {
                return None;
            }
            *known = *group;
        }
        // What no row reads adds nothing to any.
        Some(found.into_iter().map(|group| if group == NONE { 0 } else { group }).collect())
    }

    /// A sum with one more term that is read through an index by which one of its terms is read already.
    pub(super) fn beside_its_like(&self, sum: Value, term: Value) -> Option<Value> {
        let (x, index) = self.gathered(term)?;
        let Op::Binary(Binary::Add, a, b) = self.node(sum).op else { return None };
        for (one, other) in [(a, b), (b, a)] {
            if let Some((y, same)) = self.gathered(one)
                && same == index
            {
                return Some(self.add(other, self.gather(self.add(y, x), index)));
            }
            if let Some(found) = self.beside_its_like(one, term) {
                return Some(self.add(found, other));
            }
        }
        None
    }
}
