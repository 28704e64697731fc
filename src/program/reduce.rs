//! `segment_sum` and `total`: rows added up for each parent row, or all together. The adjoint is a gather.

use super::element::Element;
use super::graph::Index;
use super::index::Places;
use super::kernel::Workspace;
use super::loops::{add_four_scaled, add_scaled, weighed_sums};
use super::matrix::sum_of_outer_products;
use super::memory::View;
use super::operand::{Chunk, Vectors, flat, number, places, vectors};
use super::schedule::{Operand, Scatter, Term};
use crate::scalar::{Binary, Real};
use std::ops::Range;

/// A sum of one block: over all rows, or for each parent row in a range.
pub(super) enum Sum<R> {
    /// Of all rows.
    Total(Total<R>),
    Segments {
        first: usize,
        width: usize,
        sums: Vec<R>,
        touched: Touched,
        /// The same of the column that the sums change places with.
        touched_in_column: Touched,
    },
}

/// A total of numbers or vectors, accumulated chunk by chunk in double precision. The total of one chunk stays as it is.
pub(super) struct Total<R> {
    chunks: Chunks,
    /// The last chunk's own.
    chunk: Vec<R>,
    /// That of all chunks, where there are several. A number is always here.
    sum: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunks {
    None,
    One,
    Several,
}

impl<R: Real> Total<R> {
    pub fn new(width: usize) -> Self {
        Self { chunks: Chunks::None, chunk: vec![R::ZERO; width], sum: vec![0.0; width] }
    }

    fn clear(&mut self) {
        self.chunks = Chunks::None;
        if let [sum] = self.sum.as_mut_slice() {
            *sum = 0.0;
        }
    }

    #[inline(always)]
    fn add_number(&mut self, number: f64) {
        if self.chunks == Chunks::One {
            self.sum[0] = self.chunk[0].wide();
        }
        self.sum[0] += number;
        self.chunks = Chunks::Several;
    }

    fn at(&self, place: usize) -> f64 {
        match self.chunks {
            Chunks::None => 0.0,
            Chunks::One => self.chunk[place].wide(),
            Chunks::Several => self.sum[place],
        }
    }

    /// Into the column of the only block.
    fn deliver(&self, column: &mut [R]) {
        match self.chunks {
            Chunks::None => column.fill(R::ZERO),
            Chunks::One => column.copy_from_slice(&self.chunk),
            Chunks::Several => column.iter_mut().zip(&self.sum).for_each(|(number, sum)| *number = R::of(*sum)),
        }
    }
}

/// Which sums may differ from zero, counted from row 0 of the parent.
#[derive(Default)]
pub(super) struct Touched {
    all: bool,
    parents: Vec<u32>,
}

impl Touched {
    /// Zeroes what was touched, and no more where that is the smaller part.
    fn clear<R: Real>(&mut self, sums: &mut [R], first: usize, width: usize) {
        if self.all || self.parents.len() * width * 2 >= sums.len() {
            sums.fill(R::ZERO);
        } else {
            self.parents.iter().for_each(|p| sums[(*p as usize - first) * width..][..width].fill(R::ZERO));
        }
        self.all = false;
        self.parents.clear();
    }

    /// Rows that are listed add to these.
    #[inline(always)]
    fn note(&mut self, chunk: Chunk, places: Places) {
        match (chunk.listed, places) {
            (Some(_), Places::Stored(parents)) => self.parents.extend_from_slice(parents),
            _ => self.note_all(),
        }
    }

    pub fn note_all(&mut self) {
        self.all = true;
    }
}

impl<R: Real> Default for Sum<R> {
    /// What stands in for a sum while it is added to.
    fn default() -> Self {
        Sum::of_parents(0..0, 0)
    }
}

impl<R: Real> Sum<R> {
    /// Nothing yet, for each of these parents.
    pub fn of_parents(parents: Range<usize>, width: usize) -> Self {
        let sums = vec![R::ZERO; parents.len() * width];
        Sum::Segments { first: parents.start, width, sums, touched: Touched::default(), touched_in_column: Touched::default() }
    }

