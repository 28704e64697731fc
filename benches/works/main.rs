//! The works of the performance page through SQL, each beside its limit (the same arithmetic as a hand-written loop, in the
//! work's own file), and beside PyTorch where that is found, with
//! their ratios in a table.
//!
//! ```sh
//! cargo bench                    # all works, one thread
//! cargo bench -- factorize       # those whose names begin so
//! cargo bench -- growth          # a step over 1, 2, 4 and 8 times as many rows
//! cargo bench -- exact           # TPC-H, opening, a point query, a commit; NABLA_BENCH_SCALE=0.1 for less
//! cargo bench -- flight          # a scan of 100 million rows through Flight SQL
//! NABLA_BENCH_THREADS=2 cargo bench
//! NABLA_BENCH_PYTHON=venv/bin/python cargo bench    # a Python with PyTorch, for its side
//! ```

mod digit_sum;
mod exact;
mod factorize;
mod flight;
mod growth;
mod harness;
mod kernels;
mod logistic;
mod perceptron;
mod rank;
mod select;
mod soft_join;
mod star;
mod threshold;
mod torch;
mod translate;
mod uncertain_count;

use criterion::Criterion;
use harness::Bench;
use torch::Torch;

struct Work {
    name: &'static str,
    run: fn(&Bench, &mut Criterion),
    /// The greatest ratio of our time to the limit's.
    goal: Option<f64>,
    /// The least ratio of PyTorch's time to ours, and how many of our steps are one measured unit of its.
    torch: Option<(f64, usize)>,
}

const WORKS: [Work; 12] = [
    Work { name: "factorize", run: factorize::work, goal: Some(1.3), torch: Some((15.0, 1)) },
    Work { name: "factorize_batch", run: factorize::in_batches, goal: Some(1.5), torch: Some((4.0, 1_000_209usize.div_ceil(4096))) },
    Work { name: "logistic", run: logistic::work, goal: Some(1.2), torch: Some((1.7, 1)) },
    Work { name: "threshold", run: threshold::work, goal: Some(1.3), torch: Some((4.0, 1)) },
    Work { name: "rank", run: rank::work, goal: Some(1.5), torch: Some((10.0, 1)) },
    Work { name: "select", run: select::work, goal: Some(1.5), torch: Some((4.0, 1)) },
    Work { name: "perceptron", run: perceptron::work, goal: Some(1.2), torch: Some((1.2, 60_000usize.div_ceil(128))) },
    Work { name: "digit_sum", run: digit_sum::work, goal: None, torch: Some((2.0, 30_000usize.div_ceil(64))) },
    Work { name: "translate", run: translate::work, goal: Some(1.5), torch: Some((3.0, 272_115usize.div_ceil(1024))) },
    Work { name: "soft_join", run: soft_join::work, goal: Some(1.3), torch: Some((1.5, 1)) },
    Work { name: "star", run: star::work, goal: None, torch: None },
    Work { name: "uncertain_count", run: uncertain_count::work, goal: Some(1.5), torch: None },
];

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
    if std::env::args().any(|argument| argument == "exact") {
        return bench.wait(exact::table());
    }
    if std::env::args().any(|argument| argument == "flight") {
        return bench.wait(flight::table());
    }
    let mut criterion = Criterion::default().configure_from_args();
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|c| name.starts_with(c.as_str()));
    for work in WORKS.iter().filter(|w| is_chosen(w.name)) {
        (work.run)(&bench, &mut criterion);
    }
    if is_chosen("step") {
        step(&bench, &mut criterion);
    }
    if chosen.iter().any(|name| name == "growth") {
        return growth::table(&bench);
    }
    criterion.final_summary();
    let torch = Torch::find(threads);
    match &torch {
        Some(torch) => println!("\nthreads: {threads}, of the limit 1; PyTorch {}", torch.version),
        None => println!("\nthreads: {threads}, of the limit 1; no Python with PyTorch was found"),
    }
    println!("| work | limit | nabla | ratio | goal | PyTorch | faster | goal |\n|---|---|---|---|---|---|---|---|");
    for work in WORKS {
        let Some(ours) = bench.median(&format!("{} nabla", work.name)) else { continue };
        let limit = bench.median(&format!("{} limit", work.name));
        let peer = torch.as_ref().zip(work.torch).map(|(torch, (_, steps))| torch.median(work.name) / steps as f64);
        let row = [
            work.name.to_string(),
            shown(limit.map(|s| s * 1e3), 3, " ms"),
            shown(Some(ours * 1e3), 3, " ms"),
            shown(limit.map(|limit| ours / limit), 2, ""),
            shown(work.goal, 1, ""),
            shown(peer.map(|s| s * 1e3), 3, " ms"),
            shown(peer.map(|peer| peer / ours), 1, ""),
            shown(work.torch.map(|t| t.0), 1, ""),
        ];
        println!("| {} |", row.join(" | "));
    }
    for name in ["star_sum", "star"] {
        if let (Some(ours), Some(joined)) = (bench.median(&format!("{name} nabla")), bench.median(&format!("{name} materialized"))) {
            println!(
                "{name}: {:.3} ms, over the joined rows {:.1} ms, {:.1} times as long (goal 5)",
                ours * 1e3,
                joined * 1e3,
                joined / ours
            );
        }
    }
    if let Some(ours) = bench.median("step nabla") {
        println!("| step | | {:.3} us | | 5 us | | | |", ours * 1e6);
    }
}

fn shown(number: Option<f64>, digits: usize, unit: &str) -> String {
    number.map_or(String::new(), |n| format!("{n:.digits$}{unit}"))
}
