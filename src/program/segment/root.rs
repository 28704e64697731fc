//! The root of a sum of degrees: Newton's steps, within a bracket where the root of the step before is not near, until they are
//! lost in the rounding of the degrees.

use super::shape::{Cauchy, Exponential, Laplace, Linear, Logistic, Shape};
use crate::scalar::{Real, Unary};
use multiversion::multiversion;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Halvings that cross the range of double precision.
const MOST_STEPS: usize = 2200;
/// Newton's steps from a root that is near, each shorter than the temperature.
const FEW_STEPS: usize = 3;

/// Rows whose sums are partial.
const BLOCK: usize = 1024;
const LANES: usize = 16;

/// Rows that are worth a thread, and pieces that a long segment is cut into at the most: by its length alone, so that any number of
/// threads gives the same bits.
const PIECE: usize = 64 * BLOCK;
const MOST_PIECES: usize = 64;
/// Pieces that are not worth waking another thread for.
const FEW_PIECES: usize = 3;

/// The scores of a segment and their weights, where one weight may stand for all. What weighs nothing is not there.
#[derive(Clone, Copy)]
pub(super) struct Weighed<'a, R> {
    pub scores: &'a [R],
    pub weights: &'a [R],
}

/// Of the rows that are there.
pub(super) struct Extent {
    whole: f64,
    low: f64,
    high: f64,
    finite: bool,
}

/// Sweeps over the rows, compiled for each number type and instruction set.
pub trait Sweeps: Real {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn extent(rows: Weighed<Self>) -> Extent;
    /// `sum w F` and `sum w f` at theta. With `checks`, no numbers where a score is not finite.
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn sums(shape: Unary, rows: Weighed<Self>, theta: Self, unit: Self, checks: bool) -> (f64, f64);
}

macro_rules! sweeps {
    ($float:ty, $extent:ident, $sums:ident) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $extent(rows: Weighed<$float>) -> Extent {
            extent(rows)
        }

        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $sums(shape: Unary, rows: Weighed<$float>, theta: $float, unit: $float, checks: bool) -> (f64, f64) {
            match (shape, checks) {
                (Unary::LaplaceCdf, false) => add_up::<Laplace, $float, false>(rows, theta, unit),
                (Unary::LaplaceCdf, true) => add_up::<Laplace, $float, true>(rows, theta, unit),
                (Unary::CauchyCdf, _) => add_up::<Cauchy, $float, true>(rows, theta, unit),
                (Unary::LinearCdf, _) => add_up::<Linear, $float, true>(rows, theta, unit),
                (Unary::ExponentialCdf, _) => add_up::<Exponential, $float, true>(rows, theta, unit),
                (_, false) => add_up::<Logistic, $float, false>(rows, theta, unit),
                (_, true) => add_up::<Logistic, $float, true>(rows, theta, unit),
            }
        }

        impl Sweeps for $float {
            #[allow(private_interfaces)]
            fn extent(rows: Weighed<$float>) -> Extent {
                $extent(rows)
            }
            #[allow(private_interfaces)]
            fn sums(shape: Unary, rows: Weighed<$float>, theta: $float, unit: $float, checks: bool) -> (f64, f64) {
                $sums(shape, rows, theta, unit, checks)
            }
        }
    };
}

sweeps!(f32, extent_f32, sums_f32);
sweeps!(f64, extent_f64, sums_f64);

/// Theta with `sum w F((s - theta) unit) = target`. Minus infinity where all the weight does not reach the target,
/// so that every degree is 1; infinity where nothing is to be reached. The search begins at `near`, where the steps before have led,
/// if it can be one.
pub(super) fn root<R: Sweeps>(shape: Unary, rows: Weighed<R>, target: f64, unit: f64, near: f64) -> f64 {
    if target <= 0.0 {
        return f64::INFINITY;
    }
    if let Some(found) = from_near(shape, rows, target, unit, near) {
        return found;
    }
    let Extent { whole, low, high, finite } = R::extent(rows);
    if whole == 0.0 || (target >= whole && shape != Unary::Exp) {
        return f64::NEG_INFINITY;
    }
    if !(finite && whole.is_finite() && unit > 0.0) {
        return f64::NAN;
    }
    if shape == Unary::Exp {
        return exponential(rows, target, unit, high);
    }
    // F = min(1, exp): where no score is above the root of the exponentials, that is it.
    let exponentials = if shape == Unary::ExponentialCdf { exponential(rows, target, unit, high) } else { f64::NAN };
    if exponentials >= high {
        return exponentials;
    }
    // All degrees are at least, and at most, their mean at these ends.
    let mean = quantile(shape, target, whole) / unit;
    let (left, right) = (low - mean, high - mean);
    let start = match shape {
        _ if near > left && near < right => near,
        Unary::ExponentialCdf => exponentials,
        _ => 0.5 * (left + right),
    };
    within(shape, rows, target, R::of(unit), [left, right].map(R::of), R::of(start)).wide()
}

