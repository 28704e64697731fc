//! Joins of few rows with many: what is of the few is computed for each of them, and what is learned is the same as over the join.

use crate::{rows, run, session};
use nabladb::Session;

const STAR: &str = "
    CREATE TABLE customers AS SELECT CAST(value AS INT) AS id, sin(value) AS age, CASE WHEN value % 5 = 0 THEN NULL ELSE cos(value) END AS income,
        CAST(value % 3 AS INT) AS region, [sin(2 * value), cos(2 * value)] AS taste FROM generate_series(1, 40);
    CREATE TABLE products AS SELECT CAST(value AS INT) AS id, cos(3 * value) AS price, sin(value) AS size FROM generate_series(1, 15);
    CREATE TABLE bias (product_id INT PRIMARY KEY, b DOUBLE LEARNABLE DEFAULT init_normal(0, 1), e DOUBLE[2] LEARNABLE DEFAULT init_normal(0, 1));
    INSERT INTO bias (product_id) SELECT id FROM products;
    CREATE TABLE sales AS SELECT CAST(1 + value * 7 % 41 AS INT) AS customer_id, CAST(1 + value * 5 % 15 AS INT) AS product_id,
        sin(5 * value) AS amount, CAST(value % 2 AS DOUBLE) AS returned FROM generate_series(1, 500);
    CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.3, i DOUBLE LEARNABLE DEFAULT -0.2, p DOUBLE LEARNABLE DEFAULT 0.7, c DOUBLE LEARNABLE DEFAULT 0.1,
        t DOUBLE[2] LEARNABLE DEFAULT init_normal(0, 1),
        z DOUBLE[3] LEARNABLE DEFAULT init_normal(0, 1));
    INSERT INTO m DEFAULT VALUES;
    CREATE TABLE joined AS SELECT s.amount, s.returned, c.age, c.income, c.region, c.taste, p.price, p.size, p.id AS product_id
        FROM sales s JOIN customers c ON c.id = s.customer_id JOIN products p ON p.id = s.product_id;";

/// A query over `f`, with every column of the join, and what it is to find in the program.
const OBJECTIVES: [&str; 7] = [
    "SELECT AVG(bce(sigmoid(m.a * f.age + m.p * f.price + m.i * f.income + m.c + m.a * f.size), f.returned)) FROM f, m",
    "SELECT AVG(power(m.a * f.age + b.b + inner_product(f.taste, m.t) - f.amount, 2)) FROM f JOIN bias b USING (product_id), m",
    "SELECT SUM(f.amount) / COUNT(*) FROM f, m WHERE f.age > m.a AND f.amount IS NOT NULL",
    "SELECT SUM(m.a * f.age * f.amount) FROM f, m",
    "SELECT SUM(power(g.s, 2)) FROM (SELECT f.region, SUM(exp(m.a * f.age) * f.amount) AS s FROM f, m GROUP BY f.region) g",
    "SELECT inner_product(SUM(array_scale(b.e, f.age)), SUM(array_scale(f.taste, m.a))) FROM f JOIN bias b USING (product_id), m",
    "SELECT AVG(cross_entropy(m.z, f.region)) FROM f, m",
];

const JOIN: &str = "(SELECT s.amount, s.returned, c.age, c.income, c.region, c.taste, p.price, p.size, p.id AS product_id
    FROM sales s JOIN customers c ON c.id = s.customer_id JOIN products p ON p.id = s.product_id)";

/// Value and gradient of a relaxed objective.
async fn slopes(s: &Session, objective: &str) -> Vec<f64> {
    let mut query =
        s.relaxed(&format!("TRAIN MINIMIZE ({objective}) RELAX (temperature => 0.3)")).await.unwrap_or_else(|e| panic!("{objective}\n{e}"));
    let columns: Vec<String> = query.columns().map(str::to_string).collect();
    let mut all = vec![query.value().expect("a value")];
    for column in columns {
        all.extend_from_slice(query.gradient(&column).unwrap_or_default());
    }
    all
}

#[tokio::test]
async fn an_objective_over_a_star_join_is_the_one_over_the_joined_table() {
    let s = session().await;
    run(&s, STAR).await;
    for objective in OBJECTIVES {
        let over = |f: &str| objective.replace("FROM f", &format!("FROM {f} f"));
        let [star, joined] = [over(JOIN), over("joined")];
        let text = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({star})")).await;
        assert!(text.contains("looked up|"), "{objective}\n{text}");
        let (a, b) = (slopes(&s, &star).await, slopes(&s, &joined).await);
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{objective}: {a} over the join, {b} over the table");
        }
    }
}

