//! All pairs of 5,000 x 5,000 vectors of 64 numbers, a learned threshold, COUNT for each left row.

use crate::harness::{Bench, integers, numbers, reals, timed};
use crate::kernels::{Adam, matrix, matrix_mut};
use criterion::Criterion;
use multiversion::multiversion;
use nabladb::scalar::Real;
use ndarray::linalg::general_mat_mul;

const ROWS: usize = 5000;
const WIDTH: usize = 64;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let wanted: Vec<f32> = numbers(50, ROWS).iter().map(|x| x * 50.0).collect();
    let ids: Vec<u32> = (0..ROWS as u32).collect();
    bench.table("wanted", "id INT, n REAL", vec![("id", integers(&ids)), ("n", reals(&wanted))]);
    for side in ["lefts", "rights"] {
        bench.learnable(side, &format!("e REAL[{WIDTH}] LEARNABLE DEFAULT init_normal(0, 0.125)"), ROWS);
    }
    bench.learnable("join_cut", "c REAL LEARNABLE DEFAULT 0", 1);
    let train = "TRAIN MINIMIZE (SELECT AVG(power(t.found - t.n, 2)) FROM (SELECT w.n, (\
         SELECT COUNT(*) FROM rights r, join_cut j WHERE inner_product(l.e, r.e) > j.c) AS found FROM wanted w JOIN lefts l ON l.id = w.id) t) \
         USING adam (learning_rate => 0.001) RELAX (temperature => 0.1, final_temperature => 0.1, scale => 'none')";
    bench.measure(criterion, "soft_join", "nabla", |steps| bench.train(train, steps));
    let normal = |seed| -> Vec<f32> { numbers(seed, ROWS * WIDTH).iter().map(|x| (x - 0.5) * 0.433).collect() };
    let mut sides = [normal(51), normal(52)];
    let (mut c, mut gradients) = ([0.0f32], [vec![0.0; ROWS * WIDTH], vec![0.0; ROWS * WIDTH]]);
    let mut adams = [Adam::new(ROWS * WIDTH, 0.001), Adam::new(ROWS * WIDTH, 0.001), Adam::new(1, 0.001)];
    let mut pairs = vec![0.0; GROUP * ROWS];
    bench.measure(criterion, "soft_join", "limit", |steps| {
        timed(steps, || {
            let ([a, b], [ga, gb]) = (&mut sides, &mut gradients);
            let (value, slope) = limit(a, b, &wanted, c[0], 10.0, ga, gb, &mut pairs);
            std::hint::black_box(value);
            adams[0].step(a, ga);
            adams[1].step(b, gb);
            adams[2].step(&mut c, &[slope]);
        })
    });
}

/// Rows of the left that are gone over together.
const GROUP: usize = 125;

/// Mean squared error of the counts, the gradient with respect to both sides, and the slope of the threshold. The pairs of some
/// left rows at a time are written down: matrix products by the library's kernel, and one sigmoid a pair in between.
#[allow(clippy::too_many_arguments)]
fn limit(a: &[f32], b: &[f32], wanted: &[f32], c: f32, unit: f32, ga: &mut [f32], gb: &mut [f32], pairs: &mut [f32]) -> (f64, f32) {
    gb.fill(0.0);
    let (mut value, mut slope) = (0.0f64, 0.0f64);
    let groups = a.chunks_exact(GROUP * WIDTH).zip(wanted.chunks_exact(GROUP)).zip(ga.chunks_exact_mut(GROUP * WIDTH));
    for ((a, wanted), ga) in groups {
        general_mat_mul(1.0, &matrix(a, WIDTH), &matrix(b, WIDTH).reversed_axes(), 0.0, &mut matrix_mut(pairs, ROWS));
        for (pairs, wanted) in pairs.chunks_exact_mut(ROWS).zip(wanted) {
            let miss = counted(pairs, c, unit) - wanted;
            value += f64::from(miss * miss) / ROWS as f64;
            slope -= f64::from(pulled(pairs, 2.0 * miss / ROWS as f32 * unit));
        }
        general_mat_mul(1.0, &matrix(pairs, ROWS), &matrix(b, WIDTH), 0.0, &mut matrix_mut(ga, WIDTH));
        general_mat_mul(1.0, &matrix(pairs, ROWS).reversed_axes(), &matrix(a, WIDTH), 1.0, &mut matrix_mut(gb, WIDTH));
    }
    (value, slope as f32)
}

/// Scores become degrees, which are counted.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn counted(scores: &mut [f32], c: f32, unit: f32) -> f32 {
    let mut count = [0.0f32; 16];
    for scores in scores.chunks_mut(16) {
        for (count, score) in count.iter_mut().zip(scores) {
            *score = 1.0 / (1.0 + Real::exp(-(*score - c) * unit));
            *count += *score;
        }
    }
    count.iter().sum()
}

/// Degrees become slopes with respect to the scores, which are added up.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn pulled(degrees: &mut [f32], pull: f32) -> f32 {
    let mut sum = [0.0f32; 16];
    for degrees in degrees.chunks_mut(16) {
        for (sum, degree) in sum.iter_mut().zip(degrees) {
            *degree = pull * *degree * (1.0 - *degree);
            *sum += *degree;
        }
    }
    sum.iter().sum()
}
