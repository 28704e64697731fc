//! Functions of the application: exact in every query, live wherever learnable columns reach them.

use crate::laws::{SHAPES, fill, limit_of, outcome, slope_of};
use crate::{fails, rows, run};
use FunctionType::{Double, DoubleArray, Real, RealArray};
use nabladb::{Arguments, Cotangents, Database, DifferentiableFunction, FunctionType, Session, blocking};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A function of the numbers of one row.
#[derive(Clone)]
struct RowWise {
    name: &'static str,
    arguments: Vec<FunctionType>,
    result: FunctionType,
    value: fn(&[f64]) -> Vec<f64>,
    /// The slopes of each number of the result.
    jacobian: fn(&[f64]) -> Vec<Vec<f64>>,
}

fn row(arguments: &Arguments, types: &[FunctionType], row: usize) -> Vec<f64> {
    types.iter().enumerate().flat_map(|(i, t)| arguments[i][row * t.width()..][..t.width()].to_vec()).collect()
}

impl DifferentiableFunction for RowWise {
    fn name(&self) -> &str {
        self.name
    }
    fn arguments(&self) -> Vec<FunctionType> {
        self.arguments.clone()
    }
    fn result(&self) -> FunctionType {
        self.result
    }
    fn value(&self, arguments: Arguments, out: &mut [f64]) {
        for (i, out) in out.chunks_exact_mut(self.result.width()).enumerate() {
            out.copy_from_slice(&(self.value)(&row(&arguments, &self.arguments, i)));
        }
    }
    fn vector_jacobian_product(&self, arguments: Arguments, cotangent: &[f64], mut out: Cotangents) {
        for (i, cotangent) in cotangent.chunks_exact(self.result.width()).enumerate() {
            for (cotangent, slopes) in cotangent.iter().zip((self.jacobian)(&row(&arguments, &self.arguments, i))) {
                let mut slopes = slopes.into_iter();
                for (number, t) in self.arguments.iter().enumerate() {
                    for out in &mut out[number][i * t.width()..][..t.width()] {
                        *out += cotangent * slopes.next().unwrap();
                    }
                }
            }
        }
    }
}

/// x sin x.
fn wave() -> RowWise {
    let jacobian = |x: &[f64]| vec![vec![x[0].sin() + x[0] * x[0].cos()]];
    RowWise { name: "wave", arguments: vec![Double], result: Double, value: |x| vec![x[0] * x[0].sin()], jacobian }
}

/// exp(-a^2) / (1 + b^2).
fn bell() -> RowWise {
    let value = |x: &[f64]| vec![(-x[0] * x[0]).exp() / (1.0 + x[1] * x[1])];
    let jacobian = |x: &[f64]| {
        let y = (-x[0] * x[0]).exp() / (1.0 + x[1] * x[1]);
        vec![vec![-2.0 * x[0] * y, -2.0 * x[1] * y / (1.0 + x[1] * x[1])]]
    };
    RowWise { name: "bell", arguments: vec![Double, Double], result: Double, value, jacobian }
}

/// a b + tanh(c).
fn blend() -> RowWise {
    let value = |x: &[f64]| vec![x[0] * x[1] + x[2].tanh()];
    let jacobian = |x: &[f64]| vec![vec![x[1], x[0], 1.0 - x[2].tanh().powi(2)]];
    RowWise { name: "blend", arguments: vec![Double; 3], result: Double, value, jacobian }
}

/// A dot product of vectors of 4, each product weighed by its place.
fn weighed_dot() -> RowWise {
    let value = |x: &[f64]| vec![(0..4).map(|i| (i + 1) as f64 * x[i] * x[4 + i]).sum()];
    let jacobian = |x: &[f64]| vec![(0..8).map(|i| (i % 4 + 1) as f64 * x[(i + 4) % 8]).collect()];
    RowWise { name: "weighed_dot", arguments: vec![DoubleArray(4), DoubleArray(4)], result: Double, value, jacobian }
}

