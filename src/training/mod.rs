//! `fit(program, parameters, settings, validation, observer)`: moves parameters to where the objective is best, and keeps those that
//! another number, if there is one, calls the best.
//! This room never hears of SQL, tables or how a gradient is computed; it asks the program for one.

mod optimizer;
mod perturbed;
mod projection;
mod sampler;
mod schedule;
mod validation;

pub use optimizer::{Optimizer, Steps};
pub use perturbed::{Evaluate, Free, perturb};
pub use projection::Projection;
pub use schedule::Temperature;
pub use validation::Validation;

use crate::error::{Error, Place, Result};
use crate::program::{Lanes, Machine, Sampling, Slot};
use optimizer::State;
use sampler::Sampler;
use std::time::{Duration, Instant};

/// A differentiable objective with its memory.
pub struct Program<R> {
    /// Its outputs are the objective, its presence, then the gradient of each parameter.
    pub machine: Machine<R>,
    pub parameters: Vec<Parameter>,
    pub temperature: Slot,
    pub sample: Option<Sample>,
}

/// A learnable column as the optimizer sees it.
pub struct Parameter {
    pub slot: Slot,
    /// Number of the gradient among the machine's outputs.
    pub output: usize,
    /// Numbers in a row.
    pub width: usize,
    pub projection: Option<Projection>,
}

/// The domain that batches are drawn from.
pub struct Sample {
    pub rows: usize,
    /// The setting that says how many rows each sampled row stands for.
    pub scale: Slot,
    pub sampling: Sampling,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub maximize: bool,
    pub optimizer: Optimizer,
    pub steps: u64,
    /// Rows of a batch, and how many steps make an epoch.
    pub batch: Option<usize>,
    pub temperature: Temperature,
    pub seed: u64,
}

/// One line of the training log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Counted from 1.
    pub step: u64,
    pub epoch: u64,
    /// Before the step's update.
    pub objective: f64,
    /// After it, where it was measured.
    pub validation: Option<f64>,
    pub temperature: f64,
    /// Euclidean norm over all parameters.
    pub gradient_norm: f64,
    pub rows_per_second: f64,
    pub elapsed: Duration,
}

/// What is at fault in a step until it is looked for.
pub const OBJECTIVE: &str = "the objective";

/// What a run has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Of the parameters that are kept, at the last temperature.
    pub objective: f64,
    /// How many steps were taken.
    pub steps: u64,
    /// Of the parameters that are kept.
    pub validation: Option<f64>,
}

/// Runs all steps, or as many as the validation has patience for. The parameters that it calls the best are kept; without one, or where it
/// has no value, the last ones are. `observe` sees each step; when it returns false the run is cancelled, and `None` is given.
/// Fails when an objective is NULL or not finite (the operator is then found by the caller), or when its gradient is not finite.
pub fn fit<R: Lanes + Steps>(
    program: &mut Program<R>,
    settings: &Settings,
    rows: usize,
    mut validation: Option<Validation>,
    observe: &mut dyn FnMut(Step) -> bool,
) -> Result<Option<Fitted>> {
    let start = Instant::now();
    let mut optimizer = settings.optimizer.state::<R>(program.parameters.iter().map(|p| program.machine.parameter_mut(p.slot).len()));
    let mut sampler = Sampler::new(program, settings);
    let sign = if settings.maximize { -1.0 } else { 1.0 };
    let mut steps = settings.steps;
    for step in 1..=settings.steps {
        let temperature = settings.temperature.at(step, settings.steps);
        program.machine.set(program.temperature, temperature);
        let (epoch, rows_now) = sampler.next(program, step, rows);
        program.machine.run();
        let objective = program.machine.output(0)[0].wide();
        let present = program.machine.output(1)[0].wide();
        if !objective.is_finite() || present == 0.0 {
            let what = if present == 0.0 { "NULL".to_string() } else { objective.to_string() };
            return Err(Error::new(format!("the objective became {what}")).at(Place::Step { step, operator: OBJECTIVE.into() }));
        }
        let gradient_norm = update(program, &mut optimizer, sign);
        if !gradient_norm.is_finite() {
            return Err(Error::new(format!("the gradient became {gradient_norm} in step {step}"))
                .at(Place::Expression("the objective".into()))
                .hint("keep the arguments of LN, SQRT and / away from 0; the database keeps its values"));
        }
        let validated = match &mut validation {
            Some(validation) if validation.is_due(step, settings.steps) => validation.measure(step, program.values())?,
            _ => None,
        };
        let elapsed = start.elapsed();
        let line = Step {
            step,
            epoch,
            objective,
            validation: validated,
            temperature,
            gradient_norm,
            rows_per_second: rows_now * step as f64 / elapsed.as_secs_f64().max(1e-9),
            elapsed,
        };
        if !observe(line) {
            return Ok(None);
        }
        if validation.as_ref().is_some_and(Validation::is_over) {
            steps = step;
            break;
        }
    }
    program.machine.end_profile();
    let best = validation.and_then(|v| v.best);
    if let Some(best) = &best {
        program.put_back(&best.values);
    }
    sampler.whole(program);
    program.machine.set(program.temperature, settings.temperature.last);
    program.machine.run();
    Ok(Some(Fitted { objective: program.machine.output(0)[0].wide(), steps, validation: best.map(|b| b.value) }))
}

/// One step of every parameter; returns the gradient's norm.
fn update<R: Lanes + Steps>(program: &mut Program<R>, optimizer: &mut State<R>, sign: f64) -> f64 {
    optimizer.advance();
    let mut squares = 0.0;
    for (number, parameter) in program.parameters.iter().enumerate() {
        let (values, gradient) = program.machine.parameter_and_output(parameter.slot, parameter.output);
        squares += optimizer.update(number, values, gradient, parameter.width, parameter.projection.as_ref(), sign);
    }
    squares.sqrt()
}

impl<R: Lanes> Program<R> {
    /// Runs later steps over these rows of the sample's domain, each of which stands for so many.
    fn activate(&mut self, rows: &[u32], scale: f64) {
        if let Some(sample) = &mut self.sample {
            self.machine.activate(sample.sampling.active(rows));
            self.machine.set(sample.scale, scale);
        }
    }

    /// The values of all parameters. They are as wide as any, so that none changes when it is put back.
    fn values(&mut self) -> Vec<Vec<f64>> {
        self.parameters.iter().map(|p| self.machine.parameter_mut(p.slot).iter().map(|x| x.wide()).collect()).collect()
    }

    fn put_back(&mut self, values: &[Vec<f64>]) {
        for (parameter, values) in self.parameters.iter().zip(values) {
            self.machine.parameter_mut(parameter.slot).iter_mut().zip(values).for_each(|(x, value)| *x = R::of(*value));
        }
    }
}
