//! Relaxed top-k, forward and backward: the best 1 % of 1,000,000 rows by a learned score.

use crate::harness::{Bench, numbers, reals, timed};
use crate::kernels::Adam;
use criterion::Criterion;
use multiversion::multiversion;
use nabladb::scalar::Real;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let n = 1_000_000;
    let x: Vec<f32> = numbers(40, n).iter().map(|x| (x - 0.5) * 3.46).collect();
    let v = numbers(41, n);
    bench.table("candidates", "x REAL, v REAL", vec![("x", reals(&x)), ("v", reals(&v))]);
    bench.learnable("picker", "a REAL LEARNABLE DEFAULT 1, b REAL LEARNABLE DEFAULT 0", 1);
    let train = format!(
        "TRAIN MAXIMIZE (SELECT SUM(t.v) FROM (SELECT c.v FROM candidates c, picker p ORDER BY p.a * c.x + p.b * c.v DESC LIMIT {}) t) \
         USING adam (learning_rate => 0.001) RELAX (sigmoid => 'laplace', temperature => 0.05, final_temperature => 0.05, scale => 'none')",
        n / 100
    );
    bench.measure(criterion, "select", "nabla", |steps| bench.train(&train, steps));
    let (mut parameters, mut adam, mut theta) = ([1.0f32, 0.0], Adam::new(2, 0.001), 1.6f32);
    bench.measure(criterion, "select", "limit", |steps| {
        timed(steps, || {
            let (value, slopes) = limit(&x, &v, parameters, (n / 100) as f64, 20.0, &mut theta);
            std::hint::black_box(value);
            adam.step(&mut parameters, &slopes.map(|s| -s));
        })
    });
}

const LANES: usize = 16;

/// The Laplace distribution function and its slope.
#[inline(always)]
fn laplace(x: f32) -> (f32, f32) {
    let half = 0.5 * Real::exp(-x.abs());
    (if x < 0.0 { half } else { 1.0 - half }, half)
}

/// Sum of the chosen values and its slopes. The root by Newton's method from that of the step before; then one sweep for the
/// value, and for the slopes by the implicit function theorem.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(x: &[f32], v: &[f32], [a, b]: [f32; 2], k: f64, unit: f32, theta: &mut f32) -> (f64, [f32; 2]) {
    let (x, v) = (x.as_chunks::<LANES>().0, v.as_chunks::<LANES>().0);
    for _ in 0..50 {
        let (mut members, mut steep) = (0.0f64, 0.0f64);
        for (x, v) in x.chunks(64).zip(v.chunks(64)) {
            let (mut m, mut f) = ([0.0f32; LANES], [0.0f32; LANES]);
            for (x, v) in x.iter().zip(v) {
                for l in 0..LANES {
                    let (degree, slope) = laplace((a * x[l] + b * v[l] - *theta) * unit);
                    m[l] += degree;
                    f[l] += slope;
                }
            }
            members += f64::from(m.iter().sum::<f32>());
            steep += f64::from(f.iter().sum::<f32>());
        }
        let step = (members - k) / (steep * f64::from(unit));
        *theta += step as f32;
        if step.abs() < 1e-6 {
            break;
        }
    }
    // Sums of f, f x, f v, f v v, f x v and m v.
    let mut sums = [0.0f64; 6];
    for (x, v) in x.chunks(64).zip(v.chunks(64)) {
        let mut part = [[0.0f32; LANES]; 6];
        for (x, v) in x.iter().zip(v) {
            for l in 0..LANES {
                let (degree, slope) = laplace((a * x[l] + b * v[l] - *theta) * unit);
                let (fx, fv) = (slope * x[l], slope * v[l]);
                part[0][l] += slope;
                part[1][l] += fx;
                part[2][l] += fv;
                part[3][l] += fv * v[l];
                part[4][l] += fx * v[l];
                part[5][l] += degree * v[l];
            }
        }
        for (sum, part) in sums.iter_mut().zip(&part) {
            *sum += f64::from(part.iter().sum::<f32>());
        }
    }
    let [f, fx, fv, fvv, fxv, value] = sums;
    let slope = |own: f64, with_v: f64| ((with_v - fv * own / f) * f64::from(unit)) as f32;
    (value, [slope(fx, fxv), slope(fv, fvv)])
}
