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
/// `L_i = exp(-(s_i - s_{i-1}) unit) (L_{i-1} + a_{i-1})` from below, and so from above. `decays` is room for these exponentials.
pub(super) fn laplace(slope: bool, s: &[f64], a: &[f64], unit: f64, order: &mut [u32], decays: &mut [f64], out: &mut [f64]) {
    sort(order, |x, y| s[x].total_cmp(&s[y]));
    let Some((first, rest)) = decays.split_first_mut() else { return };
    *first = 0.0;
    for (gap, pair) in rest.iter_mut().zip(order.windows(2)) {
        *gap = s[pair[1] as usize] - s[pair[0] as usize];
    }
    exponentials(rest, unit);
    // What lies above counts as a whole, less its tail.
    let (sign, whole) = if slope { (1.0, 0.0) } else { (-1.0, 1.0) };
    let mut near = 0.0;
    for (&i, decay) in order.iter().zip(&*decays) {
        let i = i as usize;
        near *= decay;
        out[i] = 0.5 * (near + a[i]);
        near += a[i];
    }
    let (mut near, mut sum) = (0.0, 0.0);
    for (&i, decay) in order.iter().zip(&*decays).rev() {
        let i = i as usize;
        out[i] += whole * sum + sign * 0.5 * near;
        near = (near + a[i]) * decay;
        sum += a[i];
    }
}

/// What is left over each gap.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn exponentials(gaps: &mut [f64], unit: f64) {
    gaps.iter_mut().for_each(|gap| *gap = exp(-(*gap * unit)));
}

/// Positions in a strict order: what compares equal stays in the order of the rows.
pub(super) fn sort(order: &mut [u32], compare: impl Fn(usize, usize) -> std::cmp::Ordering) {
    order.sort_unstable_by(|&x, &y| compare(x as usize, y as usize).then(x.cmp(&y)));
}
