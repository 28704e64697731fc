//! The works of the performance page through SQL, each beside its limit, and their ratios in a table.
//!
//! ```sh
//! cargo bench                    # all works, one thread
//! cargo bench -- factorize       # one of them
//! NABLA_BENCH_THREADS=2 cargo bench
//! ```

mod limits;

use criterion::Criterion;
use datafusion::arrow::array::{ArrayRef, AsArray, Float32Array, Int32Array, ListArray, RecordBatch};
use datafusion::arrow::datatypes::{Field, Float64Type, Int64Type};
use datafusion::parquet::arrow::ArrowWriter;
use limits::Adam;
use nabladb::Session;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Steps of a run that do not count, and how many do at the least.
const COLD: u64 = 2;
const STEADY: u64 = 10;

/// Seconds a step, and how many steps were timed together, of each measured side by name.
type Times = RefCell<Vec<(String, f64, u64)>>;

struct Bench {
    runtime: tokio::runtime::Runtime,
    session: Session,
    folder: tempfile::TempDir,
    times: Times,
}

/// Numbers in [0, 1) by splitmix64.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..n).map(|_| next()).collect()
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let session = runtime.block_on(Session::open(Default::default())).expect("a database in memory");
        Self { runtime, session, folder: tempfile::tempdir().expect("a folder"), times: Times::default() }
    }

    fn run(&self, sql: &str) -> Vec<RecordBatch> {
        let run = async { self.session.run(sql).await?.collect().await };
        self.runtime.block_on(run).unwrap_or_else(|e: nabladb::Error| panic!("{sql}\n{e}"))
    }

    /// A table from columns, by way of a Parquet file.
    fn table(&self, name: &str, declaration: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let path = self.folder.path().join(format!("{name}.parquet"));
        write(&path, &batch);
        self.run(&format!("CREATE TABLE {name} ({declaration})"));
        self.run(&format!("INSERT INTO {name} SELECT * FROM '{}'", path.display()));
    }

    /// Time of `steps` steady steps by the log of the run itself. A run is planned and materialized for each sample, so each
    /// is made of many steps, and the first of them, which find cold caches and fresh pages, do not count.
    fn train(&self, train: &str, steps: u64) -> Duration {
        let counted = steps.max(STEADY);
        let log = self.run(&format!("{train} FOR {} STEPS", COLD + counted));
        let (mut begin, mut end) = (0.0, 0.0);
        for batch in &log {
            let objective = batch.column_by_name("objective").expect("a log").as_primitive::<Float64Type>();
            let elapsed = batch.column_by_name("elapsed_ms").expect("a log").as_primitive::<Float64Type>();
            let number = batch.column_by_name("step").expect("a log").as_primitive::<Int64Type>();
            for ((o, e), n) in objective.iter().zip(elapsed).zip(number) {
                match (o, n) {
                    (Some(_), Some(n)) if n as u64 == COLD => begin = e.expect("a time"),
                    (Some(_), Some(n)) if n as u64 == COLD + counted => end = e.expect("a time"),
                    _ => {}
                }
            }
        }
        Duration::from_secs_f64((end - begin) / 1e3 * steps as f64 / counted as f64)
    }

    fn measure(&self, criterion: &mut Criterion, name: &str, side: &str, mut run: impl FnMut(u64) -> Duration) {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
        group.bench_function(side, |b| {
            b.iter_custom(|steps| {
                let time = run(steps);
                self.times.borrow_mut().push((format!("{name} {side}"), time.as_secs_f64() / steps as f64, steps));
                time
            });
        });
        group.finish();
    }

    /// The median over steps of the seconds a step, if the work was run: a warm-up of one step weighs one step.
    fn median(&self, name: &str) -> Option<f64> {
        let times = self.times.borrow();
        let mut times: Vec<(f64, u64)> = times.iter().filter(|(n, ..)| n == name).map(|(_, time, steps)| (*time, *steps)).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = times.iter().map(|(_, steps)| steps).sum::<u64>() / 2;
        let mut seen = 0;
        times.into_iter().find_map(|(time, steps)| {
            seen += steps;
            (seen > half).then_some(time)
        })
    }
}

fn write(path: &Path, batch: &RecordBatch) {
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("rows");
    writer.close().expect("a footer");
}

fn reals(values: &[f32]) -> ArrayRef {
    Arc::new(Float32Array::from(values.to_vec()))
}

fn integers(values: &[u32]) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values.iter().map(|v| *v as i32)))
}

fn timed(steps: u64, mut step: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..steps).for_each(|_| step());
    start.elapsed()
}

