//! The sets that CHECK constraints keep parameters in: after every step each row is moved to the nearest point of its set.

use crate::scalar::Real;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Projection {
    /// Every element between two bounds.
    Box { lower: f64, upper: f64 },
    /// Euclidean length 1.
    UnitNorm,
    /// Not negative, with sum 1.
    Simplex,
}

impl Projection {
    /// Projects each row of `width` elements.
    pub fn apply<R: Real>(&self, values: &mut [R], width: usize) {
        match *self {
            Projection::Box { lower, upper } => {
                let (low, high) = (at_least::<R>(lower), at_most::<R>(upper));
                for x in values {
                    *x = x.max(low).min(high);
                }
            }
            Projection::UnitNorm => values.chunks_exact_mut(width).for_each(unit),
            Projection::Simplex => values.chunks_exact_mut(width).for_each(simplex),
        }
    }
}

/// The bound in the column's type, never outside the bound as it was written.
fn at_least<R: Real>(bound: f64) -> R {
    let near = R::of(bound);
    if near.wide() < bound { R::of(next(bound, near, 1.0)) } else { near }
}

fn at_most<R: Real>(bound: f64) -> R {
    let near = R::of(bound);
    if near.wide() > bound { R::of(next(bound, near, -1.0)) } else { near }
}

/// A little past the rounding of a bound, on its inner side.
fn next<R: Real>(bound: f64, near: R, direction: f64) -> f64 {
    near.wide() + direction * (bound - near.wide()).abs().max(f64::from(f32::EPSILON) * bound.abs()) * 2.0
}

fn unit<R: Real>(row: &mut [R]) {
    let length = row.iter().map(|x| x.wide() * x.wide()).sum::<f64>().sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|x| *x = R::of(x.wide() / length));
    } else if let Some(first) = row.first_mut() {
        // All points of the sphere are equally near to its centre.
        *first = R::ONE;
    }
}

/// Duchi et al. (2008): subtract the one shift that leaves the positive part with sum 1.
fn simplex<R: Real>(row: &mut [R]) {
    let mut sorted: Vec<f64> = row.iter().map(|x| x.wide()).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (i, x) in sorted.iter().enumerate() {
        sum += x;
        let candidate = (sum - 1.0) / (i + 1) as f64;
        if x - candidate > 0.0 {
            shift = candidate;
        }
    }
    row.iter_mut().for_each(|x| *x = R::of((x.wide() - shift).max(0.0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_are_inside_their_sets_and_leave_them_in_place() {
        let mut v = [3.0f64, -1.0, 0.25, 0.9];
        Projection::Box { lower: 0.0, upper: 1.0 }.apply(&mut v, 1);
        assert_eq!(v, [1.0, 0.0, 0.25, 0.9]);
        let mut v = [0.5f64, 0.8, -0.3, 0.2];
        Projection::Simplex.apply(&mut v, 4);
        assert!((v.iter().sum::<f64>() - 1.0).abs() < 1e-12 && v.iter().all(|x| *x >= 0.0));
        let before = v;
        Projection::Simplex.apply(&mut v, 4);
        assert!(before.iter().zip(&v).all(|(a, b)| (a - b).abs() < 1e-15));
        let mut v = [3.0f32, 4.0, 0.0, 0.0];
        Projection::UnitNorm.apply(&mut v, 2);
        assert_eq!(v, [0.6, 0.8, 1.0, 0.0]);
        let mut v = [0.0f32, 1.0];
        Projection::Box { lower: 0.1, upper: 0.7 }.apply(&mut v, 1);
        assert!(f64::from(v[0]) >= 0.1 && f64::from(v[1]) <= 0.7);
    }
}
