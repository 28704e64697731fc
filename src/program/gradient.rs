//! Backward is a program too: the adjoint of every operation, written in the same graph, made once.
//! Nothing is recorded at run time, so derivatives of derivatives come from the same code.

use super::convolution::Part;
use super::graph::{Domain, Graph, ONE, Op, Symbol, Value};
use super::linear::Waits;
use super::segment;
use crate::scalar::{Binary, Slope, Unary};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The gradient of a one-row, one-number objective with respect to each of `parameters`; `None` where it does not reach.
///
/// A sum over rows whose own adjoint is only known after the sum (F1 is a ratio of two) would need a second pass
/// over the rows. Where every such sum is linear in one shared value, and the gradient ends in one-row parameters,
/// the pass computes the gradient of each sum beside the sums, and the outer adjoints are applied afterwards.
pub fn gradient(graph: &Graph, objective: Value, parameters: &[Value]) -> Vec<Option<Value>> {
    assert!(graph.domain_of(objective) == ONE && graph.width(objective) == 1, "an objective is one number");
    let one = graph.number(1.0);
    let outer = Sweep::new(graph, objective, parameters);
    match SharedSums::find(graph, &outer, objective, parameters) {
        Some(sums) => sums.gradient(parameters),
        None => {
            // A parameter of several rows needs the late pass anyway: then nothing is gained by taking it from the totals.
            let ends_here = parameters.iter().all(|p| graph.domain_of(*p) == ONE);
            let waits = RefCell::new(Waits::default());
            let soon = |g: &Graph, x: Value, domain: Domain| {
                g.total_of_terms(x, domain, &mut waits.borrow_mut()).unwrap_or_else(|| total(g, x, domain))
            };
            let adjoints = outer.run(objective, one, &|_| false, if ends_here { &soon } else { &total });
            parameters.iter().map(|p| adjoints.get(p).copied()).collect()
        }
    }
}

/// The sum over all rows. A sum of the sums of all segments is one sum, so that what two sides of a cross product receive
/// from the same pairs cancels where it should.
fn total(graph: &Graph, x: Value, domain: Domain) -> Value {
    match graph.node(x).op {
        Op::SegmentSum(inner, index) if graph.domain_of(inner) != ONE => total(graph, inner, graph.ends(index).0),
        _ => graph.total(x, domain),
    }
}

/// A reverse sweep over the values between an output and the parameters.
struct Sweep<'g> {
    graph: &'g Graph,
    live: Vec<bool>,
    /// Values with one live reader: what that reader passes down is their whole adjoint.
    read_once: Vec<bool>,
    /// Values that can be infinite, or no number: a quotient or a logarithm in a branch that was not taken.
    infinite: Vec<bool>,
}

/// What a value receives from its readers.
#[derive(Clone, Copy)]
enum Adjoint {
    /// The derivative of the objective with respect to the value.
    Plain(Value),
    /// That derivative times the value. Down a product it stays the same for every factor, so that the gradient of
    /// a long conjunction costs one product a factor.
    TimesValue(Value),
}

impl<'g> Sweep<'g> {
    fn new(graph: &'g Graph, output: Value, parameters: &[Value]) -> Self {
        let mut live = vec![false; output.0 as usize + 1];
        for &parameter in parameters.iter().filter(|p| **p <= output) {
            live[parameter.0 as usize] = true;
        }
        for i in 0..live.len() {
            let node = graph.node(Value(i as u32));
            live[i] = live[i] || (!node.op.is_leaf() && node.op.operands().any(|v| live[v.0 as usize]));
        }
        let (mut given, mut infinite) = (vec![false; live.len()], vec![false; live.len()]);
        for i in 0..infinite.len() {
            let op = graph.node(Value(i as u32)).op;
            // What is made of the run's settings alone, such as 1 / T.
            given[i] = match op {
                Op::Parameter(_) | Op::Residual(_) => false,
                _ => op.operands().all(|v| given[v.0 as usize]),
            };
            let known = matches!(op, Op::Residual(slot) if graph.0.borrow().infinite.contains(&slot));
            let made = || is_unbounded(op) || op.operands().any(|v| infinite[v.0 as usize]);
            infinite[i] = known || (!given[i] && can_be_infinite(op) && made());
        }
        let mut readers = vec![0u32; live.len()];
        let (mut stack, mut seen) = (vec![output], HashSet::from([output]));
        while let Some(v) = stack.pop() {
            for operand in graph.node(v).op.operands().filter(|o| live[o.0 as usize]) {
                readers[operand.0 as usize] += 1;
                if seen.insert(operand) {
                    stack.push(operand);
                }
            }
        }
        Self { graph, live, read_once: readers.into_iter().map(|n| n == 1).collect(), infinite }
    }

