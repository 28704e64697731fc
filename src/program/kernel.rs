//! The loops: each instruction over one chunk of rows, plain enough for the compiler to vectorize,
//! compiled for several instruction sets and chosen when the program runs. Same arithmetic in each.

use super::call::Calls;
use super::element::Element;
use super::graph::Index;
use super::map::compute;
use super::memory::{Column, Memory, View};
use super::operand::{Chunk, flat};
use super::profile::{Spent, clock, note};
use super::reduce::{Sum, Total, add, add_both, add_totals};
use super::schedule::{Action, Instruction, Operand, Pass, Term};
use super::segment::Sweeps;
use super::tile::{self, Extent, Planes, Tile};
use crate::buffer::Number;
use crate::scalar::Real;
use multiversion::multiversion;
use std::ops::Range;

/// Rows that a block goes over.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    Range(usize, usize),
    Listed(&'a [u32]),
}

/// A number type with a compiled loop for each instruction set.
pub trait Lanes: Sweeps + Element + Number {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn run(workspace: &mut Workspace<Self>, pass: &Pass, view: &View<Self>, rows: Rows);
}

macro_rules! lanes {
    ($float:ty, $run:ident) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $run(workspace: &mut Workspace<$float>, pass: &Pass, view: &View<$float>, rows: Rows) {
            run(workspace, pass, view, rows);
        }

        impl Lanes for $float {
            #[allow(private_interfaces)]
            fn run(workspace: &mut Workspace<$float>, pass: &Pass, view: &View<$float>, rows: Rows) {
                $run(workspace, pass, view, rows);
            }
        }
    };
}

lanes!(f32, run_f32);
lanes!(f64, run_f64);

/// Numbers that a block leaves behind, from row `first` on.
#[derive(Default)]
pub(super) struct Store<R> {
    pub numbers: Vec<R>,
    pub first: usize,
    /// Whether they are those of one window after another, which only stages of the same strip read.
    pub passing: bool,
}

impl<R> Store<R> {
    #[inline(always)]
    pub fn column(&self) -> Column<'_, R> {
        Column { numbers: &self.numbers, first: self.first }
    }
}

/// Registers, scratch and sums of one block.
pub(super) struct Workspace<R> {
    lanes: usize,
    pub registers: Vec<Box<[R]>>,
    pub stores: Vec<Store<R>>,
    pub sums: Vec<Sum<R>>,
    pub planes: Planes<R>,
    pub calls: Calls,
    /// While a program is profiled, what each instruction of the pass has taken, and its tiles at the end.
    pub spent: Vec<Spent>,
    /// Columns that elementwise instructions read, gathered when the rows are listed.
    pub scratch: Vec<(Operand, Box<[R]>)>,
    /// The parents of listed rows, by the index.
    pub parents: Vec<(Index, Box<[u32]>)>,
}

impl<R: Element> Workspace<R> {
    pub fn new(
        lanes: usize,
        pass: &Pass,
        memory: &Memory<R>,
        stores: impl Iterator<Item = Store<R>>,
        sums: impl Iterator<Item = (usize, Option<Range<usize>>)>,
    ) -> Self {
        let numbers = |n: usize| vec![R::ZERO; n].into_boxed_slice();
        let mut columns: Vec<Operand> = pass.instructions.iter().flat_map(flat_columns).collect();
        columns.sort_by_key(|o| format!("{o:?}"));
        columns.dedup();
        let width = |o: &Operand| if let Operand::Column(v) = o { memory.width(*v) } else { 0 };
        Self {
            lanes,
            registers: pass.registers.iter().map(|w| numbers(*w as usize * lanes)).collect(),
            stores: stores.collect(),
            sums: sums
                .map(|(width, span)| match span {
                    None => Sum::Total(Total::new(width)),
                    Some(parents) => Sum::of_parents(parents, width),
                })
                .collect(),
            spent: vec![],
            calls: Calls::new(pass, &memory.functions, lanes),
            planes: Planes::new(pass.tile.as_ref().unwrap_or(&Tile::default()), lanes),
            parents: pass.indices().into_iter().map(|index| (index, vec![0; lanes].into_boxed_slice())).collect(),
            scratch: columns.into_iter().map(|o| (o, numbers(width(&o) * lanes))).collect(),
        }
    }

