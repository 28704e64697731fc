//! What can be said: statements, operators, names, and what is answered to what cannot.

use crate::{fails, failure, rows, run, session, tag};
use nabladb::grammar::{Direction, Kind, Length, OptionValue, statements};

#[tokio::test]
async fn a_query_needs_no_table() {
    let s = session().await;
    assert_eq!(rows(&s, "SELECT 1 + 1 AS two, 'x' || 'y'").await, "2|xy");
}

#[tokio::test]
async fn what_is_selected_twice_has_two_names() {
    let s = session().await;
    run(&s, "CREATE TABLE t (a INT, b INT); INSERT INTO t SELECT value, value FROM range(2); INSERT INTO t SELECT CAST(7 AS INT), 7").await;
    assert_eq!(rows(&s, "SELECT a, t.b, a FROM t WHERE a > 0 ORDER BY a").await, "1|1|1\n7|7|7");
    assert_eq!(rows(&s, "SELECT (SELECT 1), (SELECT 2), (SELECT 3) + 1, (SELECT 4) + 1").await, "1|2|4|5");
    let predicates =
        "SELECT EXISTS (SELECT 1), EXISTS (SELECT 2 WHERE false), 1 IN (SELECT 1), 1 IN (SELECT 2), 1 = ANY (SELECT 1), 1 = ANY (SELECT 2)";
    assert_eq!(rows(&s, predicates).await, "true|false|true|false|true|false");
    assert_eq!(rows(&s, "SELECT \"x:1\" FROM (SELECT a AS q, x, x FROM (SELECT a, b AS x FROM t) u) v ORDER BY q LIMIT 1").await, "0");
    assert_eq!(rows(&s, "SELECT 1, 1, 1 UNION SELECT 1, 1, 1").await, "1|1|1");
    assert_eq!(rows(&s, "SELECT 1, 1, 2 UNION ALL SELECT 2, 1, 1 ORDER BY 1").await, "1|1|2\n2|1|1");
    assert_eq!(rows(&s, "SELECT COUNT(*), count(*), A, a FROM t GROUP BY a HAVING a = 7").await, "1|1|7|7");
    assert_eq!(
        rows(&s, "WITH RECURSIVE n(i, j) AS (SELECT 1, 1 UNION ALL SELECT i + 1, j FROM n WHERE i < 3) SELECT SUM(i), SUM(j) FROM n").await,
        "6|3"
    );
}

#[tokio::test]
async fn what_datafusion_says_of_names_and_depths_is_said_with_a_way_out() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id INT, m DOUBLE[2][2]); INSERT INTO t VALUES (1, [[1, 2], [3, 4]])").await;
    fails(&s, "SELECT id, * FROM t", &["two columns of a SELECT list have one name: t.id and t.id", "hint: ", "AS other"]).await;
    fails(&s, "SELECT array_sum(m) FROM t", &["arrays of another depth", "hint: flatten(x)"]).await;
    assert_eq!(rows(&s, "SELECT array_sum(flatten(m)) FROM t").await, "10.0");
}

#[tokio::test]
async fn lists_of_in_are_no_sets_of_their_texts() {
    let s = session().await;
    run(&s, "CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1, 1), (2, 2), (2, 3), (3, NULL)").await;
    for (condition, expected) in [
        ("a NOT IN (b, 77) AND a IN (2, 3)", "2|3"),
        ("a NOT IN (1, NULL) AND a IN (2, 3)", ""),
        ("NOT (a IN (1, NULL) AND a IN (1, 2))", "3|NULL"),
        ("a IN (b) AND a IN (2, 3)", "2|2"),
        ("a NOT IN (b, 1) OR a NOT IN (2, b)", "2|3"),
    ] {
        assert_eq!(rows(&s, &format!("SELECT a, b FROM t WHERE {condition} ORDER BY a, b")).await, expected, "{condition}");
    }
    assert_eq!(rows(&s, "SELECT 1 IN (2, NULL), 1 IN (1, NULL), 1 NOT IN (2, NULL)").await, "NULL|true|NULL");
}

