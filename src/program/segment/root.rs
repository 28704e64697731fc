//! The root of a sum of degrees: bracketing, and Newton's steps within the bracket, until they are lost in the rounding of
//! the degrees.

use super::shape::{Cauchy, Exponential, Laplace, Linear, Logistic, Shape};
use crate::scalar::Unary;
use multiversion::multiversion;

/// Halvings that cross the range of double precision.
const MOST_STEPS: usize = 2200;

/// A step of Newton's, in units of the temperature, that moves no degree by more than its rounding: it is the last.
const LAST_STEP: f64 = 1e-14;

/// Theta with `sum w F((s - theta) unit) = target`. Minus infinity where all the weight does not reach the target,
/// so that every degree is 1; infinity where nothing is to be reached. The search begins at `near`, the root of the step before,
/// if it can be one.
pub(super) fn root(shape: Unary, s: &mut [f64], w: &mut [f64], target: f64, unit: f64, near: f64) -> f64 {
    let n = present(s, w);
    let (s, w) = (&s[..n], &w[..n]);
    let whole: f64 = w.iter().sum();
    if target <= 0.0 {
        return f64::INFINITY;
    }
    if n == 0 || (target >= whole && shape != Unary::Exp) {
        return f64::NEG_INFINITY;
    }
    let (low, high) = s.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
    if !(s.iter().all(|x| x.is_finite()) && unit > 0.0) {
        return f64::NAN;
    }
    if shape == Unary::Exp {
        return exponential(s, w, target, unit, high);
    }
    // All degrees are at least, and at most, their mean at these ends.
    let mean = quantile(shape, target, whole) / unit;
    let (left, right) = (low - mean, high - mean);
    let start = match shape {
        _ if near > left && near < right => near,
        Unary::ExponentialCdf => exponential(s, w, target, unit, high),
        _ => 0.5 * (left + right),
    };
    within(shape, s, w, target, unit, left, right, start)
}

#[expect(clippy::too_many_arguments, reason = "an equation and where its root is")]
fn within(shape: Unary, s: &[f64], w: &[f64], target: f64, unit: f64, mut left: f64, mut right: f64, start: f64) -> f64 {
    let (mut theta, mut best, mut miss) = (start.clamp(left, right), start, f64::INFINITY);
    let mut before = right - left;
    for _ in 0..MOST_STEPS {
        let (sum, slope) = sums(shape, s, w, theta, unit);
        let gap = sum - target;
        if gap.abs() < miss {
            (best, miss) = (theta, gap.abs());
        }
        if gap == 0.0 || left >= right {
            break;
        }
        if gap > 0.0 {
            left = theta
        } else {
            right = theta
        }
        let newton = theta + gap / (unit * slope);
        if (gap / slope).abs() <= LAST_STEP && newton >= left && newton <= right {
            return newton;
        }
        let middle = left + 0.5 * (right - left);
        let quick = newton > left && newton < right && (newton - theta).abs() <= 0.5 * before;
        let next = if quick { newton } else { middle };
        before = (next - theta).abs();
        if next == theta || next <= left || next >= right {
            // The last places: the bracket's other end may be closer.
            let other = if gap > 0.0 { right } else { left };
            let (sum, _) = sums(shape, s, w, other, unit);
            return if (sum - target).abs() < miss { other } else { best };
        }
        theta = next;
    }
    best
}

/// Moves the rows that are present to the front.
fn present(s: &mut [f64], w: &mut [f64]) -> usize {
    let mut n = 0;
    for i in 0..s.len() {
        if w[i] > 0.0 {
            (s[n], w[n]) = (s[i], w[i]);
            n += 1;
        }
    }
    n
}

/// In closed form, for F = exp.
fn exponential(s: &[f64], w: &[f64], target: f64, unit: f64, high: f64) -> f64 {
    let sum: f64 = s.iter().zip(w).map(|(s, w)| w * ((s - high) * unit).exp()).sum();
    high + (sum / target).ln() / unit
}

/// The x with F(x) = part / whole.
fn quantile(shape: Unary, part: f64, whole: f64) -> f64 {
    let rest = whole - part;
    match shape {
        Unary::LaplaceCdf if part < rest => (2.0 * part / whole).ln(),
        Unary::LaplaceCdf => -(2.0 * rest / whole).ln(),
        Unary::CauchyCdf => (std::f64::consts::PI * (part / whole - 0.5)).tan(),
        Unary::LinearCdf => part / whole - 0.5,
        Unary::ExponentialCdf => (part / whole).ln(),
        _ => (part / rest).ln(),
    }
}

/// `sum w F` and `sum w f` at theta.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn sums(shape: Unary, s: &[f64], w: &[f64], theta: f64, unit: f64) -> (f64, f64) {
    match shape {
        Unary::LaplaceCdf => add_up::<Laplace>(s, w, theta, unit),
        Unary::CauchyCdf => add_up::<Cauchy>(s, w, theta, unit),
        Unary::LinearCdf => add_up::<Linear>(s, w, theta, unit),
        Unary::ExponentialCdf => add_up::<Exponential>(s, w, theta, unit),
        _ => add_up::<Logistic>(s, w, theta, unit),
    }
}

#[inline(always)]
fn add_up<S: Shape>(s: &[f64], w: &[f64], theta: f64, unit: f64) -> (f64, f64) {
    let ((s, s_rest), (w, w_rest)) = (s.as_chunks::<8>(), w.as_chunks::<8>());
    let (mut degrees, mut slopes) = ([0.0; 8], [0.0; 8]);
    for (s, w) in s.iter().zip(w) {
        for i in 0..8 {
            let (degree, slope) = S::both((s[i] - theta) * unit);
            degrees[i] += w[i] * degree;
            slopes[i] += w[i] * slope;
        }
    }
    let (mut degree, mut slope) = (degrees.iter().sum::<f64>(), slopes.iter().sum::<f64>());
    for (s, w) in s_rest.iter().zip(w_rest) {
        let (d, f) = S::both((s - theta) * unit);
        degree += w * d;
        slope += w * f;
    }
    (degree, slope)
}
