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

/// The inner product of two vectors as partial sums side by side, and the products left over.
#[inline(always)]
fn partial_dot<R: Real>(a: &[R], b: &[R]) -> ([R; REST], R) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STEP>(), b.as_chunks::<STEP>());
    let mut lanes = [R::ZERO; STEP];
    for (a, b) in a.iter().zip(b) {
        for i in 0..STEP {
            lanes[i] += a[i] * b[i];
        }
    }
    let mut sums = [R::ZERO; REST];
    for i in 0..REST {
        sums[i] = lanes[i] + lanes[i + REST];
    }
    let ((a, a_rest), (b, b_rest)) = (a_rest.as_chunks::<REST>(), b_rest.as_chunks::<REST>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..REST {
            sums[i] += a[i] * b[i];
        }
    }
    let mut tail = R::ZERO;
    for (&x, &y) in a_rest.iter().zip(b_rest) {
        tail += x * y;
    }
    (sums, tail)
}

#[inline(always)]
pub(super) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let (x, tail) = partial_dot(a, b);
    ((x[0] + x[2]) + (x[1] + x[3])) + tail
}

/// Four inner products, whose partial sums are added up side by side.
#[inline(always)]
pub(super) fn four_dots<R: Real>(a: [&[R]; 4], b: [&[R]; 4]) -> [R; 4] {
    let rows = [partial_dot(a[0], b[0]), partial_dot(a[1], b[1]), partial_dot(a[2], b[2]), partial_dot(a[3], b[3])];
    let mut out = [R::ZERO; 4];
    for (o, (x, tail)) in out.iter_mut().zip(rows) {
        *o = ((x[0] + x[2]) + (x[1] + x[3])) + tail;
    }
    out
}

#[inline(always)]
pub(super) fn sum<R: Real>(x: &[R]) -> R {
    let mut lanes = [R::ZERO; LANE];
    let (x, x_rest) = x.as_chunks::<LANE>();
    let mut tail = R::ZERO;
    for &x in x_rest {
        tail += x;
    }
    for x in x {
        for i in 0..LANE {
            lanes[i] += x[i];
        }
    }
    folded(lanes) + tail
}

#[inline(always)]
pub(super) fn add_scaled<R: Real>(out: &mut [R], s: R, x: &[R]) {
    let ((out, out_rest), (x, x_rest)) = (out.as_chunks_mut::<STEP>(), x.as_chunks::<STEP>());
    for (o, x) in out.iter_mut().zip(x) {
        *o = plus_scaled(*o, s, *x);
    }
    let ((out, out_rest), (x, x_rest)) = (out_rest.as_chunks_mut::<REST>(), x_rest.as_chunks::<REST>());
    for (o, x) in out.iter_mut().zip(x) {
        *o = plus_scaled(*o, s, *x);
    }
    for (o, &x) in out_rest.iter_mut().zip(x_rest) {
        *o += s * x;
    }
}

/// Over arrays by value, so that the compiler need not ask whether what it stores is what it reads next.
#[inline(always)]
fn plus_scaled<R: Real, const N: usize>(mut sum: [R; N], s: R, x: [R; N]) -> [R; N] {
    for i in 0..N {
        sum[i] += s * x[i];
    }
    sum
}

/// Adds four rows, scaled, to one sum.
#[inline(always)]
pub(super) fn add_four_scaled<R: Real>(out: &mut [R], s: [R; 4], x: [&[R]; 4]) {
    let (steps, out_rest) = out.as_chunks_mut::<STEP>();
    let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = x.map(|x| x.as_chunks::<STEP>());
    for ((((o, &a), &b), &c), &d) in steps.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *o = plus_four_scaled(*o, s, [a, b, c, d]);
    }
    let (steps, out_rest) = out_rest.as_chunks_mut::<REST>();
    let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = [a_rest, b_rest, c_rest, d_rest].map(|x| x.as_chunks::<REST>());
    for ((((o, &a), &b), &c), &d) in steps.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *o = plus_four_scaled(*o, s, [a, b, c, d]);
    }
    for ((((o, &a), &b), &c), &d) in out_rest.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest).zip(d_rest) {
        [*o] = plus_four_scaled([*o], s, [[a], [b], [c], [d]]);
    }
}

#[inline(always)]
fn plus_four_scaled<R: Real, const N: usize>(mut sum: [R; N], s: [R; 4], [a, b, c, d]: [[R; N]; 4]) -> [R; N] {
    for i in 0..N {
        sum[i] += (s[0] * a[i] + s[1] * b[i]) + (s[2] * c[i] + s[3] * d[i]);
    }
    sum
}

#[inline(always)]
pub(super) fn sum_of_products<R: Real>(a: &[R], b: &[R]) -> R {
    let mut lanes = [R::ZERO; LANE];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANE>(), b.as_chunks::<LANE>());
    let mut tail = R::ZERO;
    for (&x, &y) in a_rest.iter().zip(b_rest) {
        tail += x * y;
    }
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANE {
            lanes[i] += a[i] * b[i];
        }
    }
    folded(lanes) + tail
}

/// The sums of `f(a, b)` and of `f(a, b) * weight`. Four chunks are added up before the partial sums are read and written.
#[inline(always)]
pub(super) fn weighed_sums<R: Real>(f: impl Fn(R, R) -> R, a: &[R], b: &[R], weight: &[R]) -> (R, R) {
    let (mut plain, mut weighed) = ([R::ZERO; LANE], [R::ZERO; LANE]);
    let (a_fours, b_fours, w_fours) = (a.chunks_exact(4 * LANE), b.chunks_exact(4 * LANE), weight.chunks_exact(4 * LANE));
    let (a_rest, b_rest, w_rest) = (a_fours.remainder(), b_fours.remainder(), w_fours.remainder());
    for ((a, b), w) in a_fours.zip(b_fours).zip(w_fours) {
        for i in 0..LANE {
            let [j, k, l] = [i + LANE, i + 2 * LANE, i + 3 * LANE];
            let (x, y, z, u) = (f(a[i], b[i]), f(a[j], b[j]), f(a[k], b[k]), f(a[l], b[l]));
            plain[i] += (x + y) + (z + u);
            weighed[i] += (x * w[i] + y * w[j]) + (z * w[k] + u * w[l]);
        }
    }
    let (a_ones, b_ones, w_ones) = (a_rest.chunks_exact(LANE), b_rest.chunks_exact(LANE), w_rest.chunks_exact(LANE));
    let (mut plain_tail, mut weighed_tail) = (R::ZERO, R::ZERO);
    for ((&a, &b), &w) in a_ones.remainder().iter().zip(b_ones.remainder()).zip(w_ones.remainder()) {
        let x = f(a, b);
        plain_tail += x;
        weighed_tail += x * w;
    }
    for ((a, b), w) in a_ones.zip(b_ones).zip(w_ones) {
        for i in 0..LANE {
            let x = f(a[i], b[i]);
            plain[i] += x;
            weighed[i] += x * w[i];
        }
    }
    (folded(plain) + plain_tail, folded(weighed) + weighed_tail)
}
