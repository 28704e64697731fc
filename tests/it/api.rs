//! The library's door: databases, sessions, parameters, runs as streams, batches, arrays.

use crate::{fails, rows, run, session};
use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use futures::StreamExt;
use nabladb::{Database, Error, Value, values};
use std::sync::Arc;

async fn answer(session: &nabladb::Session, sql: &str, values: &[Value]) -> Value {
    let outcome = session.run_with(sql, values).await.unwrap_or_else(|e| panic!("{sql}\n{e}"));
    outcome.value().await.unwrap_or_else(|e| panic!("{sql}\n{e}"))
}

async fn refusal(session: &nabladb::Session, sql: &str, values: &[Value]) -> Error {
    match session.run_with(sql, values).await {
        Ok(_) => panic!("must fail: {sql}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_parameter_stands_wherever_a_literal_may() {
    let session = session().await;
    run(&session, "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT, price DOUBLE, v REAL[3])").await;
    let insert = "INSERT INTO items VALUES (?, ?, ?, ?), (?, ?, ?, ?)";
    let given = values![1, "O'Neill; DROP TABLE items --", 2.5, vec![0.1f32, 0.2, 0.3], 2, None::<&str>, f64::NAN, [1.0f32, 0.0, 0.0][..]];
    session.run_with(insert, &given).await.unwrap();
    assert_eq!(answer(&session, "SELECT name FROM items WHERE id = $1", &values![1]).await, Value::from("O'Neill; DROP TABLE items --"));
    assert_eq!(answer(&session, "SELECT id FROM items ORDER BY v <-> ? LIMIT ?", &values![[0.9f32, 0.0, 0.0][..], 1]).await, 2i64.into());
    assert_eq!(answer(&session, "SELECT COUNT(*) FROM items WHERE isnan(price) AND name IS NULL", &[]).await, 1i64.into());
    // The same one twice, out of order, and in every kind of statement.
    assert_eq!(answer(&session, "SELECT $2 - $1 * $1", &values![-3, -1]).await, Value::from(-10i64));
    session.run_with("UPDATE items SET price = -$1 WHERE id = $2", &values![-1e-7, 2]).await.unwrap();
    assert_eq!(answer(&session, "SELECT price FROM items WHERE id = 2", &[]).await, 1e-7.into());
    session.run_with("CREATE TABLE cheap AS SELECT * FROM items WHERE price < ?", &values![1.0]).await.unwrap();
    session.run_with("DELETE FROM items WHERE id = ?", &values![2]).await.unwrap();
    assert_eq!(rows(&session, "SELECT (SELECT COUNT(*) FROM cheap), (SELECT COUNT(*) FROM items)").await, "1|1");
    let date = Value::Date32(Some(20_000));
    assert_eq!(answer(&session, "SELECT CAST($1 AS TEXT) || $2", &[date, Value::from("!")]).await, Value::from("2024-10-04!"));
    let decimal = Value::Decimal128(Some(-12345), 10, 2);
    assert_eq!(answer(&session, "SELECT $1", std::slice::from_ref(&decimal)).await, decimal);
    // What looks like an escape is text, words that touch a parameter are words, and a number of single precision is that number.
    for text in ["a''b", "\\' OR true --", "\\", "'", "''", "\\0?$1"] {
        assert_eq!(answer(&session, "SELECT $1", &values![text]).await, Value::from(text));
        assert_eq!(answer(&session, "SELECT COUNT(*) WHERE $1 = 'x' AND $2 = 'y'", &values![text, "wrong"]).await, 0i64.into());
    }
    assert_eq!(answer(&session, "SELECT?LIMIT?", &values![7, 1]).await, 7i64.into());
    run(&session, "CREATE TABLE singles (x REAL); INSERT INTO singles VALUES (0.1)").await;
    assert_eq!(answer(&session, "SELECT COUNT(*) FROM singles WHERE x = ?", &values![0.1f32]).await, 1i64.into());
    assert_eq!(answer(&session, "SELECT array_length(?)", &values![["a", "b'"].map(String::from)]).await, Value::UInt64(Some(2)));
}

#[tokio::test]
async fn values_that_do_not_fit_the_parameters_are_refused() {
    let session = session().await;
    let said = |error: Error| error.to_string();
    assert_eq!(said(refusal(&session, "SELECT ?, ?", &values![1]).await), "the statement has 2 parameters, and 1 value is given");
    assert_eq!(said(refusal(&session, "SELECT '?'", &values![1, 2]).await), "the statement has 0 parameters, and 2 values are given");
    let both = said(refusal(&session, "SELECT ?,\n $1", &values![1]).await);
    assert_eq!(both, "parameters are ? or $1, not both in one statement\n  at: line 2, column 2");
    let named = said(refusal(&session, "SELECT $name", &values![1]).await);
    assert_eq!(named, "parameter $name has no number\n  at: line 1, column 8\n  hint: write ?, or $1, $2, ...");
    // Places are those of the text that was given, whatever the length of the values.
    let long = "a\nlong\nvalue";
    let after = said(refusal(&session, "SELECT ?, ?,\n ?, missing", &values![long, "x", long]).await);
    assert!(after.contains("line 2, column 5"), "{after}");
    let forgotten = said(refusal(&session, "SELECT ?", &[]).await);
    assert_eq!(forgotten, "the statement has 1 parameter, and 0 values are given");
    run(&session, "PREPARE p AS SELECT $1 + 1 AS x").await;
    assert_eq!(rows(&session, "EXECUTE p(2)").await, "3");
}

#[tokio::test]
async fn a_run_is_a_stream_of_steps_and_has_parameters() {
    let session = session().await;
    run(&session, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3); INSERT INTO m DEFAULT VALUES").await;
    let train = "TRAIN m MINIMIZE (SELECT SUM(power(a - ?, 2)) FROM m) USING adam (learning_rate => ?) FOR ? STEPS SEED ?";
    let mut training = session.train(train, &values![1.0, 0.1, 150, 7]).await.unwrap();
    let mut steps = vec![];
    while let Some(step) = training.next().await {
        steps.push(step.unwrap());
    }
    assert_eq!(steps.iter().map(|s| s.step).collect::<Vec<_>>(), (1..=150).collect::<Vec<_>>());
    assert_eq!(steps[0].objective, 4.0);
    let trained = training.finish().await.unwrap();
    assert_eq!((trained.run_id, trained.steps, trained.relaxation_gap()), (1, 150, Some(0.0)));
    // The history tells what ran, so it runs again.
    let text = answer(&session, "SELECT statement FROM nabla.runs", &[]).await.to_string();
    assert!(text.contains("power(a - 1e0, 2)") && text.contains("FOR 150 STEPS"), "{text}");
    let a = session.parameter("m.a").await.unwrap().f64().unwrap()[[0]];
    assert_eq!(Some((a - 1.0).powi(2)), trained.exact_objective);
    let e = session.train("SELECT 1", &[]).await.err().expect("no run");
    assert!(e.to_string().starts_with("the statement is no TRAIN"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_changes_nothing_and_stops_computing() {
    let session = session().await;
    run(&session, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3); INSERT INTO m DEFAULT VALUES").await;
    let endless = "TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 1000000000 STEPS";
    let mut training = session.train(endless, &[]).await.unwrap();
    let handle = training.handle();
    training.next().await.unwrap().unwrap();
    std::thread::spawn(move || handle.cancel()).join().unwrap();
    let error = training.finish().await.expect_err("it was cancelled");
    assert_eq!(error.to_string(), "the run was cancelled");
    // So does one that is dropped.
    drop(session.train(endless, &[]).await.unwrap());
    assert_eq!(rows(&session, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "3.0|0");
    let trained = session.train("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 5 STEPS", &[]).await.unwrap().finish().await.unwrap();
    assert_eq!(trained.steps, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_database_run_side_by_side() {
    let database = Database::in_memory().await.unwrap();
    let first = database.session().unwrap();
    run(&first, "CREATE TABLE t (who BIGINT, x DOUBLE); CREATE TABLE m (id BIGINT, a DOUBLE LEARNABLE DEFAULT 3)").await;
    run(&first, "INSERT INTO m VALUES (1, 3.0), (2, 3.0)").await;
    let mut tasks = tokio::task::JoinSet::new();
    for who in 0..4i64 {
        let session = database.session().unwrap();
        tasks.spawn(async move {
            for x in 0..10 {
                session.run_with("INSERT INTO t VALUES (?, ?)", &values![who, f64::from(x)]).await.unwrap();
            }
            session.run("SET datafusion.execution.batch_size = 100").await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(rows(&first, "SELECT COUNT(*), SUM(x), COUNT(DISTINCT who) FROM t").await, "40|180.0|4");
    // A setting is its session's.
    assert_eq!(
        rows(&first, "SELECT value FROM information_schema.df_settings WHERE name = 'datafusion.execution.batch_size'").await,
        "8192"
    );
    // Two runs that begin before either ends have numbers of their own.
    let second = first.another().unwrap();
    let other = "TRAIN MINIMIZE (SELECT SUM(x * 0 + 1) FROM t) FOR 1 STEP";
    assert!(second.train(other, &[]).await.is_err());
    let one = first.train("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 3 STEPS", &[]).await.unwrap();
    let two = second.train("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 3 STEPS", &[]).await.unwrap();
    let trained = one.finish().await.unwrap();
    let lost = two.finish().await.expect_err("the table has changed");
    assert!(lost.to_string().contains("was changed while it was trained"), "{lost}");
    assert_eq!(trained.run_id, 1);
    assert_eq!(rows(&second, "SELECT COUNT(*) FROM nabla.runs").await, "1");
}

#[tokio::test]
async fn batches_are_appended_as_inserts_are() {
    let session = session().await;
    run(&session, "CREATE TABLE t (id BIGINT PRIMARY KEY, x DOUBLE CHECK (x >= 0), kind TEXT DEFAULT 'new', w REAL LEARNABLE DEFAULT 0.5)")
        .await;
    let batch = |ids: &[i64], column: &str, x: ArrayRef| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        RecordBatch::try_from_iter([(column, x), ("id", ids)]).unwrap()
    };
    let singles = batch(&[1, 2], "x", Arc::new(Float32Array::from(vec![1.0, 2.0])));
    let doubles = batch(&[3], "x", Arc::new(Float64Array::from(vec![4.0])));
    assert_eq!(session.append("t", vec![singles, doubles.clone()]).await.unwrap(), 3);
    assert_eq!(rows(&session, "SELECT * FROM t ORDER BY id").await, "1|1.0|new|0.5\n2|2.0|new|0.5\n3|4.0|new|0.5");
    let refused = |batch: RecordBatch| async { session.append("t", vec![batch]).await.expect_err("must be refused").to_string() };
    assert!(refused(doubles).await.contains("duplicate primary key (id) = (3)"));
    assert!(refused(batch(&[4], "x", Arc::new(Float64Array::from(vec![-1.0])))).await.contains("CHECK"));
    assert!(refused(batch(&[4], "y", Arc::new(Float64Array::from(vec![1.0])))).await.contains("column 'y'"));
    assert!(refused(batch(&[4], "x", Arc::new(StringArray::from(vec!["four"])))).await.contains("four"));
    let lost = session.append("nothing", vec![]).await.expect_err("there is none");
    assert_eq!(lost.to_string(), "table 'nothing' not found");
    assert_eq!(rows(&session, "SELECT COUNT(*) FROM t").await, "3");
}

#[tokio::test]
async fn a_parameter_is_read_as_an_array() {
    let session = session().await;
    run(
        &session,
        "CREATE TABLE net (id BIGINT, w REAL[2][3] LEARNABLE DEFAULT init_normal(0, 1), b DOUBLE LEARNABLE DEFAULT 0.25, x DOUBLE)",
    )
    .await;
    run(&session, "INSERT INTO net (id) VALUES (1), (2), (3), (4)").await;
    let w = session.parameter("net.w").await.unwrap();
    assert_eq!((w.shape(), w.is_single(), w.f64().is_none()), (&[4, 2, 3][..], true, true));
    let there = rows(&session, "SELECT w[2][1] FROM net WHERE id = 3").await;
    assert_eq!(w.f32().unwrap()[[2, 1, 0]].to_string(), there);
    assert_eq!(session.parameter("net.b").await.unwrap().f64().unwrap().sum(), 1.0);
    let refused = |name: &'static str| async { session.parameter(name).await.expect_err("must be refused").to_string() };
    assert!(refused("net.x").await.contains("is not learnable"));
    assert!(refused("net.z").await.contains("'z'"));
    assert!(refused("nets.w").await.contains("'nets' not found"));
    assert!(refused("w").await.contains("write table.column"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_a_version_is_as_it_was_and_stays_so() {
    let database = Database::in_memory().await.unwrap();
    let session = database.session().unwrap();
    run(&session, "CREATE TABLE t AS SELECT 1 AS a; CREATE TABLE m (w DOUBLE LEARNABLE DEFAULT 2); INSERT INTO m DEFAULT VALUES").await;
    let training = session.train("TRAIN MINIMIZE (SELECT SUM(w * w) FROM m) FOR 20 STEPS", &[]).await.unwrap();
    let version = training.finish().await.unwrap().version;
    run(&session, "DROP TABLE t; CREATE TABLE t AS SELECT 'x' AS b; UPDATE m SET w = 9").await;
    let before = database.at(version - 1).await.unwrap().session().unwrap();
    assert_eq!(rows(&before, "SELECT t.a, m.w FROM t, m").await, "1|2.0");
    assert_eq!(before.parameter("m.w").await.unwrap().f64().unwrap()[[0]], 2.0);
    assert_eq!(rows(&before, "SELECT COUNT(*) FROM nabla.runs").await, "0");
    let after = database.at(version).await.unwrap().session().unwrap();
    let learned = after.parameter("m.w").await.unwrap().f64().unwrap()[[0]];
    assert!(learned < 2.0 && learned > 0.0, "{learned}");
    fails(&before, "INSERT INTO t VALUES (2)", &["open for reading only"]).await;
    let error = database.at(version + 100).await.err().expect("there is none").to_string();
    assert!(error.contains(&format!("no version {}", version + 100)) && error.contains("its newest version is"), "{error}");
    // What is read keeps the folder of a temporary database.
    drop((session, database));
    assert_eq!(rows(&after, "SELECT a FROM t").await, "1");
}