/// Neighbours of a vector of 4 multiplied, times a number.
fn neighbours() -> RowWise {
    let value = |x: &[f64]| (0..3).map(|i| x[i] * x[i + 1] * x[4]).collect();
    let jacobian = |x: &[f64]| {
        let slopes = |i: usize| {
            let mut slopes = vec![0.0; 5];
            (slopes[i], slopes[i + 1], slopes[4]) = (x[i + 1] * x[4], x[i] * x[4], x[i] * x[i + 1]);
            slopes
        };
        (0..3).map(slopes).collect()
    };
    RowWise { name: "neighbours", arguments: vec![DoubleArray(4), Double], result: DoubleArray(3), value, jacobian }
}

/// 1 / x, which is infinite at 0, as is its slope.
fn inverse() -> RowWise {
    let jacobian = |x: &[f64]| vec![vec![-1.0 / (x[0] * x[0])]];
    RowWise { name: "inverse", arguments: vec![Double], result: Double, value: |x| vec![1.0 / x[0]], jacobian }
}

/// The sum of seven numbers, each times its place.
fn seven() -> RowWise {
    let value = |x: &[f64]| vec![x.iter().zip(1..).map(|(x, i)| x * f64::from(i)).sum()];
    RowWise { name: "seven", arguments: vec![Double; 7], result: Double, value, jacobian: |_| vec![(1..8).map(f64::from).collect()] }
}

/// All of them, known before and after the session began.
async fn known() -> Session {
    let database = Database::in_memory().await.unwrap();
    for function in [wave(), bell(), blend()] {
        database.register_function(function).unwrap();
    }
    let session = database.session().unwrap();
    assert_eq!(rows(&session, "SELECT wave(0.0)").await, "0.0");
    for function in [weighed_dot(), neighbours(), inverse(), seven()] {
        database.register_function(function).unwrap();
    }
    session
}

async fn number(session: &Session, sql: &str) -> f64 {
    rows(session, sql).await.parse().unwrap_or_else(|e| panic!("{sql}\n{e}"))
}

#[tokio::test]
async fn a_function_of_the_application_works_in_exact_queries() {
    let s = known().await;
    run(&s, "CREATE TABLE t (id BIGINT, x DOUBLE, n INT, v DOUBLE[4], w REAL[4])").await;
    run(&s, "INSERT INTO t VALUES (1, 2.0, 3, [1, 2, 3, 4], [1, 1, 1, 1]), (2, NULL, 1, NULL, [0, 0, 0, 1]), (3, 0.5, NULL, [0, 0, 1, 1], NULL)").await;
    let expected = |x: f64| x * x.sin();
    assert_eq!(number(&s, "SELECT wave(x) FROM t WHERE id = 1").await, expected(2.0));
    assert_eq!(rows(&s, "SELECT id, wave(x) IS NULL, blend(x, n, 0) FROM t ORDER BY id").await, "1|false|6.0\n2|true|NULL\n3|false|NULL");
    assert_eq!(rows(&s, "SELECT weighed_dot(v, w) FROM t ORDER BY id").await, "30.0\nNULL\nNULL");
    assert_eq!(rows(&s, "SELECT neighbours(v, 2) FROM t ORDER BY id").await, "[4.0, 12.0, 24.0]\nNULL\n[0.0, 0.0, 2.0]");
    assert_eq!(rows(&s, "SELECT neighbours([1, NULL, 3, 4], 2), wave(NULL)").await, "NULL|NULL");
    assert_eq!(rows(&s, "SELECT seven(1, 1, 1, 1, 1, 1, x) FROM t WHERE id = 1").await, "35.0");
    run(&s, "CREATE VIEW waves AS SELECT id, wave(x) AS y FROM t WHERE blend(x, 1, 0) > 0.7").await;
    assert_eq!(number(&s, "SELECT SUM(y) FROM waves").await, expected(2.0));
    run(&s, "UPDATE t SET x = wave(1) WHERE wave(x) IS NULL").await;
    assert_eq!(number(&s, "SELECT x FROM t WHERE id = 2").await, expected(1.0));
    assert_eq!(number(&s, "SELECT COUNT(*) FROM t a JOIN t b ON wave(a.x) = wave(b.x)").await, 3.0);
    // More rows than a batch of the engine, some of them NULL.
    let many = "SELECT COUNT(*) FROM range(30000) r WHERE blend(CASE WHEN value % 3 = 0 THEN NULL ELSE value END, 2, 0) = 2 * value";
    assert_eq!(number(&s, many).await, 20_000.0);
}

