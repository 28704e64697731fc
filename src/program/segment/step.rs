//! Runs a whole-segment operation over stored columns. Segments are shared out by their number alone and are
//! computed in double precision, so any number of threads gives the same bits. All memory is taken when a share is made.

use super::super::graph::{Domain, Graph, Op, Value};
use super::super::kernel::{Lanes, Store};
use super::super::memory::{Column, View};
use super::root::{self, Weighed};
use super::{Segment, Segments, extremum, pairs};
use crate::scalar::Unary;
use std::fmt;
use std::ops::Range;

/// One operation.
pub(in super::super) struct Step {
    pub value: Value,
    segment: Segment,
    pub segments: Segments,
    pub child: Domain,
    pub parent: Domain,
    /// Where each segment's rows begin, and where the last one's end.
    starts: Vec<u32>,
    /// Whether the orders of the segments are the same at each step.
    keeps_order: bool,
    /// Whether each segment is ordered anew in the same place: a cross product has too many rows to keep their order.
    one_order: bool,
    /// The stage before it, of the same strip, that has arranged the same rows by the same scores.
    pub arranged_by: Option<usize>,
}

/// Segments, or rows of them, that one thread computes, and their results.
pub(in super::super) struct Share<R> {
    segments: Range<usize>,
    rows: Range<usize>,
    pub scratch: Scratch,
    pub out: Store<R>,
    /// Whether the orders of the segments are those of the step before.
    ordered: bool,
}

/// Columns of the segment at hand.
#[derive(Default)]
pub(in super::super) struct Scratch {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub out: Vec<f64>,
    /// What is left of a row's amount at the next one in the order, where amounts run along, as `order`.
    pub decays: Vec<f64>,
    /// The rows of each segment of the block in the order of the last step, counted within the segment.
    pub order: Vec<u32>,
    /// The root of each segment of the block at the last step and how far it moved there, and the number of the first segment.
    pub roots: Vec<[f64; 2]>,
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
    fn column<'c, R>(&self, column: Column<'c, R>) -> Option<&'c [R]> {
        (self.listed.is_none() && column.numbers.len() > 1).then(|| &column.numbers[self.start - column.first..][..self.len])
    }

    #[inline(always)]
    fn row(&self, k: usize) -> usize {
        self.listed.map_or(self.start + k, |list| list[k] as usize)
    }

    fn rows(&self) -> impl Iterator<Item = usize> {
        (0..self.len).map(|k| self.row(k))
    }
}

/// Rows (or pairs of them) that are worth a thread.
const BLOCK_WORK: usize = 32_768;
const MOST_BLOCKS: usize = 16;

impl Step {
    pub fn new(graph: &Graph, value: Value) -> Self {
        let Op::Segment(segment, segments) = graph.node(value).op else { unreachable!("a step computes a whole-segment operation") };
        let (child, parent) = graph.sides(segments);
        let starts = match segments {
            Segments::All(_) => vec![0, graph.rows(child) as u32],
            Segments::Of(index) => graph.0.borrow().indices[index.0 as usize].rows.starts(graph.rows(parent)),
        };
        let one_order = graph.is_product(child);
        let frozen = matches!(segment, Segment::Chance { values, .. } | Segment::Rest { values, .. } if graph.is_frozen(values));
        let keeps_order = frozen && !one_order;
        Self { value, segment, segments, child, parent, starts, keeps_order, one_order, arranged_by: None }
    }

    /// What its rows are arranged by: scores, unit and segments; `None` where they are not, or anew in the same place.
    pub fn arrangement(&self) -> Option<(Value, Value, Segments)> {
        match self.segment {
            Segment::Pairs { scores, unit, shape: Unary::LaplaceCdf, .. } if !self.one_order => Some((scores, unit, self.segments)),
            _ => None,
        }
    }

