//! The expected greatest value among rows that are present by chance.

use super::Part;
use super::pairs::sort;

/// With the greatest value first: `V_i = w_i x_i + (1 - w_i) V_{i+1}`, which is the value; Q_i, the product of
/// (1 - w_j) over the rows before i; or V_{i+1}, for each row.
pub(super) fn extremum(part: Part, x: &[f64], w: &[f64], order: &mut [u32], out: &mut [f64]) -> f64 {
    sort(order, |a, b| x[b].total_cmp(&x[a]));
    if part == Part::Chance {
        let mut absent = 1.0;
        for &i in &*order {
            out[i as usize] = absent;
            absent *= 1.0 - w[i as usize];
        }
        return absent;
    }
    let mut rest = 0.0;
    for &i in order.iter().rev() {
        let i = i as usize;
        out[i] = rest;
        if w[i] > 0.0 {
            rest = w[i] * x[i] + (1.0 - w[i]) * rest;
        }
    }
    rest
}
