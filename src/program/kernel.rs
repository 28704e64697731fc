//! The loops: each instruction over one chunk of rows, plain enough for the compiler to vectorize,
//! compiled for several instruction sets and chosen when the program runs. Same arithmetic in each.

use super::machine::Memory;
use super::schedule::{Action, Instruction, Operand, Pass, Term};
use crate::scalar::Real;
use multiversion::multiversion;

/// Rows that a block goes over.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    Range(usize, usize),
    Listed(&'a [u32]),
}

/// A number type with a compiled loop for each instruction set.
pub trait Lanes: Real {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn run(workspace: &mut Workspace<Self>, pass: &Pass, memory: &Memory<Self>, rows: Rows);
}

macro_rules! lanes {
    ($float:ty, $run:ident) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $run(workspace: &mut Workspace<$float>, pass: &Pass, memory: &Memory<$float>, rows: Rows) {
            run(workspace, pass, memory, rows);
        }

        impl Lanes for $float {
            #[allow(private_interfaces)]
            fn run(workspace: &mut Workspace<$float>, pass: &Pass, memory: &Memory<$float>, rows: Rows) {
                $run(workspace, pass, memory, rows);
            }
        }
    };
}

lanes!(f32, run_f32);
lanes!(f64, run_f64);

/// Registers, scratch and sums of one block.
pub(super) struct Workspace<R> {
    lanes: usize,
    registers: Vec<Box<[R]>>,
    pub stores: Vec<Vec<R>>,
    pub sums: Vec<Sum<R>>,
    /// Columns that elementwise instructions read, gathered when the rows are listed.
    scratch: Vec<(Operand, Box<[R]>)>,
}

/// A sum of one block: over all rows, or for each parent row in a range.
pub(super) enum Sum<R> {
    /// Accumulated chunk by chunk in double precision.
    Total {
        sum: Vec<f64>,
        chunk: Box<[R]>,
    },
    Segments {
        first: usize,
        width: usize,
        sums: Vec<R>,
    },
}

impl<R: Real> Workspace<R> {
    pub fn new(
        lanes: usize,
        pass: &Pass,
        memory: &Memory<R>,
        stores: impl Iterator<Item = usize>,
        sums: impl Iterator<Item = (usize, Option<(u32, u32)>)>,
    ) -> Self {
        let numbers = |n: usize| vec![R::ZERO; n].into_boxed_slice();
        let mut columns: Vec<Operand> = pass.instructions.iter().flat_map(flat_columns).collect();
        columns.sort_by_key(|o| format!("{o:?}"));
        columns.dedup();
        let width = |o: &Operand| if let Operand::Column(v) = o { memory.width(*v) } else { 0 };
        Self {
            lanes,
            registers: pass.registers.iter().map(|w| numbers(*w as usize * lanes)).collect(),
            stores: stores.map(|n| vec![R::ZERO; n]).collect(),
            sums: sums
                .map(|(width, range)| match range {
                    None => Sum::Total { sum: vec![0.0; width], chunk: numbers(width.max(LANE)) },
                    Some((low, high)) => Sum::Segments { first: low as usize, width, sums: vec![R::ZERO; (high - low) as usize * width] },
                })
                .collect(),
            scratch: columns.into_iter().map(|o| (o, numbers(width(&o) * lanes))).collect(),
        }
    }

    pub fn numbers(&self) -> usize {
        let sums: usize = self.sums.iter().map(|s| if let Sum::Segments { sums, .. } = s { sums.len() } else { 0 }).sum();
        self.registers.iter().map(|r| r.len()).sum::<usize>() + self.stores.iter().map(Vec::len).sum::<usize>() + sums
    }
}

/// Columns that are read as flat slices.
fn flat_columns(instruction: &Instruction) -> Vec<Operand> {
    let operands = match *instruction {
        Instruction::Compute { action, .. } => match action {
            Action::Unary(_, a) | Action::Spread(a) => vec![a],
            Action::Binary(_, a, b) => vec![a, b],
            Action::Scale(a, _) => vec![a],
            Action::Select(m, a, b) => vec![m, a, b],
            _ => vec![],
        },
        Instruction::Store { from, .. } => vec![from],
        Instruction::Add { term: Term::Plain(a), width: 1, .. } => vec![a],
        Instruction::Add { term: Term::Scaled(a, b), width: 1, .. } => vec![a, b],
        Instruction::Add { term: Term::Scaled(a, _), .. } => vec![a],
        Instruction::Add { .. } => vec![],
    };
    operands.into_iter().filter(|o| matches!(o, Operand::Column(_))).collect()
}

