//! One line per scalar function: its name, its value, its slope, and where it holds; and what a function of the application is.
//! This room never hears of columns, programs or SQL; it is a handbook page.
//!
//! Slopes are written over [`Field`], so the same line gives a number (for the laws) and a program
//! (for the backward pass, and for derivatives of any order).

mod arguments;
mod function;
mod real;

pub use arguments::{Arguments, Cotangents};
pub use function::{DifferentiableFunction, Function, FunctionType};
pub use real::Real;

/// What slopes are written in: numbers, or expressions of a program.
pub trait Field: Copy {
    fn constant(self, value: f64) -> Self;
    fn unary(self, function: Unary) -> Self;
    fn binary(self, function: Binary, other: Self) -> Self;
}

/// How a function may be used on a live path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slope {
    /// Differentiable wherever it holds.
    Smooth,
    /// Continuous, with a one-sided slope at isolated points.
    Kinked,
    /// Flat with jumps: its slope is zero wherever it exists, so it is refused on a live path.
    Step,
}

/// A closed interval of arguments, as sampled by the laws.
pub type Interval = (f64, f64);

macro_rules! unary_functions {
    ($($variant:ident $name:literal |$x:ident| $value:expr; |$sx:ident, $sy:ident| $slope:expr; $kind:ident $holds:expr;)*) => {
        /// A function of one number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Unary { $($variant),* }

        impl Unary {
            pub const ALL: &'static [Unary] = &[$(Unary::$variant),*];

            /// The SQL name.
            pub fn name(self) -> &'static str {
                match self { $(Unary::$variant => $name),* }
            }

            pub fn slope_kind(self) -> Slope {
                match self { $(Unary::$variant => Slope::$kind),* }
            }

            /// Arguments for which the value and the slope are finite.
            pub fn holds(self) -> Interval {
                match self { $(Unary::$variant => $holds),* }
            }

            #[inline(always)]
            pub fn value<R: Real>(self, x: R) -> R {
                match self { $(Unary::$variant => { let $x = x; $value })* }
            }

            /// The derivative at `x`, where the value is `y`.
            #[allow(unused_variables)]
            pub fn slope<A: Field>(self, x: A, y: A) -> A {
                match self { $(Unary::$variant => { let ($sx, $sy) = (x, y); $slope })* }
            }

            /// Runs `out[i] = f(x[i])`, one plain loop per function.
            #[inline(always)]
            pub fn map<R: Real>(self, x: &[R], out: &mut [R]) {
                match self { $(Unary::$variant => for (o, &$x) in out.iter_mut().zip(x) { *o = $value; })* }
            }
        }
    };
}

const ALL: Interval = (-20.0, 20.0);
const POSITIVE: Interval = (1e-3, 50.0);
const UNIT: Interval = (-0.99, 0.99);

