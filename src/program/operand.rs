//! Where an operand of a chunk is read: a register, a column in place, one number for all rows, or rows through an index.

use super::index::Places;
use super::kernel::Workspace;
use super::machine::Memory;
use super::schedule::Operand;
use crate::scalar::Real;

/// The rows of one chunk.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub start: usize,
    pub len: usize,
    pub listed: Option<&'a [u32]>,
}

/// Numbers of an elementwise operand for this chunk; one number when it is the same for all rows.
#[inline(always)]
pub(super) fn flat<'a, R: Real>(w: &'a Workspace<R>, memory: &'a Memory<R>, chunk: Chunk, operand: Operand, width: usize) -> &'a [R] {
    match operand {
        Operand::Register(r) => &w.registers[r as usize][..chunk.len * width],
        Operand::Uniform(v) => memory.column(v),
        Operand::Column(v) => match chunk.listed {
            None => &memory.column(v)[chunk.start * width..(chunk.start + chunk.len) * width],
            Some(_) => {
                let found =
                    w.scratch.iter().find(|(o, _)| *o == operand).expect("the columns that a pass reads are listed when it is built");
                &found.1[..chunk.len * width]
            }
        },
        Operand::Gathered(..) => unreachable!("a gathered operand is loaded before it is read elementwise"),
    }
}

/// A lane's number, where one number may stand for all lanes.
#[inline(always)]
pub(super) fn number<R: Copy>(numbers: &[R], lane: usize) -> R {
    numbers[if numbers.len() == 1 { 0 } else { lane }]
}

/// Vectors of an operand, read where they lie.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'a, R> {
    numbers: &'a [R],
    pub width: usize,
    places: Places<'a>,
}

impl<'a, R: Real> Vectors<'a, R> {
    #[inline(always)]
    pub fn row(&self, lane: usize) -> &'a [R] {
        &self.numbers[self.places.of(lane) * self.width..][..self.width]
    }

    /// Four rows in a row.
    #[inline(always)]
    pub fn rows(&self, lane: usize) -> [&'a [R]; 4] {
        [self.row(lane), self.row(lane + 1), self.row(lane + 2), self.row(lane + 3)]
    }
}

#[inline(always)]
pub(super) fn vectors<'a, R: Real>(
    w: &'a Workspace<R>,
    memory: &'a Memory<R>,
    chunk: Chunk<'a>,
    operand: Operand,
    width: usize,
) -> Vectors<'a, R> {
    let (numbers, places) = match operand {
        Operand::Register(r) => (&*w.registers[r as usize], Places::From(0)),
        Operand::Uniform(v) => (memory.column(v), Places::One(0)),
        Operand::Column(v) => (memory.column(v), chunk.listed.map_or(Places::From(chunk.start), Places::Stored)),
        Operand::Gathered(v, i) => (memory.column(v), memory.indices[i.0 as usize].places(chunk)),
    };
    Vectors { numbers, width, places }
}