#[tokio::test]
async fn distance_operators_bind_tighter_than_comparisons_and_looser_than_plus() {
    let s = session().await;
    assert_eq!(rows(&s, "SELECT [0.0, 0.0] <-> [3.0, 4.0]").await, "5.0");
    assert_eq!(rows(&s, "SELECT [1.0, 2.0] <#> [3.0, 4.0]").await, "-11.0");
    assert_eq!(rows(&s, "SELECT [1.0, 0.0] <=> [0.0, 2.0]").await, "1.0");
    assert_eq!(rows(&s, "SELECT [0.0, 0.0]<->[3.0, 4.0] < 5.5 AND 4.5 < [0.0, 0.0] <-> [3.0, 4.0]").await, "true");
    assert_eq!(rows(&s, "SELECT 1<-1, 2 < -1, 3<>4").await, "false|false|true");
}

#[tokio::test]
async fn distance_operators_work_in_order_by_views_checks_and_copies() {
    let s = session().await;
    run(&s, "CREATE TABLE v (id INT, e DOUBLE[2]); INSERT INTO v VALUES (1, [0, 0]), (2, [3, 4]), (3, [1, 1])").await;
    assert_eq!(rows(&s, "SELECT id FROM v ORDER BY e <-> [1.0, 1.0], id").await, "3\n1\n2");
    run(&s, "CREATE VIEW near AS SELECT id, e <-> [0.0, 0.0] AS d FROM v").await;
    assert_eq!(rows(&s, "SELECT d FROM near WHERE id = 2").await, "5.0");
    assert!(rows(&s, "EXPLAIN SELECT e <-> e FROM v").await.contains("array_distance"));
}

#[tokio::test]
async fn the_sql_of_datafusion_works() {
    let s = session().await;
    run(&s, "CREATE TABLE t (k TEXT, x INT); INSERT INTO t VALUES ('a', 1), ('a', 2), ('b', 3)").await;
    assert_eq!(rows(&s, "SELECT k, SUM(x) FILTER (WHERE x > 1) AS s FROM t GROUP BY k ORDER BY k").await, "a|2\nb|3");
    assert_eq!(rows(&s, "SELECT k, x FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC) = 1 ORDER BY k").await, "a|2\nb|3");
    assert_eq!(rows(&s, "SELECT '3'::INT + 1").await, "4");
    assert_eq!(rows(&s, "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT SUM(i) FROM n").await, "6");
    assert_eq!(rows(&s, "SELECT DISTINCT ON (k) k, x FROM t ORDER BY k, x").await, "a|1\nb|3");
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM t a JOIN t b USING (k)").await, "5");
    assert_eq!(rows(&s, "FROM t SELECT MAX(x)").await, "3");
    assert!(rows(&s, "SHOW TABLES").await.contains("main|t|"));
    assert!(rows(&s, "DESCRIBE t").await.contains("x|Int32|"));
}

#[tokio::test]
async fn set_reset_and_prepared_statements_last_for_the_session() {
    let s = session().await;
    assert_eq!(tag(&s, "SET datafusion.execution.batch_size = 17").await, "SET");
    assert!(rows(&s, "SHOW datafusion.execution.batch_size").await.contains("17"));
    run(&s, "CREATE TABLE t (x INT); INSERT INTO t VALUES (1), (2); PREPARE more(INT) AS SELECT x FROM t WHERE x > $1 ORDER BY x").await;
    run(&s, "INSERT INTO t VALUES (3)").await;
    assert_eq!(rows(&s, "EXECUTE more(1)").await, "2\n3");
    run(&s, "DEALLOCATE more").await;
    fails(&s, "EXECUTE more(1)", &["no prepared statement 'more'"]).await;
}

#[tokio::test]
async fn files_are_read_in_place() {
    let s = session().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    assert_eq!(tag(&s, &format!("COPY (SELECT 1 AS a, 'x' AS b) TO '{}'", path.display())).await, "COPY 1");
    assert_eq!(rows(&s, &format!("SELECT a, b FROM '{}'", path.display())).await, "1|x");
    run(&s, &format!("CREATE EXTERNAL TABLE ext STORED AS PARQUET LOCATION '{}'", path.display())).await;
    assert_eq!(rows(&s, "SELECT a FROM ext").await, "1");
    fails(&s, "INSERT INTO ext VALUES (1, 'y')", &["'ext' is an external table"]).await;
    run(&s, "DROP TABLE ext").await;
    fails(&s, "SELECT * FROM ext", &["table 'ext' not found"]).await;
}

