//! The program as a graph of values, each over one domain, made by constructors that share equal
//! values and compute a value before the gather that spreads it. It never hears of SQL.

use super::convolution::{Convolution, Part};
use super::index::Rows;
pub(super) use super::op::Op;
use super::pooling::Pooling;
use crate::buffer::Buffer;
use crate::scalar::{Binary, Field, Function, Unary};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// A value of the program: one column (scalar, vector or row-major matrix per row) over one domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(super) u32);

/// A list of rows that values lie over. [`ONE`] has a single row and is visible from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(pub(super) u32);

/// For every row of the child domain, its row in the parent domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(pub(super) u32);

pub const ONE: Domain = Domain(0);

/// Rows from which a factor of a cross product fills chunks.
const SHORTEST_RUN: usize = 512;

/// Number of a parameter column, of a residual column, or of a number that the run sets between steps.
pub type Slot = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub domain: Domain,
    pub width: u32,
    pub op: Op,
}

pub(super) struct DomainInfo {
    pub name: String,
    pub rows: usize,
    /// Of a cross product, the rows of the factor that varies fastest.
    pub run: Option<usize>,
}

pub(super) struct IndexInfo {
    pub child: Domain,
    pub parent: Domain,
    pub rows: Rows,
}

/// A graph under construction. It is cheap to copy a handle to it.
#[derive(Clone, Default)]
pub struct Graph(pub(super) Rc<RefCell<Nodes>>);

#[derive(Default)]
pub(super) struct Nodes {
    pub nodes: Vec<Node>,
    pub shared: HashMap<Node, Value>,
    pub domains: Vec<DomainInfo>,
    pub indices: Vec<IndexInfo>,
    /// Indices that are two others, one after the other.
    pub composed: HashMap<(Index, Index), Index>,
    pub labels: HashMap<Value, Arc<str>>,
    /// Functions of the application, by their number.
    pub functions: Vec<Function>,
    /// Whether a node depends on anything that changes between steps.
    pub live: Vec<bool>,
    /// The value of each setting.
    pub settings: Vec<Value>,
    /// Residual columns with numbers that are infinite, or none.
    pub infinite: HashSet<Slot>,
    pub is_sampled: bool,
}

impl Graph {
    pub fn new() -> Self {
        let graph = Self::default();
        graph.domain("one", 1);
        graph
    }

    /// Declares a domain; one of a single row is [`ONE`] itself.
    pub fn domain(&self, name: &str, rows: usize) -> Domain {
        let mut nodes = self.0.borrow_mut();
        if rows == 1 && !nodes.domains.is_empty() {
            return ONE;
        }
        nodes.domains.push(DomainInfo { name: name.to_string(), rows, run: None });
        Domain(nodes.domains.len() as u32 - 1)
    }

    /// Declares the domain of all combinations of one row of each factor, which nothing writes out, and the index of each
    /// factor. A factor of one row has none, and what has no more than one other is that other itself. The rows that belong to
    /// one of the slowest factor, which may be chosen, lie next to each other.
    pub fn product(&self, name: &str, factors: &[Domain], slowest: Option<usize>) -> (Domain, Vec<Option<Index>>) {
        let mut indices = vec![None; factors.len()];
        let mut many: Vec<usize> = (0..factors.len()).filter(|f| factors[*f] != ONE).collect();
        match many.as_slice() {
            [] => return (ONE, indices),
            [one] => return (factors[*one], indices),
            _ => {}
        }
        let rows = |f: usize| self.rows(factors[f]);
        // What varies fastest fills chunks, and is no longer than it need be: each block has sums of its own for all of it.
        let place = |f: &usize| match rows(*f) {
            _ if Some(*f) == slowest => (2, 0),
            long if long >= SHORTEST_RUN => (0, long),
            short => (1, usize::MAX - short),
        };
        if let Some(fastest) = many.iter().copied().min_by_key(place) {
            many.sort_by_key(|f| (*f == fastest, Some(*f) != slowest));
        }
        let (all, run) = (many.iter().map(|f| rows(*f)).product(), rows(many[many.len() - 1]));
        let mut nodes = self.0.borrow_mut();
        nodes.domains.push(DomainInfo { name: name.to_string(), rows: all, run: Some(run) });
        let child = Domain(nodes.domains.len() as u32 - 1);
        let mut inner = 1;
        for f in many.into_iter().rev() {
            let (parent, len) = (factors[f], nodes.domains[factors[f].0 as usize].rows);
            nodes.indices.push(IndexInfo { child, parent, rows: Rows::Along { inner, len, rows: all } });
            indices[f] = Some(Index(nodes.indices.len() as u32 - 1));
            inner *= len;
        }
        (child, indices)
    }

