//! The operations of a program: what a value is computed by, from which others.

use super::call::Callee;
use super::convolution::{Convolution, Part};
use super::graph::{Domain, Index, Slot, Value};
use super::pooling::Pooling;
use super::segment::{Segment, Segments};
use crate::scalar::{Binary, Unary};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// A constant, by its bits.
    Constant(u64),
    /// A number that the run sets between steps (temperature, scale of a gap).
    Setting(Slot),
    Parameter(Slot),
    Residual(Slot),
    /// How many rows of a domain take part in this step.
    Count(Domain),
    Unary(Unary, Value),
    Binary(Binary, Value, Value),
    /// The first where the mask is not zero, else the second; the mask has no gradient.
    Select(Value, Value, Value),
    Dot(Value, Value),
    /// A number times a vector.
    Scale(Value, Value),
    /// The sum, or the greatest, of a vector's elements. The greatest has no gradient: it only shifts.
    Sum(Value),
    Greatest(Value),
    /// The same value, where gradients stop.
    Detach(Value),
    /// A number repeated as a vector.
    Spread(Value),
    /// matrix * vector, transposed matrix * vector, column * row.
    MatVec(Value, Value),
    MatTransVec(Value, Value),
    Outer(Value, Value),
    /// A part of a convolution, from the other two in their order.
    Convolve(Convolution, Part, Value, Value),
    /// The pixels of an image, or the places of a smaller one in it, where the first operand is greatest; that one has no gradient.
    Pick(Pooling, Value, Value),
    Place(Pooling, Value, Value),
    /// Two vectors one after the other, and the numbers of a vector from one on.
    Concat(Value, Value),
    Slice(Value, u32),
    /// A function of its arguments, which are one vector; and from these and the cotangent of the result, the cotangents of the arguments.
    Call(Callee, Value),
    PullBack(Callee, Value, Value),
    Gather(Value, Index),
    /// Sum over the child rows of each parent row.
    SegmentSum(Value, Index),
    /// Sum over all rows of a domain.
    Total(Value, Domain),
    /// What needs all rows of a segment at once.
    Segment(Segment, Segments),
}

impl Op {
    /// The values that an operation reads.
    pub(super) fn operands(self) -> impl Iterator<Item = Value> {
        if let Op::Segment(segment, _) = self {
            return segment.operands().into_iter().flatten();
        }
        let (a, b, c) = match self {
            Op::Constant(_) | Op::Setting(_) | Op::Parameter(_) | Op::Residual(_) | Op::Count(_) | Op::Segment(..) => (None, None, None),
            Op::Unary(_, x)
            | Op::Sum(x)
            | Op::Greatest(x)
            | Op::Detach(x)
            | Op::Spread(x)
            | Op::Slice(x, _)
            | Op::Call(_, x)
            | Op::Gather(x, _)
            | Op::SegmentSum(x, _)
            | Op::Total(x, _) => (Some(x), None, None),
            Op::Binary(_, a, b)
            | Op::Dot(a, b)
            | Op::Scale(a, b)
            | Op::MatVec(a, b)
            | Op::MatTransVec(a, b)
            | Op::Outer(a, b)
            | Op::Convolve(_, _, a, b)
            | Op::Concat(a, b)
            | Op::PullBack(_, a, b)
            | Op::Pick(_, a, b)
            | Op::Place(_, a, b) => (Some(a), Some(b), None),
            Op::Select(m, a, b) => (Some(m), Some(a), Some(b)),
        };
        [a, b, c, None].into_iter().flatten()
    }

    /// Whether it reads vectors where they lie.
    pub(super) fn reads_vectors(self) -> bool {
        use Op::*;
        let products = matches!(self, Dot(..) | Scale(..) | MatVec(..) | MatTransVec(..) | Outer(..));
        products || matches!(self, Convolve(..) | Pick(..) | Place(..) | Concat(..) | Slice(..) | Call(..) | PullBack(..))
    }

    pub(super) fn is_leaf(self) -> bool {
        matches!(self, Op::Constant(_) | Op::Setting(_) | Op::Parameter(_) | Op::Residual(_) | Op::Count(_))
    }
}
