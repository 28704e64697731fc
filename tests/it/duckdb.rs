//! The promise that DuckDB reads a database, tried with the real DuckDB from PyPI. Without it the test says so, and does not fail.

use crate::{python, rows, run};
use arrow::json::{LineDelimitedWriter, WriterBuilder};
use nabladb::Session;
use nabladb::session::Options;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const PACKAGES: [&str; 3] = ["duckdb==1.5.5", "duckdb-extension-ducklake==1.5.5", "duckdb-extension-sqlite-scanner==1.5.5"];
const IMPORTS: &str = "import duckdb, duckdb_extension_ducklake, duckdb_extension_sqlite_scanner; assert duckdb.__version__ == '1.5.5'";

/// Tables of all that a database may hold, with a history of changes.
async fn database(folder: &Path) -> Session {
    let s = Session::open(Options { path: Some(folder.to_path_buf()), read_only: false, ..Default::default() }).await.unwrap();
    run(
        &s,
        "CREATE TABLE things (id BIGINT PRIMARY KEY, small SMALLINT, flag BOOLEAN, name TEXT NOT NULL, price DECIMAL(10, 2), d DATE,
                              at TIMESTAMP, x DOUBLE, r REAL, pair REAL[2], \"odd \"\"name\" INT);
         INSERT INTO things VALUES
             (1, -5, true, 'naïve, \"quoted\"', 12.50, '2024-02-29', '2024-02-29 12:34:56.789', 0.1, 0.1, [1, 2.5], 1),
             (9007199254740993, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
             (3, 7, false, 'it''s', -0.01, '1969-12-31', '1969-12-31 23:59:59.5', 1e300, -3.5, [0.1, -0.1], 3),
             (4, 8, true, 'gone', 0, '2000-01-01', '2000-01-01', 0, 0, [0, 0], 4);
         DELETE FROM things WHERE id = 4;
         UPDATE things SET x = x * 2, name = name || '!' WHERE id = 3;
         ALTER TABLE things ADD COLUMN added INT DEFAULT 42;
         ALTER TABLE things ADD COLUMN vector REAL[3] LEARNABLE DEFAULT init_uniform(0, 1);
         INSERT INTO things (id, name) VALUES (5, 'late');

         CREATE TABLE users (id INT PRIMARY KEY, emb REAL[32] LEARNABLE DEFAULT init_normal(0, 0.1));
         CREATE TABLE items (id INT PRIMARY KEY, emb REAL[32] LEARNABLE DEFAULT init_normal(0, 0.1));
         CREATE TABLE ratings AS SELECT value % 20 AS u, value * 7 % 30 AS i, (value % 5) * 1.0 AS rating FROM range(200);
         INSERT INTO users (id) SELECT value FROM range(20);
         INSERT INTO items (id) SELECT value FROM range(30);
         CREATE TABLE model (bias DOUBLE LEARNABLE DEFAULT 0.5 CHECK (bias >= 0), net DOUBLE[2][3] LEARNABLE DEFAULT init_glorot());
         INSERT INTO model DEFAULT VALUES;
         CREATE VIEW busy AS SELECT u, COUNT(*) AS n FROM ratings GROUP BY u;
         CREATE TABLE empty (a INT, v REAL[4]);
         CREATE TABLE dropped (a INT); DROP TABLE dropped;",
    )
    .await;
    let before = rows(&s, "SELECT emb FROM users ORDER BY id").await;
    run(
        &s,
        "TRAIN MINIMIZE (SELECT AVG(power(inner_product(u.emb, i.emb) + m.bias - r.rating, 2))
                         FROM ratings r JOIN users u ON u.id = r.u JOIN items i ON i.id = r.i, model m)
         USING adam (learning_rate => 0.05) FOR 20 STEPS SEED 1",
    )
    .await;
    assert_ne!(rows(&s, "SELECT emb FROM users ORDER BY id").await, before);
    // After the run: all rows of one of its tables are replaced once more, and the other one gets a column.
    run(&s, "UPDATE users SET id = id + 100; ALTER TABLE items ADD COLUMN title TEXT DEFAULT 'untitled'").await;
    s
}

