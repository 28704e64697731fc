//! Relax and fit: the part of a TRAIN that computes, in the precision of its columns. It runs on a thread of its own.

use super::settings::{Clauses, resolution};
use super::validation::Validator;
use crate::algebra::{Aggregate, Output, OutputValue, Parameter};
use crate::buffer::Buffer;
use crate::error::{Error, Place, Result};
use crate::program::{Graph, Lanes, Machine, Profile, Sampling, Slot, Value, gradient};
use crate::relaxation::{self, Kept, Note, Number, Relaxed, STOPS, Softness};
use crate::split::{Budget, Materialized};
use crate::training::{self, Fitted, OBJECTIVE, Program, Projection, Sample, Settings, Step, Steps};
use std::sync::Arc;

/// A learnable column with its values, as the run starts from them and as it leaves them.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub parameter: Parameter,
    /// Rows x width.
    pub values: Vec<f64>,
    pub projection: Option<Projection>,
    /// Whether TRAIN lists it, so that it must be reached.
    pub listed: bool,
}

/// A program that is ready to run, with what `EXPLAIN` says about it.
pub(super) struct Ready<R> {
    pub program: Program<R>,
    pub relaxed: Relaxed<R>,
    pub residuals: Arc<Vec<Buffer<R>>>,
    pub scales: Vec<(Slot, f64)>,
    /// Numbers of the columns that the gradient reaches.
    pub reached: Vec<usize>,
    /// Rows that one step goes over.
    pub rows: usize,
    /// The memory of the residuals.
    _budget: Budget,
}

/// What a run ends with.
pub(super) struct Learned {
    pub columns: Vec<Column>,
    pub reached: Vec<usize>,
    pub relaxed_objective: f64,
    pub steps: u64,
    /// Of what was learned, where it was validated.
    pub validation: Option<f64>,
}

/// Makes the program of a materialized query and its backward pass. `batch` asks for sampling.
pub(super) fn ready<R: Lanes>(
    materialized: Materialized<R>,
    columns: &[Column],
    softness: Softness,
    temperature: f64,
    batch: bool,
) -> Result<Ready<R>> {
    let Materialized { pipeline, rows, budget, .. } = materialized;
    if batch && pipeline.outermost.is_none() {
        return Err(Error::new("BATCH needs a query with one outermost aggregate over rows")
            .hint("leave BATCH out, or write the objective as one aggregate: SELECT AVG(...) FROM ..."));
    }
    if batch && let Some(output) = pipeline.outermost.and_then(|stage| pipeline.stages[stage].outputs.iter().find(|o| !is_sampled(o))) {
        return Err(Error::new(format!("a batch of rows does not tell {}, on the average, of all rows", output.label))
            .hint("leave BATCH out, or aggregate outermost by SUM, AVG or COUNT"));
    }
    if batch && let Some(pairs) = pipeline.outermost.map(|stage| rows[stage].count()).filter(|n| *n > u32::MAX as usize) {
        return Err(Error::new(format!("BATCH draws from at most {} rows, and the outermost aggregate has {pairs}", u32::MAX))
            .hint("leave BATCH out, or aggregate the pairs of each row first: SELECT AVG(...) FROM (SELECT ... GROUP BY a.id)"));
    }
    let parameters: Vec<Parameter> = columns.iter().map(|c| c.parameter.clone()).collect();
    let Kept { rows, scales, notes } =
        relaxation::candidates(&pipeline, rows, &parameters, &start(columns), (softness, temperature), batch)?;
    let most_rows = rows.iter().map(|r| r.count()).max().unwrap_or(1);
    let mut relaxed = relaxation::relax(&pipeline, rows, &parameters, softness, batch)?;
    relaxed.notes.extend(notes);
    let graph = relaxed.graph.clone();
    let gradients = gradient(&graph, relaxed.objective().value, &relaxed.parameters);
    let reached: Vec<usize> = (0..columns.len()).filter(|i| gradients[*i].is_some()).collect();
    must_reach(columns, &reached, &relaxed.notes)?;
    let mut outputs = output_values(&graph, &relaxed.outputs);
    outputs.extend(gradients.iter().flatten().map(|g| apart(&graph, *g)));
    if !batch {
        graph.settle(&mut relaxed.residuals, &outputs);
    }
    graph.sort_rows(&mut relaxed.residuals, &outputs);
    let residuals = Arc::new(std::mem::take(&mut relaxed.residuals));
    let mut machine = Machine::build(&graph, residuals.clone(), &outputs, batch);
    let scales = begin(&mut machine, &relaxed, &residuals, columns, (temperature, scales));
    let sample = relaxed.sample.as_ref().map(|s| Sample {
        rows: s.rows,
        scale: s.scale,
        sampling: Sampling::new(&graph, relaxed.objective().value, s.domain),
    });
    let parameters = reached.iter().enumerate().map(|(output, &slot)| training::Parameter {
        slot: slot as Slot,
        output: output + 2,
        width: columns[slot].parameter.width(),
        projection: columns[slot].projection,
    });
    let program = Program { machine, parameters: parameters.collect(), temperature: relaxed.temperature, sample };
    Ok(Ready { program, relaxed, residuals, scales, reached, rows: most_rows, _budget: budget })
}