#[tokio::test]
async fn single_precision_is_that_of_the_declared_types() {
    let database = Database::in_memory().await.unwrap();
    let third =
        RowWise { name: "third", arguments: vec![Real], result: Real, value: |x| vec![x[0] / 3.0], jacobian: |_| vec![vec![1.0 / 3.0]] };
    let ends = RowWise {
        name: "ends",
        arguments: vec![RealArray(3)],
        result: RealArray(2),
        value: |x| vec![x[0], x[2]],
        jacobian: |_| vec![vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]],
    };
    database.register_function(third).unwrap();
    database.register_function(ends).unwrap();
    let s = database.session().unwrap();
    assert_eq!(
        rows(&s, "SELECT third(1), arrow_typeof(third(1)), ends([1, 2, 3]), ends([0.1, 2, 3])[1]").await,
        "0.33333334|Float32|[1.0, 3.0]|0.1"
    );
    run(&s, "CREATE TABLE m (a REAL LEARNABLE DEFAULT 2, v REAL[3] LEARNABLE); INSERT INTO m VALUES (2, [1, 2, 3])").await;
    let gradient = rows(&s, "GRADIENT OF (SELECT SUM(third(a) + array_sum(ends(v)) * a) FROM m)").await;
    let slopes: Vec<f64> = gradient.lines().map(|l| l.rsplit('|').next().unwrap().parse().unwrap()).collect();
    for (found, expected) in slopes.iter().zip([4.0 + 1.0 / 3.0, 2.0, 0.0, 2.0]) {
        assert!((found - expected).abs() < 1e-6, "{gradient}");
    }
    // A run computes in single precision.
    run(&s, "TRAIN MINIMIZE (SELECT SUM(power(third(a) - 0.5, 2)) FROM m) USING adam (learning_rate => 0.05) FOR 400 STEPS").await;
    assert!((number(&s, "SELECT a FROM m").await - 1.5).abs() < 1e-3);
}

