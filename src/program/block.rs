//! The share of one thread in a strip: a range of the spine's rows, and of the rows that belong to them, gone over window after
//! window. Blocks are cut by the number of rows alone.

use super::alignment::Alignment;
use super::graph::{Domain, Graph, ONE, Op, Value};
use super::kernel::{self, Lanes, Store, Workspace};
use super::memory::{Memory, Place, View};
use super::plan::indices_of;
use super::profile::{Spent, clock, note};
use super::schedule::{Action, Instruction, Operand, Pass, Stage, Strip};
use super::segment::{Scratch, Share, Step};
use super::tile;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Rows below which a second block is not worth its sums.
const BLOCK_ROWS: usize = 16_384;
const MOST_BLOCKS: usize = 16;
/// The fewest groups of runs of a block that goes over a cross product in tiles.
const FEWEST_TILES: usize = 4;
/// Bytes of a chunk's registers and operands, which should stay in the nearest caches.
const CHUNK_BYTES: usize = 32 * 1024;
const MOST_LANES: usize = 1024;
/// The fewest rows of a chunk, and where they meet a matrix, which is read once for all of them.
const FEWEST_LANES: usize = 32;
const MATRIX_LANES: usize = 128;
/// Numbers that the stages of a strip leave for each other in one window, and rows of it.
const WINDOW_NUMBERS: usize = 32 * 1024;
const WINDOW_ROWS: usize = 8 * 1024;
/// Pairs of a window, which may be kept from one stage to the next.
const WINDOW_PAIRS: usize = 512 * 1024;
/// Numbers of a window that several of its stages read from memory, which should stay in a cache from one to the next.
const WINDOW_READS: usize = 128 * 1024;

/// Rows after which what has been read of files is released.
const SPILLED_ROWS: usize = 64 * 1024;

/// One block of a strip.
pub(super) struct Block<R> {
    /// Rows of the spine; of a strip of one stage, rows of that one's domain.
    pub rows: Range<usize>,
    /// Where windows end.
    ends: Vec<usize>,
    pub works: Vec<Work<R>>,
    /// While a program is profiled, what each stage that is a whole-segment operation has taken.
    pub spent: Vec<Spent>,
}

/// What a block holds of one stage.
pub(super) enum Work<R> {
    Pass(Workspace<R>),
    Segments(Share<R>),
}

impl<R> Work<R> {
    pub fn scratch(&self) -> Option<&Scratch> {
        if let Work::Segments(share) = self { Some(&share.scratch) } else { None }
    }
}

/// A strip with what its blocks share.
pub(super) struct Line {
    pub strip: Strip,
    /// Of stages that are whole-segment operations.
    steps: Vec<Option<Step>>,
    /// The domain whose rows each stage goes over.
    domains: Vec<Domain>,
    /// Of domains that follow the spine, where the rows begin that belong to each of its rows.
    starts: HashMap<Domain, Vec<u32>>,
    /// Where each value lies for stages of this strip, unless all lie in memory.
    places: Option<Vec<Place>>,
    /// Sums for rows that follow the spine too, which stages of the strip may read.
    within: HashSet<Value>,
    /// By stage, whether what it leaves is read only within the strip.
    passing: Vec<Vec<bool>>,
}