/// Whether a sample of the rows estimates the value over all rows: sums do, and quotients of sums nearly.
fn is_sampled(output: &Output) -> bool {
    match &output.value {
        OutputValue::Aggregate { aggregate, .. } => matches!(aggregate, Aggregate::Count | Aggregate::Sum | Aggregate::Avg),
        OutputValue::Moment { .. } => true,
        _ => false,
    }
}

/// Value and presence of each live column.
pub(super) fn output_values(graph: &Graph, numbers: &[Number]) -> Vec<Value> {
    let presence = |n: &Number| n.presence.unwrap_or_else(|| graph.number(1.0));
    numbers.iter().flat_map(|n| [apart(graph, n.value), apart(graph, presence(n))]).collect()
}

/// An output must not be the memory of a parameter itself.
fn apart(graph: &Graph, v: Value) -> Value {
    if graph.is_leaf(v) { graph.detach(v) } else { v }
}

/// The values of the columns in the precision of the run.
pub(super) fn start<R: Lanes>(columns: &[Column]) -> Vec<Vec<R>> {
    columns.iter().map(|c| c.values.iter().map(|x| R::of(*x)).collect()).collect()
}

/// Gives a machine the values of the columns, and its comparisons the scales that these have where they are not known; returns the scales.
pub(super) fn begin<R: Lanes>(
    machine: &mut Machine<R>,
    relaxed: &Relaxed<R>,
    residuals: &Arc<Vec<Buffer<R>>>,
    columns: &[Column],
    (temperature, scales): (f64, Option<Vec<(Slot, f64)>>),
) -> Vec<(Slot, f64)> {
    let start = start(columns);
    let scales = scales.unwrap_or_else(|| relaxation::scales(relaxed, residuals, &start, temperature));
    settle(machine, relaxed, &scales, &start, temperature);
    scales
}

/// Runs the steps of a TRAIN. `profile` is filled, if one is wanted; nothing learned is given where the run was cancelled.
pub(super) fn learn<R: Lanes + Steps>(
    materialized: Materialized<R>,
    mut columns: Vec<Column>,
    clauses: &Clauses,
    validator: Option<&Validator>,
    observe: &mut dyn FnMut(Step) -> bool,
    profile: Option<&mut Option<Profile>>,
) -> Result<Option<Learned>> {
    resolution::<R>(clauses.temperature.first.min(clauses.temperature.last))?;
    let mut ready = ready(materialized, &columns, clauses.softness, clauses.temperature.first, clauses.batch.is_some())?;
    let rows = ready.program.sample.as_ref().map_or(ready.rows, |s| s.rows);
    let per_epoch = clauses.batch.map_or(1, |b| rows.div_ceil(b.max(1)).max(1)) as u64;
    let settings = Settings {
        maximize: clauses.maximize,
        optimizer: clauses.optimizer,
        steps: clauses.length.in_steps(per_epoch),
        batch: clauses.batch,
        temperature: clauses.temperature,
        seed: clauses.seed,
    };
    if profile.is_some() {
        ready.program.machine.begin_profile();
    }
    let validation = validator.map(|v| v.validation(per_epoch, &columns, &ready.reached));
    let fitted = training::fit(&mut ready.program, &settings, rows, validation, observe).map_err(|e| located(e, &mut ready, &columns))?;
    if let Some(profile) = profile {
        *profile = ready.program.machine.take_profile();
    }
    let Some(Fitted { objective: relaxed_objective, steps, validation }) = fitted else { return Ok(None) };
    for &i in &ready.reached {
        columns[i].values = ready.program.machine.parameter_mut(i as Slot).iter().map(|x| x.wide()).collect();
    }
    Ok(Some(Learned { columns, reached: ready.reached, relaxed_objective, steps, validation }))
}

