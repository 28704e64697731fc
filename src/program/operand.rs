//! Where an operand of a chunk is read: a register, a column in place, one number for all rows, or rows through an index.

use super::graph::Index;
use super::index::{LaneRuns, Places};
use super::kernel::Workspace;
use super::memory::{Column, View};
use super::schedule::Operand;
use crate::scalar::Real;

/// The rows of one chunk.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub start: usize,
    pub len: usize,
    pub listed: Option<&'a [u32]>,
    /// Where its numbers are in planes of its tile.
    pub plane: usize,
}

/// Numbers of an elementwise operand for this chunk; one number when it is the same for all rows.
#[inline(always)]
pub(super) fn flat<'a, R: Real>(w: &'a Workspace<R>, view: &'a View<'a, R>, chunk: Chunk, operand: Operand, width: usize) -> &'a [R] {
    match operand {
        Operand::Register(r) => &w.registers[r as usize][..chunk.len * width],
        Operand::Plane(p) => &w.planes.planes[p as usize][chunk.plane..][..chunk.len],
        Operand::Uniform(v) => view.column(v).numbers,
        Operand::Column(v) => match chunk.listed {
            None => {
                let Column { numbers, first } = view.column(v);
                &numbers[(chunk.start - first) * width..(chunk.start + chunk.len - first) * width]
            }
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
    column: Column<'a, R>,
    pub width: usize,
    places: Places<'a>,
}

impl<'a, R: Real> Vectors<'a, R> {
    #[inline(always)]
    fn of(&self, row: usize) -> &'a [R] {
        &self.column.numbers[(row - self.column.first) * self.width..][..self.width]
    }

    #[inline(always)]
    pub fn row(&self, lane: usize) -> &'a [R] {
        self.of(self.places.of(lane))
    }

    /// Runs of lanes that read one row, where most neighbours do.
    #[inline(always)]
    pub fn runs(&self, lanes: usize) -> Option<LaneRuns<'a>> {
        self.places.runs(lanes)
    }

    /// All numbers of so many lanes, where they lie side by side.
    #[inline(always)]
    pub fn side_by_side(&self, lanes: usize) -> Option<&'a [R]> {
        match self.places {
            Places::From(row) => Some(&self.column.numbers[(row - self.column.first) * self.width..][..lanes * self.width]),
            _ => None,
        }
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
    view: &'a View<'a, R>,
    chunk: Chunk<'a>,
    operand: Operand,
    width: usize,
) -> Vectors<'a, R> {
    let (column, places) = match operand {
        Operand::Register(r) => (Column { numbers: &w.registers[r as usize], first: 0 }, Places::From(0)),
        Operand::Plane(p) => (Column { numbers: &w.planes.planes[p as usize][chunk.plane..], first: 0 }, Places::From(0)),
        Operand::Uniform(v) => (view.column(v), Places::One(0)),
        Operand::Column(v) => (view.column(v), chunk.listed.map_or(Places::From(chunk.start), Places::Stored)),
        Operand::Gathered(v, i) => (view.column(v), places(w, view, chunk, i)),
    };
    Vectors { column, width, places }
}

/// The row that each row of a chunk reads, or adds to.
#[inline(always)]
pub(super) fn places<'a, R: Real>(w: &'a Workspace<R>, view: &'a View<'a, R>, chunk: Chunk, index: Index) -> Places<'a> {
    match chunk.listed {
        None => view.lookup(index).places(chunk.start, chunk.len),
        Some(_) => {
            let found = w.parents.iter().find(|(i, _)| *i == index).expect("the indices that a pass reads are listed when it is built");
            Places::Stored(&found.1[..chunk.len])
        }
    }
}
