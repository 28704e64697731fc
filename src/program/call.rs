//! `call` and `pull_back`: functions of the application over the rows of a chunk, in double precision. The operand has the arguments
//! side by side (`concat`); a function takes them one after another. The adjoint of a call is its pull-back, which has none: a function
//! brings its first slope only.

use super::graph::{Graph, Op, Value};
use super::kernel::Workspace;
use super::memory::View;
use super::operand::{Chunk, Vectors, vectors};
use super::schedule::{Action, Instruction, Operand, Pass};
use crate::scalar::{Function, Real};

/// The number of a function in its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Callee(u32);

impl Callee {
    pub(super) fn of(self, functions: &[Function]) -> &Function {
        &functions[self.0 as usize]
    }
}

impl Graph {
    /// A function of the application, of one value for each of its arguments.
    pub fn call(&self, function: &Function, arguments: &[Value]) -> Value {
        let widths = function.arguments().iter().map(|t| t.width());
        assert!(widths.eq(arguments.iter().map(|v| self.width(*v))), "a function has arguments of its own widths");
        let callee = self.callee(function);
        self.called(callee, function.result().width(), self.concatenated(arguments))
    }

    fn called(&self, callee: Callee, width: usize, arguments: Value) -> Value {
        self.over_gathers(&[arguments], |graph, v| graph.called(callee, width, v[0]))
            .unwrap_or_else(|| self.push(self.domain_of(arguments), width, Op::Call(callee, arguments)))
    }

    pub(super) fn pull_back(&self, callee: Callee, arguments: Value, cotangent: Value) -> Value {
        self.push(self.meet(&[arguments, cotangent]), self.width(arguments), Op::PullBack(callee, arguments, cotangent))
    }

    fn callee(&self, function: &Function) -> Callee {
        let functions = &mut self.0.borrow_mut().functions;
        let number = functions.iter().position(|known| known == function).unwrap_or_else(|| {
            functions.push(function.clone());
            functions.len() - 1
        });
        Callee(number as u32)
    }

    /// Vectors one after another as one, in halves, so that each number is copied few times.
    fn concatenated(&self, values: &[Value]) -> Value {
        match values {
            [one] => *one,
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                self.concat(self.concatenated(left), self.concatenated(right))
            }
        }
    }

    /// The numbers of two vectors, one after the other.
    pub(super) fn concat(&self, a: Value, b: Value) -> Value {
        self.over_gathers(&[a, b], |graph, v| graph.concat(v[0], v[1]))
            .unwrap_or_else(|| self.push(self.meet(&[a, b]), self.width(a) + self.width(b), Op::Concat(a, b)))
    }

    /// So many numbers of a vector, from one on.
    pub(super) fn slice(&self, v: Value, start: usize, width: usize) -> Value {
        if width == self.width(v) {
            return v;
        }
        self.push(self.domain_of(v), width, Op::Slice(v, start as u32))
    }
}

/// The numbers of the functions that a pass calls, as the functions take them.
#[derive(Default)]
pub(super) struct Calls {
    functions: Vec<Function>,
    arguments: Vec<f64>,
    result: Vec<f64>,
    cotangents: Vec<f64>,
}

impl Calls {
    /// For so many rows at once.
    pub fn new(pass: &Pass, functions: &[Function], lanes: usize) -> Self {
        let (mut arguments, mut result, mut cotangents) = (0, 0, 0);
        for instruction in &pass.instructions {
            let Instruction::Compute { action: Action::Call(callee, _) | Action::PullBack(callee, ..), .. } = instruction else { continue };
            let function = callee.of(functions);
            arguments = function.width().max(arguments);
            result = function.result().width().max(result);
            if matches!(instruction, Instruction::Compute { action: Action::PullBack(..), .. }) {
                cotangents = function.width().max(cotangents);
            }
        }
        let numbers = |width: usize| vec![0.0; lanes * width];
        let functions = if arguments > 0 { functions.to_vec() } else { vec![] };
        Self { functions, arguments: numbers(arguments), result: numbers(result), cotangents: numbers(cotangents) }
    }

    pub fn bytes(&self) -> usize {
        (self.arguments.len() + self.result.len() + self.cotangents.len()) * size_of::<f64>()
    }
}

/// The results of a chunk's rows.
#[inline(never)]
pub(super) fn value<R: Real>(w: &mut Workspace<R>, view: &View<R>, chunk: Chunk, callee: Callee, arguments: Operand, out: &mut [R]) {
    let mut calls = std::mem::take(&mut w.calls);
    let function = callee.of(&calls.functions);
    let given = &mut calls.arguments[..chunk.len * function.width()];
    widen(vectors(w, view, chunk, arguments, function.width()), function.starts(), chunk.len, given);
    let result = &mut calls.result[..out.len()];
    function.value(given, result);
    out.iter_mut().zip(result).for_each(|(o, x)| *o = R::of(*x));
    w.calls = calls;
}

/// The cotangents of the arguments of a chunk's rows. Where that of the result is 0, so are they: an infinite slope of a branch that was
/// not taken must not spoil the gradient of the one that was.
#[inline(never)]
pub(super) fn pull_back<R: Real>(
    w: &mut Workspace<R>,
    view: &View<R>,
    chunk: Chunk,
    callee: Callee,
    [arguments, cotangent]: [Operand; 2],
    out: &mut [R],
) {
    let mut calls = std::mem::take(&mut w.calls);
    let function = callee.of(&calls.functions);
    let (width, of_result) = (function.width(), function.result().width());
    let given = &mut calls.arguments[..chunk.len * width];
    widen(vectors(w, view, chunk, arguments, width), function.starts(), chunk.len, given);
    let weights = &mut calls.result[..chunk.len * of_result];
    widen(vectors(w, view, chunk, cotangent, of_result), &[0, of_result], chunk.len, weights);
    let found = &mut calls.cotangents[..chunk.len * width];
    function.pull_back(given, weights, found);
    for part in function.starts().windows(2) {
        let of_argument = found[part[0] * chunk.len..part[1] * chunk.len].chunks_exact(part[1] - part[0]);
        let rows = out.chunks_exact_mut(width).zip(weights.chunks_exact(of_result));
        for ((row, weight), found) in rows.zip(of_argument) {
            let counts = weight.iter().any(|x| *x != 0.0);
            row[part[0]..part[1]].iter_mut().zip(found).for_each(|(o, x)| *o = if counts { R::of(*x) } else { R::ZERO });
        }
    }
    w.calls = calls;
}

/// The numbers of rows that lie side by side in double precision, those of all rows from one start to the next together.
fn widen<R: Real>(rows: Vectors<R>, starts: &[usize], lanes: usize, out: &mut [f64]) {
    for part in starts.windows(2) {
        let of_part = out[part[0] * lanes..part[1] * lanes].chunks_exact_mut(part[1] - part[0]);
        for (lane, out) in of_part.enumerate() {
            out.iter_mut().zip(&rows.row(lane)[part[0]..part[1]]).for_each(|(o, x)| *o = x.wide());
        }
    }
}
