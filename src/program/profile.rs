//! Where the time of a program goes: of each instruction its time, rows, bytes and operations, and what the machine can do.

use super::block::Work;
use super::kernel::Lanes;
use super::machine::Machine;
use super::memory::Memory;
use super::print::printed;
use super::schedule::{Action, Instruction, Operand, Pass, Stage, Term};
use crate::scalar::Unary;
use multiversion::multiversion;
use std::time::{Duration, Instant};

/// Operations that a function such as exp counts for: about what its polynomial takes.
const OF_A_FUNCTION: usize = 16;

/// Time and rows of one instruction, or of one whole-segment operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub time: Duration,
    pub rows: u64,
}

/// The time, where a program is profiled.
#[inline(always)]
pub(super) fn clock(spent: &[Spent]) -> Option<Instant> {
    if spent.is_empty() { None } else { Some(Instant::now()) }
}

/// Notes what has been done since the clock was read, and reads it again.
#[inline(always)]
pub(super) fn note(spent: &mut [Spent], number: usize, since: &mut Option<Instant>, rows: usize) {
    if let (Some(since), Some(spent)) = (since, spent.get_mut(number)) {
        let now = Instant::now();
        spent.time += now - std::mem::replace(since, now);
        spent.rows += rows as u64;
    }
}

/// Some runs of a program.
pub struct Profile {
    /// In the order in which they run.
    pub instructions: Vec<Measured>,
    pub runs: u32,
    /// Of all runs, by the clock.
    pub time: Duration,
}

/// An instruction of a profiled program, over all of its runs.
pub struct Measured {
    /// The number of its strip, and the name of the domain whose rows it goes over.
    pub strip: usize,
    pub domain: String,
    /// As the program is printed.
    pub instruction: String,
    /// Of all threads together.
    pub time: Duration,
    pub rows: u64,
    /// Read from columns and indices, and written to columns and sums. What lies in registers counts nothing.
    pub bytes: u64,
    /// Additions, multiplications and the like; exp, ln and other functions count for 16.
    pub operations: u64,
}

/// What one thread can do, in a second.
#[derive(Debug, Clone, Copy)]
pub struct Peak {
    /// Bytes read from memory.
    pub bytes: f64,
    /// Multiplications and additions in the program's number type.
    pub operations: f64,
}

impl<R: Lanes> Machine<R> {
    /// The instructions with what they have taken since profiling began.
    pub(super) fn measured(&self) -> Vec<Measured> {
        let mut all = vec![];
        for (number, (line, blocks)) in self.strips_and_blocks().iter().enumerate() {
            for (place, stage) in line.strip.stages.iter().enumerate() {
                let domain = self.domain_name(line.domain(place)).to_string();
                let entry = |instruction: String, spent: Spent, (bytes, operations): (usize, usize)| Measured {
                    strip: number,
                    domain: domain.clone(),
                    instruction,
                    time: spent.time,
                    rows: spent.rows,
                    bytes: spent.rows * bytes as u64,
                    operations: spent.rows * operations as u64,
                };
                let over_blocks = |of: &dyn Fn(&super::block::Block<R>) -> Spent| {
                    blocks.iter().map(of).fold(Spent::default(), |a, b| Spent { time: a.time + b.time, rows: a.rows + b.rows })
                };
                match stage {
                    Stage::Segments(_) => {
                        let spent = over_blocks(&|block| block.spent.get(place).copied().unwrap_or_default());
                        let Some(step) = line.step(place) else { continue };
                        let printed = step.to_string();
                        all.push(entry(printed.lines().last().unwrap_or_default().trim().to_string(), spent, (step.bytes_moved::<R>(), 0)));
                    }
                    Stage::Pass(pass) => {
                        let of = |instruction: usize| {
                            over_blocks(&|block| match &block.works[place] {
                                Work::Pass(workspace) => workspace.spent.get(instruction).copied().unwrap_or_default(),
                                Work::Segments(_) => Spent::default(),
                            })
                        };
                        for (at, instruction) in pass.instructions.iter().enumerate() {
                            all.push(entry(printed(instruction, &self.memory().functions), of(at), cost(instruction, self.memory())));
                        }
                        if let Some(tile) = &pass.tile {
                            let widths = tile.products.iter().map(|p| p.width).chain(tile.sums.iter().map(|s| s.width));
                            let printed = format!("Tile {{ products: {}, sums: {} }}", tile.products.len(), tile.sums.len());
                            all.push(entry(printed, of(pass.instructions.len()), (0, widths.map(|w| 2 * w).sum())));
                        }
                    }
                }
            }
        }
        all
    }
}

impl Pass {
    /// How many numbers of [`Spent`] a pass keeps: one for each instruction, and one for its tiles.
    pub fn measures(&self) -> usize {
        self.instructions.len() + 1
    }
}