    pub fn clear(&mut self) {
        match self {
            Sum::Total(total) => total.clear(),
            Sum::Segments { first, width, sums, touched, .. } => touched.clear(sums, *first, *width),
        }
    }

    /// The column of the only block's sums changes places with them, where they cover it.
    pub fn exchange(&mut self, column: &mut Vec<R>) -> bool {
        match self {
            Sum::Total(Total { chunks: Chunks::One, chunk, .. }) => {
                std::mem::swap(chunk, column);
                true
            }
            Sum::Segments { first: 0, sums, touched, touched_in_column, .. } if sums.len() == column.len() => {
                std::mem::swap(sums, column);
                std::mem::swap(touched, touched_in_column);
                true
            }
            _ => false,
        }
    }

    /// Adds the sums of the blocks, in their order, into a column.
    pub fn deliver<'a>(blocks: impl Iterator<Item = &'a Sum<R>> + Clone, column: &mut [R]) {
        let mut totals = blocks.clone().filter_map(|b| if let Sum::Total(total) = b { Some(total) } else { None });
        if let Some(first) = totals.next() {
            if totals.next().is_none() {
                return first.deliver(column);
            }
            for (at, number) in column.iter_mut().enumerate() {
                *number = R::of(blocks.clone().map(|b| b.total(at)).sum());
            }
            return;
        }
        // Up to here the column holds the sums so far; what follows is still of an earlier step.
        let mut end = 0;
        for block in blocks {
            if let Sum::Segments { first, width, sums, .. } = block {
                let (from, to) = (first * width, first * width + sums.len());
                column[end.min(from)..from].fill(R::ZERO);
                let known = end.clamp(from, to);
                add_scaled(&mut column[from..known], R::ONE, &sums[..known - from]);
                column[known..to].copy_from_slice(&sums[known - from..]);
                end = end.max(to);
            }
        }
        column[end..].fill(R::ZERO);
    }

    /// Adds to the total of one number a row.
    pub fn add_number(&mut self, number: R) {
        if let Sum::Total(total) = self {
            total.add_number(number.wide());
        }
    }

