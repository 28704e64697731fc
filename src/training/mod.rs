//! `fit(program, parameters, settings, observer)`: moves parameters to where the objective is best.
//! This room never hears of SQL, tables or how a gradient is computed; it asks the program for one.

mod optimizer;
mod perturbed;
mod projection;
mod sampler;
mod schedule;

pub use optimizer::{Optimizer, Steps};
pub use perturbed::{Free, perturb};
pub use projection::Projection;
pub use schedule::Temperature;

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
    pub temperature: f64,
    /// Euclidean norm over all parameters.
    pub gradient_norm: f64,
    pub rows_per_second: f64,
    pub elapsed: Duration,
}

/// Runs all steps. `observe` sees each; when it returns false the run is cancelled, which is not an error.
/// Fails when an objective is NULL or not finite (the operator is then found by the caller), or when its gradient is not finite.
pub fn fit<R: Lanes + Steps>(
    program: &mut Program<R>,
    settings: &Settings,
    rows: usize,
    observe: &mut dyn FnMut(Step) -> bool,
) -> Result<bool> {
    let start = Instant::now();
    let mut optimizer = settings.optimizer.state::<R>(program.parameters.iter().map(|p| program.machine.parameter_mut(p.slot).len()));
    let mut sampler = Sampler::new(program, settings);
    let sign = if settings.maximize { -1.0 } else { 1.0 };
    for step in 1..=settings.steps {
        let temperature = settings.temperature.at(step, settings.steps);
        program.machine.set(program.temperature, temperature);
        let (epoch, rows_now) = sampler.next(program, step, rows);
        program.machine.run();
        let objective = program.machine.output(0)[0].wide();
        let present = program.machine.output(1)[0].wide();
        if !objective.is_finite() || present == 0.0 {
            let what = if present == 0.0 { "NULL".to_string() } else { objective.to_string() };
            return Err(Error::new(format!("the objective became {what}")).at(Place::Step { step, operator: "the objective".into() }));
        }
        let gradient_norm = update(program, &mut optimizer, sign);
        if !gradient_norm.is_finite() {
            return Err(Error::new(format!("the gradient became {gradient_norm} in step {step}"))
                .at(Place::Expression("the objective".into()))
                .hint("keep the arguments of LN, SQRT and / away from 0; the database keeps its values"));
        }
        let elapsed = start.elapsed();
        let line = Step {
            step,
            epoch,
            objective,
            temperature,
            gradient_norm,
            rows_per_second: rows_now * step as f64 / elapsed.as_secs_f64().max(1e-9),
            elapsed,
        };
        if !observe(line) {
            return Ok(false);
        }
    }
    program.machine.end_profile();
    sampler.whole(program);
    program.machine.set(program.temperature, settings.temperature.last);
    program.machine.run();
    Ok(true)
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
}