#[tokio::test]
async fn deep_nesting_works_and_too_deep_nesting_is_an_error() {
    let s = session().await;
    let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(rows(&s, &nested(100)).await, "1");
    fails(&s, &nested(10_000), &["recursion limit"]).await;
    fails(&s, &format!("SELECT {}", vec!["1"; 20_000].join(" + ")), &["more than 5000 operators", "hint: "]).await;
}

#[tokio::test]
async fn syntax_errors_say_where() {
    let s = session().await;
    fails(&s, "SELECT 1 +", &["line 1, column 11"]).await;
    fails(&s, "SELECT a\n  FROM t )", &["line 2, column 10"]).await;
    fails(&s, "SELEC 1", &["'SELEC' does not begin a statement", "did you mean SELECT?", "line 1, column 1"]).await;
    fails(&s, "SELECT 'abc", &["unterminated string", "line 1, column 8"]).await;
    fails(&s, "SELECT 1 1", &["line 1, column 10"]).await;
    fails(&s, "", &["there is no statement"]).await;
    fails(&s, "SELECT 1; SELECT 2", &["more than one statement"]).await;
}

#[tokio::test]
async fn unknown_names_are_told_with_the_nearest_known_one() {
    let s = session().await;
    run(&s, "CREATE TABLE users (id INT, name TEXT)").await;
    fails(&s, "SELECT * FROM user", &["table 'user' not found", "did you mean 'users'?"]).await;
    fails(&s, "SELECT nam FROM users", &["column 'nam' not found", "did you mean 'users.name'?", "line 1, column 8"]).await;
    fails(&s, "DELETE FROM users WHERE age = 1", &["column 'age' not found", "line 1, column 25"]).await;
    assert!(!failure(&s, "DELETE FROM users WHERE age = 1").await.contains("nabla_row"));
    fails(&s, "SELECT SUM(name) FROM users", &["no function 'sum(Utf8View)'", "hint: cast the arguments"]).await;
    fails(&s, "SELECT * FROM 'no/file.parquet'", &["file 'no/file.parquet' not found"]).await;
    fails(&s, "SELECT sqr(id) FROM users", &["invalid function 'sqr'", "did you mean 'sqrt'?"]).await;
    fails(&s, "INSERT INTO users (id, nmae) VALUES (1, 'x')", &["column 'nmae' not found", "did you mean 'name'?"]).await;
    fails(&s, "UPDATE users SET nmae = 'x'", &["column 'nmae' not found"]).await;
    fails(&s, "INSERT INTO usrs VALUES (1)", &["table 'usrs' not found", "did you mean 'users'?"]).await;
}

#[tokio::test]
async fn statements_before_a_mistake_are_read_and_places_are_those_of_the_whole_text() {
    let read: Vec<_> = statements("SELECT 1;\nSELECT ';' -- a; b\n;\n\n  SELECT 1 )").collect();
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].as_ref().unwrap().text, "SELECT 1");
    assert!(read[1].as_ref().unwrap().text.starts_with("SELECT ';'"));
    assert!(read[2].as_ref().unwrap_err().to_string().contains("line 5, "));
    let read: Vec<_> = statements("SELECT 1; SELECT 'oops").collect();
    assert!(read[0].is_ok() && read[1].is_err() && read.len() == 2);
}

