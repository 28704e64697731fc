//! The works of the performance page through SQL, each beside its limit (the same arithmetic as a hand-written loop, in the
//! work's own file), and their ratios in a table.
//!
//! ```sh
//! cargo bench                    # all works, one thread
//! cargo bench -- factorize       # those whose names begin so
//! NABLA_BENCH_THREADS=2 cargo bench
//! ```

mod factorize;
mod harness;
mod kernels;
mod logistic;
mod perceptron;
mod rank;
mod select;
mod soft_join;
mod threshold;
mod translate;
mod uncertain_count;

use criterion::Criterion;
use harness::Bench;

/// The overhead of a step: a query of 3 parameters over 1 row.
fn step(bench: &Bench, criterion: &mut Criterion) {
    bench.run("CREATE TABLE point (x DOUBLE LEARNABLE DEFAULT 3, y DOUBLE LEARNABLE DEFAULT -2, z DOUBLE LEARNABLE DEFAULT 0.5)");
    bench.run("INSERT INTO point DEFAULT VALUES");
    let train = "TRAIN MINIMIZE (SELECT power(x - 1, 2) + power(y + x, 2) * exp(z) + z * z FROM point) USING adam (learning_rate => 0.001)";
    bench.measure(criterion, "step", "nabla", |steps| bench.train(train, steps));
}

fn main() {
    let threads = std::env::var("NABLA_BENCH_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("the pool is not yet built");
    let bench = Bench::new();
    let mut criterion = Criterion::default().configure_from_args();
    type Work = fn(&Bench, &mut Criterion);
    let works: [(&str, Work, f64); 10] = [
        ("factorize", factorize::work, 1.3),
        ("factorize_batch", factorize::in_batches, 1.5),
        ("logistic", logistic::work, 1.2),
        ("threshold", threshold::work, 1.3),
        ("rank", rank::work, 1.5),
        ("select", select::work, 1.5),
        ("perceptron", perceptron::work, 1.2),
        ("translate", translate::work, 1.5),
        ("soft_join", soft_join::work, 1.3),
        ("uncertain_count", uncertain_count::work, 1.5),
    ];
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|c| name.starts_with(c.as_str()));
    for (_, work, _) in works.iter().filter(|w| is_chosen(w.0)) {
        work(&bench, &mut criterion);
    }
    if is_chosen("step") {
        step(&bench, &mut criterion);
    }
    criterion.final_summary();
    println!(
        "\n{:<16} {:>12} {:>12} {:>8} {:>8}   ({threads} thread{})",
        "work",
        "limit",
        "nabla",
        "ratio",
        "goal",
        if threads == 1 { "" } else { "s; the limit has one" }
    );
    for (name, _, goal) in works {
        if let (Some(limit), Some(ours)) = (bench.median(&format!("{name} limit")), bench.median(&format!("{name} nabla"))) {
            println!("{name:<16} {:>9.3} ms {:>9.3} ms {:>8.2} {goal:>8.2}", limit * 1e3, ours * 1e3, ours / limit);
        }
    }
    if let Some(ours) = bench.median("step nabla") {
        println!("{:<16} {:>12} {:>9.3} us {:>8} {:>5} us", "step", "", ours * 1e6, "", 5);
    }
}
