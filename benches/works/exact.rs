//! What nothing learns: TPC-H through a database against plain DataFusion on the same files, opening a database of many tables,
//! a point query in it, and a commit against writing its bytes.

use crate::harness::{median, numbers, vectors, write};
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use nabladb::Session;
use nabladb::session::Options;
use nabladb::storage::{Access, Change, CommitMessage, Database};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};
use tpchgen_arrow::{CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow};

const QUERIES: &str = include_str!("tpch.sql");
const TABLES: [&str; 8] = ["region", "nation", "supplier", "part", "partsupp", "customer", "orders", "lineitem"];
const RUNS: usize = 5;
const MANY: usize = 1000;

pub async fn table() {
    let folder = tempfile::tempdir().expect("a folder");
    opening(&folder.path().join("many")).await;
    commit(folder.path()).await;
    tpch(folder.path()).await;
}

/// The 22 queries, pair by pair.
async fn tpch(folder: &Path) {
    let scale = std::env::var("NABLA_BENCH_SCALE").ok().and_then(|n| n.parse().ok()).unwrap_or(1.0);
    let database = folder.join("tpch");
    let session = open(&database).await;
    for name in TABLES {
        let file = folder.join(format!("{name}.parquet"));
        generate(name, scale, &file);
        run(&session, &format!("CREATE TABLE {name} AS SELECT * FROM '{}'", file.display())).await;
        std::fs::remove_file(file).expect("a file of ours");
    }
    let plain = SessionContext::new();
    for name in TABLES {
        let files = database.join("data/main").join(name);
        plain.register_parquet(name, files.to_str().expect("UTF-8"), ParquetReadOptions::default()).await.expect("the files of a table");
    }
    println!("\n| TPC-H, scale {scale} | DataFusion | nabla | ratio |\n|---|---|---|---|");
    let (mut ours, mut theirs) = (vec![0.0; RUNS], vec![0.0; RUNS]);
    for query in QUERIES.split("-- ").skip(2) {
        let (number, sql) = query.split_once('\n').expect("a number and a query");
        let sql = sql.trim().trim_end_matches(';');
        let (mut a, mut b) = (vec![], vec![]);
        for time in 0..=RUNS {
            let start = Instant::now();
            let found = run(&session, sql).await;
            let between = Instant::now();
            let expected = plain.sql(sql).await.expect("a query").collect().await.expect("rows");
            let [x, y] = [between - start, between.elapsed()].map(|t| t.as_secs_f64());
            assert_eq!(count(&found), count(&expected), "query {number}");
            // The first finds cold files.
            if time > 0 {
                ours[time - 1] += x;
                theirs[time - 1] += y;
                a.push(x);
                b.push(y);
            }
        }
        line(number.trim(), median(b), median(a));
    }
    line("all", median(theirs), median(ours));
}

fn line(name: &str, limit: f64, ours: f64) {
    println!("| {name} | {:.1} ms | {:.1} ms | {:.2} |", limit * 1e3, ours * 1e3, ours / limit);
}

/// Opening a database of many tables, and finding one row in one of them by its key.
async fn opening(path: &Path) {
    let session = open(path).await;
    for table in 0..MANY {
        run(&session, &format!("CREATE TABLE t{table} (id INT PRIMARY KEY, name TEXT, score DOUBLE LEARNABLE DEFAULT 0)")).await;
    }
    run(&session, "INSERT INTO t500 (id, name) SELECT CAST(value AS INT), 'row ' || value FROM generate_series(1, 10000)").await;
    drop(session);
    let mut times = vec![];
    for _ in 0..RUNS {
        let start = Instant::now();
        let session = open(path).await;
        times.push(start.elapsed().as_secs_f64());
        drop(session);
    }
    println!("\nopening a database of {MANY} tables: {:.1} ms (goal 50)", median(times) * 1e3);
    let session = open(path).await;
    let mut times = vec![];
    for id in 1..=200 {
        let start = Instant::now();
        let found = run(&session, &format!("SELECT name, score FROM t500 WHERE id = {}", id * 37)).await;
        times.push(start.elapsed().as_secs_f64());
        assert_eq!(count(&found), 1);
    }
    println!("a point query in it: {:.2} ms, the first {:.2} ms (goal 2)", median(times.clone()) * 1e3, times[0] * 1e3);
}

/// 100 MB of vectors, committed, and written.
async fn commit(folder: &Path) {
    let (rows, width) = (781_250, 32);
    let path = folder.join("written");
    let session = open(&path).await;
    run(&session, &format!("CREATE TABLE written (id INT, e REAL[{width}] LEARNABLE)")).await;
    drop(session);
    let database = Database::open(&path, Access::ReadWrite).await.expect("a database");
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
    let made = RecordBatch::try_from_iter([("id", ids), ("e", vectors(&numbers(1, rows as usize * width), width))]).expect("a batch");
    let snapshot = database.snapshot().await.expect("a snapshot");
    let schema = snapshot.table("main", "written").expect("the table").arrow_schema();
    let columns =
        made.columns().iter().zip(schema.fields()).map(|(c, f)| datafusion::arrow::compute::cast(c, f.data_type()).expect("a cast"));
    let batch = RecordBatch::try_new(schema.clone(), columns.collect()).expect("rows of the table");
    // Real numbers hardly repeat.
    let plain = WriterProperties::builder().set_dictionary_enabled(false).build();
    let (mut ours, mut limit) = (vec![], vec![]);
    for time in 0..RUNS {
        let start = Instant::now();
        let file = File::create(folder.join(format!("{time}.parquet"))).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(plain.clone())).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.into_inner().expect("a footer").sync_all().expect("a disk");
        limit.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let change = Change::Replace { schema: "main".into(), name: "written".into(), rows: vec![batch.clone()] };
        let message = CommitMessage { author: "bench".into(), message: "100 MB".into(), extra_info: None };
        database.commit(vec![change], message).await.expect("a commit");
        ours.push(start.elapsed().as_secs_f64());
    }
    let (ours, limit) = (median(ours), median(limit));
    println!(
        "a commit of 100 MB: {:.0} ms, writing and syncing them as Parquet: {:.0} ms, ratio {:.2}",
        ours * 1e3,
        limit * 1e3,
        ours / limit
    );
}

async fn open(path: &Path) -> Session {
    Session::open(Options { path: Some(path.to_path_buf()), ..Default::default() }).await.expect("a database")
}

async fn run(session: &Session, sql: &str) -> Vec<RecordBatch> {
    let run = async { session.run(sql).await?.collect().await };
    run.await.unwrap_or_else(|e: nabladb::Error| panic!("{sql}\n{e}"))
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn generate(table: &str, scale: f64, path: &Path) {
    match table {
        "region" => write(path, RegionArrow::new(RegionGenerator::new(scale, 1, 1)).map(batch)),
        "nation" => write(path, NationArrow::new(NationGenerator::new(scale, 1, 1)).map(batch)),
        "supplier" => write(path, SupplierArrow::new(SupplierGenerator::new(scale, 1, 1)).map(batch)),
        "part" => write(path, PartArrow::new(PartGenerator::new(scale, 1, 1)).map(batch)),
        "partsupp" => write(path, PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1)).map(batch)),
        "customer" => write(path, CustomerArrow::new(CustomerGenerator::new(scale, 1, 1)).map(batch)),
        "orders" => write(path, OrderArrow::new(OrderGenerator::new(scale, 1, 1)).map(batch)),
        _ => write(path, LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).map(batch)),
    }
}

fn batch<E: std::fmt::Debug>(made: Result<RecordBatch, E>) -> RecordBatch {
    made.expect("rows")
}
