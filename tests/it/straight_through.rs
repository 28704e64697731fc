//! `forward => 'exact'`: the values of the exact query with the gradients of the relaxed one.

use crate::laws::{SHAPES, database};
use crate::{run, session};
use nabladb::Session;
use nabladb::relaxation::RELAXATIONS;
use nabladb::session::RelaxedQuery;

async fn query(s: &Session, objective: &str, options: &str) -> RelaxedQuery {
    let sql = format!("TRAIN MINIMIZE ({objective}) RELAX ({options})");
    s.relaxed(&sql).await.unwrap_or_else(|e| panic!("{sql}\n{e}"))
}

/// At a high temperature, and with a gradient all the same.
#[tokio::test(flavor = "multi_thread")]
async fn every_relaxation_has_its_exact_value() {
    let (mut held, mut wrong) = (0, vec![]);
    for &shape in SHAPES {
        let s = database(shape).await;
        for relaxation in RELAXATIONS {
            let sql = format!("TRAIN MINIMIZE ({}) RELAX (temperature => 0.5, forward => 'exact')", relaxation.example);
            let mut query = match s.relaxed(&sql).await {
                Err(e) if e.to_string().contains("no gradient reaches") => continue,
                outcome => outcome.unwrap_or_else(|e| panic!("{sql}\n{e}")),
            };
            let (Some(value), Ok(Some(exact))) = (query.value(), query.exact().await) else { continue };
            // DataFusion 55.2 interpolates PERCENTILE_CONT with a fraction cut to six digits.
            let precision = if relaxation.example.contains("PERCENTILE_CONT") { 1e-6 } else { 1e-9 };
            if (value - exact).abs() <= precision * exact.abs().max(1e-9) || !exact.is_finite() {
                held += 1;
            } else {
                wrong.push(format!("shape {}, {}: {value}, exactly {exact}: {}", shape.seed, relaxation.name, relaxation.example));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {held} held:\n{}", wrong.len(), wrong.join("\n"));
    assert!(held > 200, "{held}");
}

async fn three_rows() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE r (x DOUBLE, y DOUBLE); INSERT INTO r VALUES (0.1, 0.2), (0.9, 0.1), (0.7, 0.8);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.5, b DOUBLE LEARNABLE DEFAULT 0.6); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_conjunct_lets_the_gradients_of_the_others_through() {
    let s = three_rows().await;
    let count = "SELECT COUNT(*) FROM r, m WHERE x > a AND y > b";
    let mut relaxed = query(&s, count, "temperature => 0.5, scale => 'none'").await;
    let mut exact = query(&s, count, "temperature => 0.5, scale => 'none', forward => 'exact'").await;
    let soft = relaxed.value().unwrap();
    assert!((soft - 1.0).abs() > 0.1 && exact.value() == Some(1.0), "{soft} {:?}", exact.value());
    for name in ["m.a", "m.b"] {
        let (of_relaxed, of_exact) = (relaxed.gradient(name).unwrap()[0], exact.gradient(name).unwrap()[0]);
        assert!(of_relaxed < 0.0 && (of_relaxed - of_exact).abs() < 1e-15, "{name}: {of_relaxed} {of_exact}");
    }
    // A loss over it is taken where the exact value is.
    let loss = format!("SELECT power(n - 3, 2) FROM ({count}) t (n)");
    let mut loss = query(&s, &loss, "temperature => 0.5, scale => 'none', forward => 'exact'").await;
    assert_eq!(loss.value(), Some(4.0));
    let (of_loss, of_count) = (loss.gradient("m.a").unwrap()[0], relaxed.gradient("m.a").unwrap()[0]);
    assert!((of_loss - 2.0 * (1.0 - 3.0) * of_count).abs() < 1e-14, "{of_loss} {of_count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_have_the_slope_of_their_argument() {
    let s = three_rows().await;
    for (objective, value, slope) in [
        ("SELECT SUM(round(10 * x * a)) FROM r, m", 10.0, 17.0),
        ("SELECT SUM(round(x * a, 1)) FROM r, m", 1.0, 1.7),
        ("SELECT SUM(CAST(10 * x * a AS BIGINT)) FROM r, m", 7.0, 17.0),
        ("SELECT SUM(floor(10 * x * a) * 2) FROM r, m", 14.0, 34.0),
        ("SELECT SUM(10 * x * a % 2) FROM r, m", 2.5, 17.0),
        ("SELECT CAST(COUNT(*) AS BIGINT) / 2 FROM r, m WHERE x > 0 AND a > 0.1", 1.0, 0.0),
    ] {
        let mut query = query(&s, objective, "temperature => 0.01, scale => 'none', forward => 'exact'").await;
        assert!((query.value().unwrap() - value).abs() < 1e-12, "{objective}: {:?}", query.value());
        assert_eq!(query.exact().await.unwrap(), Some(value), "{objective}");
        let found = query.gradient("m.a").unwrap()[0];
        assert!((found - slope).abs() < 1e-9, "{objective}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_that_values_are_exact() {
    let s = three_rows().await;
    let text = crate::rows(&s, "EXPLAIN TRAIN MINIMIZE (SELECT SUM(round(x * a)) FROM r, m) RELAX (forward => 'exact')").await;
    for piece in ["run|forward|exact", "round -> exact, with the gradient of its argument"] {
        assert!(text.contains(piece), "without {piece}:\n{text}");
    }
}

/// A step that the relaxed query refuses is learned through.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_number_is_learned() {
    let s = three_rows().await;
    let objective = "SELECT power(round(10 * a) - 8, 2) FROM m";
    run(&s, &format!("TRAIN m MINIMIZE ({objective}) USING sgd (learning_rate => 0.002) FOR 100 STEPS RELAX (forward => 'exact')")).await;
    assert_eq!(crate::rows(&s, objective).await, "0.0");
}
