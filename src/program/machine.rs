//! Runs the strips of a program over chunks of rows that fit the cache. All memory is taken when the machine is built; a step
//! takes none, but for what matrix products pack. Rows are cut into blocks by their number alone, each block sums apart and the
//! blocks' sums are added in order, so any number of threads gives the same bits.

use super::block::{Block, Line, Work};
use super::graph::{Domain, Graph, Index, IndexInfo, ONE, Op, Slot, Value};
use super::index::Rows;
use super::kernel;
use super::memory::{Memory, Place, Spilled};
use super::plan;
use super::profile::Profile;
use super::reduce;
use super::schedule::{Stage, Strip};
use super::segment::Step;
use crate::buffer::Buffer;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of a domain that take part in a step, ascending; `None` for all.
pub type Active = Option<Vec<u32>>;

/// A compiled graph with its memory.
pub struct Machine<R> {
    strips: Vec<(Line, Vec<Block<R>>)>,
    memory: Memory<R>,
    outputs: Vec<Value>,
    settings: Vec<Vec<u32>>,
    parameters: HashMap<Slot, u32>,
    counts: Vec<(u32, u32)>,
    active: Vec<Active>,
    domain_names: Vec<String>,
    domain_rows: Vec<usize>,
    /// While the program is profiled, how many times it ran, and how long that took.
    profiled: Option<(u32, Duration)>,
    profile: Option<Profile>,
}

impl<R: kernel::Lanes> Machine<R> {
    /// Compiles `outputs`. `residuals[slot]` holds rows x width numbers, row-major. A machine that will
    /// run over samples of the rows uses one block for each pass.
    pub fn build(graph: &Graph, residuals: Arc<Vec<Buffer<R>>>, outputs: &[Value], sampled: bool) -> Self {
        let (strips, alignment) = plan::strips(graph, outputs, sampled);
        let kept = kept(graph, &strips, outputs);
        let nodes = graph.0.borrow();
        let mut memory = Memory {
            columns: vec![],
            residuals,
            places: vec![Place::Nowhere; nodes.nodes.len()],
            widths: nodes.nodes.iter().map(|n| n.width).collect(),
            indices: nodes.indices.iter().map(|i| i.rows.clone().into()).collect(),
            functions: nodes.functions.clone(),
            spilled: vec![],
        };
        let in_files = |(number, info): (usize, &IndexInfo)| {
            let is_spilled = info.rows.stored().is_some_and(Buffer::is_spilled);
            is_spilled.then_some((info.child, Spilled::Index(Index(number as u32))))
        };
        memory.spilled.extend(nodes.indices.iter().enumerate().filter_map(in_files));
        let (mut settings, mut parameters, mut counts) = (vec![vec![]; nodes.settings.len()], HashMap::new(), vec![]);
        for (i, node) in nodes.nodes.iter().enumerate() {
            let rows = nodes.domains[node.domain.0 as usize].rows;
            if let Op::Residual(slot) = node.op {
                assert_eq!(memory.residuals[slot as usize].len(), rows * node.width as usize, "a residual has rows x width numbers");
                memory.places[i] = Place::Residual(slot);
                if memory.residuals[slot as usize].is_spilled() {
                    memory.spilled.push((node.domain, Spilled::Residual { slot, width: node.width as usize }));
                }
                continue;
            }
            if !node.op.is_leaf() && !kept.contains(&Value(i as u32)) {
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
        let strips = strips.into_iter().map(|strip| {
            let line = Line::new(graph, strip, &alignment, &memory, &kept);
            let blocks = line.blocks(graph, &memory, sampled);
            (line, blocks)
        });
        let strips = strips.collect();
        let active = vec![None; nodes.domains.len()];
        let domain_names = nodes.domains.iter().map(|d| d.name.clone()).collect();
        let domain_rows = nodes.domains.iter().map(|d| d.rows).collect();
        let machine = Self {
            strips,
            memory,
            outputs: outputs.to_vec(),
            settings,
            parameters,
            counts,
            active,
            domain_names,
            domain_rows,
            profiled: None,
            profile: None,
        };
        machine.release();
        machine
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
            _ => unreachable!("outputs are stored"),
        }
    }

    /// Reads through other row numbers from now on. Sums are placed when a machine is built: none may follow this index.
    pub fn read_through(&mut self, index: Index, rows: Buffer<u32>) {
        debug_assert!(self.memory.indices[index.0 as usize].rows.len() == rows.len());
        self.memory.indices[index.0 as usize] = Rows::Stored(rows).into();
    }

    /// Runs later steps over these rows only, one entry a domain. The domain of one row always takes part.
    pub fn activate(&mut self, active: &[Active]) {
        for (domain, (ours, theirs)) in self.active.iter_mut().zip(active).enumerate() {
            if domain != ONE.0 as usize {
                ours.clone_from(theirs);
            }
        }
        for &(domain, column) in &self.counts {
            if let Some(rows) = &self.active[domain as usize] {
                self.memory.columns[column as usize][0] = R::of(rows.len() as f64);
            }
        }
    }

    /// Bytes that a step needs beyond residuals and parameters.
    pub fn bytes(&self) -> usize {
        let stages = self.strips.iter().flat_map(|(line, _)| &line.strip.stages);
        let left = stages.flat_map(|stage| stage.leaves().iter().chain(stage.sums()));
        let stored: usize = left.map(|v| self.memory.column(*v).len()).sum();
        let worked: usize = self.strips.iter().flat_map(|(_, blocks)| blocks).map(Block::bytes).sum();
        stored * size_of::<R>() + worked
    }

    /// Measures later runs.
    pub fn begin_profile(&mut self) {
        self.profiled = Some((0, Duration::ZERO));
        for (line, blocks) in &mut self.strips {
            blocks.iter_mut().for_each(|block| block.begin_profile(line));
        }
    }

    /// What has been measured is kept, and later runs are not, if a profile has begun.
    pub fn end_profile(&mut self) {
        if let Some((runs, time)) = self.profiled.take() {
            self.profile = Some(Profile { instructions: self.measured(), runs, time });
            self.strips.iter_mut().flat_map(|(_, blocks)| blocks).for_each(Block::end_profile);
        }
    }

    /// The profile that has ended, once.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.profile.take()
    }

