//! From a live query to a program: what each operator means when it is soft. One file per relaxed
//! operator. This room never hears of SQL text, Arrow or DataFusion, and never of optimizers.
//!
//! A live relation has a weight in [0, 1] for each row; a live value has a presence, the degree to which
//! it is not NULL. Frozen rows and values have 1 or 0, exactly.

mod aggregate;
mod array;
mod candidates;
mod case;
mod columns;
mod comparison;
mod dictionary;
mod dimensions;
mod expression;
mod extremum;
mod function;
mod image;
mod laws;
mod logic;
mod moment;
mod place;
mod quantile;
mod rank;
mod scale;
mod stacked;
mod straight_through;
mod top_k;
mod vector;
mod window;

pub use candidates::{Kept, candidates};
pub use laws::{RELAXATIONS, Relaxation};
pub use scale::scales;

use crate::algebra::{Expression, FactorGroups, Grouping, Groups, Input, Numbers, OutputValue, Parameter, Pipeline, Rows, Source, Stage};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::program::{Domain, Graph, Index, Lanes, ONE, Slot, Value};
use crate::scalar::Unary;
use std::collections::{HashMap, HashSet};

/// How soft, and in which way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softness {
    /// The distribution function of a comparison's gap.
    pub sigmoid: Unary,
    pub logic: Logic,
    /// Measure each comparison's gap in units of its spread when training starts.
    pub auto_scale: bool,
    /// MIN and MAX are mellowmax, whose gradient reaches more rows.
    pub smooth_max: bool,
    /// Values are those of the exact query; only gradients are relaxed.
    pub straight_through: bool,
    /// How many combinations of a cross product with a live condition are kept for each row; `None` for all.
    pub candidates: Option<usize>,
}

impl Default for Softness {
    fn default() -> Self {
        Self {
            sigmoid: Unary::Sigmoid,
            logic: Logic::Product,
            auto_scale: true,
            smooth_max: false,
            straight_through: false,
            candidates: None,
        }
    }
}

/// The meaning of AND and OR over degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    Product,
    Godel,
    Lukasiewicz,
}

/// A query as a program, before its backward pass.
pub struct Relaxed<R> {
    pub graph: Graph,
    pub residuals: Vec<Buffer<R>>,
    /// The live columns of the answer; of an objective, the one number.
    pub outputs: Vec<Number>,
    /// The shape of each: of a vector, a matrix or an image, empty for a number; `None` where no row has any to tell it by.
    pub dimensions: Vec<Option<Vec<usize>>>,
    pub parameters: Vec<Value>,
    pub temperature: Slot,
    pub gaps: Vec<Gap>,
    pub sample: Option<Sample>,
    pub notes: Vec<Note>,
    stages: Vec<StageRows>,
}

/// The rows of a stage in the program: their weight, and how they refer to those of its factors.
struct StageRows {
    weight: Option<Value>,
    along: Vec<Option<Index>>,
}

/// A live value: what it is, and the degree to which it is not NULL (`None`: it never is).
#[derive(Debug, Clone, Copy)]
pub struct Number {
    pub value: Value,
    pub presence: Option<Value>,
}

/// A comparison, for the scale of its gap and for `EXPLAIN`.
pub struct Gap {
    pub label: String,
    /// left - right, over the rows of the stage; one for each round of a recursion.
    pub gaps: Vec<Number>,
    /// Which stage of the query the comparison is in.
    pub origin: usize,
    /// The setting that holds the gap's scale; `None` with `scale => 'none'`.
    pub scale: Option<Slot>,
}

/// The rows that a batch is drawn from, and the setting that says how many rows each stands for.
pub struct Sample {
    pub domain: Domain,
    pub rows: usize,
    pub scale: Slot,
}

/// What an operator became, for `EXPLAIN TRAIN`.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    pub stage: usize,
    pub operator: String,
    pub became: String,
}

/// What an operator became that lets no gradient through.
pub const STOPS: &str = "exact, and the gradient stops here";

