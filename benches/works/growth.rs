//! How the time of a step grows with the rows: each work over 1, 2, 4 and 8 times as many.

use crate::harness::{Bench, integers, median, numbers, reals};

const FEWEST: usize = 250_000;
const TIMES: [usize; 4] = [1, 2, 4, 8];
const USERS: usize = 6040;

pub fn table(bench: &Bench) {
    bench.learnable("grown_model", "a REAL LEARNABLE DEFAULT 1, b REAL LEARNABLE DEFAULT 0", 1);
    bench.learnable("grown_users", "e REAL[32] LEARNABLE DEFAULT init_normal(0, 0.1)", USERS);
    for times in TIMES {
        let rows = FEWEST * times;
        let [x, v, y] = [90, 91, 92].map(|seed| numbers(seed, rows));
        let [u, i] = [93, 94].map(|seed| numbers(seed, rows).iter().map(|x| (x * USERS as f32) as u32).collect::<Vec<_>>());
        let columns = vec![("x", reals(&x)), ("v", reals(&v)), ("y", reals(&y)), ("u", integers(&u)), ("i", integers(&i))];
        bench.table(&format!("grown_{times}"), "x REAL, v REAL, y REAL, u INT, i INT", columns);
    }
    type Objective = fn(usize) -> String;
    let works: [(&str, Objective); 4] = [
        ("cross-entropy", |times| {
            format!("MINIMIZE (SELECT AVG(bce(sigmoid(m.a * g.x + m.b * g.v), g.y)) FROM grown_{times} g, grown_model m)")
        }),
        ("F1 of a filter", |times| {
            format!(
                "MAXIMIZE (SELECT 2 * SUM(g.y) / (COUNT(*) + {}) FROM grown_{times} g, grown_model m WHERE g.x > m.b AND g.v < m.a)",
                FEWEST * times / 2
            )
        }),
        ("top 1 %", |times| {
            let k = FEWEST * times / 100;
            format!(
                "MAXIMIZE (SELECT SUM(t.y) FROM (SELECT g.y FROM grown_{times} g, grown_model m ORDER BY m.a * g.x + m.b * g.v DESC LIMIT {k}) t)"
            )
        }),
        ("inner products", |times| {
            format!(
                "MINIMIZE (SELECT AVG(power(inner_product(u.e, w.e) - g.y, 2)) FROM grown_{times} g JOIN grown_users u ON u.id = g.u \
                 JOIN grown_users w ON w.id = g.i)"
            )
        }),
    ];
    println!("\n| a step over {FEWEST} rows, and more | 1x | 2x | 4x | 8x | most for twice the rows |\n|---|---|---|---|---|---|");
    for (name, objective) in works {
        let times = TIMES.map(|times| step(bench, &format!("TRAIN {} USING adam (learning_rate => 0.001)", objective(times))));
        let most = times.windows(2).map(|w| w[1] / w[0]).fold(0.0, f64::max);
        let shown: Vec<String> = times.iter().map(|s| format!("{:.2} ms", s * 1e3)).collect();
        println!("| {name} | {} | {most:.2} |", shown.join(" | "));
    }
}

/// Of five times some steps.
fn step(bench: &Bench, train: &str) -> f64 {
    const STEPS: u64 = 8;
    median((0..5).map(|_| bench.train(train, STEPS).as_secs_f64() / STEPS as f64).collect())
}
