//! BEGIN, COMMIT, ROLLBACK: several statements, TRAIN among them, are one commit or none.

use crate::{fails, rows, run, session, tag};
use nabladb::session::Options;
use nabladb::{Database, Session, values};
use std::time::Duration;

async fn versions(session: &Session) -> i64 {
    session.context().await.unwrap().1.version()
}

#[tokio::test]
async fn statements_of_a_transaction_see_their_own_changes_and_others_see_them_when_it_is_committed() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id BIGINT PRIMARY KEY, x DOUBLE DEFAULT 0.5); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let other = s.another().unwrap();
    let before = versions(&s).await;
    assert_eq!(tag(&s, "BEGIN").await, "BEGIN");
    run(&s, "INSERT INTO t (id) VALUES (3); INSERT INTO t VALUES (4, 4); UPDATE t SET x = 20 WHERE id = 2; DELETE FROM t WHERE id = 1")
        .await;
    run(&s, "CREATE TABLE u AS SELECT id, x FROM t; INSERT INTO u VALUES (9, 9); CREATE VIEW big AS SELECT * FROM u WHERE x > 3").await;
    assert_eq!(rows(&s, "SELECT id, x FROM t ORDER BY id").await, "2|20.0\n3|0.5\n4|4.0");
    assert_eq!(rows(&s, "SELECT id FROM big ORDER BY id").await, "2\n4\n9");
    assert_eq!(rows(&other, "SELECT id, x FROM t ORDER BY id").await, "1|1.0\n2|2.0");
    assert_eq!(rows(&other, "SELECT COUNT(*) FROM information_schema.tables WHERE table_name IN ('u', 'big')").await, "0");
    assert_eq!(tag(&s, "COMMIT").await, "COMMIT");
    assert_eq!(versions(&s).await, before + 1, "one commit");
    for session in [&s, &other] {
        assert_eq!(rows(session, "SELECT id, x FROM t ORDER BY id").await, "2|20.0\n3|0.5\n4|4.0");
        assert_eq!(rows(session, "SELECT id FROM big ORDER BY id").await, "2\n4\n9");
    }
}

#[tokio::test]
async fn rollback_leaves_all_as_it_was() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT * FROM t").await;
    let before = versions(&s).await;
    run(&s, "START TRANSACTION; INSERT INTO t VALUES (2); DROP VIEW v; DROP TABLE t; CREATE TABLE t (other TEXT)").await;
    fails(&s, "SELECT id FROM t", &["id"]).await;
    assert_eq!(tag(&s, "ROLLBACK").await, "ROLLBACK");
    assert_eq!((rows(&s, "SELECT id FROM v").await, versions(&s).await), ("1".into(), before));
    run(&s, "INSERT INTO t VALUES (3)").await;
    assert_eq!(rows(&s, "SELECT id FROM t ORDER BY id").await, "1\n3");
}

#[tokio::test]
async fn a_failed_statement_ends_in_a_rollback() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id BIGINT PRIMARY KEY); BEGIN; INSERT INTO t VALUES (1)").await;
    fails(&s, "INSERT INTO t VALUES (1)", &["(id)"]).await;
    fails(&s, "SELECT 1", &["has failed", "ROLLBACK"]).await;
    fails(&s, "COMMIT", &["rolled back"]).await;
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM t").await, "0");
    fails(&s, "COMMIT", &["no transaction is open"]).await;
    fails(&s, "ROLLBACK", &["no transaction is open"]).await;
    run(&s, "BEGIN").await;
    fails(&s, "BEGIN", &["open already"]).await;
    run(&s, "ROLLBACK; BEGIN READ ONLY; SELECT * FROM t").await;
    fails(&s, "INSERT INTO t VALUES (1)", &["READ ONLY"]).await;
}

#[tokio::test]
async fn training_in_a_transaction_is_committed_with_it() {
    let s = session().await;
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3); INSERT INTO m DEFAULT VALUES; CREATE TABLE data (y DOUBLE)").await;
    let other = s.another().unwrap();
    let before = versions(&s).await;
    let train = "TRAIN MINIMIZE (SELECT AVG(power(a - y, 2)) FROM m CROSS JOIN data) USING sgd (learning_rate => 0.25) FOR 100 STEPS";
    run(&s, "BEGIN; INSERT INTO data VALUES (1), (2)").await;
    for y in ["3", "6"] {
        run(&s, &format!("{train}; INSERT INTO data VALUES ({y})")).await;
    }
    run(&s, train).await;
    assert_eq!(rows(&s, "SELECT round(a, 6) FROM m").await, "3.0", "the mean of 1, 2, 3, 6");
    assert_eq!(rows(&s, "SELECT COUNT(*), MIN(steps) FROM nabla.runs").await, "3|100");
    assert_eq!(rows(&other, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "3.0|0");
    run(&s, "COMMIT").await;
    assert_eq!(versions(&s).await, before + 1);
    assert_eq!(rows(&other, "SELECT COUNT(*), COUNT(DISTINCT version) FROM nabla.runs").await, "3|1");
    assert_eq!(rows(&other, "SELECT COUNT(*) FROM nabla.steps").await, "300");
    assert_eq!(rows(&other, "SELECT MAX(version) FROM nabla.runs").await, (before + 1).to_string());
}