fn settle<R: Lanes>(machine: &mut Machine<R>, relaxed: &Relaxed<R>, scales: &[(Slot, f64)], values: &[Vec<R>], temperature: f64) {
    for (slot, values) in values.iter().enumerate() {
        let ours = machine.parameter_mut(slot as Slot);
        if !ours.is_empty() {
            ours.copy_from_slice(values);
        }
    }
    machine.set(relaxed.temperature, temperature);
    for &(slot, scale) in scales {
        machine.set(slot, scale);
    }
    if let Some(sample) = &relaxed.sample {
        machine.set(sample.scale, 1.0);
    }
}

/// A listed column that no gradient reaches is an error, and so is a run that reaches none.
fn must_reach(columns: &[Column], reached: &[usize], notes: &[Note]) -> Result<()> {
    let stops: Vec<&str> = notes.iter().filter(|n| n.became == STOPS).map(|n| n.operator.as_str()).collect();
    let at = |error: Error| if stops.is_empty() { error } else { error.at(Place::Expression(stops.join("; "))) };
    let lost = columns.iter().enumerate().filter(|(i, c)| c.listed && !reached.contains(i));
    let refusals: Vec<Error> = lost
        .map(|(_, c)| {
            let what = format!("no gradient reaches the learnable column {}", c.parameter.name);
            at(Error::new(what).hint("use it in the objective where small changes have an effect, or do not list it after TRAIN"))
        })
        .collect();
    if let Some(error) = Error::all(refusals) {
        return Err(error);
    }
    if reached.is_empty() {
        let names: Vec<&str> = columns.iter().map(|c| c.parameter.name.as_str()).collect();
        let what = format!("no gradient reaches a learnable column; the objective reads {}", names.join(", "));
        return Err(at(Error::new(what).hint("use them where small changes have an effect")));
    }
    Ok(())
}

/// The first operator whose values are not finite, or that gave NULL.
fn located<R: Lanes>(error: Error, ready: &mut Ready<R>, columns: &[Column]) -> Error {
    let Some(Place::Step { step, operator }) = error.refusals().first().and_then(|r| r.place.clone()) else { return error };
    if operator != OBJECTIVE {
        return error;
    }
    let what = error.refusals()[0].what.clone();
    let values: Vec<Vec<R>> = (0..columns.len())
        .map(|i| {
            let now = ready.program.machine.parameter_mut(i as Slot).to_vec();
            if now.is_empty() { columns[i].values.iter().map(|x| R::of(*x)).collect() } else { now }
        })
        .collect();
    let graph = ready.relaxed.graph.clone();
    if what.ends_with("NULL") {
        return Error::new(what)
            .at(Place::Step { step, operator: "the objective".into() })
            .hint("no row has a value to aggregate: look at the query's joins and filters, or use COALESCE(..., 0)");
    }
    let culprit = graph.labels().into_iter().find(|(value, _)| {
        // What is finite less itself is 0.
        let finite = graph.total(graph.subtract(*value, *value), graph.domain_of(*value));
        let mut machine = Machine::build(&graph, ready.residuals.clone(), &[graph.detach(finite)], false);
        settle(&mut machine, &ready.relaxed, &ready.scales, &values, 1.0);
        machine.run();
        machine.output(0).iter().any(|x| !x.wide().is_finite())
    });
    let operator = culprit.map_or_else(|| "the objective".to_string(), |(_, label)| label.to_string());
    Error::new(what)
        .at(Place::Step { step, operator })
        .hint("lower the learning rate, or keep the arguments of LN, SQRT and / away from 0; the database keeps its values")
}
