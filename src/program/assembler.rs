//! Writes the instructions of one pass: which values it computes, in which registers, and what need not be written out.

use super::fusion::{Finder, Fused, Fusion};
use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use super::plan::{Moment, Plan};
use super::schedule::{Action, Instruction, Operand, Pass, Scatter, Term};
use super::tile::{self, Side, Tile};
use crate::scalar::Binary;
use std::collections::{BTreeSet, HashMap};

/// Writes the instructions of one pass.
pub(super) struct Assembler<'a> {
    pub graph: &'a Graph,
    plan: &'a Plan<'a>,
    moment: Moment,
    pub domain: Domain,
    registers: Vec<u32>,
    free: Vec<u32>,
    held: HashMap<Value, u32>,
    /// Registers that [`Assembler::load`] took for the instruction that comes next.
    loaded: Vec<u32>,
    instructions: Vec<Instruction>,
    tile: Option<Tile>,
    /// Inner products that a plane holds.
    planes: HashMap<Value, u32>,
}

impl<'a> Assembler<'a> {
    pub fn new(graph: &'a Graph, plan: &'a Plan<'a>, moment: Moment, domain: Domain) -> Self {
        Self {
            graph,
            plan,
            moment,
            domain,
            registers: vec![],
            free: vec![],
            held: HashMap::new(),
            loaded: vec![],
            instructions: vec![],
            tile: None,
            planes: HashMap::new(),
        }
    }

    fn stores(&self) -> Vec<Value> {
        self.plan.stores(self.moment, self.domain)
    }

    fn sums(&self) -> Vec<Value> {
        self.plan.sums.get(&(self.moment, self.domain)).cloned().unwrap_or_default()
    }

    /// Whether this pass finds the value in memory.
    fn in_memory(&self, v: Value) -> bool {
        self.plan.is_available(v) || self.graph.domain_of(v) != self.domain || self.plan.is_stored_before(v, self.moment)
    }

    /// The values that this pass computes, operands first.
    pub fn body(&self) -> BTreeSet<Value> {
        let mut stack = self.stores();
        stack.extend(self.sums().iter().map(|&s| summand(self.graph, s)));
        let mut body = BTreeSet::new();
        while let Some(v) = stack.pop() {
            if !self.in_memory(v) && body.insert(v) {
                stack.extend(self.graph.node(v).op.operands().filter(|_| !matches!(self.graph.node(v).op, Op::Gather(..))));
            }
        }
        body
    }

    pub fn pass(mut self) -> Pass {
        let (stores, parts) = (self.stores(), self.sums());
        let mut sums: Vec<Value> = vec![];
        for whole in parts.iter().map(|part| self.plan.whole_of(*part)) {
            if !sums.contains(&whole) {
                sums.push(whole);
            }
        }
        let body: Vec<Value> = self.body().into_iter().collect();
        let terms: HashMap<Value, Vec<Value>> = parts.iter().fold(HashMap::new(), |mut map, &s| {
            map.entry(summand(self.graph, s)).or_insert_with(Vec::new).push(s);
            map
        });
        let mut virtual_values = self.virtual_values(&body, &stores);
        self.find_products(&body);
        let fused = Finder::find(&self, &body, &stores, &terms, &virtual_values);
        virtual_values.extend(&fused.inner);
        let mut over = vec![vec![]; body.len()];
        for (v, position) in self.last_uses(&body, &terms, &virtual_values, &fused) {
            over[position].push(v);
        }
        for (position, &v) in body.iter().enumerate() {
            if !virtual_values.contains(&v) && !self.planes.contains_key(&v) {
                self.compute(v, &fused);
            }
            if let Some(place) = stores.iter().position(|s| *s == v) {
                let from = self.operand(v);
                self.instructions.push(Instruction::Store { from, place: place as u32, width: self.graph.width(v) as u32 });
            }
            if fused.totals.contains_key(&v) {
                self.add_totals(v, &fused, &sums);
            } else if !fused.inner.contains(&v) {
                for sum in terms.get(&v).into_iter().flatten() {
                    self.add(*sum, v, &virtual_values, &sums);
                }
            }
            self.release(&over[position]);
        }
        // Sums of what already lies in memory.
        for &sum in &parts {
            let x = summand(self.graph, sum);
            if self.in_memory(x) {
                self.add(sum, x, &virtual_values, &sums);
            }
        }
        let run = self.graph.0.borrow().domains[self.domain.0 as usize].run;
        let tile = self.tile.filter(|tile| tile.planes > 0);
        Pass { domain: self.domain, run, tile, instructions: paired(self.instructions), registers: self.registers, stores, sums }
    }