    /// Declares an index. `rows[i]` is the parent's row of the child's row `i`.
    pub fn index(&self, child: Domain, parent: Domain, rows: Buffer<u32>) -> Index {
        let nodes = self.0.borrow();
        assert_eq!(rows.len(), nodes.domains[child.0 as usize].rows, "an index has one entry for each row of its child");
        assert!(rows.all(|&r| (r as usize) < nodes.domains[parent.0 as usize].rows), "an index points at rows of its parent");
        drop(nodes);
        self.add_index(child, parent, Rows::Stored(rows))
    }

    pub(super) fn add_index(&self, child: Domain, parent: Domain, rows: Rows) -> Index {
        let mut nodes = self.0.borrow_mut();
        nodes.indices.push(IndexInfo { child, parent, rows });
        Index(nodes.indices.len() as u32 - 1)
    }

    /// A number that the run may change between steps.
    pub fn setting(&self) -> (Slot, Value) {
        let slot = self.0.borrow().settings.len() as Slot;
        let value = self.push(ONE, 1, Op::Setting(slot));
        self.0.borrow_mut().settings.push(value);
        (slot, value)
    }

    pub fn setting_value(&self, slot: Slot) -> Value {
        self.0.borrow().settings[slot as usize]
    }

    pub fn parameter(&self, slot: Slot, domain: Domain, width: usize) -> Value {
        self.push(domain, width, Op::Parameter(slot))
    }

    pub fn residual(&self, slot: Slot, domain: Domain, width: usize) -> Value {
        self.push(domain, width, Op::Residual(slot))
    }

    /// Says that a residual column has numbers that are infinite, or none: where nothing depends on them they must spoil nothing.
    pub fn can_be_infinite(&self, slot: Slot) {
        self.0.borrow_mut().infinite.insert(slot);
    }

    pub fn number(&self, value: f64) -> Value {
        self.push(ONE, 1, Op::Constant(value.to_bits()))
    }

    pub fn count(&self, domain: Domain) -> Value {
        if domain == ONE { self.number(1.0) } else { self.push(ONE, 1, Op::Count(domain)) }
    }

    pub fn rows(&self, domain: Domain) -> usize {
        self.0.borrow().domains[domain.0 as usize].rows
    }

    /// Whether a domain is a cross product, so that a column over it would be one number for each pair.
    pub fn is_product(&self, domain: Domain) -> bool {
        self.0.borrow().domains[domain.0 as usize].run.is_some()
    }

    /// What a value is gathered from, and by which index, if it is.
    pub fn gathered(&self, value: Value) -> Option<(Value, Index)> {
        if let Op::Gather(x, index) = self.node(value).op { Some((x, index)) } else { None }
    }

    /// The margin whose distribution function a value is, where it is there. It tells apart what rounds to the same degree.
    pub fn margin(&self, value: Value) -> Option<Value> {
        use Unary::{CauchyCdf, ExponentialCdf, LaplaceCdf, LinearCdf, Sigmoid};
        match self.node(value).op {
            Op::Unary(Sigmoid | LaplaceCdf | CauchyCdf | LinearCdf | ExponentialCdf, margin) => Some(margin),
            Op::Binary(Binary::Gate, _, degree) => self.margin(degree),
            _ => None,
        }
    }

    pub fn domain_of(&self, value: Value) -> Domain {
        self.node(value).domain
    }

    pub fn width(&self, value: Value) -> usize {
        self.node(value).width as usize
    }

