//! Sums over all pairs of a segment's rows; by sorting, for the Laplace distribution, whose exponentials factor.

use super::shape::{Cauchy, Exponential, Laplace, Linear, Logistic, Shape, exp, sum_of};
use crate::scalar::Unary;
use multiversion::multiversion;
use std::ops::Range;

/// `out_i = sum_j a_j K((s_j - s_i) unit)` for the wanted rows i, K being the shape or its slope.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
pub(super) fn all(shape: Unary, slope: bool, s: &[f64], a: &[f64], unit: f64, wanted: Range<usize>, out: &mut [f64]) {
    match shape {
        Unary::LaplaceCdf => rows::<Laplace>(slope, s, a, unit, wanted, out),
        Unary::CauchyCdf => rows::<Cauchy>(slope, s, a, unit, wanted, out),
        Unary::LinearCdf => rows::<Linear>(slope, s, a, unit, wanted, out),
        Unary::ExponentialCdf => rows::<Exponential>(slope, s, a, unit, wanted, out),
        _ => rows::<Logistic>(slope, s, a, unit, wanted, out),
    }
}

#[inline(always)]
fn rows<S: Shape>(slope: bool, s: &[f64], a: &[f64], unit: f64, wanted: Range<usize>, out: &mut [f64]) {
    for i in wanted {
        let at = s[i];
        out[i] = if slope {
            sum_of(s, a, |s, a| if a == 0.0 { 0.0 } else { a * S::slope((s - at) * unit) })
        } else {
            sum_of(s, a, |s, a| if a == 0.0 { 0.0 } else { a * S::degree((s - at) * unit) })
        };
    }
}

/// The same for the Laplace distribution in O(n log n): with the rows in the order of their scores,
/// `L_i = exp(-(s_i - s_{i-1}) unit) (L_{i-1} + a_{i-1})` from below, and so from above.
pub(super) fn laplace(slope: bool, s: &[f64], a: &[f64], unit: f64, order: &mut [u32], out: &mut [f64]) {
    sort(order, |x, y| s[x].total_cmp(&s[y]));
    // What lies above counts as a whole, less its tail.
    let (sign, whole) = if slope { (1.0, 0.0) } else { (-1.0, 1.0) };
    let (mut near, mut last) = (0.0, f64::NEG_INFINITY);
    for &i in &*order {
        let i = i as usize;
        near *= decay(s[i] - last, unit);
        out[i] = 0.5 * (near + a[i]);
        near += a[i];
        last = s[i];
    }
    let (mut near, mut sum, mut last) = (0.0, 0.0, f64::INFINITY);
    for &i in order.iter().rev() {
        let i = i as usize;
        near *= decay(last - s[i], unit);
        out[i] += whole * sum + sign * 0.5 * near;
        near += a[i];
        sum += a[i];
        last = s[i];
    }
}

fn decay(gap: f64, unit: f64) -> f64 {
    exp(-(gap * unit))
}

/// Positions in a strict order: what compares equal stays in the order of the rows.
pub(super) fn sort(order: &mut [u32], compare: impl Fn(usize, usize) -> std::cmp::Ordering) {
    order.sort_unstable_by(|&x, &y| compare(x as usize, y as usize).then(x.cmp(&y)));
}
