//! Golden pieces of EXPLAIN TRAIN: what must be said, and what must not.

use crate::{fails, rows, run, session};
use nabladb::Session;

/// The lines of an explanation, `stage|what|detail`: each of `expect` is in it, none of `expect_not` is.
async fn explain(session: &Session, sql: &str, expect: &[&str], expect_not: &[&str]) {
    let text = rows(session, &format!("EXPLAIN {sql}")).await;
    for piece in expect {
        assert!(text.contains(piece), "EXPLAIN {sql}\nis without: {piece}\n{text}");
    }
    for piece in expect_not {
        assert!(!text.contains(piece), "EXPLAIN {sql}\nhas: {piece}\n{text}");
    }
}

async fn shop() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE p (id BIGINT, k BIGINT, x DOUBLE, y DOUBLE, good BOOLEAN, kind TEXT);
         INSERT INTO p SELECT value, value % 5, sin(value), cos(value), value % 3 = 0, CASE WHEN value < 60 THEN 'a' ELSE 'b' END FROM range(100);
         CREATE TABLE u (id BIGINT, w DOUBLE LEARNABLE DEFAULT 0.1, e REAL[4] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO u (id) SELECT value FROM range(5);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.2, b DOUBLE LEARNABLE DEFAULT 0.5); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_conjunct_is_run_by_the_exact_engine_and_not_relaxed() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p, m WHERE p.x > m.a AND p.kind = 'a' AND p.y > 0)",
        &[
            "|skeleton|",
            "FilterExec",
            "kind@",
            "relaxed|p.x > m.a -> degree, logistic, temperature of the run",
            "segment-reduce: sum of weights",
        ],
        &["relaxed|p.kind", "relaxed|p.y", "frozen rows|100"],
    )
    .await;
    // A filter that is frozen altogether leaves no weight.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(p.x * m.a) FROM p, m WHERE p.kind = 'a')",
        &["stage 1|frozen rows|60, one group", "segment-reduce: sum"],
        &["weighted sum", "degree"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_comma_join_is_a_hash_join() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(p.x * u.w) FROM p, u WHERE p.k = u.id AND p.y > 0)",
        &["HashJoinExec", "gather|live columns of u"],
        &["CrossJoinExec", "NestedLoopJoinExec", "degree"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p a, p b, u WHERE a.k = b.k AND u.id = b.k AND a.x + u.w > b.x)",
        &["HashJoinExec", "relaxed|a.x + u.w > b.x -> degree"],
        &["CrossJoinExec", "NestedLoopJoinExec"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_row_and_group_counts_are_those_of_the_exact_engine() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT AVG(t.n) FROM (SELECT p.k, SUM(p.x * m.a) AS n FROM p, m WHERE p.id < 73 GROUP BY p.k) t)",
        &["stage 1|frozen rows|73, 5 groups", "stage 2|frozen rows|5, one group", "gather|live columns of stage 1"],
        &["presence"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT AVG(t.n) FROM (SELECT p.k, SUM(p.x * m.a) AS n FROM p, m WHERE p.x > m.b GROUP BY p.k) t)",
        &["presence of the group -> segment-reduce: 1 - product of (1 - weight)", "frozen rows|100, 5 groups"],
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_and_its_gradient_are_one_pass_over_the_rows() {
    let s = shop().await;
    let f1 =
        "SELECT 2.0 * COUNT(*) FILTER (WHERE p.good) / (COUNT(*) + (SELECT COUNT(*) FROM p WHERE good)) FROM p, m WHERE p.x * m.b > m.a";
    let text = rows(&s, &format!("EXPLAIN TRAIN MAXIMIZE ({f1})")).await;
    let passes: Vec<&str> = text.lines().filter(|l| l.contains("|program|") && l.contains("pass")).collect();
    let over_rows: Vec<&&str> = passes.iter().filter(|l| l.contains("stage 1") || l.contains("100")).collect();
    assert_eq!(over_rows.len(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_learnable_column_is_reached_or_not_and_a_listed_one_must_be() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(p.x * m.a) FROM p, m)",
        &["run|learnable|m.a: reached by the gradient, 1 x 1 DOUBLE", "run|learnable|m.b: not reached"],
        &["m.b: reached"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(inner_product(u.e, u.e)) FROM u)",
        &["u.e: reached by the gradient, 5 x 4 REAL", "u.w: not reached"],
        &[],
    )
    .await;
    explain(&s, "TRAIN m.a MINIMIZE (SELECT SUM(p.x * m.a * m.b) FROM p, m)", &["m.a: reached", "stage 1|residual|b"], &["|m.b: "]).await;
    explain(
        &s,
        "TRAIN m MINIMIZE (SELECT SUM(m.a * hard(p.x > m.b)::DOUBLE) FROM p, m)",
        &["hard(p.x > m.b) -> exact, and the gradient stops here", "m.b: not reached"],
        &[],
    )
    .await;
    fails(&s, "EXPLAIN TRAIN m.b MINIMIZE (SELECT SUM(p.x * m.a) FROM p, m)", &["no gradient reaches the learnable column m.b"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temperatures_scales_and_batches_are_told() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p, m WHERE soft(p.x > m.a, 0.25) AND p.y < m.b) BATCH 10 RELAX (temperature => 0.4, final_temperature => 0.04, sigmoid => 'laplace')",
        &["temperature|0.4 to 0.04", "p.x > m.a -> degree, laplace, temperature 0.25", "p.y < m.b -> degree, laplace, temperature of the run", "run|scale|", "batch|rows of stage 1, 10 at each step"],
        &["logistic"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p, m WHERE p.x > m.a) RELAX (scale => 'none')",
        &["run|scale|p.x > m.a: 1.000000"],
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explaining_changes_nothing() {
    let s = shop().await;
    let before = rows(&s, "SELECT * FROM m").await;
    rows(&s, "EXPLAIN TRAIN MINIMIZE (SELECT SUM(p.x * m.a) FROM p, m) FOR 1000000 STEPS").await;
    assert_eq!(rows(&s, "SELECT * FROM m").await, before);
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM nabla.runs").await, "0");
    fails(
        &s,
        "EXPLAIN TRAIN MINIMIZE (SELECT SUM(round(m.a)) FROM m) USING adm",
        &["unknown optimizer", "round of a live value is a step"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_query_is_pairs_and_a_degree_of_each_outer_row() {
    let s = shop().await;
    // The pairs are a hash join of the exact engine; rows of `p` without a pair are not in the last domain.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p WHERE EXISTS (SELECT 1 FROM p q, u, m WHERE q.k = p.id AND u.id = q.k AND u.w > m.a))",
        &[
            "HashJoinExec",
            "stage 2|frozen rows|100, 5 groups",
            "u.w > m.a -> degree",
            "a row exists -> segment-reduce: 1 - product of (1 - weight)",
            "stage 3|frozen rows|5, one group",
            "gather|live columns of stage 2",
        ],
        &["CrossJoinExec: left", "no row matches"],
    )
    .await;
    // NOT IN needs falsity: the rows that are NULL are pairs too.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p WHERE p.id NOT IN (SELECT q.k FROM p q, m WHERE q.x > m.a))",
        &[
            "HashJoinExec",
            "UnionExec",
            "a row matches -> segment-reduce",
            "a row may match -> segment-reduce",
            "stage 3|frozen rows|100, one group",
        ],
        &[],
    )
    .await;
    // What is frozen stays with the exact engine.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(p.x * m.a) FROM p, m WHERE p.k IN (SELECT k FROM p WHERE good) AND EXISTS (SELECT 1 FROM u WHERE u.id = p.k))",
        &["join_type=RightSemi", "segment-reduce: sum"],
        &["a row", "degree", "stage 3"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outer_joins_and_sets_are_rows_one_after_another() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM p FULL JOIN u ON p.k = u.id AND p.x > u.w)",
        &["p.x > u.w -> degree", "no row matches -> segment-reduce: product of (1 - weight)", "UnionExec"],
        &[],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM (SELECT p.k FROM p, m WHERE p.x > m.a EXCEPT SELECT p.k FROM p, m WHERE p.y > m.b) t)",
        &["presence of the group -> segment-reduce", "no row matches -> segment-reduce"],
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_said_with_its_partitions_and_its_membership() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.y) FROM (SELECT p.y FROM p, m ORDER BY p.x * m.a DESC, p.id LIMIT 7 OFFSET 2) t)",
        &[
            "stage 1|frozen rows|100, one partition",
            "stage 1|relaxed|ORDER BY p.x * m.a DESC LIMIT 9 -> segment-select: top 9, logistic, temperature of the run; later keys of the order only break ties",
            "ORDER BY p.x * m.a DESC LIMIT 2 -> segment-select: top 2",
            "run|scale|p.x * m.a DESC: ",
        ],
        &["SortExec", "over pairs"],
    )
    .await;
    // A rank that is only compared is not computed, and a frozen rank is the exact engine's.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.y * t.place) FROM (SELECT p.y, ROW_NUMBER() OVER (PARTITION BY p.k ORDER BY p.x * m.a) AS n, RANK() OVER (ORDER BY p.y) AS place FROM p, m) t WHERE t.n <= 1)",
        &["stage 1|frozen rows|100, 5 partitions", "ORDER BY p.x * m.a LIMIT 1 -> segment-select: top 1, softmax", "WindowAggExec"],
        &["over pairs", "degree"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.y / t.n) FROM (SELECT p.y, RANK() OVER (ORDER BY p.x * m.a) AS n FROM p, m) t) RELAX (sigmoid => 'laplace')",
        &["-> segment-select: 1 + sum of laplace degrees over pairs, temperature of the run"],
        &["top"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_say_what_they_became() {
    let s = shop().await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT CORR(p.x, p.y * m.b) + VAR_POP(p.x) FROM p, m WHERE p.x > m.a)",
        &[
            "-> segment-reduce: weighted means, then corr about them",
            "-> segment-reduce: weighted means, then var_pop about them",
            "stage 1|frozen rows|100, one group",
        ],
        &[],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.n * t.n) FROM (SELECT p.x > m.a AS up, BOOL_OR(p.y > m.b) AS o, COUNT(*) AS n FROM p, m GROUP BY 1) t WHERE t.o)",
        &[
            "p.x > m.a -> degree, logistic",
            "UnionExec",
            "frozen rows|300, 3 groups",
            "-> segment-reduce: 1 - product of (1 - weight * truth)",
        ],
        &[],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(DISTINCT p.k) FROM p, m WHERE p.x > m.a)",
        &["frozen rows|100, 5 groups", "presence of the group -> segment-reduce: 1 - product of (1 - weight)"],
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cross_product_is_not_written_out_where_only_its_sums_are_read() {
    let s = shop().await;
    run(&s, "CREATE TABLE v (id BIGINT, e REAL[4] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO v (id) SELECT value FROM range(7)")
        .await;
    // A one-row table multiplies by 1, and what is about one side is run on that side.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM u, v, m WHERE cosine_distance(u.e, v.e) < m.a AND v.id > 1)",
        &["stage 1|frozen rows|cross product of 5 x 5 rows, not written out, one group", "FilterExec", "gather|live columns of v"],
        &["CrossJoinExec", "NestedLoopJoinExec"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.n * t.n) FROM (SELECT u.id, COUNT(*) AS n FROM u JOIN v ON inner_product(u.e, v.e) > 0.1, m WHERE u.w > m.a GROUP BY u.id) t)",
        &["stage 1|frozen rows|cross product of 5 x 7 rows, not written out, 5 groups", "stage 2|frozen rows|5, one group"],
        &["CrossJoinExec", "NestedLoopJoinExec"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT COUNT(*) FROM u WHERE NOT EXISTS (SELECT 1 FROM v, p q WHERE inner_product(u.e, v.e) > q.x AND q.k = u.id))",
        &["frozen rows|cross product of 7 x 100 rows, not written out, 5 groups", "HashJoinExec"],
        &["NestedLoopJoinExec"],
    )
    .await;
    for (most, said) in [
        (3, "for each of 5 rows the 3 combinations of greatest weight, chosen once, when training starts"),
        (7, "all of them, for there are only 7 for each row"),
    ] {
        explain(
            &s,
            &format!("TRAIN MINIMIZE (SELECT COUNT(*) FROM u, v, m WHERE cosine_distance(u.e, v.e) < m.a) RELAX (candidates => {most})"),
            &["cross product of 5 x 7 rows, not written out, one group", &format!("stage 1|relaxed|candidates => {most} -> {said}")],
            &[],
        )
        .await;
    }
    // The pairs of a group are gone over one group after another.
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.n) FROM (SELECT v.id % 2, MAX(inner_product(u.e, v.e)) AS n FROM u, v GROUP BY v.id % 2) t)",
        &["stage 1|frozen rows|cross product of 5 x 7 rows, not written out, 2 groups"],
        &["CrossJoinExec", "NestedLoopJoinExec"],
    )
    .await;
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(t.n * t.n) FROM (SELECT u.id % 2, v.id % 3, COUNT(*) AS n FROM u, v WHERE inner_product(u.e, v.e) > 0.1 GROUP BY u.id % 2, v.id % 3) t)",
        &["stage 1|frozen rows|cross product of 5 x 7 rows, not written out, 6 groups"],
        &["CrossJoinExec", "NestedLoopJoinExec"],
    )
    .await;
    // An extremum by keys of both sides, or a frozen column of both, need the pairs written out.
    for objective in [
        "SELECT SUM(t.n) FROM (SELECT u.id, v.id AS other, MAX(inner_product(u.e, v.e)) AS n FROM u, v GROUP BY u.id, v.id) t",
        "SELECT SUM(u.w * (u.id - v.id)) FROM u, v",
    ] {
        explain(&s, &format!("TRAIN MINIMIZE ({objective})"), &["stage 1|frozen rows|35"], &["not written out"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_predicate_says_what_it_became() {
    let s = shop().await;
    let count = |p: &str| format!("TRAIN MINIMIZE (SELECT COUNT(*) FROM p, m WHERE {p})");
    let degree = |p: &str| format!("relaxed|{p} -> degree, logistic, temperature of the run");
    let bump = |p: &str| format!("relaxed|{p} -> degree, gaussian, temperature of the run");
    for (predicate, expect, expect_not) in [
        ("p.x > m.a AND p.y >= m.b", vec![degree("p.x > m.a"), degree("p.y >= m.b"), "logic|product".into()], vec!["gaussian"]),
        ("p.x < m.a OR p.y <= m.b", vec![degree("p.x < m.a"), degree("p.y <= m.b")], vec!["gaussian"]),
        ("p.x = m.a AND p.y <> m.b", vec![bump("p.x = m.a"), bump("p.y != m.b")], vec!["logistic"]),
        ("NOT (p.x > m.a AND p.good)", vec![degree("p.x > m.a")], vec!["relaxed|p.good"]),
        ("p.x BETWEEN m.a AND m.b", vec![degree("p.x >= m.a"), degree("p.x <= m.b")], vec!["BETWEEN ->"]),
        ("p.y IN (m.a, m.b, 0.5)", vec![bump("p.y = m.a"), bump("p.y = m.b"), "residual|p.y = 0.5".into()], vec!["relaxed|p.y = 0.5"]),
        // Frozen: 0 or 1, by the exact engine.
        (
            "(p.x > m.a OR p.kind LIKE 'a%') AND p.x * m.a IS NOT NULL AND p.y IS NOT NULL",
            vec![degree("p.x > m.a"), "residual|p.kind LIKE a%".into()],
            vec!["relaxed|p.kind", "relaxed|p.y"],
        ),
        ("CASE WHEN p.good THEN p.x > m.a ELSE p.y > m.b END", vec![degree("p.x > m.a"), degree("p.y > m.b")], vec!["relaxed|p.good"]),
        (
            "hard(p.x > m.a) AND p.y > m.b",
            vec!["hard(p.x > m.a) -> exact, and the gradient stops here".into(), degree("p.y > m.b")],
            vec![],
        ),
        ("soft(p.x > m.a, 0.25)", vec!["p.x > m.a -> degree, logistic, temperature 0.25".into()], vec!["temperature of the run"]),
    ] {
        explain(&s, &count(predicate), &expect.iter().map(String::as_str).collect::<Vec<_>>(), &expect_not).await;
    }
    explain(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(CASE WHEN p.x > m.a THEN p.y * m.b ELSE m.a END) + SUM(CAST(p.y > m.b AS DOUBLE)) FROM p, m)",
        &[&degree("p.x > m.a"), &degree("p.y > m.b"), "-> segment-reduce: sum"],
        &["weighted"],
    )
    .await;
    for (logic, words) in [("godel", "AND the lesser degree, OR the greater"), ("lukasiewicz", "AND max(0, d(p) + d(q) - 1)")] {
        explain(
            &s,
            &format!("{} RELAX (logic => '{logic}')", count("p.x > m.a OR p.y > m.b")),
            &[&format!("logic|{logic}: "), words],
            &["logic|product"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_says_what_it_became() {
    let s = shop().await;
    let no_row = "no row matches -> segment-reduce: product of (1 - weight)";
    let a_row = "a row matches -> segment-reduce: 1 - product of (1 - weight)";
    let presence = "presence of the group -> segment-reduce: 1 - product of (1 - weight)";
    for (query, expect, expect_not) in [
        // Pairs, and the rows without one, one after another.
        (
            "SELECT COUNT(u.w) FROM p LEFT JOIN u ON p.k = u.id AND p.x > u.w",
            vec!["p.x > u.w -> degree", no_row, "frozen rows|200, one group"],
            vec![],
        ),
        (
            "SELECT COUNT(p.x) FROM u RIGHT JOIN p ON p.k = u.id AND p.x > u.w",
            vec!["p.x > u.w -> degree", no_row, "frozen rows|200, one group"],
            vec![],
        ),
        // Frozen matches stay an outer join of the exact engine.
        (
            "SELECT SUM(COALESCE(u.w, 1) * p.x) FROM p LEFT JOIN u ON p.k = u.id + 2",
            vec!["HashJoinExec", "frozen rows|100, one group"],
            vec!["no row", "degree"],
        ),
        (
            "SELECT COUNT(*) FROM p LEFT SEMI JOIN (SELECT u.id, u.w FROM u, m WHERE u.w > m.a) q ON p.k = q.id AND p.x > q.w",
            vec![a_row, "u.w > m.a -> degree", "p.x > q.w -> degree"],
            vec!["no row"],
        ),
        ("SELECT COUNT(*) FROM p LEFT ANTI JOIN u ON p.k = u.id AND p.x > u.w", vec![no_row, "p.x > u.w -> degree"], vec!["a row"]),
        (
            "SELECT COUNT(*) FROM p WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = p.k AND u.w > p.x)",
            vec!["a row exists -> segment-reduce: 1 - product"],
            vec!["no row"],
        ),
        // Groups and aggregates.
        (
            "SELECT SUM(t.a) + SUM(t.b) FROM (SELECT p.k, MAX(p.x * m.a) AS a, MIN(p.y) AS b FROM p, m WHERE p.y > m.b GROUP BY p.k) t",
            vec!["max(p.x * m.a) -> segment-select: expected extremum", "min(p.y) -> segment-select: expected extremum", presence],
            vec!["mellowmax"],
        ),
        (
            "SELECT STDDEV(p.x * m.a) + COVAR_POP(p.x, p.y * m.b) + AVG(p.x * m.a) FILTER (WHERE p.y > m.b) + SUM(p.x * m.a) + COUNT(*) FROM p, m",
            vec![
                "stddev(p.x * m.a) -> segment-reduce: weighted means, then stddev about them",
                "covar_pop(p.x, p.y * m.b) -> segment-reduce: weighted means, then covar_pop about them",
                "FILTER (WHERE p.y > m.b) -> segment-reduce: weighted mean",
                "sum(p.x * m.a) -> segment-reduce: sum",
            ],
            vec!["relaxed|count(1)"],
        ),
        (
            "SELECT MEDIAN(p.x * m.a) + PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY p.y * m.b) FROM p, m",
            vec![
                "median(p.x * m.a) -> segment-select: order statistics as roots",
                "percentile_cont(p.y * m.b, 0.9)",
                "run|scale|median(p.x * m.a): ",
            ],
            vec![],
        ),
        (
            "SELECT COUNT(*) FROM (SELECT p.k FROM p, m GROUP BY p.k HAVING BOOL_AND(p.x > m.a)) t",
            vec!["bool_and(p.x > m.a) -> segment-reduce: product of (1 - weight * falsity)"],
            vec![presence],
        ),
        (
            "SELECT SUM(t.a) FROM (SELECT FIRST_VALUE(p.y ORDER BY p.x * m.a) AS a FROM p, m GROUP BY p.k) t",
            vec!["-> segment-select: mean weighted by a top 1, softmax"],
            vec![],
        ),
        (
            "SELECT SUM(array_sum(t.v)) FROM (SELECT array_agg(p.x * m.a ORDER BY p.id) AS v FROM p, m GROUP BY p.k) t",
            vec!["frozen rows|100, 5 groups", "-> segment-select: the rows one after another", "Stack { values"],
            vec!["presence"],
        ),
        // A kink is no operator: its value is exact.
        (
            "SELECT SUM(greatest(p.x, m.a) + least(p.y, m.b) + abs(m.a * p.x)) FROM p, m",
            vec!["-> segment-reduce: sum"],
            vec!["degree", "run|scale"],
        ),
        // Sets.
        (
            "SELECT COUNT(*) FROM (SELECT p.k FROM p, m WHERE p.x > m.a UNION SELECT u.id FROM u, m WHERE u.w > m.b) t",
            vec!["UnionExec", "frozen rows|105, 5 groups", presence],
            vec!["a row"],
        ),
        (
            "SELECT COUNT(*) FROM (SELECT DISTINCT p.k FROM p, m WHERE p.x > m.a) t",
            vec!["frozen rows|100, 5 groups", presence],
            vec!["a row"],
        ),
        (
            "SELECT COUNT(*) FROM (SELECT p.k FROM p, m WHERE p.x > m.a INTERSECT SELECT u.id FROM u, m WHERE u.w > m.b) t",
            vec![presence, a_row],
            vec!["no row"],
        ),
        // Orders and windows.
        (
            "SELECT SUM(t.a + t.b + t.c + t.d) FROM (SELECT ROW_NUMBER() OVER w AS a, DENSE_RANK() OVER w AS b, PERCENT_RANK() OVER w AS c, NTILE(4) OVER w AS d FROM p, m WINDOW w AS (PARTITION BY p.k ORDER BY p.x * m.a)) t",
            vec![
                "frozen rows|100, 5 partitions",
                "1 + sum of logistic degrees over pairs",
                "dense_rank()",
                "percent_rank()",
                "segment-select: 3 memberships, logistic",
            ],
            vec!["top"],
        ),
        (
            "SELECT SUM(t.a) + SUM(t.b) + SUM(t.c) FROM (SELECT SUM(p.x * m.a) OVER (PARTITION BY p.k ORDER BY p.id) AS a, LAG(p.y * m.b) OVER (ORDER BY p.id) AS b, MAX(p.x * m.a) OVER (PARTITION BY p.k) AS c FROM p, m) t",
            vec![
                "-> segment-select: difference of running sums",
                "frozen rows|100, 5 partitions",
                "frozen rows|100, one partition",
                "BoundedWindowAggExec",
                "max(p.x * m.a) -> segment-select: expected extremum",
            ],
            vec!["degree"],
        ),
        // A frozen order over weights has no temperature; a frame is its rows.
        (
            "SELECT SUM(t.x) FROM (SELECT p.x FROM p, m WHERE p.x > m.a ORDER BY p.id LIMIT 10) t",
            vec!["ORDER BY p.id LIMIT 10 -> segment-select: rows until their weights add up", "frozen rows|100, one partition", "degree"],
            vec!["softmax", "top 10"],
        ),
        (
            "SELECT SUM(t.n) FROM (SELECT RANK() OVER (PARTITION BY p.k ORDER BY p.id) AS n FROM p, m WHERE p.x > m.a) t",
            vec!["-> segment-select: 1 + running sum of weights", "frozen rows|100, 5 partitions"],
            vec!["pairs"],
        ),
        (
            "SELECT SUM(t.n) FROM (SELECT MAX(p.x * m.a) OVER (ORDER BY p.id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS n FROM p, m) t",
            vec!["-> segment-select: expected extremum", "frozen rows|298, 100 groups"],
            vec!["degree", "presence"],
        ),
        (
            "SELECT SUM(inner_product(t.v, t.v)) FROM (SELECT p.k, AVG(array_scale([1.0, 2.0], p.x * m.a)) AS v FROM p, m GROUP BY p.k) t",
            vec!["-> segment-reduce: mean", "frozen rows|100, 5 groups"],
            vec!["presence"],
        ),
        (
            "SELECT SUM(q.h) FROM p, LATERAL (SELECT u.w * p.x AS h FROM u WHERE u.id >= p.k ORDER BY u.w * p.y DESC LIMIT 1) q",
            vec!["frozen rows|300, 100 partitions", "softmax"],
            vec!["no row"],
        ),
        // Sub-queries by the joins and aggregates that they are.
        (
            "SELECT SUM(p.x - (SELECT AVG(q.y * m.a) FROM p q, m WHERE q.k = p.k)) / (SELECT SUM(u.w) FROM u) FROM p",
            vec!["frozen rows|2000, 100 groups", "avg(q.y * m.a) -> segment-reduce: mean", "sum(u.w) -> segment-reduce: sum"],
            vec!["presence", "degree"],
        ),
    ] {
        explain(&s, &format!("TRAIN MINIMIZE ({query})"), &expect, &expect_not).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smooth_maximum_is_said_to_be_one() {
    let s = shop().await;
    let query = "TRAIN MAXIMIZE (SELECT MAX(p.x * m.a) - MIN(p.y * m.b) FROM p, m)";
    let extremum = "segment-select: expected extremum";
    explain(&s, query, &[&format!("max(p.x * m.a) -> {extremum}")], &["mellowmax"]).await;
    let smooth =
        ["max(p.x * m.a) -> segment-select: mellowmax", "min(p.y * m.b) -> segment-select: mellowmax", "run|scale|max(p.x * m.a): "];
    explain(&s, &format!("{query} RELAX (smooth_max => true)"), &smooth, &[extremum]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_relaxation_is_refused_with_its_place_and_a_way_out() {
    let s = shop().await;
    for (query, place, remedy) in [
        ("SELECT COUNT(*) FROM (SELECT COUNT(*) FROM u GROUP BY u.w) t", "line 1, column 79", "no finite set of values"),
        ("SELECT COUNT(*) FROM (SELECT DISTINCT u.w FROM u) t", "at: u.w", "no finite set of values"),
        ("SELECT COUNT(*) FROM (SELECT u.w FROM u INTERSECT SELECT p.x FROM p) t", "at: u.w", "no finite set of values"),
        ("SELECT COUNT(*) FROM u WHERE CAST(u.w AS TEXT) LIKE '0%'", "line 1, column 59", "frozen columns"),
        ("SELECT SUM(date_part('year', to_timestamp(u.w))) FROM u", "line 1, column 67", "estimator => 'perturbed'"),
        ("SELECT SUM(round(u.w)) FROM u", "line 1, column 42", "forward => 'exact'"),
        ("SELECT SUM(t.n) FROM (SELECT SUM(u.w) OVER (ORDER BY u.w) AS n FROM u) t", "line 1, column 78", "order by frozen columns"),
    ] {
        fails(&s, &format!("EXPLAIN TRAIN MINIMIZE ({query})"), &[place, "hint: ", remedy]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_measured_and_not_committed() {
    let s = shop().await;
    let train = "TRAIN MINIMIZE (SELECT AVG(power(inner_product(u.e, v.e) - p.x * m.a, 2)) FROM p JOIN u ON u.id = p.k JOIN u v ON v.id = p.id % 5, m) \
                 FOR 7 STEPS";
    let before = rows(&s, "SELECT * FROM m").await;
    let all = format!("EXPLAIN ANALYZE {train}");
    let outcome = s.run(&all).await.unwrap();
    let names: Vec<String> = outcome.collect().await.unwrap()[0].schema().fields().iter().map(|f| f.name().clone()).collect();
    let wanted = ["strip", "over", "instruction", "ms", "share", "rows", "bytes", "operations", "of_bandwidth", "of_arithmetic"];
    assert_eq!(names, wanted);
    let text = rows(&s, &all).await;
    let line = |part: &str| text.lines().find(|l| l.contains(part)).unwrap_or_else(|| panic!("{part}\n{text}")).to_string();
    // Each step reads two vectors of four doubles and two row numbers of four bytes for each of 100 rows, and multiplies and adds them.
    let dot: Vec<String> = line("Dot(").split('|').map(str::to_string).collect();
    assert_eq!(dot[dot.len() - 5..dot.len() - 2], ["100", "7200", "800"], "{text}");
    line("a step, of 7");
    line("optimizer");
    let shares: f64 =
        text.lines().filter(|l| !l.contains("a step, of 7")).filter_map(|l| l.split('|').rev().nth(5)?.parse::<f64>().ok()).sum();
    assert!((shares - 1.0).abs() < 1e-4, "{shares}\n{text}");
    assert_eq!(rows(&s, "SELECT * FROM m").await, before);
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM nabla.runs").await, "0");
    fails(&s, "EXPLAIN ANALYZE TRAIN MINIMIZE (SELECT SUM(m.a) FROM m) RELAX (estimator => 'perturbed')", &["no program to measure"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_computed_of_one_side_of_a_join_is_computed_once_for_each_of_its_rows() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE image (id BIGINT, x REAL[9]);
         INSERT INTO image SELECT value, [sin(value), 1, 2, 3, 4, 5, 6, cos(value), 8] FROM range(30);
         CREATE TABLE layer (w REAL[8][9] LEARNABLE DEFAULT init_normal(0, 0.1)); INSERT INTO layer DEFAULT VALUES;
         CREATE TABLE digit (id BIGINT, w REAL[8] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO digit (id) SELECT value FROM range(10)",
    )
    .await;
    // The ranks need all pairs of images and digits, but not the products of the layer.
    let text = rows(
        &s,
        "EXPLAIN ANALYZE TRAIN MAXIMIZE (SELECT SUM(t.id) FROM (SELECT d.id, ROW_NUMBER() OVER (PARTITION BY i.id ORDER BY \
           inner_product(relu(matvec(l.w, i.x)), d.w) DESC) AS place FROM image i, layer l, digit d) t WHERE t.place = 1) FOR 3 STEPS",
    )
    .await;
    let products: Vec<&str> = text.lines().filter(|l| l.contains("RowsTimesMatrix")).collect();
    assert!(!products.is_empty() && products.iter().all(|l| l.contains("|vectors of stage 1|") && l.contains("|30|")), "{text}");
}
