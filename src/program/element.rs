//! Numbers that programs are made of, with the loops over a chunk that are compiled by themselves for each number type and instruction
//! set: among all the other instructions the compiler would not keep their sums in registers.

use super::loops;
use crate::scalar::{Real, Unary};
use multiversion::multiversion;
use ndarray::LinalgScalar;

/// A number type of programs.
pub trait Element: Real + LinalgScalar {
    #[doc(hidden)]
    fn sum(x: &[Self]) -> Self;
    #[doc(hidden)]
    fn sum_of_products(a: &[Self], b: &[Self]) -> Self;
    /// function((a - b) * unit), of a sigmoid or a Laplace distribution function; a one-element slice stands for all lanes.
    #[doc(hidden)]
    fn degrees(function: Unary, a: &[Self], b: &[Self], unit: Self, out: &mut [Self]);
}

macro_rules! element {
    ($float:ty, $sum:ident, $products:ident, $degrees:ident) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $sum(x: &[$float]) -> $float {
            loops::sum(x)
        }

        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $products(a: &[$float], b: &[$float]) -> $float {
            loops::sum_of_products(a, b)
        }

        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
        fn $degrees(function: Unary, a: &[$float], b: &[$float], unit: $float, out: &mut [$float]) {
            match function {
                Unary::LaplaceCdf => degrees(|x| Unary::LaplaceCdf.value(x), a, b, unit, out),
                Unary::Sigmoid => degrees(|x| Unary::Sigmoid.value(x), a, b, unit, out),
                other => unreachable!("{} of a margin is written out", other.name()),
            }
        }

        impl Element for $float {
            fn sum(x: &[$float]) -> $float {
                $sum(x)
            }
            fn sum_of_products(a: &[$float], b: &[$float]) -> $float {
                $products(a, b)
            }
            fn degrees(function: Unary, a: &[$float], b: &[$float], unit: $float, out: &mut [$float]) {
                $degrees(function, a, b, unit, out)
            }
        }
    };
}

element!(f32, sum_f32, products_f32, degrees_f32);
element!(f64, sum_f64, products_f64, degrees_f64);

/// f((a - b) * unit); a one-element slice stands for all lanes.
#[inline(always)]
fn degrees<R: Real>(f: impl Fn(R) -> R, a: &[R], b: &[R], unit: R, out: &mut [R]) {
    if a.len() == out.len() && b.len() == out.len() {
        for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *o = f((a - b) * unit);
        }
    } else if a.len() == out.len() {
        let b = b[0];
        for (o, &a) in out.iter_mut().zip(a) {
            *o = f((a - b) * unit);
        }
    } else {
        let a = a[0];
        for (o, &b) in out.iter_mut().zip(b) {
            *o = f((a - b) * unit);
        }
    }
}
