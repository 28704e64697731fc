//! Runs one side of a work, a TRAIN through SQL or a loop, and keeps the times of its steps.

use criterion::Criterion;
use datafusion::arrow::array::{ArrayRef, AsArray, Float32Array, Int32Array, ListArray, RecordBatch};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::parquet::arrow::ArrowWriter;
use nabladb::Session;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Steps of a run that do not count, and how many do at the least.
const COLD: u64 = 2;
const STEADY: u64 = 10;
/// Seconds that a run should take once it is known how long a step takes, the most steps of it, and how many samples share them.
const RUN: f64 = 3.0;
const LONGEST: u64 = 50_000;
const SAMPLES: u64 = 10;

/// Seconds a step, and how many steps were timed together, of each measured side by name.
type Times = RefCell<Vec<(String, f64, u64)>>;

pub struct Bench {
    runtime: tokio::runtime::Runtime,
    session: Session,
    folder: tempfile::TempDir,
    times: Times,
    tables: RefCell<HashSet<String>>,
    runs: RefCell<HashMap<String, Run>>,
}

/// The last run of a statement: its steps that no sample has counted, and how many it has.
struct Run {
    left: VecDeque<f64>,
    length: u64,
}

/// Numbers in [0, 1) by splitmix64.
pub fn numbers(seed: u64, n: usize) -> Vec<f32> {
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
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let session = runtime.block_on(Session::open(Default::default())).expect("a database in memory");
        Self {
            runtime,
            session,
            folder: tempfile::tempdir().expect("a folder"),
            times: Times::default(),
            tables: RefCell::default(),
            runs: RefCell::default(),
        }
    }

    pub fn run(&self, sql: &str) -> Vec<RecordBatch> {
        let run = async { self.session.run(sql).await?.collect().await };
        self.runtime.block_on(run).unwrap_or_else(|e: nabladb::Error| panic!("{sql}\n{e}"))
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A table from columns, by way of a Parquet file, unless another work has made it.
    pub fn table(&self, name: &str, declaration: &str, columns: Vec<(&str, ArrayRef)>) {
        if !self.tables.borrow_mut().insert(name.to_string()) {
            return;
        }
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let path = self.folder.path().join(format!("{name}.parquet"));
        write(&path, std::iter::once(batch));
        self.run(&format!("CREATE TABLE {name} ({declaration})"));
        self.run(&format!("INSERT INTO {name} SELECT * FROM '{}'", path.display()));
    }

    /// A table of learnable rows with the keys 0, 1, ..., unless another work has made it.
    pub fn learnable(&self, name: &str, columns: &str, rows: usize) {
        if self.tables.borrow_mut().insert(name.to_string()) {
            self.run(&format!("CREATE TABLE {name} (id INT PRIMARY KEY, {columns})"));
            self.run(&format!("INSERT INTO {name} (id) SELECT CAST(value AS INT) FROM generate_series(0, {})", rows - 1));
        }
    }

    /// Time of `steps` steady steps by the log of a run. The steps of one run are shared out to many samples, for a run is also
    /// planned, materialized and judged by the exact engine; its first steps, which find cold caches and fresh pages, do not count. A
    /// sample is the mean over its share: batches differ, and the caches of a run warm for many of them.
    pub fn train(&self, train: &str, steps: u64) -> Duration {
        let mut runs = self.runs.borrow_mut();
        let run = runs.entry(train.to_string()).or_insert_with(|| {
            let each = self.steps(train, STEADY).iter().sum::<f64>() / STEADY as f64;
            Run { left: VecDeque::new(), length: ((RUN / each) as u64).clamp(STEADY, LONGEST) }
        });
        let count = steps.max(run.length / SAMPLES);
        let mut time = 0.0;
        for _ in 0..count {
            if run.left.is_empty() {
                run.left = self.steps(train, run.length).into();
            }
            time += run.left.pop_front().expect("a run has steps");
        }
        Duration::from_secs_f64(time * steps as f64 / count as f64)
    }

    /// Seconds of each of so many steady steps.
    fn steps(&self, train: &str, steps: u64) -> Vec<f64> {
        let mut ends = vec![];
        for batch in &self.run(&format!("{train} FOR {} STEPS", COLD + steps)) {
            let objective = batch.column_by_name("objective").expect("a log").as_primitive::<Float64Type>();
            let elapsed = batch.column_by_name("elapsed_ms").expect("a log").as_primitive::<Float64Type>();
            ends.extend(objective.iter().zip(elapsed).filter_map(|(o, e)| o.and(e)));
        }
        ends[COLD as usize - 1..].windows(2).map(|w| (w[1] - w[0]) / 1e3).collect()
    }

    pub fn measure(&self, criterion: &mut Criterion, name: &str, side: &str, mut run: impl FnMut(u64) -> Duration) {
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
    pub fn median(&self, name: &str) -> Option<f64> {
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

/// A Parquet file of batches, of which there is one at the least.
pub fn write(path: &Path, batches: impl Iterator<Item = RecordBatch>) {
    let mut batches = batches.peekable();
    let schema = batches.peek().expect("a batch").schema();
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, schema, None).expect("a writer");
    batches.for_each(|batch| writer.write(&batch).expect("rows"));
    writer.close().expect("a footer");
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

pub fn reals(values: &[f32]) -> ArrayRef {
    Arc::new(Float32Array::from(values.to_vec()))
}

pub fn integers(values: &[u32]) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values.iter().map(|v| *v as i32)))
}

pub fn timed(steps: u64, mut step: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..steps).for_each(|_| step());
    start.elapsed()
}

/// Vectors of one length, row after row.
pub fn vectors(values: &[f32], width: usize) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    Arc::new(ListArray::new(field, OffsetBuffer::from_repeated_length(width, values.len() / width), reals(values), None))
}