    /// Begins to sum anew.
    pub fn clear(&mut self) {
        self.sums.iter_mut().for_each(Sum::clear);
    }

    /// From which row on the next rows are.
    pub fn begin(&mut self, row: usize) {
        self.stores.iter_mut().filter(|s| s.passing).for_each(|s| s.first = row);
    }

    pub fn numbers(&self) -> usize {
        let sums: usize = self.sums.iter().map(|s| if let Sum::Segments { sums, .. } = s { sums.len() } else { 0 }).sum();
        self.registers.iter().map(|r| r.len()).sum::<usize>()
            + self.stores.iter().map(|s| s.numbers.len()).sum::<usize>()
            + self.planes.numbers()
            + sums
    }
}
/// Columns that are read as flat slices.
fn flat_columns(instruction: &Instruction) -> Vec<Operand> {
    let flat = match *instruction {
        Instruction::Compute { action: Action::Scale(a, _), .. } => vec![a],
        Instruction::Compute { action: Action::RowsTimesMatrix { rows, .. }, .. } => vec![rows],
        Instruction::Compute { action, .. } if action.is_elementwise() => action.operands(),
        Instruction::AddTotals { .. } => instruction.operands(),
        Instruction::Store { .. } | Instruction::Add { term: Term::Plain(_) | Term::Scaled(..), width: 1, .. } => instruction.operands(),
        Instruction::Add { term: Term::Outer(..), index: None, .. } => instruction.operands(),
        Instruction::Add { term: Term::Scaled(a, _), .. } | Instruction::AddBoth { factor: a, .. } => vec![a],
        _ => vec![],
    };
    flat.into_iter().filter(|o| matches!(o, Operand::Column(_))).collect()
}

#[inline(always)]
fn run<R: Element>(w: &mut Workspace<R>, pass: &Pass, view: &View<R>, rows: Rows) {
    let (first, last) = match rows {
        Rows::Range(start, end) => (start, end),
        Rows::Listed(list) => (0, list.len()),
    };
    // A chunk of a cross product lies within one run of the factor that varies fastest. A window of that factor is gone over for
    // all rows of the others, so that its numbers stay near.
    let (origin, run) = match (pass.run, rows) {
        (Some(run), Rows::Range(..)) => (0, run.max(1)),
        _ => (first, (last - first).max(1)),
    };
    let (lanes, runs) = (w.lanes, (first - origin) / run..(last - origin).div_ceil(run));
    let windows = (0..run).step_by(lanes).map(|window| window..run.min(window + lanes));
    let tiles = windows.flat_map(|window| {
        let groups = runs.clone().step_by(tile::RUNS);
        groups.map(move |group| Extent { run, runs: group..runs.end.min(group + tile::RUNS), window: window.clone() })
    });
    for extent in tiles {
        if let Some(tile) = &pass.tile {
            let mut clock = clock(&w.spent);
            w.planes.begin(tile, view, &extent);
            note(&mut w.spent, pass.instructions.len(), &mut clock, 0);
        }
        for number in extent.runs.clone() {
            let begin = origin + number * run;
            let start = first.max(begin + extent.window.start);
            let end = last.min(begin + extent.window.end);
            let in_tile = (number - extent.runs.start) * extent.window.len();
            if let Some(tile) = &pass.tile
                && end.saturating_sub(start) < extent.window.len()
            {
                w.planes.clear(tile, in_tile..in_tile + extent.window.len());
            }
            if start < end {
                let listed = if let Rows::Listed(list) = rows { Some(&list[start..end]) } else { None };
                let plane = in_tile + start - begin - extent.window.start;
                chunk_through(w, pass, view, Chunk { start, len: end - start, listed, plane });
            }
        }
        if let Some(tile) = &pass.tile {
            let mut clock = clock(&w.spent);
            let mut sums = std::mem::take(&mut w.sums);
            w.planes.end(tile, view, &extent, &mut sums);
            w.sums = sums;
            note(&mut w.spent, pass.instructions.len(), &mut clock, extent.pairs());
        }
    }
}