// In slopes, `x` is the argument and `y` the value; `k(x, c)` is the constant c.
unary_functions! {
    // variant     SQL name         value                                                   slope                                                    kind, holds for
    Negate         "negate"         |x| -x;                                                 |x, y| k(x, -1.0);                                       Smooth ALL;
    Abs            "abs"            |x| x.abs();                                            |x, y| x.unary(Unary::Signum);                           Kinked ALL;
    Exp            "exp"            |x| x.exp();                                            |x, y| y;                                                Smooth ALL;
    Ln             "ln"             |x| x.ln();                                             |x, y| div(k(x, 1.0), x);                                Smooth POSITIVE;
    Log2           "log2"           |x| x.ln() * R::of(std::f64::consts::LOG2_E);           |x, y| div(k(x, std::f64::consts::LOG2_E), x);           Smooth POSITIVE;
    Log10          "log10"          |x| x.ln() * R::of(std::f64::consts::LOG10_E);          |x, y| div(k(x, std::f64::consts::LOG10_E), x);          Smooth POSITIVE;
    Sqrt           "sqrt"           |x| x.sqrt();                                           |x, y| div(k(x, 0.5), y);                                Smooth POSITIVE;
    Cbrt           "cbrt"           |x| x.via(f64::cbrt);                                   |x, y| div(k(x, 1.0 / 3.0), mul(y, y));                  Smooth POSITIVE;
    Sin            "sin"            |x| x.via(f64::sin);                                    |x, y| x.unary(Unary::Cos);                              Smooth ALL;
    Cos            "cos"            |x| x.via(f64::cos);                                    |x, y| neg(x.unary(Unary::Sin));                         Smooth ALL;
    Tan            "tan"            |x| x.via(f64::tan);                                    |x, y| add(k(x, 1.0), mul(y, y));                        Smooth (-1.5, 1.5);
    Cot            "cot"            |x| x.via(|v| 1.0 / v.tan());                           |x, y| neg(add(k(x, 1.0), mul(y, y)));                   Smooth (0.1, 3.0);
    Asin           "asin"           |x| x.via(f64::asin);                                   |x, y| div(k(x, 1.0), sqrt(sub(k(x, 1.0), mul(x, x))));  Smooth UNIT;
    Acos           "acos"           |x| x.via(f64::acos);                                   |x, y| div(k(x, -1.0), sqrt(sub(k(x, 1.0), mul(x, x)))); Smooth UNIT;
    Atan           "atan"           |x| x.via(f64::atan);                                   |x, y| div(k(x, 1.0), add(k(x, 1.0), mul(x, x)));        Smooth ALL;
    Sinh           "sinh"           |x| x.via(f64::sinh);                                   |x, y| x.unary(Unary::Cosh);                             Smooth (-10.0, 10.0);
    Cosh           "cosh"           |x| x.via(f64::cosh);                                   |x, y| x.unary(Unary::Sinh);                             Smooth (-10.0, 10.0);
    Tanh           "tanh"           |x| x.via(f64::tanh);                                   |x, y| sub(k(x, 1.0), mul(y, y));                        Smooth ALL;
    Asinh          "asinh"          |x| x.via(f64::asinh);                                  |x, y| div(k(x, 1.0), sqrt(add(mul(x, x), k(x, 1.0))));  Smooth ALL;
    Acosh          "acosh"          |x| x.via(f64::acosh);                                  |x, y| div(k(x, 1.0), sqrt(sub(mul(x, x), k(x, 1.0))));  Smooth (1.1, 50.0);
    Atanh          "atanh"          |x| x.via(f64::atanh);                                  |x, y| div(k(x, 1.0), sub(k(x, 1.0), mul(x, x)));        Smooth UNIT;
    Radians        "radians"        |x| x * R::of(std::f64::consts::PI / 180.0);            |x, y| k(x, std::f64::consts::PI / 180.0);               Smooth ALL;
    Degrees        "degrees"        |x| x * R::of(180.0 / std::f64::consts::PI);            |x, y| k(x, 180.0 / std::f64::consts::PI);               Smooth ALL;
    Erf            "erf"            |x| x.via(real::erf);                                   |x, y| mul(k(x, FRAC_2_SQRT_PI), neg(mul(x, x)).unary(Unary::Exp)); Smooth ALL;
    Sigmoid        "sigmoid"        |x| R::ONE / (R::ONE + (-x).exp());                     |x, y| y.unary(Unary::SigmoidSlope);                     Smooth ALL;
    Relu           "relu"           |x| x.max(R::ZERO);                                     |x, y| x.binary(Binary::Greater, k(x, 0.0));             Kinked ALL;
    Gelu           "gelu"           |x| x.via(real::gelu);                                  |x, y| gelu_slope(x);                                    Smooth ALL;
    Softplus       "softplus"       |x| x.max(R::ZERO) + (-x.abs()).exp().ln_1p();          |x, y| x.unary(Unary::Sigmoid);                          Smooth ALL;
    LaplaceCdf     "laplace_cdf"    |x| real::laplace_cdf(x);                               |x, y| y.binary(Binary::Least, sub(k(x, 1.0), y));          Smooth ALL;
    CauchyCdf      "cauchy_cdf"     |x| x.via(real::cauchy_cdf);                             |x, y| div(k(x, std::f64::consts::FRAC_1_PI), add(k(x, 1.0), mul(x, x))); Smooth ALL;
    LinearCdf      "linear_cdf"     |x| (x + R::of(0.5)).max(R::ZERO).min(R::ONE);          |x, y| x.unary(Unary::Abs).binary(Binary::Less, k(x, 0.5)); Kinked ALL;
    ExponentialCdf "exponential_cdf" |x| x.min(R::ZERO).exp();                              |x, y| mul(y, x.binary(Binary::Less, k(x, 0.0)));        Kinked ALL;
    LnOneMinus     "ln_one_minus"   |x| (-x).ln_1p();                                       |x, y| div(k(x, 1.0), sub(x, k(x, 1.0)));                Smooth (-20.0, 0.99);
    OneMinusExp    "one_minus_exp"  |x| -x.exp_m1();                                        |x, y| sub(y, k(x, 1.0));                                Smooth ALL;
    SigmoidSlope   "sigmoid_slope"  |y| y * (R::ONE - y);                                   |x, y| sub(k(x, 1.0), add(x, x));                        Smooth ALL;
    Signum         "signum"         |x| x.signum_or_zero();                                 |x, y| k(x, 0.0);                                        Step ALL;
    Floor          "floor"          |x| x.via(f64::floor);                                  |x, y| k(x, 0.0);                                        Step ALL;
    Ceil           "ceil"           |x| x.via(f64::ceil);                                   |x, y| k(x, 0.0);                                        Step ALL;
    Round          "round"          |x| x.via(f64::round);                                  |x, y| k(x, 0.0);                                        Step ALL;
    Trunc          "trunc"          |x| x.via(f64::trunc);                                  |x, y| k(x, 0.0);                                        Step ALL;
}

