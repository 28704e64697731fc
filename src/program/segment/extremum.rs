//! The expected greatest value among rows that are present by chance.

use super::Part;
use crate::scalar::Real;

/// With the greatest value first: `V_i = w_i x_i + (1 - w_i) V_{i+1}`, which is the value; for each row Q_i, the product of
/// (1 - w_j) over the rows before i; or Q_i (x_i - V_{i+1}). `order` has the greatest value first.
pub(super) fn extremum<R: Real>(part: Part, x: &[R], w: &[R], order: &[u32], out: &mut [R]) -> f64 {
    let mut rest = 0.0;
    if part != Part::Chance {
        for &i in order.iter().rev() {
            let i = i as usize;
            let (x, w) = (x[i].wide(), w[i].wide());
            if part == Part::Gain {
                out[i] = R::of(x - rest);
            }
            if w > 0.0 {
                rest = w * x + (1.0 - w) * rest;
            }
        }
    }
    if part != Part::Value {
        let mut absent = 1.0;
        for &i in order {
            let i = i as usize;
            out[i] = R::of(if part == Part::Chance { absent } else { absent * out[i].wide() });
            absent *= 1.0 - w[i].wide();
        }
    }
    rest
}