const TABLES: [&str; 8] =
    ["main.empty", "main.items", "main.model", "main.ratings", "main.things", "main.users", "nabla.runs", "nabla.steps"];

/// The rows of a table as our engine reads them, as JSON objects.
async fn ours(session: &Session, table: &str) -> Vec<Value> {
    let (schema, name) = table.split_once('.').unwrap();
    let table = if schema == "main" { name } else { table };
    let batches = session.run(&format!("SELECT * FROM {table}")).await.unwrap().collect().await.unwrap();
    let mut writer: LineDelimitedWriter<_> = WriterBuilder::new().with_explicit_nulls(true).build(Vec::new());
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A value of a column of DuckDB's type as text that both sides write alike.
fn plain(value: &Value, kind: &str) -> String {
    let number = |text: String| text.parse::<f64>().unwrap_or_else(|_| panic!("{text} is not a number"));
    match value {
        Value::Array(elements) => elements.iter().map(|e| plain(e, kind)).collect::<Vec<_>>().join(" "),
        Value::Number(n) if kind.starts_with("FLOAT") => (n.as_f64().unwrap() as f32).to_string(),
        Value::Number(n) if kind.starts_with("DOUBLE") => n.as_f64().unwrap().to_string(),
        Value::String(text) if kind.starts_with("DECIMAL") => number(text.clone()).to_string(),
        Value::Number(n) if kind.starts_with("DECIMAL") => number(n.to_string()).to_string(),
        // Our JSON writes a T between day and hour, and neither side all zeros of a second.
        Value::String(text) if kind.starts_with("TIMESTAMP") => text.replace('T', " ").trim_end_matches('0').to_string(),
        other => other.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_reads_every_table_with_the_same_rows() {
    let python = match python::with("duckdb-1.5.5", &PACKAGES, IMPORTS) {
        Ok(python) => python,
        Err(why) => return eprintln!("DuckDB was not tried: {why}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a 'database'");
    let session = database(&path).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/duckdb/attach.py");
    let theirs = python::output(Command::new(python).arg(script).arg(&path)).unwrap_or_else(|text| panic!("{text}"));
    let theirs: BTreeMap<String, Value> = serde_json::from_str(&theirs).unwrap();
    assert_eq!(theirs.keys().collect::<Vec<_>>(), TABLES);

    for (table, theirs) in &theirs {
        let columns: Vec<(String, String)> = serde_json::from_value(theirs["columns"].clone()).unwrap();
        let written = |values: Vec<&Value>| values.into_iter().zip(&columns).map(|(v, (_, kind))| plain(v, kind)).collect::<Vec<_>>();
        let by_name = |row: &Value| written(columns.iter().map(|(name, _)| &row[name]).collect());
        let in_order = |row: &Value| written(row.as_array().unwrap().iter().collect());
        let ours = ours(&session, table).await;
        assert!(ours.iter().all(|row| row.as_object().unwrap().keys().all(|name| columns.iter().any(|(n, _)| n == name))), "{table}");
        let mut ours: Vec<_> = ours.iter().map(by_name).collect();
        let mut theirs: Vec<_> = theirs["rows"].as_array().unwrap().iter().map(in_order).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{table}");
    }
    let kinds = |table: &str| theirs[table]["columns"].to_string();
    assert!(kinds("main.users").contains(r#"["emb","FLOAT[]"]"#), "{}", kinds("main.users"));
    assert!(kinds("main.model").contains(r#"["net","DOUBLE[][]"]"#), "{}", kinds("main.model"));
    assert_eq!(theirs["nabla.runs"]["rows"].as_array().unwrap().len(), 1);
    assert_eq!(theirs["nabla.steps"]["rows"].as_array().unwrap().len(), 20);
}