/// Squared error of inner products: 1,000,209 ratings, 6,040 users, 3,706 items, 32 wide.
fn factorize(bench: &Bench, criterion: &mut Criterion) {
    let (n, users, items, d) = (1_000_209, 6040usize, 3706usize, 32usize);
    let u: Vec<u32> = numbers(1, n).iter().map(|x| (x * users as f32) as u32).collect();
    let i: Vec<u32> = numbers(2, n).iter().zip(numbers(3, n)).map(|(a, b)| (a * b * items as f32) as u32).collect();
    let r: Vec<f32> = numbers(4, n).iter().map(|x| x * 5.0).collect();
    bench.table("ratings", "u INT, i INT, r REAL", vec![("u", integers(&u)), ("i", integers(&i)), ("r", reals(&r))]);
    for (name, rows) in [("users", users), ("items", items)] {
        bench.run(&format!("CREATE TABLE {name} (id INT PRIMARY KEY, emb REAL[{d}] LEARNABLE DEFAULT init_normal(0, 0.1))"));
        bench.run(&format!("INSERT INTO {name} (id) SELECT CAST(value AS INT) FROM generate_series(0, {})", rows - 1));
    }
    let train = "TRAIN MINIMIZE (SELECT AVG(power(inner_product(u.emb, i.emb) - r.r, 2)) FROM ratings r JOIN users u ON u.id = r.u JOIN items i ON i.id = r.i) USING adam (learning_rate => 0.01)";
    bench.measure(criterion, "factorize", "nabla", |steps| bench.train(train, steps));
    let mut tables = [numbers(5, users * d), numbers(6, items * d)];
    let mut gradients = [vec![0.0; users * d], vec![0.0; items * d]];
    let mut adams = [Adam::new(users * d, 0.01), Adam::new(items * d, 0.01)];
    bench.measure(criterion, "factorize", "limit", |steps| {
        timed(steps, || {
            let ([a, b], [ga, gb]) = (&mut tables, &mut gradients);
            std::hint::black_box(limits::factorize(d, &u, &i, &r, a, b, ga, gb));
            adams[0].step(a, ga);
            adams[1].step(b, gb);
        })
    });
}

/// Cross-entropy of a linear score: 1,000,000 rows, 28 features as one vector column.
fn logistic(bench: &Bench, criterion: &mut Criterion) {
    let (n, d) = (1_000_000, 28);
    let x: Vec<f32> = numbers(7, n * d).iter().map(|x| (x - 0.5) * 3.46).collect();
    let y: Vec<f32> = numbers(8, n).iter().map(|x| if *x < 0.5 { 1.0 } else { 0.0 }).collect();
    let lists = ListArray::new(
        Arc::new(Field::new_list_field(datafusion::arrow::datatypes::DataType::Float32, true)),
        datafusion::arrow::buffer::OffsetBuffer::from_repeated_length(d, n),
        reals(&x),
        None,
    );
    bench.table("examples", &format!("x REAL[{d}], y REAL"), vec![("x", Arc::new(lists)), ("y", reals(&y))]);
    bench.run(&format!("CREATE TABLE linear (w REAL[{d}] LEARNABLE DEFAULT init_zeros())"));
    bench.run("INSERT INTO linear DEFAULT VALUES");
    let train = "TRAIN MINIMIZE (SELECT AVG(softplus(s) - y * s) FROM (SELECT inner_product(e.x, l.w) AS s, e.y FROM examples e, linear l)) USING adam (learning_rate => 0.1)";
    bench.measure(criterion, "logistic", "nabla", |steps| bench.train(train, steps));
    let (mut w, mut g, mut adam) = (vec![0.0; d], vec![0.0; d], Adam::new(d, 0.1));
    bench.measure(criterion, "logistic", "limit", |steps| {
        timed(steps, || {
            std::hint::black_box(limits::logistic(d, &x, &y, &w, &mut g));
            adam.step(&mut w, &g);
        })
    });
}

/// F1 of five learned thresholds joined by AND: 1,000,000 rows.
fn threshold(bench: &Bench, criterion: &mut Criterion) {
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
            std::hint::black_box(limits::threshold(&x, &y, actual, &c, &[10.0; 5], &mut g));
            g.iter_mut().for_each(|g| *g = -*g);
            adam.step(&mut c, &g);
        })
    });
}

/// COUNT, SUM, AVG and MAX of the rows that pass a learned threshold: 1,000,000 rows in groups of 100.
fn uncertain_count(bench: &Bench, criterion: &mut Criterion) {
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
            let (value, slope) = limits::uncertain_count(size, &score, &x, &order, c[0], 10.0);
            std::hint::black_box(value);
            adam.step(&mut c, &[slope]);
        })
    });
}

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
    let works: [(&str, Work, f64); 4] = [
        ("factorize", factorize, 1.3),
        ("logistic", logistic, 1.2),
        ("threshold", threshold, 1.3),
        ("uncertain_count", uncertain_count, 1.5),
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
