//! Runs a whole-segment operation over stored columns. Segments are cut into blocks by their number alone and are
//! computed in double precision, so any number of threads gives the same bits. All memory is taken when the step is made.

use super::super::graph::{Graph, Op, Value};
use super::super::kernel::Lanes;
use super::super::machine::Memory;
use super::{Part, Segment, Segments, extremum, pairs, root};
use crate::scalar::Unary;
use std::fmt;
use std::ops::Range;

/// One operation with its memory.
pub(in super::super) struct Step {
    pub value: Value,
    segment: Segment,
    pub segments: Segments,
    pub child: usize,
    pub parent: usize,
    /// Where each segment's rows begin, and where the last one's end.
    starts: Vec<u32>,
    blocks: Vec<Block>,
    /// Whether the orders of the segments are those of the step before: they are found once where they do not change.
    ordered: bool,
    keeps_order: bool,
}

/// Segments, or rows of them, that one thread computes.
struct Block {
    segments: Range<usize>,
    rows: Range<usize>,
    scratch: Scratch,
}

/// Columns of the segment at hand.
#[derive(Default)]
pub(super) struct Scratch {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub out: Vec<f64>,
    /// The rows of each segment of the block in the order of the last step, counted within the segment.
    pub order: Vec<u32>,
    /// The root of each segment of the block at the last step, and the number of the first segment.
    pub roots: Vec<f64>,
    pub first: usize,
}

/// The rows of one segment.
#[derive(Clone, Copy)]
struct Members<'a> {
    start: usize,
    len: usize,
    listed: Option<&'a [u32]>,
}

impl Members<'_> {
    /// Their numbers, where they lie next to each other in a column.
    fn column<'c, R>(&self, column: &'c [R]) -> Option<&'c [R]> {
        (self.listed.is_none() && column.len() > 1).then(|| &column[self.start..][..self.len])
    }

    fn rows(&self) -> impl Iterator<Item = usize> {
        (0..self.len).map(|k| self.listed.map_or(self.start + k, |list| list[k] as usize))
    }
}

/// Rows (or pairs of them) that are worth a thread.
const BLOCK_WORK: usize = 32_768;
const MOST_BLOCKS: usize = 16;

impl Step {
    /// `sampled`: later steps may run over some of the rows only.
    pub fn new(graph: &Graph, value: Value, sampled: bool) -> Self {
        let Op::Segment(segment, segments) = graph.node(value).op else { unreachable!("a step computes a whole-segment operation") };
        let (child, parent) = graph.sides(segments);
        let (rows, count) = (graph.rows(child), graph.rows(parent));
        let starts = match segments {
            Segments::All(_) => vec![0, rows as u32],
            Segments::Of(index) => graph.0.borrow().indices[index.0 as usize].rows.starts(count),
        };
        let blocks = blocks(segment, &starts, sampled);
        let keeps_order = matches!(segment, Segment::Extremum { values, .. } if graph.is_frozen(values));
        let (child, parent) = (child.0 as usize, parent.0 as usize);
        Self { value, segment, segments, child, parent, starts, blocks, ordered: false, keeps_order }
    }

    /// Bytes of the step's own memory.
    pub fn bytes(&self) -> usize {
        self.blocks
            .iter()
            .map(|b| (b.scratch.x.len() + b.scratch.y.len() + b.scratch.out.len() + b.scratch.roots.len()) * 8 + b.scratch.order.len() * 4)
            .sum()
    }

    /// Computes the value of every segment, or of the active ones: `rows` of the child and `parents`.
    pub fn run<R: Lanes>(&mut self, memory: &Memory<R>, out: &mut [R], rows: Option<&[u32]>, parents: Option<&[u32]>) {
        if let Segment::Stack { values, .. } = self.segment {
            return self.copy(memory.column(values), out, parents);
        }
        let all = rows.is_none() && parents.is_none();
        let job = Job { segment: self.segment, starts: &self.starts, memory, ordered: self.ordered && all };
        self.ordered = self.keeps_order && all;
        match (self.segments, rows, parents) {
            (Segments::All(_), Some(rows), _) => {
                let members = Members { start: 0, len: rows.len(), listed: Some(rows) };
                self.blocks[0].scratch.relist(rows.len());
                job.compute(0, members, 0..self.starts[1] as usize, 0, &mut self.blocks[0].scratch, 0, out);
            }
            (Segments::Of(_), _, Some(parents)) => {
                let block = &mut self.blocks[0];
                for &p in parents {
                    job.whole(p as usize, block.rows.clone(), 0, 0, &mut block.scratch, out);
                }
            }
            _ => {
                if let Some(block) = self.blocks.first_mut()
                    && matches!(self.segments, Segments::All(_))
                {
                    block.scratch.relist(self.starts[1] as usize);
                }
                job.all(&mut self.blocks, out);
            }
        }
    }
}

