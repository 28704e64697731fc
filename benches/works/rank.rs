//! NDCG by relaxed RANK: 3,000 queries of 100 documents, 136 features.

use crate::harness::{Bench, integers, numbers, reals, timed, vectors};
use crate::kernels::{Adam, add_scaled, dot};
use criterion::Criterion;
use multiversion::multiversion;
use nabladb::scalar::Real;

const QUERIES: usize = 3000;
const DOCUMENTS: usize = 100;
const FEATURES: usize = 136;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let n = QUERIES * DOCUMENTS;
    let q: Vec<u32> = (0..n as u32).map(|row| row / DOCUMENTS as u32).collect();
    let x: Vec<f32> = numbers(30, n * FEATURES).iter().map(|x| (x - 0.5) * 3.46).collect();
    let gain: Vec<f32> = numbers(31, n).iter().map(|x| (x * 5.0).floor().exp2() - 1.0).collect();
    let share: Vec<f32> = gain.chunks_exact(DOCUMENTS).flat_map(shares).collect();
    bench.table(
        "documents",
        &format!("q INT, x REAL[{FEATURES}], share REAL"),
        vec![("q", integers(&q)), ("x", vectors(&x, FEATURES)), ("share", reals(&share))],
    );
    bench.learnable("ranker", &format!("w REAL[{FEATURES}] LEARNABLE DEFAULT init_normal(0, 0.01)"), 1);
    let train = format!(
        "TRAIN MAXIMIZE (SELECT SUM(t.share / log2(1 + t.place)) / {QUERIES} FROM (\
         SELECT d.share, RANK() OVER (PARTITION BY d.q ORDER BY inner_product(d.x, r.w) DESC) AS place FROM documents d, ranker r) t) \
         USING adam (learning_rate => 0.01) RELAX (sigmoid => 'laplace', temperature => 0.1, final_temperature => 0.1, scale => 'none')"
    );
    bench.measure(criterion, "rank", "nabla", |steps| bench.train(&train, steps));
    let mut w: Vec<f32> = numbers(32, FEATURES).iter().map(|x| (x - 0.5) * 0.0346).collect();
    let (mut g, mut adam) = (vec![0.0; FEATURES], Adam::new(FEATURES, 0.01));
    let mut order: Vec<u32> = (0..n as u32).map(|row| row % DOCUMENTS as u32).collect();
    bench.measure(criterion, "rank", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limit(&x, &share, &mut order, 10.0, &w, &mut g));
            g.iter_mut().for_each(|g| *g = -*g / QUERIES as f32);
            adam.step(&mut w, &g);
        })
    });
}

/// Gains over the greatest sum of discounted gains.
fn shares(gain: &[f32]) -> Vec<f32> {
    let mut sorted = gain.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let ideal: f32 = sorted.iter().zip(2..).map(|(g, place)| g / (place as f32).log2()).sum();
    gain.iter().map(|g| g / ideal).collect()
}

/// Sum of NDCG by Laplace ranks, and its gradient: of each query's documents in the order of their scores, two sweeps for the
/// ranks and two for the gradient. `order` is that of the step before.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(x: &[f32], share: &[f32], order: &mut [u32], unit: f32, w: &[f32], gradient: &mut [f32]) -> f64 {
    const N: usize = DOCUMENTS;
    gradient.fill(0.0);
    let mut whole = 0.0f64;
    for ((x, share), order) in x.chunks_exact(N * FEATURES).zip(share.chunks_exact(N)).zip(order.chunks_exact_mut(N)) {
        let (mut s, mut decay, mut below, mut above) = ([0.0f32; N], [0.0f32; N], [0.0f32; N], [0.0f32; N]);
        for (s, x) in s.iter_mut().zip(x.chunks_exact(FEATURES)) {
            *s = dot(x, w);
        }
        order.sort_unstable_by(|a, b| s[*a as usize].total_cmp(&s[*b as usize]));
        let sorted: [f32; N] = std::array::from_fn(|k| s[order[k] as usize]);
        for k in 1..N {
            decay[k] = Real::exp((sorted[k - 1] - sorted[k]) * unit);
        }
        let (mut near, mut far) = (0.0f32, 0.0f32);
        for k in 0..N {
            near *= decay[k];
            below[k] = near;
            near += 1.0;
        }
        for k in (0..N).rev() {
            above[k] = far;
            far = (far + 1.0) * decay[k];
        }
        let mut pull = [0.0f32; N];
        for k in 0..N {
            let rank = 1.0 + 0.5 * below[k] + (N - 1 - k) as f32 - 0.5 * above[k];
            let share = share[order[k] as usize];
            let log = Real::ln(1.0 + rank) * std::f32::consts::LOG2_E;
            whole += f64::from(share / log);
            pull[k] = -share * std::f32::consts::LOG2_E / ((1.0 + rank) * log * log);
        }
        let mut slope = [0.0f32; N];
        let (mut near, mut far) = (0.0f32, 0.0f32);
        for k in 0..N {
            near *= decay[k];
            slope[k] = near - pull[k] * (below[k] + above[k]);
            near += pull[k];
        }
        for k in (0..N).rev() {
            slope[k] += far;
            far = (far + pull[k]) * decay[k];
        }
        for k in 0..N {
            let row = order[k] as usize;
            add_scaled(gradient, 0.5 * unit * slope[k], &x[row * FEATURES..][..FEATURES]);
        }
    }
    whole
}
