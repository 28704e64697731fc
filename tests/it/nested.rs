//! The three laws over random queries of the whole grammar, nested three deep, and that what is refused is refused with a way out.

use crate::laws::{Random, SHAPES, Shape, database, has_kinks, limit_of, outcome, predicate, slope_of, value};
use nabladb::Session;

/// Queries of each kind of database: SHAPES.len() times this many in all.
const QUERIES: u64 = 250;

/// A random relation with the columns (id, k, g, x, y, v), of which `v` is live; different rows have different `v`.
fn relation(random: &mut Random, depth: u64) -> String {
    if depth == 0 {
        let (p, v) = (predicate(random, 1), value(random, 1));
        let filter = if random.chance(70) { format!("WHERE {p}") } else { String::new() };
        return format!(
            "SELECT r.id, r.k, r.g, r.x, r.y, COALESCE({v}, m.b) + (r.id + 1) * (0.0137 + m.c * m.c * 0.01) AS v FROM r, m {filter}"
        );
    }
    let a = relation(random, depth - 1);
    let t = format!("({a}) t");
    let all = "t.id, t.k, t.g, t.x, t.y";
    // Rows that no filter weighs.
    let whole = "(SELECT r.id, r.k, r.g, r.x, r.y, COALESCE(r.z * m.b, m.b) + (r.id + 1) * 0.0137 AS v FROM r, m) t";
    let present = "SELECT s.k, s.u, s.v FROM s, m WHERE s.u > m.a";
    let of_key = |key: &str| format!("{key} AS id, {key} AS k, {key} AS g, 0.25 AS x, 0.5 AS y");
    match random.below(39) {
        0 => format!("SELECT {all}, t.v FROM {t}, m WHERE t.v > m.a * 0.31"),
        1 => format!("SELECT {all}, t.v * m.b + 0.001 * t.id AS v FROM {t}, m WHERE t.g < 3 OR t.v < m.c"),
        2 => {
            format!("SELECT t.g AS id, t.g AS k, t.g, CAST(t.g AS DOUBLE) AS x, 0.5 AS y, AVG(t.v) + 0.03 * t.g AS v FROM {t} GROUP BY t.g")
        }
        3 => format!("SELECT t.k AS id, t.k, t.k AS g, 0.25 AS x, 0.5 AS y, COALESCE(MAX(t.v), 0) + 0.03 * t.k AS v FROM {t} GROUP BY t.k"),
        4 => format!(
            "SELECT t.k AS id, t.k, t.k AS g, 0.25 AS x, 0.5 AS y, COALESCE(SUM(t.v), 0) + 0.03 * t.k AS v FROM {t} GROUP BY t.k HAVING COUNT(*) > 1.5"
        ),
        5 => format!("SELECT {all}, t.v FROM {t} WHERE t.v IS NOT NULL ORDER BY t.v DESC LIMIT {}", 1 + random.below(9)),
        6 => format!(
            "SELECT {all}, t.v FROM (SELECT {all}, t.v, ROW_NUMBER() OVER (PARTITION BY t.g ORDER BY t.v) AS n FROM {t}) t WHERE t.n <= {}",
            1 + random.below(3)
        ),
        7 => format!("SELECT {all}, RANK() OVER (PARTITION BY t.g ORDER BY t.v DESC) + 0.01 * t.id AS v FROM {t}"),
        8 => format!("SELECT {all}, SUM(t.v) OVER (PARTITION BY t.g ORDER BY t.id) + 0.01 * t.id AS v FROM ({}) t", relation(random, 0)),
        9 => format!("SELECT {all}, t.v FROM {t} WHERE EXISTS (SELECT 1 FROM s, m WHERE s.k = t.k AND s.u > m.a)"),
        10 => format!("SELECT {all}, t.v FROM {t} WHERE NOT EXISTS (SELECT 1 FROM s, m WHERE s.k = t.k AND s.u > m.a)"),
        11 => format!("SELECT {all}, COALESCE(e.w, 0.5) * t.v + 0.001 * t.id AS v FROM {t} LEFT JOIN e ON t.k = e.id"),
        12 => format!(
            "SELECT {all}, t.v FROM {t} UNION ALL SELECT q.id + 100, q.k, q.g, q.x, q.y, q.v + 0.0071 FROM ({}) q",
            relation(random, depth - 1)
        ),
        13 => format!("SELECT {all}, t.v + COALESCE((SELECT SUM(s.v * m.b) FROM s, m WHERE s.k = t.k AND s.u > m.a), 0.1) AS v FROM {t}"),
        14 => format!("SELECT {all}, CASE WHEN t.v > 0.29 THEN t.v ELSE t.v * 0.5 - 0.017 END AS v FROM {t}"),
        15 => format!("SELECT {all}, t.v FROM {t} LEFT SEMI JOIN ({present}) q ON t.k = q.k"),
        16 => format!("SELECT {all}, t.v FROM {t} LEFT ANTI JOIN ({present}) q ON t.k = q.k AND q.v < t.v"),
        17 => format!(
            "SELECT COALESCE(t.id, q.k + 200) AS id, t.k, t.g, t.x, t.y, COALESCE(t.v, 0.17) + COALESCE(q.v, 0.0023) AS v FROM {t} FULL JOIN ({present}) q ON t.k = q.k"
        ),
        18 => format!("SELECT {all}, COALESCE(e.w, 0.5) + t.v AS v FROM e RIGHT JOIN {t} ON t.k = e.id AND e.w * 0.5 < t.v"),
        19 => format!(
            "SELECT {}, COALESCE(0.3 * q.k, 0.1) + m.b AS v FROM (SELECT t.k FROM {t} INTERSECT SELECT q.k FROM ({present}) q) q, m",
            of_key("q.k")
        ),
        20 => format!(
            "SELECT {}, COALESCE(0.3 * q.k, 0.1) * m.b AS v FROM (SELECT t.k FROM {t} EXCEPT SELECT q.k FROM ({present}) q) q, m",
            of_key("q.k")
        ),
        21 => format!(
            "SELECT {}, COALESCE(0.3 * q.k, 0.1) - m.b AS v FROM (SELECT t.k FROM {t} UNION SELECT q.k FROM ({present}) q) q, m",
            of_key("q.k")
        ),
        22 => format!("SELECT {all}, NTILE(3) OVER (PARTITION BY t.g ORDER BY t.v) + 0.01 * t.id AS v FROM {whole}"),
        23 => format!("SELECT {}, COALESCE(MEDIAN(t.v), 0) + 0.03 * t.g AS v FROM {t} GROUP BY t.g", of_key("t.g")),
        24 => format!(
            "SELECT {}, COALESCE(PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY t.v), 0) + 0.03 * t.g AS v FROM {t} GROUP BY t.g",
            of_key("t.g")
        ),
        25 => format!(
            "SELECT {all}, COALESCE(AVG(t.v) OVER (PARTITION BY t.g ORDER BY t.id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING), 0) + 0.01 * t.id AS v FROM {whole}"
        ),
        26 => format!("SELECT {all}, COALESCE(t.v - LAG(t.v) OVER (PARTITION BY t.g ORDER BY t.id), 0.3) + 0.01 * t.id AS v FROM {whole}"),
        27 => format!(
            "SELECT {all}, COALESCE(q.h, 0) + t.v AS v FROM {t} LEFT JOIN LATERAL (SELECT SUM(s.v * m.b) AS h FROM s, m WHERE s.k >= t.k AND s.u < t.v) q ON true"
        ),
        28 => format!(
            "SELECT {all}, q.h + 0.01 * t.v AS v FROM {t}, LATERAL (SELECT s.v * m.b AS h FROM s, m WHERE s.k >= t.g ORDER BY s.v * m.b DESC LIMIT 1) q"
        ),
        29 => format!("SELECT DISTINCT ON (t.g) {all}, t.v FROM {t} ORDER BY t.g, t.v DESC"),
        30 => format!("SELECT {}, COALESCE(FIRST_VALUE(t.x ORDER BY t.v), 0) + 0.03 * t.g AS v FROM {t} GROUP BY t.g", of_key("t.g")),
        31 => format!("SELECT {}, COALESCE(AVG(t.v), 0) + 0.03 * COALESCE(t.g, 11) AS v FROM {t} GROUP BY ROLLUP (t.g)", of_key("t.g")),
        32 => format!(
            "SELECT q.b AS id, q.b AS k, q.b AS g, 0.25 AS x, 0.5 AS y, q.n + 0.03 * q.b AS v FROM (SELECT CASE WHEN t.v > 0.29 THEN 1 ELSE 0 END AS b, COUNT(*) AS n FROM {t} GROUP BY 1) q"
        ),
        33 => format!(
            "SELECT {all}, t.v FROM ({}) t ORDER BY t.g DESC, t.id LIMIT {} OFFSET {}",
            relation(random, 0),
            1 + random.below(9),
            random.below(3)
        ),
        34 => format!(
            "SELECT {all}, ROW_NUMBER() OVER (PARTITION BY t.g ORDER BY t.id) + 0.1 * RANK() OVER (ORDER BY t.k) + 0.01 * t.v AS v FROM ({}) t",
            relation(random, 0)
        ),
        35 => format!("SELECT DISTINCT ON (t.g) {all}, t.v FROM ({}) t ORDER BY t.g, t.id", relation(random, 0)),
        36 => format!(
            "SELECT {}, COALESCE(FIRST_VALUE(t.x ORDER BY t.id), 0) + COALESCE(LAST_VALUE(t.v ORDER BY t.id), 0) + 0.03 * t.g AS v FROM ({}) t GROUP BY t.g",
            of_key("t.g"),
            relation(random, 0)
        ),
        37 => format!(
            "SELECT {all}, COALESCE(MAX(t.v) OVER (PARTITION BY t.g ORDER BY t.id), 0) + 0.01 * t.id AS v FROM ({}) t",
            relation(random, 0)
        ),
        _ => format!("WITH w AS ({a}) SELECT t.id, t.k, t.g, t.x, t.y, t.v - 0.3 * (SELECT AVG(w.v) FROM w) AS v FROM w t"),
    }
}