/// The instructions over one chunk.
#[inline(always)]
fn chunk_through<R: Element>(w: &mut Workspace<R>, pass: &Pass, view: &View<R>, chunk: Chunk) {
    if let Some(list) = chunk.listed {
        gather_parents(w, view, list);
        gather_columns(w, view, list);
    }
    let mut clock = clock(&w.spent);
    for (number, instruction) in pass.instructions.iter().enumerate() {
        match *instruction {
            Instruction::Compute { action, into, width, inner } => {
                compute(w, view, chunk, action, into as usize, width as usize, inner as usize)
            }
            Instruction::Keep { from, plane } => {
                let mut kept = std::mem::take(&mut w.planes.planes[plane as usize]);
                copy(&mut kept[chunk.plane..][..chunk.len], flat(w, view, chunk, from, 1));
                w.planes.planes[plane as usize] = kept;
            }
            Instruction::Store { from, place, width } => {
                let mut out = std::mem::take(&mut w.stores[place as usize]);
                let (at, n) = ((chunk.start - out.first) * width as usize, chunk.len * width as usize);
                copy(&mut out.numbers[at..at + n], flat(w, view, chunk, from, width as usize));
                w.stores[place as usize] = out;
            }
            Instruction::AddTotals { function, a, b, weight, weighed, plain } => {
                let (sum, weighed_sum) = add_totals(w, view, chunk, function, [a, b, weight]);
                w.sums[weighed as usize].add_number(weighed_sum);
                if let Some(plain) = plain {
                    w.sums[plain as usize].add_number(sum);
                }
            }
            Instruction::AddBoth { factor, first, second } => {
                let mut sums = [first, second].map(|s| std::mem::take(&mut w.sums[s.place as usize]));
                add_both(w, view, chunk, factor, [first, second], &mut sums);
                let [one, two] = sums;
                w.sums[first.place as usize] = one;
                w.sums[second.place as usize] = two;
            }
            Instruction::Add { term, index, place, width, columns } => {
                let mut sum = std::mem::take(&mut w.sums[place as usize]);
                add(w, view, chunk, term, index, width as usize, columns as usize, &mut sum);
                w.sums[place as usize] = sum;
            }
        }
        note(&mut w.spent, number, &mut clock, chunk.len);
    }
}

/// Of all rows before any of them is read, so that none waits for another.
fn gather_parents<R: Real>(w: &mut Workspace<R>, view: &View<R>, list: &[u32]) {
    for (index, parents) in &mut w.parents {
        let rows = &view.lookup(*index).rows;
        match rows.stored() {
            Some(rows) => parents.iter_mut().zip(list).for_each(|(parent, &row)| *parent = rows[row as usize]),
            None => parents.iter_mut().zip(list).for_each(|(parent, &row)| *parent = rows.at(row as usize) as u32),
        }
    }
}

fn gather_columns<R: Real>(w: &mut Workspace<R>, view: &View<R>, list: &[u32]) {
    for (operand, scratch) in &mut w.scratch {
        let Operand::Column(value) = *operand else { continue };
        let (column, width) = (view.column(value).numbers, view.width(value));
        if width == 1 {
            scratch.iter_mut().zip(list).for_each(|(out, &row)| *out = column[row as usize]);
            continue;
        }
        for (out, &row) in scratch.chunks_exact_mut(width).zip(list) {
            out.copy_from_slice(&column[row as usize * width..][..width]);
        }
    }
}

#[inline(always)]
fn copy<R: Copy>(out: &mut [R], from: &[R]) {
    if from.len() == 1 { out.fill(from[0]) } else { out.copy_from_slice(from) }
}
