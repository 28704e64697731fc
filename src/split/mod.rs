//! The border post between the SQL side and the learning side: a DataFusion plan becomes stages, each a
//! skeleton (an ordinary plan without the live columns) and live expressions as plain data.
//! This room never hears of gradients, temperatures or optimizers.
//!
//! The theorem that the split keeps, and `check` asserts: for every stage,
//! `(frozen, live) -> out` equals `frozen -> residuals` (the skeleton) followed by `(residuals, live) -> out`
//! (the expressions). So the skeleton reads nothing live, and the expressions read nothing but residuals and live inputs.
//! Splitting is pure: it runs nothing.

mod aggregate;
mod answer;
mod array;
mod array_sum;
mod check;
mod column;
mod dependent;
mod expression;
mod factor;
mod frame;
pub mod functions;
mod grouping;
mod image;
mod join;
mod lateral;
mod lookup;
mod materialize;
mod order;
mod place;
mod product;
mod push_down;
mod recursion;
mod relation;
mod rewrite;
mod rounds;
mod rows;
mod set;
mod subquery;
mod table;
pub mod user_function;
mod window;

pub use answer::{AnswerColumn, AnswerKey, AnswerRows, Part};
pub use column::Budget;
pub use materialize::{Materialized, Seconds};
pub use recursion::is_work_table;
pub use rewrite::prepare;
pub use table::LiveTable;

use crate::algebra::{Expression, Grouping, Input, Output, OutputValue, Pipeline, Residual, ResidualKind, Source, Stage};
use crate::error::{Error, Place, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use dependent::Context;
use recursion::{Recursion, WorkTable};
use relation::{Live, Relation};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use table::StageTable;

/// A split query: the live part as data, and the skeletons that are still to be run.
#[derive(Debug)]
pub struct Split {
    pub pipeline: Pipeline,
    skeletons: Vec<Skeleton>,
    recursions: Vec<Recursion>,
    /// Numbers of the learnable columns that the objective reaches.
    pub reached: BTreeSet<usize>,
    /// The stages that are scalar sub-queries, and where these stand: they have one row, or none.
    single: BTreeMap<usize, Place>,
    answer: AnswerRows,
}

/// The frozen part of a stage. It is run once, or once in each round: [`Split::materialize`] consumes it.
#[derive(Debug)]
struct Skeleton {
    plan: LogicalPlan,
    /// Names of the key columns; the plan is sorted by them.
    keys: Vec<String>,
    /// Aggregates that are frozen, over the columns of the plan, with the names that they get.
    aggregates: Vec<(Expr, String)>,
    /// A column that no two rows may share.
    unique: Option<(String, Place)>,
    /// Where the finished stage is put for the skeletons that read it.
    table: Arc<StageTable>,
}

/// Splits the plan of an objective (prepared by [`prepare`]): one row, one number. `takes_steps` lets step functions of
/// live values pass, for a run whose values are exact.
pub fn split(plan: &LogicalPlan, tables: &[LiveTable], takes_steps: bool) -> Result<Split> {
    split_by(tables, takes_steps, |splitter| splitter.objective(plan).map(|()| AnswerRows::default()))
}

/// Splits a plan (prepared by [`prepare`]) whose rows are the answer. Its last live output is the weight of the rows.
pub fn split_rows(plan: &LogicalPlan, tables: &[LiveTable], takes_steps: bool) -> Result<Split> {
    split_by(tables, takes_steps, |splitter| splitter.answer(plan))
}

fn split_by(tables: &[LiveTable], takes_steps: bool, split: impl FnOnce(&mut Splitter) -> Result<AnswerRows>) -> Result<Split> {
    let mut splitter = Splitter {
        tables,
        takes_steps,
        next: 0,
        sources: BTreeMap::new(),
        stages: vec![],
        skeletons: vec![],
        split: HashMap::new(),
        refusals: vec![],
        reached: BTreeSet::new(),
        single: BTreeMap::new(),
        contexts: vec![],
        recursions: vec![],
        work: vec![],
    };
    let outcome = split(&mut splitter);
    if let Some(error) = Error::all(splitter.refusals.drain(..)) {
        return Err(error);
    }
    let answer = outcome?;
    let outermost = outermost(&splitter.stages);
    let split = Split {
        pipeline: Pipeline { stages: splitter.stages, outermost },
        skeletons: splitter.skeletons,
        recursions: splitter.recursions,
        reached: splitter.reached,
        single: splitter.single,
        answer,
    };
    check::check(&split)?;
    Ok(split)
}

/// The one aggregate over all rows that the last stage reads, if there is just one.
fn outermost(stages: &[Stage]) -> Option<usize> {
    let last = stages.last()?;
    let mut read = last.inputs.iter().filter_map(|i| if let Source::Stage(s) = i.source { Some(s) } else { None });
    match (read.next(), read.next()) {
        (Some(stage), None) if stages[stage].grouping == Grouping::Whole => Some(stage),
        _ => None,
    }
}

struct Splitter<'a> {
    tables: &'a [LiveTable],
    takes_steps: bool,
    /// Number of the next skeleton column. Column `n` is called `c{n}` in every skeleton.
    next: usize,
    /// What the row numbers in a column are rows of.
    sources: BTreeMap<usize, Source>,
    stages: Vec<Stage>,
    skeletons: Vec<Skeleton>,
    /// What plans that end stages became, by the plan and where its rows come from.
    split: HashMap<(LogicalPlan, Vec<usize>), Relation>,
    refusals: Vec<Error>,
    reached: BTreeSet<usize>,
    single: BTreeMap<usize, Place>,
    /// The rows around the sub-queries that are being split, the innermost last.
    contexts: Vec<Context>,
    recursions: Vec<Recursion>,
    /// What stands for the rows of the round before, the innermost last.
    work: Vec<WorkTable>,
}