    /// Whether a value lies in memory from the start.
    pub fn is_leaf(&self, value: Value) -> bool {
        self.node(value).op.is_leaf()
    }

    /// Whether a value stays the same from step to step.
    pub fn is_frozen(&self, value: Value) -> bool {
        !self.0.borrow().live[value.0 as usize]
    }

    /// The constant that a value is, if it is one.
    pub fn constant(&self, value: Value) -> Option<f64> {
        if let Op::Constant(bits) = self.node(value).op { Some(f64::from_bits(bits)) } else { None }
    }

    /// The constant that a number or every element of a vector is, if it is one.
    fn everywhere(&self, value: Value) -> Option<f64> {
        if let Op::Spread(number) = self.node(value).op { self.constant(number) } else { self.constant(value) }
    }

    /// The residual column that a value is, if it is one.
    pub fn residual_slot(&self, value: Value) -> Option<Slot> {
        if let Op::Residual(slot) = self.node(value).op { Some(slot) } else { None }
    }

    /// Values with a name, in the order in which they are computed.
    pub fn labels(&self) -> Vec<(Value, Arc<str>)> {
        let mut labels: Vec<_> = self.0.borrow().labels.iter().map(|(v, l)| (*v, l.clone())).collect();
        labels.sort();
        labels
    }

    /// The value without its gradient.
    pub fn detach(&self, x: Value) -> Value {
        self.push(self.domain_of(x), self.width(x), Op::Detach(x))
    }

    /// Names the operator that a value stands for, for `EXPLAIN` and for errors at run time.
    pub fn label(&self, value: Value, name: &str) {
        self.0.borrow_mut().labels.entry(value).or_insert_with(|| name.into());
    }

    /// Elementwise, over numbers and vectors alike.
    pub fn unary(&self, function: Unary, x: Value) -> Value {
        let node = self.node(x);
        if let Some(constant) = self.constant(x) {
            return self.number(function.value(constant));
        }
        if let (Unary::Negate, Op::Unary(Unary::Negate, inner)) = (function, node.op) {
            return inner;
        }
        if let Op::Gather(parent, index) = node.op {
            let before = self.unary(function, parent);
            return self.gather(before, index);
        }
        self.push(node.domain, node.width as usize, Op::Unary(function, x))
    }

    /// Elementwise over two values of equal width; a number meets a vector through [`Graph::scale`] or [`Graph::spread`].
    pub fn binary(&self, function: Binary, a: Value, b: Value) -> Value {
        use Binary::{Add, Divide, Gate, Multiply, Power, Subtract};
        let (left, right) = (self.node(a), self.node(b));
        assert_eq!(left.width, right.width, "elementwise operands have the same width");
        if let (Some(x), Some(y)) = (self.constant(a), self.constant(b)) {
            return self.number(function.value(x, y));
        }
        match (function, self.everywhere(a), self.everywhere(b)) {
            (Add, Some(0.0), _) | (Multiply | Gate, Some(1.0), _) => return b,
            (Add | Subtract, _, Some(0.0)) | (Multiply | Divide, _, Some(1.0)) => return a,
            (Gate, _, Some(1.0)) => return a,
            (Gate, Some(0.0), _) => return a,
            (Power, _, Some(1.0)) => return a,
            (Power, _, Some(2.0)) => return self.multiply(a, a),
            (Power, _, Some(0.5)) => return self.unary(Unary::Sqrt, a),
            (Multiply, Some(-1.0), _) => return self.unary(Unary::Negate, b),
            (Multiply | Divide, _, Some(-1.0)) => return self.unary(Unary::Negate, a),
            _ => {}
        }
        let (a, b) = if matches!(function, Add | Multiply) && b < a { (b, a) } else { (a, b) };
        let found = self.over_gathers(&[a, b], |graph, v| graph.binary(function, v[0], v[1]));
        let among = || if function == Add { self.beside_its_like(a, b).or_else(|| self.beside_its_like(b, a)) } else { None };
        found.or_else(among).unwrap_or_else(|| {
            let domain = self.meet(&[a, b]);
            self.push(domain, left.width as usize, Op::Binary(function, a, b))
        })
    }

