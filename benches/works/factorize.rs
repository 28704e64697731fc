//! Squared error of inner products: 1,000,209 ratings, 6,040 users, 3,706 items, 32 wide; the whole set, and in batches of 4,096.

use crate::harness::{Bench, integers, numbers, reals, timed};
use crate::kernels::{Adam, add_scaled, dot};
use criterion::Criterion;
use multiversion::multiversion;

const RATINGS: usize = 1_000_209;
const USERS: usize = 6040;
const ITEMS: usize = 3706;
const WIDTH: usize = 32;
const BATCH: usize = 4096;

/// User, item and rating of each row.
struct Ratings {
    u: Vec<u32>,
    i: Vec<u32>,
    r: Vec<f32>,
}

/// Both tables of vectors, with their gradients and Adam's moments.
struct Tables {
    values: [Vec<f32>; 2],
    gradients: [Vec<f32>; 2],
    adams: [Adam; 2],
}

impl Ratings {
    fn new(bench: &Bench) -> Self {
        let u: Vec<u32> = numbers(1, RATINGS).iter().map(|x| (x * USERS as f32) as u32).collect();
        let i: Vec<u32> = numbers(2, RATINGS).iter().zip(numbers(3, RATINGS)).map(|(a, b)| (a * b * ITEMS as f32) as u32).collect();
        let r: Vec<f32> = numbers(4, RATINGS).iter().map(|x| x * 5.0).collect();
        bench.table("ratings", "u INT, i INT, r REAL", vec![("u", integers(&u)), ("i", integers(&i)), ("r", reals(&r))]);
        for (name, rows) in [("users", USERS), ("items", ITEMS)] {
            bench.learnable(name, &format!("emb REAL[{WIDTH}] LEARNABLE DEFAULT init_normal(0, 0.1)"), rows);
        }
        Self { u, i, r }
    }
}

impl Tables {
    fn new() -> Self {
        let sizes = [USERS * WIDTH, ITEMS * WIDTH];
        let values = [numbers(5, sizes[0]), numbers(6, sizes[1])];
        Self { values, gradients: sizes.map(|n| vec![0.0; n]), adams: sizes.map(|n| Adam::new(n, 0.01)) }
    }

    fn step(&mut self, u: &[u32], i: &[u32], r: &[f32]) {
        let ([a, b], [ga, gb]) = (&mut self.values, &mut self.gradients);
        std::hint::black_box(limit(WIDTH, u, i, r, a, b, ga, gb));
        self.adams[0].step(a, ga);
        self.adams[1].step(b, gb);
    }
}

const TRAIN: &str = "TRAIN MINIMIZE (SELECT AVG(power(inner_product(u.emb, i.emb) - r.r, 2)) FROM ratings r JOIN users u ON u.id = r.u JOIN items i ON i.id = r.i) USING adam (learning_rate => 0.01)";

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let Ratings { u, i, r } = Ratings::new(bench);
    bench.measure(criterion, "factorize", "nabla", |steps| bench.train(TRAIN, steps));
    let mut tables = Tables::new();
    bench.measure(criterion, "factorize", "limit", |steps| timed(steps, || tables.step(&u, &i, &r)));
}

/// A step is a batch: random rows, Adam over all rows of both tables.
pub fn in_batches(bench: &Bench, criterion: &mut Criterion) {
    let Ratings { u, i, r } = Ratings::new(bench);
    let train = format!("{TRAIN} BATCH {BATCH}");
    bench.measure(criterion, "factorize_batch", "nabla", |steps| bench.train(&train, steps));
    let mut tables = Tables::new();
    let order: Vec<usize> = numbers(9, RATINGS / BATCH * BATCH).iter().map(|x| (x * RATINGS as f32) as usize % RATINGS).collect();
    let mut batches = order.chunks_exact(BATCH).cycle();
    let mut batch = (vec![0; BATCH], vec![0; BATCH], vec![0.0; BATCH]);
    bench.measure(criterion, "factorize_batch", "limit", |steps| {
        timed(steps, || {
            for (at, &row) in batches.next().expect("a cycle").iter().enumerate() {
                (batch.0[at], batch.1[at], batch.2[at]) = (u[row], i[row], r[row]);
            }
            tables.step(&batch.0, &batch.1, &batch.2);
        })
    });
}

/// Mean squared error of inner products and its gradient with respect to both tables.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
#[allow(clippy::too_many_arguments)]
fn limit(d: usize, u: &[u32], i: &[u32], r: &[f32], users: &[f32], items: &[f32], gu: &mut [f32], gi: &mut [f32]) -> f64 {
    gu.fill(0.0);
    gi.fill(0.0);
    let scale = 2.0 / r.len() as f32;
    let mut loss = 0.0f64;
    for ((&u, &i), &r) in u.iter().zip(i).zip(r) {
        let (u, i) = (u as usize * d, i as usize * d);
        let e = dot(&users[u..u + d], &items[i..i + d]) - r;
        loss += f64::from(e * e);
        add_scaled(&mut gu[u..u + d], e * scale, &items[i..i + d]);
        add_scaled(&mut gi[i..i + d], e * scale, &users[u..u + d]);
    }
    loss / r.len() as f64
}
