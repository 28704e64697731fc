//! Groups of the pairs of two tables: gone over group by group, they are what they are when the pairs are written out.

use crate::{rows, run, session};
use nabladb::Session;

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Two tables of vectors. Each left row belongs to one of `kinds`.
async fn two_tables(left: usize, right: usize, kinds: usize) -> Session {
    let s = session().await;
    run(
        &s,
        &format!(
            "CREATE TABLE l (id BIGINT, k BIGINT, x DOUBLE, e DOUBLE[3] LEARNABLE DEFAULT init_normal(0, 1));
             INSERT INTO l (id, k, x) SELECT value, value * 7 % {kinds}, sin(value) FROM range({left});
             CREATE TABLE r (id BIGINT, y DOUBLE, e DOUBLE[3] LEARNABLE DEFAULT init_normal(0, 1));
             INSERT INTO r (id, y) SELECT value, cos(value) FROM range({right});
             CREATE TABLE m (c DOUBLE LEARNABLE DEFAULT 0.3);
             INSERT INTO m DEFAULT VALUES"
        ),
    )
    .await;
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_pairs_are_what_they_are_written_out() {
    // What is computed for each group, and the keys.
    let aggregates = [
        ("MAX(inner_product(l.e, r.e))", "l.k"),
        ("MIN(l.x * inner_product(l.e, r.e))", "l.k"),
        ("MAX(r.y) + COUNT(*)", "l.k"),
        ("MEDIAN(inner_product(l.e, r.e))", "l.k"),
        ("FIRST_VALUE(r.y ORDER BY inner_product(l.e, r.e) DESC)", "l.k"),
        ("SUM(r.y) + MIN(l.x) * MAX(array_distance(l.e, r.e))", "l.k"),
        ("COUNT(*) * l.k", "l.k, r.id % 4"),
        ("AVG(r.y) + SUM(l.x) + l.k - o", "r.id % 3 AS o, l.k"),
        ("VAR_POP(inner_product(l.e, r.e)) * SUM(m.c)", "r.id % 3, l.k, l.id % 2"),
    ];
    for (left, right, kinds) in [(3, 5, 3), (70, 9, 70), (90, 40, 11), (130, 520, 100)] {
        let s = two_tables(left, right, kinds).await;
        for (aggregate, keys) in aggregates {
            let grouped = keys.replace(" AS o", "");
            let aggregate = aggregate.replace("- o", "- r.id % 3");
            // A frozen condition of both sides needs the pairs; all of them fulfil it.
            let query = |both: &str| {
                format!(
                    "SELECT power(AVG(t.n), 2) + SUM(t.n * t.n) FROM (SELECT {keys}, {aggregate} AS n FROM l, r, m \
                     WHERE inner_product(l.e, r.e) > m.c{both} GROUP BY {grouped}) t"
                )
            };
            let answer = async |both: &str| {
                let plan = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({})", query(both))).await;
                assert_eq!(plan.contains("not written out"), both.is_empty(), "{plan}");
                let relaxed = rows(&s, &format!("RELAX (temperature => 0.5) {}", query(both))).await;
                let slopes = format!("GRADIENT OF ({}) RELAX (temperature => 0.5)", query(both));
                let slopes = rows(&s, &slopes).await;
                let value = relaxed.split('|').next().into_iter();
                let numbers: Vec<f64> = value.chain(slopes.lines().filter_map(|l| l.rsplit('|').next())).map(number).collect();
                numbers
            };
            let (along, written) = (answer("").await, answer(" AND l.id + r.id >= 0").await);
            assert!(along.len() > 1 + 3 * left + 3 * right, "{aggregate}");
            for (a, b) in along.iter().zip(&written) {
                assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-3), "{aggregate} of {left} x {right}: {a} is not {b}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extremum_of_each_row_takes_no_memory_for_each_pair() {
    let s = two_tables(2000, 1500, 2).await;
    // A mean of squares needs all of them before the first gradient: they are computed again.
    for objective in ["SUM(t.n)", "power(AVG(t.n), 2)"] {
        let objective = format!(
            "SELECT {objective} FROM (SELECT l.id, MAX(inner_product(l.e, r.e)) AS n FROM l, r, m WHERE r.y > m.c GROUP BY l.id) t"
        );
        let plan = rows(&s, &format!("EXPLAIN TRAIN MINIMIZE ({objective})")).await;
        let bytes = plan.split(" bytes for a step").next().and_then(|before| before.rsplit('|').next()).expect("a number of bytes");
        assert!(bytes.parse::<usize>().expect("a number") < 2000 * 1500 * 8 / 2, "half a column of all pairs: {plan}");
    }
}