    /// The operation cut into shares by the number of rows alone, each with all of its results, of `width` numbers.
    /// `sampled`: later steps may run over some of the rows only.
    pub fn shares<R: Lanes>(&self, width: usize, sampled: bool) -> Vec<Share<R>> {
        let share = |(segments, rows): (Range<usize>, Range<usize>)| {
            let of = if self.segment.is_of_parent() { &segments } else { &rows };
            let out = Store { numbers: vec![R::ZERO; of.len() * width], first: of.start, passing: false };
            self.share(segments, rows, out)
        };
        cuts(self.segment, &self.starts, sampled).into_iter().map(share).collect()
    }

    /// A share of whole segments, or of rows of them, that leaves its results in `out`.
    pub fn share<R: Lanes>(&self, segments: Range<usize>, rows: Range<usize>, out: Store<R>) -> Share<R> {
        let starts = &self.starts;
        let longest = starts[segments.start..=segments.end].windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0) as usize;
        let arranged = match self.arranged_by {
            Some(_) => 0,
            None if self.one_order => longest,
            None => rows.len(),
        };
        let mut scratch = Scratch::with_room(self.segment, &segments, longest, arranged);
        if !self.one_order && !scratch.order.is_empty() {
            for s in segments.clone() {
                let (start, end) = (starts[s] as usize, starts[s + 1] as usize);
                let positions = scratch.order[start - rows.start..end - rows.start].iter_mut();
                positions.enumerate().for_each(|(k, o)| *o = k as u32);
            }
        }
        Share { segments, rows, scratch, out, ordered: false }
    }

    /// Bytes that a row reads and writes in memory.
    pub fn bytes_moved<R>(&self) -> usize {
        (self.segment.operands().into_iter().flatten().count() + 1) * size_of::<R>()
    }

    pub fn is_of_parent(&self) -> bool {
        self.segment.is_of_parent()
    }

    /// Computes all segments of a share.
    pub fn run<R: Lanes>(&self, view: &View<R>, share: &mut Share<R>) {
        if let Segments::All(_) = self.segments {
            share.scratch.relist(self.starts[1] as usize);
        }
        self.run_within(view, share, share.segments.clone());
        share.ordered = self.keeps_order;
    }

    /// Computes some segments of a share. Once it has gone over all of them, [`Step::finish`] follows.
    pub fn run_within<R: Lanes>(&self, view: &View<R>, share: &mut Share<R>, segments: Range<usize>) {
        if let Segment::Stack { values, .. } = self.segment {
            return segments.for_each(|p| self.copy(view, values, &mut share.out, p));
        }
        let arranged = self.arranged_by.and_then(|stage| view.works[stage].scratch());
        let job = Job { step: self, view, ordered: share.ordered, arranged };
        segments.for_each(|s| job.whole(s, share.rows.clone(), &mut share.scratch, &mut share.out));
    }

    pub fn finish<R>(&self, share: &mut Share<R>) {
        share.ordered = self.keeps_order;
    }

    /// Computes the segments of the active parents, or of the active rows where there is one segment of all.
    pub fn run_listed<R: Lanes>(&self, view: &View<R>, share: &mut Share<R>, rows: Option<&[u32]>, parents: Option<&[u32]>) {
        share.ordered = false;
        let job = Job { step: self, view, ordered: false, arranged: None };
        match (self.segments, rows, parents, self.segment) {
            (_, _, Some(parents), Segment::Stack { values, .. }) => {
                parents.iter().for_each(|p| self.copy(view, values, &mut share.out, *p as usize))
            }
            (Segments::All(_), Some(rows), ..) => {
                let members = Members { start: 0, len: rows.len(), listed: Some(rows) };
                share.scratch.relist(rows.len());
                job.compute(0, members, 0..self.starts[1] as usize, 0, &mut share.scratch, &mut share.out);
            }
            (Segments::Of(_), _, Some(parents), _) => {
                parents.iter().for_each(|p| job.whole(*p as usize, share.rows.clone(), &mut share.scratch, &mut share.out))
            }
            _ => self.run(view, share),
        }
    }

    /// The numbers of a segment as they lie; one vector may stand for all segments.
    fn copy<R: Lanes>(&self, view: &View<R>, from: Value, out: &mut Store<R>, p: usize) {
        let (rows, segments) = (self.starts[self.starts.len() - 1] as usize, self.starts.len() - 1);
        let (width, from_width) = (view.width(self.value), view.width(from));
        let each = if self.segment.is_of_parent() { width } else { width * rows / segments };
        let from = view.column(from);
        let begin = if from.numbers.len() == each { 0 } else { p * each - from.first * from_width };
        out.numbers[p * each - out.first * width..][..each].copy_from_slice(&from.numbers[begin..][..each]);
    }
}