    pub fn run(&mut self) {
        let start = self.profiled.map(|_| Instant::now());
        self.run_strips();
        if let (Some((runs, time)), Some(start)) = (&mut self.profiled, start) {
            *runs += 1;
            *time += start.elapsed();
        }
    }

    fn run_strips(&mut self) {
        for (line, blocks) in &mut self.strips {
            let memory = &self.memory;
            // Only strips of one stage run over some of the rows.
            let active = match &line.strip.stages[0] {
                Stage::Pass(pass) => [self.active[pass.domain.0 as usize].as_deref(), None],
                Stage::Segments(_) => {
                    let step = line.step(0).expect("a stage of segments has a step");
                    [step.child, step.parent].map(|domain| self.active[domain.0 as usize].as_deref())
                }
            };
            match (blocks.as_mut_slice(), &line.strip.stages[0], active) {
                ([block], Stage::Pass(_), [Some(rows), _]) => block.run_listed(line, memory, rows),
                ([block], Stage::Segments(_), [rows, parents]) if rows.is_some() || parents.is_some() => {
                    block.run_segments(line, memory, rows, parents)
                }
                ([block], ..) => block.run(line, memory),
                (many, ..) => many.par_iter_mut().for_each(|block| block.run(line, memory)),
            }
            deliver(line, blocks, &mut self.memory, active);
        }
        self.release();
    }

    /// What lies in files takes no memory between runs.
    fn release(&self) {
        let domains: BTreeSet<Domain> = self.memory.spilled.iter().map(|(domain, _)| *domain).collect();
        for domain in domains {
            self.memory.release(domain, 0..self.domain_rows[domain.0 as usize]);
        }
    }