    fn is_live(&self, value: Value) -> bool {
        self.live.get(value.0 as usize).copied().unwrap_or(false)
    }

    /// Whether the adjoint of a value may come multiplied by the value: a sigmoid, or a product of such.
    fn takes_times_value(&self, value: Value, reader: Domain) -> bool {
        let node = self.graph.node(value);
        self.is_live(value)
            && self.read_once[value.0 as usize]
            && node.domain == reader
            && match node.op {
                Op::Unary(Unary::Sigmoid, _) => true,
                Op::Binary(Binary::Multiply, a, b) => [a, b].iter().all(|&o| !self.is_live(o) || self.takes_times_value(o, reader)),
                _ => false,
            }
    }

    /// Pushes adjoints from an output down to the parameters. `stop` marks values that are not entered;
    /// `reduce` sums a contribution over a domain when the operand is the same for all its rows.
    fn run(
        &self,
        output: Value,
        seed: Value,
        stop: &dyn Fn(Value) -> bool,
        reduce: &dyn Fn(&Graph, Value, Domain) -> Value,
    ) -> HashMap<Value, Value> {
        let mut pending = BTreeMap::from([(output, Adjoint::Plain(seed))]);
        let mut done = HashMap::new();
        // Operands always come before the values made of them, so the greatest pending value is complete.
        while let Some((value, adjoint)) = pending.pop_last() {
            if let Adjoint::Plain(adjoint) = adjoint {
                done.insert(value, adjoint);
            }
            if stop(value) {
                continue;
            }
            let node = self.graph.node(value);
            for (operand, contribution) in self.contributions(value, adjoint) {
                let Adjoint::Plain(contribution) = contribution else {
                    pending.insert(operand, contribution);
                    continue;
                };
                let reduced = match node.op {
                    Op::Total(..) | Op::SegmentSum(..) | Op::Gather(..) | Op::Segment(..) => contribution,
                    _ if self.graph.domain_of(operand) == ONE && node.domain != ONE => reduce(self.graph, contribution, node.domain),
                    _ => contribution,
                };
                let sum = match pending.get(&operand) {
                    Some(Adjoint::Plain(so_far)) => self.graph.add(*so_far, reduced),
                    _ => reduced,
                };
                pending.insert(operand, Adjoint::Plain(sum));
            }
        }
        done
    }

