//! Which row of its parent each row of a domain reads: written down, or computed, as along the factors of a cross product.

use crate::buffer::Buffer;
use std::ops::Range;
use std::sync::Arc;

/// For each row of the child, its row of the parent.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    Stored(Buffer<u32>),
    /// `i / inner % len`: the place along one factor of a cross product of `rows` rows. Along the factor that varies fastest
    /// `inner` is 1; while that one runs from its first row to its last, the places along all others stay the same.
    Along {
        inner: usize,
        len: usize,
        rows: usize,
    },
    /// What the rows of some factors of a cross product belong to, added up.
    Cells(Arc<[Part]>),
}

/// `of[i / inner % of.len()]`: what a row of one factor adds.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub inner: usize,
    /// Rows of the product.
    pub rows: usize,
    pub of: Buffer<u32>,
}

impl Part {
    #[inline(always)]
    fn at(&self, row: usize) -> usize {
        self.of[row / self.inner % self.of.len()] as usize
    }
}

impl Rows {
    pub fn len(&self) -> usize {
        match self {
            Rows::Stored(rows) => rows.len(),
            Rows::Along { rows, .. } => *rows,
            Rows::Cells(parts) => parts[0].rows,
        }
    }

    #[inline(always)]
    pub fn at(&self, row: usize) -> usize {
        match self {
            Rows::Stored(rows) => rows[row] as usize,
            Rows::Along { inner, len, .. } => row / inner % len,
            Rows::Cells(parts) => parts.iter().map(|part| part.at(row)).sum(),
        }
    }

    /// The only part, if it is of the slowest factor of a cross product.
    fn outermost(&self) -> Option<&Part> {
        match self {
            Rows::Cells(parts) => parts.first().filter(|part| parts.len() == 1 && part.inner * part.of.len() == part.rows),
            _ => None,
        }
    }

    /// What is written down of it.
    pub fn stored(&self) -> Option<&Buffer<u32>> {
        if let Rows::Stored(rows) = self { Some(rows) } else { None }
    }

    /// Whether no row has a parent before that of the row above it.
    pub fn is_sorted(&self) -> bool {
        match self {
            Rows::Stored(rows) => rows.is_sorted(),
            Rows::Along { inner, len, rows } => inner * len >= *rows,
            Rows::Cells(_) => self.outermost().is_some_and(|part| part.of.is_sorted()),
        }
    }

    /// The parents of a range of rows lie in this one.
    pub fn parents(&self, range: Range<usize>) -> Range<usize> {
        match self {
            _ if range.is_empty() => 0..0,
            Rows::Stored(rows) => span(&rows[range]),
            Rows::Cells(parts) => match self.outermost() {
                Some(Part { inner, of, .. }) => span(&of[range.start / inner..range.end.div_ceil(*inner)]),
                None => 0..parts.iter().map(|part| span(&part.of).end.saturating_sub(1)).sum::<usize>() + 1,
            },
            Rows::Along { inner, len, .. } => {
                let (first, last) = (range.start / inner, (range.end - 1) / inner);
                if first / len == last / len { first % len..last % len + 1 } else { 0..*len }
            }
        }
    }

    /// How many rows each of `parents` rows of the parent has: where they begin when they are in the order of their parents.
    pub fn starts(&self, parents: usize) -> Vec<u32> {
        let mut starts = vec![0; parents + 1];
        match (self, self.outermost()) {
            (Rows::Along { rows, .. }, _) => return (0..=parents).map(|p| (p * (rows / parents)) as u32).collect(),
            (_, Some(Part { inner, of, .. })) => of.iter().for_each(|p| starts[*p as usize + 1] += *inner as u32),
            _ => (0..self.len()).for_each(|row| starts[self.at(row) + 1] += 1),
        }
        for p in 0..parents {
            starts[p + 1] += starts[p];
        }
        starts
    }
}

/// From the least row to the greatest.
fn span(rows: &[u32]) -> Range<usize> {
    let (first, last) = (rows.iter().min(), rows.iter().max());
    first.map_or(0, |p| *p as usize)..last.map_or(0, |p| *p as usize + 1)
}

/// Rows of one parent side by side, on average, from which they are handled together.
const LONG_RUN: usize = 4;

/// Rows from one entry of [`Runs::near`] to the next.
const NEAR: usize = 256;

