//! TRAIN ... VALIDATE: which step is kept, when a run ends early, what the log says of it, and what is refused.

use crate::{fails, rows, run, session};
use nabladb::{Session, Step, Trained};

/// One learnable number that begins at 0.
async fn one(check: &str) -> Session {
    let s = session().await;
    run(&s, &format!("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 0 {check}); INSERT INTO m DEFAULT VALUES")).await;
    s
}

/// After k steps a is 1 - 0.9^k: 0.1, 0.19, 0.271, 0.3439, 0.40951, 0.468559, 0.5217031, 0.56953279, ...
const TOWARDS_ONE: &str = "TRAIN m MINIMIZE (SELECT SUM(power(a - 1, 2)) FROM m) USING sgd (learning_rate => 0.05)";
const FROM_HALF: &str = "(SELECT SUM(abs(a - 0.5)) FROM m)";

async fn trained(session: &Session, sql: &str) -> (Vec<Step>, Trained) {
    use futures::StreamExt;
    let mut training = session.train(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let mut steps = vec![];
    while let Some(step) = training.next().await {
        steps.push(step.unwrap_or_else(|e| panic!("{sql}\n{e}")));
    }
    (steps, training.finish().await.unwrap())
}

async fn number(session: &Session, sql: &str) -> f64 {
    rows(session, sql).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_step_is_what_commits() {
    let s = one("").await;
    let (steps, trained) = trained(&s, &format!("{TOWARDS_ONE} FOR 50 STEPS VALIDATE MINIMIZE {FROM_HALF} EVERY 1 STEP")).await;
    assert_eq!((steps.len(), trained.steps), (50, 50));
    let a = number(&s, "SELECT a FROM m").await;
    assert!((a - 0.521_703_1).abs() < 1e-12, "{a}");
    assert_eq!(trained.validation, Some(a - 0.5));
    assert_eq!(steps[6].validation, trained.validation);
    assert!((steps[0].validation.unwrap() - 0.4).abs() < 1e-12);
    // All that the last row says is of what was committed.
    assert_eq!(trained.exact_objective, Some((a - 1.0).powi(2)));
    assert_eq!(trained.relaxation_gap(), Some(0.0));
    // They are those of that step, bit for bit.
    let t = one("").await;
    run(&t, &format!("{TOWARDS_ONE} FOR 7 STEPS")).await;
    assert_eq!(rows(&t, "SELECT a FROM m").await, rows(&s, "SELECT a FROM m").await);
    assert_eq!(rows(&t, "SELECT COUNT(validation) FROM nabla.steps").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn maximize_keeps_the_greatest() {
    let s = one("").await;
    let (_, trained) =
        trained(&s, &format!("{TOWARDS_ONE} FOR 50 STEPS VALIDATE MAXIMIZE (SELECT -abs(a - 0.5) FROM m) EVERY 1 STEP")).await;
    assert!((number(&s, "SELECT a FROM m").await - 0.521_703_1).abs() < 1e-12);
    assert!(trained.validation.is_some_and(|x| (x + 0.021_703_1).abs() < 1e-12));
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends_a_run_after_so_many_in_a_row_that_are_no_better() {
    for (clauses, steps, kept) in [
        // The best step is 7.
        ("EVERY 1 STEP PATIENCE 3", 10, 0.521_703_1),
        ("EVERY 1 STEP PATIENCE 1", 8, 0.521_703_1),
        // Steps 3, 6 and 9: the best is 6.
        ("EVERY 3 STEPS PATIENCE 2", 12, 0.468_559),
        // Without BATCH an epoch is a step.
        ("EVERY 3 EPOCHS PATIENCE 2", 12, 0.468_559),
        // Never out of patience.
        ("EVERY 3 STEPS PATIENCE 100", 40, 0.468_559),
        // Only the end is validated.
        ("EVERY 1000 STEPS PATIENCE 1", 40, 1.0 - 0.9f64.powi(40)),
    ] {
        let s = one("").await;
        let (seen, trained) = trained(&s, &format!("{TOWARDS_ONE} FOR 40 STEPS VALIDATE MINIMIZE {FROM_HALF} {clauses}")).await;
        assert_eq!((seen.len() as u64, trained.steps), (steps, steps), "{clauses}");
        let a = number(&s, "SELECT a FROM m").await;
        assert!((a - kept).abs() < 1e-12, "{clauses}: {a}");
        assert_eq!(rows(&s, "SELECT steps, (SELECT COUNT(*) FROM nabla.steps) FROM nabla.runs").await, format!("{steps}|{steps}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_the_history_have_the_value_where_it_was_measured() {
    let s = one("").await;
    run(&s, &format!("CREATE TABLE log AS {TOWARDS_ONE} FOR 23 STEPS VALIDATE MINIMIZE {FROM_HALF} EVERY 5 STEPS")).await;
    let measured = "SELECT step, round(validation, 5) FROM nabla.steps WHERE validation IS NOT NULL ORDER BY step";
    let expected = "5|0.09049\n10|0.15132\n15|0.29411\n20|0.37842\n23|0.41137";
    assert_eq!(rows(&s, measured).await, expected);
    assert_eq!(rows(&s, &measured.replace("nabla.steps WHERE", "log WHERE version IS NULL AND")).await, expected);
    // The last row has what was committed.
    assert_eq!(rows(&s, "SELECT step, round(validation, 5) FROM log WHERE version IS NOT NULL").await, "23|0.09049");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_no_value() {
    // A value only where a is above 0.3, after 4 steps.
    let s = one("").await;
    let (steps, done) =
        trained(&s, &format!("{TOWARDS_ONE} FOR 20 STEPS VALIDATE MINIMIZE (SELECT AVG(a) FROM m WHERE a > 0.3) EVERY 1 STEP")).await;
    assert_eq!(steps.iter().map(|s| s.validation.is_some()).collect::<Vec<_>>()[..5], [false, false, false, true, true]);
    assert!((number(&s, "SELECT a FROM m").await - 0.3439).abs() < 1e-12 && done.steps == 20);
    // No row is no value either. Without any, the last step is kept; patience ends all the same.
    for never in ["SELECT AVG(a) FROM m WHERE a < -1", "SELECT a FROM m WHERE a < -1", "SELECT ln(a - 2) FROM m", "SELECT NULL"] {
        let s = one("").await;
        let (steps, done) = trained(&s, &format!("{TOWARDS_ONE} FOR 20 STEPS VALIDATE MAXIMIZE ({never}) EVERY 2 STEPS PATIENCE 3")).await;
        assert_eq!((steps.len(), done.steps, done.validation), (6, 6, None), "{never}");
        assert!((number(&s, "SELECT a FROM m").await - 0.468_559).abs() < 1e-12);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equals_the_earliest_is_kept() {
    let s = one("").await;
    let (_, trained) = trained(&s, &format!("{TOWARDS_ONE} FOR 90 STEPS VALIDATE MAXIMIZE (SELECT 7) EVERY 3 STEPS PATIENCE 2")).await;
    assert_eq!((trained.steps, trained.validation), (9, Some(7.0)));
    assert!((number(&s, "SELECT a FROM m").await - 0.271).abs() < 1e-12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_a_step_that_satisfies_its_checks() {
    let s = one("CHECK (a <= 0.3)").await;
    let (_, trained) = trained(&s, &format!("{TOWARDS_ONE} FOR 50 STEPS VALIDATE MINIMIZE {FROM_HALF} EVERY 1 STEP PATIENCE 5")).await;
    // Step 4 is the first at the bound.
    assert_eq!((rows(&s, "SELECT a FROM m").await.as_str(), trained.steps), ("0.3", 9));
    // In single precision too, and of the rows of a matrix.
    let s = session().await;
    run(&s, "CREATE TABLE u (id BIGINT, e REAL[3] LEARNABLE DEFAULT [0.6, 0.8, 0] CHECK (e UNIT NORM)); INSERT INTO u (id) SELECT value FROM range(5)").await;
    let train = "TRAIN MINIMIZE (SELECT SUM(e[1]) FROM u) USING sgd (learning_rate => 0.3) FOR 60 STEPS VALIDATE MINIMIZE (SELECT abs(SUM(e[1]) + 1) FROM u) EVERY 1 STEP";
    let (steps, done) = self::trained(&s, train).await;
    let best = steps.iter().filter_map(|s| s.validation).fold(f64::INFINITY, f64::min);
    assert_eq!(done.validation, Some(best));
    assert!((number(&s, "SELECT abs(SUM(e[1]) + 1) FROM u").await - best).abs() < 1e-6 && best < 1.0);
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM u WHERE abs(inner_product(e, e) - 1) < 1e-5").await, "5");
}

/// Two halves of noisy rows, and as many weights as there are rows in one.
async fn halves() -> Session {
    let s = session().await;
    run(
        &s,
        "CREATE VIEW noise AS SELECT value AS id, (value * 7919 % 101) / 50.0 - 1 AS x, (value * 104729 % 97) / 48.0 - 1 AS n FROM range(1, 41);
         CREATE TABLE d AS SELECT id, id % 2 = 0 AS is_kept_back, make_array(1.0, x, sin(3 * x), sin(7 * x), sin(11 * x), sin(13 * x), sin(17 * x), sin(19 * x), sin(23 * x), sin(29 * x), sin(31 * x), sin(37 * x)) AS f, 2 * x + n AS y FROM noise;
         CREATE TABLE m (w DOUBLE[12] LEARNABLE DEFAULT init_zeros()); INSERT INTO m DEFAULT VALUES",
    )
    .await;
    s
}

const LEARN: &str = "SELECT AVG(power(inner_product(m.w, d.f) - d.y, 2)) FROM d, m WHERE NOT d.is_kept_back";
const KEPT_BACK: &str = "SELECT AVG(power(inner_product(m.w, d.f) - d.y, 2)) FROM d, m WHERE d.is_kept_back";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_kept_back_end_a_run_before_it_learns_the_noise() {
    let train = format!("TRAIN MINIMIZE ({LEARN}) USING sgd (learning_rate => 0.1) FOR 2000 STEPS");
    let long = halves().await;
    run(&long, &train).await;
    let s = halves().await;
    let (_, trained) = trained(&s, &format!("{train} VALIDATE MINIMIZE ({KEPT_BACK}) EVERY 1 STEP PATIENCE 20")).await;
    let (overfitted, best) = (number(&long, KEPT_BACK).await, number(&s, KEPT_BACK).await);
    assert!(best < overfitted - 1e-3 && trained.steps < 2000, "{best} {overfitted} {}", trained.steps);
    assert!((trained.validation.unwrap() - best).abs() < 1e-12, "{trained:?} {best}");
    assert!((trained.exact_objective.unwrap() - number(&s, LEARN).await).abs() < 1e-12);
    assert!(trained.relaxation_gap().unwrap().abs() < 1e-12 && number(&long, LEARN).await < trained.relaxed_objective);
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_of_batches_are_validated_and_the_same_seed_gives_the_same_bits() {
    // 20 rows are 4 batches of 6, of which the last has 2.
    let train = format!(
        "TRAIN MINIMIZE ({LEARN}) USING adam (learning_rate => 0.1) FOR 5 EPOCHS BATCH 6 VALIDATE MINIMIZE ({KEPT_BACK}) EVERY 2 EPOCHS SEED 3"
    );
    let mut all = vec![];
    for _ in 0..3 {
        let s = halves().await;
        let (steps, done) = trained(&s, &train).await;
        let at: Vec<u64> = steps.iter().filter(|s| s.validation.is_some()).map(|s| s.step).collect();
        assert_eq!((at, done.steps), (vec![8, 16, 20], 20));
        let bits: Vec<Option<u64>> = steps.iter().map(|s| s.validation.map(f64::to_bits)).collect();
        let best = steps.iter().filter_map(|s| s.validation).fold(f64::INFINITY, f64::min);
        assert_eq!(done.validation, Some(best));
        // The end is over all rows again.
        assert!(done.relaxation_gap().unwrap().abs() < 1e-12);
        all.push((bits, rows(&s, "SELECT w FROM m").await, done.relaxed_objective.to_bits()));
    }
    assert!(all.iter().all(|one| *one == all[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_perturbation_is_validated_too() {
    let s = one("").await;
    let (steps, done) = trained(
        &s,
        &format!("{TOWARDS_ONE} FOR 60 STEPS RELAX (estimator => 'perturbed', samples => 8, temperature => 0.1) VALIDATE MINIMIZE {FROM_HALF} EVERY 2 STEPS PATIENCE 4"),
    )
    .await;
    assert!(steps.iter().all(|s| s.validation.is_some() == s.step.is_multiple_of(2)), "{steps:?}");
    let a = number(&s, "SELECT a FROM m").await;
    assert!(done.validation == Some((a - 0.5).abs()) && (a - 0.5).abs() < 0.1 && done.steps < 60, "{a} {done:?}");
    assert_eq!(done.exact_objective, Some((a - 1.0).powi(2)));
    let best = steps.iter().position(|s| s.validation == done.validation).unwrap() as u64;
    assert_eq!(done.steps, best + 1 + 2 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_is_any_exact_query_over_any_table() {
    // Strings and a step of a live value have no relaxation; other learnable tables are as they are.
    let s = one("").await;
    run(&s, "CREATE TABLE n (b DOUBLE LEARNABLE DEFAULT 0.5); INSERT INTO n DEFAULT VALUES").await;
    let label = "SELECT COUNT(*) FROM m, n WHERE CASE WHEN round(m.a * 10) = round(n.b * 10) THEN 'half' ELSE 'no' END LIKE 'h%'";
    let (_, done) = trained(&s, &format!("{TOWARDS_ONE} FOR 30 STEPS VALIDATE MAXIMIZE ({label}) EVERY 1 STEP")).await;
    assert_eq!(done.validation, Some(1.0));
    // Step 6, 0.468559, is the first that rounds to 0.5.
    assert!((number(&s, "SELECT a FROM m").await - 0.468_559).abs() < 1e-12);
    // It may have parameters, and be in a transaction, whose rows it sees.
    let s = one("").await;
    run(&s, "CREATE TABLE target (t DOUBLE); BEGIN; INSERT INTO target VALUES (0.25)").await;
    let sql = format!("{TOWARDS_ONE} FOR ? STEPS VALIDATE MINIMIZE (SELECT SUM(abs(a - t)) + ? FROM m, target) EVERY ? STEPS PATIENCE ?");
    let done = s.train(&sql, &nabladb::values![40, 3.0, 1, 2]).await.unwrap().finish().await.unwrap();
    run(&s, "COMMIT").await;
    assert!(done.steps == 5 && done.validation.is_some_and(|x| (x - 3.021).abs() < 1e-12), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_of_it_and_does_not_run_it() {
    let s = one("").await;
    let relaxed = format!("EXPLAIN {TOWARDS_ONE} VALIDATE MINIMIZE {FROM_HALF} EVERY 1 EPOCH PATIENCE 3");
    let said = "run|validate|minimize the exact value, after every epoch: the best commits, and 3 in a row that are no better end the run";
    let explained = rows(&s, &relaxed).await;
    assert!(explained.lines().any(|line| line == said), "{explained}");
    let perturbed = format!("EXPLAIN {TOWARDS_ONE} VALIDATE MAXIMIZE {FROM_HALF} EVERY 20 STEPS RELAX (estimator => 'perturbed')");
    let explained = rows(&s, &perturbed).await;
    assert!(
        explained.lines().any(|line| line == "run|validate|maximize the exact value, after every 20 steps: the best commits"),
        "{explained}"
    );
    assert!(!rows(&s, &format!("EXPLAIN {TOWARDS_ONE}")).await.contains("validate"));
    let analyzed = rows(&s, &format!("EXPLAIN ANALYZE {TOWARDS_ONE} FOR 9 STEPS VALIDATE MINIMIZE {FROM_HALF} EVERY 1 STEP")).await;
    assert!(!analyzed.is_empty());
    for explain in ["EXPLAIN", "EXPLAIN ANALYZE"] {
        fails(&s, &format!("{explain} {TOWARDS_ONE} VALIDATE MINIMIZE (SELECT b FROM m) EVERY 1 EPOCH"), &["b", "line 1, column"]).await;
    }
    assert_eq!(rows(&s, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "0.0|0");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_refused_before_anything_is_learned() {
    let s = one("").await;
    run(&s, "CREATE TABLE t AS SELECT value AS x FROM range(3)").await;
    let train = "TRAIN MINIMIZE (SELECT SUM(a) FROM m)";
    for (clause, pieces) in [
        ("VALIDATE MINIMIZE (SELECT 1)", &["VALIDATE does not say how often", "line 1, column 39", "hint: write EVERY 10 STEPS"][..]),
        ("VALIDATE MINIMIZE (SELECT 1) FOR 3 STEPS", &["VALIDATE does not say how often", "line 1, column 39"]),
        (
            "VALIDATE MINIMIZE (SELECT 1) EVERY 0 STEPS",
            &["EVERY 0: the number must be positive and whole", "column 74", "hint: such as EVERY 10"],
        ),
        ("VALIDATE MINIMIZE (SELECT 1) EVERY 1.5 EPOCHS", &["EVERY 1.5: the number must be positive and whole", "column 74"]),
        (
            "VALIDATE MINIMIZE (SELECT 1) EVERY 2 STEPS PATIENCE 0",
            &["PATIENCE 0: the number must be positive and whole", "column 91", "hint: "],
        ),
        ("VALIDATE MINIMIZE (SELECT 1) EVERY 0 STEPS PATIENCE -1 SEED x", &["a number"]),
        ("VALIDATE MINIMIZE (SELECT 1) EVERY 0 STEPS PATIENCE -1 BATCH 0", &["EVERY 0", "PATIENCE -1", "BATCH 0"]),
        ("VALIDATE MINIMIZE (SELECT 1) EVERY 2", &["EPOCHS or STEPS"]),
        ("VALIDATE (SELECT 1) EVERY 2 STEPS", &["MINIMIZE or MAXIMIZE", "line 1, column 48"]),
        ("VALIDATE MINIMIZE SELECT 1 EVERY 2 STEPS", &["(", "line 1, column 57"]),
        ("VALIDATE MINIMIZE (DELETE FROM m) EVERY 2 STEPS", &["line 1, column 58"]),
        ("VALIDATE MINIMIZE (SELECT 1) EVERY 2 STEPS VALIDATE MINIMIZE (SELECT 1) EVERY 2 STEPS", &["VALIDATE is given twice"]),
        ("PATIENCE 3", &["unknown clause 'PATIENCE'", "hint: the clauses are USING, FOR, BATCH, SEED, RELAX, VALIDATE"]),
        (
            "VALIDATE MINIMIZE (SELECT a, 1 FROM m) EVERY 2 STEPS",
            &["a validation has one column, this one has 2", "line 1, column 58", "hint: "],
        ),
        (
            "VALIDATE MINIMIZE (SELECT 'x') EVERY 2 STEPS",
            &["a validation is a number, this one is Utf8", "line 1, column 58", "hint: CAST"],
        ),
        ("VALIDATE MINIMIZE (SELECT a > 1 FROM m) EVERY 2 STEPS", &["a validation is a number, this one is Boolean", "line 1, column 58"]),
        (
            "VALIDATE MINIMIZE (SELECT x FROM t) EVERY 2 STEPS",
            &["a validation has one row, this one has 3", "line 1, column 58", "hint: aggregate"],
        ),
        ("VALIDATE MINIMIZE (SELECT x FROM nowhere) EVERY 2 STEPS", &["table 'nowhere' not found", "hint: "]),
        ("VALIDATE MINIMIZE (SELECT SUM(y) FROM t) EVERY 2 STEPS", &["y", "line 1, column 6"]),
        ("VALIDATE MINIMIZE (SELECT 1 / COUNT(*) FROM t WHERE x > 5) EVERY 2 STEPS", &["ivide by zero", "line 1, column 58"]),
        ("CHECKPOINT EVERY 2 EPOCHS", &["CHECKPOINT is not supported yet", "hint: leave the clause out"]),
    ] {
        for estimator in ["", " RELAX (estimator => 'perturbed')"] {
            let sql = format!("{train} {clause}{estimator}");
            let message = match s.run(&sql).await {
                Ok(_) => panic!("{sql} begins"),
                Err(error) => error.to_string(),
            };
            for piece in pieces {
                assert!(message.contains(piece), "{sql}\ngave: {message}\nwithout: {piece}");
            }
        }
    }
    assert_eq!(rows(&s, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "0.0|0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_that_fails_on_the_way_stops_the_run_and_changes_nothing() {
    let s = one("").await;
    run(&s, "CREATE TABLE t AS SELECT value / 10.0 AS x FROM range(3)").await;
    // One row as long as a is below 0.1.
    let two = "(SELECT x FROM t, m WHERE x <= a)";
    fails(
        &s,
        &format!("{TOWARDS_ONE} FOR 20 STEPS VALIDATE MINIMIZE {two} EVERY 1 STEP"),
        &["a validation has one row, this one has ", "step ", "the query of VALIDATE", "hint: aggregate"],
    )
    .await;
    let division = "(SELECT 1 / CAST(round(a * 10) - 2 AS BIGINT) FROM m)";
    fails(
        &s,
        &format!("{TOWARDS_ONE} FOR 20 STEPS VALIDATE MINIMIZE {division} EVERY 1 STEP"),
        &["ivide by zero", "step 2, the query of VALIDATE", "hint: "],
    )
    .await;
    assert_eq!(rows(&s, "SELECT a, (SELECT COUNT(*) FROM nabla.runs) FROM m").await, "0.0|0");
}