#[tokio::test]
async fn the_order_of_rows_and_the_learned_numbers_are_those_without_a_transaction() {
    let script = "INSERT INTO data SELECT value, sin(value) FROM generate_series(1, 3000) AS s(value);
                  INSERT INTO data SELECT value, cos(value) FROM generate_series(3001, 6000) AS s(value);
                  ALTER TABLE data ADD COLUMN z DOUBLE DEFAULT 1.5; ALTER TABLE data DROP COLUMN id;
                  INSERT INTO data VALUES (0.25, 2.5);
                  TRAIN MINIMIZE (SELECT AVG(power(a * y - z, 2)) FROM m CROSS JOIN data) FOR 3 EPOCHS BATCH 64 SEED 7";
    let mut learned = vec![];
    for (begin, commit) in [("SELECT 1", "SELECT 1"), ("BEGIN", "COMMIT")] {
        let s = session().await;
        run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3); INSERT INTO m DEFAULT VALUES; CREATE TABLE data (id BIGINT, y DOUBLE)")
            .await;
        run(&s, &format!("{begin}; {script}; {commit}")).await;
        learned.push((rows(&s, "SELECT a FROM m").await, rows(&s, "SELECT y, z FROM data LIMIT 10 OFFSET 2995").await));
    }
    assert_eq!(learned[0], learned[1]);
}

#[tokio::test]
async fn a_transaction_stands_on_what_it_has_read() {
    let s = session().await;
    run(&s, "CREATE TABLE t (x BIGINT); INSERT INTO t VALUES (1)").await;
    let other = s.another().unwrap();
    run(&s, "BEGIN; SELECT * FROM t").await;
    run(&other, "INSERT INTO t VALUES (2)").await;
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM t").await, "1");
    fails(&s, "INSERT INTO t VALUES (3)", &["another session has changed"]).await;
    run(&s, "ROLLBACK; BEGIN; INSERT INTO t VALUES (3)").await;
    let waits = tokio::time::timeout(Duration::from_millis(200), other.run("INSERT INTO t VALUES (4)")).await;
    assert!(waits.is_err(), "a writer waits for the transaction to end");
    run(&s, "COMMIT").await;
    run(&other, "INSERT INTO t VALUES (5)").await;
    assert_eq!(rows(&s, "SELECT SUM(x) FROM t").await, "11");
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back() {
    let database = Database::in_memory().await.unwrap();
    let (s, other) = (database.session().unwrap(), database.session().unwrap());
    run(&s, "CREATE TABLE t (x BIGINT)").await;
    let transaction = s.begin().await.unwrap();
    transaction.run_with("INSERT INTO t VALUES (?)", &values![1]).await.unwrap();
    assert!(s.begin().await.is_err() && s.in_transaction());
    drop(transaction);
    assert!(!s.in_transaction());
    run(&other, "INSERT INTO t VALUES (2)").await;
    let transaction = s.begin().await.unwrap();
    let rows_of = arrow::array::Int64Array::from(vec![3, 4]);
    let batch = arrow::array::RecordBatch::try_from_iter([("x", std::sync::Arc::new(rows_of) as _)]).unwrap();
    transaction.append("t", vec![batch]).await.unwrap();
    transaction.commit().await.unwrap();
    drop(other);
    assert_eq!(rows(&s, "SELECT SUM(x) FROM t").await, "9");
    let open = database.session().unwrap();
    run(&open, "BEGIN; INSERT INTO t VALUES (100)").await;
    drop(open);
    run(&s, "INSERT INTO t VALUES (1)").await;
    assert_eq!(rows(&s, "SELECT SUM(x) FROM t").await, "10");
}

#[tokio::test]
async fn a_transaction_is_kept_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Session::open(Options { path: Some(folder.path().into()), ..Default::default() });
    let s = open().await.unwrap();
    run(&s, "BEGIN; CREATE TABLE t (x BIGINT, v REAL[2]); INSERT INTO t VALUES (1, [1, 2]); INSERT INTO t VALUES (2, [3, 4])").await;
    run(&s, "CREATE TABLE gone (y TEXT); INSERT INTO gone VALUES ('a'); DROP TABLE gone").await;
    run(&s, "ALTER TABLE t ADD COLUMN w DOUBLE; UPDATE t SET w = x; ALTER TABLE t DROP COLUMN x; COMMIT").await;
    drop(s);
    let s = open().await.unwrap();
    assert_eq!(rows(&s, "SELECT v, w FROM t ORDER BY w").await, "[1.0, 2.0]|1.0\n[3.0, 4.0]|2.0");
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'gone'").await, "0");
}