/// Makes the program of a pipeline whose skeletons are materialized. `batch` asks for sampling.
pub fn relax<R: Lanes>(
    pipeline: &Pipeline,
    rows: Vec<Rows<R>>,
    parameters: &[Parameter],
    softness: Softness,
    batch: bool,
) -> Result<Relaxed<R>> {
    let graph = Graph::new();
    if batch {
        graph.sampled();
    }
    let (temperature, t) = graph.setting();
    let mut tables: HashMap<usize, Domain> = HashMap::new();
    let values = parameters
        .iter()
        .enumerate()
        .map(|(slot, p)| {
            let domain = *tables.entry(p.table).or_insert_with(|| graph.domain(&p.name, p.rows));
            graph.parameter(slot as Slot, domain, p.width())
        })
        .collect();
    let mut relaxer = Relaxer {
        graph,
        softness,
        temperature: t,
        tables,
        parameters: values,
        dimensions: parameters.iter().map(|p| p.dimensions.clone()).collect(),
        residuals: vec![],
        columns: HashMap::new(),
        gaps: vec![],
        finished: vec![],
        twins: HashMap::new(),
        notes: vec![],
        refusals: vec![],
        sample: None,
    };
    let read = pipeline.outputs_read();
    for (number, (stage, rows)) in pipeline.stages.iter().zip(rows).enumerate() {
        let sampled = batch && pipeline.outermost == Some(number);
        let is_answer = number + 1 == pipeline.stages.len();
        let finished = relaxer.enter(stage, number, rows, sampled).finish(&read[number], is_answer);
        relaxer.finished.push(finished);
    }
    let Relaxer { graph, parameters, residuals, gaps, notes, sample, refusals, mut finished, .. } = relaxer;
    if let Some(error) = Error::all(refusals) {
        return Err(error);
    }
    let take = |answer: &mut Finished| (std::mem::take(&mut answer.outputs), std::mem::take(&mut answer.dimensions));
    let (outputs, dimensions) = finished.last_mut().map(take).unwrap_or_default();
    let stages = finished.into_iter().map(|stage| stage.rows).collect();
    Ok(Relaxed { graph, residuals, outputs, dimensions, parameters, temperature, gaps, sample, notes, stages })
}

impl<R> Relaxed<R> {
    /// The one number of an objective.
    pub fn objective(&self) -> Number {
        self.outputs[0]
    }
}

/// What is shared by all stages while the program is made.
struct Relaxer<R> {
    graph: Graph,
    softness: Softness,
    temperature: Value,
    tables: HashMap<usize, Domain>,
    parameters: Vec<Value>,
    dimensions: Vec<Vec<usize>>,
    residuals: Vec<Buffer<R>>,
    /// Those in memory, by their rows and width.
    columns: HashMap<(Domain, usize), Vec<Slot>>,
    gaps: Vec<Gap>,
    finished: Vec<Finished>,
    /// The exact twin of a relaxed value, with `forward => 'exact'`.
    twins: HashMap<Value, Value>,
    notes: Vec<Note>,
    refusals: Vec<Error>,
    sample: Option<Sample>,
}

/// The live columns of a finished stage.
struct Finished {
    domain: Domain,
    outputs: Vec<Number>,
    /// Of each output, as [`Workplace::dimensions_of`] tells.
    dimensions: Vec<Option<Vec<usize>>>,
    rows: StageRows,
}

/// A stage while its operators are relaxed.
struct Workplace<'s, R> {
    all: &'s mut Relaxer<R>,
    stage: &'s Stage,
    number: usize,
    domain: Domain,
    rows: Rows<R>,
    /// Residuals as values of the program, once used.
    columns: HashMap<usize, Number>,
    indices: HashMap<usize, Index>,
    /// The rows that each dimension has, and how its factor's rows refer to them; once used.
    dimensions: HashMap<usize, (Domain, Option<Index>)>,
    /// Each factor's rows, and how the rows of the stage refer to them; `None` where they are the same, or one for all.
    factors: Vec<(Domain, Option<Index>)>,
    /// The domain of the groups, and the way there from the rows.
    groups: (Domain, Vec<Index>),
    /// The setting that scales sums when this stage is sampled.
    sample_scale: Option<Value>,
}

