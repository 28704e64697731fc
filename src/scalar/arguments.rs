//! What a function of the application reads and writes: the numbers of each argument over some rows.

use std::ops::{Index, IndexMut};

/// The arguments of a function over some rows: `arguments[0]` is the first one, rows x width, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    numbers: &'a [f64],
    starts: &'a [usize],
    rows: usize,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(numbers: &'a [f64], starts: &'a [usize], rows: usize) -> Self {
        Self { numbers, starts, rows }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl Index<usize> for Arguments<'_> {
    type Output = [f64];

    fn index(&self, argument: usize) -> &[f64] {
        &self.numbers[self.starts[argument] * self.rows..self.starts[argument + 1] * self.rows]
    }
}

/// The cotangents of a function's arguments over some rows: `cotangents[0]` is that of the first one, rows x width, row after row.
#[derive(Debug)]
pub struct Cotangents<'a> {
    numbers: &'a mut [f64],
    starts: &'a [usize],
    rows: usize,
}

impl<'a> Cotangents<'a> {
    pub(super) fn new(numbers: &'a mut [f64], starts: &'a [usize], rows: usize) -> Self {
        Self { numbers, starts, rows }
    }
}

impl Index<usize> for Cotangents<'_> {
    type Output = [f64];

    fn index(&self, argument: usize) -> &[f64] {
        &self.numbers[self.starts[argument] * self.rows..self.starts[argument + 1] * self.rows]
    }
}

impl IndexMut<usize> for Cotangents<'_> {
    fn index_mut(&mut self, argument: usize) -> &mut [f64] {
        &mut self.numbers[self.starts[argument] * self.rows..self.starts[argument + 1] * self.rows]
    }
}