impl Line {
    /// `kept` tells which values outlive their strip.
    pub fn new<R>(graph: &Graph, strip: Strip, alignment: &Alignment, memory: &Memory<R>, kept: &HashSet<Value>) -> Self {
        let is_one = strip.stages.len() == 1;
        let domains: Vec<Domain> = strip.stages.iter().map(|stage| domain(graph, stage)).collect();
        let follows = |sum: &Value| matches!(graph.node(*sum).op, Op::SegmentSum(_, index) if !is_one && alignment.follows(index));
        let within: HashSet<Value> = strip.stages.iter().flat_map(Stage::sums).copied().filter(follows).collect();
        let mut steps: Vec<Option<Step>> =
            strip.stages.iter().map(|s| if let Stage::Segments(v) = s { Some(Step::new(graph, *v)) } else { None }).collect();
        for number in 1..steps.len() {
            let (before, rest) = steps.split_at_mut(number);
            if let Some(step) = &mut rest[0] {
                let same = |other: &Step| step.arrangement().is_some() && other.arrangement() == step.arrangement();
                step.arranged_by = before.iter().position(|other| other.as_ref().is_some_and(same));
            }
        }
        let parents = steps.iter().flatten().map(|step| step.parent).chain(within.iter().map(|sum| graph.domain_of(*sum)));
        let following = domains.iter().copied().chain(parents).filter(|_| !is_one);
        let starts = following.filter_map(|domain| Some((domain, alignment.starts(graph, domain)?))).collect();
        let places = (!is_one).then(|| {
            let mut places = memory.places.clone();
            for (number, stage) in strip.stages.iter().enumerate() {
                let stage_number = number as u32;
                for (number, v) in stage.leaves().iter().enumerate() {
                    places[v.0 as usize] = Place::Stored { stage: stage_number, number: number as u32 };
                }
                for (number, v) in stage.sums().iter().enumerate().filter(|(_, v)| within.contains(v)) {
                    places[v.0 as usize] = Place::Summed { stage: stage_number, number: number as u32 };
                }
            }
            places
        });
        let passing = strip.stages.iter().map(|stage| stage.leaves().iter().map(|v| !kept.contains(v)).collect()).collect();
        Self { strip, steps, domains, starts, places, within, passing }
    }

    /// The domain whose rows a stage goes over.
    pub fn domain(&self, stage: usize) -> Domain {
        self.domains[stage]
    }

    /// What computes a stage, if it is a whole-segment operation.
    pub fn step(&self, stage: usize) -> Option<&Step> {
        self.steps[stage].as_ref()
    }

    /// Rows of a domain that belong to rows of the spine.
    fn rows(&self, domain: Domain, spine: Range<usize>) -> Range<usize> {
        match self.starts.get(&domain) {
            Some(starts) => starts[spine.start] as usize..starts[spine.end] as usize,
            None => spine,
        }
    }

