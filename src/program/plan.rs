//! From a graph to strips of passes: which values one sweep over a domain computes together, in which order,
//! and what it leaves behind. It never touches a number.
//!
//! A value computed in a pass lives in a register for a chunk of rows. It is stored only when another
//! domain reads it, when it is an output, or when a later pass would have to repeat a heavy operation;
//! everything else is recomputed. So memory is the boundaries between stages, not a tape; and where the rows of the two
//! sides of a boundary come in the same order, not even that.

use super::alignment::Alignment;
use super::assembler::Assembler;
use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use super::schedule::{Stage, Strip};
use super::segment::Segments;
use crate::scalar::Binary;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// When something is computed. `level` counts the boundaries before it that all rows of one side have to reach before any of
/// the other side can go on; `time` counts all boundaries. What has the same level and spine is one strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub level: u32,
    pub time: u32,
}

/// A pass, or (with its value) a whole-segment operation, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    level: u32,
    spine: Domain,
    /// An operation that is a strip of its own.
    alone: Option<Value>,
    time: u32,
    domain: Domain,
    segments: Option<Value>,
}

/// The strips in order. `sampled`: later steps may run over some of the rows only, which need not lie side by side.
pub(super) fn strips(graph: &Graph, outputs: &[Value], sampled: bool) -> (Vec<Strip>, Alignment) {
    let plan = Plan::new(graph, outputs, sampled);
    let mut strips: Vec<Strip> = vec![];
    let mut last = None;
    for key in plan.keys() {
        let moment = Moment { level: key.level, time: key.time };
        let stage = match key.segments {
            Some(value) => Stage::Segments(value),
            None => Stage::Pass(Assembler::new(graph, &plan, moment, key.domain).pass()),
        };
        let strip = (key.level, key.spine, key.alone);
        if last.replace(strip) == Some(strip) {
            strips.last_mut().expect("the last one").stages.push(stage);
        } else {
            strips.push(Strip { spine: key.spine, stages: vec![stage] });
        }
    }
    (strips, plan.alignment)
}

/// When each value can be known, and which are stored.
pub(super) struct Plan<'g> {
    graph: &'g Graph,
    alignment: Alignment,
    moments: HashMap<Value, Moment>,
    /// Values that are known only when all rows have been gone over: for any reader, nothing comes before that.
    whole: BTreeSet<Value>,
    /// Values computed by maps that are left behind, and the same by the pass that computes them.
    stored: BTreeSet<Value>,
    stores: BTreeMap<(Moment, Domain), Vec<Value>>,
    /// Sums by the pass that makes them.
    pub sums: BTreeMap<(Moment, Domain), Vec<Value>>,
    /// Sums of sums over the same rows, all of one pass, which adds to them as it goes; and for each part the whole.
    joint: BTreeMap<Value, Value>,
    /// How many read a value.
    readers: HashMap<Value, usize>,
    /// Whole-segment operations, the moment at which all that they read is in memory, and whether they are within a strip.
    steps: BTreeSet<(Moment, Value, bool)>,
    sampled: bool,
    /// Of values over a cross product that go through a strip, the levels that need them: each computes them again.
    again: BTreeMap<Value, BTreeSet<u32>>,
}

