//! What a compiled program is made of: strips of stages, passes of instructions, and where each reads and leaves its numbers.

use super::call::Callee;
use super::convolution::{Convolution, Part};
use super::graph::{Domain, Graph, Index, Value};
use super::pooling::Pooling;
use super::tile::Tile;
use crate::scalar::{Binary, Unary};
use std::collections::BTreeSet;

/// Where an instruction reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    /// A register of this pass.
    Register(u32),
    /// A stored value over this domain.
    Column(Value),
    /// A stored value over another domain, through an index.
    Gathered(Value, Index),
    /// The numbers of a chunk's pairs in a plane of their tile.
    Plane(u32),
    /// A stored value of one row, the same for all rows.
    Uniform(Value),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Load(Operand),
    Unary(Unary, Operand),
    Binary(Binary, Operand, Operand),
    Select(Operand, Operand, Operand),
    /// function((left - right) * unit): the degree of a comparison, in one operation.
    Degree(Unary, Operand, Operand, Operand),
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
    /// The same with one matrix for all rows.
    RowsTimesMatrix {
        rows: Operand,
        matrix: Operand,
        transposed: bool,
    },
    Outer(Operand, Operand),
    Convolve(Convolution, Part, Operand, Operand),
    Pick(Pooling, Operand, Operand),
    Place(Pooling, Operand, Operand),
    /// Two vectors one after the other, the first of `inner` numbers.
    Concat(Operand, Operand),
    /// The numbers of a vector from one on.
    Slice(Operand, u32),
    Call(Callee, Operand),
    PullBack(Callee, Operand, Operand),
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
    /// Keeps the numbers of a chunk's pairs until all pairs of the tile have been gone over.
    Keep { from: Operand, plane: u32 },
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
            Action::Slice(a, _) | Action::Call(_, a) => vec![a],
            Action::Concat(a, b) | Action::PullBack(_, a, b) => vec![a, b],
            Action::Binary(_, a, b) | Action::Dot(a, b) | Action::Scale(a, b) => vec![a, b],
            Action::MatVec(a, b) | Action::MatTransVec(a, b) | Action::Outer(a, b) => vec![a, b],
            Action::Convolve(_, _, a, b) | Action::Pick(_, a, b) | Action::Place(_, a, b) => vec![a, b],
            Action::RowsTimesMatrix { rows, matrix, .. } => vec![rows, matrix],
            Action::Select(a, b, c) | Action::Degree(_, a, b, c) | Action::Product(a, b, c) | Action::MultiplyAdd(a, b, c) => vec![a, b, c],
        }
    }
}

impl Instruction {
    /// Whether it multiplies all rows with one matrix, or adds them up to one.
    pub fn is_matrix_product(&self) -> bool {
        let multiplies = matches!(self, Instruction::Compute { action: Action::RowsTimesMatrix { .. }, .. });
        multiplies || matches!(self, Instruction::Add { term: Term::Outer(..), index: None, .. })
    }

    pub fn operands(&self) -> Vec<Operand> {
        match *self {
            Instruction::Compute { action, .. } => action.operands(),
            Instruction::Keep { from, .. } | Instruction::Store { from, .. } => vec![from],
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
    /// Of a cross product, what is found for many pairs together.
    pub tile: Option<Tile>,
    pub instructions: Vec<Instruction>,
    /// Width of each register.
    pub registers: Vec<u32>,
    pub stores: Vec<Value>,
    pub sums: Vec<Value>,
}

impl Pass {
    /// Through which its rows read, or add to, others.
    pub fn indices(&self) -> BTreeSet<Index> {
        let mut indices = BTreeSet::new();
        for instruction in &self.instructions {
            let read = instruction.operands().into_iter();
            indices.extend(read.filter_map(|o| if let Operand::Gathered(_, index) = o { Some(index) } else { None }));
            match instruction {
                Instruction::Add { index, .. } => indices.extend(*index),
                Instruction::AddBoth { first, second, .. } => indices.extend([first.index, second.index]),
                _ => {}
            }
        }
        indices
    }
}

/// Stages that a range of the spine's rows, and the rows that belong to them, go through one after another: what one stage
/// leaves for the next is read while it is near, and never written out for all rows.
#[derive(Debug)]
pub(super) struct Strip {
    pub spine: Domain,
    pub stages: Vec<Stage>,
}

#[derive(Debug)]
pub(super) enum Stage {
    Pass(Pass),
    /// A whole-segment operation.
    Segments(Value),
}

impl Stage {
    /// Values that are read where they lie in memory.
    pub fn reads(&self, graph: &Graph) -> Vec<Value> {
        match self {
            Stage::Segments(v) => graph.node(*v).op.operands().collect(),
            Stage::Pass(pass) => {
                let operands = pass.instructions.iter().flat_map(Instruction::operands);
                let place = |o| match o {
                    Operand::Register(_) | Operand::Plane(_) => None,
                    Operand::Column(v) | Operand::Gathered(v, _) | Operand::Uniform(v) => Some(v),
                };
                operands.filter_map(place).chain(pass.tile.iter().flat_map(Tile::reads)).collect()
            }
        }
    }

    /// Columns that a pass reads row by row.
    pub fn columns(&self) -> BTreeSet<Value> {
        let Stage::Pass(pass) = self else { return BTreeSet::new() };
        let operands = pass.instructions.iter().flat_map(Instruction::operands);
        operands.filter_map(|o| if let Operand::Column(v) = o { Some(v) } else { None }).collect()
    }

    /// Sums, which are known when the stage has gone over all rows of a parent.
    pub fn sums(&self) -> &[Value] {
        if let Stage::Pass(pass) = self { &pass.sums } else { &[] }
    }

    /// Values that are left behind, one number or vector a row.
    pub fn leaves(&self) -> &[Value] {
        match self {
            Stage::Segments(v) => std::slice::from_ref(v),
            Stage::Pass(pass) => &pass.stores,
        }
    }
}