#[tokio::test]
async fn train_is_read_with_its_clauses_in_any_order() {
    let sql = "TRAIN ranker, users.emb MINIMIZE (SELECT AVG(e <-> f) FROM t) SEED 42 FOR 20 EPOCHS
               RELAX (temperature => 0.5, scale => 'auto', smooth_max => true) USING adam (learning_rate => 1e-2) BATCH 1_024";
    let statement = statements(sql).next().unwrap().unwrap();
    let Kind::Train(train) = statement.kind else { panic!() };
    assert_eq!(
        train.objective.targets.iter().map(|t| (t.table.as_str(), t.column.as_deref())).collect::<Vec<_>>(),
        [("ranker", None), ("users", Some("emb"))]
    );
    assert_eq!(
        (train.direction, train.length, train.batch, train.seed),
        (Direction::Minimize, Some(Length::Epochs(20)), Some(1024), Some(42))
    );
    assert_eq!(train.objective.position, (1, 35));
    assert!(train.objective.query.to_string().contains("array_distance(e, f)"));
    let adam = train.optimizer.unwrap();
    assert_eq!(
        (adam.name.as_str(), adam.options[0].name.as_str(), &adam.options[0].value),
        ("adam", "learning_rate", &OptionValue::Number(0.01))
    );
    assert_eq!(
        train.objective.options.iter().map(|o| o.value.clone()).collect::<Vec<_>>(),
        [OptionValue::Number(0.5), OptionValue::Text("auto".into()), OptionValue::Boolean(true)]
    );
    assert_eq!(train.objective.options[0].position, (2, 23));
    for sql in ["EXPLAIN TRAIN MAXIMIZE (SELECT 1)", "explain train t maximize (SELECT 1) for 1 step"] {
        assert!(matches!(statements(sql).next().unwrap().unwrap().kind, Kind::Explain(_)));
    }
    for sql in ["RELAX (temperature => 0.1) SELECT 1", "relax () with t as (select 1) select * from t"] {
        assert!(matches!(statements(sql).next().unwrap().unwrap().kind, Kind::Relax(_)));
    }
    let sql = "GRADIENT OF (SELECT SUM(a) FROM m) WITH RESPECT TO m.a, n RELAX (temperature => 2)";
    let Kind::Gradient(gradient) = statements(sql).next().unwrap().unwrap().kind else { panic!() };
    assert_eq!((gradient.targets.len(), gradient.options.len()), (2, 1));
    for (sql, piece) in [("GRADIENT OF (SELECT 1) FOR 3", "unknown clause 'FOR'"), ("GRADIENT OF (SELECT 1) WITH RESPECT TO", "")] {
        assert!(statements(sql).next().unwrap().unwrap_err().to_string().contains(piece));
    }
    assert!(matches!(statements("CREATE TABLE log AS TRAIN MAXIMIZE (SELECT 1)").next().unwrap().unwrap().kind, Kind::CreateTable(_)));
}

#[tokio::test]
async fn wrong_clauses_of_train_are_refused_all_at_once_with_their_places() {
    let s = session().await;
    fails(
        &s,
        "TRAIN MINIMIZE (SELECT 1) FOR 0 STEPS BATCH -3 SEED 1.5",
        &[
            "FOR 0: the number must be positive",
            "line 1, column 31",
            "BATCH -3: the number must be positive",
            "line 1, column 45",
            "SEED 1.5: the seed must be a whole number",
        ],
    )
    .await;
    fails(&s, "TRAIN MINIMIZE (SELECT 1) FOR 1.5 EPOCHS", &["positive and whole"]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT 1) SEED 1 SEED 2", &["SEED is given twice"]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT 1) USIN adam", &["unknown clause 'USIN'", "did you mean USING?", "line 1, column 27"]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT 1) CHECKPOINT EVERY 2 EPOCHS", &["CHECKPOINT is not supported yet"]).await;
    fails(&s, "TRAIN MINIMIZE (SELECT 1) USING adam (lr => 1, lr => 2)", &["option 'lr' is given twice"]).await;
    fails(&s, "TRAIN MINIMIZE SELECT 1", &["(", "line 1, column 16"]).await;
    fails(&s, "TRAIN FOR 2 STEPS", &["MINIMIZE or MAXIMIZE"]).await;
}

#[tokio::test]
async fn words_of_later_versions_are_recognized() {
    let s = session().await;
    for (sql, word) in [
        ("RESUME TRAINING 7", "RESUME TRAINING"),
        ("CANCEL TRAINING 7", "CANCEL TRAINING"),
        ("RESTORE ranker TO VERSION 3", "RESTORE"),
        ("SELECT * FROM ranker AT (VERSION => 3)", "AT (VERSION => ...)"),
        ("EXPLAIN VERBOSE TRAIN MINIMIZE (SELECT 1)", "EXPLAIN VERBOSE TRAIN"),
        ("EXPLAIN ANALYZE RELAX (SELECT 1)", "EXPLAIN ANALYZE RELAX"),
        ("CREATE TEMPORARY TABLE t (a INT)", "a temporary table"),
        ("CREATE SCHEMA s", "schemas"),
    ] {
        let message = failure(&s, sql).await;
        assert!(message.contains(word) && message.contains("not supported yet"), "{sql}: {message}");
    }
}