impl<R: Lanes> Relaxer<R> {
    fn enter<'s>(&'s mut self, stage: &'s Stage, number: usize, rows: Rows<R>, sampled: bool) -> Workplace<'s, R> {
        let domain = |(factor, count): (usize, &usize)| {
            self.rows_of_a_stage(stage, &rows, factor).unwrap_or_else(|| self.graph.domain(&stage.name, *count))
        };
        let each: Vec<Domain> = rows.factors.iter().enumerate().map(domain).collect();
        let (domain, along) = match &rows.chosen {
            None => {
                let keyed = rows.groups.as_ref().and_then(Groups::of_one).map(|groups| groups.factor);
                let slowest = keyed.filter(|_| !stage.outputs.iter().all(|output| output.value.is_sum()));
                self.graph.product(&stage.name, &each, slowest)
            }
            Some(chosen) => {
                let domain = self.graph.domain(&stage.name, rows.count());
                let index =
                    |(factor, rows): (&Domain, &Buffer<u32>)| (*factor != ONE).then(|| self.graph.index(domain, *factor, rows.clone()));
                (domain, each.iter().zip(chosen).map(index).collect())
            }
        };
        let factors: Vec<(Domain, Option<Index>)> = each.into_iter().zip(along).collect();
        let groups = match (&rows.groups, stage.grouping) {
            (Some(groups), Grouping::Keys | Grouping::Each | Grouping::Partitions) => {
                let domain_of_groups = self.graph.domain(&stage.name, groups.count());
                (domain_of_groups, self.way(domain, &factors, groups, domain_of_groups))
            }
            (_, Grouping::Rows) => (domain, vec![]),
            _ => (ONE, vec![]),
        };
        let sample_scale = (sampled && domain != ONE).then(|| {
            let (scale, value) = self.graph.setting();
            self.sample = Some(Sample { domain, rows: rows.count(), scale });
            value
        });
        let (columns, indices, dimensions) = (HashMap::new(), HashMap::new(), HashMap::new());
        Workplace { all: self, stage, number, domain, rows, columns, indices, dimensions, factors, groups, sample_scale }
    }

    /// The domain of finished stages all of whose rows, in their order, are the rows of a factor. Where batches are drawn, each stage has
    /// rows of its own.
    fn rows_of_a_stage(&self, stage: &Stage, rows: &Rows<R>, factor: usize) -> Option<Domain> {
        let domain_of = |input: &Input| if let Source::Stage(number) = input.source { self.finished[number].domain } else { ONE };
        let is_same = |input: &Input| {
            let column = &rows.columns[input.rows];
            let in_order = |of: &Buffer<u32>| of.iter().enumerate().all(|(row, of)| row == *of as usize);
            let all = matches!(&column.numbers, Numbers::Index(of) if of.len() == self.graph.rows(domain_of(input)) && in_order(of));
            all && column.factor == factor && column.dimension.is_none() && column.valid.is_none()
        };
        let shared = |domain: Domain| {
            let inputs = || stage.inputs.iter().filter(move |input| domain_of(input) == domain);
            domain != ONE && !self.graph.is_product(domain) && inputs().all(is_same)
        };
        let mut domains = stage.inputs.iter().map(domain_of);
        if self.graph.is_sampled() { None } else { domains.find(|domain| shared(*domain)) }
    }

