//! Totals whose terms have a factor that is the same in all rows and known late: a root's share, the adjoint of another sum.
//! Such a factor is taken out, so that the rest is summed in an earlier pass, and no other pass over the rows is needed.

use super::graph::{Domain, Graph, ONE, Op, Value};
use super::segment::Segments;
use crate::scalar::{Binary, Unary};
use std::collections::HashMap;

/// Totals that one may become.
const MOST_TERMS: usize = 4;

/// A number that is the same in all rows.
#[derive(Clone, Copy, PartialEq)]
enum Factor {
    Times(Value),
    /// As of [`Graph::gate`]: 0 where it is 0, whatever it is multiplied with.
    Gate(Value),
}

/// A product of what is the same in all rows and the rest.
#[derive(Clone)]
struct Term {
    factors: Vec<Factor>,
    rest: Value,
}

/// For each value, how many passes over all rows of a domain have to end before it is known.
type Waits = HashMap<Value, u32>;

impl Graph {
    /// The total over all rows as a sum of totals that are known earlier, each times what is known late; `None` where there is no such
    /// sum. A number that is added to the rows stays there: taken out, it would be the difference of two greater totals.
    pub(super) fn total_of_terms(&self, x: Value, domain: Domain) -> Option<Value> {
        let mut waits = Waits::new();
        let late = self.wait(x, &mut waits);
        let terms = if late == 0 { None } else { self.terms(x, late, &waits) }?;
        let known_earlier = terms.iter().all(|term| self.wait(term.rest, &mut waits) < late);
        if !known_earlier || terms.len() > MOST_TERMS {
            return None;
        }
        let total = |term: Term| {
            let sum = self.total(term.rest, domain);
            term.factors.into_iter().fold(sum, |sum, factor| match factor {
                Factor::Times(factor) => self.scale(factor, sum),
                Factor::Gate(factor) => self.gate(self.spread(factor, self.width(sum)), sum),
            })
        };
        terms.into_iter().map(total).reduce(|a, b| self.add(a, b))
    }

    fn wait(&self, x: Value, known: &mut Waits) -> u32 {
        if let Some(&wait) = known.get(&x) {
            return wait;
        }
        let op = self.node(x).op;
        let below = if self.is_frozen(x) { 0 } else { op.operands().map(|v| self.wait(v, known)).max().unwrap_or(0) };
        let ends_a_pass = matches!(op, Op::Total(..) | Op::Segment(_, Segments::All(_))) && !self.is_frozen(x);
        let wait = below + u32::from(ends_a_pass);
        known.insert(x, wait);
        wait
    }

    fn terms(&self, x: Value, late: u32, waits: &Waits) -> Option<Vec<Term>> {
        use Binary::{Add, AndNot, Divide, Gate, Multiply, SigmoidBack, Subtract};
        let is_late = |v: Value| waits[&v] >= late;
        let is_factor = |v: Value| self.domain_of(v) == ONE && self.width(v) == 1;
        let of = |v: Value| self.terms(v, late, waits);
        // x, in which `operand` is the one late operand, and which is linear in it.
        let through = |operand: Value, make: &dyn Fn(Value) -> Value| {
            let rebuilt = |term: Term| Term { rest: make(term.rest), ..term };
            Some(of(operand)?.into_iter().map(rebuilt).collect())
        };
        let negated = |v: Value| self.unary(Unary::Negate, v);
        match self.node(x).op {
            _ if !is_late(x) => {
                let (factor, rest) = self.factor(x);
                Some(vec![Term { factors: factor.map(Factor::Times).into_iter().collect(), rest }])
            }
            _ if self.domain_of(x) == ONE => None,
            Op::Unary(Unary::Negate, a) => through(a, &negated),
            Op::Sum(a) => through(a, &|a| self.sum(a)),
            Op::Binary(Add, a, b) => Some(self.merged([of(a)?, of(b)?].concat())),
            Op::Binary(Subtract, a, b) => Some(self.merged([of(a)?, through(b, &negated)?].concat())),
            Op::Binary(Multiply, u, v) | Op::Scale(u, v) if is_factor(u) => Some(times(Factor::Times(u), of(v)?)),
            Op::Binary(Multiply, v, u) if is_factor(u) => Some(times(Factor::Times(u), of(v)?)),
            Op::Binary(Gate, u, v) if is_factor(u) => Some(times(Factor::Gate(u), of(v)?)),
            Op::Binary(f @ (Multiply | Gate), a, b) if !is_late(a) => through(b, &|b| self.binary(f, a, b)),
            Op::Binary(f @ (Multiply | Divide | SigmoidBack | AndNot), a, b) if !is_late(b) => through(a, &|a| self.binary(f, a, b)),
            Op::Scale(a, b) if !is_late(a) => through(b, &|b| self.scale(a, b)),
            Op::Scale(a, b) if !is_late(b) => through(a, &|a| self.scale(a, b)),
            Op::Dot(a, b) if !is_late(a) => through(b, &|b| self.dot(a, b)),
            Op::Dot(a, b) if !is_late(b) => through(a, &|a| self.dot(a, b)),
            _ => None,
        }
    }

    /// One term for each product of factors.
    fn merged(&self, terms: Vec<Term>) -> Vec<Term> {
        let mut merged: Vec<Term> = vec![];
        for term in terms {
            match merged.iter_mut().find(|known| known.factors == term.factors) {
                Some(known) => known.rest = self.add(known.rest, term.rest),
                None => merged.push(term),
            }
        }
        merged
    }
}

fn times(factor: Factor, mut terms: Vec<Term>) -> Vec<Term> {
    terms.iter_mut().for_each(|term| term.factors.push(factor));
    terms
}