    /// Strips in the order in which they run.
    pub(super) fn strips(&self) -> impl Iterator<Item = &Strip> {
        self.strips.iter().map(|(line, _)| &line.strip)
    }

    pub(super) fn strips_and_blocks(&self) -> &[(Line, Vec<Block<R>>)] {
        &self.strips
    }

    pub(super) fn memory(&self) -> &Memory<R> {
        &self.memory
    }

    /// What computes a stage, if it is a whole-segment operation.
    pub(super) fn step(&self, strip: usize, stage: usize) -> Option<&Step> {
        self.strips[strip].0.step(stage)
    }

    #[cfg(test)]
    pub(super) fn passes(&self) -> impl Iterator<Item = &super::schedule::Pass> {
        self.strips().flat_map(|strip| &strip.stages).filter_map(|stage| if let Stage::Pass(pass) = stage { Some(pass) } else { None })
    }

    pub(super) fn domain_name(&self, domain: Domain) -> &str {
        &self.domain_names[domain.0 as usize]
    }
}

/// Values that are computed and must outlive their strip: outputs, sums, and what another strip reads.
fn kept(graph: &Graph, strips: &[Strip], outputs: &[Value]) -> HashSet<Value> {
    let mut kept: HashSet<Value> = outputs.iter().copied().collect();
    let mut made_by: HashMap<Value, Vec<usize>> = HashMap::new();
    for (number, strip) in strips.iter().enumerate() {
        for stage in &strip.stages {
            kept.extend(stage.sums());
            stage.leaves().iter().for_each(|v| made_by.entry(*v).or_default().push(number));
        }
    }
    for (number, strip) in strips.iter().enumerate() {
        let reads = strip.stages.iter().flat_map(|stage| stage.reads(graph));
        kept.extend(reads.filter(|v| made_by.get(v).is_some_and(|made| !made.contains(&number))));
    }
    kept
}

/// Moves what the blocks stored and summed into the columns, block after block. `active` are the rows of the only stage, and of
/// the parent where that is a whole-segment operation.
fn deliver<R: kernel::Lanes>(line: &Line, blocks: &mut [Block<R>], memory: &mut Memory<R>, active: [Option<&[u32]>; 2]) {
    for (number, stage) in line.strip.stages.iter().enumerate() {
        for (place, &value) in stage.leaves().iter().enumerate() {
            let width = memory.width(value);
            for block in blocks.iter() {
                let (store, listed, side_by_side) = match &block.works[number] {
                    Work::Pass(workspace) => (&workspace.stores[place], active[0], true),
                    Work::Segments(share) => {
                        let of_parent = line.step(number).is_some_and(Step::is_of_parent);
                        (&share.out, active[usize::from(of_parent)], false)
                    }
                };
                if store.passing {
                    continue;
                }
                let column = memory.column_mut(value);
                let Some(rows) = listed else {
                    column[store.first * width..][..store.numbers.len()].copy_from_slice(&store.numbers);
                    continue;
                };
                for (at, row) in rows.iter().map(|row| *row as usize).enumerate() {
                    let from = if side_by_side { at } else { row };
                    if width == 1 {
                        column[row] = store.numbers[from];
                        continue;
                    }
                    column[row * width..][..width].copy_from_slice(&store.numbers[from * width..][..width]);
                }
            }
        }
        for (place, &value) in stage.sums().iter().enumerate() {
            if let [block] = &mut *blocks
                && let Work::Pass(w) = &mut block.works[number]
                && w.sums[place].exchange(memory.column_mut(value))
            {
                continue;
            }
            let sums = blocks.iter().filter_map(|b| if let Work::Pass(w) = &b.works[number] { Some(&w.sums[place]) } else { None });
            reduce::Sum::deliver(sums, memory.column_mut(value));
        }
    }
}
