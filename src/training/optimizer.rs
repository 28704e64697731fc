//! How a gradient becomes a step: plain stochastic gradient descent, and Adam (Kingma and Ba, 2015).

use super::Projection;
use crate::scalar::Real;
use multiversion::multiversion;

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

impl<R: Steps> State<R> {
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
        let squares = match self.optimizer {
            Optimizer::Sgd { learning_rate } => R::sgd(values, gradient, R::of(sign * learning_rate)),
            Optimizer::Adam { learning_rate, beta1, beta2, epsilon } => {
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
                R::adam(values, gradient, &mut self.moments[number], rates)
            }
        };
        if let Some(projection) = projection {
            projection.apply(values, width);
        }
        squares
    }
}

pub struct Rates<R> {
    sign: R,
    beta1: R,
    beta2: R,
    /// Learning rate over the first moment's bias correction.
    rate: R,
    correction: R,
    epsilon: R,
}

/// The steps of all numbers of a parameter, compiled for each number type and instruction set. Each returns the squared norm of the
/// gradient, which is read once.
pub trait Steps: Real {
    #[doc(hidden)]
    fn sgd(values: &mut [Self], gradient: &[Self], rate: Self) -> f64;
    #[doc(hidden)]
    fn adam(values: &mut [Self], gradient: &[Self], moments: &mut (Vec<Self>, Vec<Self>), rates: Rates<Self>) -> f64;
}

macro_rules! steps {
    ($float:ty, $sgd:ident, $adam:ident) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $sgd(values: &mut [$float], gradient: &[$float], rate: $float) -> f64 {
            sgd(values, gradient, rate)
        }

        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $adam(values: &mut [$float], gradient: &[$float], moments: &mut (Vec<$float>, Vec<$float>), rates: Rates<$float>) -> f64 {
            adam(values, gradient, moments, rates)
        }

        impl Steps for $float {
            fn sgd(values: &mut [$float], gradient: &[$float], rate: $float) -> f64 {
                $sgd(values, gradient, rate)
            }

            fn adam(values: &mut [$float], gradient: &[$float], moments: &mut (Vec<$float>, Vec<$float>), rates: Rates<$float>) -> f64 {
                $adam(values, gradient, moments, rates)
            }
        }
    };
}

steps!(f32, sgd_f32, adam_f32);
steps!(f64, sgd_f64, adam_f64);

/// Numbers whose gradient stays in the nearest cache while it is read twice.
const CHUNK: usize = 1024;

/// Partial sums side by side.
const LANE: usize = 32;

#[inline(always)]
fn sgd<R: Real>(values: &mut [R], gradient: &[R], rate: R) -> f64 {
    let mut squares = 0.0;
    for (values, gradient) in values.chunks_mut(CHUNK).zip(gradient.chunks(CHUNK)) {
        values.iter_mut().zip(gradient).for_each(|(x, &g)| *x = *x - rate * g);
        squares += sum_of_squares(gradient);
    }
    squares
}

#[inline(always)]
fn adam<R: Real>(values: &mut [R], gradient: &[R], (m, v): &mut (Vec<R>, Vec<R>), r: Rates<R>) -> f64 {
    let (keep1, keep2) = (R::ONE - r.beta1, R::ONE - r.beta2);
    let moments = m.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK));
    let mut squares = 0.0;
    for ((values, gradient), (m, v)) in values.chunks_mut(CHUNK).zip(gradient.chunks(CHUNK)).zip(moments) {
        for (((x, &g), m), v) in values.iter_mut().zip(gradient).zip(m).zip(v) {
            let g = r.sign * g;
            *m = r.beta1 * *m + keep1 * g;
            *v = r.beta2 * *v + keep2 * g * g;
            *x = *x - r.rate * *m / (v.sqrt() * r.correction + r.epsilon);
        }
        squares += sum_of_squares(gradient);
    }
    squares
}

#[inline(always)]
fn sum_of_squares<R: Real>(gradient: &[R]) -> f64 {
    let (parts, rest) = gradient.as_chunks::<LANE>();
    let mut lanes = [R::ZERO; LANE];
    for part in parts {
        for i in 0..LANE {
            lanes[i] += part[i] * part[i];
        }
    }
    let rest: f64 = rest.iter().map(|g| (*g * *g).wide()).sum();
    lanes.iter().map(|l| l.wide()).sum::<f64>() + rest
}