/// Bytes and operations of an instruction for each row.
fn cost<R>(instruction: &Instruction, memory: &Memory<R>) -> (usize, usize) {
    let size = size_of::<R>();
    let read = |o: &Operand| match o {
        Operand::Column(v) => memory.width(*v) * size,
        Operand::Gathered(v, _) => memory.width(*v) * size + size_of::<u32>(),
        Operand::Register(_) | Operand::Plane(_) | Operand::Uniform(_) => 0,
    };
    let added = |width: u32, indexed: bool| if indexed { 2 * width as usize * size + size_of::<u32>() } else { 0 };
    let written = match instruction {
        Instruction::Store { width, .. } => *width as usize * size,
        Instruction::Add { index, width, .. } => added(*width, index.is_some()),
        Instruction::AddBoth { first, second, .. } => added(first.width, true) + added(second.width, true),
        Instruction::Compute { .. } | Instruction::Keep { .. } | Instruction::AddTotals { .. } => 0,
    };
    (instruction.operands().iter().map(read).sum::<usize>() + written, operations(instruction))
}

fn operations(instruction: &Instruction) -> usize {
    let of = |function: Unary| if function.is_light() { 1 } else { OF_A_FUNCTION };
    match *instruction {
        Instruction::Compute { action, width, inner, .. } => {
            let (width, inner) = (width as usize, inner as usize);
            match action {
                Action::Load(_) | Action::Spread(_) | Action::Pick(..) | Action::Place(..) | Action::Concat(..) | Action::Slice(..) => 0,
                // What the application's code does is not known.
                Action::Call(..) | Action::PullBack(..) => 0,
                Action::Unary(function, _) => width * of(function),
                Action::Binary(..) | Action::Select(..) | Action::Scale(..) | Action::Outer(..) => width,
                Action::Degree(function, ..) => width * (2 + of(function)),
                Action::Product(..) | Action::MultiplyAdd(..) => 2 * width,
                Action::Dot(..) => 2 * inner,
                Action::Sum(_) | Action::Greatest(_) => inner,
                Action::MatVec(..) | Action::MatTransVec(..) | Action::RowsTimesMatrix { .. } => 2 * width * inner,
                Action::Convolve(by, ..) => 2 * by.products(),
            }
        }
        Instruction::Keep { .. } | Instruction::Store { .. } => 0,
        Instruction::Add { term: Term::Plain(_), width, .. } => width as usize,
        Instruction::Add { width, .. } => 2 * width as usize,
        Instruction::AddTotals { .. } => 4,
        Instruction::AddBoth { first, second, .. } => 2 * (first.width + second.width) as usize,
    }
}

impl Peak {
    /// Measured now, on this thread, in numbers of type `R`: reading 64 MiB, and multiplying and adding in registers; the best of
    /// five times each.
    pub fn measure<R: Lanes>() -> Self {
        const NUMBERS: usize = 16 * 1024 * 1024;
        const ROUNDS: usize = 1 << 16;
        let numbers = vec![1.0f32; NUMBERS];
        let best = |run: &mut dyn FnMut()| {
            let times = (0..5).map(|_| {
                let start = Instant::now();
                run();
                start.elapsed()
            });
            times.min().map_or(f64::NAN, |time| time.as_secs_f64())
        };
        let reading = best(&mut || {
            std::hint::black_box(read(&numbers));
        });
        let counting = best(&mut || {
            if size_of::<R>() == 4 {
                std::hint::black_box(count_f32(std::hint::black_box([1.0; LANES]), ROUNDS));
            } else {
                std::hint::black_box(count_f64(std::hint::black_box([1.0; LANES]), ROUNDS));
            }
        });
        Self { bytes: (NUMBERS * size_of::<f32>()) as f64 / reading, operations: (2 * LANES * ROUNDS) as f64 / counting }
    }
}

/// Numbers in registers whose operations do not wait for each other.
const LANES: usize = 128;

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+fma+bmi2", "aarch64+neon"))]
fn read(numbers: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for numbers in numbers.as_chunks::<LANES>().0 {
        for (lane, number) in lanes.iter_mut().zip(numbers) {
            *lane += number;
        }
    }
    lanes.iter().sum()
}

macro_rules! count {
    ($name:ident, $float:ty) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+fma+bmi2", "aarch64+neon"))]
        fn $name(mut lanes: [$float; LANES], rounds: usize) -> $float {
            for _ in 0..rounds {
                for lane in &mut lanes {
                    *lane = lane.mul_add(0.999, 0.001);
                }
            }
            lanes.iter().sum()
        }
    };
}

count!(count_f32, f32);
count!(count_f64, f64);