    /// What each live operand of one value receives.
    fn contributions(&self, value: Value, adjoint: Adjoint) -> Vec<(Value, Adjoint)> {
        let (graph, node) = (self.graph, self.graph.node(value));
        let times_value = || match adjoint {
            Adjoint::Plain(adjoint) => graph.multiply(adjoint, value),
            Adjoint::TimesValue(product) => product,
        };
        match (node.op, adjoint) {
            (Op::Unary(Unary::Sigmoid, x), Adjoint::TimesValue(product)) => {
                vec![(x, Adjoint::Plain(graph.binary(Binary::AndNot, product, value)))]
            }
            (Op::Binary(Binary::Multiply, a, b), _) => [(a, b), (b, a)]
                .into_iter()
                .filter(|(operand, _)| self.is_live(*operand))
                .map(|(operand, other)| match adjoint {
                    _ if self.takes_times_value(operand, node.domain) => (operand, Adjoint::TimesValue(times_value())),
                    Adjoint::Plain(adjoint) => (operand, Adjoint::Plain(times(graph, adjoint, other, !self.infinite[other.0 as usize]))),
                    Adjoint::TimesValue(_) => unreachable!("a product takes it only where its live factors do"),
                })
                .collect(),
            // What is absent has no say, also not in how much of it there should be.
            (Op::Binary(Binary::Gate, a, b), Adjoint::Plain(adjoint)) if self.infinite[b.0 as usize] => {
                let is_finite = graph.binary(Binary::Equal, graph.subtract(b, b), graph.spread(graph.number(0.0), node.width as usize));
                let of_weight = graph.gate(adjoint, graph.gate(is_finite, b));
                let received = [(a, of_weight), (b, graph.gate(a, adjoint))].into_iter().filter(|(operand, _)| self.is_live(*operand));
                received.map(|(operand, contribution)| (operand, Adjoint::Plain(contribution))).collect()
            }
            (_, Adjoint::Plain(adjoint)) => {
                let received = adjoints(graph, value, adjoint).into_iter().filter(|(operand, _)| self.is_live(*operand));
                received.map(|(operand, contribution)| (operand, Adjoint::Plain(contribution))).collect()
            }
            (_, Adjoint::TimesValue(_)) => unreachable!("only sigmoids and products take it"),
        }
    }
}

/// What each operand of one value receives. The adjoint of a gather is a segment sum, and the other way round.
fn adjoints(graph: &Graph, value: Value, adjoint: Value) -> Vec<(Value, Value)> {
    let node = graph.node(value);
    match node.op {
        Op::Constant(_) | Op::Setting(_) | Op::Parameter(_) | Op::Residual(_) | Op::Count(_) | Op::Greatest(_) | Op::Detach(_) => vec![],
        Op::Unary(f, _) if f.slope_kind() == Slope::Step => vec![],
        Op::Binary(f, ..) if f.slope_kind() == Slope::Step => vec![],
        // One operation instead of two: the sigmoid is what most adjoints pass through.
        Op::Unary(Unary::Sigmoid, x) => vec![(x, graph.binary(Binary::SigmoidBack, adjoint, value))],
        Op::Unary(f, x) => {
            let slope = f.slope(Symbol { graph, value: x }, Symbol { graph, value }).value;
            vec![(x, times(graph, adjoint, slope, bounded(f)))]
        }
        Op::Binary(f, a, b) => {
            let (left, right) = f.slopes(Symbol { graph, value: a }, Symbol { graph, value: b }, Symbol { graph, value });
            let sane = !matches!(f, Binary::Divide | Binary::Power | Binary::Atan2 | Binary::Gate);
            vec![(a, times(graph, adjoint, left.value, sane)), (b, times(graph, adjoint, right.value, sane))]
        }
        Op::Select(mask, a, b) => {
            let zero = graph.spread(graph.number(0.0), node.width as usize);
            vec![(a, graph.select(mask, adjoint, zero)), (b, graph.select(mask, zero, adjoint))]
        }
        Op::Dot(a, b) => vec![(a, graph.scale(adjoint, b)), (b, graph.scale(adjoint, a))],
        Op::Scale(s, v) => vec![(s, graph.dot(adjoint, v)), (v, graph.scale(s, adjoint))],
        Op::Sum(v) => vec![(v, graph.spread(adjoint, graph.width(v)))],
        Op::Spread(s) => vec![(s, graph.sum(adjoint))],
        Op::MatVec(m, v) => vec![(m, graph.outer(adjoint, v)), (v, graph.mat_trans_vec(m, adjoint))],
        Op::MatTransVec(m, u) => vec![(m, graph.outer(u, adjoint)), (u, graph.mat_vec(m, adjoint))],
        Op::Outer(u, v) => vec![(u, graph.mat_vec(adjoint, v)), (v, graph.mat_trans_vec(adjoint, u))],
        Op::Convolve(by, part, a, b) => {
            // The other two of the three: each operand's part is that of the other operand and of the adjoint.
            let [first, second] = part.others();
            let of = |wanted: Part, other: Value| {
                let operands = if wanted.others()[0] == part { [adjoint, other] } else { [other, adjoint] };
                graph.convolution(by, wanted, operands[0], operands[1])
            };
            vec![(a, of(first, b)), (b, of(second, a))]
        }
        Op::Pick(by, key, x) => vec![(x, graph.place(by, key, adjoint))],
        Op::Place(by, key, x) => vec![(x, graph.pick(by, key, adjoint))],
        Op::Concat(a, b) => {
            let (first, second) = (graph.width(a), graph.width(b));
            vec![(a, graph.slice(adjoint, 0, first)), (b, graph.slice(adjoint, first, second))]
        }
        Op::Slice(v, start) => {
            let zeros = |width: usize| graph.spread(graph.number(0.0), width);
            let (before, end) = (start as usize, start as usize + node.width as usize);
            let after = graph.width(v) - end;
            let from_start = if before > 0 { graph.concat(zeros(before), adjoint) } else { adjoint };
            vec![(v, if after > 0 { graph.concat(from_start, zeros(after)) } else { from_start })]
        }
        Op::Call(callee, x) => vec![(x, graph.pull_back(callee, x, adjoint))],
        Op::PullBack(..) => unreachable!("an objective has no gradients in it"),
        Op::Gather(x, index) => vec![(x, graph.segment_sum(adjoint, index))],
        Op::SegmentSum(x, index) if graph.domain_of(x) == ONE => {
            let (child, _) = graph.ends(index);
            let spread = graph.gather(adjoint, index);
            vec![(x, graph.total(spread, child))]
        }
        Op::SegmentSum(x, index) => vec![(x, graph.gather(adjoint, index))],
        Op::Total(x, _) => vec![(x, adjoint)],
        Op::Segment(segment, segments) => segment::adjoints(graph, value, segment, segments, adjoint),
    }
}

