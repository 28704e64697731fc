//! A program without `async` that keeps its thresholds in a database: rows come as Arrow batches, the thresholds are learned with a time
//! limit, and read back as numbers.
//!
//! ```sh
//! cargo run --release --example thresholds
//! ```

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
use nabladb::blocking::{Database, Session};
use nabladb::{Result, values};
use std::sync::Arc;
use std::time::Duration;

const F1: &str = "SELECT 2.0 * SUM(CASE WHEN good THEN 1.0 ELSE 0.0 END) / (COUNT(*) + (SELECT COUNT(*) FROM readings WHERE good))
  FROM readings r, alarm a WHERE r.heat > a.heat AND r.noise < a.noise";

fn main() -> Result<()> {
    let session = Database::in_memory()?.session()?;
    session.run("CREATE TABLE readings (heat DOUBLE, noise DOUBLE, good BOOLEAN)")?;
    session
        .run("CREATE TABLE alarm (heat DOUBLE LEARNABLE DEFAULT 0.2, noise DOUBLE LEARNABLE DEFAULT 0.8 CHECK (noise BETWEEN 0 AND 1))")?;
    session.run("INSERT INTO alarm DEFAULT VALUES")?;
    let rows: u64 = (0..10).map(|part| session.append("readings", vec![batch(part)])).sum::<Result<u64>>()?;
    println!("{rows} rows; F1 by hand-set thresholds {}", session.run(F1)?.value()?);
    learn(&session)?;
    for column in ["alarm.heat", "alarm.noise"] {
        let learned = session.parameter(column)?;
        println!("{column} = {:.3}", learned.f64().expect("it is DOUBLE")[[0]]);
    }
    let alarms = session.run_with("SELECT COUNT(*) FROM alarm a WHERE ? > a.heat AND ? < a.noise", &values![0.95, 0.1])?;
    println!("F1 now {}; a hot and quiet reading gives {} alarm", session.run(F1)?.value()?, alarms.value()?);
    Ok(())
}

/// Learns for ten seconds at the most; what a cancelled run learned is not kept.
fn learn(session: &Session) -> Result<()> {
    let training = session.train(&format!("TRAIN alarm MAXIMIZE ({F1}) USING adam (learning_rate => 0.02) FOR 200 STEPS"), &[])?;
    let handle = training.handle();
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let limit = std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(10)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            handle.cancel();
        }
    });
    let trained = training.finish();
    drop(done);
    limit.join().expect("the limit is kept");
    let trained = trained?;
    println!("{} steps: relaxed {:.3}, exact {:.3}", trained.steps, trained.relaxed_objective, trained.exact_objective.unwrap_or_default());
    Ok(())
}

fn batch(part: u32) -> RecordBatch {
    let numbers = |factor: f64| (0..100).map(move |i| f64::from(part * 100 + i) * factor).map(|x| x.sin().abs());
    let good = numbers(0.7).zip(numbers(1.9)).map(|(heat, noise)| Some(heat > 0.6 && noise < 0.4));
    let columns: [(&str, ArrayRef); 3] = [
        ("heat", Arc::new(Float64Array::from_iter_values(numbers(0.7)))),
        ("noise", Arc::new(Float64Array::from_iter_values(numbers(1.9)))),
        ("good", Arc::new(good.collect::<BooleanArray>())),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}