impl Unary {
    /// Whether it is computed by one or two operations.
    pub fn is_light(self) -> bool {
        use Unary::*;
        let rounds = matches!(self, Signum | Floor | Ceil | Round | Trunc);
        rounds || matches!(self, Negate | Abs | Sqrt | Radians | Degrees | Relu | LinearCdf | SigmoidSlope)
    }
}

macro_rules! binary_functions {
    ($($variant:ident $name:literal |$a:ident, $b:ident| $value:expr; |$sa:ident, $sb:ident, $sy:ident| ($left:expr, $right:expr); $kind:ident;)*) => {
        /// A function of two numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Binary { $($variant),* }

        impl Binary {
            pub const ALL: &'static [Binary] = &[$(Binary::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(Binary::$variant => $name),* }
            }

            pub fn slope_kind(self) -> Slope {
                match self { $(Binary::$variant => Slope::$kind),* }
            }

            #[inline(always)]
            pub fn value<R: Real>(self, a: R, b: R) -> R {
                match self { $(Binary::$variant => { let ($a, $b) = (a, b); $value })* }
            }

            /// The derivatives with respect to `a` and to `b`, where the value is `y`.
            #[allow(unused_variables)]
            pub fn slopes<A: Field>(self, a: A, b: A, y: A) -> (A, A) {
                match self { $(Binary::$variant => { let ($sa, $sb, $sy) = (a, b, y); ($left, $right) })* }
            }

            /// Runs `out[i] = f(a[i], b[i])`; a one-element slice stands for all lanes.
            #[inline(always)]
            pub fn map<R: Real>(self, a: &[R], b: &[R], out: &mut [R]) {
                match self { $(Binary::$variant => {
                    if a.len() == out.len() && b.len() == out.len() {
                        for ((o, &$a), &$b) in out.iter_mut().zip(a).zip(b) { *o = $value; }
                    } else if a.len() == out.len() {
                        let $b = b[0];
                        for (o, &$a) in out.iter_mut().zip(a) { *o = $value; }
                    } else if b.len() == out.len() {
                        let $a = a[0];
                        for (o, &$b) in out.iter_mut().zip(b) { *o = $value; }
                    } else {
                        let ($a, $b) = (a[0], b[0]);
                        out.fill($value);
                    }
                })* }
            }
        }
    };
}

binary_functions! {
    // variant    SQL name       value                                        slopes with respect to a and to b                                                              kind
    Add           "+"            |a, b| a + b;                                |a, b, y| (k(a, 1.0), k(a, 1.0));                                                              Smooth;
    Subtract      "-"            |a, b| a - b;                                |a, b, y| (k(a, 1.0), k(a, -1.0));                                                             Smooth;
    Multiply      "*"            |a, b| a * b;                                |a, b, y| (b, a);                                                                              Smooth;
    Divide        "/"            |a, b| a / b;                                |a, b, y| (div(k(a, 1.0), b), neg(div(y, b)));                                                 Smooth;
    Power         "power"        |a, b| a.powf(b);                            |a, b, y| (mul(b, a.binary(Binary::Power, sub(b, k(b, 1.0)))), y.binary(Binary::Gate, a.unary(Unary::Ln))); Smooth;
    Atan2         "atan2"        |a, b| a.via2(b, f64::atan2);                |a, b, y| (div(b, add(mul(a, a), mul(b, b))), neg(div(a, add(mul(a, a), mul(b, b)))));         Smooth;
    Greatest      "greatest"     |a, b| a.max(b);                             |a, b, y| (not(b.binary(Binary::Greater, a)), b.binary(Binary::Greater, a));                   Kinked;
    Least         "least"        |a, b| a.min(b);                             |a, b, y| (not(b.binary(Binary::Less, a)), b.binary(Binary::Less, a));                         Kinked;
    Gate          "gate"         |a, b| if a == R::ZERO { R::ZERO } else { a * b }; |a, b, y| (b, a);                                                                        Smooth;
    AndNot        "and_not"      |a, b| a * (R::ONE - b);                     |a, b, y| (not(b), neg(a));                                                                    Smooth;
    SigmoidBack   "sigmoid_back" |a, b| a * (b * (R::ONE - b));               |a, b, y| (b.unary(Unary::SigmoidSlope), mul(a, sub(k(b, 1.0), add(b, b))));                    Smooth;
    Greater       ">"            |a, b| R::truth(a > b);                      |a, b, y| (k(a, 0.0), k(a, 0.0));                                                              Step;
    GreaterEqual  ">="           |a, b| R::truth(a >= b);                     |a, b, y| (k(a, 0.0), k(a, 0.0));                                                              Step;
    Less          "<"            |a, b| R::truth(a < b);                      |a, b, y| (k(a, 0.0), k(a, 0.0));                                                              Step;
    Equal         "="            |a, b| R::truth(a == b);                     |a, b, y| (k(a, 0.0), k(a, 0.0));                                                              Step;
}

