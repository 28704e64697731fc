//! Cross-entropy of a linear score: 1,000,000 rows, 28 features as one vector column.

use crate::harness::{Bench, numbers, reals, timed, vectors};
use crate::kernels::{Adam, add_scaled, dot};
use criterion::Criterion;
use multiversion::multiversion;
use nabladb::scalar::Real;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let (n, d) = (1_000_000, 28);
    let x: Vec<f32> = numbers(7, n * d).iter().map(|x| (x - 0.5) * 3.46).collect();
    let y: Vec<f32> = numbers(8, n).iter().map(|x| if *x < 0.5 { 1.0 } else { 0.0 }).collect();
    bench.table("examples", &format!("x REAL[{d}], y REAL"), vec![("x", vectors(&x, d)), ("y", reals(&y))]);
    bench.run(&format!("CREATE TABLE linear (w REAL[{d}] LEARNABLE DEFAULT init_zeros())"));
    bench.run("INSERT INTO linear DEFAULT VALUES");
    let train = "TRAIN MINIMIZE (SELECT AVG(softplus(s) - y * s) FROM (SELECT inner_product(e.x, l.w) AS s, e.y FROM examples e, linear l)) USING adam (learning_rate => 0.1)";
    bench.measure(criterion, "logistic", "nabla", |steps| bench.train(train, steps));
    let (mut w, mut g, mut adam) = (vec![0.0; d], vec![0.0; d], Adam::new(d, 0.1));
    bench.measure(criterion, "logistic", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limit(d, &x, &y, &w, &mut g));
            adam.step(&mut w, &g);
        })
    });
}

/// Mean cross-entropy of a linear score and its gradient; the matrix is read once.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(d: usize, x: &[f32], y: &[f32], w: &[f32], g: &mut [f32]) -> f64 {
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