    fn view<'a, R>(&'a self, memory: &'a Memory<R>, works: &'a [Work<R>]) -> View<'a, R> {
        View { memory, places: self.places.as_deref().unwrap_or(&memory.places), works }
    }

    /// Cuts a strip into blocks. A machine that will run over samples of the rows has one for each strip.
    pub fn blocks<R: Lanes>(&self, graph: &Graph, memory: &Memory<R>, sampled: bool) -> Vec<Block<R>> {
        match self.strip.stages.as_slice() {
            [Stage::Segments(v)] => {
                let step = self.steps[0].as_ref().expect("a stage of segments has a step");
                let shares = step.shares(memory.width(*v), sampled).into_iter();
                shares.map(|share| Block { rows: 0..0, ends: vec![], works: vec![Work::Segments(share)], spent: vec![] }).collect()
            }
            [stage @ Stage::Pass(pass)] => {
                let rows = graph.rows(pass.domain);
                let count = if sampled { 1 } else { count(graph, std::iter::once(pass), memory, rows) };
                let block = |b| {
                    let rows = rows * b / count..rows * (b + 1) / count;
                    let each = if memory.is_spilled(pass.domain) { SPILLED_ROWS } else { rows.len().max(1) };
                    let ends = (rows.start + each..rows.end).step_by(each).chain([rows.end]).collect();
                    self.block(graph, memory, rows, ends, std::slice::from_ref(stage))
                };
                (0..count).map(block).collect()
            }
            stages => {
                let longest = *self.domains.iter().max_by_key(|domain| graph.rows(**domain)).expect("a strip has stages");
                let rows = graph.rows(longest);
                let passes = stages.iter().filter_map(|s| if let Stage::Pass(pass) = s { Some(pass) } else { None });
                let (count, spine) = (count(graph, passes, memory, rows), graph.rows(self.strip.spine));
                let begins = |row: usize| self.rows(longest, 0..row).end;
                // The last rows of the spine may have none that belong to them.
                let cut = |b: usize| if b == count { spine } else { partition(spine, |row| begins(row) < rows * b / count) };
                let window = self.window(graph, memory);
                let block = |b: usize| {
                    let rows = cut(b)..cut(b + 1);
                    let (mut ends, mut end) = (vec![], rows.start);
                    while end < rows.end {
                        let most = begins(end) + window;
                        end = partition(rows.end, |row| begins(row + 1) <= most).max(end + 1).min(rows.end);
                        ends.push(end);
                    }
                    self.block(graph, memory, rows, ends, stages)
                };
                (0..count).map(block).collect()
            }
        }
    }

    /// Rows of a window: what its stages leave for each other stays near.
    fn window<R>(&self, graph: &Graph, memory: &Memory<R>) -> usize {
        let passing = self.strip.stages.iter().zip(&self.passing).flat_map(|(stage, passing)| stage.leaves().iter().zip(passing));
        let numbers: usize =
            passing.filter(|(v, passing)| **passing && graph.domain_of(**v) != self.strip.spine).map(|(v, _)| memory.width(*v)).sum();
        let mut readers: HashMap<Value, usize> = HashMap::new();
        for stage in &self.strip.stages {
            stage.columns().into_iter().for_each(|v| *readers.entry(v).or_default() += 1);
        }
        let of_rows = |v: &Value| graph.domain_of(*v) != self.strip.spine && graph.domain_of(*v) != ONE;
        let again = readers.into_iter().filter(|(v, count)| *count > 1 && of_rows(v)).map(|(v, _)| memory.width(v)).sum::<usize>();
        // A window is no less than the pairs of a tile, unless those are very many.
        let passes = self.strip.stages.iter().filter_map(|stage| if let Stage::Pass(pass) = stage { Some(pass) } else { None });
        let tile = passes
            .filter_map(|pass| pass.tile.as_ref())
            .map(|tile| tile.run * (WINDOW_PAIRS / tile.run).clamp(tile::FEWEST_RUNS, tile::RUNS))
            .max()
            .unwrap_or(0);
        (WINDOW_NUMBERS / numbers.max(1)).min(WINDOW_READS / again.max(1)).min(WINDOW_ROWS).max(tile)
    }

    fn block<R: Lanes>(&self, graph: &Graph, memory: &Memory<R>, spine: Range<usize>, ends: Vec<usize>, stages: &[Stage]) -> Block<R> {
        let begins = || std::iter::once(spine.start).chain(ends.iter().copied());
        let works = stages.iter().enumerate().map(|(number, stage)| {
            let domain = self.domains[number];
            let rows = self.rows(domain, spine.clone());
            let window = begins().zip(&ends).map(|(begin, end)| self.rows(domain, begin..*end).len()).max().unwrap_or(0);
            let segments = self.steps[number].as_ref().map(|step| self.rows(step.parent, spine.clone()));
            let store = |(v, passing): (&Value, &bool)| {
                let (of_rows, first) = match (&self.steps[number], &segments) {
                    (Some(step), Some(segments)) if step.is_of_parent() => (segments.len(), segments.start),
                    _ => (if *passing { window } else { rows.len() }, rows.start),
                };
                Store { numbers: vec![R::ZERO; of_rows * memory.width(*v)], first, passing: *passing }
            };
            let mut stores = stage.leaves().iter().zip(&self.passing[number]).map(store);
            match (stage, &self.steps[number], segments.clone()) {
                (Stage::Pass(pass), ..) => {
                    let parents = |sum: &Value| match graph.node(*sum).op {
                        // All parents of the block, also those without rows.
                        Op::SegmentSum(..) if self.within.contains(sum) => Some(self.rows(graph.domain_of(*sum), spine.clone())),
                        // The only block's sums change places with the column: they cover it.
                        _ if rows.len() == graph.rows(domain) => {
                            covered(graph, memory, *sum, rows.clone()).map(|_| 0..graph.rows(graph.domain_of(*sum)))
                        }
                        _ => covered(graph, memory, *sum, rows.clone()),
                    };
                    let sums = pass.sums.iter().map(|sum| (memory.width(*sum), parents(sum)));
                    let most = window.min(pass.run.unwrap_or(usize::MAX)).next_multiple_of(32).max(32);
                    Work::Pass(Workspace::new(lanes(pass, memory).min(most), pass, memory, stores, sums))
                }
                (Stage::Segments(_), Some(step), Some(segments)) => {
                    let out = stores.next().expect("an operation leaves its value");
                    Work::Segments(step.share(segments, rows.clone(), out))
                }
                (Stage::Segments(_), ..) => unreachable!("a stage of segments has a step"),
            }
        });
        let works = works.collect();
        Block { rows: spine, ends, works, spent: vec![] }
    }
}