/// Partial sums kept side by side, in an order that does not depend on the instruction set.
const LANE: usize = 16;

/// The rows of one chunk.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    start: usize,
    len: usize,
    listed: Option<&'a [u32]>,
}

#[inline(always)]
fn run<R: Real>(w: &mut Workspace<R>, pass: &Pass, memory: &Memory<R>, rows: Rows) {
    for sum in &mut w.sums {
        sum.clear();
    }
    let (first, last) = match rows {
        Rows::Range(start, end) => (start, end),
        Rows::Listed(list) => (0, list.len()),
    };
    let mut start = first;
    while start < last {
        let len = w.lanes.min(last - start);
        let listed = if let Rows::Listed(list) = rows { Some(&list[start..start + len]) } else { None };
        let chunk = Chunk { start, len, listed };
        if let Some(list) = listed {
            gather_columns(w, memory, list);
        }
        for instruction in &pass.instructions {
            match *instruction {
                Instruction::Compute { action, into, width, inner } => {
                    compute(w, memory, chunk, action, into as usize, width as usize, inner as usize)
                }
                Instruction::Store { from, place, width } => {
                    let mut out = std::mem::take(&mut w.stores[place as usize]);
                    let (at, n) = ((start - first) * width as usize, len * width as usize);
                    copy(&mut out[at..at + n], flat(w, memory, chunk, from, width as usize));
                    w.stores[place as usize] = out;
                }
                Instruction::Add { term, index, place, width, columns } => {
                    let mut sum = std::mem::replace(&mut w.sums[place as usize], Sum::Segments { first: 0, width: 0, sums: vec![] });
                    let parents = index.map(|i| &*memory.indices[i.0 as usize]);
                    add(w, memory, chunk, term, parents, width as usize, columns as usize, &mut sum);
                    w.sums[place as usize] = sum;
                }
            }
        }
        start += len;
    }
}

fn gather_columns<R: Real>(w: &mut Workspace<R>, memory: &Memory<R>, list: &[u32]) {
    for (operand, scratch) in &mut w.scratch {
        let Operand::Column(value) = *operand else { continue };
        let (column, width) = (memory.column(value), memory.width(value));
        for (out, &row) in scratch.chunks_exact_mut(width).zip(list) {
            out.copy_from_slice(&column[row as usize * width..][..width]);
        }
    }
}

#[inline(always)]
fn copy<R: Copy>(out: &mut [R], from: &[R]) {
    if from.len() == 1 { out.fill(from[0]) } else { out.copy_from_slice(from) }
}

/// Numbers of an elementwise operand for this chunk; one number when it is the same for all rows.
#[inline(always)]
fn flat<'a, R: Real>(w: &'a Workspace<R>, memory: &'a Memory<R>, chunk: Chunk, operand: Operand, width: usize) -> &'a [R] {
    match operand {
        Operand::Register(r) => &w.registers[r as usize][..chunk.len * width],
        Operand::Uniform(v) => memory.column(v),
        Operand::Column(v) => match chunk.listed {
            None => &memory.column(v)[chunk.start * width..(chunk.start + chunk.len) * width],
            Some(_) => {
                let found =
                    w.scratch.iter().find(|(o, _)| *o == operand).expect("the columns that a pass reads are listed when it is built");
                &found.1[..chunk.len * width]
            }
        },
        Operand::Gathered(..) => unreachable!("a gathered operand is loaded before it is read elementwise"),
    }
}

/// Vectors of an operand, read where they lie.
#[derive(Clone, Copy)]
struct Vectors<'a, R> {
    numbers: &'a [R],
    width: usize,
    pick: Pick<'a>,
}

