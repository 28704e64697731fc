//! A perceptron of 784, 128 and 10 units over 60,000 images, in batches of 128.

use crate::harness::{Bench, integers, numbers, timed, vectors};
use crate::kernels::{Adam, matrix, matrix_mut};
use criterion::Criterion;
use nabladb::scalar::Real;
use ndarray::linalg::general_mat_mul;

const IMAGES: usize = 60_000;
const PIXELS: usize = 784;
const HIDDEN: usize = 128;
const DIGITS: usize = 10;
const BATCH: usize = 128;

/// Pixels and digits of the images, which are a table.
pub fn images(bench: &Bench) -> (Vec<f32>, Vec<u32>) {
    let x = numbers(70, IMAGES * PIXELS);
    let y: Vec<u32> = numbers(71, IMAGES).iter().map(|x| (x * DIGITS as f32) as u32).collect();
    let ids: Vec<u32> = (0..IMAGES as u32).collect();
    let columns = vec![("id", integers(&ids)), ("x", vectors(&x, PIXELS)), ("y", integers(&y))];
    bench.table("images", &format!("id INT, x REAL[{PIXELS}], y INT"), columns);
    (x, y)
}

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let (x, y) = images(bench);
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
    let buffer = |width: usize| vec![0.0; BATCH * width];
    let mut buffers = Buffers { images: buffer(PIXELS), hidden: buffer(HIDDEN), logits: buffer(DIGITS), back: buffer(HIDDEN) };
    let order: Vec<usize> = numbers(72, IMAGES / BATCH * BATCH).iter().map(|x| (x * IMAGES as f32) as usize % IMAGES).collect();
    let mut batches = order.chunks_exact(BATCH).cycle();
    bench.measure(criterion, "perceptron", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limit(&x, &y, batches.next().expect("a cycle"), &layers, &mut gradients, &mut buffers));
            for ((layer, gradient), adam) in layers.iter_mut().zip(&gradients).zip(&mut adams) {
                adam.step(layer, gradient);
            }
        })
    });
}

/// Mean cross-entropy of a batch and its gradient: matrix products by the library's kernel, all else in between.
fn limit(x: &[f32], y: &[u32], batch: &[usize], layers: &[Vec<f32>; 4], gradients: &mut [Vec<f32>; 4], buffers: &mut Buffers) -> f64 {
    let [w1, b1, w2, b2] = layers;
    let [g1, gb1, g2, gb2] = gradients;
    let Buffers { images, hidden, logits, back } = buffers;
    for (image, &row) in images.chunks_exact_mut(PIXELS).zip(batch) {
        image.copy_from_slice(&x[row * PIXELS..][..PIXELS]);
    }
    for (hidden, b) in hidden.iter_mut().zip(b1.iter().cycle()) {
        *hidden = *b;
    }
    general_mat_mul(1.0, &matrix(images, PIXELS), &matrix(w1, PIXELS).reversed_axes(), 1.0, &mut matrix_mut(hidden, HIDDEN));
    hidden.iter_mut().for_each(|h| *h = h.max(0.0));
    for (logit, b) in logits.iter_mut().zip(b2.iter().cycle()) {
        *logit = *b;
    }
    general_mat_mul(1.0, &matrix(hidden, HIDDEN), &matrix(w2, HIDDEN).reversed_axes(), 1.0, &mut matrix_mut(logits, DIGITS));
    let mut loss = 0.0f64;
    gb2.fill(0.0);
    for (logits, &row) in logits.chunks_exact_mut(DIGITS).zip(batch) {
        let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
        let label = y[row] as usize;
        loss -= f64::from(logits[label] - greatest);
        logits.iter_mut().for_each(|l| *l = Real::exp(*l - greatest));
        let whole: f32 = logits.iter().sum();
        loss += f64::from(whole.ln());
        for (digit, (l, g)) in logits.iter_mut().zip(gb2.iter_mut()).enumerate() {
            *l = (*l / whole - f32::from(u8::from(digit == label))) / BATCH as f32;
            *g += *l;
        }
    }
    general_mat_mul(1.0, &matrix(logits, DIGITS).reversed_axes(), &matrix(hidden, HIDDEN), 0.0, &mut matrix_mut(g2, HIDDEN));
    general_mat_mul(1.0, &matrix(logits, DIGITS), &matrix(w2, HIDDEN), 0.0, &mut matrix_mut(back, HIDDEN));
    gb1.fill(0.0);
    for (back, hidden) in back.chunks_exact_mut(HIDDEN).zip(hidden.chunks_exact(HIDDEN)) {
        for ((back, hidden), g) in back.iter_mut().zip(hidden).zip(gb1.iter_mut()) {
            *back = if *hidden > 0.0 { *back } else { 0.0 };
            *g += *back;
        }
    }
    general_mat_mul(1.0, &matrix(back, HIDDEN).reversed_axes(), &matrix(images, PIXELS), 0.0, &mut matrix_mut(g1, PIXELS));
    loss / batch.len() as f64
}

/// What a step of the limit writes down: of each row the image, the hidden units, the digits, and what comes back to the units.
struct Buffers {
    images: Vec<f32>,
    hidden: Vec<f32>,
    logits: Vec<f32>,
    back: Vec<f32>,
}
