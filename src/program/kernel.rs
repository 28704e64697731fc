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
                    None => Sum::Total { sum: vec![0.0; width], chunk: numbers(width) },
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
const LANE: usize = 32;

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
        match listed {
            Some(list) => gather_columns(w, memory, list),
            None => fetch_columns(w, memory, start + len, last),
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

/// Asks for the next chunk of every column while this one is computed, so that memory and arithmetic overlap.
#[inline(always)]
fn fetch_columns<R: Real>(w: &Workspace<R>, memory: &Memory<R>, start: usize, last: usize) {
    let end = (start + w.lanes).min(last);
    for (operand, _) in &w.scratch {
        let Operand::Column(value) = *operand else { continue };
        let (column, width) = (memory.column(value), memory.width(value));
        for number in column[start * width..end * width].iter().step_by(64 / size_of::<R>()) {
            fetch(number);
        }
    }
}

#[inline(always)]
fn fetch<R>(number: &R) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint; it reads nothing and never faults, and the address is that of a reference.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(number).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = number;
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

/// A lane's number, where one number may stand for all lanes.
#[inline(always)]
fn number<R: Copy>(numbers: &[R], lane: usize) -> R {
    numbers[if numbers.len() == 1 { 0 } else { lane }]
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
        &self.numbers[row * self.width..][..self.width]
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
                let holds = number(mask, i / width) != R::ZERO;
                *o = if holds { number(a, i) } else { number(b, i) };
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
            dot_rows(a, b, out);
        }
        Action::Scale(s, v) => {
            let (s, v) = (flat(w, memory, chunk, s, 1), vectors(w, memory, chunk, v, width));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                let s = number(s, lane);
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
                o.fill(number(s, lane));
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

/// Numbers that one step of a vector loop handles: fixed, so that short vectors need no remainder loops.
const STEP: usize = 8;

#[inline(always)]
fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STEP>(), b.as_chunks::<STEP>());
    let mut lanes = [R::ZERO; STEP];
    for (a, b) in a.iter().zip(b) {
        for i in 0..STEP {
            lanes[i] += a[i] * b[i];
        }
    }
    let mut tail = R::ZERO;
    for (&x, &y) in a_rest.iter().zip(b_rest) {
        tail += x * y;
    }
    lanes.iter().fold(R::ZERO, |a, &b| a + b) + tail
}

#[inline(always)]
fn dot_rows<R: Real>(a: Vectors<R>, b: Vectors<R>, out: &mut [R]) {
    for (lane, o) in out.iter_mut().enumerate() {
        *o = dot(a.row(lane), b.row(lane));
    }
}

/// The parent of each lane, counted from the first that the block's sums cover.
#[derive(Clone, Copy)]
struct Parents<'a> {
    rows: &'a [u32],
    listed: Option<&'a [u32]>,
    first: usize,
}

impl Parents<'_> {
    #[inline(always)]
    fn of(&self, lane: usize) -> usize {
        let row = match self.listed {
            None => lane,
            Some(list) => list[lane] as usize,
        };
        self.rows[row] as usize - self.first
    }
}

/// Adds each row, scaled, to the sums of its parent.
#[inline(always)]
fn scatter_rows<R: Real>(s: &[R], v: Vectors<R>, count: usize, parents: Parents, sums: &mut [R]) {
    let width = v.width;
    for lane in 0..count {
        add_scaled(&mut sums[parents.of(lane) * width..][..width], number(s, lane), v.row(lane));
    }
}

/// Adds all rows, scaled, to one sum; four rows at a time, so that the sum is loaded and stored less often.
#[inline(always)]
fn sum_rows<R: Real>(s: &[R], v: Vectors<R>, count: usize, out: &mut [R]) {
    let whole = count / 4 * 4;
    for lane in (0..whole).step_by(4) {
        let (s0, s1, s2, s3) = (number(s, lane), number(s, lane + 1), number(s, lane + 2), number(s, lane + 3));
        let (a, b) = (v.row(lane), v.row(lane + 1));
        let (c, d) = (v.row(lane + 2), v.row(lane + 3));
        for ((((o, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *o += (s0 * a + s1 * b) + (s2 * c + s3 * d);
        }
    }
    for lane in whole..count {
        add_scaled(out, number(s, lane), v.row(lane));
    }
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
    let ((out, out_rest), (x, x_rest)) = (out.as_chunks_mut::<STEP>(), x.as_chunks::<STEP>());
    for (o, x) in out.iter_mut().zip(x) {
        for i in 0..STEP {
            o[i] += s * x[i];
        }
    }
    for (o, &x) in out_rest.iter_mut().zip(x_rest) {
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
            let parents = match chunk.listed {
                None => Parents { rows: &parents[chunk.start..chunk.start + chunk.len], listed: None, first: *first },
                Some(_) => Parents { rows: parents, listed: chunk.listed, first: *first },
            };
            match term {
                Term::Plain(a) if width == 1 => {
                    let a = flat(w, memory, chunk, a, 1);
                    for lane in 0..chunk.len {
                        sums[parents.of(lane)] += number(a, lane);
                    }
                }
                Term::Scaled(a, b) if width == 1 => {
                    let (a, b) = (flat(w, memory, chunk, a, 1), flat(w, memory, chunk, b, 1));
                    for lane in 0..chunk.len {
                        sums[parents.of(lane)] += number(a, lane) * number(b, lane);
                    }
                }
                Term::Plain(v) => {
                    let v = vectors(w, memory, chunk, v, width);
                    scatter_rows(&[R::ONE], v, chunk.len, parents, sums);
                }
                Term::Scaled(s, v) => {
                    let (s, v) = (flat(w, memory, chunk, s, 1), vectors(w, memory, chunk, v, width));
                    scatter_rows(s, v, chunk.len, parents, sums);
                }
                Term::Outer(u, v) => {
                    let (u, v) = (vectors(w, memory, chunk, u, width / columns), vectors(w, memory, chunk, v, columns));
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
            sum_rows(&[R::ONE], v, chunk.len, out);
        }
        Term::Scaled(s, v) => {
            let (s, v) = (flat(w, memory, chunk, s, 1), vectors(w, memory, chunk, v, width));
            sum_rows(s, v, chunk.len, out);
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
