//! COUNT, SUM, AVG and MAX of the rows that pass a learned threshold: 1,000,000 rows in groups of 100.

use crate::harness::{Bench, integers, numbers, reals, timed};
use crate::kernels::Adam;
use criterion::Criterion;
use multiversion::multiversion;
use nabladb::scalar::Real;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let (n, size) = (1_000_000, 100);
    let groups: Vec<u32> = (0..n as u32).map(|row| row / size as u32).collect();
    let score: Vec<f32> = numbers(20, n).iter().map(|x| (x - 0.5) * 3.46).collect();
    let x: Vec<f32> = numbers(21, n);
    bench.table("readings", "g INT, score REAL, x REAL", vec![("g", integers(&groups)), ("score", reals(&score)), ("x", reals(&x))]);
    bench.run("CREATE TABLE cut (c REAL LEARNABLE DEFAULT 0.5)");
    bench.run("INSERT INTO cut DEFAULT VALUES");
    let train = "TRAIN MINIMIZE (SELECT SUM(t.n + t.s + t.a + t.m) FROM (\
         SELECT g, COUNT(*) AS n, SUM(x) AS s, AVG(x) AS a, MAX(x) AS m FROM readings, cut WHERE score > c GROUP BY g) t) \
         USING adam (learning_rate => 0.001) RELAX (temperature => 0.1, final_temperature => 0.1, scale => 'none')";
    bench.measure(criterion, "uncertain_count", "nabla", |steps| bench.train(train, steps));
    let order: Vec<u32> = x
        .chunks_exact(size)
        .flat_map(|x| {
            let mut order: Vec<u32> = (0..size as u32).collect();
            order.sort_by(|a, b| x[*b as usize].total_cmp(&x[*a as usize]));
            order
        })
        .collect();
    let (mut c, mut adam) = ([0.5f32], Adam::new(1, 0.001));
    bench.measure(criterion, "uncertain_count", "limit", |steps| {
        timed(steps, || {
            let (value, slope) = limit(size, &score, &x, &order, c[0], 10.0);
            std::hint::black_box(value);
            adam.step(&mut c, &[slope]);
        })
    });
}

/// `SUM(n + s + a + m)` over groups of equal size, with the COUNT, SUM, AVG and expected MAX of the rows that pass a soft
/// threshold, each group weighted by its presence; and its slope. `order` holds each group's rows, the greatest `x` first: `x`
/// is frozen, so that a loop sorts once and not in each step.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(size: usize, score: &[f32], x: &[f32], order: &[u32], c: f32, unit: f32) -> (f64, f32) {
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
            // Processors are slow at subnormal numbers.
            chance = if chance < f32::MIN_POSITIVE { 0.0 } else { chance };
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
