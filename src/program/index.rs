//! Which row of its parent each row of a domain reads: written down, or computed, as along the factors of a cross product.

use super::operand::Chunk;
use std::ops::Range;
use std::sync::Arc;

/// For each row of the child, its row of the parent.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    Stored(Arc<[u32]>),
    /// `i / inner % len`: the place along one factor of a cross product of `rows` rows. Along the factor that varies fastest
    /// `inner` is 1; while that one runs from its first row to its last, the places along all others stay the same.
    Along {
        inner: usize,
        len: usize,
        rows: usize,
    },
}

impl Rows {
    pub fn len(&self) -> usize {
        match self {
            Rows::Stored(rows) => rows.len(),
            Rows::Along { rows, .. } => *rows,
        }
    }

    #[inline(always)]
    pub fn at(&self, row: usize) -> usize {
        match self {
            Rows::Stored(rows) => rows[row] as usize,
            Rows::Along { inner, len, .. } => row / inner % len,
        }
    }

    /// What is written down of it.
    pub fn stored(&self) -> Option<&Arc<[u32]>> {
        if let Rows::Stored(rows) = self { Some(rows) } else { None }
    }

    /// Whether no row has a parent before that of the row above it.
    pub fn is_sorted(&self) -> bool {
        match self {
            Rows::Stored(rows) => rows.is_sorted(),
            Rows::Along { inner, len, rows } => inner * len >= *rows,
        }
    }

    /// The parents of a range of rows lie in this one.
    pub fn parents(&self, range: Range<usize>) -> Range<usize> {
        match self {
            _ if range.is_empty() => 0..0,
            Rows::Stored(rows) => {
                let rows = &rows[range];
                let (first, last) = (rows.iter().min(), rows.iter().max());
                first.map_or(0, |p| *p as usize)..last.map_or(0, |p| *p as usize + 1)
            }
            Rows::Along { inner, len, .. } => {
                let (first, last) = (range.start / inner, (range.end - 1) / inner);
                if first / len == last / len { first % len..last % len + 1 } else { 0..*len }
            }
        }
    }

    /// How many times the parent changes in a range of rows, and 1.
    pub fn runs(&self, range: Range<usize>) -> usize {
        match self {
            Rows::Stored(rows) => rows[range].chunk_by(|a, b| a == b).count(),
            Rows::Along { inner, .. } => range.len().div_ceil(*inner),
        }
    }

    /// How many rows each of `parents` rows of the parent has: where they begin when they are in the order of their parents.
    pub fn starts(&self, parents: usize) -> Vec<u32> {
        let mut starts = vec![0; parents + 1];
        for row in 0..self.len() {
            starts[self.at(row) + 1] += 1;
        }
        for p in 0..parents {
            starts[p + 1] += starts[p];
        }
        starts
    }

    /// The parents of a chunk's rows. A range of rows of a cross product lies within one run of its fastest factor.
    #[inline(always)]
    pub fn places<'a>(&'a self, chunk: Chunk<'a>) -> Places<'a> {
        match (self, chunk.listed) {
            (Rows::Stored(rows), None) => Places::Stored(&rows[chunk.start..chunk.start + chunk.len]),
            (Rows::Along { inner: 1, len, .. }, None) => Places::From(chunk.start % len),
            (Rows::Along { .. }, None) => Places::One(self.at(chunk.start)),
            (Rows::Stored(rows), Some(list)) => Places::Twice(list, rows),
            (Rows::Along { .. }, Some(list)) => Places::Listed(list, self),
        }
    }
}

/// The row that each lane of a chunk reads, or adds to.
#[derive(Clone, Copy)]
pub(super) enum Places<'a> {
    /// Rows side by side, from this one on.
    From(usize),
    /// One row for all lanes.
    One(usize),
    Stored(&'a [u32]),
    /// Listed rows, then the index.
    Twice(&'a [u32], &'a [u32]),
    /// The same, along a factor of a cross product.
    Listed(&'a [u32], &'a Rows),
}

impl Places<'_> {
    #[inline(always)]
    pub fn of(self, lane: usize) -> usize {
        match self {
            Places::From(first) => first + lane,
            Places::One(row) => row,
            Places::Stored(rows) => rows[lane] as usize,
            Places::Twice(list, rows) => rows[list[lane] as usize] as usize,
            Places::Listed(list, rows) => listed(list, rows, lane),
        }
    }
}

/// Out of the loops, which the compiler makes once for each other kind of place.
#[cold]
#[inline(never)]
fn listed(list: &[u32], rows: &Rows, lane: usize) -> usize {
    rows.at(list[lane] as usize)
}
