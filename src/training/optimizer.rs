//! How a gradient becomes a step: plain stochastic gradient descent, and Adam (Kingma and Ba, 2015).

use super::Projection;
use crate::scalar::Real;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    Sgd { learning_rate: f64 },
    Adam { learning_rate: f64, beta1: f64, beta2: f64, epsilon: f64 },
}

/// What an optimizer remembers between steps, one for each parameter.
pub(super) struct State<R> {
    optimizer: Optimizer,
    steps: i32,
    /// First and second moments of each parameter (Adam).
    moments: Vec<(Vec<R>, Vec<R>)>,
}

impl Optimizer {
    pub(super) fn state<R: Real>(self, sizes: impl Iterator<Item = usize>) -> State<R> {
        let moments = match self {
            Optimizer::Sgd { .. } => vec![],
            Optimizer::Adam { .. } => sizes.map(|n| (vec![R::ZERO; n], vec![R::ZERO; n])).collect(),
        };
        State { optimizer: self, steps: 0, moments }
    }
}

impl<R: Real> State<R> {
    /// Begins a step.
    pub fn advance(&mut self) {
        self.steps += 1;
    }

    /// Updates one parameter, by its number, against `sign * gradient` and projects it; returns the gradient's squared norm.
    pub fn update(
        &mut self,
        number: usize,
        values: &mut [R],
        gradient: &[R],
        width: usize,
        projection: Option<&Projection>,
        sign: f64,
    ) -> f64 {
        match self.optimizer {
            Optimizer::Sgd { learning_rate } => {
                let rate = R::of(sign * learning_rate);
                for (x, &g) in values.iter_mut().zip(gradient) {
                    *x = *x - rate * g;
                }
            }
            Optimizer::Adam { learning_rate, beta1, beta2, epsilon } => {
                let (m, v) = &mut self.moments[number];
                let correction1 = 1.0 - beta1.powi(self.steps);
                let correction2 = (1.0 - beta2.powi(self.steps)).sqrt();
                let rates = Rates {
                    sign: R::of(sign),
                    beta1: R::of(beta1),
                    beta2: R::of(beta2),
                    rate: R::of(learning_rate / correction1),
                    correction: R::of(1.0 / correction2),
                    epsilon: R::of(epsilon),
                };
                adam(values, gradient, m, v, rates);
            }
        }
        if let Some(projection) = projection {
            projection.apply(values, width);
        }
        sum_of_squares(gradient)
    }
}

struct Rates<R> {
    sign: R,
    beta1: R,
    beta2: R,
    /// Learning rate over the first moment's bias correction.
    rate: R,
    correction: R,
    epsilon: R,
}

fn adam<R: Real>(values: &mut [R], gradient: &[R], m: &mut [R], v: &mut [R], r: Rates<R>) {
    let (keep1, keep2) = (R::ONE - r.beta1, R::ONE - r.beta2);
    for (((x, &g), m), v) in values.iter_mut().zip(gradient).zip(m).zip(v) {
        let g = r.sign * g;
        *m = r.beta1 * *m + keep1 * g;
        *v = r.beta2 * *v + keep2 * g * g;
        *x = *x - r.rate * *m / (v.sqrt() * r.correction + r.epsilon);
    }
}

fn sum_of_squares<R: Real>(gradient: &[R]) -> f64 {
    let mut total = 0.0;
    for chunk in gradient.chunks(1024) {
        let mut lanes = [R::ZERO; 16];
        for part in chunk.chunks(16) {
            for (l, &g) in lanes.iter_mut().zip(part) {
                *l += g * g;
            }
        }
        total += lanes.iter().map(|l| l.wide()).sum::<f64>();
    }
    total
}
