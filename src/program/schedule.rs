//! From a graph to passes: which values one sweep over a domain computes together, in which order,
//! and what it leaves behind. It never touches a number.
//!
//! A value computed in a pass lives in a register for a chunk of rows. It is stored only when another
//! domain reads it, when it is an output, or when a later pass would have to repeat a heavy operation;
//! everything else is recomputed. So memory is the boundaries between stages, not a tape.

use super::assembler::Assembler;
use super::convolution::{Convolution, Part};
use super::graph::{Domain, Graph, Index, Op, Value};
use super::pooling::Pooling;
use crate::scalar::{Binary, Unary};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where an instruction reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    /// A register of this pass.
    Register(u32),
    /// A stored value over this domain.
    Column(Value),
    /// A stored value over another domain, through an index.
    Gathered(Value, Index),
    /// A stored value of one row, the same for all rows.
    Uniform(Value),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Load(Operand),
    Unary(Unary, Operand),
    Binary(Binary, Operand, Operand),
    Select(Operand, Operand, Operand),
    /// sigmoid((left - right) * unit): the degree of a comparison, in one operation.
    Degree(Operand, Operand, Operand),
    /// a * b * c, in one operation.
    Product(Operand, Operand, Operand),
    /// a * b + c, in one operation.
    MultiplyAdd(Operand, Operand, Operand),
    Dot(Operand, Operand),
    Scale(Operand, Operand),
    Sum(Operand),
    Greatest(Operand),
    Spread(Operand),
    MatVec(Operand, Operand),
    MatTransVec(Operand, Operand),
    Outer(Operand, Operand),
    Convolve(Convolution, Part, Operand, Operand),
    Pick(Pooling, Operand, Operand),
    Place(Pooling, Operand, Operand),
}

/// What a sum adds up for each row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Term {
    Plain(Operand),
    /// A number times a number or a vector, never written out.
    Scaled(Operand, Operand),
    /// Column times row, never written out.
    Outer(Operand, Operand),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Instruction {
    /// Computes a register of `width` numbers a row from operands of `inner` numbers a row.
    Compute { action: Action, into: u32, width: u32, inner: u32 },
    /// Leaves a value behind, as number `place` of the pass's stores.
    Store { from: Operand, place: u32, width: u32 },
    /// Adds to number `place` of the pass's sums; `columns` is the width of an outer product's row.
    Add { term: Term, index: Option<Index>, place: u32, width: u32, columns: u32 },
    /// Adds `function(a, b)`, never written out, to one total and its product with a weight to another.
    AddTotals { function: Binary, a: Operand, b: Operand, weight: Operand, weighed: u32, plain: Option<u32> },
    /// Two sums of scaled vectors with the same factor, row by row: a gradient of an inner product.
    AddBoth { factor: Operand, first: Scatter, second: Scatter },
}

/// Vectors that are added, scaled, to the sums of their parent rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scatter {
    pub vectors: Operand,
    pub index: Index,
    pub place: u32,
    pub width: u32,
}

impl Action {
    /// Whether every operand is read number by number, in the order of the rows.
    pub fn is_elementwise(self) -> bool {
        use Action::*;
        matches!(self, Unary(..) | Binary(..) | Select(..) | Degree(..) | Product(..) | MultiplyAdd(..) | Spread(_))
    }

    pub fn operands(self) -> Vec<Operand> {
        match self {
            Action::Load(a) | Action::Unary(_, a) | Action::Sum(a) | Action::Greatest(a) | Action::Spread(a) => vec![a],
            Action::Binary(_, a, b) | Action::Dot(a, b) | Action::Scale(a, b) => vec![a, b],
            Action::MatVec(a, b) | Action::MatTransVec(a, b) | Action::Outer(a, b) => vec![a, b],
            Action::Convolve(_, _, a, b) | Action::Pick(_, a, b) | Action::Place(_, a, b) => vec![a, b],
            Action::Select(a, b, c) | Action::Degree(a, b, c) | Action::Product(a, b, c) | Action::MultiplyAdd(a, b, c) => vec![a, b, c],
        }
    }
}

impl Instruction {
    pub fn operands(&self) -> Vec<Operand> {
        match *self {
            Instruction::Compute { action, .. } => action.operands(),
            Instruction::Store { from, .. } => vec![from],
            Instruction::Add { term: Term::Plain(a), .. } => vec![a],
            Instruction::Add { term: Term::Scaled(a, b) | Term::Outer(a, b), .. } => vec![a, b],
            Instruction::AddTotals { a, b, weight, .. } => vec![a, b, weight],
            Instruction::AddBoth { factor, first, second } => vec![factor, first.vectors, second.vectors],
        }
    }
}

/// One sweep over the rows of a domain.
#[derive(Debug)]
pub(super) struct Pass {
    pub domain: Domain,
    /// Of a cross product, the rows of the factor that varies fastest.
    pub run: Option<usize>,
    pub instructions: Vec<Instruction>,
    /// Width of each register.
    pub registers: Vec<u32>,
    pub stores: Vec<Value>,
    pub sums: Vec<Value>,
}

