//! What the limits of several works share: Adam, inner products, scaled sums, matrices.

use multiversion::multiversion;
use ndarray::{ArrayView2, ArrayViewMut2};

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
        sweep(x, g, &mut self.m, &mut self.v, [rate, correction]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn sweep(x: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], [rate, correction]: [f32; 2]) {
    for (((x, &g), m), v) in x.iter_mut().zip(g).zip(m).zip(v) {
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        *x -= rate * *m / (v.sqrt() * correction + 1e-8);
    }
}

#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
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
pub fn add_scaled(out: &mut [f32], s: f32, x: &[f32]) {
    for (o, x) in out.iter_mut().zip(x) {
        *o += s * x;
    }
}

/// Numbers as a matrix of so many columns.
pub fn matrix(numbers: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}

pub fn matrix_mut(numbers: &mut [f32], columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}