const FRAC_2_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;

fn k<A: Field>(like: A, value: f64) -> A {
    like.constant(value)
}
fn add<A: Field>(a: A, b: A) -> A {
    a.binary(Binary::Add, b)
}
fn sub<A: Field>(a: A, b: A) -> A {
    a.binary(Binary::Subtract, b)
}
fn mul<A: Field>(a: A, b: A) -> A {
    a.binary(Binary::Multiply, b)
}
fn div<A: Field>(a: A, b: A) -> A {
    a.binary(Binary::Divide, b)
}
fn neg<A: Field>(a: A) -> A {
    a.unary(Unary::Negate)
}
fn not<A: Field>(a: A) -> A {
    sub(k(a, 1.0), a)
}
fn sqrt<A: Field>(a: A) -> A {
    a.unary(Unary::Sqrt)
}

/// Hendrycks and Gimpel (2016): the normal distribution function times x.
fn gelu_slope<A: Field>(x: A) -> A {
    let scaled = mul(x, k(x, std::f64::consts::FRAC_1_SQRT_2));
    let cdf = mul(k(x, 0.5), add(k(x, 1.0), scaled.unary(Unary::Erf)));
    let density = mul(k(x, 0.5 * FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2), neg(mul(scaled, scaled)).unary(Unary::Exp));
    add(cdf, mul(x, density))
}

impl Field for f64 {
    fn constant(self, value: f64) -> f64 {
        value
    }
    fn unary(self, function: Unary) -> f64 {
        function.value(self)
    }
    fn binary(self, function: Binary, other: f64) -> f64 {
        function.value(self, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples((low, high): Interval) -> impl Iterator<Item = f64> {
        (0..=200).map(move |i| low + (high - low) * (f64::from(i) + 0.37) / 201.0)
    }

    #[test]
    fn every_slope_is_the_central_difference() {
        for &f in Unary::ALL {
            for x in samples(f.holds()) {
                if f.slope_kind() != Slope::Smooth && (x.abs() < 1e-3 || ((x.abs() - 0.5).abs() < 1e-3) || (x - x.round()).abs() < 1e-3) {
                    continue;
                }
                let h = 1e-5 * x.abs().max(1.0);
                let difference = (f.value(x + h) - f.value(x - h)) / (2.0 * h);
                let slope = f.slope(x, f.value(x));
                assert!(
                    (slope - difference).abs() <= 1e-6 * slope.abs().max(1.0),
                    "{} at {x}: slope {slope}, difference {difference}",
                    f.name()
                );
            }
        }
        for &f in Binary::ALL {
            for a in samples((0.1, 4.0)).step_by(7) {
                for b in samples((0.15, 3.9)).step_by(11) {
                    if (a - b).abs() < 1e-2 {
                        continue;
                    }
                    let h = 1e-5;
                    let (left, right) = f.slopes(a, b, f.value(a, b));
                    let dl = (f.value(a + h, b) - f.value(a - h, b)) / (2.0 * h);
                    let dr = (f.value(a, b + h) - f.value(a, b - h)) / (2.0 * h);
                    assert!((left - dl).abs() <= 1e-6 * left.abs().max(1.0), "{} left at {a}, {b}", f.name());
                    assert!((right - dr).abs() <= 1e-6 * right.abs().max(1.0), "{} right at {a}, {b}", f.name());
                }
            }
        }
    }

    #[test]
    fn the_vector_loops_give_the_same_bits_as_the_scalar_values() {
        for &f in Unary::ALL {
            let x: Vec<f64> = samples(f.holds()).collect();
            let mut out = vec![0.0; x.len()];
            f.map(&x, &mut out);
            assert!(x.iter().zip(&out).all(|(&x, o)| f.value(x).to_bits() == o.to_bits()), "{}", f.name());
        }
    }
}
