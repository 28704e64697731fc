//! Where the numbers of each value lie: in columns, or with the block that goes through the stages of a strip.

use super::block::Work;
use super::graph::{Domain, Index, Slot, Value};
use super::index::Lookup;
use super::reduce::Sum;
use crate::buffer::Buffer;
use crate::scalar::Function;
use std::ops::Range;
use std::sync::Arc;

/// Every value that outlives a strip, by number.
pub(super) struct Memory<R> {
    pub columns: Vec<Vec<R>>,
    pub residuals: Arc<Vec<Buffer<R>>>,
    pub places: Vec<Place>,
    pub widths: Vec<u32>,
    pub indices: Vec<Lookup>,
    /// Functions of the application, by their number.
    pub functions: Vec<Function>,
    /// What lies in files, by the domain that it has a row for each row of.
    pub spilled: Vec<(Domain, Spilled)>,
}

/// A column or an index that lies in a file.
pub(super) enum Spilled {
    Residual { slot: Slot, width: usize },
    Index(Index),
}

/// Where a value lies.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Nowhere,
    Column(u32),
    Residual(Slot),
    /// What a stage of the strip at hand has stored, or summed, under this number.
    Stored {
        stage: u32,
        number: u32,
    },
    Summed {
        stage: u32,
        number: u32,
    },
}

/// Numbers of a value from row `first` on.
#[derive(Clone, Copy)]
pub(super) struct Column<'a, R> {
    pub numbers: &'a [R],
    pub first: usize,
}

/// What a stage sees: memory, and what the stages before it have left with the block.
#[derive(Clone, Copy)]
pub(super) struct View<'a, R> {
    pub memory: &'a Memory<R>,
    /// Places within the strip.
    pub places: &'a [Place],
    pub works: &'a [Work<R>],
}

impl<R> Memory<R> {
    pub fn column(&self, value: Value) -> &[R] {
        match self.places[value.0 as usize] {
            Place::Column(c) => &self.columns[c as usize],
            Place::Residual(r) => &self.residuals[r as usize],
            _ => &[],
        }
    }

    pub fn column_mut(&mut self, value: Value) -> &mut Vec<R> {
        match self.places[value.0 as usize] {
            Place::Column(c) => &mut self.columns[c as usize],
            _ => unreachable!("only stored values are written"),
        }
    }

    pub fn width(&self, value: Value) -> usize {
        self.widths[value.0 as usize] as usize
    }

    /// Whether anything with a row for each row of a domain lies in a file.
    pub fn is_spilled(&self, domain: Domain) -> bool {
        self.spilled.iter().any(|(of, _)| *of == domain)
    }

    /// These rows of a domain have been read: what lies in files need not stay in memory.
    pub fn release(&self, domain: Domain, rows: Range<usize>) {
        for (_, spilled) in self.spilled.iter().filter(|(of, _)| *of == domain) {
            match *spilled {
                Spilled::Residual { slot, width } => self.residuals[slot as usize].release(rows.start * width..rows.end * width),
                Spilled::Index(index) => {
                    if let Some(numbers) = self.indices[index.0 as usize].rows.stored() {
                        numbers.release(rows.clone());
                    }
                }
            }
        }
    }
}

impl<'a, R> View<'a, R> {
    #[inline(always)]
    pub fn column(&self, value: Value) -> Column<'a, R> {
        let all = |numbers| Column { numbers, first: 0 };
        match self.places[value.0 as usize] {
            Place::Column(c) => all(&self.memory.columns[c as usize]),
            Place::Residual(r) => all(&self.memory.residuals[r as usize]),
            Place::Nowhere => all(&[]),
            Place::Stored { stage, number } => match &self.works[stage as usize] {
                Work::Pass(workspace) => workspace.stores[number as usize].column(),
                Work::Segments(share) => share.out.column(),
            },
            Place::Summed { stage, number } => match &self.works[stage as usize] {
                Work::Pass(workspace) => match &workspace.sums[number as usize] {
                    Sum::Segments { first, sums, .. } => Column { numbers: sums, first: *first },
                    Sum::Total(_) => all(&[]),
                },
                Work::Segments(_) => all(&[]),
            },
        }
    }

    #[inline(always)]
    pub fn width(&self, value: Value) -> usize {
        self.memory.width(value)
    }

    #[inline(always)]
    pub fn lookup(&self, index: Index) -> &'a Lookup {
        &self.memory.indices[index.0 as usize]
    }
}
