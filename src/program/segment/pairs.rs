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

/// Puts the rows of a segment in the order of their scores, and finds what is left of a row's amount at the next one,
/// `exp(-(s_i - s_{i-1}) unit)`.
pub(super) fn arrange(s: &[f64], unit: f64, order: &mut [u32], decays: &mut [f64]) {
    sort(order, |x, y| s[x].total_cmp(&s[y]));
    let Some((first, rest)) = decays.split_first_mut() else { return };
    *first = 0.0;
    for (gap, pair) in rest.iter_mut().zip(order.windows(2)) {
        *gap = s[pair[1] as usize] - s[pair[0] as usize];
    }
    exponentials(rest, unit);
}

/// The sums for the Laplace distribution in O(n), of the amounts of rows in the order of their scores: from below
/// `L_i = decay_i (L_{i-1} + a_{i-1})`, and so from above, which take turns, for neither waits for the other. `below` is room, and
/// the sums are left in `out`.
pub(super) fn laplace(slope: bool, a: &[f64], decays: &[f64], below: &mut [f64], out: &mut [f64]) {
    // What lies above counts as a whole, less its tail.
    let (sign, whole) = if slope { (0.5, 0.0) } else { (-0.5, 1.0) };
    let (n, mut near, mut far, mut sum) = (a.len(), 0.0, 0.0, 0.0);
    let (decays, below, out) = (&decays[..n], &mut below[..n], &mut out[..n]);
    for k in 0..n {
        near *= decays[k];
        below[k] = near + a[k];
        near += a[k];
        let j = n - 1 - k;
        out[j] = whole * sum + sign * far;
        far = (far + a[j]) * decays[j];
        sum += a[j];
    }
    out.iter_mut().zip(below).for_each(|(out, below)| *out += 0.5 * *below);
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