#[derive(Clone, Copy)]
enum Pick<'a> {
    Lane,
    Same,
    Through(&'a [u32]),
    /// Listed rows, then the index.
    Twice(&'a [u32], &'a [u32]),
}

impl<'a, R: Real> Vectors<'a, R> {
    #[inline(always)]
    fn row(&self, lane: usize) -> &'a [R] {
        let row = match self.pick {
            Pick::Lane => lane,
            Pick::Same => 0,
            Pick::Through(index) => index[lane] as usize,
            Pick::Twice(list, index) => index[list[lane] as usize] as usize,
        };
        &self.numbers[row * self.width..(row + 1) * self.width]
    }
}

#[inline(always)]
fn vectors<'a, R: Real>(w: &'a Workspace<R>, memory: &'a Memory<R>, chunk: Chunk<'a>, operand: Operand, width: usize) -> Vectors<'a, R> {
    let (numbers, pick) = match operand {
        Operand::Register(r) => (&*w.registers[r as usize], Pick::Lane),
        Operand::Uniform(v) => (memory.column(v), Pick::Same),
        Operand::Column(v) => match chunk.listed {
            None => (&memory.column(v)[chunk.start * width..], Pick::Lane),
            Some(list) => (memory.column(v), Pick::Through(list)),
        },
        Operand::Gathered(v, i) => {
            let index = &*memory.indices[i.0 as usize];
            match chunk.listed {
                None => (memory.column(v), Pick::Through(&index[chunk.start..chunk.start + chunk.len])),
                Some(list) => (memory.column(v), Pick::Twice(list, index)),
            }
        }
    };
    Vectors { numbers, width, pick }
}

