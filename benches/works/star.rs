//! A star join of 10,000,000 sales with 50,000 customers and 10,000 products, each with eight numbers: the amount of sales to the
//! customers that a learned score selects, which is a sum over customers; and logistic regression, which needs a pass over the
//! sales, of scores that are computed once for each customer and product. Beside each, the same over the joined rows,
//! materialized.

use crate::harness::{Bench, integers, numbers, reals, timed};
use crate::kernels::Adam;
use criterion::Criterion;
use datafusion::arrow::array::ArrayRef;
use multiversion::multiversion;
use nabladb::scalar::Real;

const FACTS: usize = 10_000_000;
const CUSTOMERS: usize = 50_000;
const PRODUCTS: usize = 10_000;
/// Numbers of a customer, and of a product.
const EACH: usize = 8;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let (c, p) = (numbers(60, CUSTOMERS * EACH), numbers(61, PRODUCTS * EACH));
    let row = |seed, rows: usize| numbers(seed, FACTS).iter().map(|x| (x * rows as f32) as u32).collect::<Vec<_>>();
    let (customer, product) = (row(62, CUSTOMERS), row(63, PRODUCTS));
    let y: Vec<f32> = numbers(64, FACTS).iter().map(|x| if *x < 0.5 { 1.0 } else { 0.0 }).collect();
    dimension(bench, "customers", "c", &c);
    dimension(bench, "products", "p", &p);
    let facts = vec![("customer_id", integers(&customer)), ("product_id", integers(&product)), ("y", reals(&y))];
    bench.table("sales", "customer_id INT, product_id INT, y REAL", facts);
    let weights: Vec<String> =
        ["c", "p"].iter().flat_map(|s| (0..EACH).map(move |k| format!("w{s}{k} REAL LEARNABLE DEFAULT 0"))).collect();
    bench.run(&format!("CREATE TABLE star_model ({})", weights.join(", ")));
    bench.run("INSERT INTO star_model DEFAULT VALUES");
    let score = |sides: &[&str]| {
        let terms: Vec<String> = sides.iter().flat_map(|s| (0..EACH).map(move |k| format!("m.w{s}{k} * f.{s}{k}"))).collect();
        terms.join(" + ")
    };
    let train = |rows: &str| {
        format!(
            "TRAIN MINIMIZE (SELECT AVG(softplus(t.s) - t.y * t.s) FROM (SELECT {} AS s, f.y FROM {rows} f, star_model m) t) USING adam (learning_rate => 0.1)",
            score(&["c", "p"])
        )
    };
    let select = |rows: &str| {
        let sum = format!("SELECT SUM(f.y) - 0.4 * COUNT(*) FROM {rows} f, star_model m WHERE {} > 0.1", score(&["c"]));
        format!("TRAIN MAXIMIZE ({sum}) USING adam (learning_rate => 0.1)")
    };
    let columns: Vec<String> = ["c", "p"].iter().flat_map(|s| (0..EACH).map(move |k| format!("{s}.{s}{k}"))).collect();
    let join = format!(
        "SELECT s.y, {} FROM sales s JOIN customers c ON c.id = s.customer_id JOIN products p ON p.id = s.product_id",
        columns.join(", ")
    );
    bench.measure(criterion, "star", "nabla", |steps| bench.train(&train(&format!("({join})")), steps));
    bench.measure(criterion, "star_sum", "nabla", |steps| bench.train(&select(&format!("({join})")), steps));
    bench.run(&format!("CREATE TABLE star_joined AS {join}"));
    bench.measure(criterion, "star_sum", "materialized", |steps| bench.train(&select("star_joined"), steps));
    bench.measure(criterion, "star", "materialized", |steps| bench.train(&train("star_joined"), steps));
    let star = Star { c: &c, p: &p, customer: &customer, product: &product, y: &y };
    let (mut w, mut g, mut adam) = (vec![0.0; 2 * EACH], vec![0.0; 2 * EACH], Adam::new(2 * EACH, 0.1));
    let mut room =
        Room { of_customer: vec![0.0; CUSTOMERS], of_product: vec![0.0; PRODUCTS], c: vec![0.0; CUSTOMERS], p: vec![0.0; PRODUCTS] };
    bench.measure(criterion, "star", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limit(&star, &mut room, &w, &mut g));
            adam.step(&mut w, &g);
        })
    });
}

