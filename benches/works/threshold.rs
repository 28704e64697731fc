//! F1 of five learned thresholds joined by AND: 1,000,000 rows.

use crate::harness::{Bench, numbers, reals, timed};
use crate::kernels::Adam;
use criterion::Criterion;
use datafusion::arrow::array::ArrayRef;
use multiversion::multiversion;
use nabladb::scalar::Real;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let n = 1_000_000;
    let x: [Vec<f32>; 5] = std::array::from_fn(|k| numbers(10 + k as u64, n).iter().map(|x| (x - 0.5) * 3.46).collect());
    let y: Vec<f32> = (0..n).map(|row| if x.iter().all(|x| x[row] > -0.5) { 1.0 } else { 0.0 }).collect();
    let names = ["x0", "x1", "x2", "x3", "x4"];
    let mut columns: Vec<(&str, ArrayRef)> = names.iter().zip(&x).map(|(name, x)| (*name, reals(x))).collect();
    columns.push(("y", reals(&y)));
    bench.table("alerts", "x0 REAL, x1 REAL, x2 REAL, x3 REAL, x4 REAL, y REAL", columns);
    bench.run(&format!("CREATE TABLE rule ({})", (0..5).map(|k| format!("c{k} REAL LEARNABLE DEFAULT 0")).collect::<Vec<_>>().join(", ")));
    bench.run("INSERT INTO rule DEFAULT VALUES");
    let condition = (0..5).map(|k| format!("a.x{k} > r.c{k}")).collect::<Vec<_>>().join(" AND ");
    let train = format!(
        "TRAIN MAXIMIZE (SELECT 2 * SUM(a.y) / (COUNT(*) + (SELECT SUM(y) FROM alerts)) FROM alerts a, rule r WHERE {condition}) \
         USING adam (learning_rate => 0.05) RELAX (temperature => 0.1, final_temperature => 0.1, scale => 'none')"
    );
    bench.measure(criterion, "threshold", "nabla", |steps| bench.train(&train, steps));
    let (mut c, mut g, mut adam) = ([0.0; 5], [0.0; 5], Adam::new(5, 0.05));
    let actual = y.iter().sum();
    bench.measure(criterion, "threshold", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limit(&x, &y, actual, &c, &[10.0; 5], &mut g));
            g.iter_mut().for_each(|g| *g = -*g);
            adam.step(&mut c, &g);
        })
    });
}

/// F1 of a soft conjunction of `K` thresholds and its gradient, in one pass.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(x: &[Vec<f32>; 5], y: &[f32], actual: f32, c: &[f32; 5], unit: &[f32; 5], g: &mut [f32; 5]) -> f64 {
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