/// The product of an adjoint and a slope. Where the slope can be infinite, an adjoint of 0 stays 0:
/// a branch that was not taken must not spoil the gradient of the one that was.
fn times(graph: &Graph, adjoint: Value, slope: Value, bounded: bool) -> Value {
    if bounded { graph.multiply(adjoint, slope) } else { graph.gate(adjoint, slope) }
}

/// Whether an operation can make an infinite value of finite ones.
fn is_unbounded(op: Op) -> bool {
    match op {
        Op::Unary(f, _) => !bounded(f),
        Op::Binary(f, ..) => matches!(f, Binary::Divide | Binary::Power),
        Op::Segment(segment, _) => segment.can_be_infinite(),
        Op::Call(..) => true,
        _ => false,
    }
}

/// Whether an operation can hand on an infinite value. An infinite sum is an error of its own.
fn can_be_infinite(op: Op) -> bool {
    use Unary::{CauchyCdf, LaplaceCdf, LinearCdf, Sigmoid, Tanh};
    match op {
        Op::Unary(Sigmoid | Tanh | LaplaceCdf | CauchyCdf | LinearCdf, _) | Op::SegmentSum(..) | Op::Total(..) => false,
        Op::Segment(segment, _) => segment.can_be_infinite(),
        Op::Unary(f, _) => f.slope_kind() != Slope::Step,
        _ => true,
    }
}

fn bounded(function: Unary) -> bool {
    use Unary::*;
    !matches!(
        function,
        Ln | Log2 | Log10 | Sqrt | Cbrt | Exp | Sinh | Cosh | Tan | Cot | Asin | Acos | Acosh | Atanh | LnOneMinus | OneMinusExp
    )
}

/// Sums over one domain that are all linear in one live value: `total_i = sum(weight_i * live)`.
struct SharedSums<'g> {
    graph: &'g Graph,
    live: Value,
    /// (weight or `None` for 1, adjoint of the sum)
    sums: Vec<(Option<Value>, Value)>,
    domain: Domain,
}