    /// Values that need no register: vectors read where they lie through an index, and products that only sums read.
    fn virtual_values(&self, body: &[Value], stores: &[Value]) -> BTreeSet<Value> {
        let mut found = BTreeSet::new();
        let mut users: HashMap<Value, Vec<Op>> = HashMap::new();
        for op in body.iter().map(|u| self.graph.node(*u).op) {
            op.operands().for_each(|o| users.entry(o).or_default().push(op));
        }
        for &v in body {
            let node = self.graph.node(v);
            let whole = match node.op {
                Op::Gather(..) if node.width > 1 => users.get(&v).is_none_or(|users| users.iter().all(|op| op.reads_vectors())),
                Op::Scale(..) | Op::Outer(..) => !users.contains_key(&v),
                Op::Binary(Binary::Multiply, ..) if node.width == 1 => !users.contains_key(&v),
                _ => false,
            };
            if whole && !stores.contains(&v) {
                found.insert(v);
            }
        }
        found
    }

    /// For each value of the body, the position after which its register is free. A value read through a virtual one is held until that one is read.
    fn last_uses(
        &self,
        body: &[Value],
        terms: &HashMap<Value, Vec<Value>>,
        virtual_values: &BTreeSet<Value>,
        fused: &Fused,
    ) -> HashMap<Value, usize> {
        let mut last = HashMap::new();
        for (position, &v) in body.iter().enumerate() {
            last.insert(v, position);
            for o in self.graph.node(v).op.operands() {
                last.insert(o, position);
            }
            last.extend(fused.actions.get(&v).iter().flat_map(|f| f.leaves()).map(|leaf| (leaf, position)));
            last.extend(fused.totals.get(&v).iter().flat_map(|t| [t.a, t.b, t.weight]).map(|leaf| (leaf, position)));
            debug_assert!(fused.inner.contains(&v) || !virtual_values.contains(&v) || !terms.contains_key(&v) || last[&v] == position);
        }
        last
    }

