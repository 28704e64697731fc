//! A perceptron of 784, 128 and 10 units over 60,000 images, in batches of 128.

use crate::harness::{Bench, integers, numbers, timed, vectors};
use crate::kernels::{Adam, add_scaled};
use criterion::Criterion;
use multiversion::multiversion;

const IMAGES: usize = 60_000;
const PIXELS: usize = 784;
const HIDDEN: usize = 128;
const DIGITS: usize = 10;
const BATCH: usize = 128;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let x = numbers(70, IMAGES * PIXELS);
    let y: Vec<u32> = numbers(71, IMAGES).iter().map(|x| (x * DIGITS as f32) as u32).collect();
    bench.table("images", &format!("x REAL[{PIXELS}], y INT"), vec![("x", vectors(&x, PIXELS)), ("y", integers(&y))]);
    let layers = format!(
        "w1 REAL[{HIDDEN}][{PIXELS}] LEARNABLE DEFAULT init_normal(0, 0.03), b1 REAL[{HIDDEN}] LEARNABLE DEFAULT init_zeros(), \
         w2 REAL[{DIGITS}][{HIDDEN}] LEARNABLE DEFAULT init_normal(0, 0.08), b2 REAL[{DIGITS}] LEARNABLE DEFAULT init_zeros()"
    );
    bench.learnable("network", &layers, 1);
    let train = format!(
        "TRAIN MINIMIZE (SELECT AVG(cross_entropy(array_add(matvec(n.w2, relu(array_add(matvec(n.w1, i.x), n.b1))), n.b2), i.y)) \
         FROM images i, network n) USING adam (learning_rate => 0.001) BATCH {BATCH}"
    );
    bench.measure(criterion, "perceptron", "nabla", |steps| bench.train(&train, steps));
    let sizes = [HIDDEN * PIXELS, HIDDEN, DIGITS * HIDDEN, DIGITS];
    let mut layers = sizes.map(|n| numbers(n as u64, n).iter().map(|x| (x - 0.5) * 0.1).collect::<Vec<f32>>());
    let (mut gradients, mut adams) = (sizes.map(|n| vec![0.0f32; n]), sizes.map(|n| Adam::new(n, 0.001)));
    let order: Vec<usize> = numbers(72, IMAGES / BATCH * BATCH).iter().map(|x| (x * IMAGES as f32) as usize % IMAGES).collect();
    let mut batches = order.chunks_exact(BATCH).cycle();
    bench.measure(criterion, "perceptron", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limit(&x, &y, batches.next().expect("a cycle"), &layers, &mut gradients));
            for ((layer, gradient), adam) in layers.iter_mut().zip(&gradients).zip(&mut adams) {
                adam.step(layer, gradient);
            }
        })
    });
}

/// Images, and units, whose products stay in registers.
const ROWS: usize = 4;
const UNITS: usize = 2;
const LANES: usize = 16;

/// Mean cross-entropy of a batch and its gradient.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(x: &[f32], y: &[u32], batch: &[usize], layers: &[Vec<f32>; 4], gradients: &mut [Vec<f32>; 4]) -> f64 {
    let [w1, b1, w2, b2] = layers;
    let [g1, gb1, g2, gb2] = gradients;
    for gradient in [&mut *g1, &mut *gb1, &mut *g2, &mut *gb2] {
        gradient.fill(0.0);
    }
    let mut loss = 0.0f64;
    for rows in batch.chunks_exact(ROWS) {
        let x: [&[f32]; ROWS] = std::array::from_fn(|i| &x[rows[i] * PIXELS..][..PIXELS]);
        let mut hidden = [[0.0f32; HIDDEN]; ROWS];
        for unit in (0..HIDDEN).step_by(UNITS) {
            let mut sums = [[[0.0f32; LANES]; UNITS]; ROWS];
            for k in (0..PIXELS).step_by(LANES) {
                for (i, x) in x.iter().enumerate() {
                    for u in 0..UNITS {
                        let w = &w1[(unit + u) * PIXELS + k..][..LANES];
                        for l in 0..LANES {
                            sums[i][u][l] += w[l] * x[k + l];
                        }
                    }
                }
            }
            for i in 0..ROWS {
                for u in 0..UNITS {
                    hidden[i][unit + u] = (sums[i][u].iter().sum::<f32>() + b1[unit + u]).max(0.0);
                }
            }
        }
        let mut back = [[0.0f32; HIDDEN]; ROWS];
        for i in 0..ROWS {
            let logits: [f32; DIGITS] =
                std::array::from_fn(|d| b2[d] + w2[d * HIDDEN..][..HIDDEN].iter().zip(&hidden[i]).map(|(w, h)| w * h).sum::<f32>());
            let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
            let powers = logits.map(|l| (l - greatest).exp());
            let (whole, label) = (powers.iter().sum::<f32>(), y[rows[i]] as usize);
            loss += f64::from(whole.ln() + greatest - logits[label]);
            for d in 0..DIGITS {
                let pull = (powers[d] / whole - f32::from(u8::from(d == label))) / BATCH as f32;
                gb2[d] += pull;
                add_scaled(&mut g2[d * HIDDEN..][..HIDDEN], pull, &hidden[i]);
                add_scaled(&mut back[i], pull, &w2[d * HIDDEN..][..HIDDEN]);
            }
            for (back, hidden) in back[i].iter_mut().zip(&hidden[i]) {
                *back = if *hidden > 0.0 { *back } else { 0.0 };
            }
            add_scaled(gb1, 1.0, &back[i]);
        }
        for (unit, g) in g1.chunks_exact_mut(PIXELS).enumerate() {
            let pulls: [f32; ROWS] = std::array::from_fn(|i| back[i][unit]);
            for k in 0..PIXELS {
                g[k] += pulls[0] * x[0][k] + pulls[1] * x[1][k] + pulls[2] * x[2][k] + pulls[3] * x[3][k];
            }
        }
    }
    loss / batch.len() as f64
}
