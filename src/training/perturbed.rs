//! A gradient without a relaxation, for any objective that can be evaluated: the parameters are perturbed, and the slope is
//! read off the objective's answers. It estimates the gradient of the smoothed objective `E f(x + sigma e)`, with e standard normal
//! and sigma the temperature, as the mean of `(f(x + sigma e) - f(x - sigma e)) e / (2 sigma)` over antithetic pairs
//! (Nesterov and Spokoiny, 2017; Salimans et al., 2017). Both sides of a pair, and every step of every run of a seed,
//! share their random numbers.

use super::{Fitted, Projection, Settings, Step, Validation};
use crate::error::{Error, Place, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::time::Instant;

/// The objective for the values of all parameters; `None` for NULL.
pub type Evaluate<'a> = dyn FnMut(&[Vec<f64>]) -> Result<Option<f64>> + 'a;

/// A parameter that is perturbed.
pub struct Free {
    /// Rows x width.
    pub values: Vec<f64>,
    pub width: usize,
    pub projection: Option<Projection>,
}

/// Runs steps as `fit` does, with `pairs` pairs of evaluations each; the objective is the smoothed one.
pub fn perturb(
    parameters: &mut [Free],
    settings: &Settings,
    pairs: usize,
    evaluate: &mut Evaluate,
    mut validation: Option<Validation>,
    observe: &mut dyn FnMut(Step) -> bool,
) -> Result<Option<Fitted>> {
    let start = Instant::now();
    let mut optimizer = settings.optimizer.state::<f64>(parameters.iter().map(|p| p.values.len()));
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let sign = if settings.maximize { -1.0 } else { 1.0 };
    let mut steps = settings.steps;
    for step in 1..=settings.steps {
        let temperature = settings.temperature.at(step, settings.steps);
        let (objective, gradients) = estimate(parameters, temperature, pairs, &mut random, evaluate).map_err(|e| located(e, step))?;
        optimizer.advance();
        let mut squares = 0.0;
        for (number, (parameter, gradient)) in parameters.iter_mut().zip(&gradients).enumerate() {
            let Free { values, width, projection } = parameter;
            squares += optimizer.update(number, values, gradient, *width, projection.as_ref(), sign);
        }
        let validated = match &mut validation {
            Some(validation) if validation.is_due(step, settings.steps) => {
                validation.measure(step, parameters.iter().map(|p| p.values.clone()).collect())?
            }
            _ => None,
        };
        let elapsed = start.elapsed();
        let rows_per_second = 2.0 * pairs as f64 * step as f64 / elapsed.as_secs_f64().max(1e-9);
        let gradient_norm = squares.sqrt();
        let line = Step { step, epoch: step, objective, validation: validated, temperature, gradient_norm, rows_per_second, elapsed };
        if !observe(line) {
            return Ok(None);
        }
        if validation.as_ref().is_some_and(Validation::is_over) {
            steps = step;
            break;
        }
    }
    let best = validation.and_then(|v| v.best);
    if let Some(best) = &best {
        parameters.iter_mut().zip(&best.values).for_each(|(p, values)| p.values.clone_from(values));
    }
    let last = settings.temperature.last;
    let (objective, _) = estimate(parameters, last, pairs, &mut random, evaluate).map_err(|e| located(e, steps))?;
    Ok(Some(Fitted { objective, steps, validation: best.map(|b| b.value) }))
}

/// The smoothed objective, and its gradient with respect to each parameter.
fn estimate(
    parameters: &[Free],
    sigma: f64,
    pairs: usize,
    random: &mut ChaCha8Rng,
    evaluate: &mut Evaluate,
) -> Result<(f64, Vec<Vec<f64>>)> {
    let mut gradients: Vec<Vec<f64>> = parameters.iter().map(|p| vec![0.0; p.values.len()]).collect();
    let mut sum = 0.0;
    for _ in 0..pairs {
        let noise: Vec<Vec<f64>> = parameters.iter().map(|p| p.values.iter().map(|_| normal(random)).collect()).collect();
        let mut at = |side: f64| {
            let moved = |p: &Free, e: &Vec<f64>| p.values.iter().zip(e).map(|(x, e)| x + side * sigma * e).collect();
            let values: Vec<Vec<f64>> = parameters.iter().zip(&noise).map(|(p, e)| moved(p, e)).collect();
            match evaluate(&values)? {
                Some(value) if value.is_finite() => Ok(value),
                value => Err(Error::new(format!("the objective became {}", value.map_or("NULL".into(), |v| v.to_string())))),
            }
        };
        let (above, below): (f64, f64) = (at(1.0)?, at(-1.0)?);
        sum += above + below;
        let slope = (above - below) / (2.0 * sigma * pairs as f64);
        for (gradient, noise) in gradients.iter_mut().zip(&noise) {
            for (g, e) in gradient.iter_mut().zip(noise) {
                *g += slope * e;
            }
        }
    }
    Ok((sum / (2.0 * pairs as f64), gradients))
}

fn located(error: Error, step: u64) -> Error {
    error
        .at(Place::Step { step, operator: "the objective at perturbed parameters".into() })
        .hint("lower the temperature, or use COALESCE(..., 0); the database keeps its values")
}

/// A standard normal number (Box and Muller, 1958).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let mut unit = || ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (u, v) = (unit(), unit());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{Optimizer, Temperature};

    #[test]
    fn a_step_function_is_climbed_and_the_estimate_is_the_smoothed_slope() {
        // E step(x + sigma e) has the slope of the normal distribution function.
        let free = |x: f64| Free { values: vec![x], width: 1, projection: None };
        let step = |x: &[Vec<f64>]| Ok(Some(if x[0][0] > 1.0 { 1.0 } else { 0.0 }));
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let (value, slope) = estimate(&[free(0.5)], 0.5, 200_000, &mut random, &mut { step }).unwrap();
        let (density, distribution) = ((-0.5f64).exp() / std::f64::consts::TAU.sqrt() / 0.5, 0.158_655_253_931_457);
        assert!((value - distribution).abs() < 3e-3, "{value} {distribution}");
        assert!((slope[0][0] - density).abs() < 1e-2, "{} {density}", slope[0][0]);

        let settings = Settings {
            maximize: true,
            optimizer: Optimizer::Adam { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            steps: 60,
            batch: None,
            temperature: Temperature { first: 0.5, last: 0.1 },
            seed: 1,
        };
        let mut parameters = [free(0.2)];
        let fitted = perturb(&mut parameters, &settings, 8, &mut { step }, None, &mut |_| true).unwrap().unwrap();
        assert!(parameters[0].values[0] > 1.1 && fitted.objective > 0.8, "{:?} {fitted:?}", parameters[0].values);
    }
}
