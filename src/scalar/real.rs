//! The two number types that programs run on, and the elementary functions as branch-free plain
//! arithmetic, so that a loop over them is vectorized on any instruction set and gives the same bits.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// `f32` or `f64`.
pub trait Real:
    Copy
    + Debug
    + Display
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    /// From 1 to the next greater number.
    const EPSILON: Self;

    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    /// e to the power of x; within 2 units in the last place, 0 and infinity beyond the range.
    fn exp(self) -> Self;
    /// The natural logarithm; within 2 units in the last place.
    fn ln(self) -> Self;
    /// ln(1 + x), accurate near 0.
    fn ln_1p(self) -> Self;
    fn exp_m1(self) -> Self;
    fn powf(self, exponent: Self) -> Self;

    #[inline(always)]
    fn truth(holds: bool) -> Self {
        if holds { Self::ONE } else { Self::ZERO }
    }
    /// The greater of two; NaN if either is.
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "only NaN is not itself")]
    fn max(self, other: Self) -> Self {
        if self > other || self != self { self } else { other }
    }
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "only NaN is not itself")]
    fn min(self, other: Self) -> Self {
        if self < other || self != self { self } else { other }
    }
    #[inline(always)]
    fn signum_or_zero(self) -> Self {
        if self > Self::ZERO {
            Self::ONE
        } else if self < Self::ZERO {
            -Self::ONE
        } else {
            self
        }
    }
    /// A function that is not worth a loop of its own, computed in double precision.
    #[inline(always)]
    fn via(self, f: impl Fn(f64) -> f64) -> Self {
        Self::of(f(self.wide()))
    }
    #[inline(always)]
    fn via2(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self::of(f(self.wide(), other.wide()))
    }
}

/// Cody and Waite (1980): x = n ln 2 + r, a polynomial in r, and n put into the exponent.
/// The sum with 1.5 * 2^(mantissa bits) rounds to the nearest integer and leaves it in the low bits.
/// The argument is kept between bounds whose own powers round to 0 and overflow; NaN passes through all of it.
macro_rules! exp_body {
    ($x:expr, $float:ty, $bits:ty, $shift:expr, $mantissa:expr, $bias:expr, $low:expr, $high:expr, $ln2_high:expr, $ln2_low:expr, [$first:expr $(, $c:expr)*]) => {{
        let x: $float = $x;
        let clamped = if x < $low { $low } else { x };
        let clamped = if clamped > $high { $high } else { clamped };
        let shifted = clamped * <$float>::of(std::f64::consts::LOG2_E) + $shift;
        let n = shifted - $shift;
        let r = (clamped - n * $ln2_high) - n * $ln2_low;
        let p: $float = $first;
        $(let p = p * r + $c;)*
        // 2^n in two factors, so that neither overflows on the way to a subnormal or to the largest number.
        let integer = (shifted.to_bits() as $bits).wrapping_sub($shift.to_bits() as $bits);
        let half = integer >> 1;
        let one = <$float>::from_bits((half.wrapping_add($bias) << $mantissa) as _);
        let two = <$float>::from_bits((integer.wrapping_sub(half).wrapping_add($bias) << $mantissa) as _);
        p * one * two
    }};
}

/// The argument is split into 2^e * m with m in [sqrt(1/2), sqrt(2)); with s = (m-1)/(m+1),
/// ln m = 2 s + s^3 * polynomial(s^2) (the scheme of FreeBSD's msun).
macro_rules! ln_body {
    ($x:expr, $float:ty, $bits:ty, $mantissa:expr, $bias:expr, $tiny:expr, $lift:expr, $lift_exponent:expr, $ln2_high:expr, $ln2_low:expr, [$first:expr $(, $c:expr)*]) => {{
        let x: $float = $x;
        let subnormal = x < $tiny;
        let lifted = if subnormal { x * $lift } else { x };
        let offset = if subnormal { $lift_exponent } else { 0.0 };
        let bits = lifted.to_bits() as $bits;
        let root_half = std::f64::consts::FRAC_1_SQRT_2 as $float;
        let exponent = bits.wrapping_sub(root_half.to_bits() as $bits) >> $mantissa;
        let m = <$float>::from_bits(bits.wrapping_sub(exponent << $mantissa) as _);
        let e = exponent as $float - offset;
        let f = m - 1.0;
        let s = f / (2.0 + f);
        let z = s * s;
        let p: $float = $first;
        $(let p = p * z + $c;)*
        let r = p * z;
        let half = 0.5 * f * f;
        let value = e * $ln2_high - ((half - (s * (half + r) + e * $ln2_low)) - f);
        let value = if x == <$float>::INFINITY { x } else { value };
        let value = if x == 0.0 { <$float>::NEG_INFINITY } else { value };
        if x < 0.0 || x != x { <$float>::NAN } else { value }
    }};
}

macro_rules! shared {
    ($float:ty) => {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
        const EPSILON: Self = <$float>::EPSILON;

        #[inline(always)]
        fn of(value: f64) -> Self {
            value as $float
        }
        #[inline(always)]
        fn wide(self) -> f64 {
            f64::from(self)
        }
        #[inline(always)]
        fn abs(self) -> Self {
            <$float>::abs(self)
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            <$float>::sqrt(self)
        }
        #[inline(always)]
        fn ln_1p(self) -> Self {
            // The rounding of 1 + x is mended by its first-order effect on the logarithm.
            let w = 1.0 + self;
            let value = Real::ln(w) + (self - (w - 1.0)) / w;
            if w == <$float>::INFINITY || w <= 0.0 { Real::ln(w) } else { value }
        }
        #[inline(always)]
        fn exp_m1(self) -> Self {
            <$float>::exp_m1(self)
        }
        #[inline(always)]
        fn powf(self, exponent: Self) -> Self {
            <$float>::powf(self, exponent)
        }
    };
}