    pub fn add(&self, a: Value, b: Value) -> Value {
        self.binary(Binary::Add, a, b)
    }

    pub fn subtract(&self, a: Value, b: Value) -> Value {
        self.binary(Binary::Subtract, a, b)
    }

    pub fn multiply(&self, a: Value, b: Value) -> Value {
        self.binary(Binary::Multiply, a, b)
    }

    pub fn divide(&self, a: Value, b: Value) -> Value {
        self.binary(Binary::Divide, a, b)
    }

    /// `a * b`, but 0 where `a` is 0, whatever `b` is: what is absent cannot spoil what is present.
    pub fn gate(&self, a: Value, b: Value) -> Value {
        self.binary(Binary::Gate, a, b)
    }

    /// 1 - a.
    pub fn complement(&self, a: Value) -> Value {
        let one = self.number(1.0);
        self.subtract(one, a)
    }

    pub fn select(&self, mask: Value, a: Value, b: Value) -> Value {
        if a == b {
            return a;
        }
        self.over_gathers(&[mask, a, b], |graph, x| graph.select(x[0], x[1], x[2]))
            .unwrap_or_else(|| self.push(self.meet(&[mask, a, b]), self.width(a), Op::Select(mask, a, b)))
    }

    pub fn dot(&self, a: Value, b: Value) -> Value {
        assert_eq!(self.width(a), self.width(b), "an inner product has operands of the same width");
        self.over_gathers(&[a, b], |graph, v| graph.dot(v[0], v[1])).unwrap_or_else(|| self.push(self.meet(&[a, b]), 1, Op::Dot(a, b)))
    }

    /// A number times a vector (or a number).
    pub fn scale(&self, s: Value, v: Value) -> Value {
        if self.width(v) == 1 {
            return self.multiply(s, v);
        }
        if self.constant(s) == Some(1.0) {
            return v;
        }
        self.over_gathers(&[s, v], |graph, x| graph.scale(x[0], x[1]))
            .unwrap_or_else(|| self.push(self.meet(&[s, v]), self.width(v), Op::Scale(s, v)))
    }

    pub fn sum(&self, v: Value) -> Value {
        if self.width(v) == 1 {
            return v;
        }
        self.over_gathers(&[v], |graph, x| graph.sum(x[0])).unwrap_or_else(|| self.push(self.domain_of(v), 1, Op::Sum(v)))
    }

    /// The greatest element of a vector, as a number without gradient.
    pub fn greatest(&self, v: Value) -> Value {
        if self.width(v) == 1 {
            return v;
        }
        self.over_gathers(&[v], |graph, x| graph.greatest(x[0])).unwrap_or_else(|| self.push(self.domain_of(v), 1, Op::Greatest(v)))
    }

    pub fn spread(&self, s: Value, width: usize) -> Value {
        if width == 1 { s } else { self.push(self.domain_of(s), width, Op::Spread(s)) }
    }

    pub fn mat_vec(&self, m: Value, v: Value) -> Value {
        let rows = self.width(m) / self.width(v);
        self.over_gathers(&[m, v], |graph, x| graph.mat_vec(x[0], x[1]))
            .unwrap_or_else(|| self.push(self.meet(&[m, v]), rows, Op::MatVec(m, v)))
    }

    pub fn mat_trans_vec(&self, m: Value, u: Value) -> Value {
        let columns = self.width(m) / self.width(u);
        self.over_gathers(&[m, u], |graph, x| graph.mat_trans_vec(x[0], x[1]))
            .unwrap_or_else(|| self.push(self.meet(&[m, u]), columns, Op::MatTransVec(m, u)))
    }

    pub fn outer(&self, u: Value, v: Value) -> Value {
        self.push(self.meet(&[u, v]), self.width(u) * self.width(v), Op::Outer(u, v))
    }

    /// An image under a kernel.
    pub fn convolve(&self, by: Convolution, kernel: Value, image: Value) -> Value {
        self.convolution(by, Part::Output, kernel, image)
    }

