//! The distribution functions of a gap and their slopes, accurate in both tails, and sums over columns of them.

use crate::scalar::{Real, Unary};

pub(super) trait Shape {
    fn degree<R: Real>(x: R) -> R;
    fn slope<R: Real>(x: R) -> R;
    /// Degree and slope, by one exponential.
    fn both<R: Real>(x: R) -> (R, R);
}

pub(super) struct Logistic;
pub(super) struct Laplace;
pub(super) struct Cauchy;
pub(super) struct Linear;
pub(super) struct Exponential;

macro_rules! shapes {
    ($($shape:ident $unary:ident |$x:ident| $slope:expr, $both:expr;)*) => {
        $(impl Shape for $shape {
            #[inline(always)]
            fn degree<R: Real>(x: R) -> R {
                Unary::$unary.value(x)
            }
            #[inline(always)]
            fn slope<R: Real>($x: R) -> R {
                $slope
            }
            #[inline(always)]
            fn both<R: Real>($x: R) -> (R, R) {
                $both
            }
        })*
    };
}

shapes! {
    Logistic    Sigmoid        |x| { let e = (-x.abs()).exp(); e / ((R::ONE + e) * (R::ONE + e)) },
        { let e = (-x.abs()).exp(); let d = R::ONE / (R::ONE + e); (if x < R::ZERO { e * d } else { d }, e * d * d) };
    Laplace     LaplaceCdf     |x| R::of(0.5) * (-x.abs()).exp(),
        { let f = R::of(0.5) * (-x.abs()).exp(); (if x < R::ZERO { f } else { R::ONE - f }, f) };
    Cauchy      CauchyCdf      |x| R::of(std::f64::consts::FRAC_1_PI) / (R::ONE + x * x), (Self::degree(x), Self::slope(x));
    Linear      LinearCdf      |x| R::truth(x.abs() < R::of(0.5)), (Self::degree(x), Self::slope(x));
    Exponential ExponentialCdf |x| if x < R::ZERO { x.exp() } else { R::ZERO }, (Self::degree(x), Self::slope(x));
}

/// The branch-free exponential of programs, which a loop over columns vectorizes.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    Real::exp(x)
}

/// Partial sums side by side, in an order that does not depend on the instruction set.
#[inline(always)]
pub(super) fn sum_of(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += f(a[i], b[i]);
        }
    }
    let tail: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f(a, b)).sum();
    lanes.iter().sum::<f64>() + tail
}
