//! What depends on the order of rows by a live value: top-k, ranks, extrema, quantiles, windows.

use crate::laws::slope_of;
use crate::subqueries::{all_are, database, w};
use crate::{fails, rows, run, session};
use nabladb::Session;

/// 3 images with 4 candidate digits each, and a live temperature of their logits.
async fn digits() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE l (image BIGINT, pair BIGINT, digit BIGINT, x DOUBLE);
         INSERT INTO l SELECT image, image / 2, digit, sin(image * 7 + digit * 3.3) * 2 FROM (SELECT value AS image FROM range(6)), (SELECT value AS digit FROM range(4));
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.7); INSERT INTO m DEFAULT VALUES;
         CREATE VIEW best AS SELECT image, pair, digit FROM
           (SELECT l.*, ROW_NUMBER() OVER (PARTITION BY l.image ORDER BY l.x * m.a DESC) AS n FROM l, m) t WHERE n = 1",
    )
    .await;
    s
}

async fn relaxed(s: &Session, objective: &str, options: &str) -> f64 {
    let sql = format!("TRAIN MINIMIZE ({objective}) RELAX ({options})");
    s.relaxed(&sql).await.unwrap_or_else(|e| panic!("{sql}\n{e}")).value().unwrap()
}

/// The softmax of an image's logits at a temperature, without scale.
fn shares(image: u32, a: f64, t: f64) -> Vec<f64> {
    let e: Vec<f64> = (0..4).map(|d| ((f64::from(image * 7) + f64::from(d) * 3.3).sin() * 2.0 * a / t).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|x| x / sum).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_top_1_exclude_each_other_also_through_a_join() {
    let s = digits().await;
    let options = "temperature => 0.8, scale => 'none'";
    for image in 0..6 {
        for (digit, share) in shares(image, 0.7, 0.8).into_iter().enumerate() {
            let of = format!("SELECT COUNT(*) FROM best WHERE image = {image} AND digit = {digit}");
            assert!((relaxed(&s, &of, options).await - share).abs() < 1e-12);
        }
        // The groups' presences are the shares.
        let groups = format!("SELECT COUNT(*) FROM (SELECT digit % 2 FROM best WHERE image = {image} GROUP BY digit % 2) t");
        assert!((relaxed(&s, &groups, options).await - 1.0).abs() < 1e-12);
    }
    for pair in 0..3 {
        let sums = "SELECT a.digit + b.digit AS total, COUNT(*) AS n FROM best a JOIN best b ON a.pair = b.pair AND a.image < b.image";
        let (one, two) = (shares(2 * pair, 0.7, 0.8), shares(2 * pair + 1, 0.7, 0.8));
        for total in 0..7 {
            let expected: f64 =
                (0..4).flat_map(|i| (0..4).map(move |j| (i, j))).filter(|(i, j)| i + j == total).map(|(i, j)| one[i] * two[j]).sum();
            let count = format!("SELECT SUM(n) FROM ({sums} WHERE a.pair = {pair} AND a.digit + b.digit = {total} GROUP BY 1) t");
            // The count of the one group, weighed with the presence of the group.
            assert!((relaxed(&s, &count, options).await - expected * expected).abs() < 1e-12);
        }
        let presences = format!("SELECT COUNT(*) FROM ({sums} WHERE a.pair = {pair} GROUP BY 1) t");
        assert!((relaxed(&s, &presences, options).await - 1.0).abs() < 1e-12);
    }
    // Over several pairs the parts are rows of their own.
    let presence: f64 = (0..4).map(|d| 1.0 - (0..6).map(|i| 1.0 - shares(i, 0.7, 0.8)[d]).product::<f64>()).sum();
    let found = relaxed(&s, "SELECT COUNT(*) FROM (SELECT digit FROM best GROUP BY digit) t", options).await;
    assert!((found - presence).abs() < 1e-12, "{found} {presence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weights_of_the_first_k_sum_to_k_whatever_is_before_them() {
    let s = digits().await;
    for sigmoid in ["logistic", "laplace", "cauchy", "linear"] {
        for temperature in [1e-6, 0.1, 3.0] {
            let options = format!("sigmoid => '{sigmoid}', temperature => {temperature}");
            for (query, count) in [
                ("SELECT image FROM l, m ORDER BY x * a LIMIT 7", 7.0),
                ("SELECT image FROM l, m ORDER BY x * a LIMIT 5 OFFSET 21", 3.0),
                ("SELECT image FROM l, m ORDER BY x * a OFFSET 20", 4.0),
                ("SELECT image FROM l, m ORDER BY x * a LIMIT 1000", 24.0),
                ("SELECT image FROM l, m WHERE x + a > 0 QUALIFY RANK() OVER (PARTITION BY image ORDER BY x * a) < 1", 0.0),
                ("SELECT image FROM l, m QUALIFY ROW_NUMBER() OVER (PARTITION BY image ORDER BY x * a) BETWEEN 2 AND 2", 6.0),
                ("SELECT image FROM l, m QUALIFY 2 > ROW_NUMBER() OVER (PARTITION BY image ORDER BY x * a)", 6.0),
                ("SELECT DISTINCT ON (pair) image FROM l, m ORDER BY pair, x * a", 3.0),
                ("SELECT image FROM l, m ORDER BY pair, x * a LIMIT 9", 9.0),
            ] {
                let found = relaxed(&s, &format!("SELECT COUNT(*) FROM ({query}) t"), &options).await;
                assert!((found - count).abs() < 1e-7, "{found} is not {count}, {options}: {query}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worked_example_trains_ndcg_through_ranks() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE judged AS
         SELECT id, query_id, bm25, age, quality, CAST(least(3, greatest(0, floor(4.5 * (bm25 - 0.6 * age + 0.15 * noise)))) AS INT) AS grade
         FROM (SELECT value AS id, value / 25 AS query_id, (value * 31 % 97) / 97.0 AS quality,
                      (value * 7919 % 1009) / 1009.0 AS bm25, (value * 104729 % 997) / 997.0 AS age, (value * 15485863 % 991) / 991.0 - 0.5 AS noise
               FROM generate_series(0, 999));
         CREATE TABLE ranker (w_text DOUBLE LEARNABLE DEFAULT 0.3 CHECK (w_text >= 0), w_age DOUBLE LEARNABLE DEFAULT 0.0, cutoff DOUBLE LEARNABLE DEFAULT 0.3 CHECK (cutoff BETWEEN 0 AND 1));
         INSERT INTO ranker DEFAULT VALUES;
         CREATE TABLE queries AS SELECT query_id AS id, SUM((power(2, grade) - 1) / log2(1 + place)) AS ideal
           FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY query_id ORDER BY grade DESC, id) AS place FROM judged) GROUP BY query_id",
    )
    .await;
    let objective = "SELECT AVG(dcg / ideal) FROM (
           SELECT q.id, q.ideal, SUM((power(2, d.grade) - 1) / log2(1 + d.rank)) AS dcg
           FROM queries q JOIN (
             SELECT d.*, RANK() OVER (PARTITION BY d.query_id ORDER BY r.w_text * d.bm25 - r.w_age * d.age DESC) AS rank
             FROM judged d, ranker r WHERE d.quality > r.cutoff) d ON d.query_id = q.id
           GROUP BY q.id, q.ideal)";
    let before: f64 = rows(&s, objective).await.parse().unwrap();
    run(&s, &format!("TRAIN ranker MAXIMIZE ({objective}) USING adam (learning_rate => 0.05) FOR 60 STEPS")).await;
    let after: f64 = rows(&s, objective).await.parse().unwrap();
    assert!(before < 0.75 && after > 0.95, "{before} {after} {}", rows(&s, "SELECT * FROM ranker").await);
    // Batches are queries with all of their documents.
    run(&s, &format!("TRAIN ranker MAXIMIZE ({objective}) USING adam (learning_rate => 0.02) FOR 3 EPOCHS BATCH 8")).await;
    let again: f64 = rows(&s, objective).await.parse().unwrap();
    assert!(again > 0.95, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learned_search_is_trained_through_its_own_limit() {
    let s = digits().await;
    run(&s, "CREATE TABLE d AS SELECT value AS id, sin(value * 0.7) AS x, cos(value * 1.3) AS y, CAST(sin(value * 0.7) + 2 * cos(value * 1.3) > 1.2 AS INT) AS good FROM range(200);
             CREATE TABLE w (a DOUBLE LEARNABLE DEFAULT 1, b DOUBLE LEARNABLE DEFAULT 0); INSERT INTO w DEFAULT VALUES").await;
    let precision = "SELECT AVG(CAST(good AS DOUBLE)) FROM (SELECT good FROM d, w ORDER BY w.a * x + w.b * y DESC LIMIT 20) t";
    let before: f64 = rows(&s, precision).await.parse().unwrap();
    run(&s, &format!("TRAIN w MAXIMIZE ({precision}) USING adam (learning_rate => 0.05) FOR 100 STEPS")).await;
    let after: f64 = rows(&s, precision).await.parse().unwrap();
    assert!(before < 0.9 && after == 1.0, "{before} {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_have_no_relaxation_are_refused_with_a_way_out() {
    let s = digits().await;
    for (query, pieces) in [
        ("SELECT x FROM l, m WHERE x > a LIMIT 3", vec!["LIMIT without an order, over rows that a live filter weighs", "ORDER BY says"]),
        ("SELECT DISTINCT ON (x * a) x FROM l, m ORDER BY x * a", vec!["DISTINCT ON the live value"]),
        ("SELECT DISTINCT ON (image) x * a AS x FROM l, m ORDER BY image", vec!["DISTINCT ON over a live relation without an order"]),
        ("SELECT x FROM l, m WHERE x > a ORDER BY image, x * a LIMIT 3", vec!["ORDER BY a frozen value and then l.x * m.a"]),
        ("SELECT x FROM l, m QUALIFY ROW_NUMBER() OVER (PARTITION BY x * a ORDER BY x) = 1", vec!["PARTITION BY the live value"]),
        (
            "SELECT PERCENT_RANK() OVER (ORDER BY image, x * a) AS x FROM l, m",
            vec!["percent_rank with a frozen key before a live one", "PARTITION BY the frozen key"],
        ),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE (SELECT SUM(x) FROM ({query}) t)"), &pieces).await;
    }
    let all_pairs = "TRAIN MINIMIZE (SELECT AVG(n) FROM (SELECT RANK() OVER (ORDER BY value * a) AS n FROM range(70000), m) t)";
    fails(&s, all_pairs, &["compares 4.9e9 pairs", "sigmoid => 'laplace'"]).await;
    run(&s, &format!("{all_pairs} FOR 1 STEP RELAX (sigmoid => 'laplace')")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extrema_and_quantiles_of_rows_that_are_all_present_are_exact_at_any_temperature() {
    let s = digits().await;
    for (objective, exact) in [
        ("SELECT MAX(x * a) FROM l, m", "SELECT MAX(x * a) FROM l, m"),
        (
            "SELECT SUM(b) FROM (SELECT image, MIN(x * a) AS b FROM l, m GROUP BY image) t",
            "SELECT SUM(b) FROM (SELECT image, MIN(x * a) AS b FROM l, m GROUP BY image) t",
        ),
    ] {
        let exact: f64 = rows(&s, exact).await.parse().unwrap();
        let found = relaxed(&s, objective, "temperature => 5").await;
        assert!((found - exact).abs() <= 1e-15 * exact.abs(), "{found} is not {exact}: {objective}");
    }
    // Mellowmax lies below the maximum, and comes to it.
    let exact: f64 = rows(&s, "SELECT MAX(x * a) FROM l, m").await.parse().unwrap();
    let (hot, cold) = (
        relaxed(&s, "SELECT MAX(x * a) FROM l, m", "smooth_max => true, temperature => 0.5").await,
        relaxed(&s, "SELECT MAX(x * a) FROM l, m", "smooth_max => true, temperature => 1e-9").await,
    );
    assert!(hot < exact - 0.1 && (cold - exact).abs() < 1e-7, "{hot} {cold} {exact}");
    fails(&s, "TRAIN MINIMIZE (SELECT MAX(x * a) FROM l, m) RELAX (smooth_max => 3)", &["smooth_max cannot be 3", "true or false"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantile_is_continuous_in_the_weights() {
    let s = digits().await;
    // One row's weight goes from 0 to 1: the median may move, but never jumps.
    let sql = "TRAIN MINIMIZE (SELECT MEDIAN(x * 3) FROM l, m WHERE image < 3 OR (image = 4 AND a > 0)) RELAX (temperature => 0.2, scale => 'none')";
    let mut query = s.relaxed(sql).await.unwrap();
    let at: Vec<f64> = (-400..=400)
        .map(|i| {
            query.set("m.a", &[f64::from(i) / 200.0]).unwrap();
            query.value().unwrap()
        })
        .collect();
    let jump = at.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
    assert!(jump < 0.1, "{jump}");
    for (query, pieces) in [
        ("SELECT PERCENTILE_CONT(x * a, a) FROM l, m", vec!["a literal between 0 and 1"]),
        (
            "SELECT FIRST_VALUE(x * a ORDER BY image, x * a) FROM l, m",
            vec!["by a frozen key before a live one", "ROW_NUMBER() OVER (...) = 1"],
        ),
        ("SELECT STDDEV(digit) FROM l, m WHERE x > a GROUP BY image HAVING FIRST_VALUE(x * a) > 0", vec!["or without an order"]),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE ({query})"), &pieces).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learned_fallback_is_trained_through_its_choice() {
    let s = session().await;
    // Of two sources with learned trust, each item takes the value of the more trusted one: the second is right.
    run(
        &s,
        "CREATE TABLE claims AS SELECT value / 2 AS item, value % 2 AS source, CASE WHEN value % 2 = 1 THEN sin(value / 2) ELSE 3.0 END AS claim FROM range(80);
         CREATE TABLE truth AS SELECT value AS item, sin(value) AS t FROM range(40);
         CREATE TABLE trust (source BIGINT, w DOUBLE LEARNABLE DEFAULT 0); INSERT INTO trust (source) VALUES (0), (1);
         TRAIN trust MINIMIZE (SELECT AVG(power(v - t.t, 2)) FROM (SELECT c.item, FIRST_VALUE(c.claim ORDER BY s.w DESC) AS v FROM claims c JOIN trust s ON c.source = s.source GROUP BY c.item) b JOIN truth t ON b.item = t.item)
         USING adam (learning_rate => 0.1) FOR 50 STEPS RELAX (scale => 'none')",
    )
    .await;
    assert_eq!(rows(&s, "SELECT source FROM trust ORDER BY w DESC LIMIT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_over_a_frozen_order_read_the_rows_that_the_exact_engine_finds() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE d AS SELECT value AS id, value % 4 AS g, value % 7 AS t, sin(value * 1.7) AS x FROM range(60);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.8); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    // All rows are present, so nothing is soft: equal at any temperature.
    let mut wrong = vec![];
    for window in [
        "SUM(x * a) OVER (PARTITION BY g ORDER BY id)",
        "SUM(x * a) OVER (ORDER BY t RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING)",
        "AVG(x * a) OVER (PARTITION BY g ORDER BY id DESC ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)",
        "COUNT(x * a) OVER (ORDER BY id ROWS BETWEEN 5 FOLLOWING AND 7 FOLLOWING) * a",
        "SUM(x * a) FILTER (WHERE t > 3) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING)",
        "SUM(x * a) OVER (ORDER BY t GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
        "LAG(x * a, 3) OVER (PARTITION BY g ORDER BY id)",
        "LEAD(x * a, 1, 0.5) OVER (PARTITION BY g ORDER BY id)",
        "NTH_VALUE(x * a, 2) OVER (PARTITION BY g ORDER BY id)",
        "FIRST_VALUE(x * a) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
        "MAX(x * a) OVER (PARTITION BY g)",
        "MEDIAN(x) OVER (PARTITION BY g) + a",
        "AVG(x * a) OVER ()",
        "MIN(x * a) OVER (ORDER BY id)",
        "MAX(x * a) OVER (PARTITION BY g ORDER BY t DESC ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
        "MIN(x * a) FILTER (WHERE t > 3) OVER (ORDER BY t + 1, id ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING)",
        "MAX(a - x) OVER (ORDER BY t RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "SUM(x * a) OVER (ORDER BY t + id RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)",
        "RANK() OVER (PARTITION BY g ORDER BY id) * a",
        "SUM(x) OVER (PARTITION BY g ORDER BY id) * a",
    ] {
        let objective = format!("SELECT SUM(w * (id + 1)) + COUNT(w) FROM (SELECT id, {window} AS w FROM d, m) t");
        let exact: f64 = rows(&s, &objective).await.parse().unwrap();
        let sql = format!("TRAIN MINIMIZE ({objective}) RELAX (temperature => 3)");
        match s.relaxed(&sql).await.map(|mut query| query.value()) {
            Ok(Some(found)) if (found - exact).abs() <= 1e-12 * exact.abs() => {}
            other => wrong.push(format!("{window}: {other:?} is not {exact}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Momentum is learned through a window, on whole series in batches.
    run(&s, "CREATE TABLE y AS SELECT id, g, x - 0.4 * LAG(x, 1, 0.0) OVER (PARTITION BY g ORDER BY id) AS y FROM d").await;
    let objective = "SELECT AVG(power(p.w - y.y, 2)) FROM (SELECT id, x - LAG(x * a, 1, 0.0) OVER (PARTITION BY g ORDER BY id) AS w FROM d, m) p JOIN y ON y.id = p.id";
    run(&s, &format!("TRAIN m MINIMIZE ({objective}) USING adam (learning_rate => 0.05) FOR 40 EPOCHS BATCH 20")).await;
    let learned: f64 = rows(&s, "SELECT a FROM m").await.parse().unwrap();
    assert!((learned - 0.4).abs() < 1e-3, "{learned}");
    for (window, pieces) in [
        ("SUM(x) OVER (ORDER BY x * a)", vec!["in the live order", "order by frozen columns"]),
        ("VAR(x * a) OVER (ORDER BY id)", vec!["has no relaxation yet", "aggregates of a whole partition"]),
        ("LAG(x * a) IGNORE NULLS OVER (ORDER BY id)", vec!["leave IGNORE NULLS out"]),
        (
            "SUM(DISTINCT x * a) OVER (PARTITION BY g)",
            vec!["sum(DISTINCT d.x * m.a) in this place", "hint: aggregate distinct values in a sub-query"],
        ),
        ("NTILE(g) OVER (ORDER BY x * a)", vec!["must be a literal between 1 and 100"]),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE (SELECT SUM(w) FROM (SELECT {window} AS w FROM d, m) t)"), &pieces).await;
    }
    for (window, pieces) in [
        ("LAG(x * a) OVER (ORDER BY id)", vec!["over rows that a live filter weighs", "filter after the window"]),
        ("SUM(x) OVER (ORDER BY id ROWS 2 PRECEDING)", vec!["over a number of rows that a live filter weighs"]),
        ("MAX(x * a) OVER (ORDER BY id ROWS 2 PRECEDING)", vec!["over a number of rows that a live filter weighs"]),
        ("ROW_NUMBER() OVER ()", vec!["row_number without an order, over rows that a live filter weighs", "ORDER BY"]),
        ("DENSE_RANK() OVER (ORDER BY id)", vec!["dense_rank over rows that a live filter weighs", "may have a frozen order"]),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE (SELECT SUM(w) FROM (SELECT {window} AS w FROM d, m WHERE x > a) t)"), &pieces).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_in_a_frozen_order_count_the_weights_before() {
    let s = database().await;
    // In the order of x: -0.3, 0.2, 0.5, 1.
    let [a, b, c, d] = [w(-0.3), w(0.2), w(0.5), w(1.0)];
    let first = |k: f64| [a, b.min(k - a).max(0.0), c.min(k - a - b).max(0.0), d.min(k - a - b - c).max(0.0)];
    let taken = |k: f64| first(k).iter().sum::<f64>();
    let of_x = |k: f64| first(k).iter().zip([-0.3, 0.2, 0.5, 1.0]).map(|(w, x)| w * x).sum::<f64>();
    assert!(a + b + c > 1.0 && taken(1.0) == 1.0 && taken(3.0) == a + b + c + d);
    let rows = "FROM r, m WHERE r.x > m.a";
    let one = w(-0.3) + w(0.5) * (1.0 - w(-0.3)).min(w(0.5)) / w(0.5);
    all_are(
        &s,
        &[
            (&format!("SELECT COUNT(*) FROM (SELECT 1 {rows} ORDER BY r.x LIMIT 1) t"), 1.0),
            (&format!("SELECT SUM(t.x) FROM (SELECT r.x {rows} ORDER BY r.x LIMIT 1) t"), of_x(1.0)),
            (&format!("SELECT SUM(t.x) FROM (SELECT r.x {rows} ORDER BY r.x LIMIT 3) t"), of_x(3.0)),
            (&format!("SELECT SUM(t.x) FROM (SELECT r.x {rows} ORDER BY r.x LIMIT 1 OFFSET 1) t"), of_x(2.0) - of_x(1.0)),
            (&format!("SELECT SUM(t.x) FROM (SELECT r.x {rows} ORDER BY r.x LIMIT 2) t LIMIT 1"), of_x(2.0)),
            (&format!("SELECT SUM(t.x) FROM (SELECT r.x, ROW_NUMBER() OVER (ORDER BY r.x) AS n {rows}) t WHERE t.n = 2"), of_x(2.0) - of_x(1.0)),
            // Places, given that the row is there: each times its weight.
            (
                &format!("SELECT SUM(t.n) FROM (SELECT ROW_NUMBER() OVER (ORDER BY r.x) AS n {rows}) t"),
                a + b * (1.0 + a) + c * (1.0 + a + b) + d * (1.0 + a + b + c),
            ),
            // Equal keys have one place: 1 twice, then 2; the NULL last.
            (
                &format!("SELECT SUM(t.n) FROM (SELECT RANK() OVER (ORDER BY r.k) AS n {rows}) t"),
                a + c + d * (1.0 + a + c) + b * (1.0 + a + c + d),
            ),
            // Of each key the first row; groups of rows that exclude each other are there to the sum of their weights.
            (&format!("SELECT COUNT(*) FROM (SELECT DISTINCT ON (r.k) r.x {rows} ORDER BY r.k, r.x) t"), one + d + b),
            (
                &format!("SELECT COUNT(*) FROM (SELECT t.k FROM (SELECT r.k, ROW_NUMBER() OVER (PARTITION BY r.k ORDER BY r.x) AS n {rows}) t WHERE t.n = 1 GROUP BY t.k) u"),
                one + d + b,
            ),
            // A place is a whole number, also beside one that is no literal.
            (
                &format!("SELECT SUM(1e6 * CAST(t.n <= t.k AS DOUBLE)) FROM (SELECT r.k, ROW_NUMBER() OVER (ORDER BY r.x) AS n {rows} AND r.x > 0.9) t"),
                1e6 * d * (1.0 / (1.0 + (-(2.5 - 1.0) / 0.5f64).exp())),
            ),
            (&format!("SELECT COUNT(*) FROM (SELECT DISTINCT ON (r.k) r.x {rows} ORDER BY r.k, r.x LIMIT 1) t"), 1.0),
            (&format!("SELECT FIRST_VALUE(r.x ORDER BY r.x) {rows}"), of_x(1.0)),
            (&format!("SELECT LAST_VALUE(r.x * m.b ORDER BY r.x) {rows}"), 2.0 * (d + (1.0 - d) * 0.5)),
            // Nothing live weighs the rows: the first value is read.
            ("SELECT FIRST_VALUE(r.x * m.b ORDER BY r.x DESC) FROM r, m", 2.0),
            ("SELECT SUM(t.v) FROM (SELECT r.k, LAST_VALUE(r.x * m.b ORDER BY r.x) AS v FROM r, m GROUP BY r.k) t", 1.0 + 2.0 + 0.4),
        ],
    )
    .await;
    // To the relaxed first rows belongs the gradient of their weights; the values of straight-through are those of the query.
    for objective in [
        format!("SELECT SUM(t.x * t.x) FROM (SELECT r.x {rows} ORDER BY r.x LIMIT 2) t"),
        format!("SELECT FIRST_VALUE(r.x ORDER BY r.x) {rows}"),
    ] {
        let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective}) RELAX (scale => 'none')")).await.unwrap();
        assert!(slope_of(&mut query, &objective) > 0);
        let train = format!("TRAIN MINIMIZE ({objective}) RELAX (scale => 'none', forward => 'exact')");
        let mut query = s.relaxed(&train).await.unwrap();
        let exact = query.exact().await.unwrap();
        assert_eq!(query.value(), exact, "{objective}");
        assert_ne!(query.gradient("m.a").unwrap(), &[0.0], "{objective}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_rows_are_shown_in_their_order() {
    let s = database().await;
    for (order, expected) in [
        ("r.x * m.b DESC", "1.0 0.5 0.2 -0.3"),
        ("r.x", "-0.3 0.2 0.5 1.0"),
        ("r.k DESC NULLS FIRST, r.x * m.b", "0.2 1.0 -0.3 0.5"),
        ("r.k NULLS FIRST, r.x LIMIT 9", "0.2 -0.3 0.5 1.0"),
        ("r.x * r.x * m.b LIMIT 4", "0.2 -0.3 0.5 1.0"),
    ] {
        let sql = format!("RELAX (temperature => 0.5) SELECT r.x FROM r, m WHERE r.x > m.a ORDER BY {order}");
        let shown: Vec<String> =
            rows(&s, &sql).await.lines().map(|line| line.split(['|', ',']).next().unwrap().trim().to_string()).collect();
        assert_eq!(shown.join(" "), expected, "{sql}");
    }
    fails(&s, "RELAX () SELECT 1 AS _weight FROM m", &["a column of the name _weight", "hint: give it another name"]).await;
    fails(&s, "RELAX (estimator => 'perturbed') SELECT a FROM m", &["an estimator is how TRAIN", "hint: TRAIN"]).await;
    fails(&s, "RELAX (temperature => 1e-300) SELECT a FROM m", &["1e-300 is below the resolution", "hint: "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_of_ranks_has_a_sign() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE t (id BIGINT, x DOUBLE); INSERT INTO t VALUES (1, 1), (2, 3), (3, 2);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.5); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    let query = "SELECT id, RANK() OVER (ORDER BY a * x) - ROW_NUMBER() OVER (ORDER BY id DESC) AS d FROM t, m ORDER BY id";
    assert_eq!(rows(&s, query).await, "1|-2\n2|1\n3|1");
    let query = format!("SELECT SUM(ABS(q.d)) FROM ({query}) q");
    assert_eq!(rows(&s, &query).await, "4");
    let relaxed = rows(&s, &format!("RELAX (temperature => 1e-6, scale => 'none') {query}")).await;
    assert_eq!(relaxed.split('|').next(), Some("4.0"));
}