    /// Gives back the registers of values that nothing reads any more. The lowest register is taken first again.
    fn release(&mut self, over: &[Value]) {
        self.free.extend(over.iter().filter_map(|v| self.held.remove(v)));
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn register(&mut self, width: u32) -> u32 {
        if let Some(at) = self.free.iter().rposition(|r| self.registers[*r as usize] == width) {
            return self.free.remove(at);
        }
        self.registers.push(width);
        self.registers.len() as u32 - 1
    }

    fn operand(&self, v: Value) -> Operand {
        if let Some(&register) = self.held.get(&v) {
            return Operand::Register(register);
        }
        if let Some(&plane) = self.planes.get(&v) {
            return Operand::Plane(plane);
        }
        let node = self.graph.node(v);
        match node.op {
            _ if node.domain == ONE && self.domain != ONE => Operand::Uniform(v),
            Op::Gather(x, index) if !self.in_memory(v) => Operand::Gathered(x, index),
            _ => Operand::Column(v),
        }
    }

    /// An operand whose numbers lie one row after the other, as elementwise operations read them.
    fn flat(&mut self, v: Value) -> Operand {
        let operand = self.operand(v);
        let width = self.graph.width(v) as u32;
        let lies_flat = match operand {
            Operand::Register(_) | Operand::Column(_) | Operand::Plane(_) => true,
            Operand::Uniform(_) => width == 1,
            Operand::Gathered(..) => false,
        };
        if lies_flat { operand } else { self.load(operand, width) }
    }

    /// Loads into a register that nothing else holds; it is free again after this instruction's successor.
    fn load(&mut self, operand: Operand, width: u32) -> Operand {
        let into = self.register(width);
        self.loaded.push(into);
        self.instructions.push(Instruction::Compute { action: Action::Load(operand), into, width, inner: width });
        Operand::Register(into)
    }

    fn compute(&mut self, v: Value, fused: &Fused) {
        let node = self.graph.node(v);
        let width = |x: Value| self.graph.width(x) as u32;
        let mut inner = node.width;
        let action = match node.op {
            _ if let Some(fusion) = fused.actions.get(&v) => self.fused(*fusion),
            Op::Gather(x, index) => Action::Load(Operand::Gathered(x, index)),
            Op::Unary(f, x) => Action::Unary(f, self.flat(x)),
            Op::Binary(f, a, b) => {
                let a = self.flat(a);
                Action::Binary(f, a, self.flat(b))
            }
            Op::Select(m, a, b) => {
                let (m, a) = (self.flat(m), self.flat(a));
                Action::Select(m, a, self.flat(b))
            }
            Op::Dot(a, b) => {
                inner = width(a);
                Action::Dot(self.operand(a), self.operand(b))
            }
            Op::Scale(s, x) => {
                let s = self.flat(s);
                Action::Scale(s, self.operand(x))
            }
            Op::Sum(x) | Op::Greatest(x) => {
                inner = width(x);
                let x = self.operand(x);
                if matches!(node.op, Op::Sum(_)) { Action::Sum(x) } else { Action::Greatest(x) }
            }
            Op::Detach(x) => Action::Load(self.operand(x)),
            Op::Spread(s) => Action::Spread(self.flat(s)),
            Op::MatVec(m, x) | Op::MatTransVec(m, x) => {
                inner = width(x);
                let (m, transposed) = (self.operand(m), matches!(node.op, Op::MatVec(..)));
                match m {
                    Operand::Uniform(_) => Action::RowsTimesMatrix { rows: self.flat(x), matrix: m, transposed },
                    _ if transposed => Action::MatVec(m, self.operand(x)),
                    _ => Action::MatTransVec(m, self.operand(x)),
                }
            }
            Op::Outer(u, x) => {
                inner = width(x);
                Action::Outer(self.operand(u), self.operand(x))
            }
            Op::Convolve(by, part, a, b) => Action::Convolve(by, part, self.operand(a), self.operand(b)),
            Op::Pick(by, key, x) => Action::Pick(by, self.operand(key), self.operand(x)),
            Op::Place(by, key, x) => Action::Place(by, self.operand(key), self.operand(x)),
            Op::Concat(a, b) => {
                inner = width(a);
                Action::Concat(self.operand(a), self.operand(b))
            }
            Op::Slice(x, start) => {
                inner = width(x);
                Action::Slice(self.operand(x), start)
            }
            Op::Call(callee, x) => {
                inner = width(x);
                Action::Call(callee, self.operand(x))
            }
            Op::PullBack(callee, x, cotangent) => {
                inner = width(cotangent);
                Action::PullBack(callee, self.operand(x), self.operand(cotangent))
            }
            Op::Constant(_)
            | Op::Setting(_)
            | Op::Parameter(_)
            | Op::Residual(_)
            | Op::Count(_)
            | Op::SegmentSum(..)
            | Op::Total(..)
            | Op::Segment(..) => {
                unreachable!("leaves and sums lie in memory")
            }
        };
        // Operands that die here may not be overwritten by the result, so it takes a register of its own first.
        let into = self.register(node.width);
        self.instructions.push(Instruction::Compute { action, into, width: node.width, inner });
        self.free.append(&mut self.loaded);
        self.held.insert(v, into);
    }

    fn fused(&mut self, fusion: Fusion) -> Action {
        let [a, b, c] = fusion.leaves().map(|leaf| self.flat(leaf));
        match fusion {
            Fusion::Degree { function, .. } => Action::Degree(function, a, b, c),
            Fusion::Product(..) => Action::Product(a, b, c),
            Fusion::MultiplyAdd(..) => Action::MultiplyAdd(a, b, c),
        }
    }

    fn add_totals(&mut self, product: Value, fused: &Fused, sums: &[Value]) {
        let totals = fused.totals[&product];
        let [a, b, weight] = [totals.a, totals.b, totals.weight].map(|v| self.flat(v));
        let place = |sum: Value| sums.iter().position(|s| *s == sum).expect("the sum belongs to this pass") as u32;
        let (weighed, plain) = (place(totals.weighed), totals.plain.map(place));
        self.instructions.push(Instruction::AddTotals { function: totals.function, a, b, weight, weighed, plain });
    }

    /// The inner products of all pairs of two factors' vectors become planes of a tile.
    fn find_products(&mut self, body: &[Value]) {
        let run = self.graph.0.borrow().domains[self.domain.0 as usize].run;
        let Some(run) = run.filter(|run| self.plan.goes_over_ranges() && self.graph.rows(self.domain) >= tile::FEWEST_RUNS * run) else {
            return;
        };
        let mut tile = Tile { run, ..Tile::default() };
        for &v in body {
            let Op::Dot(a, b) = self.graph.node(v).op else { continue };
            let width = self.graph.width(a);
            let (slow, fast) = match (self.side(a, run), self.side(b, run)) {
                (Some((slow, false)), Some((fast, true))) | (Some((fast, true)), Some((slow, false))) => (slow, fast),
                _ => continue,
            };
            if width >= tile::NARROWEST {
                self.planes.insert(v, tile.planes as u32);
                tile.products.push(tile::Product { slow, fast, width, plane: tile.planes });
                tile.planes += 1;
            }
        }
        self.tile = Some(tile);
    }

    /// Vectors that one side of the pairs reads, and whether it is the one that varies fastest.
    fn side(&self, v: Value, run: usize) -> Option<(Side, bool)> {
        let (vectors, index) = self.graph.gathered(v).filter(|_| !self.in_memory(v))?;
        let is_fast = tile::is_fast(&self.graph.0.borrow().indices[index.0 as usize].rows, run)?;
        Some((Side { vectors, index }, is_fast))
    }

    /// A sum of one side's vectors for the rows of the other, scaled by a number of each pair, if it is one.
    fn tile_sum(&self, vectors: Value, to: Option<Index>, place: u32) -> Option<tile::Sums> {
        let (tile, to, width) = (self.tile.as_ref()?, to?, self.graph.width(vectors));
        let (side, is_fast) = self.side(vectors, tile.run)?;
        let to_fast = tile::is_fast(&self.graph.0.borrow().indices[to.0 as usize].rows, tile.run)?;
        let fits = is_fast != to_fast && width >= tile::NARROWEST;
        fits.then_some(tile::Sums { side, to, to_fast, width, plane: tile.planes, place: place as usize })
    }

    /// Keeps the factor of such a sum, unless another has kept it.
    fn add_tile_sum(&mut self, factor: Value, mut sum: tile::Sums) {
        let tile = self.tile.as_mut().expect("a tile that the sum is of");
        let kept = self.planes.get(&factor).map(|plane| *plane as usize);
        sum.plane = kept.unwrap_or(tile.planes);
        tile.sums.push(sum);
        if kept.is_none() {
            tile.planes += 1;
            let from = self.flat(factor);
            self.instructions.push(Instruction::Keep { from, plane: sum.plane as u32 });
            self.planes.insert(factor, sum.plane as u32);
        }
    }

    fn add(&mut self, sum: Value, x: Value, virtual_values: &BTreeSet<Value>, sums: &[Value]) {
        let node = self.graph.node(x);
        let whole = self.plan.whole_of(sum);
        let place = sums.iter().position(|s| *s == whole).expect("the sum belongs to this pass") as u32;
        let (mut columns, index) = (node.width, if let Op::SegmentSum(_, index) = self.graph.node(sum).op { Some(index) } else { None });
        let term = match node.op {
            Op::Scale(s, v) if virtual_values.contains(&x) => {
                if let Some(sum) = self.tile_sum(v, index, place) {
                    return self.add_tile_sum(s, sum);
                }
                Term::Scaled(self.flat(s), self.operand(v))
            }
            Op::Binary(Binary::Multiply, a, b) if virtual_values.contains(&x) => {
                let a = self.flat(a);
                Term::Scaled(a, self.flat(b))
            }
            Op::Outer(u, v) if virtual_values.contains(&x) => {
                columns = self.graph.width(v) as u32;
                match index {
                    Some(_) => Term::Outer(self.operand(u), self.operand(v)),
                    None => {
                        let u = self.flat(u);
                        Term::Outer(u, self.flat(v))
                    }
                }
            }
            _ => Term::Plain(self.operand(x)),
        };
        self.instructions.push(Instruction::Add { term, index, place, width: node.width, columns });
    }
}

/// Neighbouring scatters with the same factor, to different sums, become one instruction.
fn paired(instructions: Vec<Instruction>) -> Vec<Instruction> {
    let scatter = |i: &Instruction| match *i {
        Instruction::Add { term: Term::Scaled(factor, vectors), index: Some(index), place, width, .. } if width > 1 => {
            Some((factor, Scatter { vectors, index, place, width }))
        }
        _ => None,
    };
    let mut paired: Vec<Instruction> = Vec::with_capacity(instructions.len());
    for instruction in instructions {
        match (paired.last().and_then(scatter), scatter(&instruction)) {
            (Some((factor, first)), Some((same, second))) if factor == same && first.place != second.place => {
                paired.pop();
                paired.push(Instruction::AddBoth { factor, first, second });
            }
            _ => paired.push(instruction),
        }
    }
    paired
}

fn summand(graph: &Graph, sum: Value) -> Value {
    match graph.node(sum).op {
        Op::SegmentSum(x, _) | Op::Total(x, _) => x,
        _ => unreachable!("only sums have a summand"),
    }
}