/// `sum w F` and `sum w f` at theta, of one piece after another.
fn sums<R: Sweeps>(shape: Unary, rows: Weighed<R>, theta: R, unit: R, checks: bool) -> (f64, f64) {
    let n = rows.scores.len();
    let piece = PIECE.max(n.div_ceil(MOST_PIECES).next_multiple_of(BLOCK));
    let of = |begin: usize| {
        let range = begin..n.min(begin + piece);
        let weights = if rows.weights.len() == 1 { rows.weights } else { &rows.weights[range.clone()] };
        R::sums(shape, Weighed { scores: &rows.scores[range], weights }, theta, unit, checks)
    };
    let mut parts = [(0.0, 0.0); MOST_PIECES];
    let parts = &mut parts[..n.div_ceil(piece)];
    match parts.len() {
        0..=FEW_PIECES => parts.iter_mut().enumerate().for_each(|(number, part)| *part = of(number * piece)),
        _ => parts.par_iter_mut().enumerate().for_each(|(number, part)| *part = of(number * piece)),
    }
    parts.iter().fold((0.0, 0.0), |sums, part| (sums.0 + part.0, sums.1 + part.1))
}

/// A step of Newton's, in units of the temperature, after which no other is needed: its square is lost in the rounding of the
/// degrees, or it is itself where the slope has jumps.
fn last_step<R: Real>(shape: Unary) -> f64 {
    match shape {
        Unary::LinearCdf | Unary::ExponentialCdf => R::EPSILON.wide(),
        _ => R::EPSILON.sqrt().wide(),
    }
}

/// Where degrees are smooth and the root has moved a little, if it has. Where the weights do not reach the target there is none, and
/// the steps do not become short.
fn from_near<R: Sweeps>(shape: Unary, rows: Weighed<R>, target: f64, unit: f64, near: f64) -> Option<f64> {
    let is_smooth = !matches!(shape, Unary::LinearCdf | Unary::ExponentialCdf | Unary::Exp);
    if !(is_smooth && near.is_finite() && unit > 0.0) {
        return None;
    }
    let mut theta = R::of(near);
    for number in 0..FEW_STEPS {
        let (sum, slope) = sums(shape, rows, theta, R::of(unit), number == 0);
        let step = (sum - target) / slope;
        theta = R::of(theta.wide() + step / unit);
        match step.abs() {
            short if short <= last_step::<R>(shape) => return Some(theta.wide()),
            near if near <= 1.0 => {}
            _ => return None,
        }
    }
    None
}

fn within<R: Sweeps>(shape: Unary, rows: Weighed<R>, target: f64, unit: R, [mut left, mut right]: [R; 2], start: R) -> R {
    let (mut theta, mut best, mut miss) = (start.max(left).min(right), start, f64::INFINITY);
    let (mut before, half) = (right - left, R::of(0.5));
    for _ in 0..MOST_STEPS {
        let (sum, slope) = sums(shape, rows, theta, unit, false);
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
        let newton = R::of(theta.wide() + gap / (unit.wide() * slope));
        if (gap / slope).abs() <= last_step::<R>(shape) && newton >= left && newton <= right {
            return newton;
        }
        let middle = left + half * (right - left);
        let quick = newton > left && newton < right && (newton - theta).abs() <= half * before;
        let next = if quick { newton } else { middle };
        before = (next - theta).abs();
        if next == theta || next <= left || next >= right {
            // The last places: the bracket's other end may be closer.
            let other = if gap > 0.0 { right } else { left };
            let (sum, _) = sums(shape, rows, other, unit, false);
            return if (sum - target).abs() < miss { other } else { best };
        }
        theta = next;
    }
    best
}