#[tokio::test]
async fn a_mistake_of_words_fails_a_transaction_too() {
    let s = session().await;
    run(&s, "CREATE TABLE t (x BIGINT); BEGIN; INSERT INTO t VALUES (1)").await;
    fails(&s, "SELEC 1", &["SELECT"]).await;
    fails(&s, "COMMIT", &["rolled back"]).await;
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM t").await, "0");
    // One that was given up while it waited for another's turn.
    let other = s.another().unwrap();
    run(&other, "BEGIN; INSERT INTO t VALUES (1)").await;
    run(&s, "BEGIN").await;
    assert!(tokio::time::timeout(Duration::from_millis(50), s.run("INSERT INTO t VALUES (2)")).await.is_err());
    run(&other, "ROLLBACK").await;
    fails(&s, "COMMIT", &["rolled back"]).await;
}

#[tokio::test]
async fn a_statement_is_of_what_was_open_when_it_began() {
    let database = Database::in_memory().await.unwrap();
    let s = std::sync::Arc::new(database.session().unwrap());
    run(&s, "CREATE TABLE t (x BIGINT)").await;
    // It waits for another's turn; meanwhile a transaction begins on the same session, and is rolled back.
    let other = database.session().unwrap();
    run(&other, "BEGIN; INSERT INTO t VALUES (1)").await;
    let same = s.clone();
    let insert = tokio::spawn(async move { same.run("INSERT INTO t VALUES (2)").await.map(drop) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    run(&s, "BEGIN").await;
    run(&other, "COMMIT").await;
    insert.await.unwrap().unwrap();
    run(&s, "ROLLBACK").await;
    assert_eq!(rows(&s, "SELECT SUM(x) FROM t").await, "3");
}

#[tokio::test]
async fn a_transaction_of_a_database_that_is_only_read_ends_as_any() {
    let folder = tempfile::tempdir().unwrap();
    let options = |read_only| Options { path: Some(folder.path().into()), read_only, ..Default::default() };
    drop(Session::open(options(false)).await.unwrap());
    let s = Session::open(options(true)).await.unwrap();
    run(&s, "BEGIN; SELECT 1; COMMIT").await;
}

#[tokio::test]
async fn declarations_change_in_a_transaction() {
    let s = session().await;
    run(&s, "CREATE TABLE u (id BIGINT, w DOUBLE); INSERT INTO u VALUES (1, 2), (2, 3)").await;
    run(&s, "BEGIN; ALTER TABLE u ALTER COLUMN w SET LEARNABLE; INSERT INTO u VALUES (3, 4)").await;
    assert_eq!(rows(&s, "SELECT SUM(w), COUNT(*) FROM u").await, "9.0|3");
    run(&s, "TRAIN MINIMIZE (SELECT AVG(power(w - id, 2)) FROM u) USING sgd (learning_rate => 0.5) FOR 50 STEPS").await;
    run(&s, "ALTER TABLE u DROP COLUMN id; COMMIT").await;
    assert_eq!(rows(&s, "SELECT round(w, 3) FROM u ORDER BY 1").await, "1.0\n2.0\n3.0");
}

#[tokio::test]
async fn many_small_changes_are_few_files() {
    let database = Database::in_memory().await.unwrap();
    let s = database.session().unwrap();
    run(&s, "CREATE TABLE t (x BIGINT PRIMARY KEY); BEGIN").await;
    for x in 0..200 {
        run(&s, &format!("INSERT INTO t VALUES ({x})")).await;
    }
    run(&s, "COMMIT").await;
    assert_eq!(rows(&s, "SELECT COUNT(*), SUM(x) FROM t").await, "200|19900");
    let files = std::fs::read_dir(database.folder().join("data/main/t")).unwrap().count();
    assert_eq!(files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_turn_can_be_cancelled() {
    let database = Database::in_memory().await.unwrap();
    let (s, other) = (database.session().unwrap(), database.session().unwrap());
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3); INSERT INTO m DEFAULT VALUES; CREATE TABLE t (x BIGINT)").await;
    run(&other, "BEGIN; INSERT INTO t VALUES (1)").await;
    let training = s.train("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 5 STEPS", &values![]).await.unwrap();
    let handle = training.handle();
    let finish = tokio::spawn(training.finish());
    tokio::time::sleep(Duration::from_millis(300)).await;
    handle.cancel();
    assert!(finish.await.unwrap().unwrap_err().to_string().contains("cancelled"));
    run(&other, "COMMIT").await;
    assert_eq!(rows(&s, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "3.0|0");
}