impl<R> Share<R> {
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of its own memory, but for its results.
    pub fn bytes(&self) -> usize {
        let scratch = &self.scratch;
        (scratch.x.len() + scratch.y.len() + scratch.out.len() + scratch.decays.len() + 2 * scratch.roots.len()) * 8
            + scratch.order.len() * 4
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
            Segment::Root { .. } | Segment::Extremum { .. } | Segment::Prefix { .. } | Segment::Stack { .. } => false,
            Segment::Pairs { shape, .. } => shape == Unary::LaplaceCdf,
            Segment::Chance { .. } | Segment::Rest { .. } => true,
        };
        let roots = if matches!(segment, Segment::Root { .. }) { vec![[f64::NAN; 2]; segments.len()] } else { vec![] };
        let order = if sorts { vec![u32::MAX; rows] } else { vec![] };
        let runs = matches!(segment, Segment::Pairs { shape: Unary::LaplaceCdf, .. });
        let decays = if runs { vec![0.0; rows] } else { vec![] };
        Self { x: column(), y: column(), out: column(), decays, order, roots, first: segments.start }
    }
}

/// Segments and rows of each share.
fn cuts(segment: Segment, starts: &[u32], sampled: bool) -> Vec<(Range<usize>, Range<usize>)> {
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
            (segments, rows)
        })
        .collect()
}

/// What every segment is computed from.
struct Job<'a, R> {
    step: &'a Step,
    view: &'a View<'a, R>,
    ordered: bool,
    /// Where another has arranged the same rows.
    arranged: Option<&'a Scratch>,
}