impl Real for f32 {
    shared!(f32);

    #[inline(always)]
    fn exp(self) -> f32 {
        exp_body!(
            self,
            f32,
            i32,
            12_582_912.0f32,
            23,
            127,
            -104.0f32,
            88.8f32,
            0.693_359_4f32,
            -2.121_944_4e-4f32,
            [1.388_888_9e-3f32, 8.333_334e-3, 4.166_666_8e-2, 0.166_666_67, 0.5, 1.0, 1.0]
        )
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        ln_body!(
            self,
            f32,
            i32,
            23,
            127,
            f32::MIN_POSITIVE,
            33_554_432.0f32,
            25.0f32,
            0.693_138_1f32,
            9.058_001e-6f32,
            [0.242_790_79f32, 0.284_987_87, 0.400_009_72, 0.666_666_6]
        )
    }
}

impl Real for f64 {
    shared!(f64);

    #[inline(always)]
    fn exp(self) -> f64 {
        exp_body!(
            self,
            f64,
            i64,
            6_755_399_441_055_744.0f64,
            52,
            1023,
            -745.2f64,
            709.9f64,
            0.693_147_180_369_123_8f64,
            1.908_214_929_270_587_7e-10f64,
            [
                1.605_904_383_682_161_3e-10f64,
                2.087_675_698_786_81e-9,
                2.505_210_838_544_172e-8,
                2.755_731_922_398_589_3e-7,
                2.755_731_922_398_589e-6,
                2.480_158_730_158_73e-5,
                1.984_126_984_126_984e-4,
                1.388_888_888_888_889e-3,
                8.333_333_333_333_333e-3,
                4.166_666_666_666_666_4e-2,
                0.166_666_666_666_666_66,
                0.5,
                1.0,
                1.0
            ]
        )
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        ln_body!(
            self,
            f64,
            i64,
            52,
            1023,
            f64::MIN_POSITIVE,
            18_014_398_509_481_984.0f64,
            54.0f64,
            0.693_147_180_369_123_8f64,
            1.908_214_929_270_587_7e-10f64,
            [
                0.147_981_986_051_165_86f64,
                0.153_138_376_992_093_73,
                0.181_835_721_616_180_5,
                0.222_221_984_321_497_84,
                0.285_714_287_436_623_9,
                0.399_999_999_994_094_2,
                0.666_666_666_666_673_5
            ]
        )
    }
}

#[inline(always)]
pub(super) fn laplace_cdf<R: Real>(x: R) -> R {
    let tail = R::of(0.5) * (-x.abs()).exp();
    if x < R::ZERO { tail } else { R::ONE - tail }
}

/// Below -1 by the arc of the reciprocal, so that a small tail keeps all its digits.
pub(super) fn cauchy_cdf(x: f64) -> f64 {
    if x < -1.0 { (-1.0 / x).atan() / std::f64::consts::PI } else { 0.5 + x.atan() / std::f64::consts::PI }
}

/// The error function by the series of Abramowitz and Stegun 7.1.6 near 0 and the continued
/// fraction 7.1.14 of its complement beyond; relative error below 1e-15.
pub(super) fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum
    } else if a < 6.0 {
        let mut fraction = a;
        for n in (1..=60).rev() {
            fraction = a + 0.5 * f64::from(n) / fraction;
        }
        1.0 - 0.5 * std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() / fraction
    } else if a.is_nan() {
        return x;
    } else {
        1.0
    };
    value.copysign(x)
}

pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, theirs: f64, ulps: f64, epsilon: f64) -> bool {
        ours == theirs || (ours.is_nan() && theirs.is_nan()) || (ours - theirs).abs() <= ulps * epsilon * theirs.abs()
    }

    #[test]
    fn exp_and_ln_are_within_three_units_in_the_last_place_and_right_at_the_edges() {
        for i in -200_000..200_000 {
            let x = f64::from(i) * 0.0037 + 1e-7;
            assert!(close(Real::exp(x), x.exp(), 3.0, f64::EPSILON) || x.exp() < 1e-300, "exp({x})");
            let s = x as f32;
            assert!(close(Real::exp(s).wide(), s.exp().wide(), 3.0, f64::from(f32::EPSILON)) || s.exp() < 1e-37, "exp({s}f32)");
            let p = (f64::from(i) * 0.003).exp();
            assert!(close(Real::ln(p), p.ln(), 3.0, f64::EPSILON), "ln({p})");
            let q = p as f32;
            assert!(close(Real::ln(q).wide(), q.ln().wide(), 3.0, f64::from(f32::EPSILON)), "ln({q}f32)");
        }
        for x in [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0, 1e308, 1e-308, 5e-324, 709.0, 710.0, -744.0, -746.0] {
            assert!(close(Real::exp(x), x.exp(), 4.0, f64::EPSILON), "exp({x}) = {}", Real::exp(x));
            assert!(close(Real::ln(x), x.ln(), 3.0, f64::EPSILON), "ln({x}) = {}", Real::ln(x));
        }
        for x in [1e-18, -1e-18, 1e-5, -1e-5, 0.3, -0.99, 40.0, -1.0, f64::INFINITY] {
            assert!(close(Real::ln_1p(x), x.ln_1p(), 4.0, f64::EPSILON), "ln_1p({x})");
        }
    }

    #[test]
    fn erf_agrees_with_published_values() {
        for (x, y) in
            [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7), (3.0, 0.999_977_909_503_001_4)]
        {
            assert!((erf(x) - y).abs() < 1e-15 && (erf(-x) + y).abs() < 1e-15);
        }
    }
}