    pub(super) fn convolution(&self, by: Convolution, part: Part, first: Value, second: Value) -> Value {
        let [a, b] = part.others().map(|other| by.width(other));
        assert!(self.width(first) == a && self.width(second) == b, "a convolution has operands of its own sizes");
        self.over_gathers(&[first, second], |graph, v| graph.convolution(by, part, v[0], v[1])).unwrap_or_else(|| {
            let domain = self.meet(&[first, second]);
            self.push(domain, by.width(part), Op::Convolve(by, part, first, second))
        })
    }

    /// Of each window, the pixel where the key is greatest.
    pub fn pick(&self, by: Pooling, key: Value, image: Value) -> Value {
        assert!([key, image].iter().all(|v| self.width(*v) == by.image_width()), "a window lies over an image of its own size");
        self.over_gathers(&[key, image], |graph, v| graph.pick(by, v[0], v[1])).unwrap_or_else(|| {
            let domain = self.meet(&[key, image]);
            self.push(domain, by.output().iter().product(), Op::Pick(by, key, image))
        })
    }

    /// A smaller image put to the pixels that [`Graph::pick`] reads.
    pub(super) fn place(&self, by: Pooling, key: Value, small: Value) -> Value {
        self.push(self.meet(&[key, small]), by.image_width(), Op::Place(by, key, small))
    }

    pub(super) fn node(&self, value: Value) -> Node {
        self.0.borrow().nodes[value.0 as usize]
    }

    pub(super) fn ends(&self, index: Index) -> (Domain, Domain) {
        let nodes = self.0.borrow();
        let info = &nodes.indices[index.0 as usize];
        (info.child, info.parent)
    }

    /// The one domain other than [`ONE`] that the operands lie over.
    pub(super) fn meet(&self, values: &[Value]) -> Domain {
        values.iter().map(|&v| self.domain_of(v)).fold(ONE, |met, domain| {
            assert!(met == ONE || domain == ONE || met == domain, "operands lie over one domain");
            if met == ONE { domain } else { met }
        })
    }

    /// When all operands are spread by one gather (or are the same for all rows), computes over the fewer rows first.
    pub(super) fn over_gathers(&self, operands: &[Value], make: impl Fn(&Graph, &[Value]) -> Value) -> Option<Value> {
        let mut through = None;
        let mut parents = Vec::with_capacity(operands.len());
        for &operand in operands {
            let node = self.node(operand);
            match node.op {
                Op::Gather(parent, index) if through.is_none_or(|i| i == index) => {
                    through = Some(index);
                    parents.push(parent);
                }
                _ if node.domain == ONE => parents.push(operand),
                _ => return None,
            }
        }
        let index = through?;
        let (child, parent) = self.ends(index);
        if self.rows(parent) > self.rows(child) {
            return None;
        }
        let before = make(self, &parents);
        Some(self.gather(before, index))
    }

    pub(super) fn push(&self, domain: Domain, width: usize, op: Op) -> Value {
        let node = Node { domain, width: width as u32, op };
        let mut nodes = self.0.borrow_mut();
        if let Some(&value) = nodes.shared.get(&node) {
            return value;
        }
        let value = Value(nodes.nodes.len() as u32);
        let live = matches!(op, Op::Parameter(_) | Op::Setting(_) | Op::Count(_)) || op.operands().any(|v| nodes.live[v.0 as usize]);
        nodes.live.push(live);
        nodes.nodes.push(node);
        nodes.shared.insert(node, value);
        value
    }
}

/// A value of a graph as something that slopes can be written in.
#[derive(Clone, Copy)]
pub(super) struct Symbol<'g> {
    pub graph: &'g Graph,
    pub value: Value,
}

impl Field for Symbol<'_> {
    fn constant(self, value: f64) -> Self {
        let number = self.graph.number(value);
        Symbol { value: self.graph.spread(number, self.graph.width(self.value)), ..self }
    }

    fn unary(self, function: Unary) -> Self {
        Symbol { value: self.graph.unary(function, self.value), ..self }
    }

    fn binary(self, function: Binary, other: Self) -> Self {
        Symbol { value: self.graph.binary(function, self.value, other.value), ..self }
    }
}