/// In closed form, for F = exp.
fn exponential<R: Real>(rows: Weighed<R>, target: f64, unit: f64, high: f64) -> f64 {
    let weight = |i: usize| rows.weights[if rows.weights.len() == 1 { 0 } else { i }].wide();
    let terms = rows.scores.iter().enumerate().map(|(i, s)| (s.wide(), weight(i))).filter(|(_, w)| *w > 0.0);
    let sum: f64 = terms.map(|(s, w)| w * ((s - high) * unit).exp()).sum();
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

impl<'a, R: Real> Weighed<'a, R> {
    /// Scores and weights of one block after another; `same` holds a block of the weight that stands for all, if one does.
    #[inline(always)]
    fn blocks(self, same: &'a [R; BLOCK]) -> impl Iterator<Item = (&'a [R], &'a [R])> {
        let weights = move |block: usize, rows: usize| match self.weights.len() {
            1 => &same[..rows],
            _ => &self.weights[block * BLOCK..][..rows],
        };
        self.scores.chunks(BLOCK).enumerate().map(move |(block, scores)| (scores, weights(block, scores.len())))
    }

    #[inline(always)]
    fn same(self) -> [R; BLOCK] {
        [self.weights.first().copied().unwrap_or(R::ZERO); BLOCK]
    }
}

/// What one sweep adds up, in partial sums side by side, in an order that does not depend on the instruction set.
trait Fold<R> {
    fn add(&mut self, lane: usize, s: R, w: R);
}

#[inline(always)]
fn fold<R: Real>(s: &[R], w: &[R], into: &mut impl Fold<R>) {
    let ((s, s_rest), (w, w_rest)) = (s.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    for (s, w) in s.iter().zip(w) {
        for i in 0..LANES {
            into.add(i, s[i], w[i]);
        }
    }
    for (i, (s, w)) in s_rest.iter().zip(w_rest).enumerate() {
        into.add(i, *s, *w);
    }
}

struct Range<R> {
    low: [R; LANES],
    high: [R; LANES],
    weights: [R; LANES],
    /// 0, but for what is infinite or no number.
    odd: [R; LANES],
}

impl<R: Real> Fold<R> for Range<R> {
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "the difference is 0 only of finite numbers")]
    fn add(&mut self, i: usize, s: R, w: R) {
        let is_there = w > R::ZERO;
        self.low[i] = if is_there && s < self.low[i] { s } else { self.low[i] };
        self.high[i] = if is_there && s > self.high[i] { s } else { self.high[i] };
        self.weights[i] += if is_there { w } else { R::ZERO };
        self.odd[i] += if is_there { s - s } else { R::ZERO };
    }
}

#[inline(always)]
fn extent<R: Real>(rows: Weighed<R>) -> Extent {
    let mut whole = 0.0;
    let zero = [R::ZERO; LANES];
    let mut range = Range { low: [R::of(f64::INFINITY); LANES], high: [R::of(f64::NEG_INFINITY); LANES], weights: zero, odd: zero };
    for (s, w) in rows.blocks(&rows.same()) {
        range.weights = zero;
        fold(s, w, &mut range);
        whole += range.weights.iter().map(|x| x.wide()).sum::<f64>();
    }
    let low = range.low.iter().fold(f64::INFINITY, |l, x| l.min(x.wide()));
    let high = range.high.iter().fold(f64::NEG_INFINITY, |h, x| h.max(x.wide()));
    Extent { whole, low, high, finite: range.odd.iter().all(|x| *x == R::ZERO) }
}

struct Degrees<S, R, const CHECKS: bool> {
    theta: R,
    unit: R,
    degrees: [R; LANES],
    slopes: [R; LANES],
    shape: PhantomData<S>,
}

impl<S: Shape, R: Real, const CHECKS: bool> Fold<R> for Degrees<S, R, CHECKS> {
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "the difference is 0 only of finite numbers")]
    fn add(&mut self, i: usize, s: R, w: R) {
        // What weighs nothing is not there, whatever its score.
        let (s, w) = (if w > R::ZERO { s } else { self.theta }, if w > R::ZERO { w } else { R::ZERO });
        let (degree, slope) = S::both((s - self.theta) * self.unit);
        self.degrees[i] += w * degree;
        self.slopes[i] += w * slope + if CHECKS { s - s } else { R::ZERO };
    }
}

#[inline(always)]
fn add_up<S: Shape, R: Real, const CHECKS: bool>(rows: Weighed<R>, theta: R, unit: R) -> (f64, f64) {
    let (mut degree, mut slope) = (0.0, 0.0);
    for (s, w) in rows.blocks(&rows.same()) {
        let zero = [R::ZERO; LANES];
        let mut sums = Degrees::<S, R, CHECKS> { theta, unit, degrees: zero, slopes: zero, shape: PhantomData };
        fold(s, w, &mut sums);
        degree += sums.degrees.iter().map(|x| x.wide()).sum::<f64>();
        slope += sums.slopes.iter().map(|x| x.wide()).sum::<f64>();
    }
    (degree, slope)
}
