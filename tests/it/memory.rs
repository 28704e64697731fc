//! Runs whose rows do not fit the memory limit.

use super::{rows, run, session};
use nabladb::Session;
use nabladb::session::Options;

/// Half of this is for the columns of a run.
const LIMIT: usize = 4 << 20;

async fn limited() -> Session {
    let options = Options { memory_limit: Some(LIMIT), ..Default::default() };
    Session::open(options).await.expect("a database in memory opens")
}

const EXAMPLES: &str = "
    CREATE TABLE examples AS SELECT CAST(value AS INT) AS id, CAST(value % 97 AS INT) AS user_id, CAST(value % 31 AS INT) AS item_id,
        CAST(sin(value) AS REAL) AS x, CASE WHEN value % 11 = 0 THEN NULL ELSE CAST(cos(3 * value) AS REAL) END AS z,
        CAST(value % 2 AS REAL) AS y FROM generate_series(1, 400000);
    CREATE TABLE model (a REAL LEARNABLE DEFAULT 0.1, b REAL LEARNABLE DEFAULT 0.2, c REAL LEARNABLE DEFAULT 0);
    INSERT INTO model DEFAULT VALUES;
    CREATE TABLE users (id INT PRIMARY KEY, e REAL[4] LEARNABLE DEFAULT init_normal(0, 0.5));
    INSERT INTO users (id) SELECT CAST(value AS INT) FROM generate_series(0, 96);
    CREATE TABLE items (id INT PRIMARY KEY, e REAL[4] LEARNABLE DEFAULT init_normal(0, 0.5));
    INSERT INTO items (id) SELECT CAST(value AS INT) FROM generate_series(0, 30);";

const OBJECTIVES: [&str; 4] = [
    // One pass; a column with NULLs.
    "MINIMIZE (SELECT AVG(bce(sigmoid(m.a * e.x + m.b * COALESCE(e.z, 0) + m.c), e.y)) FROM examples e, model m)",
    // A filter, and sums that it weighs.
    "MAXIMIZE (SELECT SUM(e.y) / COUNT(*) FROM examples e, model m WHERE e.x > m.a AND e.z < m.b)",
    // Row numbers of two tables.
    "MINIMIZE (SELECT AVG(power(inner_product(u.e, i.e) - e.x, 2)) FROM examples e JOIN users u ON u.id = e.user_id JOIN items i ON i.id = e.item_id)",
    // A segment that needs all its rows.
    "MAXIMIZE (SELECT SUM(t.y) FROM (SELECT e.y FROM examples e, model m ORDER BY m.a * e.x + m.c DESC LIMIT 1000) t)",
];

#[tokio::test]
async fn a_run_over_more_rows_than_fit_gives_what_it_gives_in_memory() {
    let (all, few) = (session().await, limited().await);
    for s in [&all, &few] {
        run(s, EXAMPLES).await;
    }
    for objective in OBJECTIVES {
        for how in ["FOR 5 STEPS", "BATCH 5000 FOR 20 STEPS"] {
            if how.starts_with("BATCH") && objective.contains("LIMIT") {
                continue;
            }
            let train = format!("TRAIN {objective} USING adam (learning_rate => 0.05) SEED 3 {how}");
            let spilled = rows(&few, &format!("EXPLAIN {train}")).await;
            assert!(spilled.contains("bytes in temporary files"), "{objective}\n{spilled}");
            assert!(!rows(&all, &format!("EXPLAIN {train}")).await.contains("bytes in temporary files"));
            let [a, b] = [&all, &few].map(async |s| {
                run(s, &train).await;
                let objective = rows(s, "SELECT relaxed_objective FROM nabla.runs ORDER BY run_id DESC LIMIT 1").await;
                objective.parse::<f64>().expect("a number")
            });
            let (a, b) = (a.await, b.await);
            // Rows in memory are sorted, and then a batch is of others.
            let most = if how.starts_with("BATCH") { 1e-2 } else { 1e-4 };
            assert!((a - b).abs() <= most * a.abs().max(1e-3), "{objective} {how}: {a} in memory, {b} from files");
        }
    }
}