impl Step {
    /// The numbers of each segment as they lie; one vector may stand for all segments.
    fn copy<R: Lanes>(&self, from: &[R], out: &mut [R], parents: Option<&[u32]>) {
        let segments = self.starts.len() - 1;
        let width = out.len() / segments;
        let of = |p: usize| if from.len() == width { from } else { &from[p * width..][..width] };
        match parents {
            None => out.chunks_exact_mut(width).enumerate().for_each(|(p, place)| place.copy_from_slice(of(p))),
            Some(parents) => parents.iter().map(|p| *p as usize).for_each(|p| out[p * width..][..width].copy_from_slice(of(p))),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step over {} segments of {} rows\n  {:?}", self.starts.len() - 1, self.starts[self.starts.len() - 1], self.segment)
    }
}

impl Scratch {
    /// Orders of one segment of another length start anew.
    fn relist(&mut self, len: usize) {
        if self.order.len() != len {
            self.order.clear();
            self.order.extend(0..len as u32);
        }
    }

    fn with_room(segment: Segment, segments: &Range<usize>, longest: usize, rows: usize) -> Self {
        let column = || vec![0.0; longest];
        let sorts = match segment {
            Segment::Root { .. } | Segment::Prefix { .. } | Segment::Stack { .. } => false,
            Segment::Pairs { shape, .. } => shape == Unary::LaplaceCdf,
            Segment::Extremum { .. } => true,
        };
        let roots = if matches!(segment, Segment::Root { .. }) { vec![f64::NAN; segments.len()] } else { vec![] };
        let order = if sorts { vec![u32::MAX; rows] } else { vec![] };
        Self { x: column(), y: column(), out: column(), order, roots, first: segments.start }
    }
}

fn blocks(segment: Segment, starts: &[u32], sampled: bool) -> Vec<Block> {
    let (count, rows) = (starts.len() - 1, starts[starts.len() - 1] as usize);
    let all_pairs = matches!(segment, Segment::Pairs { shape, .. } if shape != Unary::LaplaceCdf);
    let lengths = starts.windows(2).map(|s| (s[1] - s[0]) as usize);
    let work: usize = if all_pairs { lengths.map(|n| n * n / 8).sum() } else { rows };
    let wanted = if sampled { 1 } else { (work / BLOCK_WORK).clamp(1, MOST_BLOCKS) };
    let mut cuts: Vec<usize> = (0..=wanted).map(|b| rows * b / wanted).collect();
    if !all_pairs {
        // A segment is not cut.
        for cut in &mut cuts[1..wanted] {
            *cut = starts[starts.partition_point(|s| (*s as usize) < *cut)] as usize;
        }
    }
    let mut first = 0;
    (0..wanted)
        .map(|b| {
            let rows = cuts[b]..cuts[b + 1];
            let segments = if all_pairs {
                let begin = starts.partition_point(|s| *s as usize <= rows.start).saturating_sub(1);
                begin..starts[..count].partition_point(|s| (*s as usize) < rows.end).max(begin)
            } else {
                let end = if b + 1 == wanted { count } else { starts.partition_point(|s| (*s as usize) < rows.end).min(count) };
                std::mem::replace(&mut first, end)..end
            };
            let longest = starts[segments.start..=segments.end].windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0) as usize;
            let mut scratch = Scratch::with_room(segment, &segments, longest, rows.len());
            if !scratch.order.is_empty() {
                for s in segments.clone() {
                    let (start, end) = (starts[s] as usize, starts[s + 1] as usize);
                    let positions = scratch.order[start - rows.start..end - rows.start].iter_mut();
                    positions.enumerate().for_each(|(k, o)| *o = k as u32);
                }
            }
            Block { segments, rows, scratch }
        })
        .collect()
}

/// What every block computes.
struct Job<'a, R> {
    segment: Segment,
    starts: &'a [u32],
    memory: &'a Memory<R>,
    ordered: bool,
}