/// An index as loops read it.
pub(super) struct Lookup {
    pub rows: Rows,
    runs: Option<Runs>,
    /// Whether each row reads the row of its own number.
    is_identity: bool,
}

/// Where rows of one parent that stand side by side end.
struct Runs {
    ends: Vec<u32>,
    /// The number of the run that every so many rows lie in.
    near: Vec<u32>,
}

impl Runs {
    /// Unless runs are short.
    fn of(rows: &[u32]) -> Option<Self> {
        let mut end = 0;
        let ends: Vec<u32> = rows
            .chunk_by(|a, b| a == b)
            .map(|run| {
                end += run.len() as u32;
                end
            })
            .collect();
        let near = (0..rows.len()).step_by(NEAR).map(|row| ends.partition_point(|end| *end as usize <= row) as u32).collect();
        (ends.len() * LONG_RUN <= rows.len()).then_some(Self { ends, near })
    }

    /// The ends of the runs from the one that a row lies in.
    #[inline(always)]
    fn from(&self, row: usize) -> &[u32] {
        let mut run = self.near[row / NEAR] as usize;
        while self.ends[run] as usize <= row {
            run += 1;
        }
        &self.ends[run..]
    }
}

impl From<Rows> for Lookup {
    fn from(rows: Rows) -> Self {
        // Of those in a file nothing more is kept in memory.
        let near = rows.stored().filter(|rows| !rows.is_spilled());
        let runs = near.and_then(|rows| Runs::of(rows));
        let is_identity = near.is_some_and(|rows| rows.iter().enumerate().all(|(row, parent)| *parent as usize == row));
        Self { rows, runs, is_identity }
    }
}

impl Lookup {
    /// The parents of some rows side by side. Those of a cross product lie within one run of its fastest factor.
    #[inline(always)]
    pub fn places(&self, start: usize, len: usize) -> Places<'_> {
        match &self.rows {
            Rows::Stored(_) if self.is_identity => Places::From(start),
            Rows::Stored(rows) => {
                let stored = &rows[start..start + len];
                match &self.runs {
                    Some(runs) => Places::Runs { rows: stored, start, ends: runs.from(start) },
                    None => Places::Stored(stored),
                }
            }
            Rows::Along { inner: 1, len, .. } => Places::From(start % len),
            Rows::Cells(parts) => match parts.split_last() {
                // Only the place along the factor that varies fastest changes.
                Some((Part { inner: 1, of, .. }, others)) => {
                    Places::Shifted { rows: &of[start % of.len()..][..len], by: others.iter().map(|part| part.at(start)).sum() }
                }
                _ => Places::One(self.rows.at(start)),
            },
            rows => Places::One(rows.at(start)),
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
    /// The same, where most neighbours are equal: where the chunk starts, and the rows at which runs of equal ones end.
    Runs {
        rows: &'a [u32],
        start: usize,
        ends: &'a [u32],
    },
    /// Stored ones, all as far further on.
    Shifted {
        rows: &'a [u32],
        by: usize,
    },
}

impl<'a> Places<'a> {
    #[inline(always)]
    pub fn of(self, lane: usize) -> usize {
        match self {
            Places::From(first) => first + lane,
            Places::One(row) => row,
            Places::Stored(rows) | Places::Runs { rows, .. } => rows[lane] as usize,
            Places::Shifted { rows, by } => rows[lane] as usize + by,
        }
    }

    /// Runs of lanes that read one row, where most neighbours do.
    #[inline(always)]
    pub fn runs(self, lanes: usize) -> Option<LaneRuns<'a>> {
        matches!(self, Places::One(_) | Places::Runs { .. }).then_some(LaneRuns { places: self, next: 0, lanes })
    }
}

/// A row, and the lanes that read it.
pub(super) struct LaneRuns<'a> {
    places: Places<'a>,
    next: usize,
    lanes: usize,
}

impl Iterator for LaneRuns<'_> {
    type Item = (usize, Range<usize>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let begin = self.next;
        if begin >= self.lanes {
            return None;
        }
        self.next = self.lanes;
        if let Places::Runs { start, ends, .. } = &mut self.places {
            self.next = self.lanes.min(ends[0] as usize - *start);
            *ends = &ends[1..];
        }
        Some((self.places.of(begin), begin..self.next))
    }
}
