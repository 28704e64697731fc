//! WITH RECURSIVE over live relations: rounds that frozen columns decide, with degrees written out by hand.

use crate::laws::{limit_of, slope_of};
use crate::subqueries::{all_are, any, w};
use crate::{fails, rows, run, session};
use nabladb::Session;

/// A graph with a cycle: an edge is there to the degree `x > m.a`.
async fn graph() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE edge (src BIGINT, dst BIGINT, x DOUBLE, cost DOUBLE LEARNABLE);
         INSERT INTO edge VALUES (1, 2, 0.3, 1.0), (2, 3, 0.5, 1.5), (1, 3, -0.2, 4.0), (3, 1, 0.9, 1.0), (5, 6, 0.1, 1.0);
         CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.1, b DOUBLE LEARNABLE DEFAULT 0.9); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    s
}

const REACHABLE: &str = "WITH RECURSIVE reachable AS (SELECT 1 AS node UNION
    SELECT e.dst FROM reachable p JOIN edge e ON e.src = p.node, m WHERE e.x > m.a)
    SELECT SUM(node * 10) + COUNT(*) FROM reachable";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reachable_over_uncertain_edges() {
    let s = graph().await;
    let third = any(&[w(-0.2), w(0.3) * w(0.5)]);
    let expected = 11.0 + 21.0 * w(0.3) + 31.0 * third;
    all_are(&s, &[(REACHABLE, expected)]).await;
    // With edge 1 -> 3 out, node 3 is reached a round later than by all edges: exactly so in the limit.
    let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({REACHABLE}) RELAX (temperature => 0.5)")).await.unwrap();
    assert_eq!(query.exact().await.unwrap(), Some(63.0));
    assert!(limit_of(&mut query, REACHABLE, 1e-6).await);
    assert!(slope_of(&mut query, REACHABLE) > 0);
}

const CHEAPEST: &str = "WITH RECURSIVE path AS (SELECT 1 AS node, 0.0 AS cost, 0 AS hops UNION ALL
    SELECT e.dst, p.cost + e.cost, p.hops + 1 FROM path p JOIN edge e ON e.src = p.node WHERE p.hops < 4)
    SELECT MIN(cost) FROM path WHERE node = 3";

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_path_has_the_gradient_of_its_edges() {
    let s = graph().await;
    assert_eq!(rows(&s, CHEAPEST).await, "2.5");
    let gradient = rows(&s, &format!("GRADIENT OF ({CHEAPEST}) WITH RESPECT TO edge.cost")).await;
    let of: Vec<&str> = gradient.lines().map(|line| line.rsplit('|').next().unwrap()).collect();
    assert_eq!(of, ["1.0", "1.0", "0.0", "0.0", "0.0"], "{gradient}");
    // Training makes the direct edge cheaper than the detour.
    let train = CHEAPEST.replace("hops < 4", "hops < 1");
    run(&s, &format!("TRAIN edge.cost MINIMIZE (SELECT power(({train}) - 2, 2)) USING sgd (learning_rate => 0.1) FOR 60 STEPS")).await;
    assert_eq!(rows(&s, &format!("SELECT round(cost, 3) FROM ({train}) t (cost)")).await, "2.0");
}

/// h <- b h + a, n times from 1: in closed form, and its derivatives with respect to a and b.
fn recurrence(a: f64, b: f64, n: i32) -> [f64; 3] {
    let (power, sum) = (b.powi(n), (1.0 - b.powi(n)) / (1.0 - b));
    let slope = (-f64::from(n) * b.powi(n - 1) * (1.0 - b) + 1.0 - b.powi(n)) / (1.0 - b).powi(2);
    [power + a * sum, sum, f64::from(n) * b.powi(n - 1) + a * slope]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rounds_of_one_row_and_of_ten() {
    let s = graph().await;
    run(&s, "UPDATE m SET a = 0.01, b = 0.999").await;
    let [value, by_a, by_b] = recurrence(0.01, 0.999, 1000);
    for (source, many) in [("m", 1.0), ("m, range(10)", 10.0)] {
        let objective = format!(
            "WITH RECURSIVE state AS (SELECT 0 AS n, 1.0 AS h FROM {source} UNION ALL
             SELECT n + 1, h * m.b + m.a FROM state, m WHERE n < 1000) SELECT SUM(h) FROM state WHERE n = 1000"
        );
        let query = s.relaxed(&format!("TRAIN MINIMIZE ({objective})")).await;
        let mut query = query.unwrap_or_else(|e| panic!("{objective}\n{e}"));
        let near = |found: f64, expected: f64| assert!((found - many * expected).abs() < 1e-9 * expected, "{found} {expected}");
        near(query.value().unwrap(), value);
        near(query.gradient("m.a").unwrap()[0], by_a);
        near(query.gradient("m.b").unwrap()[0], by_b);
        near(query.exact().await.unwrap().unwrap(), value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_how_many_rounds_and_shows_one() {
    let s = graph().await;
    let text = rows(&s, &format!("EXPLAIN TRAIN MAXIMIZE ({CHEAPEST})")).await;
    for piece in ["stage 1|frozen rows|1", "the rows of stage 1 and of 5 rounds", "stage 2|rounds|5", "WITH RECURSIVE -> unrolled"] {
        assert!(text.contains(piece), "without {piece}:\n{text}");
    }
    assert!(!text.contains("stage 4|skeleton"), "{text}");
    let text = rows(&s, &format!("EXPLAIN TRAIN MAXIMIZE ({REACHABLE})")).await;
    assert!(text.contains("|rounds|2") && text.contains("no row matches"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recursions_without_end_or_within_each_other_are_refused() {
    let s = graph().await;
    let union = REACHABLE.replace("SELECT 1 AS node", "SELECT 1.0 AS node").replace("e.dst", "p.node + m.b");
    fails(&s, &format!("TRAIN MINIMIZE ({union})"), &["DISTINCT over the live column node", "hint"]).await;
    let inner = "SELECT c.n FROM (WITH RECURSIVE inner_rounds AS (SELECT o.n AS n FROM outer_rounds o, m UNION ALL
        SELECT n + 1 FROM inner_rounds WHERE n < 3) SELECT * FROM inner_rounds) c";
    let nested = format!(
        "WITH RECURSIVE outer_rounds AS (SELECT 0 AS n, 0.0 AS h FROM m UNION ALL
         SELECT c.n + 1, m.a FROM ({inner}) c, m WHERE c.n < 5) SELECT SUM(h) FROM outer_rounds"
    );
    fails(&s, &format!("TRAIN MINIMIZE ({nested})"), &["inside the rounds of another", "hint"]).await;
    let endless = "WITH RECURSIVE t AS (SELECT m.a AS v FROM m UNION ALL SELECT v * m.b FROM t, m WHERE v < 1.5) SELECT SUM(v) FROM t";
    fails(&s, &format!("TRAIN MINIMIZE ({endless})"), &["a recursive query does not end", "such as a counter"]).await;
}
