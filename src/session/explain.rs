//! EXPLAIN of TRAIN, GRADIENT OF and RELAX: stages, frozen row counts, what each operator became, what is reached.
//! It runs the skeletons, and trains and commits nothing.

use super::answer::{self, Prepared};
use super::learn::{self, Column, Ready};
use super::objective::{Answer, Objective, Planned};
use super::settings::{self, Clauses, Estimator};
use super::validation::Validator;
use super::{Outcome, Session, train};
use crate::algebra::{Grouping, Groups, Pipeline, ResidualKind, Rows, Source};
use crate::error::{Error, Result, both};
use crate::grammar::{Kind, Relaxed, Train};
use crate::program::{Lanes, Machine, Slot};
use crate::relaxation::{Gap, Logic, Note, Softness};
use crate::split::Materialized;
use crate::training::Temperature;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// One line of the explanation: which stage, what kind of thing, and what there is to say.
type Line = (String, &'static str, String);

/// What a line of an explanation tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// What the exact engine does, once.
    Exact,
    /// What is relaxed.
    Live,
    /// A learnable column.
    Learned,
    /// The run as a whole.
    Run,
}

/// What a line tells of, by its stage and what it says of it.
pub fn tells(stage: &str, what: &str) -> Tells {
    match (stage, what) {
        ("run", "learnable") => Tells::Learned,
        ("run", _) => Tells::Run,
        (_, "relaxed" | "gather") => Tells::Live,
        _ => Tells::Exact,
    }
}

/// How a query is relaxed.
struct How {
    softness: Softness,
    temperature: f64,
    /// Where a run ends.
    final_temperature: Option<f64>,
    batch: Option<usize>,
    /// What is said of its validation.
    validation: Option<String>,
}

pub(super) async fn explain(session: &Session, kind: &Kind) -> Result<Outcome> {
    let plainly = |(softness, temperature)| How { softness, temperature, final_temperature: None, batch: None, validation: None };
    let (query, how, answer) = match kind {
        Kind::Train(train) => {
            if let Ok(Clauses { estimator: Estimator::Perturbed { pairs }, temperature, .. }) = settings::clauses(train) {
                return perturbed_lines(session, train, pairs, temperature).await;
            }
            let how = settings::clauses(train).map(|c| How {
                softness: c.softness,
                temperature: c.temperature.first,
                final_temperature: Some(c.temperature.last),
                batch: c.batch,
                validation: None,
            });
            (&train.objective, how, Answer::Number)
        }
        Kind::Gradient(query) => (query.as_ref(), settings::relaxed(query).map(plainly), Answer::Number),
        Kind::Relax(query) => (query.as_ref(), settings::relaxed(query).map(plainly), Answer::Rows),
        _ => return Err(Error::new("only TRAIN, GRADIENT OF and RELAX have an explanation of their own")),
    };
    let (mut how, objective) = both(how, Objective::new(session, query, answer).await)?;
    if let Kind::Train(train) = kind {
        how.validation = validation(&objective.planned, train).await?;
    }
    batch(&explained(query, how, objective).await?)
}

/// A run without a relaxation has no stages: all of it is the exact engine's.
async fn perturbed_lines(session: &Session, train: &Train, pairs: usize, temperature: Temperature) -> Result<Outcome> {
    let query = &train.objective;
    let planned = Planned::new(session, query, Answer::Number).await?;
    let mut lines: Vec<Line> = vec![
        ("run".into(), "estimator", format!("perturbed: {} exact runs a step, in antithetic pairs", 2 * pairs)),
        ("run".into(), "temperature", format!("{} to {}, geometric: the spread of the perturbation", temperature.first, temperature.last)),
    ];
    lines.extend(validation(&planned, train).await?.map(|told| ("run".into(), "validate", told)));
    for c in train::columns(&planned, query)? {
        lines.push(("run".into(), "learnable", format!("{}: perturbed, {} x {}", c.parameter.name, c.parameter.rows, c.parameter.width())));
    }
    batch(&lines)
}

async fn validation(planned: &Planned, train: &Train) -> Result<Option<String>> {
    Ok(Validator::new(planned, train.validate.as_ref()).await?.map(|v| v.told()))
}

