//! Sub-queries, outer joins and sets over live relations: their degrees, written out by hand.

use crate::laws::{limit_of, slope_of};
use crate::{fails, rows, run, session};
use nabladb::Session;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The degree of `x > m.a` at the temperature that the tests relax with.
pub fn w(x: f64) -> f64 {
    sigmoid((x - 0.1) / 0.5)
}

/// The degree that one of these is present.
pub fn any(degrees: &[f64]) -> f64 {
    1.0 - none(degrees)
}

pub fn none(degrees: &[f64]) -> f64 {
    degrees.iter().map(|d| 1.0 - d).product()
}

/// `l` of four rows, one without key; `r` of four rows, one without key; `m.a` is 0.1.
pub async fn database() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE l (k BIGINT, x DOUBLE); INSERT INTO l VALUES (1, 0.3), (2, -0.2), (3, 0.9), (NULL, 0.4);
         CREATE TABLE r (k BIGINT, x DOUBLE); INSERT INTO r VALUES (1, 0.5), (1, -0.3), (2, 1.0), (NULL, 0.2);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.1, b DOUBLE LEARNABLE DEFAULT 2); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    s
}

/// The relaxed value of each objective is the number beside it.
pub async fn all_are(s: &Session, expected: &[(&str, f64)]) {
    let mut wrong = vec![];
    for (objective, number) in expected {
        let train = format!("TRAIN MINIMIZE ({objective}) RELAX (temperature => 0.5, scale => 'none')");
        match s.relaxed(&train).await {
            Ok(mut query) => {
                let value = query.value();
                if value.is_none_or(|v| (v - number).abs() > 1e-12 * number.abs().max(1.0)) {
                    wrong.push(format!("{objective}\n  is {value:?}, not {number}"));
                }
                if let Err(e) = query.exact().await {
                    wrong.push(format!("{objective}\n  exactly: {e}"));
                }
            }
            Err(e) => wrong.push(format!("{objective}\n  {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exists_and_in_have_the_degree_that_a_row_matches() {
    let s = database().await;
    let one = any(&[w(0.5), w(-0.3)]);
    let live = "SELECT r.k FROM r, m WHERE r.x > m.a";
    all_are(
        &s,
        &[
            ("SELECT COUNT(*) FROM l WHERE EXISTS (SELECT 1 FROM r, m WHERE r.k = l.k AND r.x > m.a)", one + w(1.0)),
            ("SELECT COUNT(*) FROM l WHERE NOT EXISTS (SELECT 1 FROM r, m WHERE r.k = l.k AND r.x > m.a)", 4.0 - one - w(1.0)),
            (&format!("SELECT COUNT(*) FROM l WHERE l.k IN ({live})"), one + w(1.0)),
            (&format!("SELECT COUNT(*) FROM l LEFT SEMI JOIN ({live}) q ON l.k = q.k"), one + w(1.0)),
            (&format!("SELECT COUNT(*) FROM l LEFT ANTI JOIN ({live}) q ON l.k = q.k"), 4.0 - one - w(1.0)),
            // The left row's own weight is a factor.
            (&format!("SELECT COUNT(*) FROM l, m WHERE l.k IN ({live}) AND l.x > m.a"), one * w(0.3) + w(1.0) * w(-0.2)),
            // A sub-query that reads nothing of the rows around it is one degree for all.
            ("SELECT COUNT(*) FROM l WHERE EXISTS (SELECT 1 FROM r, m WHERE r.x > m.a)", 4.0 * any(&[w(0.5), w(-0.3), w(1.0), w(0.2)])),
            // The condition may be live on the outer side.
            ("SELECT COUNT(*) FROM l, m WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND l.x > m.a)", any(&[w(0.3), w(0.3)]) + w(-0.2)),
            // Inside OR: noisy-or of the two degrees.
            (
                &format!("SELECT COUNT(*) FROM l, m WHERE l.k IN ({live}) OR l.x > m.a"),
                any(&[one, w(0.3)]) + any(&[w(1.0), w(-0.2)]) + w(0.9) + w(0.4),
            ),
            // A sub-query in a sub-query.
            (
                &format!("SELECT COUNT(*) FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.k IN ({live}))"),
                any(&[one, one]) + w(1.0),
            ),
            // LIMIT changes nothing.
            ("SELECT COUNT(*) FROM l WHERE EXISTS (SELECT 1 FROM r, m WHERE r.k = l.k AND r.x > m.a LIMIT 1)", one + w(1.0)),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_in_loses_by_each_row_that_is_null() {
    let s = database().await;
    let nulls = 1.0 - w(0.2);
    let by_hand = none(&[w(0.5), w(-0.3)]) * nulls + (1.0 - w(1.0)) * nulls + nulls + none(&[w(0.5), w(-0.3), w(1.0), w(0.2)]);
    all_are(
        &s,
        &[
            ("SELECT COUNT(*) FROM l WHERE l.k NOT IN (SELECT r.k FROM r, m WHERE r.x > m.a)", by_hand),
            ("SELECT COUNT(*) FROM l WHERE l.k <> ALL (SELECT r.k FROM r, m WHERE r.x > m.a)", by_hand),
            // Over no rows it is true, of NULL too.
            ("SELECT COUNT(*) + SUM(m.a) FROM l, m WHERE l.k NOT IN (SELECT r.k FROM r, m WHERE r.x > m.a AND r.k > 100)", 4.4),
            // Correlated: only the NULLs of the row's own rows count.
            (
                "SELECT COUNT(*) FROM l WHERE l.k NOT IN (SELECT r.k FROM r, m WHERE r.x > m.a AND r.k = l.k)",
                none(&[w(0.5), w(-0.3)]) + (1.0 - w(1.0)) + 2.0,
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn correlated_aggregates_have_a_row_for_every_outer_row() {
    let s = database().await;
    let one = any(&[w(0.5), w(-0.3)]);
    let sum = w(0.5) * 0.5 - w(-0.3) * 0.3;
    all_are(
        &s,
        &[
            (
                "SELECT SUM(q.n) FROM (SELECT (SELECT COUNT(*) FROM r, m WHERE r.k = l.k AND r.x > m.a) AS n FROM l) q",
                w(0.5) + w(-0.3) + w(1.0),
            ),
            (
                "SELECT SUM(power(q.n - 1, 2)) FROM (SELECT (SELECT COUNT(*) FROM r, m WHERE r.k = l.k AND r.x > m.a) AS n FROM l) q",
                (w(0.5) + w(-0.3) - 1.0).powi(2) + (w(1.0) - 1.0).powi(2) + 2.0,
            ),
            ("SELECT SUM(q.n) FROM (SELECT (SELECT SUM(r.x) FROM r, m WHERE r.k = l.k AND r.x > m.a) AS n FROM l) q", sum + w(1.0)),
            // SUM over no rows is NULL: COALESCE steps in to the degree that there is none.
            (
                "SELECT SUM(COALESCE(q.n, 7)) FROM (SELECT (SELECT SUM(r.x) FROM r, m WHERE r.k = l.k AND r.x > m.a) AS n FROM l) q",
                sum + (1.0 - one) * 7.0 + w(1.0) + (1.0 - w(1.0)) * 7.0 + 14.0,
            ),
            ("SELECT SUM(q.n) FROM (SELECT (SELECT SUM(r.x * m.b) FROM r, m WHERE r.k = l.k) AS n FROM l) q", 2.0 * 0.2 + 2.0),
            ("SELECT COUNT(q.n) + SUM(q.n) FROM (SELECT (SELECT SUM(r.x * m.b) FROM r, m WHERE r.k = l.k) AS n FROM l) q", 2.0 + 2.4),
            ("SELECT SUM(q.n * q.h) FROM (SELECT l.x * m.a AS h, (SELECT COUNT(*) FROM r WHERE r.k = l.k) AS n FROM l, m) q", 0.06 - 0.02),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_row_of_a_sub_query_is_a_value() {
    let s = database().await;
    let share = |a: f64, b: f64| (a / 0.5).exp() / ((a / 0.5).exp() + (b / 0.5).exp());
    // Of l.k = 1 the rows 0.5 and -0.3, of 2 the row 1; scores are twice as large.
    let first = share(1.0, -0.6);
    let (high, low) = (w(0.5), w(-0.3));
    all_are(
        &s,
        &[
            ("SELECT (SELECT r.x FROM r, m WHERE r.k = 1 ORDER BY r.x * m.b DESC LIMIT 1)", first * 0.5 - (1.0 - first) * 0.3),
            (
                "SELECT SUM((SELECT r.x FROM r, m WHERE r.k = l.k ORDER BY r.x * m.b DESC LIMIT 1)) FROM l",
                first * 0.5 - (1.0 - first) * 0.3 + 1.0,
            ),
            // By a frozen order, rows count until their weights add up; what is missing is NULL.
            (
                "SELECT SUM((SELECT r.x FROM r, m WHERE r.k = l.k AND r.x > m.a ORDER BY r.x DESC LIMIT 1)) FROM l",
                0.5 * high - 0.3 * low.min(1.0 - high) + w(1.0),
            ),
            ("SELECT (SELECT r.x FROM r, m WHERE r.k = 1 ORDER BY r.x LIMIT 1 OFFSET 1) + 0 * m.a FROM m", 0.5),
            (
                "SELECT COALESCE((SELECT r.x FROM r, m WHERE r.k = 2 AND r.x > m.a ORDER BY r.x * m.b LIMIT 1), 7.0) + SUM(m.a) FROM m",
                w(1.0) + 7.0 * (1.0 - w(1.0)) + 0.1,
            ),
        ],
    )
    .await;
    for objective in [
        "SELECT SUM((SELECT SUM(r.x * m.b) FROM r, m WHERE r.k >= l.k GROUP BY r.k)) FROM l",
        "SELECT (SELECT r.x FROM r, m ORDER BY r.x * m.b LIMIT 2)",
    ] {
        fails(
            &s,
            &format!("TRAIN MINIMIZE ({objective})"),
            &["sub-query of the objective has", "  at: line 1, column ", "ORDER BY ... LIMIT 1"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_join_has_pairs_and_the_rows_of_both_sides_alone() {
    let s = database().await;
    // Left rows weigh w(l.x), right rows w(r.x); what matches is frozen.
    let (l1, l2, l3, l4) = (w(0.3), w(-0.2), w(0.9), w(0.4));
    let (ra, rb, rc, rd) = (w(0.5), w(-0.3), w(1.0), w(0.2));
    let pairs = l1 * (ra + rb) + l2 * rc;
    let lefts = l1 * none(&[ra, rb]) + l2 * (1.0 - rc) + l3 + l4;
    let rights = (ra + rb) * (1.0 - l1) + rc * (1.0 - l2) + rd;
    let sides = "(SELECT l.* FROM l, m WHERE l.x > m.a) p FULL JOIN (SELECT r.* FROM r, m WHERE r.x > m.a) q ON p.k = q.k";
    all_are(
        &s,
        &[
            (&format!("SELECT COUNT(*) FROM {sides}"), pairs + lefts + rights),
            (&format!("SELECT COUNT(p.x) FROM {sides}"), pairs + lefts),
            (&format!("SELECT COUNT(q.x) FROM {sides}"), pairs + rights),
            (
                "SELECT COUNT(*) FROM l p FULL JOIN (SELECT r.k, r.x - m.a AS h FROM r, m) q ON p.k = q.k AND q.h > 0",
                (ra + rb + rc) + (none(&[ra, rb]) + (1.0 - rc) + 2.0) + ((1.0 - ra) + (1.0 - rb) + (1.0 - rc) + 1.0),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_join_the_degrees_of_each_value() {
    let s = database().await;
    let left = "SELECT l.k FROM l, m WHERE l.x > m.a";
    let right = "SELECT r.k FROM r, m WHERE r.x > m.a";
    let (l, r) = ([w(0.3), w(-0.2), w(0.9), w(0.4)], [any(&[w(0.5), w(-0.3)]), w(1.0), 0.0, w(0.2)]);
    let each = |f: fn(f64, f64) -> f64| l.iter().zip(r).map(|(l, r)| f(*l, r)).sum::<f64>();
    all_are(
        &s,
        &[
            (&format!("SELECT COUNT(*) FROM ({left} UNION ALL {right}) t"), l.iter().sum::<f64>() + w(0.5) + w(-0.3) + w(1.0) + w(0.2)),
            (&format!("SELECT COUNT(*) FROM ({left} UNION {right}) t"), each(|l, r| l + r - l * r)),
            (&format!("SELECT COUNT(*) FROM (SELECT DISTINCT k FROM ({right}) q) t"), r.iter().sum()),
            (&format!("SELECT COUNT(*) FROM ({left} INTERSECT {right}) t"), each(|l, r| l * r)),
            (&format!("SELECT COUNT(*) FROM ({left} EXCEPT {right}) t"), each(|l, r| l * (1.0 - r))),
            // A column that is live in one part, frozen in another and NULL in a third.
            (
                "SELECT SUM(t.h) + COUNT(t.h) + COUNT(*) FROM (SELECT l.x * m.b AS h FROM l, m UNION ALL SELECT r.x FROM r UNION ALL SELECT NULL FROM l) t",
                1.4 * 2.0 + 1.4 + 8.0 + 12.0,
            ),
            // The same column of the same table in both parts.
            ("SELECT SUM(t.a * t.a) FROM (SELECT a FROM m UNION ALL SELECT a FROM m) t", 0.02),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rewrite_counts_a_condition_twice() {
    let s = database().await;
    all_are(
        &s,
        &[
            // l.k = r.k would let l.k > m.a be said of r.k too.
            ("SELECT COUNT(*) FROM l, r, m WHERE l.k = r.k AND l.k > m.a", 2.0 * w(1.0) + w(2.0)),
            ("SELECT COUNT(*) FROM l JOIN r ON l.k = r.k JOIN m ON l.k > m.a", 2.0 * w(1.0) + w(2.0)),
            // An OR of ANDs would give each side an OR of its own.
            (
                "SELECT COUNT(*) FROM l CROSS JOIN m JOIN r ON l.k = r.k WHERE (l.x > m.a AND r.x > m.a) OR (l.x > m.b AND r.x > m.b)",
                {
                    let v = |x: f64| sigmoid((x - 2.0) / 0.5);
                    [(0.3, 0.5), (0.3, -0.3), (-0.2, 1.0)].iter().map(|&(l, r)| any(&[w(l) * w(r), v(l) * v(r)])).sum()
                },
            ),
            ("SELECT COUNT(*) FROM l, m WHERE l.k IN (SELECT r.k FROM r, m WHERE r.k = 2 AND r.x > m.a) AND l.k IN (SELECT r.k FROM r, m WHERE r.k = 2 AND r.x > m.a)", w(1.0)),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sub_queries_and_sets_do_not_do_is_refused() {
    let s = database().await;
    for (objective, pieces) in [
        ("SELECT COUNT(*) FROM (SELECT DISTINCT m.a * l.x AS h FROM l, m) t", &["DISTINCT over the live column h", "hint: "][..]),
        (
            "SELECT COUNT(*) FROM (SELECT m.a * l.x AS h FROM l, m UNION SELECT r.x FROM r) t",
            &["DISTINCT over the live column h", "hint: "],
        ),
        (
            "SELECT COUNT(*) FROM (SELECT m.a * l.x AS h FROM l, m INTERSECT SELECT r.x FROM r) t",
            &["DISTINCT over the live column h", "hint: "],
        ),
        ("SELECT COUNT(*) FROM (SELECT r.x FROM r EXCEPT SELECT m.a * l.x AS h FROM l, m) t", &["EXCEPT over the live column", "hint: "]),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE ({objective})"), pieces).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_sub_queries_may_stand_anywhere_and_read_anything() {
    let s = database().await;
    for (query, expected) in [
        // Correlated by an inequality below the aggregate.
        ("SELECT l.k, (SELECT SUM(r.x) FROM r WHERE r.k = l.k AND r.x > l.x) FROM l ORDER BY 1", "1|0.5\n2|1.0\n3|NULL\nNULL|NULL"),
        ("SELECT l.k, (SELECT COUNT(*) FROM r WHERE r.x > l.x) FROM l ORDER BY 1", "1|2\n2|3\n3|1\nNULL|2"),
        ("SELECT SUM((SELECT COUNT(*) FROM r WHERE r.k = l.k)) FROM l", "3"),
        ("SELECT l.k FROM l WHERE l.x < (SELECT AVG(r.x + l.k * 0) FROM r WHERE r.k = l.k) ORDER BY 1", "2"),
        // In the SELECT list, in three-valued logic.
        ("SELECT l.k, l.k IN (SELECT r.k FROM r) FROM l ORDER BY 1", "1|true\n2|true\n3|NULL\nNULL|NULL"),
        ("SELECT l.k, l.k NOT IN (SELECT r.k FROM r WHERE r.k IS NOT NULL) FROM l ORDER BY 1", "1|false\n2|false\n3|true\nNULL|NULL"),
        ("SELECT l.k, EXISTS (SELECT 1 FROM r WHERE r.k = l.k) FROM l ORDER BY 1", "1|true\n2|true\n3|false\nNULL|false"),
        ("SELECT COUNT(*) FILTER (WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k)) FROM l", "2"),
        ("SELECT l.k, l.x > ALL (SELECT r.x FROM r WHERE r.k = l.k) FROM l ORDER BY 1", "1|false\n2|false\n3|true\nNULL|true"),
        // NOT over an OR keeps NULL: of 3 and of NULL nothing is known.
        ("SELECT l.k FROM l WHERE NOT (l.k IN (SELECT r.k FROM r) OR l.x < 0) ORDER BY 1", ""),
        ("SELECT EXISTS (SELECT 1 FROM r) AS some, EXISTS (SELECT 1 FROM r WHERE x > 9) AS none", "true|false"),
    ] {
        assert_eq!(rows(&s, query).await, expected, "{query}");
    }
    all_are(
        &s,
        &[
            ("SELECT SUM((SELECT COUNT(*) FROM r, m WHERE r.k = l.k AND r.x > l.x AND r.x > m.a)) FROM l", w(0.5) + w(1.0)),
            ("SELECT SUM((SELECT SUM(r.x * n.b) FROM r WHERE r.k = l.k)) FROM l, m n", 2.0 * 0.2 + 2.0),
            ("SELECT SUM(CAST(l.k IN (SELECT r.k FROM r, m WHERE r.x > m.a) AS DOUBLE)) FROM l", any(&[w(0.5), w(-0.3)]) + w(1.0)),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lateral_sub_queries_see_the_row_beside_them() {
    let s = database().await;
    let one = any(&[w(0.5), w(-0.3)]);
    let above = |r: f64, bound: f64| sigmoid((r - bound) / 0.5);
    let (left, right) = ([0.3, -0.2, 0.9, 0.4], [0.5, -0.3, 1.0, 0.2]);
    let pairs = |f: &dyn Fn(f64, f64) -> f64| left.iter().flat_map(|l| right.iter().map(|r| f(*l, *r))).sum::<f64>();
    let first = above(1.0, -0.6);
    all_are(
        &s,
        &[
            ("SELECT SUM(q.h) FROM l, LATERAL (SELECT l.x * m.a AS h FROM m) q", 0.14),
            ("SELECT COUNT(*) FROM l, LATERAL (SELECT r.x FROM r, m WHERE r.k = l.k AND r.x > m.a) q", w(0.5) + w(-0.3) + w(1.0)),
            (
                "SELECT SUM(q.x * l.x) FROM l, m, LATERAL (SELECT r.x FROM r WHERE r.x > l.x * m.b) q",
                pairs(&|l, r| above(r, 2.0 * l) * r * l),
            ),
            // A left row without a match, or to the degree that it has none, stands alone.
            (
                "SELECT COUNT(*) FROM l LEFT JOIN LATERAL (SELECT r.x FROM r, m WHERE r.k < l.k AND r.x > m.a) q ON true",
                2.0 + w(0.5) + w(-0.3) + (1.0 - one) + w(0.5) + w(-0.3) + w(1.0) + none(&[w(0.5), w(-0.3), w(1.0)]),
            ),
            ("SELECT SUM(q.n * l.x) FROM l, LATERAL (SELECT SUM(r.x * m.b) AS n FROM r, m WHERE r.x > l.x) q", 3.22),
            (
                "SELECT COUNT(q.n) + SUM(q.n) FROM l LEFT JOIN LATERAL (SELECT COUNT(*) AS n FROM r, m WHERE r.k = l.k AND r.x > m.a) q ON l.k > 1",
                2.0 + w(1.0),
            ),
            // The best rows of each, by a frozen order and by a live one.
            ("SELECT SUM(q.x * m.b) FROM l, m, LATERAL (SELECT r.x FROM r WHERE r.x < l.x * 2 ORDER BY r.x DESC LIMIT 2) q", 5.8),
            ("SELECT SUM(q.x * m.b) FROM l, m, LATERAL (SELECT r.x FROM r WHERE r.x < l.x * 2 ORDER BY r.x DESC LIMIT 2 OFFSET 1) q", 2.0 * (0.2 - 0.3 + 0.5 + 0.2 + 0.2 - 0.3)),
            (
                "SELECT SUM(q.x) FROM l, LATERAL (SELECT r.x FROM r, m WHERE r.k = l.k ORDER BY r.x * m.b DESC LIMIT 1) q",
                first * 0.5 - (1.0 - first) * 0.3 + 1.0,
            ),
            ("SELECT SUM(q.n * m.b) FROM l, m, LATERAL (SELECT ROW_NUMBER() OVER (ORDER BY r.x) AS n FROM r WHERE r.x > l.x) q", 26.0),
            ("SELECT SUM(q.n) FROM l, LATERAL (SELECT SUM(r.x * m.b) OVER (ORDER BY r.x) AS n FROM r, m WHERE r.x > l.x) q", 2.0 * (2.0 + (0.2 + 0.7 + 1.7) + 1.0 + 2.0)),
            (
                "SELECT COUNT(*) FROM l, LATERAL (SELECT DISTINCT r.k FROM r, m WHERE r.x > m.a AND r.k >= l.k) q",
                one + 2.0 * w(1.0),
            ),
            (
                "SELECT SUM(q.n) FROM (SELECT l.k, l.x * m.b AS h FROM l, m) t, LATERAL (SELECT COUNT(*) AS n FROM r WHERE r.x > t.h) q",
                pairs(&|l, r| above(r, 2.0 * l)),
            ),
            (
                "SELECT SUM(q.x) FROM l, LATERAL (SELECT r.x FROM r, m WHERE r.k = l.k AND r.x > m.a UNION ALL SELECT l.x) q",
                w(0.5) * 0.5 - w(-0.3) * 0.3 + w(1.0) + 1.4,
            ),
            // One in another, which reads both rows around it, and one in a sub-query.
            (
                "SELECT SUM(p.h) FROM l, m, LATERAL (SELECT q.h FROM r, LATERAL (SELECT r.x * l.x * m.b AS h) q WHERE r.k = l.k) p",
                -0.28,
            ),
            (
                "SELECT COUNT(*) FROM l WHERE EXISTS (SELECT 1 FROM r, LATERAL (SELECT r.x * m.a AS h FROM m) q WHERE r.k = l.k AND q.h > l.x)",
                any(&[above(0.05, 0.3), above(-0.03, 0.3)]) + above(0.1, -0.2),
            ),
        ],
    )
    .await;
    fails(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(q.h) FROM l RIGHT JOIN LATERAL (SELECT l.x * m.a AS h FROM m) q ON true)",
        &["LATERAL syntax is not supported for"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lateral_sub_queries_of_every_shape_run_exactly() {
    let s = database().await;
    for (sql, expected) in [
        (
            "SELECT l.x, q.x FROM l, LATERAL (SELECT r.x FROM r WHERE r.x < l.x ORDER BY r.x DESC LIMIT 1) q ORDER BY 1",
            "-0.2|-0.3\n0.3|0.2\n0.4|0.2\n0.9|0.5",
        ),
        (
            "SELECT l.x, q.x FROM l LEFT JOIN LATERAL (SELECT r.x FROM r WHERE r.x < l.x ORDER BY r.x DESC LIMIT 1 OFFSET 1) q ON true ORDER BY 1",
            "-0.2|NULL\n0.3|-0.3\n0.4|-0.3\n0.9|0.2",
        ),
        ("SELECT l.x, q.n FROM l, LATERAL (SELECT COUNT(*) AS n FROM r WHERE r.x > l.x) q ORDER BY 1", "-0.2|3\n0.3|2\n0.4|2\n0.9|1"),
        ("SELECT l.x, q.n FROM l, LATERAL (SELECT COUNT(*) AS n FROM r WHERE r.x > l.x HAVING COUNT(*) > 2) q ORDER BY 1", "-0.2|3"),
        (
            "SELECT l.x, q.x, q.n FROM l, LATERAL (SELECT r.x, ROW_NUMBER() OVER (ORDER BY r.x) AS n FROM r WHERE r.x > l.x) q WHERE q.n = 2 ORDER BY 1",
            "-0.2|0.5|2\n0.3|1.0|2\n0.4|1.0|2",
        ),
        ("SELECT l.k, q.h FROM l, LATERAL (SELECT l.x * 2 AS h) q WHERE l.k > 1 ORDER BY 1", "2|-0.4\n3|1.8"),
        (
            "SELECT l.k, p.h FROM l, LATERAL (SELECT q.h FROM r, LATERAL (SELECT r.x * l.x AS h) q WHERE r.k = l.k) p ORDER BY 1, 2",
            "1|-0.09\n1|0.15\n2|-0.2",
        ),
        ("SELECT l.k, q.k FROM l, LATERAL (SELECT DISTINCT r.k FROM r WHERE r.k >= l.k) q ORDER BY 1, 2", "1|1\n1|2\n2|2"),
        (
            "SELECT l.k, q.x FROM l, LATERAL (SELECT r.x FROM r WHERE r.k = l.k UNION ALL SELECT l.x) q WHERE l.k < 3 ORDER BY 1, 2",
            "1|-0.3\n1|0.3\n1|0.5\n2|-0.2\n2|1.0",
        ),
    ] {
        assert_eq!(rows(&s, sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_groups_or_sets_of_a_sub_query() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE r (k BIGINT, x DOUBLE); INSERT INTO r VALUES (1, 0.2), (2, 0.7), (3, 0.9), (NULL, 1.5), (2, 0.1);
         CREATE TABLE q (k BIGINT, u DOUBLE); INSERT INTO q VALUES (1, 0.9), (1, 0.8), (2, 0.3), (2, 0.1), (NULL, 2.0), (4, 3.0);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.25, b DOUBLE LEARNABLE DEFAULT 1.1); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    for set in [
        "SELECT DISTINCT q.k FROM q WHERE q.u > m.a",
        "SELECT q.k FROM q GROUP BY q.k HAVING SUM(q.u * m.b) > 1",
        "SELECT q.k FROM q WHERE q.u > m.a UNION SELECT 3",
    ] {
        for query in [
            format!("SELECT COUNT(*) FROM r, m WHERE r.k IN ({set})"),
            format!("SELECT COUNT(*) FROM r, m WHERE r.k NOT IN ({set}) AND r.x > m.a"),
        ] {
            let mut relaxed = s
                .relaxed(&format!("TRAIN MINIMIZE ({query}) RELAX (temperature => 0.5, scale => 'none')"))
                .await
                .unwrap_or_else(|e| panic!("{query}\n{e}"));
            assert!(limit_of(&mut relaxed, &query, 1e-6).await && slope_of(&mut relaxed, &query) > 0);
        }
    }
}
