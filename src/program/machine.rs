//! Runs the passes of a schedule over chunks of rows that fit the cache. All memory is taken when the
//! machine is built; a step takes none. Rows are cut into blocks by their number alone, each block sums
//! apart and the blocks' sums are added in order, so any number of threads gives the same bits.

use super::graph::{Domain, Graph, Index, ONE, Op, Slot, Value};
use super::index::Rows;
use super::kernel;
use super::reduce::{self, Span};
use super::schedule::{Action, Instruction, Operand, Pass, schedule};
use super::segment::Step;
use crate::scalar::Real;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a domain that take part in a step, ascending; `None` for all.
pub type Active = Option<Vec<u32>>;

/// A compiled graph with its memory.
pub struct Machine<R> {
    passes: Vec<Pass>,
    /// Whole-segment operations, each with the number of the pass that it comes before.
    steps: Vec<(usize, Step)>,
    blocks: Vec<Vec<Block<R>>>,
    memory: Memory<R>,
    outputs: Vec<Value>,
    settings: Vec<Vec<u32>>,
    parameters: HashMap<Slot, u32>,
    counts: Vec<(u32, u32)>,
    active: Vec<Active>,
    domain_names: Vec<String>,
}

/// Every stored value, by number.
pub(super) struct Memory<R> {
    columns: Vec<Vec<R>>,
    residuals: Arc<Vec<Vec<R>>>,
    /// Where the value with this number lies; `u32::MAX` where it has no column.
    places: Vec<Place>,
    widths: Vec<u32>,
    pub(super) indices: Vec<Rows>,
}

#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    Column(u32),
    Residual(Slot),
}

/// A range of rows with registers and sums of its own.
struct Block<R> {
    start: usize,
    end: usize,
    pub(super) workspace: kernel::Workspace<R>,
}

/// Rows below which a second block is not worth its sums.
const BLOCK_ROWS: usize = 16_384;
const MOST_BLOCKS: usize = 16;
/// Rows of one parent side by side, on average, from which they are summed before they are added to it.
const LONG_RUN: usize = 4;
/// Bytes of a chunk's registers and operands, which should stay in the nearest caches.
const CHUNK_BYTES: usize = 32 * 1024;
const MOST_LANES: usize = 1024;

impl<R: kernel::Lanes> Machine<R> {
    /// Compiles `outputs`. `residuals[slot]` holds rows x width numbers, row-major. A machine that will
    /// run over samples of the rows uses one block for each pass.
    pub fn build(graph: &Graph, residuals: Arc<Vec<Vec<R>>>, outputs: &[Value], sampled: bool) -> Self {
        let (passes, steps) = schedule(graph, outputs);
        let steps: Vec<(usize, Step)> = steps.into_iter().map(|(before, v)| (before, Step::new(graph, v, sampled))).collect();
        let nodes = graph.0.borrow();
        let mut memory = Memory {
            columns: vec![],
            residuals,
            places: vec![Place::Nowhere; nodes.nodes.len()],
            widths: nodes.nodes.iter().map(|n| n.width).collect(),
            indices: nodes.indices.iter().map(|i| i.rows.clone()).collect(),
        };
        let (mut settings, mut parameters, mut counts) = (vec![vec![]; nodes.settings.len()], HashMap::new(), vec![]);
        let stored: HashSet<Value> =
            passes.iter().flat_map(|p| p.stores.iter().chain(&p.sums)).copied().chain(steps.iter().map(|s| s.1.value)).collect();
        for (i, node) in nodes.nodes.iter().enumerate() {
            let rows = nodes.domains[node.domain.0 as usize].rows;
            if let Op::Residual(slot) = node.op {
                assert_eq!(memory.residuals[slot as usize].len(), rows * node.width as usize, "a residual has rows x width numbers");
                memory.places[i] = Place::Residual(slot);
                continue;
            }
            if !node.op.is_leaf() && !stored.contains(&Value(i as u32)) {
                continue;
            }
            let column = memory.columns.len() as u32;
            memory.places[i] = Place::Column(column);
            memory.columns.push(vec![R::ZERO; rows * node.width as usize]);
            match node.op {
                Op::Constant(bits) => memory.columns[column as usize][0] = R::of(f64::from_bits(bits)),
                Op::Setting(slot) => settings[slot as usize].push(column),
                Op::Parameter(slot) => {
                    parameters.insert(slot, column);
                }
                Op::Count(domain) => {
                    memory.columns[column as usize][0] = R::of(nodes.domains[domain.0 as usize].rows as f64);
                    counts.push((domain.0, column));
                }
                _ => {}
            }
        }
        let blocks = passes.iter().map(|pass| blocks(graph, pass, &memory, nodes.domains[pass.domain.0 as usize].rows, sampled)).collect();
        let active = vec![None; nodes.domains.len()];
        let domain_names = nodes.domains.iter().map(|d| d.name.clone()).collect();
        Self { passes, steps, blocks, memory, outputs: outputs.to_vec(), settings, parameters, counts, active, domain_names }
    }