fn batch(lines: &[Line]) -> Result<Outcome> {
    let text = |f: fn(&Line) -> &str| -> ArrayRef { Arc::new(lines.iter().map(|l| Some(f(l))).collect::<StringArray>()) };
    Ok(Outcome::batch(RecordBatch::try_new(columns(), vec![text(|l| &l.0), text(|l| l.1), text(|l| &l.2)])?))
}

/// The columns of an explanation.
pub(super) fn columns() -> SchemaRef {
    Arc::new(Schema::new(["stage", "what", "detail"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec()))
}

async fn explained(query: &Relaxed, how: How, objective: Objective) -> Result<Vec<Line>> {
    let Objective { planned, split, single } = objective;
    let columns = train::columns(&planned, query)?;
    // A run computes in the precision of its columns, all else in double precision.
    let single = single && how.final_temperature.is_some();
    let skeletons = Objective::one_partition(&planned.exact.context);
    let names: Vec<String> = planned.tables.iter().map(|(t, _)| t.name.clone()).collect();
    if single {
        return objective_lines(split.materialize::<f32>(&skeletons).await?, &columns, &how, &names);
    }
    let materialized = split.materialize::<f64>(&skeletons).await?;
    if materialized.answer.0.columns.is_empty() {
        return objective_lines(materialized, &columns, &how, &names);
    }
    let stages = Stages::of(&materialized);
    let Prepared { relaxed, machine, scales } =
        answer::prepare(&stages.pipeline, materialized.rows, &columns, (how.softness, how.temperature))?;
    let mut lines = stages.lines(&relaxed.notes, &names);
    lines.extend(temperature_lines(&how, &relaxed.gaps, &scales));
    lines.extend(program_lines(&machine));
    Ok(lines)
}

fn objective_lines<R: Lanes>(materialized: Materialized<R>, columns: &[Column], how: &How, tables: &[String]) -> Result<Vec<Line>> {
    let stages = Stages::of(&materialized);
    let ready = learn::ready(materialized, columns, how.softness, how.temperature, how.batch.is_some())?;
    let mut lines = stages.lines(&ready.relaxed.notes, tables);
    lines.extend(temperature_lines(how, &ready.relaxed.gaps, &ready.scales));
    lines.extend(run_lines(&ready, columns, how, &stages.pipeline));
    lines.extend(program_lines(&ready.program.machine));
    Ok(lines)
}

/// What is known of the stages before their rows are used up.
struct Stages {
    pipeline: Pipeline,
    /// Rows of the factors of each, and its groups.
    counts: Vec<(Vec<usize>, Option<usize>)>,
    plans: Vec<String>,
    /// Rows of the sides of joins that are looked up.
    looked_up: Vec<Vec<usize>>,
    /// Bytes of the columns that are in files.
    spilled: Vec<usize>,
}

impl Stages {
    fn of<R>(materialized: &Materialized<R>) -> Self {
        Self {
            pipeline: materialized.pipeline.clone(),
            counts: materialized.rows.iter().map(|r| (r.factors.clone(), r.groups.as_ref().map(Groups::count))).collect(),
            plans: materialized.plans.iter().map(|p| p.0.clone()).collect(),
            looked_up: materialized.rows.iter().map(|r| r.dimensions.iter().map(|d| d.rows).collect()).collect(),
            spilled: materialized.rows.iter().map(Rows::spilled).collect(),
        }
    }

    fn lines(&self, notes: &[Note], tables: &[String]) -> Vec<Line> {
        let mut lines = vec![];
        for (number, stage) in self.pipeline.stages.iter().enumerate() {
            if stage.round > 1 {
                continue;
            }
            let (factors, groups) = &self.counts[number];
            let grouping = match (stage.grouping, groups) {
                (Grouping::Keys | Grouping::Each, Some(groups)) => format!(", {groups} groups"),
                (Grouping::Partitions, Some(groups)) => format!(", {groups} partitions"),
                (Grouping::Partitions, None) => ", one partition".into(),
                (Grouping::Whole, _) => ", one group".into(),
                _ => String::new(),
            };
            lines.push((stage.name.clone(), "frozen rows", format!("{}{grouping}", rows_of(factors))));
            for rows in &self.looked_up[number] {
                lines.push((stage.name.clone(), "looked up", format!("{rows} rows of one side of a join, each computed once")));
            }
            if self.spilled[number] > 0 {
                lines.push((
                    stage.name.clone(),
                    "spilled",
                    format!("{} bytes in temporary files, read in each step", self.spilled[number]),
                ));
            }
            let rounds = self.pipeline.stages.iter().filter(|s| s.origin == stage.origin).count();
            if rounds > 1 {
                lines.push((stage.name.clone(), "rounds", rounds.to_string()));
            }
            lines.extend(self.plans[number].lines().map(|l| (stage.name.clone(), "skeleton", l.to_string())));
            for residual in stage.residuals.iter().filter(|r| r.kind != ResidualKind::Rows) {
                lines.push((stage.name.clone(), "residual", residual.name.clone()));
            }
            for input in &stage.inputs {
                let source = match input.source {
                    Source::Table(t) => tables[t].clone(),
                    Source::Stage(s) => self.pipeline.stages[s].name.clone(),
                };
                lines.push((stage.name.clone(), "gather", format!("live columns of {source}")));
            }
            for note in notes.iter().filter(|n| n.stage == number) {
                lines.push((stage.name.clone(), "relaxed", format!("{} -> {}", note.operator, note.became)));
            }
        }
        lines
    }
}

/// How many rows a stage has. A factor of one row is no factor.
fn rows_of(factors: &[usize]) -> String {
    let many: Vec<String> = factors.iter().filter(|n| **n != 1).map(|n| n.to_string()).collect();
    match many.as_slice() {
        [] => "1".into(),
        [rows] => rows.clone(),
        factors => format!("cross product of {} rows, not written out", factors.join(" x ")),
    }
}

fn temperature_lines(how: &How, gaps: &[Gap], scales: &[(Slot, f64)]) -> Vec<Line> {
    let first = how.temperature;
    let temperature = how.final_temperature.map_or(first.to_string(), |last| format!("{first} to {last}, geometric"));
    let mut lines: Vec<Line> = vec![("run".into(), "temperature", temperature)];
    if how.softness.straight_through {
        lines.push(("run".into(), "forward", "exact: values are those of the exact query, gradients are relaxed".into()));
    }
    for gap in gaps {
        let scale = gap.scale.and_then(|slot| scales.iter().find(|(s, _)| *s == slot)).map_or(1.0, |(_, scale)| *scale);
        lines.push(("run".into(), "scale", format!("{}: {scale:.6}", gap.label)));
    }
    let logic = match how.softness.logic {
        Logic::Product => "product: AND d(p) d(q), OR d(p) + d(q) - d(p) d(q)",
        Logic::Godel => "godel: AND the lesser degree, OR the greater",
        Logic::Lukasiewicz => "lukasiewicz: AND max(0, d(p) + d(q) - 1), OR min(1, d(p) + d(q))",
    };
    lines.push(("run".into(), "logic", logic.into()));
    lines
}

fn program_lines<R: Lanes>(machine: &Machine<R>) -> Vec<Line> {
    let memory = format!("{} bytes for a step beyond the domains", machine.bytes());
    let printed = machine.to_string();
    let program = printed.lines().map(|line| ("run".to_string(), "program", line.to_string()));
    [("run".to_string(), "memory", memory)].into_iter().chain(program).collect()
}

fn run_lines<R: Lanes>(ready: &Ready<R>, columns: &[Column], how: &How, pipeline: &Pipeline) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    let mut say = |what: &'static str, detail: String| lines.push(("run".into(), what, detail));
    if let Some(outermost) = pipeline.outermost {
        let each = how.batch.map_or(", all at each step".into(), |b| format!(", {b} at each step"));
        say("batch", format!("rows of {}{each}", pipeline.stages[outermost].name));
    }
    if let Some(told) = &how.validation {
        say("validate", told.clone());
    }
    for (i, column) in columns.iter().enumerate() {
        let reached = if ready.reached.contains(&i) { "reached by the gradient" } else { "not reached" };
        let (rows, width) = (column.parameter.rows, column.parameter.width());
        let precision = if size_of::<R>() == 4 { "REAL" } else { "DOUBLE" };
        say("learnable", format!("{}: {reached}, {rows} x {width} {precision}", column.parameter.name));
    }
    lines
}
