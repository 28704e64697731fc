//! EXPLAIN TRAIN: stages, frozen row counts, what each operator became, what is reached. It runs the skeletons,
//! and trains and commits nothing.

use super::learn::{self, Column, Ready};
use super::objective::Objective;
use super::settings::{self, Clauses};
use super::{Outcome, Session, train as training};
use crate::algebra::{Grouping, Pipeline, ResidualKind, Source};
use crate::error::{Error, Result};
use crate::grammar::Train;
use crate::program::Lanes;
use crate::split::Materialized;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use std::sync::Arc;

/// One line of the explanation: which stage, what kind of thing, and what there is to say.
type Line = (String, &'static str, String);

pub(super) async fn explain_train(session: &Session, train: &Train, _text: &str) -> Result<Outcome> {
    let (clauses, objective) = (settings::clauses(train), Objective::new(session, train).await);
    let (clauses, objective) = match (clauses, objective) {
        (Ok(clauses), Ok(objective)) => (clauses, objective),
        (clauses, objective) => return Err(Error::all(clauses.err().into_iter().chain(objective.err())).expect("one of them failed")),
    };
    let columns = training::columns(&objective, train)?;
    let single = objective.single;
    let (split, exact, tables, _) = objective.into_parts();
    let skeletons = Objective::one_partition(&exact.context);
    let names: Vec<String> = tables.iter().map(|(t, _)| t.name.clone()).collect();
    let lines = if single {
        lines(split.materialize::<f32>(&skeletons).await?, &columns, &clauses, &names)?
    } else {
        lines(split.materialize::<f64>(&skeletons).await?, &columns, &clauses, &names)?
    };
    let text = |f: fn(&Line) -> &str| -> ArrayRef { Arc::new(lines.iter().map(|l| Some(f(l))).collect::<StringArray>()) };
    let batch = RecordBatch::try_from_iter([("stage", text(|l| &l.0)), ("what", text(|l| l.1)), ("detail", text(|l| &l.2))])?;
    let schema = batch.schema();
    Ok(Outcome::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter([Ok(batch)])))))
}

fn lines<R: Lanes>(materialized: Materialized<R>, columns: &[Column], clauses: &Clauses, tables: &[String]) -> Result<Vec<Line>> {
    let mut lines = vec![];
    let pipeline = materialized.pipeline.clone();
    let counts: Vec<(usize, Option<usize>)> = materialized.rows.iter().map(|r| (r.count, r.groups.as_ref().map(|g| g.1))).collect();
    let plans: Vec<String> = materialized.plans.iter().map(|p| p.0.clone()).collect();
    let ready = learn::ready(materialized, columns, clauses)?;
    for (number, stage) in pipeline.stages.iter().enumerate() {
        let (rows, groups) = counts[number];
        let grouping = match (stage.grouping, groups) {
            (Grouping::Keys | Grouping::Each, Some(groups)) => format!(", {groups} groups"),
            (Grouping::Whole, _) => ", one group".into(),
            _ => String::new(),
        };
        lines.push((stage.name.clone(), "frozen rows", format!("{rows}{grouping}")));
        lines.extend(plans[number].lines().map(|l| (stage.name.clone(), "skeleton", l.to_string())));
        for residual in stage.residuals.iter().filter(|r| r.kind != ResidualKind::Rows) {
            lines.push((stage.name.clone(), "residual", residual.name.clone()));
        }
        for input in &stage.inputs {
            let source = match input.source {
                Source::Table(t) => tables[t].clone(),
                Source::Stage(s) => pipeline.stages[s].name.clone(),
            };
            lines.push((stage.name.clone(), "gather", format!("live columns of {source}")));
        }
        for note in ready.relaxed.notes.iter().filter(|n| n.stage == number) {
            lines.push((stage.name.clone(), "relaxed", format!("{} -> {}", note.operator, note.became)));
        }
    }
    lines.extend(run_lines(&ready, columns, clauses, &pipeline));
    Ok(lines)
}

fn run_lines<R: Lanes>(ready: &Ready<R>, columns: &[Column], clauses: &Clauses, pipeline: &Pipeline) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    let mut say = |what: &'static str, detail: String| lines.push(("run".into(), what, detail));
    say("temperature", format!("{} to {}, geometric", clauses.temperature.first, clauses.temperature.last));
    for gap in &ready.relaxed.gaps {
        let scale = gap.scale.and_then(|slot| ready.scales.iter().find(|(s, _)| *s == slot)).map_or(1.0, |(_, scale)| *scale);
        say("scale", format!("{}: {scale:.6}", gap.label));
    }
    if let Some(outermost) = pipeline.outermost {
        say(
            "batch",
            format!(
                "rows of {}{}",
                pipeline.stages[outermost].name,
                clauses.batch.map_or(", all at each step".into(), |b| format!(", {b} at each step"))
            ),
        );
    }
    for (i, column) in columns.iter().enumerate() {
        let reached = if ready.reached.contains(&i) { "reached by the gradient" } else { "not reached" };
        let (rows, width) = (column.parameter.rows, column.parameter.width());
        say(
            "learnable",
            format!("{}: {reached}, {rows} x {width} {}", column.parameter.name, if size_of::<R>() == 4 { "REAL" } else { "DOUBLE" }),
        );
    }
    say("memory", format!("{} bytes for a step beyond the domains", ready.program.machine.bytes()));
    for line in ready.program.machine.to_string().lines() {
        say("program", line.to_string());
    }
    lines
}
