//! Elementwise operations that are computed as one: what only one other operation reads is never written out.

use super::assembler::Assembler;
use super::graph::{ONE, Op, Value};
use crate::scalar::{Binary, Unary};
use std::collections::{BTreeSet, HashMap};

/// What is computed as one in a pass.
#[derive(Default)]
pub(super) struct Fused {
    /// By the outermost value of each.
    pub actions: HashMap<Value, Fusion>,
    /// By the product that is summed.
    pub totals: HashMap<Value, WeighedTotals>,
    /// Values inside of these, which need no register.
    pub inner: BTreeSet<Value>,
}

#[derive(Clone, Copy)]
pub(super) enum Fusion {
    /// function((left - right) * unit), where the unit is the same for all rows.
    Degree { function: Unary, left: Value, right: Value, unit: Value },
    /// a * b * c
    Product(Value, Value, Value),
    /// a * b + c, where `a` may be the same for all rows.
    MultiplyAdd(Value, Value, Value),
}

/// The total over all rows of `function(a, b)` times a weight, and the total without the weight if it is summed too.
#[derive(Clone, Copy)]
pub(super) struct WeighedTotals {
    pub function: Binary,
    pub a: Value,
    pub b: Value,
    pub weight: Value,
    pub weighed: Value,
    pub plain: Option<Value>,
}

impl Fusion {
    pub fn leaves(self) -> [Value; 3] {
        match self {
            Fusion::Degree { left, right, unit, .. } => [left, right, unit],
            Fusion::Product(a, b, c) | Fusion::MultiplyAdd(a, b, c) => [a, b, c],
        }
    }
}

/// Finds what a pass may compute as one.
pub(super) struct Finder<'a> {
    pass: &'a Assembler<'a>,
    /// Values that some operation of the pass reads, or that are stored.
    read: BTreeSet<Value>,
    /// The operation that reads a value, where there is one and nothing else needs the value.
    only_reader: HashMap<Value, Option<Value>>,
    /// The sums of each value.
    sums: &'a HashMap<Value, Vec<Value>>,
}

impl<'a> Finder<'a> {
    /// `unwritten` are values that need no register anyway.
    pub fn find(
        pass: &'a Assembler<'a>,
        body: &[Value],
        stores: &[Value],
        sums: &'a HashMap<Value, Vec<Value>>,
        unwritten: &BTreeSet<Value>,
    ) -> Fused {
        let mut only_reader: HashMap<Value, Option<Value>> = HashMap::new();
        for &reader in body {
            for operand in pass.graph.node(reader).op.operands().collect::<BTreeSet<_>>() {
                only_reader.entry(operand).and_modify(|r| *r = None).or_insert(Some(reader));
            }
        }
        let read = only_reader.keys().chain(stores).copied().collect();
        only_reader.retain(|v, _| body.contains(v) && !stores.contains(v));
        let finder = Finder { pass, read, only_reader, sums };
        let mut fused = Fused::default();
        // From the outermost inwards, so that a value inside of one is not the outermost of another.
        for &v in body.iter().rev().filter(|_| pass.domain != ONE) {
            if let Some((totals, inner)) = finder.totals(v) {
                fused.inner.extend([v, inner]);
                fused.totals.insert(v, totals);
            } else if let Some((fusion, inner)) = finder.action(v).filter(|_| !fused.inner.contains(&v) && !unwritten.contains(&v)) {
                fused.inner.extend(inner);
                fused.actions.insert(v, fusion);
            }
        }
        fused
    }

    fn op(&self, v: Value) -> Op {
        self.pass.graph.node(v).op
    }

    fn is_uniform(&self, v: Value) -> bool {
        self.pass.graph.domain_of(v) == ONE
    }

    /// Whether nothing but `reader` needs the value, once.
    fn only_for(&self, v: Value, reader: Value) -> bool {
        let twice = self.op(reader).operands().filter(|o| *o == v).count() > 1;
        !twice && self.only_reader.get(&v) == Some(&Some(reader)) && !self.sums.contains_key(&v)
    }

    fn action(&self, top: Value) -> Option<(Fusion, Vec<Value>)> {
        match self.op(top) {
            Op::Unary(function @ (Unary::Sigmoid | Unary::LaplaceCdf), margin) => self.degree(top, function, margin),
            Op::Binary(Binary::Multiply, a, b) => [(a, b), (b, a)].into_iter().find_map(|(product, c)| {
                let (p, q) = self.product_for(product, top)?;
                let flat = ![p, q, c].into_iter().any(|v| self.is_uniform(v));
                flat.then(|| (Fusion::Product(p, q, c), vec![product]))
            }),
            Op::Binary(Binary::Add, a, b) => [(a, b), (b, a)].into_iter().find_map(|(product, c)| {
                let (p, q) = self.product_for(product, top)?;
                let (p, q) = if self.is_uniform(q) { (q, p) } else { (p, q) };
                let uniform_number = self.is_uniform(p) && self.pass.graph.width(p) == 1;
                let fits = !self.is_uniform(q) && !self.is_uniform(c) && (!self.is_uniform(p) || uniform_number);
                fits.then(|| (Fusion::MultiplyAdd(p, q, c), vec![product]))
            }),
            _ => None,
        }
    }

    /// The factors of a product that only `reader` needs.
    fn product_for(&self, v: Value, reader: Value) -> Option<(Value, Value)> {
        match self.op(v) {
            Op::Binary(Binary::Multiply, a, b) if self.only_for(v, reader) => Some((a, b)),
            _ => None,
        }
    }

    fn degree(&self, top: Value, function: Unary, margin: Value) -> Option<(Fusion, Vec<Value>)> {
        let (a, b) = self.product_for(margin, top)?;
        let (gap, unit) = if self.is_uniform(b) { (a, b) } else { (b, a) };
        let Op::Binary(Binary::Subtract, left, right) = self.op(gap) else { return None };
        let fits = self.is_uniform(unit) && self.pass.graph.width(top) == 1 && self.only_for(gap, margin);
        fits.then(|| (Fusion::Degree { function, left, right, unit }, vec![margin, gap]))
    }

    /// `v` as a weight times a value that only `v` and totals read, and that value.
    fn totals(&self, v: Value) -> Option<(WeighedTotals, Value)> {
        let Op::Binary(Binary::Multiply, x, y) = self.op(v) else { return None };
        let is_read = self.read.contains(&v);
        let weighed = self.one_total(v)?;
        [(x, y), (y, x)].into_iter().find_map(|(value, weight)| {
            let Op::Binary(function @ (Binary::Multiply | Binary::AndNot), a, b) = self.op(value) else { return None };
            let alone = x != y && !is_read && self.only_reader.get(&value) == Some(&Some(v));
            let plain = if self.sums.contains_key(&value) { Some(self.one_total(value)?) } else { None };
            let flat = self.pass.graph.width(v) == 1 && ![a, b, weight].into_iter().any(|o| self.is_uniform(o));
            (alone && flat).then_some((WeighedTotals { function, a, b, weight, weighed, plain }, value))
        })
    }

    /// The one sum of a value, if it is over all rows.
    fn one_total(&self, v: Value) -> Option<Value> {
        match self.sums.get(&v)?.as_slice() {
            [sum] if matches!(self.op(*sum), Op::Total(..)) => Some(*sum),
            _ => None,
        }
    }
}