    fn total(&self, at: usize) -> f64 {
        if let Sum::Total(total) = self { total.at(at) } else { 0.0 }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn add<R: Element>(
    w: &Workspace<R>,
    view: &View<R>,
    chunk: Chunk,
    term: Term,
    index: Option<Index>,
    width: usize,
    columns: usize,
    sum: &mut Sum<R>,
) {
    match sum {
        Sum::Total(Total { chunks, chunk: partial, sum }) => add_total(w, view, chunk, term, width, columns, sum, partial, chunks),
        Sum::Segments { first, sums, touched, .. } => {
            let parents = Parents::new(index.expect("a segment sum has an index"), w, view, chunk, *first);
            touched.note(chunk, parents.places);
            match term {
                Term::Plain(a) if width == 1 => {
                    let a = flat(w, view, chunk, a, 1);
                    match parents.places.runs(chunk.len) {
                        Some(runs) => {
                            for (parent, lanes) in runs {
                                sums[parent - *first] += R::of(all(part(a, &lanes), lanes.len()));
                            }
                        }
                        None => parents.add_numbers(chunk.len, |lane| number(a, lane), sums),
                    }
                }
                Term::Scaled(a, b) if width == 1 => {
                    let (a, b) = (flat(w, view, chunk, a, 1), flat(w, view, chunk, b, 1));
                    match parents.places.runs(chunk.len) {
                        Some(runs) => {
                            for (parent, lanes) in runs {
                                sums[parent - *first] += R::of(all_products(part(a, &lanes), part(b, &lanes), lanes.len()));
                            }
                        }
                        None => parents.add_numbers(chunk.len, |lane| number(a, lane) * number(b, lane), sums),
                    }
                }
                Term::Plain(v) => {
                    let v = vectors(w, view, chunk, v, width);
                    scatter_rows(&[R::ONE], v, chunk.len, parents, sums);
                }
                Term::Scaled(s, v) => {
                    let (s, v) = (flat(w, view, chunk, s, 1), vectors(w, view, chunk, v, width));
                    scatter_rows(s, v, chunk.len, parents, sums);
                }
                Term::Outer(u, v) => {
                    let (u, v) = (vectors(w, view, chunk, u, width / columns), vectors(w, view, chunk, v, columns));
                    for lane in 0..chunk.len {
                        let into = &mut sums[parents.of(lane) * width..][..width];
                        for (o, &u) in into.chunks_exact_mut(columns).zip(u.row(lane)) {
                            add_scaled(o, u, v.row(lane));
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add_total<R: Element>(
    w: &Workspace<R>,
    view: &View<R>,
    chunk: Chunk,
    term: Term,
    width: usize,
    columns: usize,
    total: &mut [f64],
    partial: &mut [R],
    chunks: &mut Chunks,
) {
    if *chunks == Chunks::One {
        total.iter_mut().zip(&*partial).for_each(|(t, p)| *t = p.wide());
    }
    let before = std::mem::replace(chunks, Chunks::Several);
    match term {
        Term::Plain(a) if width == 1 => {
            let a = flat(w, view, chunk, a, 1);
            total[0] += all(a, chunk.len);
            return;
        }
        Term::Scaled(a, b) if width == 1 => {
            let (a, b) = (flat(w, view, chunk, a, 1), flat(w, view, chunk, b, 1));
            total[0] += all_products(a, b, chunk.len);
            return;
        }
        _ => {}
    }
    let out = &mut partial[..width];
    match term {
        Term::Plain(v) => {
            let v = vectors(w, view, chunk, v, width);
            out.fill(R::ZERO);
            sum_rows(&[R::ONE], v, 0..chunk.len, out);
        }
        Term::Scaled(s, v) => {
            let (s, v) = (flat(w, view, chunk, s, 1), vectors(w, view, chunk, v, width));
            out.fill(R::ZERO);
            sum_rows(s, v, 0..chunk.len, out);
        }
        Term::Outer(u, v) => {
            let (u, v) = (flat(w, view, chunk, u, width / columns), flat(w, view, chunk, v, columns));
            sum_of_outer_products(u, v, columns, out);
        }
    }
    if before == Chunks::None {
        *chunks = Chunks::One;
        return;
    }
    for (t, &p) in total.iter_mut().zip(&*out) {
        *t += p.wide();
    }
}

/// The sum over so many lanes; one number stands for all.
#[inline(always)]
fn all<R: Element>(a: &[R], lanes: usize) -> f64 {
    R::sum(a).wide() * if a.len() == 1 { lanes as f64 } else { 1.0 }
}

#[inline(always)]
fn all_products<R: Element>(a: &[R], b: &[R], lanes: usize) -> f64 {
    if a.len() == b.len() && a.len() == lanes {
        R::sum_of_products(a, b).wide()
    } else if a.len() == 1 {
        a[0].wide() * all(b, lanes)
    } else {
        R::sum(a).wide() * b[0].wide()
    }
}

/// Totals of `function(a, b)` (its first sum) and of its product with a weight (its second).
#[inline(always)]
pub(super) fn add_totals<R: Real>(
    w: &Workspace<R>,
    view: &View<R>,
    chunk: Chunk,
    function: Binary,
    [a, b, weight]: [Operand; 3],
) -> (R, R) {
    let (a, b, weight) = (flat(w, view, chunk, a, 1), flat(w, view, chunk, b, 1), flat(w, view, chunk, weight, 1));
    match function {
        Binary::Multiply => weighed_sums(|a, b| Binary::Multiply.value(a, b), a, b, weight),
        Binary::AndNot => weighed_sums(|a, b| Binary::AndNot.value(a, b), a, b, weight),
        other => unreachable!("{} is written out before it is summed", other.name()),
    }
}

/// The parent of each lane, counted from the first that the block's sums cover.
#[derive(Clone, Copy)]
struct Parents<'a> {
    places: Places<'a>,
    first: usize,
}

impl<'a> Parents<'a> {
    #[inline(always)]
    fn new<R: Real>(index: Index, w: &'a Workspace<R>, view: &'a View<'a, R>, chunk: Chunk, first: usize) -> Self {
        Self { places: places(w, view, chunk, index), first }
    }

    #[inline(always)]
    fn of(&self, lane: usize) -> usize {
        self.places.of(lane) - self.first
    }

    /// Adds one number of each lane to the sum of its parent.
    #[inline(always)]
    fn add_numbers<R: Real>(&self, lanes: usize, numbers: impl Fn(usize) -> R, sums: &mut [R]) {
        match self.places {
            Places::From(begin) => {
                for (lane, sum) in sums[begin - self.first..][..lanes].iter_mut().enumerate() {
                    *sum += numbers(lane);
                }
            }
            Places::Stored(rows) => {
                for (lane, row) in rows[..lanes].iter().enumerate() {
                    sums[*row as usize - self.first] += numbers(lane);
                }
            }
            _ => {
                for lane in 0..lanes {
                    sums[self.of(lane)] += numbers(lane);
                }
            }
        }
    }
}

/// The numbers of some lanes, where one number may stand for all.
#[inline(always)]
fn part<'a, R>(numbers: &'a [R], lanes: &Range<usize>) -> &'a [R] {
    if numbers.len() == 1 { numbers } else { &numbers[lanes.clone()] }
}

/// Adds each row, scaled, to the sums of its parent.
#[inline(always)]
fn scatter_rows<R: Real>(s: &[R], v: Vectors<R>, count: usize, parents: Parents, sums: &mut [R]) {
    let width = v.width;
    match parents.places.runs(count) {
        Some(runs) => {
            for (parent, lanes) in runs {
                sum_rows(s, v, lanes, &mut sums[(parent - parents.first) * width..][..width]);
            }
        }
        None => {
            for lane in 0..count {
                add_scaled(&mut sums[parents.of(lane) * width..][..width], number(s, lane), v.row(lane));
            }
        }
    }
}

/// Adds rows, scaled, to one sum; four rows at a time, so that the sum is loaded and stored less often.
#[inline(always)]
fn sum_rows<R: Real>(s: &[R], v: Vectors<R>, lanes: Range<usize>, out: &mut [R]) {
    let whole = lanes.start + lanes.len() / 4 * 4;
    for lane in (lanes.start..whole).step_by(4) {
        let factors = [number(s, lane), number(s, lane + 1), number(s, lane + 2), number(s, lane + 3)];
        add_four_scaled(out, factors, v.rows(lane));
    }
    for lane in whole..lanes.end {
        add_scaled(out, number(s, lane), v.row(lane));
    }
}

/// Two scatters of one factor: in one sweep, so that each row's vectors are read while they are near,
/// unless rows of a parent stand side by side.
#[inline(always)]
pub(super) fn add_both<R: Real>(
    w: &Workspace<R>,
    view: &View<R>,
    chunk: Chunk,
    factor: Operand,
    scatters: [Scatter; 2],
    sums: &mut [Sum<R>; 2],
) {
    let [
        Sum::Segments { first: first1, sums: sums1, touched: touched1, .. },
        Sum::Segments { first: first2, sums: sums2, touched: touched2, .. },
    ] = sums
    else {
        unreachable!("a scatter adds to segments")
    };
    let s = flat(w, view, chunk, factor, 1);
    let [one, two] = scatters;
    let (a, b) = (vectors(w, view, chunk, one.vectors, one.width as usize), vectors(w, view, chunk, two.vectors, two.width as usize));
    let of_a = Parents::new(one.index, w, view, chunk, *first1);
    let of_b = Parents::new(two.index, w, view, chunk, *first2);
    touched1.note(chunk, of_a.places);
    touched2.note(chunk, of_b.places);
    if [of_a, of_b].iter().any(|parents| parents.places.runs(chunk.len).is_some()) {
        scatter_rows(s, a, chunk.len, of_a, sums1);
        scatter_rows(s, b, chunk.len, of_b, sums2);
        return;
    }
    for lane in 0..chunk.len {
        let s = number(s, lane);
        add_scaled(&mut sums1[of_a.of(lane) * a.width..][..a.width], s, a.row(lane));
        add_scaled(&mut sums2[of_b.of(lane) * b.width..][..b.width], s, b.row(lane));
    }
}
