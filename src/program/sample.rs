//! Which rows of every domain a sample of the outermost domain's rows needs.

use super::graph::{Domain, Graph, Index, Op, Value};
use super::index::Rows;
use super::machine::Active;
use super::segment::Segments;
use std::collections::BTreeSet;

/// The rows of the child that belong to each row of the parent.
enum Members {
    /// `rows[starts[p]..starts[p + 1]]`.
    Stored { starts: Vec<u32>, rows: Vec<u32> },
    /// Along a factor of a cross product, as [`Rows::Along`] says.
    Along { inner: usize, len: usize, rows: usize },
}

/// The paths by which rows of one domain need rows of another, from the outermost domain inwards.
pub struct Sampling {
    outermost: Domain,
    steps: Vec<Step>,
    /// Those of the last sample, whose memory is kept.
    active: Vec<Active>,
}

enum Step {
    /// Rows of `child` read rows of `parent` through the index.
    Read { child: usize, parent: usize, rows: Rows },
    /// Rows of `parent` are sums over rows of `child`.
    Summed { parent: usize, child: usize, members: Members },
    /// Rows of a domain are selected among all its rows.
    Whole { domain: usize, rows: u32 },
}

impl Sampling {
    /// Paths of the forward values below `objective`.
    pub fn new(graph: &Graph, objective: Value, outermost: Domain) -> Self {
        let mut values = BTreeSet::new();
        let mut stack = vec![objective];
        while let Some(v) = stack.pop() {
            if values.insert(v) {
                stack.extend(graph.node(v).op.operands());
            }
        }
        // A value comes after its operands, so going down meets readers before what they read.
        let (mut steps, mut seen) = (vec![], BTreeSet::new());
        for v in values.into_iter().rev() {
            match graph.node(v).op {
                Op::Gather(x, index) if !graph.node(x).op.is_leaf() && seen.insert((false, index)) => steps.push(read(graph, index)),
                Op::SegmentSum(_, index) if seen.insert((true, index)) => steps.push(summed(graph, index)),
                // A row that is read needs its whole segment.
                Op::Segment(_, Segments::Of(index)) => {
                    steps.extend(seen.insert((false, index)).then(|| read(graph, index)));
                    steps.extend(seen.insert((true, index)).then(|| summed(graph, index)));
                }
                Op::Segment(_, Segments::All(domain)) if domain != outermost => {
                    steps.push(Step::Whole { domain: domain.0 as usize, rows: graph.rows(domain) as u32 });
                }
                _ => {}
            }
        }
        Self { outermost, steps, active: vec![None; graph.0.borrow().domains.len()] }
    }

    /// The active rows of every domain for these rows (ascending) of the outermost one. A domain that no path reaches takes part whole.
    pub fn active(&mut self, rows: &[u32]) -> &[Active] {
        let Self { outermost, steps, active } = self;
        active.iter_mut().flatten().for_each(Vec::clear);
        active[outermost.0 as usize].get_or_insert_default().extend_from_slice(rows);
        for step in steps {
            match step {
                Step::Read { child, parent, rows } => {
                    let Some(needed) = taken(&mut active[*child]) else { continue };
                    active[*parent].get_or_insert_default().extend(needed.iter().map(|r| rows.at(*r as usize) as u32));
                    put_back(&mut active[*child], needed);
                }
                Step::Summed { parent, child, members } => {
                    let Some(needed) = taken(&mut active[*parent]) else { continue };
                    members.of(&needed, active[*child].get_or_insert_default());
                    put_back(&mut active[*parent], needed);
                }
                Step::Whole { domain, rows } => active[*domain].get_or_insert_default().extend(0..*rows),
            }
        }
        active.iter_mut().flatten().for_each(ascending);
        active
    }
}

/// Rows to read while others are added to; they are to be put back.
fn taken(active: &mut Active) -> Active {
    let mut rows = active.take()?;
    ascending(&mut rows);
    Some(rows)
}

/// Beside what was added meanwhile, where a domain reads itself.
fn put_back(active: &mut Active, rows: Vec<u32>) {
    if let Some(added) = active.replace(rows) {
        active.get_or_insert_default().extend(added);
    }
}

fn ascending(rows: &mut Vec<u32>) {
    if !rows.is_sorted_by(|a, b| a < b) {
        rows.sort_unstable();
        rows.dedup();
    }
}

impl Members {
    fn of(&self, parents: &[u32], into: &mut Vec<u32>) {
        match self {
            Members::Stored { starts, rows } => {
                let range = |p: usize| starts[p] as usize..starts[p + 1] as usize;
                parents.iter().for_each(|p| into.extend_from_slice(&rows[range(*p as usize)]));
            }
            Members::Along { inner, len, rows } => {
                let runs = (0..*rows).step_by(inner * len).flat_map(|begin| parents.iter().map(move |p| begin + *p as usize * inner));
                into.extend(runs.flat_map(|run| run as u32..(run + inner) as u32));
            }
        }
    }
}

fn read(graph: &Graph, index: Index) -> Step {
    let nodes = graph.0.borrow();
    let info = &nodes.indices[index.0 as usize];
    Step::Read { child: info.child.0 as usize, parent: info.parent.0 as usize, rows: info.rows.clone() }
}

fn summed(graph: &Graph, index: Index) -> Step {
    let nodes = graph.0.borrow();
    let info = &nodes.indices[index.0 as usize];
    let members = match &info.rows {
        Rows::Along { inner, len, rows } => Members::Along { inner: *inner, len: *len, rows: *rows },
        Rows::Stored(_) | Rows::Cells(_) => {
            let starts = info.rows.starts(nodes.domains[info.parent.0 as usize].rows);
            let (mut next, mut rows) = (starts.clone(), vec![0u32; info.rows.len()]);
            for row in 0..info.rows.len() {
                let p = info.rows.at(row);
                rows[next[p] as usize] = row as u32;
                next[p] += 1;
            }
            Members::Stored { starts, rows }
        }
    };
    Step::Summed { parent: info.parent.0 as usize, child: info.child.0 as usize, members }
}
