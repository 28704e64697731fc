//! The expected greatest value among rows that are present by chance.

use super::Part;
use super::pairs::sort;

/// With the greatest value first: `V_i = w_i x_i + (1 - w_i) V_{i+1}`, which is the value; for each row Q_i, the product of
/// (1 - w_j) over the rows before i; or Q_i (x_i - V_{i+1}).
pub(super) fn extremum(part: Part, x: &[f64], w: &[f64], order: &mut [u32], out: &mut [f64]) -> f64 {
    sort(order, |a, b| x[b].total_cmp(&x[a]));
    let mut rest = 0.0;
    if part != Part::Chance {
        for &i in order.iter().rev() {
            let i = i as usize;
            out[i] = x[i] - rest;
            if w[i] > 0.0 {
                rest = w[i] * x[i] + (1.0 - w[i]) * rest;
            }
        }
    }
    if part != Part::Value {
        let mut absent = 1.0;
        for &i in &*order {
            let i = i as usize;
            out[i] = if part == Part::Chance { absent } else { absent * out[i] };
            absent *= 1.0 - w[i];
        }
    }
    rest
}
