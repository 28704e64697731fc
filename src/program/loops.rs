//! The innermost loops over plain numbers, with sums in an order that no instruction set changes.

use crate::scalar::Real;

/// Partial sums kept side by side, in an order that does not depend on the instruction set.
const LANE: usize = 32;

/// Numbers that one step of a vector loop handles, and then the steps of its rest: fixed, so that short vectors
/// need few remainders.
const STEP: usize = 8;
const REST: usize = 4;

#[inline(always)]
pub(super) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STEP>(), b.as_chunks::<STEP>());
    let mut lanes = [R::ZERO; STEP];
    for (a, b) in a.iter().zip(b) {
        for i in 0..STEP {
            lanes[i] += a[i] * b[i];
        }
    }
    let ((a, a_rest), (b, b_rest)) = (a_rest.as_chunks::<REST>(), b_rest.as_chunks::<REST>());
    let mut rest = [R::ZERO; REST];
    for (a, b) in a.iter().zip(b) {
        for i in 0..REST {
            rest[i] += a[i] * b[i];
        }
    }
    let mut tail = R::ZERO;
    for (&x, &y) in a_rest.iter().zip(b_rest) {
        tail += x * y;
    }
    lanes.iter().chain(&rest).fold(tail, |a, &b| a + b)
}

#[inline(always)]
pub(super) fn sum<R: Real>(x: &[R]) -> R {
    let mut lanes = [R::ZERO; LANE];
    let chunks = x.chunks_exact(LANE);
    let mut tail = R::ZERO;
    for &x in chunks.remainder() {
        tail += x;
    }
    for chunk in chunks {
        for i in 0..LANE {
            lanes[i] += chunk[i];
        }
    }
    lanes.iter().fold(R::ZERO, |a, &b| a + b) + tail
}

#[inline(always)]
pub(super) fn add_scaled<R: Real>(out: &mut [R], s: R, x: &[R]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o += s * x;
    }
}

#[inline(always)]
pub(super) fn sum_of_products<R: Real>(a: &[R], b: &[R]) -> R {
    let mut lanes = [R::ZERO; LANE];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANE), b.chunks_exact(LANE));
    let mut tail = R::ZERO;
    for (&x, &y) in a_chunks.remainder().iter().zip(b_chunks.remainder()) {
        tail += x * y;
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANE {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().fold(R::ZERO, |a, &b| a + b) + tail
}