fn objective(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    let from = format!("FROM ({}) t", relation(random, depth));
    match random.below(11) {
        0 => format!("SELECT COUNT(*) {from}"),
        1 => format!("SELECT SUM(t.v) {from}"),
        2 => format!("SELECT AVG(t.v) {from}"),
        3 => format!("SELECT SUM(t.v) FILTER (WHERE t.g > 1) + COUNT(*) {from}"),
        4 => format!("SELECT MAX(t.v) {from}"),
        5 => format!("SELECT SUM(u.n * u.n) FROM (SELECT t.k, COUNT(*) AS n {from} GROUP BY t.k) u"),
        // The variance of one row is nothing but rounding, which beside the mean is nothing.
        6 => format!("SELECT VAR_POP(t.v) + AVG(t.v) {from}"),
        7 => format!("SELECT MEDIAN(t.v) {from}"),
        8 => format!("SELECT MIN(t.v) + COUNT(*) {from}"),
        9 => format!("SELECT COVAR_POP(t.v, t.id) + AVG(t.v) {from}"),
        _ => format!("SELECT COUNT(DISTINCT t.k) {from}"),
    }
}

/// Why a query has nothing to learn, or is not of the grammar, said with its place and a way out.
fn is_refused_well(message: &str) -> bool {
    (message.contains("hint: ") && message.contains("\n  at: "))
        || message.contains("no gradient reaches")
        || message.contains("reads no learnable column")
}