fn row_outputs(values: Vec<Expression>, labels: &[String]) -> Vec<Output> {
    values.into_iter().zip(labels).map(|(value, label)| Output { value: OutputValue::Row(value), label: label.clone() }).collect()
}

fn column_name(id: usize) -> String {
    format!("c{id}")
}

fn column(id: usize) -> Expr {
    Expr::Column(Column::from_name(column_name(id)))
}

impl Splitter<'_> {
    fn objective(&mut self, plan: &LogicalPlan) -> Result<()> {
        if plan.schema().fields().len() != 1 {
            return Err(Error::new(format!("a TRAIN objective has one column, this one has {}", plan.schema().fields().len()))
                .hint("SELECT the one number to minimize or maximize"));
        }
        let kind = plan.schema().field(0).data_type();
        if !kind.is_numeric() && !kind.is_null() {
            return Err(Error::new(format!("a TRAIN objective is a number, this one is {kind}"))
                .hint("SELECT the one number to minimize or maximize"));
        }
        let mut relation = self.relation(plan)?;
        let Live::Number(objective) = relation.live(0)? else {
            return Err(Error::new("a TRAIN objective is a number, this one is a truth value").hint("CAST(... AS DOUBLE)"));
        };
        if !relation.weight.is_empty() {
            return Err(Error::new("the one row of the objective is itself filtered by a live condition")
                .hint("aggregate over it: SELECT SUM(...) or AVG(...)"));
        }
        relation.flush()?;
        let mut expressions = vec![objective];
        let stage = self.close(&relation, Grouping::Rows, vec![], &mut expressions, vec![], vec![])?;
        self.stages[stage].outputs = row_outputs(expressions, &["the objective".into()]);
        Ok(())
    }

    fn fresh(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// Ends a stage: its skeleton keeps only the columns that the live part or later stages read, and
    /// `expressions` are renumbered from skeleton columns to the slots of the stage's residuals and inputs.
    /// Returns the number of the stage. `kept` are columns that the finished stage passes on.
    fn close(
        &mut self,
        relation: &Relation,
        grouping: Grouping,
        keys: Vec<usize>,
        expressions: &mut [Expression],
        kept: Vec<usize>,
        aggregates: Vec<(Expr, usize)>,
    ) -> Result<usize> {
        self.close_in_order(relation, grouping, (keys, vec![]), expressions, kept, aggregates)
    }

    /// The same, with the rows of equal keys in the order of further columns.
    fn close_in_order(
        &mut self,
        relation: &Relation,
        grouping: Grouping,
        (keys, then_by): (Vec<usize>, Vec<usize>),
        expressions: &mut [Expression],
        kept: Vec<usize>,
        aggregates: Vec<(Expr, usize)>,
    ) -> Result<usize> {
        let number = self.stages.len();
        let mut slots = Slots::default();
        for expression in expressions.iter_mut() {
            expression.renumber(&mut |id, is_row| slots.slot(id, is_row.then(|| self.sources[&id])));
        }
        let schema = relation.plan.schema().clone();
        let residuals = slots.ids.iter().map(|id| Residual {
            name: relation.names.get(id).cloned().unwrap_or_else(|| column_name(*id)),
            kind: slots.kind(*id, &schema),
        });
        let stage = Stage {
            name: format!("stage {}", number + 1),
            residuals: residuals.collect(),
            inputs: slots.inputs.clone(),
            weight: vec![],
            grouping,
            outputs: vec![],
            origin: number,
            round: 1,
        };
        let mut columns: Vec<usize> = slots.ids.clone();
        let aggregate_inputs = aggregates.iter().flat_map(|(e, _)| e.column_refs().into_iter().map(|c| c.name.clone()).collect::<Vec<_>>());
        let read_by_aggregates: Vec<usize> =
            aggregate_inputs.filter_map(|name| name.strip_prefix('c').and_then(|n| n.parse().ok())).collect();
        for id in keys.iter().chain(&then_by).chain(&kept).chain(&read_by_aggregates) {
            if !columns.contains(id) {
                columns.push(*id);
            }
        }
        let mut builder = LogicalPlanBuilder::from(relation.plan.clone());
        // A plan of no columns still has rows: their count is kept by a constant.
        builder = if columns.is_empty() {
            builder.project(vec![datafusion::logical_expr::lit(true).alias("rows")])?
        } else {
            builder.project(columns.iter().map(|id| column(*id)).collect::<Vec<_>>())?
        };
        let sorted: Vec<_> = keys.iter().chain(&then_by).map(|id| column(*id).sort(true, true)).collect();
        if !sorted.is_empty() {
            builder = builder.sort(sorted)?;
        }
        let plan = builder.build()?;
        let passed_keys: &[usize] = if grouping == Grouping::Partitions { &[] } else { &keys };
        let finished = StageTable::columns(&plan, &schema, passed_keys, &kept, &aggregates)?;
        let table = Arc::new(StageTable::new(finished));
        let keys = keys.into_iter().map(column_name).collect();
        let aggregates = aggregates.into_iter().map(|(e, id)| (e, column_name(id))).collect();
        self.stages.push(stage);
        self.skeletons.push(Skeleton { plan, keys, aggregates, unique: None, table });
        Ok(number)
    }
}

/// Numbers the residuals and inputs of a stage in the order in which they are met.
#[derive(Default)]
struct Slots {
    ids: Vec<usize>,
    inputs: Vec<Input>,
}

impl Slots {
    /// The slot of a residual, or the number of an input when the column holds row numbers.
    fn slot(&mut self, id: usize, source: Option<Source>) -> usize {
        let slot = self.ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        let Some(source) = source else { return slot };
        let input = Input { source, rows: slot };
        self.inputs.iter().position(|known| *known == input).unwrap_or_else(|| {
            self.inputs.push(input);
            self.inputs.len() - 1
        })
    }

    fn kind(&self, id: usize, schema: &DFSchema) -> ResidualKind {
        let slot = self.ids.iter().position(|known| *known == id);
        if self.inputs.iter().any(|i| Some(i.rows) == slot) {
            return ResidualKind::Rows;
        }
        match schema.field_with_unqualified_name(&column_name(id)).map(|f| f.data_type().clone()) {
            Ok(DataType::Boolean) => ResidualKind::Truth,
            _ => ResidualKind::Numbers,
        }
    }
}