impl<R: Lanes> Block<R> {
    /// Takes the block through all stages.
    pub fn run(&mut self, line: &Line, memory: &Memory<R>) {
        if let (Some(step), [Work::Segments(share)]) = (line.step(0), self.works.as_mut_slice()) {
            let mut since = clock(&self.spent);
            step.run(&line.view(memory, &[]), share);
            return note(&mut self.spent, 0, &mut since, share.rows());
        }
        for work in &mut self.works {
            if let Work::Pass(workspace) = work {
                workspace.clear();
            }
        }
        let mut begin = self.rows.start;
        for &end in &self.ends {
            for (number, stage) in line.strip.stages.iter().enumerate() {
                let (before, rest) = self.works.split_at_mut(number);
                let view = line.view(memory, before);
                let rows = line.rows(line.domains[number], begin..end);
                match (stage, &mut rest[0], &line.steps[number]) {
                    (Stage::Pass(pass), Work::Pass(workspace), _) => {
                        workspace.begin(rows.start);
                        R::run(workspace, pass, &view, kernel::Rows::Range(rows.start, rows.end));
                    }
                    (_, Work::Segments(share), Some(step)) => {
                        if share.out.passing && !step.is_of_parent() {
                            share.out.first = rows.start;
                        }
                        let mut since = clock(&self.spent);
                        step.run_within(&view, share, line.rows(step.parent, begin..end));
                        note(&mut self.spent, number, &mut since, rows.len());
                    }
                    _ => unreachable!("a block has the work of each stage"),
                }
            }
            for domain in &line.domains {
                memory.release(*domain, line.rows(*domain, begin..end));
            }
            begin = end;
        }
        for (work, step) in self.works.iter_mut().zip(&line.steps) {
            if let (Work::Segments(share), Some(step)) = (work, step) {
                step.finish(share);
            }
        }
    }

    /// The same for the only block of a strip of one stage, over some of the rows.
    pub fn run_listed(&mut self, line: &Line, memory: &Memory<R>, rows: &[u32]) {
        if let (Stage::Pass(pass), [Work::Pass(workspace)]) = (&line.strip.stages[0], self.works.as_mut_slice()) {
            workspace.clear();
            workspace.begin(0);
            R::run(workspace, pass, &line.view(memory, &[]), kernel::Rows::Listed(rows));
        }
    }

    /// The same for a whole-segment operation, whose rows and parents are listed apart.
    pub fn run_segments(&mut self, line: &Line, memory: &Memory<R>, rows: Option<&[u32]>, parents: Option<&[u32]>) {
        if let (Some(step), [Work::Segments(share)]) = (line.step(0), self.works.as_mut_slice()) {
            let mut since = clock(&self.spent);
            step.run_listed(&line.view(memory, &[]), share, rows, parents);
            note(&mut self.spent, 0, &mut since, rows.map_or(share.rows(), <[u32]>::len));
        }
    }

    /// Notes from now on what each stage takes, and each instruction.
    pub fn begin_profile(&mut self, line: &Line) {
        self.spent = vec![Spent::default(); line.strip.stages.len()];
        for (work, stage) in self.works.iter_mut().zip(&line.strip.stages) {
            if let (Work::Pass(workspace), Stage::Pass(pass)) = (work, stage) {
                workspace.spent = vec![Spent::default(); pass.measures()];
            }
        }
    }

    pub fn end_profile(&mut self) {
        self.spent.clear();
        for work in &mut self.works {
            if let Work::Pass(workspace) = work {
                workspace.spent.clear();
            }
        }
    }