/// What one query holds (whether its limit was compared, and how many slopes), or what it breaks.
async fn laws(s: &Session, shape: Shape, query: &str) -> Result<(bool, usize), String> {
    // Numbers of the order of 1 are told apart at a temperature of 1e-6; others by their spread, or much colder.
    let (scale, coldest): (_, &[f64]) = if shape.is_of_order_one() { ("none", &[1e-6, 1e-30]) } else { ("auto", &[1e-30]) };
    let train = format!("TRAIN MINIMIZE ({query}) RELAX (temperature => 0.6, scale => '{scale}')");
    let mut relaxed = match outcome(s.relaxed(&train)).await? {
        Ok(relaxed) => relaxed,
        Err(e) if is_refused_well(&e.to_string()) => return Ok((false, 0)),
        Err(e) => return Err(format!("refused without a way out: {e}\n{query}")),
    };
    let told = |message: String| format!("shape {}: {message}", shape.seed);
    let mut held = true;
    for &temperature in coldest {
        held &= outcome(limit_of(&mut relaxed, query, temperature)).await.map_err(told)?;
    }
    let slopes = outcome(async { if has_kinks(query) { 0 } else { slope_of(&mut relaxed, query) } }).await.map_err(told)?;
    Ok((held, slopes))
}

async fn keep_the_laws(shapes: &[Shape]) {
    let (mut held, mut compared, mut wrong) = (0, 0, vec![]);
    for &shape in shapes {
        let s = database(shape).await;
        for i in 0..QUERIES {
            let query = objective(&mut Random(shape.seed * 10_000 + i));
            match laws(&s, shape, &query).await {
                Ok((limit, slopes)) => (held, compared) = (held + usize::from(limit), compared + slopes),
                Err(message) => wrong.push(message),
            }
        }
    }
    eprintln!("limits held: {held}, slopes compared: {compared}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(held > 200 && compared > 1000, "{held} {compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_queries_of_the_whole_grammar_keep_the_laws() {
    keep_the_laws(&SHAPES[..4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_queries_over_extreme_numbers_and_nulls_keep_the_laws() {
    keep_the_laws(&SHAPES[4..]).await;
}
