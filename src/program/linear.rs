//! Totals whose terms have a factor that is the same in all rows and known late: a root's share, the adjoint of another sum.
//! Such a factor is taken out, so that the rest is summed in an earlier pass, and no other pass over the rows is needed.

use super::graph::{Domain, Graph, ONE, Op, Value};
use super::segment::Segments;
use crate::scalar::{Binary, Unary};
use std::cell::Cell;

/// Totals that one may become, and values that are looked at to find them.
const MOST_TERMS: usize = 4;
const MOST_VALUES: usize = 100;

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
#[derive(Default)]
pub(super) struct Waits(Vec<u32>);

impl Waits {
    fn of(&mut self, graph: &Graph, x: Value) -> u32 {
        // Operands come before what is made of them.
        for next in self.0.len()..=x.0 as usize {
            let (next, op) = (Value(next as u32), graph.node(Value(next as u32)).op);
            let below = if graph.is_frozen(next) { 0 } else { op.operands().map(|v| self.0[v.0 as usize]).max().unwrap_or(0) };
            let ends_a_pass = matches!(op, Op::Total(..) | Op::Segment(_, Segments::All(_))) && !graph.is_frozen(next);
            self.0.push(below + u32::from(ends_a_pass));
        }
        self.0[x.0 as usize]
    }
}

impl Graph {
    /// The total over all rows as a sum of totals that are known earlier, each times what is known late; `None` where there is no such
    /// sum. A number that is added to the rows stays there: taken out, it would be the difference of two greater totals.
    pub(super) fn total_of_terms(&self, x: Value, domain: Domain, waits: &mut Waits) -> Option<Value> {
        let late = waits.of(self, x);
        let terms = if late == 0 { None } else { self.terms(x, late, waits, &Cell::new(MOST_VALUES)) }?;
        let known_earlier = terms.iter().all(|term| waits.of(self, term.rest) < late);
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

    fn terms(&self, x: Value, late: u32, waits: &Waits, left: &Cell<usize>) -> Option<Vec<Term>> {
        use Binary::{Add, AndNot, Divide, Gate, Multiply, SigmoidBack, Subtract};
        left.set(left.get().checked_sub(1)?);
        let is_late = |v: Value| waits.0[v.0 as usize] >= late;
        let is_factor = |v: Value| self.domain_of(v) == ONE && self.width(v) == 1;
        let of = |v: Value| self.terms(v, late, waits, left);
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