impl<'g> Plan<'g> {
    fn new(graph: &'g Graph, outputs: &[Value], sampled: bool) -> Self {
        let (mut needed, mut readers) = (BTreeSet::new(), HashMap::new());
        let mut stack = outputs.to_vec();
        while let Some(v) = stack.pop() {
            *readers.entry(v).or_default() += 1;
            if needed.insert(v) {
                stack.extend(graph.node(v).op.operands());
            }
        }
        let alignment = if sampled { Alignment::default() } else { Alignment::of(graph, &needed) };
        let (stores, sums) = (BTreeMap::new(), BTreeMap::new());
        let (moments, whole, stored, steps) = (HashMap::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (joint, again) = (BTreeMap::new(), BTreeMap::new());
        let mut plan = Plan { graph, alignment, moments, whole, stored, stores, sums, joint, readers, steps, sampled, again };
        for &v in &needed {
            plan.place(v);
        }
        for &output in outputs {
            plan.store(output);
        }
        plan.find_pairs_again(outputs);
        plan.group_stores();
        plan.keep_heavy_values();
        plan.keep_pairs_of_a_strip();
        plan.group_stores();
        plan
    }

    /// Whether all passes are over rows side by side.
    pub fn goes_over_ranges(&self) -> bool {
        !self.sampled
    }

    fn group_stores(&mut self) {
        self.stores.clear();
        for &v in &self.stored {
            for moment in self.moments_of(v, self.moments[&v]) {
                self.stores.entry((moment, self.graph.domain_of(v))).or_default().push(v);
            }
        }
    }

    /// Whether a value is one number for each pair, which go through a strip in the order of one side.
    fn is_of_pairs(&self, v: Value) -> bool {
        let domain = self.graph.domain_of(v);
        self.graph.is_product(domain) && self.alignment.spine(domain) != domain
    }

    /// When a value is computed: at one moment, or at each level that needs it.
    fn moments_of(&self, v: Value, once: Moment) -> Vec<Moment> {
        let Some(levels) = self.again.get(&v) else { return vec![once] };
        levels.iter().map(|&level| Moment { level, ..once }).collect()
    }

    /// What is left behind over pairs is not kept from level to level: there are too many of them.
    fn find_pairs_again(&mut self, outputs: &[Value]) {
        let mut needed: Vec<(Value, u32)> = outputs.iter().map(|v| (*v, self.moments[v].level)).collect();
        for ((moment, _), sums) in &self.sums {
            needed.extend(sums.iter().flat_map(|s| self.graph.node(*s).op.operands()).map(|v| (v, moment.level)));
        }
        for &(moment, step, within) in self.steps.iter().filter(|(_, step, within)| !(*within && self.is_of_pairs(*step))) {
            let level = |v: Value| if within { moment.level } else { self.moments[&v].level };
            needed.extend(self.graph.node(step).op.operands().map(|v| (v, level(v))));
        }
        let of_pairs = |plan: &Self, v: Value| plan.is_of_pairs(v) && !plan.whole.contains(&v);
        let left: BTreeSet<Value> =
            self.stored.iter().copied().chain(self.steps.iter().map(|s| s.1)).filter(|v| of_pairs(self, *v)).collect();
        self.again = left.into_iter().map(|v| (v, BTreeSet::new())).collect();
        let mut seen = BTreeSet::new();
        while let Some((v, level)) = needed.pop() {
            if of_pairs(self, v) && seen.insert((v, level)) {
                if let Some(levels) = self.again.get_mut(&v) {
                    levels.insert(level);
                }
                needed.extend(self.graph.node(v).op.operands().map(|o| (o, level)));
            }
        }
    }

    /// Whether a pass at this moment finds a value that a map has stored.
    pub fn is_stored_before(&self, v: Value, moment: Moment) -> bool {
        let Moment { level, time } = self.moments[&v];
        match self.again.get(&v) {
            Some(levels) => levels.contains(&moment.level) && time < moment.time,
            None => self.stored.contains(&v) && Moment { level, time } < moment,
        }
    }

    /// What a pass leaves behind.
    pub fn stores(&self, moment: Moment, domain: Domain) -> Vec<Value> {
        self.stores.get(&(moment, domain)).cloned().unwrap_or_default()
    }

    /// All passes, by moment and domain.
    fn passes(&self) -> BTreeSet<(Moment, Domain)> {
        self.stores.keys().chain(self.sums.keys()).copied().collect()
    }

    fn keys(&self) -> BTreeSet<Key> {
        let passes = self.passes().into_iter().map(|(Moment { level, time }, domain)| {
            let spine = self.alignment.spine(domain);
            Key { level, spine, alone: None, time, domain, segments: None }
        });
        let moments = |&(moment, v, within): &(Moment, Value, bool)| self.moments_of(v, moment).into_iter().map(move |m| (m, v, within));
        let steps = self.steps.iter().flat_map(moments).map(|(Moment { level, time }, v, within)| {
            let domain = self.graph.domain_of(v);
            let alone = (!within).then_some(v);
            Key { level, spine: self.alignment.spine(domain), alone, time, domain, segments: Some(v) }
        });
        passes.chain(steps).collect()
    }

    /// Whether a value lies in memory without a map having stored it.
    pub fn is_available(&self, v: Value) -> bool {
        let op = self.graph.node(v).op;
        op.is_leaf() || matches!(op, Op::SegmentSum(..) | Op::Total(..) | Op::Segment(..)) || self.joint.values().any(|whole| *whole == v)
    }

    /// The sum that a pass adds to: this one, or that of which it is a part.
    pub fn whole_of(&self, sum: Value) -> Value {
        self.joint.get(&sum).copied().unwrap_or(sum)
    }

    /// When the sum of sums is known, if one pass makes them all, and nothing else reads one of them.
    fn join_sums(&mut self, v: Value) -> Option<Moment> {
        let Op::Binary(Binary::Add, ..) = self.graph.node(v).op else { return None };
        let parts = self.parts(v)?;
        let made_by = |part: &Value| self.sums.iter().find(|(_, sums)| sums.contains(part)).map(|(pass, _)| *pass);
        let pass = made_by(&parts[0])?;
        let follows = |part: &Value| matches!(self.graph.node(*part).op, Op::SegmentSum(_, index) if self.alignment.follows(index));
        if parts.iter().any(|part| made_by(part) != Some(pass) || follows(part)) {
            return None;
        }
        self.joint.extend(parts.iter().map(|part| (*part, v)));
        Some(self.after(v, pass.0, false))
    }

    /// The sums that a sum of sums consists of, which only it reads.
    fn parts(&self, v: Value) -> Option<Vec<Value>> {
        let Op::Binary(Binary::Add, a, b) = self.graph.node(v).op else { return None };
        let mut parts = vec![];
        for part in [a, b] {
            let only = self.readers[&part] == 1 && self.graph.domain_of(part) == self.graph.domain_of(v);
            match self.graph.node(part).op {
                Op::SegmentSum(..) if only => parts.push(part),
                Op::Binary(Binary::Add, ..) if only => {
                    parts.extend(self.parts(part)?);
                }
                _ => return None,
            }
        }
        Some(parts)
    }

    /// When a value can be read from memory. `aligned`: rows of the reader are those of the value, or belong to them in order. The strip
    /// over one row is the first of its level.
    fn ready(&self, v: Value, aligned: bool) -> Moment {
        let Moment { level, time } = self.moments[&v];
        if self.graph.domain_of(v) == ONE && !self.is_available(v) {
            return Moment { level, time: 0 };
        }
        let behind = !aligned && !self.whole.contains(&v) && !self.graph.node(v).op.is_leaf();
        Moment { level: level + u32::from(behind), time: time + u32::from(!self.is_available(v)) }
    }

    fn place(&mut self, v: Value) {
        let node = self.graph.node(v);
        let moment = match node.op {
            op if op.is_leaf() => Moment { level: 0, time: 0 },
            Op::Gather(x, index) => {
                self.store(x);
                self.ready(x, self.alignment.follows(index))
            }
            Op::SegmentSum(x, index) => {
                let pass = self.within(x, self.graph.ends(index).0);
                self.sums.entry((pass, self.graph.ends(index).0)).or_default().push(v);
                self.after(v, pass, self.alignment.follows(index))
            }
            Op::Total(x, domain) => {
                let pass = self.within(x, domain);
                self.sums.entry((pass, domain)).or_default().push(v);
                self.after(v, pass, false)
            }
            Op::Segment(segment, segments) => {
                let within = matches!(segments, Segments::Of(index) if self.alignment.follows(index));
                let (child, parent) = self.graph.sides(segments);
                let ready = segment.operands().into_iter().flatten().map(|o| {
                    self.store(o);
                    self.ready(o, within && [child, parent].contains(&self.graph.domain_of(o)))
                });
                let moment = latest(ready.collect::<Vec<_>>());
                self.steps.insert((moment, v, within));
                self.after(v, moment, within)
            }
            _ if let Some(known) = self.join_sums(v) => known,
            op => latest(op.operands().map(|o| self.within(o, node.domain)).collect::<Vec<_>>()),
        };
        self.moments.insert(v, moment);
    }

    /// When a pass over a domain can use a value: as its own, or from memory.
    fn within(&mut self, v: Value, domain: Domain) -> Moment {
        if self.graph.domain_of(v) == domain {
            return self.moments[&v];
        }
        self.store(v);
        self.ready(v, false)
    }

    /// When what a pass, or an operation, leaves behind can be read: by rows in the same order, or by all.
    fn after(&mut self, v: Value, Moment { level, time }: Moment, aligned: bool) -> Moment {
        if !aligned {
            self.whole.insert(v);
        }
        Moment { level: level + u32::from(!aligned), time: time + 1 }
    }

    fn store(&mut self, v: Value) {
        if !self.is_available(v) {
            self.stored.insert(v);
        }
    }

    /// What two passes of a strip over the same pairs need is kept while the pairs go through the strip, from where it is heavy.
    fn keep_pairs_of_a_strip(&mut self) {
        let mut bodies: BTreeMap<(u32, Domain), Vec<BTreeSet<Value>>> = BTreeMap::new();
        for (moment, domain) in self.passes() {
            if self.graph.is_product(domain) && self.alignment.spine(domain) != domain {
                bodies.entry((moment.level, domain)).or_default().push(Assembler::new(self.graph, self, moment, domain).body());
            }
        }
        let mut kept: Vec<(Value, u32)> = vec![];
        for ((level, _), bodies) in bodies {
            let Some((first, later)) = bodies.split_first() else { continue };
            for body in later {
                let read: BTreeSet<Value> = body.difference(first).flat_map(|v| self.graph.node(*v).op.operands()).collect();
                let mut stack: Vec<Value> = read.into_iter().filter(|v| first.contains(v)).collect();
                while let Some(v) = stack.pop() {
                    if is_heavy(self.graph.node(v).op) {
                        kept.push((v, level));
                    } else {
                        stack.extend(self.graph.node(v).op.operands().filter(|o| first.contains(o)));
                    }
                }
            }
        }
        for (v, level) in kept {
            self.stored.insert(v);
            self.again.entry(v).or_default().insert(level);
        }
    }

    /// Inner products and matrix products that a later pass over the same rows needs again are kept; those of a cross product,
    /// which has many more rows than there are operands, are computed again.
    fn keep_heavy_values(&mut self) {
        let mut passes: HashMap<Value, BTreeSet<Moment>> = HashMap::new();
        for (moment, domain) in self.passes().into_iter().filter(|(_, domain)| !self.graph.is_product(*domain)) {
            for v in Assembler::new(self.graph, self, moment, domain).body() {
                if goes_over_vectors(self.graph.node(v).op) {
                    passes.entry(v).or_default().insert(moment);
                }
            }
        }
        self.stored.extend(passes.into_iter().filter(|(_, moments)| moments.len() > 1).map(|(v, _)| v));
    }
}

/// Whether an operation goes over a vector for each number that it gives, or for a time that only the application knows.
fn goes_over_vectors(op: Op) -> bool {
    matches!(op, Op::Dot(..) | Op::MatVec(..) | Op::MatTransVec(..) | Op::Sum(_) | Op::Call(..) | Op::PullBack(..))
}

/// Whether it takes longer to compute a value than to read it while it is near.
fn is_heavy(op: Op) -> bool {
    goes_over_vectors(op) || matches!(op, Op::Unary(function, _) if !function.is_light())
}

/// The indices through which rows are added to a sum by parent, or to a sum of such sums.
pub(super) fn indices_of(graph: &Graph, sum: Value) -> Vec<Index> {
    match graph.node(sum).op {
        Op::SegmentSum(_, index) => vec![index],
        Op::Binary(Binary::Add, a, b) => [indices_of(graph, a), indices_of(graph, b)].concat(),
        _ => vec![],
    }
}

/// Level and time are each the latest of theirs.
fn latest(moments: impl IntoIterator<Item = Moment>) -> Moment {
    moments.into_iter().fold(Moment { level: 0, time: 0 }, |a, b| Moment { level: a.level.max(b.level), time: a.time.max(b.time) })
}
