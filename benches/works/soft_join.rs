//! All pairs of 5,000 x 5,000 vectors of 64 numbers, a learned threshold, COUNT for each left row.

use crate::harness::{Bench, integers, numbers, reals, timed};
use crate::kernels::{Adam, add_scaled};
use criterion::Criterion;
use multiversion::multiversion;
use nabladb::scalar::Real;

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
    bench.measure(criterion, "soft_join", "limit", |steps| {
        timed(steps, || {
            let ([a, b], [ga, gb]) = (&mut sides, &mut gradients);
            let (value, slope) = limit(a, b, &wanted, c[0], 10.0, ga, gb);
            std::hint::black_box(value);
            adams[0].step(a, ga);
            adams[1].step(b, gb);
            adams[2].step(&mut c, &[slope]);
        })
    });
}

/// Rows of the left, and columns of the right transposed, whose products stay in registers.
const DOWN: usize = 4;
const ACROSS: usize = 16;

#[inline(always)]
fn tile(a: &[f32], across: &[f32], at: usize) -> [[f32; ACROSS]; DOWN] {
    let mut products = [[0.0f32; ACROSS]; DOWN];
    for k in 0..WIDTH {
        let b = &across[k * ROWS + at..][..ACROSS];
        for i in 0..DOWN {
            for j in 0..ACROSS {
                products[i][j] += a[i * WIDTH + k] * b[j];
            }
        }
    }
    products
}

/// Mean squared error of the counts, the gradient with respect to both sides, and the slope of the threshold. The pairs are
/// computed twice and stored never.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(a: &[f32], b: &[f32], wanted: &[f32], c: f32, unit: f32, ga: &mut [f32], gb: &mut [f32]) -> (f64, f32) {
    let mut across = vec![0.0f32; ROWS * WIDTH];
    for (j, b) in b.chunks_exact(WIDTH).enumerate() {
        for (k, b) in b.iter().enumerate() {
            across[k * ROWS + j] = *b;
        }
    }
    ga.fill(0.0);
    gb.fill(0.0);
    let (whole, mut value, mut slope) = (ROWS / ACROSS * ACROSS, 0.0f64, 0.0f64);
    for ((a, wanted), ga) in a.chunks_exact(DOWN * WIDTH).zip(wanted.chunks_exact(DOWN)).zip(ga.chunks_exact_mut(DOWN * WIDTH)) {
        let mut counts = [[0.0f32; ACROSS]; DOWN];
        let rest = |count: &mut [f32; DOWN], f: &mut dyn FnMut(usize, usize, f32) -> f32| {
            for j in whole..ROWS {
                for i in 0..DOWN {
                    let s: f32 = a[i * WIDTH..][..WIDTH].iter().zip(&b[j * WIDTH..][..WIDTH]).map(|(a, b)| a * b).sum();
                    count[i] += f(i, j, 1.0 / (1.0 + Real::exp(-(s - c) * unit)));
                }
            }
        };
        for at in (0..whole).step_by(ACROSS) {
            let products = tile(a, &across, at);
            for i in 0..DOWN {
                for j in 0..ACROSS {
                    counts[i][j] += 1.0 / (1.0 + Real::exp(-(products[i][j] - c) * unit));
                }
            }
        }
        let mut found = counts.map(|c| c.iter().sum::<f32>());
        rest(&mut found, &mut |_, _, w| w);
        let pulls: [f32; DOWN] = std::array::from_fn(|i| 2.0 * (found[i] - wanted[i]) / ROWS as f32);
        value += found.iter().zip(wanted).map(|(f, w)| f64::from((f - w) * (f - w))).sum::<f64>() / ROWS as f64;
        let mut slopes = [0.0f32; ACROSS];
        for at in (0..whole).step_by(ACROSS) {
            let mut products = tile(a, &across, at);
            for i in 0..DOWN {
                for j in 0..ACROSS {
                    let w = 1.0 / (1.0 + Real::exp(-(products[i][j] - c) * unit));
                    products[i][j] = pulls[i] * unit * w * (1.0 - w);
                    slopes[j] += products[i][j];
                }
            }
            for j in 0..ACROSS {
                let (b, gb) = (&b[(at + j) * WIDTH..][..WIDTH], &mut gb[(at + j) * WIDTH..][..WIDTH]);
                for i in 0..DOWN {
                    add_scaled(&mut ga[i * WIDTH..][..WIDTH], products[i][j], b);
                    add_scaled(gb, products[i][j], &a[i * WIDTH..][..WIDTH]);
                }
            }
        }
        let mut of_rest = [0.0; DOWN];
        rest(&mut of_rest, &mut |i, j, w| {
            let pull = pulls[i] * unit * w * (1.0 - w);
            add_scaled(&mut ga[i * WIDTH..][..WIDTH], pull, &b[j * WIDTH..][..WIDTH]);
            add_scaled(&mut gb[j * WIDTH..][..WIDTH], pull, &a[i * WIDTH..][..WIDTH]);
            pull
        });
        slope -= f64::from(slopes.iter().sum::<f32>() + of_rest.iter().sum::<f32>());
    }
    (value, slope as f32)
}