    /// The indices from the rows of a stage to its groups, one after another.
    fn way(&self, rows: Domain, factors: &[(Domain, Option<Index>)], groups: &Groups, to: Domain) -> Vec<Index> {
        if let Some(FactorGroups { factor, of_row, .. }) = groups.of_one() {
            let (parts, along) = factors[*factor];
            let index = (parts != ONE).then(|| self.graph.index(parts, to, of_row.clone()));
            return along.into_iter().chain(index).collect();
        }
        let mut each = groups.count();
        let part = |FactorGroups { factor, of_row, count }: &FactorGroups| {
            each /= count;
            let along = factors[*factor].1.expect("a cross product has several factors of several rows");
            (along, of_row.iter().map(|group| group * each as u32).collect())
        };
        let parts: Vec<(Index, Buffer<u32>)> = groups.of_factors.iter().map(part).collect();
        vec![self.graph.cells(rows, to, &parts)]
    }

    /// A value that nothing learned reaches is computed once, here. A column over a cross product is not: it is never written out; nor
    /// is one of rows that are in files: it would be in memory.
    fn settle(&mut self, value: Value) -> Value {
        if self.graph.is_leaf(value) || !self.graph.is_frozen(value) {
            return value;
        }
        if self.graph.is_product(self.graph.domain_of(value)) {
            let Some((x, index)) = self.graph.gathered(value) else { return value };
            let settled = self.settle(x);
            return self.graph.gather(settled, index);
        }
        if self.graph.residuals_below(value).any(|slot| self.residuals[slot as usize].is_spilled()) {
            return value;
        }
        let numbers = self.graph.computed(&mut self.residuals, &[value]).remove(0);
        let (domain, width) = (self.graph.domain_of(value), self.graph.width(value));
        self.add_residual(numbers.into(), domain, width)
    }

    /// Columns of the same numbers are one.
    fn add_residual(&mut self, numbers: Buffer<R>, domain: Domain, width: usize) -> Value {
        let bits = |numbers: &Buffer<R>, known: &Buffer<R>| {
            numbers.iter().zip(known.iter()).all(|(a, b)| a.wide().to_bits() == b.wide().to_bits())
        };
        let known = self.columns.entry((domain, width)).or_default();
        let same = |slot: &&Slot| !numbers.is_spilled() && bits(&numbers, &self.residuals[**slot as usize]);
        if let Some(slot) = known.iter().find(same) {
            return self.graph.residual(*slot, domain, width);
        }
        let slot = self.residuals.len() as Slot;
        if !numbers.all(|x| x.wide().is_finite()) {
            self.graph.can_be_infinite(slot);
        }
        if !numbers.is_spilled() {
            known.push(slot);
        }
        self.residuals.push(numbers);
        self.graph.residual(slot, domain, width)
    }
}

impl<R: Lanes> Relaxer<R> {
    /// Whether a settled value is 1 in every row.
    fn is_all_one(&self, value: Value) -> bool {
        self.holds_everywhere(value, |x| x == 1.0)
    }

    /// Whether a value is frozen and finite in every row.
    fn is_finite(&self, value: Value) -> bool {
        self.holds_everywhere(value, f64::is_finite)
    }

    /// Whether a value is known, and this holds of it in every row.
    fn holds_everywhere(&self, value: Value, holds: fn(f64) -> bool) -> bool {
        match (self.graph.residual_slot(value), self.graph.gathered(value)) {
            (Some(slot), _) => self.residuals[slot as usize].all(|x| holds(x.wide())),
            (None, Some((x, _))) => self.holds_everywhere(x, holds),
            (None, None) => self.graph.constant(value).is_some_and(holds),
        }
    }

    /// Refuses a use of vectors, and goes on with a stand-in so that all refusals are found.
    fn refuse(&mut self, error: Error) -> Number {
        self.refusals.push(error);
        Number { value: self.graph.number(0.0), presence: None }
    }
}

