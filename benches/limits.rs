//! The limit of each work: the same arithmetic as a hand-written loop over plain arrays, with Adam.
//! Same number type, same elementary functions, the instruction set chosen at run time, one thread.

use multiversion::multiversion;
use nabladb::scalar::Real;

/// Adam over one array of parameters.
pub struct Adam {
    m: Vec<f32>,
    v: Vec<f32>,
    steps: i32,
    rate: f32,
}

impl Adam {
    pub fn new(n: usize, rate: f32) -> Self {
        Self { m: vec![0.0; n], v: vec![0.0; n], steps: 0, rate }
    }

    pub fn step(&mut self, x: &mut [f32], g: &[f32]) {
        self.steps += 1;
        let rate = self.rate / (1.0 - 0.9f32.powi(self.steps));
        let correction = 1.0 / (1.0 - 0.999f32.powi(self.steps)).sqrt();
        for (((x, &g), m), v) in x.iter_mut().zip(g).zip(&mut self.m).zip(&mut self.v) {
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            *x -= rate * *m / (v.sqrt() * correction + 1e-8);
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (x, y) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x.zip(y) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

#[inline(always)]
fn add_scaled(out: &mut [f32], s: f32, x: &[f32]) {
    for (o, x) in out.iter_mut().zip(x) {
        *o += s * x;
    }
}

/// Mean squared error of inner products and its gradient with respect to both tables.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
#[allow(clippy::too_many_arguments)]
pub fn factorize(d: usize, u: &[u32], i: &[u32], r: &[f32], users: &[f32], items: &[f32], gu: &mut [f32], gi: &mut [f32]) -> f64 {
    gu.fill(0.0);
    gi.fill(0.0);
    let scale = 2.0 / r.len() as f32;
    let mut loss = 0.0f64;
    for ((&u, &i), &r) in u.iter().zip(i).zip(r) {
        let (u, i) = (u as usize * d, i as usize * d);
        let e = dot(&users[u..u + d], &items[i..i + d]) - r;
        loss += f64::from(e * e);
        add_scaled(&mut gu[u..u + d], e * scale, &items[i..i + d]);
        add_scaled(&mut gi[i..i + d], e * scale, &users[u..u + d]);
    }
    loss / r.len() as f64
}

/// Mean cross-entropy of a linear score and its gradient; the matrix is read once.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
pub fn logistic(d: usize, x: &[f32], y: &[f32], w: &[f32], g: &mut [f32]) -> f64 {
    const ROWS: usize = 256;
    g.fill(0.0);
    let scale = 1.0 / y.len() as f32;
    let mut loss = 0.0f64;
    let mut s = [0.0f32; ROWS];
    for (x, y) in x.chunks(ROWS * d).zip(y.chunks(ROWS)) {
        for (s, x) in s.iter_mut().zip(x.chunks_exact(d)) {
            *s = dot(x, w);
        }
        let mut part = [0.0f32; 16];
        for (s, y) in s[..y.len()].chunks_mut(16).zip(y.chunks(16)) {
            for ((p, s), &y) in part.iter_mut().zip(s).zip(y) {
                let z = *s;
                *p += Real::max(z, 0.0) + Real::ln_1p(Real::exp(-z.abs())) - y * z;
                *s = (1.0 / (1.0 + Real::exp(-z)) - y) * scale;
            }
        }
        loss += f64::from(part.iter().sum::<f32>());
        for (s, x) in s.iter().zip(x.chunks_exact(d)) {
            add_scaled(g, *s, x);
        }
    }
    loss / y.len() as f64
}

/// F1 of a soft conjunction of `K` thresholds and its gradient, in one pass.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
pub fn threshold(x: &[Vec<f32>; 5], y: &[f32], actual: f32, c: &[f32; 5], unit: &[f32; 5], g: &mut [f32; 5]) -> f64 {
    const LANES: usize = 16;
    let mut hits = [0.0f32; LANES];
    let mut found = [0.0f32; LANES];
    let mut of_hits = [[0.0f32; LANES]; 5];
    let mut of_found = [[0.0f32; LANES]; 5];
    let (mut hit_sum, mut found_sum, mut hit_slopes, mut found_slopes) = (0.0f64, 0.0f64, [0.0f64; 5], [0.0f64; 5]);
    let rows = y.len() / LANES * LANES;
    for start in (0..rows).step_by(LANES) {
        let mut d = [[0.0f32; LANES]; 5];
        for k in 0..5 {
            let x = &x[k][start..start + LANES];
            for l in 0..LANES {
                d[k][l] = 1.0 / (1.0 + Real::exp(-(x[l] - c[k]) * unit[k]));
            }
        }
        let y = &y[start..start + LANES];
        let mut w = [1.0f32; LANES];
        for degrees in &d {
            for l in 0..LANES {
                w[l] *= degrees[l];
            }
        }
        for l in 0..LANES {
            hits[l] += w[l] * y[l];
            found[l] += w[l];
        }
        for k in 0..5 {
            for l in 0..LANES {
                // d w / d c = -w (1 - d) / (T s)
                let q = w[l] * (1.0 - d[k][l]);
                of_hits[k][l] += q * y[l];
                of_found[k][l] += q;
            }
        }
        if start % 1024 == 1024 - LANES || start + LANES == rows {
            hit_sum += f64::from(std::mem::take(&mut hits).iter().sum::<f32>());
            found_sum += f64::from(std::mem::take(&mut found).iter().sum::<f32>());
            for k in 0..5 {
                hit_slopes[k] += f64::from(std::mem::take(&mut of_hits[k]).iter().sum::<f32>());
                found_slopes[k] += f64::from(std::mem::take(&mut of_found[k]).iter().sum::<f32>());
            }
        }
    }
    let whole = found_sum + f64::from(actual);
    for k in 0..5 {
        let slope = 2.0 * hit_slopes[k] / whole - 2.0 * hit_sum * found_slopes[k] / (whole * whole);
        g[k] = (-slope * f64::from(unit[k])) as f32;
    }
    2.0 * hit_sum / whole
}

/// `SUM(n + s + a + m)` over groups of equal size, with the COUNT, SUM, AVG and expected MAX of the rows that pass a soft
/// threshold, each group weighted by its presence; and its slope. `order` holds each group's rows, the greatest `x` first: `x`
/// is frozen, so that a loop sorts once and not in each step.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
pub fn uncertain_count(size: usize, score: &[f32], x: &[f32], order: &[u32], c: f32, unit: f32) -> (f64, f32) {
    const LANES: usize = 16;
    let (mut w, mut gain) = (vec![0.0f32; size], vec![0.0f32; size]);
    let (mut value, mut slope) = (0.0f64, 0.0f64);
    for ((score, x), order) in score.chunks_exact(size).zip(x.chunks_exact(size)).zip(order.chunks_exact(size)) {
        let (mut counts, mut sums, mut absences) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
        for ((w, score), x) in w.chunks_mut(LANES).zip(score.chunks(LANES)).zip(x.chunks(LANES)) {
            for (((((w, &score), &x), n), s), q) in w.iter_mut().zip(score).zip(x).zip(&mut counts).zip(&mut sums).zip(&mut absences) {
                *w = 1.0 / (1.0 + Real::exp(-(score - c) * unit));
                *n += *w;
                *s += *w * x;
                *q += Real::ln_1p(-*w);
            }
        }
        let (n, s) = (counts.iter().sum::<f32>(), sums.iter().sum::<f32>());
        let absent = Real::exp(absences.iter().sum::<f32>());
        let present = 1.0 - absent;
        let mut best = 0.0f32;
        for &row in order.iter().rev() {
            let row = row as usize;
            gain[row] = x[row] - best;
            best = w[row] * x[row] + (1.0 - w[row]) * best;
        }
        let mut chance = 1.0f32;
        for &row in order {
            let row = row as usize;
            gain[row] *= chance;
            chance *= 1.0 - w[row];
        }
        let mean = s / n;
        let plain = n + s + mean;
        value += f64::from(present * plain + best);
        let (by_count, by_sum, by_presence) = (present * (1.0 - mean / n), present * (1.0 + 1.0 / n), plain * absent);
        let mut slopes = [0.0f32; LANES];
        for ((w, gain), x) in w.chunks(LANES).zip(gain.chunks(LANES)).zip(x.chunks(LANES)) {
            for (((&w, &gain), &x), slope) in w.iter().zip(gain).zip(x).zip(&mut slopes) {
                let of_row = by_count + by_sum * x + by_presence / (1.0 - w) + gain;
                *slope -= of_row * w * (1.0 - w);
            }
        }
        slope += f64::from(slopes.iter().sum::<f32>());
    }
    (value, (slope * f64::from(unit)) as f32)
}