    pub fn bytes(&self) -> usize {
        let of = |work: &Work<R>| match work {
            Work::Pass(workspace) => workspace.numbers() * size_of::<R>() + workspace.calls.bytes(),
            Work::Segments(share) => share.bytes() + share.out.numbers.len() * size_of::<R>(),
        };
        self.works.iter().map(of).sum()
    }
}

/// The domain whose rows a stage goes over.
fn domain(graph: &Graph, stage: &Stage) -> Domain {
    match stage {
        Stage::Pass(pass) => pass.domain,
        Stage::Segments(v) => match graph.node(*v).op {
            Op::Segment(_, segments) => graph.sides(segments).0,
            _ => graph.domain_of(*v),
        },
    }
}

/// The first of so many rows of which something does not hold that holds up to some row.
fn partition(rows: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// The parents that rows add to; `None` for a total.
fn covered<R>(graph: &Graph, memory: &Memory<R>, sum: Value, rows: Range<usize>) -> Option<Range<usize>> {
    let parents = indices_of(graph, sum).into_iter().map(|index| memory.indices[index.0 as usize].rows.parents(rows.clone()));
    parents.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
}

/// How many blocks, by the number of rows and by what the blocks' own sums cost against the rows' work.
fn count<'p, R: Lanes>(graph: &Graph, passes: impl Iterator<Item = &'p Pass>, memory: &Memory<R>, rows: usize) -> usize {
    let (mut work, mut spread, mut most) = (0, 0, MOST_BLOCKS);
    for pass in passes.filter(|p| p.domain != ONE) {
        // Each block holds a tile, and the pairs of one.
        if let Some(tile) = &pass.tile {
            most = most.min(graph.rows(pass.domain) / (tile.run * tile::RUNS * FEWEST_TILES)).max(1);
        }
        work += graph.rows(pass.domain) * pass.instructions.iter().map(instruction_width).sum::<usize>().max(1);
        // Where rows are sorted by their parent, each block's sums touch a range of parent rows of their own.
        let scattered = |s: &&Value| indices_of(graph, **s).iter().any(|index| !memory.indices[index.0 as usize].rows.is_sorted());
        spread += pass.sums.iter().filter(scattered).map(|s| memory.column(*s).len()).sum::<usize>();
    }
    if work == 0 {
        return 1;
    }
    let by_sums = if spread == 0 { MOST_BLOCKS } else { (work / (160 * spread)).max(1) };
    let count = (rows / BLOCK_ROWS).clamp(1, most).min(by_sums);
    1 << count.ilog2()
}

/// Rows of a chunk.
fn lanes<R: Lanes>(pass: &Pass, memory: &Memory<R>) -> usize {
    let registers: usize = pass.registers.iter().map(|w| *w as usize).sum();
    if pass.tile.is_some() {
        return tile::LANES;
    }
    let fewest = if pass.instructions.iter().any(Instruction::is_matrix_product) { MATRIX_LANES } else { FEWEST_LANES };
    (CHUNK_BYTES / size_of::<R>() / (registers + operand_width(pass, memory)).max(1)).clamp(fewest, MOST_LANES) & !31
}

fn instruction_width(instruction: &Instruction) -> usize {
    match *instruction {
        Instruction::Compute {
            action: Action::MatVec(..) | Action::MatTransVec(..) | Action::RowsTimesMatrix { .. },
            width,
            inner,
            ..
        } => (width * inner) as usize,
        Instruction::Compute { action: Action::Convolve(by, ..), .. } => by.products(),
        Instruction::Compute { width, inner, .. } => width.max(inner) as usize,
        Instruction::Keep { .. } => 1,
        Instruction::Store { width, .. } | Instruction::Add { width, .. } => width as usize,
        Instruction::AddTotals { .. } => 1,
        Instruction::AddBoth { first, second, .. } => (first.width + second.width) as usize,
    }
}

/// Numbers that a row reads from memory.
fn operand_width<R>(pass: &Pass, memory: &Memory<R>) -> usize {
    let operands: HashSet<Operand> = pass.instructions.iter().flat_map(Instruction::operands).collect();
    let width = |o: &Operand| if let Operand::Column(v) | Operand::Gathered(v, _) = o { memory.width(*v) } else { 0 };
    operands.iter().map(width).sum()
}