impl<R: Lanes> Workplace<'_, R> {
    fn graph(&self) -> Graph {
        self.all.graph.clone()
    }

    fn number(&self, value: f64) -> Value {
        self.all.graph.number(value)
    }

    fn note(&mut self, operator: impl Into<String>, became: impl Into<String>) {
        let note = Note { stage: self.number, operator: operator.into(), became: became.into() };
        if !self.all.notes.contains(&note) {
            self.all.notes.push(note);
        }
    }

    /// The degree to which two values are both there.
    fn both(&mut self, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        match (a, b) {
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(a), Some(b)) => Some(self.of_degrees([a, b], |at, [a, b]| {
                let product = at.all.graph.multiply(a, b);
                at.all.settle(product)
            })),
            (one, other) => one.or(other),
        }
    }

    /// The weight of each row; `None` when every row is present.
    fn weight(&mut self) -> Option<Value> {
        let stage = self.stage;
        let mut weight = None;
        for factor in &stage.weight {
            let degree = match factor {
                Expression::Degree(p) => self.truth(p),
                factor => {
                    let factor = self.expression(factor);
                    self.guarded(factor, 0.0)
                }
            };
            weight = self.both(weight, Some(degree));
        }
        weight
    }

    /// The value where it is there, and `otherwise` where it is NULL.
    fn guarded(&mut self, number: Number, otherwise: f64) -> Value {
        match number.presence {
            None => number.value,
            Some(presence) if otherwise == 0.0 => {
                self.of_degrees([presence, number.value], |at, [presence, value]| at.all.graph.gate(presence, value))
            }
            Some(presence) => {
                let other = self.number(otherwise);
                self.all.graph.select(presence, number.value, other)
            }
        }
    }

    /// Relaxes the outputs of the stage that are read.
    fn finish(&mut self, read: &HashSet<usize>, is_answer: bool) -> Finished {
        let weight = self.weight();
        let stage = self.stage;
        let outputs = stage
            .outputs
            .iter()
            .enumerate()
            .map(|(number, output)| {
                if !read.contains(&number) {
                    return Number { value: self.number(0.0), presence: None };
                }
                let number = match &output.value {
                    OutputValue::Row(expression) => self.expression(expression),
                    OutputValue::First { value, ignore_nulls, order, filter } => {
                        self.first(value, *ignore_nulls, order, filter.as_ref(), weight, &output.label)
                    }
                    OutputValue::Array(value) => self.array(value, &output.label),
                    OutputValue::Ranked { ranking, order } => self.ranked(*ranking, order, weight, &output.label),
                    OutputValue::Aggregate { aggregate, argument, filter } => {
                        let found = self.aggregate(*aggregate, argument.as_ref(), filter.as_ref(), weight, &output.label);
                        if stage.grouping == Grouping::Partitions { self.for_each_row(found) } else { found }
                    }
                    OutputValue::Running { running, argument, filter, through } => {
                        self.running(*running, argument.as_ref(), filter.as_ref(), weight, *through, &output.label)
                    }
                    OutputValue::Stacked { stages, column } => self.stacked(stages, *column),
                    OutputValue::Moment { moment, x, y, filter } => {
                        let found = self.moment(*moment, x, y, filter.as_ref(), weight);
                        if stage.grouping == Grouping::Partitions { self.for_each_row(found) } else { found }
                    }
                };
                let number = if is_answer { self.both_through(number) } else { number };
                self.all.graph.label(number.value, &output.label);
                match &output.value {
                    OutputValue::Aggregate { aggregate, filter, .. } => {
                        let weighted = weight.is_some() || filter.is_some();
                        self.note(output.label.clone(), aggregate::became(*aggregate, weighted, self.all.softness.smooth_max));
                    }
                    OutputValue::Moment { moment, .. } => self.note(output.label.clone(), moment::became(*moment)),
                    _ => {}
                }
                number
            })
            .collect();
        let domain = if stage.grouping == Grouping::Partitions { self.domain } else { self.groups.0 };
        let dimensions = stage.outputs.iter().map(|output| self.dimensions_of_output(&output.value)).collect();
        let rows = StageRows { weight, along: self.factors.iter().map(|f| f.1).collect() };
        Finished { domain, outputs, dimensions, rows }
    }
}