/// The passes in order, and the whole-segment operations, each with the number of the pass that it comes before.
pub(super) fn schedule(graph: &Graph, outputs: &[Value]) -> (Vec<Pass>, Vec<(usize, Value)>) {
    let plan = Plan::new(graph, outputs);
    let keys = plan.passes();
    let steps = plan.steps.iter().map(|&(time, v)| (keys.iter().filter(|(pass, _)| *pass < time).count(), v)).collect();
    let passes = keys.into_iter().map(|(time, domain)| Assembler::new(graph, &plan, time, domain).pass()).collect();
    (passes, steps)
}

/// When each value can be known, and which are stored.
pub(super) struct Plan<'g> {
    graph: &'g Graph,
    times: HashMap<Value, u32>,
    /// Values computed by maps that are left behind, and the same by the pass that computes them.
    pub stored: BTreeSet<Value>,
    stores: BTreeMap<(u32, Domain), Vec<Value>>,
    /// Sums by the pass that makes them.
    pub sums: BTreeMap<(u32, Domain), Vec<Value>>,
    /// Whole-segment operations, and the time at which all that they read is in memory.
    steps: BTreeSet<(u32, Value)>,
}

impl<'g> Plan<'g> {
    fn new(graph: &'g Graph, outputs: &[Value]) -> Self {
        let mut needed = BTreeSet::new();
        let mut stack = outputs.to_vec();
        while let Some(v) = stack.pop() {
            if needed.insert(v) {
                stack.extend(graph.node(v).op.operands());
            }
        }
        let (stores, sums) = (BTreeMap::new(), BTreeMap::new());
        let mut plan = Plan { graph, times: HashMap::new(), stored: BTreeSet::new(), stores, sums, steps: BTreeSet::new() };
        for &v in &needed {
            plan.place(v);
        }
        for &output in outputs {
            plan.store(output);
        }
        plan.group_stores();
        plan.keep_heavy_values();
        plan.group_stores();
        plan
    }

    fn group_stores(&mut self) {
        self.stores.clear();
        for &v in &self.stored {
            self.stores.entry((self.times[&v], self.graph.domain_of(v))).or_default().push(v);
        }
    }

    /// What a pass leaves behind.
    pub fn stores(&self, time: u32, domain: Domain) -> Vec<Value> {
        self.stores.get(&(time, domain)).cloned().unwrap_or_default()
    }

    /// All passes, by time and domain.
    fn passes(&self) -> BTreeSet<(u32, Domain)> {
        self.stores.keys().chain(self.sums.keys()).copied().collect()
    }

    pub fn time(&self, v: Value) -> u32 {
        self.times[&v]
    }

    /// Whether a value lies in memory without a map having stored it.
    pub fn is_available(&self, v: Value) -> bool {
        let op = self.graph.node(v).op;
        op.is_leaf() || matches!(op, Op::SegmentSum(..) | Op::Total(..) | Op::Segment(..))
    }

    /// When another domain can read the value.
    fn ready(&self, v: Value) -> u32 {
        if self.is_available(v) { self.time(v) } else { self.time(v) + 1 }
    }

    fn place(&mut self, v: Value) {
        let node = self.graph.node(v);
        let time = match node.op {
            op if op.is_leaf() => 0,
            Op::Gather(x, _) => {
                self.store(x);
                self.ready(x)
            }
            Op::SegmentSum(x, _) | Op::Total(x, _) => {
                let child = if let Op::SegmentSum(_, index) = node.op { self.graph.ends(index).0 } else { self.child(node.op) };
                let pass = if self.graph.domain_of(x) == child {
                    self.time(x)
                } else {
                    self.store(x);
                    self.ready(x)
                };
                self.sums.entry((pass, child)).or_default().push(v);
                pass + 1
            }
            Op::Segment(segment, _) => {
                let operands = || segment.operands().into_iter().flatten();
                operands().for_each(|o| self.store(o));
                let time = operands().map(|o| self.ready(o)).max().unwrap_or(0);
                self.steps.insert((time, v));
                time + 1
            }
            op => op
                .operands()
                .map(|o| {
                    if self.graph.domain_of(o) == node.domain {
                        self.time(o)
                    } else {
                        self.store(o);
                        self.ready(o)
                    }
                })
                .max()
                .unwrap_or(0),
        };
        self.times.insert(v, time);
    }

    fn child(&self, op: Op) -> Domain {
        if let Op::Total(_, domain) = op { domain } else { unreachable!("only a total has its domain in the operation") }
    }

    fn store(&mut self, v: Value) {
        if !self.is_available(v) {
            self.stored.insert(v);
        }
    }

    /// Inner products and matrix products that a later pass over the same rows needs again are kept; those of a cross product,
    /// which has many more rows than there are operands, are computed again.
    fn keep_heavy_values(&mut self) {
        let mut passes: HashMap<Value, BTreeSet<u32>> = HashMap::new();
        for (time, domain) in self.passes().into_iter().filter(|(_, domain)| !self.graph.is_product(*domain)) {
            for v in Assembler::new(self.graph, self, time, domain).body() {
                if matches!(self.graph.node(v).op, Op::Dot(..) | Op::MatVec(..) | Op::MatTransVec(..) | Op::Sum(_)) {
                    passes.entry(v).or_default().insert(time);
                }
            }
        }
        self.stored.extend(passes.into_iter().filter(|(_, times)| times.len() > 1).map(|(v, _)| v));
    }
}
