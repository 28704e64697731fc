//! The expected greatest value among rows that are present by chance. `order` has the greatest value first.

use crate::scalar::Real;

/// `sum w Q x`, Q being what [`chances`] gives; a row that is absent counts nothing.
#[inline(always)]
pub(super) fn expected<R: Real>(x: &[R], w: &[R], chance: &[R]) -> f64 {
    let of = |i: usize| if w[i] > R::ZERO { w[i].wide() * chance[i].wide() * x[i].wide() } else { 0.0 };
    let mut lanes = [0.0; LANES];
    let whole = x.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane += of(start + i);
        }
    }
    lanes.iter().sum::<f64>() + (whole..x.len()).map(of).sum::<f64>()
}

/// Partial sums side by side, in an order that does not depend on the instruction set.
const LANES: usize = 8;

/// For each row Q, the product of (1 - w) over the rows before it in the order: no better row is present. What would be a
/// subnormal number is none: processors are slow at those.
#[inline(always)]
pub(super) fn chances<R: Real>(w: &[R], order: &[u32], out: &mut [R]) {
    let mut absent = 1.0;
    for (k, &i) in order.iter().enumerate() {
        if absent < LEAST {
            return order[k..].iter().for_each(|i| out[*i as usize] = R::ZERO);
        }
        out[i as usize] = R::of(absent);
        absent *= 1.0 - w[i as usize].wide();
    }
}

/// The least normal number of single precision.
const LEAST: f64 = f32::MIN_POSITIVE as f64;

/// For each row V, the expected greatest of the rows after it in the order: `V = w' x' + (1 - w') V'` of the next row.
#[inline(always)]
pub(super) fn rests<R: Real>(x: &[R], w: &[R], order: &[u32], out: &mut [R]) {
    let mut rest = 0.0;
    for &i in order.iter().rev() {
        let i = i as usize;
        let (x, w) = (x[i].wide(), w[i].wide());
        out[i] = R::of(rest);
        if w > 0.0 {
            rest = w * x + (1.0 - w) * rest;
        }
    }
}
