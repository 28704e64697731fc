//! The innermost loops over plain numbers, with sums in an order that no instruction set changes.

use crate::scalar::Real;

/// Partial sums kept side by side, in an order that does not depend on the instruction set.
const LANE: usize = 32;

/// Numbers that one step of a vector loop handles, and then the steps of its rest: fixed, so that short vectors
/// need few remainders.
const STEP: usize = 8;
const REST: usize = 4;

/// The sum of partial sums, half upon half: short for a processor that adds several numbers at once.
#[inline(always)]
fn folded<R: Real>(lanes: [R; LANE]) -> R {
    let mut x = [R::ZERO; LANE / 2];
    for i in 0..LANE / 2 {
        x[i] = lanes[i] + lanes[i + LANE / 2];
    }
    let x = [x[0] + x[8], x[1] + x[9], x[2] + x[10], x[3] + x[11], x[4] + x[12], x[5] + x[13], x[6] + x[14], x[7] + x[15]];
    let x = [x[0] + x[4], x[1] + x[5], x[2] + x[6], x[3] + x[7]];
    (x[0] + x[2]) + (x[1] + x[3])
}

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
    folded(lanes) + tail
}

#[inline(always)]
pub(super) fn add_scaled<R: Real>(out: &mut [R], s: R, x: &[R]) {
    let ((out, out_rest), (x, x_rest)) = (out.as_chunks_mut::<STEP>(), x.as_chunks::<STEP>());
    for (o, x) in out.iter_mut().zip(x) {
        for i in 0..STEP {
            o[i] += s * x[i];
        }
    }
    for (o, &x) in out_rest.iter_mut().zip(x_rest) {
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
    folded(lanes) + tail
}
