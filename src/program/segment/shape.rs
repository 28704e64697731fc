//! The distribution functions of a gap and their slopes, accurate in both tails, and sums over columns of them.

use crate::scalar::{Real, Unary};

pub(super) trait Shape {
    fn degree(x: f64) -> f64;
    fn slope(x: f64) -> f64;
    /// Degree and slope, by one exponential.
    fn both(x: f64) -> (f64, f64);
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
            fn degree(x: f64) -> f64 {
                Unary::$unary.value(x)
            }
            #[inline(always)]
            fn slope($x: f64) -> f64 {
                $slope
            }
            #[inline(always)]
            fn both($x: f64) -> (f64, f64) {
                $both
            }
        })*
    };
}

shapes! {
    Logistic    Sigmoid        |x| { let e = exp(-x.abs()); e / ((1.0 + e) * (1.0 + e)) },
        { let e = exp(-x.abs()); let d = 1.0 / (1.0 + e); (if x < 0.0 { e * d } else { d }, e * d * d) };
    Laplace     LaplaceCdf     |x| 0.5 * exp(-x.abs()),
        { let f = 0.5 * exp(-x.abs()); (if x < 0.0 { f } else { 1.0 - f }, f) };
    Cauchy      CauchyCdf      |x| std::f64::consts::FRAC_1_PI / (1.0 + x * x), (Self::degree(x), Self::slope(x));
    Linear      LinearCdf      |x| f64::truth(x.abs() < 0.5), (Self::degree(x), Self::slope(x));
    Exponential ExponentialCdf |x| if x < 0.0 { exp(x) } else { 0.0 }, (Self::degree(x), Self::slope(x));
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