#[inline(always)]
fn compute<R: Real>(w: &mut Workspace<R>, memory: &Memory<R>, chunk: Chunk, action: Action, into: usize, width: usize, inner: usize) {
    let mut register = std::mem::take(&mut w.registers[into]);
    let out = &mut register[..chunk.len * width];
    match action {
        Action::Unary(f, a) => {
            let a = flat(w, memory, chunk, a, width);
            if a.len() == out.len() { f.map(a, out) } else { out.fill(f.value(a[0])) }
        }
        Action::Binary(f, a, b) => f.map(flat(w, memory, chunk, a, width), flat(w, memory, chunk, b, width), out),
        Action::Select(m, a, b) => {
            let mask = flat(w, memory, chunk, m, 1);
            let (a, b) = (flat(w, memory, chunk, a, width), flat(w, memory, chunk, b, width));
            for (i, o) in out.iter_mut().enumerate() {
                let holds = mask[if mask.len() == 1 { 0 } else { i / width }] != R::ZERO;
                *o = if holds { a[if a.len() == 1 { 0 } else { i }] } else { b[if b.len() == 1 { 0 } else { i }] };
            }
        }
        Action::Load(a) if width == 1 => {
            let a = vectors(w, memory, chunk, a, 1);
            for (lane, o) in out.iter_mut().enumerate() {
                *o = a.row(lane)[0];
            }
        }
        Action::Load(a) => {
            let a = vectors(w, memory, chunk, a, width);
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.copy_from_slice(a.row(lane));
            }
        }
        Action::Dot(a, b) => {
            let (a, b) = (vectors(w, memory, chunk, a, inner), vectors(w, memory, chunk, b, inner));
            for (lane, o) in out.iter_mut().enumerate() {
                *o = dot(a.row(lane), b.row(lane));
            }
        }
        Action::Scale(s, v) => {
            let (s, v) = (flat(w, memory, chunk, s, 1), vectors(w, memory, chunk, v, width));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                let s = s[if s.len() == 1 { 0 } else { lane }];
                for (o, &x) in o.iter_mut().zip(v.row(lane)) {
                    *o = s * x;
                }
            }
        }
        Action::Sum(v) => {
            let v = vectors(w, memory, chunk, v, inner);
            for (lane, o) in out.iter_mut().enumerate() {
                *o = sum(v.row(lane));
            }
        }
        Action::Greatest(v) => {
            let v = vectors(w, memory, chunk, v, inner);
            for (lane, o) in out.iter_mut().enumerate() {
                let row = v.row(lane);
                *o = row.iter().fold(row[0], |m, &x| m.max(x));
            }
        }
        Action::Spread(s) => {
            let s = flat(w, memory, chunk, s, 1);
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.fill(s[if s.len() == 1 { 0 } else { lane }]);
            }
        }
        Action::MatVec(m, v) => {
            let (m, v) = (vectors(w, memory, chunk, m, width * inner), vectors(w, memory, chunk, v, inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                let (m, v) = (m.row(lane), v.row(lane));
                for (o, row) in o.iter_mut().zip(m.chunks_exact(inner)) {
                    *o = dot(row, v);
                }
            }
        }
        Action::MatTransVec(m, u) => {
            let (m, u) = (vectors(w, memory, chunk, m, width * inner), vectors(w, memory, chunk, u, inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.fill(R::ZERO);
                for (row, &u) in m.row(lane).chunks_exact(width).zip(u.row(lane)) {
                    add_scaled(o, u, row);
                }
            }
        }
        Action::Outer(u, v) => {
            let rows = width / inner;
            let (u, v) = (vectors(w, memory, chunk, u, rows), vectors(w, memory, chunk, v, inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                for (o, &u) in o.chunks_exact_mut(inner).zip(u.row(lane)) {
                    for (o, &v) in o.iter_mut().zip(v.row(lane)) {
                        *o = u * v;
                    }
                }
            }
        }
    }
    w.registers[into] = register;
}

#[inline(always)]
fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    const STEP: usize = 8;
    let mut lanes = [R::ZERO; STEP];
    let (a_chunks, b_chunks) = (a.chunks_exact(STEP), b.chunks_exact(STEP));
    let mut tail = R::ZERO;
    for (&x, &y) in a_chunks.remainder().iter().zip(b_chunks.remainder()) {
        tail += x * y;
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..STEP {
            lanes[i] += a[i] * b[i];
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + tail
}

#[inline(always)]
fn sum<R: Real>(x: &[R]) -> R {
    let mut lanes = [R::ZERO; LANE];
    let chunks = x.chunks_exact(LANE);
    let mut tail = R::ZERO;
    for &x in chunks.remainder() {
        tail += x;
    }
    for chunk in chunks {
        for i in 0..LANE {
            lanes[i] += chunk[i];
        }
    }
    lanes.iter().fold(R::ZERO, |a, &b| a + b) + tail
}

#[inline(always)]
fn add_scaled<R: Real>(out: &mut [R], s: R, x: &[R]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o += s * x;
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add<R: Real>(
    w: &Workspace<R>,
    memory: &Memory<R>,
    chunk: Chunk,
    term: Term,
    parents: Option<&[u32]>,
    width: usize,
    columns: usize,
    sum: &mut Sum<R>,
) {
    match sum {
        Sum::Total { sum, chunk: partial } => add_total(w, memory, chunk, term, width, columns, sum, partial),
        Sum::Segments { first, sums, .. } => {
            let parents = parents.expect("a segment sum has an index");
            let parent = |lane: usize| match chunk.listed {
                None => parents[chunk.start + lane] as usize - *first,
                Some(list) => parents[list[lane] as usize] as usize - *first,
            };
            match term {
                Term::Plain(a) if width == 1 => {
                    let a = flat(w, memory, chunk, a, 1);
                    for lane in 0..chunk.len {
                        sums[parent(lane)] += a[if a.len() == 1 { 0 } else { lane }];
                    }
                }
                Term::Scaled(a, b) if width == 1 => {
                    let (a, b) = (flat(w, memory, chunk, a, 1), flat(w, memory, chunk, b, 1));
                    for lane in 0..chunk.len {
                        sums[parent(lane)] += a[if a.len() == 1 { 0 } else { lane }] * b[if b.len() == 1 { 0 } else { lane }];
                    }
                }
                Term::Plain(v) => {
                    let v = vectors(w, memory, chunk, v, width);
                    for lane in 0..chunk.len {
                        add_scaled(&mut sums[parent(lane) * width..][..width], R::ONE, v.row(lane));
                    }
                }
                Term::Scaled(s, v) => {
                    let (s, v) = (flat(w, memory, chunk, s, 1), vectors(w, memory, chunk, v, width));
                    for lane in 0..chunk.len {
                        add_scaled(&mut sums[parent(lane) * width..][..width], s[if s.len() == 1 { 0 } else { lane }], v.row(lane));
                    }
                }
                Term::Outer(u, v) => {
                    let (u, v) = (vectors(w, memory, chunk, u, width / columns), vectors(w, memory, chunk, v, columns));
                    for lane in 0..chunk.len {
                        let into = &mut sums[parent(lane) * width..][..width];
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
fn add_total<R: Real>(
    w: &Workspace<R>,
    memory: &Memory<R>,
    chunk: Chunk,
    term: Term,
    width: usize,
    columns: usize,
    total: &mut [f64],
    partial: &mut [R],
) {
    match term {
        Term::Plain(a) if width == 1 => {
            let a = flat(w, memory, chunk, a, 1);
            total[0] += sum(a).wide() * if a.len() == 1 { chunk.len as f64 } else { 1.0 };
            return;
        }
        Term::Scaled(a, b) if width == 1 => {
            let (a, b) = (flat(w, memory, chunk, a, 1), flat(w, memory, chunk, b, 1));
            if a.len() == b.len() && a.len() == chunk.len {
                total[0] += sum_of_products(a, b).wide();
            } else if a.len() == 1 {
                total[0] += a[0].wide() * sum(b).wide();
            } else {
                total[0] += sum(a).wide() * b[0].wide();
            }
            return;
        }
        _ => partial.fill(R::ZERO),
    }
    let out = &mut partial[..width];
    match term {
        Term::Plain(v) => {
            let v = vectors(w, memory, chunk, v, width);
            for lane in 0..chunk.len {
                add_scaled(out, R::ONE, v.row(lane));
            }
        }
        Term::Scaled(s, v) => {
            let (s, v) = (flat(w, memory, chunk, s, 1), vectors(w, memory, chunk, v, width));
            for lane in 0..chunk.len {
                add_scaled(out, s[if s.len() == 1 { 0 } else { lane }], v.row(lane));
            }
        }
        Term::Outer(u, v) => {
            let (u, v) = (vectors(w, memory, chunk, u, width / columns), vectors(w, memory, chunk, v, columns));
            for lane in 0..chunk.len {
                for (o, &u) in out.chunks_exact_mut(columns).zip(u.row(lane)) {
                    add_scaled(o, u, v.row(lane));
                }
            }
        }
    }
    for (t, &p) in total.iter_mut().zip(&*out) {
        *t += p.wide();
    }
}

#[inline(always)]
fn sum_of_products<R: Real>(a: &[R], b: &[R]) -> R {
    let mut lanes = [R::ZERO; LANE];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANE), b.chunks_exact(LANE));
    let mut tail = R::ZERO;
    for (&x, &y) in a_chunks.remainder().iter().zip(b_chunks.remainder()) {
        tail += x * y;
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANE {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().fold(R::ZERO, |a, &b| a + b) + tail
}

impl<R: Real> Sum<R> {
    fn clear(&mut self) {
        match self {
            Sum::Total { sum, .. } => sum.fill(0.0),
            Sum::Segments { sums, .. } => sums.fill(R::ZERO),
        }
    }

    /// Adds the sums of the blocks, in their order, into a column.
    pub fn deliver<'a>(blocks: impl Iterator<Item = &'a Sum<R>> + Clone, column: &mut [R]) {
        if blocks.clone().any(|b| matches!(b, Sum::Total { .. })) {
            for (at, number) in column.iter_mut().enumerate() {
                *number = R::of(blocks.clone().map(|b| b.total(at)).sum());
            }
            return;
        }
        column.fill(R::ZERO);
        for block in blocks {
            if let Sum::Segments { first, width, sums } = block {
                add_scaled(&mut column[first * width..first * width + sums.len()], R::ONE, sums);
            }
        }
    }

    fn total(&self, at: usize) -> f64 {
        if let Sum::Total { sum, .. } = self { sum[at] } else { 0.0 }
    }
}