impl<'g> SharedSums<'g> {
    fn find(graph: &'g Graph, outer: &Sweep<'g>, objective: Value, parameters: &[Value]) -> Option<Self> {
        if parameters.iter().any(|p| graph.domain_of(*p) != ONE) {
            return None;
        }
        let is_sum = |v: Value| matches!(graph.node(v).op, Op::Total(..));
        let adjoints = outer.run(objective, graph.number(1.0), &is_sum, &total);
        let mut totals: Vec<Value> = adjoints.keys().copied().filter(|v| is_sum(*v)).collect();
        totals.sort();
        let settled = totals.iter().all(|t| !depends_on_a_sum(graph, adjoints[t]));
        if totals.is_empty() || settled || parameters.iter().any(|p| adjoints.contains_key(p)) {
            return None;
        }
        let mut found: Option<(Value, Domain)> = None;
        let mut sums = Vec::new();
        for total in totals {
            let Op::Total(x, domain) = graph.node(total).op else { return None };
            let (weight, live) = linear(graph, outer, x);
            // What is infinite in a row must meet an adjoint of 0 there, not in the sum.
            if outer.infinite[x.0 as usize] || found.is_some_and(|f| f != (live, domain)) {
                return None;
            }
            found = Some((live, domain));
            sums.push((weight, adjoints[&total]));
        }
        let (live, domain) = found?;
        maps_only(graph, outer, live).then_some(Self { graph, live, sums, domain })
    }

    fn gradient(self, parameters: &[Value]) -> Vec<Option<Value>> {
        let graph = self.graph;
        let inner = Sweep::new(graph, self.live, parameters);
        let weigh = |g: &Graph, contribution: Value, domain: Domain| {
            debug_assert!(domain == self.domain);
            let (factor, rest) = g.factor(contribution);
            let parts = self.sums.iter().map(|&(weight, adjoint)| {
                let weighted = weight.map_or(rest, |w| g.scale(w, rest));
                let outer = factor.map_or(adjoint, |f| g.multiply(f, adjoint));
                g.scale(outer, g.total(weighted, domain))
            });
            parts.reduce(|a, b| g.add(a, b)).expect("there is a sum")
        };
        let adjoints = inner.run(self.live, graph.number(1.0), &|_| false, &weigh);
        parameters.iter().map(|p| adjoints.get(p).copied()).collect()
    }
}

/// `x` as `weight * live` with a weight that nothing learned reaches.
fn linear(graph: &Graph, sweep: &Sweep, x: Value) -> (Option<Value>, Value) {
    match graph.node(x).op {
        Op::Binary(Binary::Multiply | Binary::Gate, a, b) if graph.width(x) == 1 => match (sweep.is_live(a), sweep.is_live(b)) {
            (true, false) => (Some(b), a),
            (false, true) => (Some(a), b),
            _ => (None, x),
        },
        _ => (None, x),
    }
}

/// Whether `value` is made of the one-row parameters by maps alone, so that a factor of its adjoint may be applied last.
fn maps_only(graph: &Graph, sweep: &Sweep, value: Value) -> bool {
    let (mut stack, mut seen) = (vec![value], HashSet::new());
    while let Some(v) = stack.pop() {
        let node = graph.node(v);
        if !sweep.is_live(v) || !seen.insert(v) || node.domain == ONE {
            continue;
        }
        if matches!(node.op, Op::Gather(..) | Op::SegmentSum(..) | Op::Total(..) | Op::Segment(..)) {
            return false;
        }
        stack.extend(node.op.operands());
    }
    // A one-row value below must itself not be a sum: its adjoint would be needed before the pass ends.
    !seen.iter().any(|v| graph.node(*v).op.operands().any(|o| graph.domain_of(o) == ONE && depends_on_a_sum(graph, o)))
}

fn depends_on_a_sum(graph: &Graph, value: Value) -> bool {
    let (mut stack, mut seen) = (vec![value], HashSet::new());
    while let Some(v) = stack.pop() {
        let op = graph.node(v).op;
        if matches!(op, Op::Total(..) | Op::SegmentSum(..) | Op::Segment(..)) {
            return true;
        }
        stack.extend(op.operands().filter(|o| seen.insert(*o)));
    }
    false
}
