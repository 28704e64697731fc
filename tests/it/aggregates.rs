//! Aggregates over live relations: their values, written out by hand.

use crate::laws::slope_of;
use crate::subqueries::{all_are, any, database, w};
use crate::{fails, rows, run, session};

#[tokio::test(flavor = "multi_thread")]
async fn truths_and_distinct_values_are_joined_by_noisy_or() {
    let s = database().await;
    let (one, two, null) = (any(&[w(0.5), w(-0.3)]), w(1.0), w(0.2));
    let all = [w(0.3), w(-0.2), w(0.9), w(0.4)];
    all_are(
        &s,
        &[
            ("SELECT CAST(BOOL_OR(l.x > m.a) AS DOUBLE) FROM l, m", any(&all)),
            ("SELECT CAST(BOOL_AND(l.x > m.a) AS DOUBLE) FROM l, m", all.iter().product()),
            // A row that is NULL says nothing.
            ("SELECT CAST(BOOL_AND(CASE WHEN l.k IS NOT NULL THEN l.x > m.a END) AS DOUBLE) FROM l, m", all[..3].iter().product()),
            ("SELECT COUNT(DISTINCT r.k) FROM r, m WHERE r.x > m.a", one + two),
            ("SELECT SUM(DISTINCT r.k) FROM r, m WHERE r.x > m.a", one + 2.0 * two),
            (
                "SELECT COUNT(DISTINCT r.k) + SUM(r.x) FROM r, m WHERE r.x > m.a",
                one + two + w(0.5) * 0.5 - w(-0.3) * 0.3 + w(1.0) + w(0.2) * 0.2,
            ),
            ("SELECT COUNT(DISTINCT r.x) FILTER (WHERE r.x > m.a) FROM r, m", w(0.5) + w(-0.3) + w(1.0) + w(0.2)),
            // Groups: their own degree is a factor of the outer sum.
            (
                "SELECT SUM(t.n) FROM (SELECT r.k, COUNT(DISTINCT r.x) AS n FROM r, m WHERE r.x > m.a GROUP BY r.k) t",
                one * (w(0.5) + w(-0.3)) + two * two + null * null,
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_of_keys_and_live_keys_share_the_rows() {
    let s = database().await;
    let (one, two, null) = (any(&[w(0.5), w(-0.3)]), w(1.0), w(0.2));
    let counts = one * (w(0.5) + w(-0.3)) + two * two + null * null;
    let total = w(0.5) + w(-0.3) + w(1.0) + w(0.2);
    let all = [w(0.3), w(-0.2), w(0.9), w(0.4)];
    let rest = all.map(|d| 1.0 - d);
    let squares = |weights: &[f64]| any(weights) * weights.iter().sum::<f64>().powi(2);
    all_are(
        &s,
        &[
            (
                "SELECT SUM(t.n * (1 + 10 * t.id)) FROM (SELECT r.k, GROUPING(r.k) AS id, COUNT(*) AS n FROM r, m WHERE r.x > m.a GROUP BY ROLLUP (r.k)) t",
                counts + 11.0 * total,
            ),
            (
                "SELECT SUM(t.n) FROM (SELECT r.k, COUNT(*) AS n FROM r, m WHERE r.x > m.a GROUP BY GROUPING SETS ((r.k), (r.k))) t",
                2.0 * counts,
            ),
            ("SELECT SUM(t.n * t.n) FROM (SELECT l.x > m.a AS up, COUNT(*) AS n FROM l, m GROUP BY 1) t", squares(&all) + squares(&rest)),
            (
                "SELECT SUM(t.n * t.n) FROM (SELECT CASE WHEN l.x > m.a THEN 'up' WHEN l.k = 2 THEN 'two' ELSE 'down' END AS c, COUNT(*) AS n FROM l, m GROUP BY 1) t",
                squares(&all) + squares(&rest[1..2]) + squares(&[rest[0], rest[2], rest[3]]),
            ),
            // A number that a sub-query gives, too.
            (
                "SELECT SUM(t.n * t.c) FROM (SELECT q.c, COUNT(*) AS n FROM (SELECT CASE WHEN l.x > m.a THEN 1 ELSE 3 END AS c FROM l, m) q GROUP BY q.c) t",
                any(&all) * all.iter().sum::<f64>() + 3.0 * any(&rest) * rest.iter().sum::<f64>(),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_about_the_weighted_means() {
    let s = database().await;
    let x = [0.3, -0.2, 0.9, 0.4];
    let y = [0.3 * 0.3, 0.2 * 0.2, 0.9 * 0.9, 0.4 * 0.4];
    let weights = x.map(w);
    let n: f64 = weights.iter().sum();
    let mean = |v: &[f64]| v.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / n;
    let about = |u: &[f64], v: &[f64]| (0..4).map(|i| weights[i] * (u[i] - mean(u)) * (v[i] - mean(v))).sum::<f64>();
    let freedom: f64 = weights.iter().map(|w| w * (n - w) / n).sum();
    let (xx, xy, yy) = (about(&x, &x), about(&x, &y), about(&y, &y));
    let from = "FROM l, m WHERE l.x > m.a";
    let of = |aggregate: &str| format!("SELECT {aggregate} {from}");
    let (a, b) = ("l.x", "l.x * l.x");
    let expected = [
        (of(&format!("VAR_POP({a})")), xx / n),
        (of(&format!("VAR({a})")), xx / freedom),
        (of(&format!("STDDEV_POP({a})")), (xx / n).sqrt()),
        (of(&format!("STDDEV({a})")), (xx / freedom).sqrt()),
        (of(&format!("COVAR_POP({a}, {b})")), xy / n),
        (of(&format!("COVAR_SAMP({a}, {b})")), xy / freedom),
        (of(&format!("CORR({a}, {b})")), xy / (xx * yy).sqrt()),
        (of(&format!("REGR_SLOPE({b}, {a})")), xy / xx),
        (of(&format!("REGR_INTERCEPT({b}, {a})")), mean(&y) - xy / xx * mean(&x)),
        (of(&format!("REGR_R2({b}, {a})")), xy * xy / (xx * yy)),
        (of(&format!("REGR_COUNT({b}, {a})")), n),
        (of(&format!("REGR_AVGX({b}, {a})")), mean(&x)),
        (of(&format!("REGR_AVGY({b}, {a})")), mean(&y)),
        (of(&format!("REGR_SXX({b}, {a})")), xx),
        (of(&format!("REGR_SXY({b}, {a})")), xy),
        (of(&format!("REGR_SYY({b}, {a})")), yy),
    ];
    let expected: Vec<(&str, f64)> = expected.iter().map(|(sql, v)| (sql.as_str(), *v)).collect();
    all_are(&s, &expected).await;
    // Far from 0 nothing is lost: 2 (l.x) around a million.
    let mut far = s.relaxed("TRAIN MINIMIZE (SELECT VAR_POP(1e6 + l.x * m.b) FROM l, m)").await.unwrap();
    let plain = [0.3, -0.2, 0.9, 0.4];
    let middle = plain.iter().sum::<f64>() / 4.0;
    let variance = 4.0 * plain.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / 4.0;
    let value = far.value().unwrap();
    assert!((value - variance).abs() < 1e-8 * variance, "{value} is not {variance}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_rows_are_null() {
    let s = database().await;
    for (objective, null) in [
        ("SELECT STDDEV(l.x * m.b) FROM l, m WHERE l.k = 1", true),
        ("SELECT VAR_POP(l.x * m.b) FROM l, m WHERE l.k = 1", false),
        ("SELECT CORR(l.x * m.b, l.x) FROM l, m WHERE l.k = 1", true),
        ("SELECT REGR_SLOPE(l.x * m.b, l.k) FROM l, m WHERE l.k = 1", true),
        ("SELECT VAR_POP(l.x * m.b) FROM l, m WHERE l.k = 77", true),
    ] {
        let mut query = s.relaxed(&format!("TRAIN MINIMIZE (SELECT COALESCE(({objective}), m.a - 7) FROM m)")).await.unwrap();
        let (value, exact) = (query.value().unwrap(), query.exact().await.unwrap().unwrap());
        assert_eq!(null, exact < -6.0, "{objective}");
        assert!((value - exact).abs() < 1e-12, "{value} is not {exact}: {objective}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aggregates_do_not_do_is_refused() {
    let s = database().await;
    for (objective, pieces) in [
        ("SELECT COUNT(DISTINCT l.x * m.a) FROM l, m", &["over a live value", "line 1, column ", "hint: "][..]),
        ("SELECT COUNT(*) FROM (SELECT l.x * m.a AS h FROM l, m GROUP BY l.x * m.a) t", &["GROUP BY the live value", "hint: "]),
        (
            "SELECT COUNT(*) FROM (SELECT CASE WHEN l.x > m.a THEN l.k ELSE 0 END AS c FROM l, m GROUP BY 1) t",
            &["GROUP BY the live value", "hint: "],
        ),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE ({objective})"), pieces).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_and_means_of_vectors_are_those_of_their_elements() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE e (id INT, g INT, v DOUBLE[2] LEARNABLE, m REAL[2][2] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO e (id, g, v) VALUES (1, 1, [1, 2]), (2, 1, [3, -4]), (3, 2, [5, 7]);
         CREATE TABLE w (a DOUBLE LEARNABLE DEFAULT 1.5); INSERT INTO w DEFAULT VALUES",
    )
    .await;
    assert_eq!(rows(&s, "SELECT SUM(v), AVG(v) FROM e").await, rows(&s, "SELECT [9.0, 5.0], [3.0, 5.0 / 3]").await);
    assert_eq!(rows(&s, "SELECT SUM(v) FROM e WHERE id > 9").await, rows(&s, "SELECT NULL").await);
    let frames = "SELECT SUM(v[1]) OVER (ORDER BY id ROWS 1 PRECEDING) FROM e ORDER BY id";
    let of_vectors = "SELECT (SUM(v) OVER (ORDER BY id ROWS 1 PRECEDING))[1] FROM e ORDER BY id";
    assert_eq!(rows(&s, of_vectors).await, rows(&s, frames).await);
    assert_eq!(
        rows(&s, "SELECT SUM(CASE WHEN id < 3 THEN [[id, 1], [2, 3]] END) FROM e").await,
        rows(&s, "SELECT [[3.0, 2.0], [4.0, 6.0]]").await
    );
    assert_eq!(rows(&s, "SELECT SUM(id), AVG(id), SUM(DISTINCT g), AVG(1.5) FROM e").await, rows(&s, "SELECT 6, 2.0, 3, 1.5").await);
    for (objective, value) in [
        ("SELECT array_sum(SUM(e.v)) FROM e", 14.0),
        ("SELECT SUM(inner_product(t.c, t.c) * t.g) FROM (SELECT g, AVG(v) AS c FROM e GROUP BY g) t", 5.0 + 2.0 * 74.0),
        ("SELECT SUM(array_distance(e.v, t.c)) FROM e JOIN (SELECT g, AVG(v) AS c FROM e GROUP BY g) t ON e.g = t.g", 2.0 * 10f64.sqrt()),
        ("SELECT SUM(inner_product(t.v, t.c)) FROM (SELECT e.v, AVG(e.v) OVER (PARTITION BY e.g) AS c FROM e) t", 2.0 * 5.0 + 74.0),
        ("SELECT SUM(inner_product(e.v, (SELECT SUM(f.v) FROM e f WHERE f.g = e.g))) FROM e", 20.0 + 74.0),
        (
            "SELECT SUM(inner_product(matvec(t.s, [1.0, 2.0]), [0.5, 1.0]) * 0) + array_sum(SUM(t.c)) FROM (SELECT e.g, SUM(e.m) AS s, SUM(array_scale(e.v, w.a)) FILTER (WHERE e.id < 3) AS c FROM e, w GROUP BY e.g) t",
            3.0,
        ),
    ] {
        let sql = format!("TRAIN MINIMIZE ({objective})");
        let objective = objective.to_string();
        let mut query = s.relaxed(&sql).await.unwrap_or_else(|e| panic!("{objective}\n{e}"));
        let (ours, exact) = (query.value().unwrap(), query.exact().await.unwrap().unwrap());
        assert!((ours - value).abs() < 1e-12 && (exact - value).abs() < 1e-12, "{ours}, exact {exact}, is not {value}: {objective}");
        slope_of(&mut query, &objective);
    }
    for (sql, pieces) in [
        ("SELECT SUM([1.0, 2.0]), SUM(['a']) FROM e", &["sum takes numbers, or arrays of numbers"][..]),
        ("SELECT AVG(CASE WHEN id = 1 THEN [1.0] ELSE v END) FROM e", &["dimension mismatch", "hint: "]),
        ("SELECT SUM(DISTINCT v), SUM(DISTINCT g) FROM e", &["sum(DISTINCT) of arrays", "hint: "]),
        (
            "TRAIN MINIMIZE (SELECT SUM(t.s[1]) FROM (SELECT SUM(e.v) OVER (ORDER BY e.id) AS s FROM e) t)",
            &["a running sum of vectors", "  at: ", "hint: "],
        ),
    ] {
        fails(&s, sql, pieces).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arg_max_is_the_first_value_of_rows_without_null() {
    let s = database().await;
    run(&s, "CREATE TABLE t (n TEXT, x DOUBLE, y DOUBLE); INSERT INTO t VALUES ('a', 1, 3), ('b', 2, NULL), (NULL, 3, 9), ('c', 4, 5)")
        .await;
    assert_eq!(
        rows(&s, "SELECT arg_max(n, y), arg_min(n, y), max_by(x, y) + 1, min_by(n, x) FILTER (WHERE x > 1) FROM t").await,
        "c|a|4.0|b"
    );
    assert_eq!(rows(&s, "SELECT arg_max(n, y) FROM t WHERE y IS NULL").await, "NULL");
    fails(&s, "SELECT arg_max(n, y) OVER () FROM t", &["as a window function", "FIRST_VALUE(x) OVER"]).await;
    let [a, b, c, d] = [w(-0.3), w(0.2), w(0.5), w(1.0)];
    let last = d + (1.0 - d).min(c) * 0.5 + (1.0 - d - c).max(0.0).min(b) * 0.2 - (1.0 - d - c - b).max(0.0).min(a) * 0.3;
    let softmax = |t: f64| [-0.3, 0.2, 0.5, 1.0].iter().map(|x: &f64| (x * 2.0 / t).exp()).collect::<Vec<f64>>();
    let live = softmax(0.5);
    let mean = live.iter().zip([-0.3, 0.2, 0.5, 1.0]).map(|(e, x)| e * x).sum::<f64>() / live.iter().sum::<f64>();
    all_are(
        &s,
        &[
            ("SELECT arg_max(r.x, r.x) FROM r, m WHERE r.x > m.a", last),
            ("SELECT arg_max(r.x, r.x * m.b) FROM r, m", mean),
            // Where the first argument or the second is NULL, a row does not count.
            ("SELECT arg_max(r.x * m.b, r.k) FROM r, m", 2.0),
            ("SELECT arg_min(CASE WHEN r.k = 2 THEN NULL ELSE r.x * m.b END, -r.x) FROM r, m", 1.0),
            ("SELECT FIRST_VALUE(r.x * m.b ORDER BY r.x) FILTER (WHERE r.x > m.a + 0.4) FROM r, m", {
                let counts = [-0.3, 0.2, 0.5, 1.0].map(|x| w(x - 0.4));
                let mut left = 1.0;
                let taken = counts.map(|count: f64| {
                    let taken = count.min(left);
                    left -= taken;
                    taken
                });
                2.0 * taken.iter().zip([-0.3, 0.2, 0.5, 1.0]).map(|(m, x)| m * x).sum::<f64>() / taken.iter().sum::<f64>()
            }),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_twice_the_weight_is_two_rows() {
    let s = database().await;
    let options = "RELAX (temperature => 0.5, scale => 'none')";
    let twice = "SELECT l.k, l.x * m.b AS x FROM l, m WHERE l.x > m.a UNION ALL SELECT l.k, l.x * m.b AS x FROM l, m WHERE l.x > m.a";
    for (weighed, doubled) in [
        ("SELECT approx_percentile_cont_with_weight(l.x * m.b, 2, 0.3) FROM l, m WHERE l.x > m.a".to_string(), format!("SELECT PERCENTILE_CONT(t.x, 0.3) FROM ({twice}) t")),
        (
            "SELECT SUM((SELECT approx_percentile_cont_with_weight(l.x * m.b, 2, 0.5) FILTER (WHERE l.k > 1) FROM l, m WHERE l.x > m.a AND l.k >= r.k)) FROM r".to_string(),
            format!("SELECT SUM((SELECT MEDIAN(t.x) FILTER (WHERE t.k > 1) FROM ({twice}) t WHERE t.k >= r.k)) FROM r"),
        ),
    ] {
        let mut values = vec![];
        for objective in [&weighed, &doubled] {
            let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective}) {options}")).await.unwrap_or_else(|e| panic!("{objective}\n{e}"));
            values.push(query.value().unwrap());
            slope_of(&mut query, objective);
        }
        // The second differs by what is there to a degree: two rows are likelier there than one.
        if weighed.contains("FILTER") {
            assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
        } else {
            assert!((values[0] - values[1]).abs() < 1e-9, "{values:?}: {weighed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_may_have_a_model_among_their_keys() {
    let s = database().await;
    let (one, two, null) = (any(&[w(0.5), w(-0.3)]), w(1.0), w(0.2));
    all_are(
        &s,
        &[
            ("SELECT SUM(t.a) FROM (SELECT r.k, m.a FROM r, m WHERE r.x > m.a GROUP BY r.k, m.a) t", 0.1 * (one + two + null)),
            ("SELECT SUM(t.a * t.n) FROM (SELECT m.a, m.b, COUNT(*) AS n FROM r, m GROUP BY m.a, m.b) t", 0.4),
            ("SELECT COUNT(*) FROM (SELECT r.k FROM r, m GROUP BY r.k, m.a HAVING SUM(r.x) > m.a) t", w(0.2) + w(1.0) + w(0.2)),
            ("SELECT SUM(t.n * t.b) FROM (SELECT m.b, COUNT(DISTINCT r.k) AS n FROM r, m WHERE r.x > m.a GROUP BY m.b) t", {
                2.0 * (one + two) * any(&[one, two, null])
            }),
            ("SELECT APPROX_DISTINCT(r.k) FROM r, m WHERE r.x > m.a", one + two),
            // A key that is written twice is one key.
            (
                "SELECT SUM(t.n + 0 * t.p + 0 * t.q) FROM (SELECT r.k AS p, r.k AS q, COUNT(*) AS n FROM r, m WHERE r.x > m.a GROUP BY 1, 2) t",
                one * (w(0.5) + w(-0.3)) + two * two,
            ),
            ("SELECT SUM(t.s * t.a) FROM (SELECT m.a, SUM(r.x) AS s FROM r, m GROUP BY r.k, r.k, m.a, m.a) t", 0.14),
        ],
    )
    .await;
    run(&s, "CREATE TABLE e (id INT, w DOUBLE LEARNABLE DEFAULT 0); INSERT INTO e (id) VALUES (1), (2)").await;
    let of_many = "TRAIN MINIMIZE (SELECT COUNT(*) FROM (SELECT e.w FROM e GROUP BY e.w) t)";
    fails(&s, of_many, &["GROUP BY the live value e.w", "hint: ", "(SELECT a FROM m)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_become_a_vector_in_a_frozen_order() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE p (k INT, i INT, x DOUBLE, u DOUBLE); INSERT INTO p VALUES (1, 3, 0.5, 4), (2, 1, -1, 1), (1, 1, 2, 2), (2, 2, 0.25, NULL), (1, 2, 1.5, 3), (2, 3, 3, 5);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.5, w DOUBLE[3] LEARNABLE DEFAULT [1, -2, 0.5]); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    let of = |array: &str, from: &str| {
        format!("SELECT SUM(inner_product(t.v, m.w)) FROM (SELECT p.k, {array} AS v FROM {from} GROUP BY p.k) t, m")
    };
    for (objective, value) in [
        // (1, 0.75, 0.25) and (-0.5, 0.125, 1.5), each by (1, -2, 0.5).
        (of("array_agg(p.x * m.a ORDER BY p.i)", "p, m"), -0.375 + 0.0),
        (of("array_agg(p.x * m.a ORDER BY p.i DESC)", "p, m"), (0.25 - 1.5 + 0.5) + (1.5 - 0.25 - 0.25)),
        // Values that are the same for all rows, NULLs taken care of, and a sum beside the vector.
        (of("array_agg(m.a ORDER BY p.i)", "p, m"), -0.5),
        (of("array_agg(COALESCE(p.u, 1) * m.a ORDER BY p.i)", "p, m"), (1.0 - 3.0 + 1.0) + (0.5 - 1.0 + 1.25)),
        (of("array_scale(array_agg(p.x * m.a ORDER BY p.i), SUM(p.x * m.a))", "p, m"), -0.375 * 2.0 + 0.0),
        // One group, of all rows; and vectors as the rows of a matrix.
        ("SELECT array_sum(array_agg(p.x * m.a ORDER BY p.k, p.i)) FROM p, m".into(), 3.125),
        ("SELECT inner_product(matvec(array_agg(array_scale(m.w, p.x) ORDER BY p.i), [1.0, 1.0, 2.0]), [1.0, 10.0, 100.0]) FROM p, m WHERE p.k = 1".into(), 0.0),
        ("SELECT inner_product(matvec(array_agg(array_scale(m.w, p.x) ORDER BY p.i), [1.0, 1.0, 4.0]), [1.0, 10.0, 100.0]) FROM p, m WHERE p.k = 1".into(), 67.0),
        ("SELECT COALESCE((SELECT array_sum(array_agg(p.x * m.a ORDER BY p.i)) FROM p, m WHERE p.k = 9), 7) + SUM(m.a) FROM m".into(), 7.5),
    ] {
        let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective})")).await.unwrap_or_else(|e| panic!("{objective}\n{e}"));
        let (ours, exact) = (query.value().unwrap(), query.exact().await.unwrap().unwrap());
        assert!((ours - value).abs() < 1e-12 && (exact - value).abs() < 1e-12, "{ours}, exact {exact}, is not {value}: {objective}");
        slope_of(&mut query, &objective);
    }
    // In batches of the groups, whole vectors are read.
    run(&s, &format!("TRAIN MINIMIZE ({}) FOR 3 EPOCHS BATCH 1", of("array_agg(p.x * m.a ORDER BY p.i)", "p, m"))).await;
    for (objective, pieces) in [
        (of("array_agg(p.x * m.a)", "p, m"), ["without an order of its elements", "ORDER BY i"]),
        (of("array_agg(p.x * m.a ORDER BY p.x * m.a)", "p, m"), ["in a live order", "frozen columns"]),
        (
            of("array_agg(p.x * m.a ORDER BY p.i)", "p, m WHERE p.x > m.a"),
            ["over rows that a live condition weighs", "after the aggregate"],
        ),
        (of("array_agg(p.x ORDER BY p.i)", "p, m WHERE p.x > m.a"), ["over rows that a live condition weighs", "after the aggregate"]),
        (of("array_agg(p.x * m.a ORDER BY p.i) FILTER (WHERE p.i < 3)", "p, m"), ["of some of the rows", "in WHERE"]),
        (of("array_agg(p.x * m.a ORDER BY p.i)", "p, m WHERE p.x < 2.5"), ["over groups of 3 and of 2 rows", "one length"]),
        (of("array_agg(p.u * m.a ORDER BY p.i)", "p, m"), ["where some rows are NULL", "COALESCE"]),
        (
            of("array_add(array_agg(p.x * m.a ORDER BY p.i), array_agg(p.x * m.a ORDER BY p.x))", "p, m"),
            ["in another order than the array beside it", "two sub-queries"],
        ),
        (
            "SELECT SUM(p.x * array_sum((SELECT array_agg(q.x * m.a ORDER BY q.i) FROM p q, m WHERE q.k = p.k))) FROM p".into(),
            ["in a sub-query that depends on the rows around it", "join"],
        ),
        (
            "SELECT SUM(array_sum(t.v)) FROM (SELECT array_agg(p.x * m.a) OVER (ORDER BY p.i) AS v FROM p, m) t".into(),
            ["has no relaxation yet", "over a frame SUM"],
        ),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE ({objective})"), &[&pieces[..], &["  at: ", "hint: "]].concat()).await;
    }
    fails(&s, "TRAIN MINIMIZE (SELECT array_sum(array_agg(p.x * m.a ORDER BY p.i)) FROM p, m) FOR 1 EPOCHS BATCH 2", &["BATCH", "hint: "])
        .await;
}