impl<R: Lanes> Job<'_, R> {
    /// A segment all of whose rows take part; `rows` are those of the share.
    fn whole(&self, s: usize, rows: Range<usize>, scratch: &mut Scratch, out: &mut Store<R>) {
        let (start, end) = (self.step.starts[s] as usize, self.step.starts[s + 1] as usize);
        let members = Members { start, len: end - start, listed: None };
        let wanted = rows.start.max(start)..rows.end.min(end);
        let order = if self.step.one_order { 0 } else { start.saturating_sub(rows.start) };
        if self.step.one_order {
            scratch.order.iter_mut().take(members.len).enumerate().for_each(|(k, o)| *o = k as u32);
        }
        self.compute(s, members, wanted.start - start..wanted.end.max(wanted.start) - start, order, scratch, out);
    }

    /// `wanted`: the positions within the segment whose numbers are to be written.
    fn compute(&self, s: usize, members: Members, wanted: Range<usize>, order: usize, scratch: &mut Scratch, out: &mut Store<R>) {
        let (n, wanted) = (members.len, wanted.start.min(members.len)..wanted.end.min(members.len));
        let one = |v: Value, row: usize| number(self.view.column(v), row);
        let in_place = |v: Value| members.column(self.view.column(v));
        let load = |v: Value, into: &mut [f64]| match in_place(v) {
            Some(numbers) => into.iter_mut().zip(numbers).for_each(|(x, number)| *x = number.wide()),
            None => {
                let column = self.view.column(v);
                members.rows().zip(into).for_each(|(row, x)| *x = number(column, row));
            }
        };
        let (begin, out) = (out.first, &mut out.numbers);
        let Scratch { x, y, out: results, decays, order: orders, roots, first } = scratch;
        let (x, y, results) = (&mut x[..n], &mut y[..n], &mut results[..n]);
        match self.step.segment {
            Segment::Root { scores, weights, target, unit, shape } => {
                let [last, moved] = &mut roots[s - *first];
                let near = if moved.is_finite() { *last + *moved } else { *last };
                let (target, unit, same) = (one(target, s), one(unit, s), self.view.column(weights).numbers);
                let theta = match (in_place(scores), in_place(weights).or((same.len() == 1).then_some(same))) {
                    (Some(scores), Some(weights)) => root::root(shape, Weighed { scores, weights }, target, unit, near),
                    _ => {
                        load(scores, x);
                        load(weights, y);
                        root::root(shape, Weighed { scores: &*x, weights: &*y }, target, unit, near)
                    }
                };
                (*last, *moved) = (theta, theta - *last);
                out[s - begin] = R::of(theta);
                return;
            }
            Segment::Pairs { scores, amounts, unit, shape: Unary::LaplaceCdf, slope } => {
                let (order, decays) = match self.arranged {
                    Some(Scratch { order: orders, decays, .. }) => (&orders[order..order + n], &decays[order..order + n]),
                    None => {
                        let (order, decays) = (&mut orders[order..order + n], &mut decays[order..order + n]);
                        load(scores, x);
                        pairs::arrange(x, one(unit, s), order, decays);
                        (&*order, &*decays)
                    }
                };
                let column = self.view.column(amounts);
                match (in_place(amounts), column.numbers) {
                    (_, [same]) => x.fill(same.wide()),
                    (Some(amounts), _) => order.iter().zip(&mut *x).for_each(|(k, x)| *x = amounts[*k as usize].wide()),
                    (None, _) => order.iter().zip(&mut *x).for_each(|(k, x)| *x = number(column, members.row(*k as usize))),
                }
                pairs::laplace(slope, x, decays, y, results);
                order.iter().zip(&*results).for_each(|(k, result)| out[members.row(*k as usize) - begin] = R::of(*result));
                return;
            }
            Segment::Pairs { scores, amounts, unit, shape, slope } => {
                load(scores, x);
                load(amounts, y);
                pairs::all(shape, slope, x, y, one(unit, s), wanted.clone(), results);
            }
            Segment::Extremum { values, weights, chance } => {
                out[s - begin] = R::of(match [values, weights, chance].map(in_place) {
                    [Some(values), Some(weights), Some(chance)] => extremum::expected(values, weights, chance),
                    _ => {
                        load(values, x);
                        load(weights, y);
                        load(chance, results);
                        extremum::expected(x, y, results)
                    }
                });
                return;
            }
            Segment::Chance { values, weights } | Segment::Rest { values, weights } => {
                let order = &mut orders[order..order + n];
                let only_chances = matches!(self.step.segment, Segment::Chance { .. });
                if let [Some(values), Some(weights)] = [values, weights].map(in_place) {
                    if !self.ordered {
                        pairs::sort(order, |a, b| values[b].wide().total_cmp(&values[a].wide()));
                    }
                    let out = &mut out[members.start - begin..][..n];
                    return if only_chances {
                        extremum::chances(weights, order, out)
                    } else {
                        extremum::rests(values, weights, order, out)
                    };
                }
                load(values, x);
                load(weights, y);
                pairs::sort(order, |a, b| x[b].total_cmp(&x[a]));
                if only_chances { extremum::chances(y, order, results) } else { extremum::rests(x, y, order, results) }
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
fn number<R: Lanes>(column: Column<R>, row: usize) -> f64 {
    column.numbers[if column.numbers.len() == 1 { 0 } else { row - column.first }].wide()
}

fn prefix(backwards: bool, x: &[f64], out: &mut [f64]) {
    let mut sum = 0.0;
    let mut add = |(x, out): (&f64, &mut f64)| {
        sum += x;
        *out = sum;
    };
    if backwards { x.iter().zip(out).rev().for_each(&mut add) } else { x.iter().zip(out).for_each(&mut add) }
}