    /// Sets a number that may change between steps.
    pub fn set(&mut self, setting: Slot, value: f64) {
        for column in &self.settings[setting as usize] {
            self.memory.columns[*column as usize][0] = R::of(value);
        }
    }

    /// Values of a parameter, rows x width; empty when no output depends on it.
    pub fn parameter_mut(&mut self, slot: Slot) -> &mut [R] {
        match self.parameters.get(&slot) {
            Some(column) => &mut self.memory.columns[*column as usize],
            None => &mut [],
        }
    }

    pub fn output(&self, number: usize) -> &[R] {
        self.memory.column(self.outputs[number])
    }

    /// A parameter's values, to change, and an output, to read.
    pub fn parameter_and_output(&mut self, slot: Slot, number: usize) -> (&mut [R], &[R]) {
        let Some(&column) = self.parameters.get(&slot) else { return (&mut [], &[]) };
        match self.memory.places[self.outputs[number].0 as usize] {
            Place::Column(output) => {
                let [parameter, output] = self
                    .memory
                    .columns
                    .get_disjoint_mut([column as usize, output as usize])
                    .expect("a gradient is not the parameter itself");
                (parameter, output)
            }
            Place::Residual(r) => (&mut self.memory.columns[column as usize], &self.memory.residuals[r as usize]),
            Place::Nowhere => unreachable!("outputs are stored"),
        }
    }

    /// Reads through other row numbers from now on. Sums are placed when a machine is built: none may follow this index.
    pub fn read_through(&mut self, index: Index, rows: Arc<[u32]>) {
        debug_assert!(self.memory.indices[index.0 as usize].len() == rows.len());
        self.memory.indices[index.0 as usize] = Rows::Stored(rows);
    }

    /// Runs later steps over these rows only, one entry a domain.
    pub fn activate(&mut self, active: &[Active]) {
        for (ours, theirs) in self.active.iter_mut().zip(active) {
            ours.clone_from(theirs);
        }
        for &(domain, column) in &self.counts {
            if let Some(rows) = &self.active[domain as usize] {
                self.memory.columns[column as usize][0] = R::of(rows.len() as f64);
            }
        }
    }

    /// Bytes that a step needs beyond residuals and parameters.
    pub fn bytes(&self) -> usize {
        let by_passes = self.passes.iter().flat_map(|p| p.stores.iter().chain(&p.sums)).copied();
        let stored: usize = by_passes.chain(self.steps.iter().map(|s| s.1.value)).map(|v| self.memory.column(v).len()).sum();
        let selecting: usize = self.steps.iter().map(|s| s.1.bytes()).sum();
        let worked: usize = self.blocks.iter().flatten().map(|b| b.workspace.numbers()).sum();
        (stored + worked) * size_of::<R>() + selecting
    }

    pub fn run(&mut self) {
        let mut steps = self.steps.iter_mut().peekable();
        for (number, (pass, blocks)) in self.passes.iter().zip(&mut self.blocks).enumerate() {
            while let Some((_, step)) = steps.next_if(|s| s.0 <= number) {
                select(step, &mut self.memory, &self.active);
            }
            let (memory, active) = (&self.memory, self.active[pass.domain.0 as usize].as_deref());
            match blocks.as_mut_slice() {
                [block] => block.run(pass, memory, active),
                many => many.par_iter_mut().for_each(|block| block.run(pass, memory, None)),
            }
            deliver(pass, blocks, &mut self.memory, active);
        }
        steps.for_each(|(_, step)| select(step, &mut self.memory, &self.active));
    }

    pub(super) fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Whole-segment operations, each with the number of the pass that it comes before.
    pub(super) fn steps(&self) -> &[(usize, Step)] {
        &self.steps
    }

    pub(super) fn domain_name(&self, domain: Domain) -> &str {
        &self.domain_names[domain.0 as usize]
    }
}

impl<R: kernel::Lanes> Block<R> {
    fn run(&mut self, pass: &Pass, memory: &Memory<R>, active: Option<&[u32]>) {
        let rows = match active {
            Some(rows) => kernel::Rows::Listed(rows),
            None => kernel::Rows::Range(self.start, self.end),
        };
        R::run(&mut self.workspace, pass, memory, rows);
    }
}

impl<R: Real> Memory<R> {
    #[inline(always)]
    pub(super) fn column(&self, value: Value) -> &[R] {
        match self.places[value.0 as usize] {
            Place::Column(c) => &self.columns[c as usize],
            Place::Residual(r) => &self.residuals[r as usize],
            Place::Nowhere => &[],
        }
    }

    #[inline(always)]
    pub(super) fn width(&self, value: Value) -> usize {
        self.widths[value.0 as usize] as usize
    }