/// GRADIENT OF an objective against central differences of the exact query.
async fn judged(s: &Session, objective: &str) -> usize {
    let told = rows(s, &format!("GRADIENT OF ({objective})")).await;
    let mut gradient: Vec<(String, usize, f64)> = vec![];
    for line in told.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        gradient.push((fields[2].into(), fields[3].parse().unwrap_or(0), fields[5].parse().unwrap()));
    }
    for (column, element, slope) in &gradient {
        let is_vector = rows(s, &format!("SELECT arrow_typeof({column}) LIKE '%List%' FROM m")).await == "true";
        let held = rows(s, &format!("SELECT {column} FROM m")).await;
        let numbers: Vec<f64> = held.trim_matches(['[', ']']).split(", ").map(|x| x.parse().unwrap()).collect();
        let mut sides = [0.0; 2];
        let h = 1e-5;
        for (side, step) in sides.iter_mut().zip([h, -h]) {
            let mut moved = numbers.clone();
            // Elements are counted from 1.
            moved[element.saturating_sub(1)] += step;
            let moved = if is_vector { format!("{moved:?}") } else { format!("{:?}", moved[0]) };
            run(s, &format!("UPDATE m SET {column} = {moved}")).await;
            *side = number(s, objective).await;
        }
        run(s, &format!("UPDATE m SET {column} = {held}")).await;
        let difference = (sides[0] - sides[1]) / (2.0 * h);
        assert!((slope - difference).abs() <= 1e-6 * slope.abs().max(1.0), "{column}[{element}]: {slope} is not {difference}: {objective}");
    }
    gradient.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gradient_of_the_exact_query_is_its_finite_difference() {
    let s = known().await;
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE, b DOUBLE LEARNABLE, c DOUBLE LEARNABLE, u DOUBLE[4] LEARNABLE, v DOUBLE[4] LEARNABLE)")
        .await;
    run(&s, "INSERT INTO m VALUES (0.7, -0.4, 1.3, [0.5, -1.0, 0.25, 2.0], [1.5, 0.5, -0.75, 0.1])").await;
    run(
        &s,
        "CREATE TABLE d AS SELECT value AS id, sin(value * 0.7) AS x, [cos(value), value * 0.001, 1.0, sin(value)] AS w FROM range(2500)",
    )
    .await;
    let mut compared = 0;
    for objective in [
        "SELECT SUM(wave(a)) FROM m",
        "SELECT AVG(wave(m.a * d.x)) FROM d, m",
        "SELECT SUM(bell(a, b)) FROM m",
        "SELECT AVG(bell(d.x, m.b) * m.c) FROM d, m",
        "SELECT AVG(blend(m.a, d.x, m.c)) FROM d, m",
        "SELECT SUM(blend(a, a, a)) FROM m",
        "SELECT SUM(blend(a, 2, -0.5) + blend(1, 2, c)) FROM m",
        "SELECT SUM(seven(a, b, c, a, 1, b * c, wave(a))) FROM m",
        "SELECT SUM(weighed_dot(u, v)) FROM m",
        "SELECT SUM(weighed_dot(u, u)) FROM m",
        "SELECT AVG(weighed_dot(m.u, d.w)) FROM d, m",
        "SELECT AVG(wave(weighed_dot(d.w, array_scale(m.u, d.x)))) FROM d, m",
        "SELECT SUM(array_sum(neighbours(u, a))) FROM m",
        "SELECT AVG(inner_product(neighbours(m.u, d.x), neighbours(d.w, m.b))) FROM d, m",
        "SELECT AVG(neighbours(m.u, wave(d.x * m.a))[2] * m.b) FROM d, m",
        "SELECT AVG(power(g.t, 2)) FROM (SELECT d.id % 7 AS k, SUM(wave(d.x * m.a)) AS t FROM d, m GROUP BY d.id % 7) g",
    ] {
        compared += judged(&s, objective).await;
    }
    assert!(compared > 50, "{compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_the_application_keep_the_laws_wherever_a_live_value_may_be() {
    let (mut held, mut compared, mut wrong) = (0, 0, vec![]);
    for &shape in SHAPES {
        let s = known().await;
        fill(&s, shape).await;
        for objective in [
            "SELECT SUM(bell(r.x * m.b, m.c)) FROM r, m",
            "SELECT COUNT(*) FROM r, m WHERE blend(r.x, m.b, 0) > m.a",
            "SELECT SUM(wave(m.b)) FROM r, m WHERE r.x > m.a AND NOT bell(r.y * m.b, 1) < 0.3",
            "SELECT AVG(t.n) FROM (SELECT r.g, SUM(bell(m.b, r.g)) AS n FROM r, m WHERE r.x > m.a GROUP BY r.g) t",
            "SELECT COUNT(*) FROM (SELECT r.g FROM r, m GROUP BY r.g, m.id HAVING SUM(bell(m.b, r.g)) > 1.37) t",
            "SELECT SUM(CASE WHEN r.x > m.a THEN wave(m.b) ELSE bell(m.c, m.b) END) FROM r, m",
            "SELECT SUM(COALESCE(bell(r.z * 1e-9, m.b), wave(m.c))) FROM r, m",
            "SELECT SUM(wave(CAST(r.x > m.a AS DOUBLE))) FROM r, m",
            "SELECT SUM(s.v * bell(m.b, 1)) FROM r JOIN s ON r.k = s.k, m WHERE bell(m.b, m.c) > 0.1",
            "SELECT SUM(t.v) FROM (SELECT bell(m.b * r.id, m.c) AS v FROM r, m WHERE r.x IS NOT NULL ORDER BY blend(r.x, m.b, 0) DESC LIMIT 3) t",
            "SELECT MAX(blend(r.x, m.b, m.c)) FROM r, m",
            "SELECT SUM(weighed_dot(e.v, f.v) * wave(e.w)) FROM e JOIN e f ON e.id = f.id + 1",
            "SELECT SUM(array_sum(neighbours(e.v, m.b))) FROM e, m",
            "SELECT SUM(weighed_dot(e.v, [1.0, 2.0, -1.0, 0.5])) FROM e WHERE weighed_dot(e.v, e.v) > 0.4",
            "SELECT SUM(bell(m.b, (SELECT AVG(wave(e.w)) FROM e))) FROM m",
            "SELECT SUM(weighed_dot(e.v, f.v)) FROM e, e f",
        ] {
            for options in ["temperature => 0.5", "temperature => 0.4, forward => 'exact'"] {
                let law = async {
                    let sql = format!("TRAIN MINIMIZE ({objective}) RELAX ({options})");
                    let mut query = match s.relaxed(&sql).await {
                        Ok(query) => query,
                        Err(e) if e.to_string().contains("no gradient reaches") => return (false, 0),
                        Err(e) => panic!("{sql}\n{e}"),
                    };
                    let slopes = if options.contains("forward") { 0 } else { slope_of(&mut query, &sql) };
                    (limit_of(&mut query, &sql, 1e-7).await, slopes)
                };
                match outcome(law).await {
                    Ok((limit, slopes)) => (held, compared) = (held + usize::from(limit), compared + slopes),
                    Err(message) => wrong.push(format!("shape {}: {message}", shape.seed)),
                }
            }
        }
    }
    eprintln!("limits held: {held}, slopes compared: {compared}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(held > 120 && compared > 400, "{held} {compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_spoils_no_gradient() {
    let s = known().await;
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 2); INSERT INTO m DEFAULT VALUES").await;
    run(&s, "CREATE TABLE t (x DOUBLE, there BOOLEAN); INSERT INTO t VALUES (1, true), (0, false), (NULL, true), (4, true)").await;
    let slope = |told: String| told.rsplit('|').next().unwrap().parse::<f64>().unwrap();
    for objective in [
        "SELECT SUM(inverse(t.x * m.a)) FROM t, m WHERE t.there",
        "SELECT SUM(CASE WHEN t.there THEN inverse(t.x * m.a) ELSE m.a * 0 END) FROM t, m",
        "SELECT SUM(COALESCE(inverse(t.x * m.a), m.a * 0)) FROM t, m WHERE t.there",
        "SELECT SUM(inverse(t.x * m.a)) FILTER (WHERE t.there) FROM t, m",
    ] {
        assert_eq!(slope(rows(&s, &format!("GRADIENT OF ({objective})")).await), -1.25 / 4.0, "{objective}");
    }
    // Nor does a row whose weight has come to 0, in how much of it there should be.
    let cold = "GRADIENT OF (SELECT SUM(inverse(t.x * m.a)) FROM t, m WHERE t.x > m.a) RELAX (temperature => 0.001, scale => 'none')";
    assert_eq!(slope(rows(&s, cold).await), -1.0 / 16.0);
    // What is there must be finite, and the error says what is not.
    fails(&s, "TRAIN MINIMIZE (SELECT SUM(inverse(t.x * m.a)) FROM t, m) FOR 3 STEPS", &["step 1", "inverse(t.x * m.a)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_learned_through_with_batches_and_in_both_precisions() {
    for (kind, batch) in [("DOUBLE", ""), ("REAL", ""), ("DOUBLE", "BATCH 100"), ("REAL", "BATCH 64")] {
        let s = known().await;
        run(&s, &format!("CREATE TABLE m (c {kind} LEARNABLE DEFAULT 0.5, v {kind}[4] LEARNABLE DEFAULT init_uniform(-1, 1)); INSERT INTO m DEFAULT VALUES")).await;
        run(
            &s,
            &format!("CREATE TABLE d AS SELECT CAST(sin(value) AS {kind}) AS x, [cos(value * 1.1), sin(value * 0.7), cos(value * 0.3), sin(value * 1.9)] AS w FROM range(3000)"),
        )
        .await;
        run(&s, "CREATE TABLE seen AS SELECT *, blend(x, 1, 0.8) + weighed_dot(w, [1.0, -0.5, 0.25, 0.75]) AS y FROM d").await;
        let objective = "SELECT AVG(power(blend(s.x, 1, m.c) + weighed_dot(s.w, m.v) - s.y, 2)) FROM seen s, m";
        run(&s, &format!("TRAIN MINIMIZE ({objective}) USING adam (learning_rate => 0.03) FOR 500 STEPS {batch} SEED 1")).await;
        let learned = rows(&s, "SELECT abs(c - 0.8) < 0.02 AND array_distance(v, [1.0, -0.5, 0.25, 0.75]) < 0.02 FROM m").await;
        assert_eq!(learned, "true", "{kind} {batch}: {}", rows(&s, "SELECT * FROM m").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_perturbed_run_asks_a_function_for_values_only() {
    let (counted, database) = (Counted::default(), Database::in_memory().await.unwrap());
    database.register_function(counted.clone()).unwrap();
    let s = database.session().unwrap();
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 1); INSERT INTO m DEFAULT VALUES").await;
    let train = "TRAIN MINIMIZE (SELECT SUM(power(counted(a, 2) - 3, 2)) FROM m) USING adam (learning_rate => 0.05) FOR 100 STEPS";
    run(&s, &format!("{train} RELAX (estimator => 'perturbed', samples => 8) SEED 2")).await;
    assert!((number(&s, "SELECT counted(a, 2) FROM m").await - 3.0).abs() < 0.3);
    assert_eq!(counted.0[1].load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_function_ends_the_run_and_keeps_the_database() {
    let database = Database::in_memory().await.unwrap();
    let jacobian = |x: &[f64]| if x[0] < 0.0 { panic!("below 0") } else { vec![vec![1.0]] };
    database.register_function(RowWise { name: "fragile", jacobian, value: |x| vec![x[0]], ..wave() }).unwrap();
    let s = database.session().unwrap();
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.3); INSERT INTO m DEFAULT VALUES").await;
    fails(&s, "TRAIN MINIMIZE (SELECT SUM(fragile(a)) FROM m) FOR 100 STEPS", &["a function of the application panicked"]).await;
    assert_eq!(rows(&s, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "0.3|0");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_a_function_and_where_it_is_computed() {
    let s = known().await;
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 2); INSERT INTO m DEFAULT VALUES").await;
    run(&s, "CREATE TABLE d AS SELECT sin(value) AS x FROM range(100)").await;
    let explained = rows(&s, "EXPLAIN TRAIN MINIMIZE (SELECT AVG(bell(d.x, m.a) + wave(d.x)) FROM d, m)").await;
    for piece in ["bell(d.x, m.a) -> exact, with its own vector-Jacobian product", "Call(bell, ", "PullBack(bell, ", "wave"] {
        assert!(explained.contains(piece), "{piece} is not in\n{explained}");
    }
    // What is frozen is the exact engine's.
    assert!(!explained.contains("Call(wave"), "{explained}");
    let analyzed = rows(&s, "EXPLAIN ANALYZE TRAIN MINIMIZE (SELECT AVG(bell(d.x, m.a)) FROM d, m) FOR 20 STEPS").await;
    assert!(analyzed.contains("Call(bell, ") && analyzed.contains("PullBack(bell, "), "{analyzed}");
}

#[tokio::test]
async fn what_a_function_does_not_take_is_refused_with_its_signature() {
    let s = known().await;
    run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 2, t TEXT, v DOUBLE[3] LEARNABLE); INSERT INTO m VALUES (1, 'x', [1, 2, 3])").await;
    fails(&s, "SELECT bell(1)", &["bell takes 2 arguments, not 1", "hint: bell(DOUBLE, DOUBLE)"]).await;
    fails(&s, "SELECT wave(t) FROM m", &["wave takes DOUBLE as argument 1, not ", "hint: wave(DOUBLE)"]).await;
    fails(&s, "SELECT wave([1, 2])", &["wave takes DOUBLE as argument 1, not "]).await;
    fails(&s, "SELECT weighed_dot([1, 2, 3, 4], 1)", &["weighed_dot takes DOUBLE[4] as argument 2, not "]).await;
    fails(&s, "SELECT weighed_dot([1, 2, 3, 4], [1, 2])", &["weighed_dot takes DOUBLE[4] as argument 2, not "]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT SUM(bell(a, t)) FROM m) FOR 1 STEP", &["bell takes DOUBLE as argument 2, not "]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT SUM(bell(a, CAST(a AS TEXT))) FROM m) FOR 1 STEP", &["bell takes DOUBLE as argument 2, not "]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT SUM(bell(a)) FROM m) FOR 1 STEP", &["bell takes 2 arguments, not 1"]).await;
    fails(
        &s,
        "TRAIN MINIMIZE (SELECT SUM(weighed_dot(v, v)) FROM m) FOR 1 STEP",
        &["weighed_dot takes DOUBLE[4] as argument 1, not ", "at: weighed_dot("],
    )
    .await;
    fails(&s, "SELECT bells(1, 2)", &["bells"]).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_called_is_refused() {
    let database = Database::in_memory().await.unwrap();
    let named = |name: &'static str| database.register_function(RowWise { name, ..wave() }).map_err(|e| e.to_string());
    assert_eq!(named("wave"), Ok(()));
    for name in ["wave", "sin", "sigmoid", "coalesce", "sum", "median", "rank", "matvec", "detach"] {
        assert_eq!(named(name), Err(format!("a function '{name}' exists already\n  hint: choose another name")));
    }
    for name in ["Wave", "", "2x", "a b", "x;", "\"x\"", "größe"] {
        assert!(named(name).unwrap_err().starts_with(&format!("'{name}' is no name of a function")), "{name}");
    }
    // Words of SQL are names of functions where they can be called.
    let mut refused = vec![];
    for name in ["case", "cast", "exists", "extract", "interval", "not", "position", "select", "substring", "trim"] {
        match named(name) {
            Ok(()) => assert_eq!(rows(&database.session().unwrap(), &format!("SELECT {name}(0.0)")).await, "0.0"),
            Err(error) if error.contains("exists already") => {}
            Err(error) => {
                assert!(error.starts_with(&format!("'{name}' is a word of SQL")), "{error}");
                refused.push(name);
            }
        }
    }
    assert!(refused.contains(&"not"), "{refused:?}");
    let none = RowWise { name: "none", arguments: vec![], ..wave() };
    assert!(database.register_function(none).unwrap_err().to_string().contains("has no arguments"));
    let empty = RowWise { name: "empty", arguments: vec![DoubleArray(0)], ..wave() };
    assert!(database.register_function(empty).unwrap_err().to_string().contains("DOUBLE[0]"));
}

#[tokio::test]
async fn a_database_that_is_opened_again_has_the_functions_that_it_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path()).await.unwrap();
        database.register_function(wave()).unwrap();
        let s = database.session().unwrap();
        run(&s, "CREATE TABLE t (x DOUBLE); INSERT INTO t VALUES (2); CREATE VIEW waves AS SELECT wave(x) AS y FROM t").await;
    }
    let database = Database::open(folder.path()).await.unwrap();
    let s = database.session().unwrap();
    fails(&s, "SELECT y FROM waves", &["wave"]).await;
    assert_eq!(rows(&s, "SELECT x FROM t").await, "2.0");
    database.register_function(wave()).unwrap();
    assert_eq!(number(&s, "SELECT y FROM waves").await, 2.0 * 2f64.sin());
}

/// How often it is asked, for values and for slopes.
#[derive(Clone, Default)]
struct Counted(Arc<[AtomicUsize; 2]>);

impl DifferentiableFunction for Counted {
    fn name(&self) -> &str {
        "counted"
    }
    fn arguments(&self) -> Vec<FunctionType> {
        vec![Double, Double]
    }
    fn result(&self) -> FunctionType {
        Double
    }
    fn value(&self, arguments: Arguments, out: &mut [f64]) {
        self.0[0].fetch_add(out.len(), Ordering::Relaxed);
        wave_of(&arguments[0], out);
        out.iter_mut().zip(&arguments[1]).for_each(|(o, b)| *o *= b);
    }
    fn vector_jacobian_product(&self, arguments: Arguments, cotangent: &[f64], mut out: Cotangents) {
        self.0[1].fetch_add(cotangent.len(), Ordering::Relaxed);
        for row in 0..arguments.rows() {
            let (x, b) = (arguments[0][row], arguments[1][row]);
            out[0][row] = cotangent[row] * b * (x.sin() + x * x.cos());
            out[1][row] = cotangent[row] * x * x.sin();
        }
    }
}

fn wave_of(x: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(x).for_each(|(o, x)| *o = x * x.sin());
}

#[test]
fn a_function_is_computed_once_for_each_row_that_it_depends_on() {
    let (counted, database) = (Counted::default(), blocking::Database::in_memory().unwrap());
    database.register_function(counted.clone()).unwrap();
    let s = database.session().unwrap();
    for sql in [
        "CREATE TABLE d AS SELECT value % 10 AS k, sin(value) AS x FROM range(5000)",
        "CREATE TABLE k (id BIGINT, w DOUBLE LEARNABLE DEFAULT 0.5)",
        "INSERT INTO k (id) SELECT value FROM range(10)",
    ] {
        s.run(sql).unwrap();
    }
    let asked = |what: usize| counted.0[what].swap(0, Ordering::Relaxed);
    // Of ten learnable rows, once each, however many rows read them.
    let gradient = "GRADIENT OF (SELECT AVG(counted(k.w, 2) * d.x) FROM d JOIN k ON d.k = k.id)";
    assert_eq!(s.run(gradient).unwrap().collect_all().unwrap().iter().map(|b| b.num_rows()).sum::<usize>(), 10);
    let (values, slopes) = (asked(0), asked(1));
    assert!(values <= 50 && (10..=20).contains(&slopes), "{values} {slopes}");
    // Of what is joined, once for each row.
    s.run("GRADIENT OF (SELECT AVG(counted(k.w, d.x)) FROM d JOIN k ON d.k = k.id)").unwrap().collect_all().unwrap();
    let slopes = asked(1);
    assert!(slopes > 0 && slopes.is_multiple_of(5000), "{slopes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_give_the_same_bits() {
    let mut seen = vec![];
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let s = known().await;
        run(&s, "CREATE TABLE d AS SELECT sin(value * 0.7) AS x, cos(value * 1.3) AS y FROM range(70000)").await;
        run(&s, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0.3, b DOUBLE LEARNABLE DEFAULT -0.2); INSERT INTO m DEFAULT VALUES").await;
        let mut query = s.relaxed("TRAIN MINIMIZE (SELECT AVG(power(blend(d.x, m.a, m.b) - d.y, 2)) FROM d, m)").await.unwrap();
        let answer = pool.unwrap().install(|| (query.value().map(f64::to_bits), query.gradient("m.a").map(|g| g[0].to_bits())));
        seen.push(answer);
    }
    assert!(seen.windows(2).all(|w| w[0] == w[1]), "{seen:?}");
}