#[tokio::test]
async fn a_sum_of_what_one_side_decides_is_over_the_rows_of_that_side() {
    let s = session().await;
    run(&s, STAR).await;
    let sum = "SELECT SUM(sigmoid(m.a * c.age + m.c) * s.amount) FROM sales s JOIN customers c ON c.id = s.customer_id, m";
    let text = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({sum})")).await;
    assert!(text.contains("pass over rows that stage 1 looks up") && !text.contains("pass over stage 1"), "{text}");
    let batch = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({sum}) BATCH 10 FOR 1 STEPS")).await;
    assert!(batch.contains("pass over stage 1"), "{batch}");
}

#[tokio::test]
async fn where_hardly_a_row_is_read_twice_rows_have_their_own() {
    let s = session().await;
    run(&s, STAR).await;
    let objective =
        "SELECT AVG(power(m.a * c.age - s.amount, 2)) FROM sales s JOIN customers c ON c.id = s.customer_id AND s.amount > 0.95, m";
    let text = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({objective})")).await;
    assert!(!text.contains("looked up|"), "{text}");
    let joined = "SELECT AVG(power(m.a * j.age - j.amount, 2)) FROM joined j, m WHERE j.amount > 0.95";
    assert_eq!(slopes(&s, objective).await[0], slopes(&s, joined).await[0]);
}

/// Queries whose rows are joined with themselves.
const TWICE: [&str; 4] = [
    "SELECT s.product_id AS k, SUM(m.a * s.amount) AS x, COUNT(*) AS n FROM sales s, m WHERE s.amount < 2 GROUP BY s.product_id",
    "SELECT t.k, t.x, 1 AS n FROM (SELECT s.customer_id AS k, s.amount AS x, ROW_NUMBER() OVER (PARTITION BY s.customer_id \
       ORDER BY m.a * s.amount + m.c * s.returned DESC) AS place FROM sales s, m WHERE s.amount < 2) t WHERE t.place = 1",
    "SELECT s.product_id AS k, s.amount AS x, m.a AS n FROM sales s, m WHERE s.amount < 2 ORDER BY m.p * s.amount + m.c * s.returned DESC LIMIT 30",
    "SELECT DISTINCT s.product_id AS k, s.customer_id AS x, 2 AS n FROM sales s, m WHERE s.amount > m.c AND s.amount < 2",
];

#[tokio::test]
async fn a_query_that_is_read_twice_is_made_once() {
    let s = session().await;
    run(&s, STAR).await;
    for query in TWICE {
        let sum = "SELECT SUM(a.x * b.n + a.n * b.x) FROM";
        let joined = "b ON b.k = a.k JOIN products p ON p.id = a.k AND p.size < 0.9";
        let same = format!("WITH q AS ({query}) {sum} q a JOIN q {joined}");
        let apart = format!("{sum} ({query}) a JOIN ({}) {joined}", query.replace("s.amount < 2", "s.amount < 3"));
        let mut stages = vec![];
        for objective in [&same, &apart] {
            let text = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({objective})")).await;
            stages.push((1..20).filter(|n| text.contains(&format!("stage {n}"))).count());
        }
        assert!(stages[0] < stages[1], "{query}: {stages:?}");
        let (a, b) = (slopes(&s, &same).await, slopes(&s, &apart).await);
        assert!(a.iter().any(|x| *x != 0.0));
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{query}: {a} made once, {b} made twice");
        }
    }
    // Plans that differ only in the arguments of a table function are not equal.
    let series = |last: u32| format!("SELECT SUM(m.a * g.value) AS x FROM generate_series(1, {last}) g, m");
    let value = slopes(&s, &format!("SELECT a.x - b.x FROM ({}) a, ({}) b", series(3), series(5))).await[0];
    assert!((value - 0.3 * (6.0 - 15.0)).abs() < 1e-9, "{value}");
    // What is drawn anew each time is not the same.
    let drawn = "SELECT AVG(power(m.a * t.x, 2)) AS x FROM (SELECT random() AS x FROM sales) t, m";
    let text = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE (SELECT a.x - b.x FROM ({drawn}) a, ({drawn}) b)")).await;
    assert!(text.contains("stage 3"), "{text}");
}