    fn column_mut(&mut self, value: Value) -> &mut Vec<R> {
        match self.places[value.0 as usize] {
            Place::Column(c) => &mut self.columns[c as usize],
            _ => unreachable!("only stored values are written"),
        }
    }
}

/// Cuts a pass into blocks, by the number of rows and by what the blocks' own sums cost against the rows' work.
fn blocks<R: kernel::Lanes>(graph: &Graph, pass: &Pass, memory: &Memory<R>, rows: usize, sampled: bool) -> Vec<Block<R>> {
    let index_of = |sum: &Value| if let Op::SegmentSum(_, index) = graph.node(*sum).op { Some(index) } else { None };
    let work = rows * pass.instructions.iter().map(instruction_width).sum::<usize>().max(1);
    // Where rows are sorted by their parent, each block's sums touch a range of parent rows of their own.
    let scattered = |index: Index| !memory.indices[index.0 as usize].is_sorted();
    let spread: usize = pass.sums.iter().filter(|s| index_of(s).is_some_and(scattered)).map(|s| memory.column(*s).len()).sum();
    let by_sums = if spread == 0 { MOST_BLOCKS } else { (work / (160 * spread)).max(1) };
    let count = (rows / BLOCK_ROWS).clamp(1, MOST_BLOCKS).min(by_sums);
    let count = if sampled || pass.domain == ONE { 1 } else { 1 << count.ilog2() };
    let registers: usize = pass.registers.iter().map(|w| *w as usize).sum();
    let lanes = (CHUNK_BYTES / size_of::<R>() / (registers + operand_width(pass, memory)).max(1)).clamp(32, MOST_LANES) & !31;
    let longest = pass.run.unwrap_or(usize::MAX);
    (0..count)
        .map(|b| {
            let (start, end) = (rows * b / count, rows * (b + 1) / count);
            let most = end - start;
            let sums = pass.sums.iter().map(|s| {
                let span = index_of(s).map(|index| span(&memory.indices[index.0 as usize], start..end));
                (memory.width(*s), span)
            });
            let stores = pass.stores.iter().map(|s| memory.width(*s) * most);
            Block {
                start,
                end,
                workspace: kernel::Workspace::new(lanes.min(most.min(longest).next_multiple_of(32).max(32)), pass, memory, stores, sums),
            }
        })
        .collect()
}

fn instruction_width(instruction: &Instruction) -> usize {
    match *instruction {
        Instruction::Compute { action: Action::MatVec(..) | Action::MatTransVec(..), width, inner, .. } => (width * inner) as usize,
        Instruction::Compute { action: Action::Convolve(by, ..), .. } => by.products(),
        Instruction::Compute { width, inner, .. } => width.max(inner) as usize,
        Instruction::Store { width, .. } | Instruction::Add { width, .. } => width as usize,
        Instruction::AddTotals { .. } => 1,
        Instruction::AddBoth { first, second, .. } => (first.width + second.width) as usize,
    }
}

/// Numbers that a row reads from memory.
fn operand_width<R: Real>(pass: &Pass, memory: &Memory<R>) -> usize {
    let operands: HashSet<Operand> = pass.instructions.iter().flat_map(Instruction::operands).collect();
    let width = |o: &Operand| if let Operand::Column(v) | Operand::Gathered(v, _) = o { memory.width(*v) } else { 0 };
    operands.iter().map(width).sum()
}

fn span(index: &Rows, rows: Range<usize>) -> Span {
    let parents = index.parents(rows.clone());
    Span { first: parents.start, end: parents.end, runs: index.runs(rows.clone()) * LONG_RUN <= rows.len() }
}

/// Runs a whole-segment operation into its column.
fn select<R: kernel::Lanes>(step: &mut Step, memory: &mut Memory<R>, active: &[Active]) {
    let mut out = std::mem::take(memory.column_mut(step.value));
    step.run(memory, &mut out, active[step.child].as_deref(), active[step.parent].as_deref());
    *memory.column_mut(step.value) = out;
}

/// Moves what the blocks stored and summed into the columns, block after block.
fn deliver<R: kernel::Lanes>(pass: &Pass, blocks: &mut [Block<R>], memory: &mut Memory<R>, active: Option<&[u32]>) {
    for (place, &value) in pass.stores.iter().enumerate() {
        let width = memory.width(value);
        let column = memory.column_mut(value);
        for block in blocks.iter() {
            let stored = &block.workspace.stores[place];
            match active {
                None => column[block.start * width..block.end * width].copy_from_slice(stored),
                Some(rows) => {
                    for (row, numbers) in rows.iter().zip(stored.chunks_exact(width)) {
                        column[*row as usize * width..][..width].copy_from_slice(numbers);
                    }
                }
            }
        }
    }
    for (place, &value) in pass.sums.iter().enumerate() {
        reduce::Sum::deliver(blocks.iter().map(|b| &b.workspace.sums[place]), memory.column_mut(value));
    }
}
