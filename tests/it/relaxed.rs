//! `RELAX (...) SELECT` and `GRADIENT OF (SELECT ...)` in SQL.

use crate::{fails, rows, run, session};
use nabladb::Session;

async fn shop() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE p (id BIGINT PRIMARY KEY, name TEXT, x DOUBLE); INSERT INTO p VALUES (1, 'a', 0.0), (2, 'b', 1.0), (3, NULL, 2.0), (4, 'd', NULL);
         CREATE TABLE m (t DOUBLE LEARNABLE DEFAULT 1, w DOUBLE LEARNABLE DEFAULT 2); INSERT INTO m DEFAULT VALUES;
         CREATE TABLE u (k TEXT, i INT, e REAL[2] LEARNABLE DEFAULT [1, 2], PRIMARY KEY (k, i)); INSERT INTO u (k, i) VALUES ('x', 1), ('y', 2)",
    )
    .await;
    s
}

fn numbers(text: &str) -> Vec<f64> {
    text.split(['|', '\n']).map(|x| x.parse().unwrap_or(f64::NAN)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_rows_have_their_weights_and_their_frozen_columns() {
    let s = shop().await;
    let relaxed =
        rows(&s, "RELAX (temperature => 1, scale => 'none') SELECT name, id, x * w AS v, x > t AS over FROM p, m WHERE x > t").await;
    let lines: Vec<&str> = relaxed.lines().collect();
    assert_eq!((lines.len(), lines[3]), (4, "d|4|NULL|NULL|0.0"), "a NULL is in no way greater: {relaxed}");
    let half = 1.0 / (1.0 + std::f64::consts::E);
    for (line, (name, v, weight)) in lines.iter().zip([("a|1", 0.0, half), ("b|2", 2.0, 0.5), ("NULL|3", 4.0, 1.0 - half)]) {
        let fields = numbers(line);
        assert!(line.starts_with(name), "{line}");
        assert!((fields[2] - v).abs() < 1e-12 && (fields[3] - weight).abs() < 1e-12 && (fields[4] - weight).abs() < 1e-12, "{line}");
    }
    // What nothing learned reaches is the exact answer, with weight 1.
    assert_eq!(rows(&s, "RELAX () SELECT id FROM p WHERE x > 0.5 ORDER BY id DESC").await, "3|1.0\n2|1.0");
    assert_eq!(rows(&s, "RELAX () SELECT k, e, array_scale(e, w) AS f FROM u, m WHERE i = 2").await, "y|[1.0, 2.0]|[2.0, 4.0]|1.0");
    assert_eq!(rows(&s, "RELAX () SELECT SUM(x * w) FROM p, m WHERE id < 4").await, "6.0|1.0");
    assert_eq!(rows(&s, "RELAX () SELECT id, COALESCE(x, -1) * w AS v FROM p, m WHERE x IS NULL").await, "4|-2.0|1.0");
    assert_eq!(rows(&s, "RELAX () SELECT id, x * w AS v FROM p, m WHERE x IS NULL").await, "4|NULL|1.0");
    assert_eq!(rows(&s, "RELAX () SELECT id FROM p, m WHERE x > t AND id > 9").await, "");
    let groups = rows(&s, "RELAX SELECT x > t AS up, COUNT(*) AS n FROM p, m WHERE id < 4 GROUP BY x > t").await;
    assert!(groups.starts_with("NULL|0.0|0.0\n"), "{groups}");
    assert_eq!(rows(&s, "RELAX WITH q AS (SELECT 1 AS one) SELECT one FROM q").await, "1|1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_relaxed_rows_are_the_exact_rows() {
    let s = shop().await;
    let query = "SELECT id, SUM(x * w) AS v FROM p, m WHERE x > t - 0.5 GROUP BY id";
    let exact = rows(&s, &format!("{query} ORDER BY id")).await;
    let relaxed = rows(&s, &format!("RELAX (temperature => 1e-3) {query}")).await;
    let present: Vec<&str> = relaxed.lines().filter(|l| l.ends_with("|1.0")).map(|l| l.strip_suffix("|1.0").unwrap()).collect();
    assert_eq!(present.join("\n"), exact);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gradient_has_a_row_for_each_element() {
    let s = shop().await;
    let query = "SELECT SUM(array_sum(e) * i) * (SELECT w FROM m) FROM u";
    assert_eq!(
        rows(&s, &format!("GRADIENT OF ({query})")).await,
        "m|1|t|NULL|1.0|0.0\nm|1|w|NULL|2.0|9.0\nu|x, 1|e|1|1.0|2.0\nu|x, 1|e|2|2.0|2.0\nu|y, 2|e|1|1.0|4.0\nu|y, 2|e|2|2.0|4.0"
    );
    assert_eq!(rows(&s, &format!("GRADIENT OF ({query}) WITH RESPECT TO m.w")).await, "m|1|w|NULL|2.0|9.0");
    let slope =
        numbers(&rows(&s, "GRADIENT OF (SELECT COUNT(*) FROM p, m WHERE x > t) RELAX (temperature => 1, scale => 'none')").await)[5];
    let bell = |z: f64| f64::exp(-z) / (1.0 + f64::exp(-z)).powi(2);
    assert!((slope + bell(-1.0) + bell(0.0) + bell(1.0)).abs() < 1e-12, "{slope}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_explained_and_refused_aloud() {
    let s = shop().await;
    let explained = rows(&s, "EXPLAIN RELAX (temperature => 0.25) SELECT id FROM p, m WHERE x > t").await;
    for piece in ["p.x > m.t -> degree, logistic", "run|temperature|0.25", "run|scale|p.x > m.t: "] {
        assert!(explained.contains(piece), "{piece}\n{explained}");
    }
    let explained = rows(&s, "EXPLAIN GRADIENT OF (SELECT COUNT(*) FROM p, m WHERE x > t) WITH RESPECT TO m.t").await;
    for piece in ["p.x > m.t -> degree, logistic", "m.t: reached by the gradient", "run|temperature|0.5"] {
        assert!(explained.contains(piece), "{piece}\n{explained}");
    }
    fails(&s, "GRADIENT OF (SELECT SUM(x) FROM p)", &["reads no learnable column", "line 1, column 14", "hint: "]).await;
    fails(&s, "GRADIENT OF (SELECT SUM(w) FROM m) WITH RESPECT TO u.e", &["reads nothing of u.e", "it reads m.t, m.w"]).await;
    fails(&s, "GRADIENT OF (SELECT SUM(w) FROM m) WITH RESPECT TO m.q", &["column 'q' not found", "hint: "]).await;
    fails(&s, "GRADIENT OF (SELECT w, t FROM m)", &["one column", "hint: "]).await;
    fails(&s, "GRADIENT OF (SELECT SUM(ln(w - 2)) FROM m)", &["which has no gradient", "hint: "]).await;
    fails(&s, "RELAX (final_temperature => 1) SELECT w FROM m", &["unknown option 'final_temperature' of RELAX", "line 1, column 8"]).await;
    fails(&s, "RELAX (temperature => 0) SELECT x > w FROM p, m", &["must be a positive number"]).await;
    fails(&s, "RELAX () SELECT md5(CAST(w AS TEXT)) FROM m", &["string function of a live value", "hint: "]).await;
    fails(&s, "RELAX () INSERT INTO m DEFAULT VALUES", &["only a query can be relaxed", "line 1, column 10"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn matrices_of_a_one_row_model_are_constants_wherever_the_exact_query_reads_them() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE d AS SELECT value AS id, value % 7 AS g, [sin(value), cos(value), 0.5] AS x FROM range(300);
         CREATE TABLE n (id INT PRIMARY KEY, w DOUBLE[2][3] LEARNABLE DEFAULT init_normal(0, 1), b DOUBLE[2] LEARNABLE DEFAULT init_normal(0, 1));
         INSERT INTO n (id) VALUES (0)",
    )
    .await;
    let unit = "array_add(matvec(n.w, d.x), n.b)";
    for objective in [
        format!("SELECT AVG(cross_entropy({unit}, d.id % 2)) FROM d, n"),
        format!("SELECT SUM(t.u[1]) FROM (SELECT {unit} AS u, n.w AS w FROM d JOIN n ON true) t WHERE t.w[1][2] < 100"),
        format!("SELECT SUM(t.m * t.m) FROM (SELECT d.g, AVG(inner_product({unit}, n.b)) AS m FROM d, n GROUP BY d.g) t"),
        "SELECT SUM(m.h) FROM (SELECT (SELECT SUM(inner_product(matvec(n.w, d.x), n.b)) FROM d, n WHERE d.g = e.g) AS h FROM d e) m".into(),
        "SELECT SUM(COALESCE(n.b[1], 3) * d.g) FROM d LEFT JOIN n ON n.id = d.g".into(),
        "SELECT SUM(l.b[2] * d.g) FROM d, n l, n r WHERE l.id = r.id".into(),
    ] {
        let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective})")).await.unwrap_or_else(|e| panic!("{objective}\n{e}"));
        let exact = query.exact().await.unwrap_or_else(|e| panic!("{objective}\n{e}")).unwrap();
        let value = query.value().unwrap();
        assert!((value - exact).abs() <= 1e-9 * exact.abs(), "{value} {exact}: {objective}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_not_taken_does_not_spoil_the_gradient() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE r (g BIGINT); INSERT INTO r VALUES (1), (2), (3), (5);
         CREATE TABLE m (b DOUBLE LEARNABLE DEFAULT 0.5); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    // v is b / -2, b / -1, NULL and b / 2; or ln(b) in the place of a logarithm of 0.
    for (value, slope) in
        [("m.b / (r.g - 3)", 1.5), ("CAST(1 AS DOUBLE) / (r.g - 3) * m.b", 1.5), ("ln(m.b * signum(abs(r.g - 3)))", 12.0 * 0.5f64.ln())]
    {
        let query = format!("SELECT SUM(t.v * t.v) FROM (SELECT CASE WHEN r.g <> 3 THEN {value} END AS v FROM r, m) t");
        let row = rows(&s, &format!("GRADIENT OF ({query})")).await;
        let gradient: f64 = row.rsplit('|').next().and_then(|x| x.parse().ok()).expect("a slope");
        assert!((gradient - slope).abs() < 1e-12, "{query}: {row} is not {slope}");
    }
    // A group without rows has no quotient.
    run(&s, "CREATE TABLE p (k BIGINT, x DOUBLE, z DOUBLE); INSERT INTO p VALUES (1, 1, 2), (1, 2, 4), (2, NULL, 3)").await;
    for aggregate in ["SUM(p.z) / COUNT(*)", "SUM(p.z) / SUM(p.x)", "MEDIAN(p.z)"] {
        empty_group(&s, aggregate).await;
    }
}

/// The slope of an aggregate of groups, one of which has no rows, is a central difference.
async fn empty_group(s: &Session, aggregate: &str) {
    run(s, "UPDATE m SET b = 0.5").await;
    let query = format!("SELECT SUM(t.v * t.v) FROM (SELECT p.k, {aggregate} AS v FROM p, m WHERE p.x > m.b GROUP BY p.k) t");
    let row = rows(s, &format!("GRADIENT OF ({query}) RELAX (temperature => 0.5, scale => 'none')")).await;
    let slope: f64 = row.rsplit('|').next().and_then(|x| x.parse().ok()).expect("a slope");
    let at = async |b: f64| -> f64 {
        run(s, &format!("UPDATE m SET b = {b}")).await;
        let row = rows(s, &format!("RELAX (temperature => 0.5, scale => 'none') {query}")).await;
        row.split('|').next().and_then(|x| x.parse().ok()).expect("a value")
    };
    let difference = (at(0.5 + 1e-5).await - at(0.5 - 1e-5).await) / 2e-5;
    assert!((slope - difference).abs() < 1e-6 * slope.abs(), "{aggregate}: {slope} is not {difference}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_certain_leaves_the_gradient_of_any_and_of_all() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE r (x DOUBLE); INSERT INTO r VALUES (100), (0.4);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.5); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    // One certain row decides; the other has no say.
    for query in [
        "SELECT CAST(BOOL_OR(x > a) AS DOUBLE) FROM r, m",
        "SELECT COUNT(*) FROM m WHERE EXISTS (SELECT 1 FROM r WHERE x > a)",
        "SELECT COUNT(*) FROM m WHERE NOT EXISTS (SELECT 1 FROM r WHERE x > a)",
        "SELECT CAST(BOOL_AND(x < a) AS DOUBLE) FROM r, m",
    ] {
        let row = rows(&s, &format!("GRADIENT OF ({query}) RELAX (temperature => 0.5, scale => 'none')")).await;
        let slope: f64 = row.rsplit('|').next().and_then(|x| x.parse().ok()).expect("a slope");
        assert!(slope.abs() < 1e-12, "{query}: {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matrices_are_shown_in_their_shape() {
    let s = session().await;
    run(&s, "CREATE TABLE e (id INT, w DOUBLE[2][3] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO e (id) VALUES (1), (2)").await;
    let shown = rows(&s, "RELAX () SELECT id, w, SUM(w) OVER () AS s, CASE WHEN id = 3 THEN w END AS n FROM e ORDER BY id").await;
    assert_eq!(shown, rows(&s, "SELECT id, w, (SELECT SUM(w) FROM e) AS s, NULL AS n, 1.0 AS weight FROM e ORDER BY id").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_no_length_have_no_direction() {
    let s = session().await;
    run(&s, "CREATE TABLE e (id INT, v DOUBLE[2] LEARNABLE); INSERT INTO e VALUES (1, [3, 4]), (2, [0, 0])").await;
    for (objective, value) in [
        ("SELECT SUM(array_sum(array_normalize(v)) * id) FROM e", 1.4),
        ("SELECT SUM(cosine_distance(v, [1.0, 0.0]) * id) FROM e", 0.4),
        ("SELECT COUNT(array_normalize(v)) + SUM(v[1]) FROM e", 4.0),
    ] {
        let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective})")).await.unwrap();
        let (ours, exact) = (query.value().unwrap(), query.exact().await.unwrap().unwrap());
        assert!((ours - value).abs() < 1e-12 && (exact - value).abs() < 1e-12, "{ours}, exact {exact}, is not {value}: {objective}");
        assert!(query.gradient("e.v").unwrap().iter().all(|g| g.is_finite()), "{objective}");
    }
    fails(&s, "SELECT bce(v[1], 1) FROM e", &["bce takes a probability, between 0 and 1, not 3", "hint: bce(sigmoid(x), y)"]).await;
    for (objective, pieces) in [
        (
            "SELECT array_sum(array_agg(v ORDER BY id)) FROM e",
            &["array_sum takes vectors, not [2][2]", "at: array_sum(", "hint: flatten"][..],
        ),
        ("SELECT SUM(cross_entropy(v, 7)) FROM e", &["the label 7 of cross_entropy is not a class of 2 logits", "at: cross_entropy("]),
        (
            "SELECT COUNT(*) FROM (SELECT CASE WHEN v[1] > 0 THEN 'up' END AS c FROM e) t WHERE c = 'up'",
            &["needs numbers", "hint: ", "THEN 1 ELSE 0"],
        ),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE ({objective})"), pieces).await;
    }
    let error = crate::failure(&s, "TRAIN MINIMIZE (SELECT SUM(cross_entropy(v, 7)) FROM e)").await;
    assert!(!error.contains("mismatch"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_of_a_partition_are_those_of_its_group() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE r (g BIGINT, x DOUBLE, z DOUBLE); INSERT INTO r VALUES (1, 1, 2), (1, 4, 3), (1, 2, 5), (2, 3, 1), (2, 7, 2);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.5); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    for moment in ["STDDEV(x * a)", "VAR_POP(x * a)", "CORR(x * a, z)", "COVAR_POP(x * a, z * a)"] {
        let options = "RELAX (temperature => 1e-6, scale => 'none')";
        let window = format!("SELECT SUM(t.v) FROM (SELECT {moment} OVER (PARTITION BY g) AS v FROM r, m) t");
        let group = format!("SELECT SUM(t.v * t.n) FROM (SELECT {moment} AS v, COUNT(*) AS n FROM r, m GROUP BY g) t");
        let gradient = async |query: &str| rows(&s, &format!("GRADIENT OF ({query})")).await;
        let number = |row: &str| row.rsplit('|').next().and_then(|x| x.parse::<f64>().ok()).expect("a slope");
        let (of_window, of_group) = (gradient(&window).await, gradient(&group).await);
        assert!((number(&of_window) - number(&of_group)).abs() < 1e-12, "{moment}: {of_window} is not {of_group}");
        let relaxed = rows(&s, &format!("{options} {window}")).await;
        let exact: f64 = rows(&s, &window).await.parse().expect("a number");
        let relaxed: f64 = relaxed.split('|').next().and_then(|x| x.parse().ok()).expect("a number");
        assert!((relaxed - exact).abs() < 1e-9, "{moment}: {relaxed} is not {exact}");
    }
}