fn dimension(bench: &Bench, name: &str, letter: &str, values: &[f32]) {
    let rows = values.len() / EACH;
    let ids: Vec<u32> = (0..rows as u32).collect();
    let names: Vec<String> = (0..EACH).map(|k| format!("{letter}{k}")).collect();
    let column = |k: usize| -> ArrayRef { reals(&values.iter().skip(k).step_by(EACH).copied().collect::<Vec<_>>()) };
    let columns = std::iter::once(("id", integers(&ids))).chain(names.iter().enumerate().map(|(k, n)| (n.as_str(), column(k))));
    let declared: Vec<String> = names.iter().map(|n| format!("{n} REAL")).collect();
    bench.table(name, &format!("id INT, {}", declared.join(", ")), columns.collect());
}

struct Star<'a> {
    c: &'a [f32],
    p: &'a [f32],
    customer: &'a [u32],
    product: &'a [u32],
    y: &'a [f32],
}

/// Scores of the dimensions' rows, and the slopes that come back to them.
struct Room {
    of_customer: Vec<f32>,
    of_product: Vec<f32>,
    c: Vec<f32>,
    p: Vec<f32>,
}

/// Each dimension's scores, one pass over the facts, and each dimension's gradient.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(star: &Star, room: &mut Room, w: &[f32], g: &mut [f32]) -> f64 {
    const ROWS: usize = 256;
    let (wc, wp) = w.split_at(EACH);
    let score = |s: &mut [f32], x: &[f32], w: &[f32]| {
        s.iter_mut().zip(x.chunks_exact(EACH)).for_each(|(s, x)| *s = x.iter().zip(w).map(|(x, w)| x * w).sum());
    };
    score(&mut room.of_customer, star.c, wc);
    score(&mut room.of_product, star.p, wp);
    room.c.fill(0.0);
    room.p.fill(0.0);
    let scale = 1.0 / star.y.len() as f32;
    let mut loss = 0.0f64;
    let (mut s, mut d) = ([0.0f32; ROWS], [0.0f32; ROWS]);
    for ((c, p), y) in star.customer.chunks(ROWS).zip(star.product.chunks(ROWS)).zip(star.y.chunks(ROWS)) {
        for ((s, c), p) in s.iter_mut().zip(c).zip(p) {
            *s = room.of_customer[*c as usize] + room.of_product[*p as usize];
        }
        let mut part = [0.0f32; 16];
        for ((s, d), y) in s[..y.len()].chunks(16).zip(d[..y.len()].chunks_mut(16)).zip(y.chunks(16)) {
            for (((part, &z), d), &y) in part.iter_mut().zip(s).zip(d).zip(y) {
                *part += Real::max(z, 0.0) + Real::ln_1p(Real::exp(-z.abs())) - y * z;
                *d = (1.0 / (1.0 + Real::exp(-z)) - y) * scale;
            }
        }
        loss += f64::from(part.iter().sum::<f32>());
        for ((d, c), p) in d.iter().zip(c).zip(p) {
            room.c[*c as usize] += d;
            room.p[*p as usize] += d;
        }
    }
    g.fill(0.0);
    let back = |g: &mut [f32], x: &[f32], d: &[f32]| {
        x.chunks_exact(EACH).zip(d).for_each(|(x, d)| g.iter_mut().zip(x).for_each(|(g, x)| *g += d * x));
    };
    let (gc, gp) = g.split_at_mut(EACH);
    back(gc, star.c, &room.c);
    back(gp, star.p, &room.p);
    loss / star.y.len() as f64
}
