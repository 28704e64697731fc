//! What the pairs of a cross product have in common is found together, as matrix products: a tile is a window of rows of the
//! factor that varies fastest, and a group of rows of the others. The inner products of all its pairs are known before the first
//! of them is gone over; what the pairs add to vectors of either side is added after the last.

use super::element::Element;
use super::graph::{Index, Value};
use super::index::Rows;
use super::matrix::{rows_times_matrix, sum_of_outer_products};
use super::memory::View;
use super::reduce::Sum;
use std::ops::Range;

/// Runs of a tile, and the fewest of a cross product that are worth one.
pub(super) const RUNS: usize = 128;
pub(super) const FEWEST_RUNS: usize = 16;
/// The widest windows, and the narrowest vectors that are worth a matrix product.
pub(super) const LANES: usize = 512;
pub(super) const NARROWEST: usize = 8;

/// What a pass does once for each tile. A plane holds one number for each pair of a tile.
#[derive(Debug, Default)]
pub(super) struct Tile {
    /// Rows of the factor that varies fastest.
    pub run: usize,
    pub products: Vec<Product>,
    pub sums: Vec<Sums>,
    pub planes: usize,
}

/// Vectors of one side, by its index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    pub vectors: Value,
    pub index: Index,
}

/// The inner products of two sides' vectors, which become a plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub slow: Side,
    pub fast: Side,
    pub width: usize,
    pub plane: usize,
}

/// The sums of one side's vectors, scaled by a plane, for rows of the other side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub side: Side,
    pub to: Index,
    /// Whether they are for the rows of the side that varies fastest.
    pub to_fast: bool,
    pub width: usize,
    pub plane: usize,
    pub place: usize,
}

/// Planes, and vectors of both sides and of their sums side by side.
pub(super) struct Planes<R> {
    pub planes: Vec<Box<[R]>>,
    slow: Vec<R>,
    fast: Vec<R>,
}

/// The rows of one tile: how many rows a run has, which runs, and which rows of each.
#[derive(Clone)]
pub(super) struct Extent {
    pub run: usize,
    pub runs: Range<usize>,
    pub window: Range<usize>,
}

impl Extent {
    fn slow_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        let run = self.run;
        self.runs.clone().map(move |number| number * run)
    }

    fn fast_rows(&self) -> Range<usize> {
        self.window.clone()
    }

    pub fn pairs(&self) -> usize {
        self.runs.len() * self.window.len()
    }
}

impl Tile {
    /// Values that are read where they lie in memory.
    pub fn reads(&self) -> impl Iterator<Item = Value> {
        let products = self.products.iter().flat_map(|p| [p.slow.vectors, p.fast.vectors]);
        products.chain(self.sums.iter().map(|s| s.side.vectors))
    }
}

/// Which side of a cross product's pairs an index tells apart: `false` if it is the same throughout each run, `true` if it
/// depends on the place in the run alone.
pub(super) fn is_fast(rows: &Rows, run: usize) -> Option<bool> {
    match rows {
        Rows::Along { inner: 1, len, .. } if *len == run => Some(true),
        Rows::Along { inner, .. } if inner % run == 0 => Some(false),
        Rows::Cells(parts) if parts.iter().all(|part| part.inner % run == 0) => Some(false),
        Rows::Cells(parts) if parts.len() == 1 && parts[0].inner == 1 && parts[0].of.len() == run => Some(true),
        _ => None,
    }
}

impl<R: Element> Planes<R> {
    pub fn new(tile: &Tile, lanes: usize) -> Self {
        let widths = tile.products.iter().map(|p| p.width).chain(tile.sums.iter().map(|s| s.width));
        let widest = widths.max().unwrap_or(0);
        let numbers = |n: usize| vec![R::ZERO; n];
        Self {
            planes: (0..tile.planes).map(|_| numbers(RUNS * lanes).into_boxed_slice()).collect(),
            slow: numbers(RUNS * widest),
            fast: numbers(lanes * widest),
        }
    }

    /// How many numbers they hold.
    pub fn numbers(&self) -> usize {
        self.planes.iter().map(|plane| plane.len()).sum::<usize>() + self.slow.len() + self.fast.len()
    }

    /// Pairs that are not gone over add nothing.
    pub fn clear(&mut self, tile: &Tile, pairs: Range<usize>) {
        for part in &tile.sums {
            self.planes[part.plane][pairs.clone()].fill(R::ZERO);
        }
    }

    /// Finds the inner products of a tile, before its first pair.
    pub fn begin(&mut self, tile: &Tile, view: &View<R>, extent: &Extent) {
        for product in &tile.products {
            let width = product.width;
            let slow = gather(&mut self.slow, view, product.slow, width, extent.slow_rows());
            let fast = gather(&mut self.fast, view, product.fast, width, extent.fast_rows());
            rows_times_matrix(slow, fast, true, [width, extent.window.len()], &mut self.planes[product.plane][..extent.pairs()]);
        }
    }

    /// Adds the sums of a tile, after its last pair.
    pub fn end(&mut self, tile: &Tile, view: &View<R>, extent: &Extent, sums: &mut [Sum<R>]) {
        for part in &tile.sums {
            let Sum::Segments { first, sums, touched, .. } = &mut sums[part.place] else { unreachable!("a scatter adds to segments") };
            touched.note_all();
            let (plane, width) = (&self.planes[part.plane][..extent.pairs()], part.width);
            let parents = &view.lookup(part.to).rows;
            if part.to_fast {
                let vectors = gather(&mut self.slow, view, part.side, width, extent.slow_rows());
                let added = &mut self.fast[..extent.window.len() * width];
                sum_of_outer_products(plane, vectors, width, added);
                add_rows(sums, *first, added, width, extent.fast_rows().map(|row| parents.at(row)));
            } else {
                let vectors = gather(&mut self.fast, view, part.side, width, extent.fast_rows());
                let added = &mut self.slow[..extent.runs.len() * width];
                rows_times_matrix(plane, vectors, false, [extent.window.len(), width], added);
                add_rows(sums, *first, added, width, extent.slow_rows().map(|row| parents.at(row)));
            }
        }
    }
}

/// Copies the vectors that some rows of the cross product read.
fn gather<'a, R: Element>(
    into: &'a mut [R],
    view: &View<R>,
    side: Side,
    width: usize,
    rows: impl ExactSizeIterator<Item = usize>,
) -> &'a [R] {
    let (column, index) = (view.column(side.vectors), &view.lookup(side.index).rows);
    let into = &mut into[..rows.len() * width];
    for (into, row) in into.chunks_exact_mut(width).zip(rows) {
        into.copy_from_slice(&column.numbers[(index.at(row) - column.first) * width..][..width]);
    }
    into
}

fn add_rows<R: Element>(sums: &mut [R], first: usize, added: &[R], width: usize, parents: impl Iterator<Item = usize>) {
    for (added, parent) in added.chunks_exact(width).zip(parents) {
        for (sum, x) in sums[(parent - first) * width..][..width].iter_mut().zip(added) {
            *sum += *x;
        }
    }
}