impl<R: Lanes> Job<'_, R> {
    fn all(&self, blocks: &mut [Block], out: &mut [R]) {
        let first = |b: &Block| if self.segment.is_of_parent() { b.segments.start } else { b.rows.start };
        match blocks {
            [] => {}
            [block] => {
                let begin = first(block);
                for s in block.segments.clone() {
                    self.whole(s, block.rows.clone(), begin, block.rows.start, &mut block.scratch, out);
                }
            }
            blocks => {
                let (left, right) = blocks.split_at_mut(blocks.len() / 2);
                let (before, after) = out.split_at_mut(first(&right[0]) - first(&left[0]));
                rayon::join(|| self.all(left, before), || self.all(right, after));
            }
        }
    }

    /// A segment all of whose rows take part; `begin` is where `out` begins, `ordered` where the orders do.
    fn whole(&self, s: usize, rows: Range<usize>, begin: usize, ordered: usize, scratch: &mut Scratch, out: &mut [R]) {
        let (start, end) = (self.starts[s] as usize, self.starts[s + 1] as usize);
        let members = Members { start, len: end - start, listed: None };
        let wanted = rows.start.max(start)..rows.end.min(end);
        let order = start.saturating_sub(ordered);
        self.compute(s, members, wanted.start - start..wanted.end.max(wanted.start) - start, order, scratch, begin, out);
    }

    /// `wanted`: the positions within the segment whose numbers are to be written.
    #[expect(clippy::too_many_arguments, reason = "one segment and where its results go")]
    fn compute(&self, s: usize, members: Members, wanted: Range<usize>, order: usize, scratch: &mut Scratch, begin: usize, out: &mut [R]) {
        let (n, wanted) = (members.len, wanted.start.min(members.len)..wanted.end.min(members.len));
        let one = |v: Value, row: usize| number(self.memory.column(v), row);
        let load = |v: Value, into: &mut [f64]| {
            let column = self.memory.column(v);
            members.rows().zip(into).for_each(|(row, x)| *x = number(column, row));
        };
        let Scratch { x, y, out: results, order: orders, roots, first } = scratch;
        let (x, y, results) = (&mut x[..n], &mut y[..n], &mut results[..n]);
        match self.segment {
            Segment::Root { scores, weights, target, unit, shape } => {
                load(scores, x);
                load(weights, y);
                let near = &mut roots[s - *first];
                *near = root::root(shape, x, y, one(target, s), one(unit, s), *near);
                out[s - begin] = R::of(*near);
                return;
            }
            Segment::Pairs { scores, amounts, unit, shape, slope } => {
                load(scores, x);
                load(amounts, y);
                let unit = one(unit, s);
                if shape == Unary::LaplaceCdf {
                    pairs::laplace(slope, x, y, unit, &mut orders[order..order + n], results);
                } else {
                    pairs::all(shape, slope, x, y, unit, wanted.clone(), results);
                }
            }
            Segment::Extremum { values, weights, part } => {
                let order = &mut orders[order..order + n];
                let value = match (members.column(self.memory.column(values)), members.column(self.memory.column(weights))) {
                    (Some(values), Some(weights)) => {
                        if !self.ordered {
                            pairs::sort(order, |a, b| values[b].wide().total_cmp(&values[a].wide()));
                        }
                        let of_rows = if part == Part::Value { &mut [] } else { &mut out[members.start - begin..][..n] };
                        let value = extremum::extremum(part, values, weights, order, of_rows);
                        if part != Part::Value {
                            return;
                        }
                        value
                    }
                    _ => {
                        load(values, x);
                        load(weights, y);
                        pairs::sort(order, |a, b| x[b].total_cmp(&x[a]));
                        extremum::extremum(part, x, y, order, results)
                    }
                };
                if part == Part::Value {
                    out[s - begin] = R::of(value);
                    return;
                }
            }
            Segment::Stack { .. } => unreachable!("it is copied as it lies"),
            Segment::Prefix { values, backwards } => {
                load(values, x);
                prefix(backwards, x, results);
            }
        }
        for (row, result) in members.rows().zip(&*results).skip(wanted.start).take(wanted.len()) {
            out[row - begin] = R::of(*result);
        }
    }
}

/// A row's number, where one number may stand for all rows.
fn number<R: Lanes>(column: &[R], row: usize) -> f64 {
    column[if column.len() == 1 { 0 } else { row }].wide()
}

fn prefix(backwards: bool, x: &[f64], out: &mut [f64]) {
    let mut sum = 0.0;
    let mut add = |(x, out): (&f64, &mut f64)| {
        sum += x;
        *out = sum;
    };
    if backwards { x.iter().zip(out).rev().for_each(&mut add) } else { x.iter().zip(out).for_each(&mut add) }
}
