//! What tables keep: types, NOT NULL, primary keys, CHECKs, dimensions, and the rules of learnable columns.

use crate::{fails, failure, rows, run, session, tag};

#[tokio::test]
async fn a_model_is_a_one_row_table() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE ranker (w_text DOUBLE LEARNABLE DEFAULT 1.0 CHECK (w_text >= 0), w_age DOUBLE LEARNABLE DEFAULT 0.0,
             cutoff DOUBLE LEARNABLE DEFAULT 0.5 CHECK (cutoff BETWEEN 0 AND 1))",
    )
    .await;
    assert_eq!(tag(&s, "INSERT INTO ranker DEFAULT VALUES").await, "INSERT 0 1");
    assert_eq!(rows(&s, "SELECT * FROM ranker").await, "1.0|0.0|0.5");
    assert_eq!(
        rows(&s, "SELECT column_name, type, dimensions, rows, parameters, \"default\", bound FROM nabla.learnable_columns").await,
        "w_text|DOUBLE|[]|1|1|1.0|>= 0\nw_age|DOUBLE|[]|1|1|0.0|NULL\ncutoff|DOUBLE|[]|1|1|0.5|BETWEEN 0 AND 1"
    );
}

#[tokio::test]
async fn vectors_and_matrices_get_seeded_initial_values() {
    let s = session().await;
    let create =
        "CREATE TABLE users (id BIGINT PRIMARY KEY, bias REAL LEARNABLE DEFAULT 0, emb REAL[3] LEARNABLE DEFAULT init_normal(0, 0.1));
                  CREATE TABLE net (w REAL[2][3] LEARNABLE DEFAULT init_glorot(), b REAL[2] LEARNABLE DEFAULT init_zeros())";
    run(&s, create).await;
    run(&s, "INSERT INTO users (id) VALUES (1), (2); INSERT INTO users (id) SELECT 3; INSERT INTO net DEFAULT VALUES").await;
    let t = session().await;
    run(&t, create).await;
    run(&t, "INSERT INTO users (id) VALUES (1), (2), (3)").await;
    let all = "SELECT id, bias, emb FROM users ORDER BY id";
    assert_eq!(rows(&s, all).await, rows(&t, all).await);
    assert_eq!(rows(&s, "SELECT COUNT(DISTINCT emb[1]), MAX(abs(emb[1])) < 1 FROM users").await, "3|true");
    assert_eq!(rows(&s, "SELECT array_length(w), array_length(w[1]), b FROM net").await, "2|3|[0.0, 0.0]");
    assert_eq!(
        rows(&s, "SELECT table_name, column_name, type, dimensions, parameters FROM nabla.learnable_columns ORDER BY 1, 2").await,
        "net|b|REAL[2]|[2]|2\nnet|w|REAL[2][3]|[2, 3]|6\nusers|bias|REAL|[]|3\nusers|emb|REAL[3]|[3]|9"
    );
}

#[tokio::test]
async fn learnable_columns_are_numbers_or_fixed_arrays_of_them() {
    let s = session().await;
    for column in ["a TEXT LEARNABLE", "a INT LEARNABLE", "a REAL[] LEARNABLE", "a INT[3] LEARNABLE", "a DECIMAL(10, 2) LEARNABLE"] {
        fails(&s, &format!("CREATE TABLE t ({column})"), &["cannot be LEARNABLE", "declare REAL or DOUBLE", "line 1, column 17"]).await;
    }
    fails(&s, "CREATE TABLE t (a REAL LEARNABLE PRIMARY KEY)", &["cannot be in the PRIMARY KEY"]).await;
}

#[tokio::test]
async fn a_check_without_a_projection_is_refused_at_create() {
    let s = session().await;
    for check in ["w * w <= 1", "w > 0", "w <> 0", "w >= 0 OR w <= -1", "sin(w) >= 0", "w >= x"] {
        fails(&s, &format!("CREATE TABLE t (x DOUBLE, w DOUBLE LEARNABLE CHECK ({check}))"), &["CHECK (", "hint: ", "line 1, column 46"])
            .await;
    }
    fails(&s, "CREATE TABLE t (w DOUBLE LEARNABLE CHECK (w UNIT NORM))", &["is for vectors"]).await;
    for check in ["CHECK (v UNIT NORM)", "CHECK UNIT NORM", "CHECK (UNIT NORM)", "CHECK (v SIMPLEX)", "CHECK (v BETWEEN -1 AND 1)"] {
        run(&s, &format!("CREATE OR REPLACE TABLE t (v REAL[2] LEARNABLE {check})")).await;
    }
}

#[tokio::test]
async fn defaults_and_inserted_values_lie_within_the_bound() {
    let s = session().await;
    fails(&s, "CREATE TABLE t (w DOUBLE LEARNABLE DEFAULT -1 CHECK (w >= 0))", &["DEFAULT -1 does not fit", "line 1, column 36"]).await;
    fails(&s, "CREATE TABLE t (w DOUBLE LEARNABLE DEFAULT 'x')", &["column 'w' is DOUBLE"]).await;
    run(&s, "CREATE TABLE t (w DOUBLE LEARNABLE DEFAULT 1 CHECK (w >= 0 AND w <= 2), v REAL[2] LEARNABLE DEFAULT [0.6, 0.8] CHECK (v UNIT NORM))").await;
    fails(&s, "INSERT INTO t (w) VALUES (3)", &["CHECK (w BETWEEN 0 AND 2) fails in row 1"]).await;
    fails(&s, "INSERT INTO t (v) VALUES ([1, 1])", &["CHECK (v UNIT NORM) fails"]).await;
    fails(&s, "INSERT INTO t VALUES (NULL, [1, 0])", &["LEARNABLE and never NULL"]).await;
    run(&s, "INSERT INTO t DEFAULT VALUES").await;
    fails(&s, "UPDATE t SET w = -1", &["CHECK (w BETWEEN 0 AND 2) fails"]).await;
    assert_eq!(rows(&s, "SELECT * FROM t").await, "1.0|[0.6, 0.8]");
}

#[tokio::test]
async fn dimension_mismatches_are_refused() {
    let s = session().await;
    fails(&s, "CREATE TABLE t (v REAL[3] LEARNABLE DEFAULT [1, 2])", &["REAL[3]", "2 elements"]).await;
    fails(&s, "CREATE TABLE t (v REAL[3] LEARNABLE DEFAULT 0)", &["its DEFAULT is one value", "init_zeros()"]).await;
    run(&s, "CREATE TABLE t (id INT, v REAL[2], m REAL[2][2])").await;
    run(&s, "INSERT INTO t VALUES (1, [1, 2], [[1, 2], [3, 4]])").await;
    fails(&s, "INSERT INTO t VALUES (2, [1, 2, 3], NULL)", &["column 'v' is REAL[2]", "3 elements", "dimension mismatch"]).await;
    fails(&s, "INSERT INTO t VALUES (2, NULL, [[1, 2], [3]])", &["column 'm' is REAL[2][2]", "1 elements"]).await;
    fails(&s, "UPDATE t SET v = [1]", &["dimension mismatch"]).await;
    fails(&s, "INSERT INTO t VALUES (2, 7, NULL)", &["column 'v' is REAL[2]"]).await;
}

#[tokio::test]
async fn primary_keys_are_unique_and_never_null() {
    let s = session().await;
    run(&s, "CREATE TABLE t (a INT, b TEXT, x INT, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 'x', 0), (1, 'y', 0)").await;
    fails(&s, "INSERT INTO t VALUES (1, 'x', 1)", &["duplicate primary key (a, b) = (1, x) in table 't'", "already"]).await;
    fails(&s, "INSERT INTO t VALUES (2, 'x', 1), (2, 'x', 2)", &["duplicate primary key (a, b) = (2, x)", "two of the new rows"]).await;
    fails(&s, "INSERT INTO t VALUES (NULL, 'x', 1)", &["column 'a' of table 't' is in the PRIMARY KEY and never NULL", "row 1"]).await;
    fails(&s, "UPDATE t SET b = 'z'", &["duplicate primary key (a, b) = (1, z)"]).await;
    assert_eq!(tag(&s, "UPDATE t SET a = a + 1").await, "UPDATE 2");
    assert_eq!(rows(&s, "SELECT a, b FROM t ORDER BY b").await, "2|x\n2|y");
}

#[tokio::test]
async fn not_null_checks_and_types_are_enforced_on_insert_and_update() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id INT PRIMARY KEY, name TEXT NOT NULL, age INT CHECK (age >= 0), low INT, high INT, CHECK (low <= high))")
        .await;
    fails(&s, "INSERT INTO t VALUES (1, NULL, 3, 1, 2)", &["column 'name' of table 't' is NOT NULL, but row 1 has NULL"]).await;
    fails(
        &s,
        "INSERT INTO t VALUES (1, 'a', 1, 1, 2), (2, 'b', -3, 5, 4)",
        &["CHECK (age >= 0) fails in row 2", "CHECK (low <= high) fails in row 2"],
    )
    .await;
    fails(&s, "INSERT INTO t (id, name, age) VALUES (1, 'a', 'old')", &["column 'age' is INT", "old"]).await;
    fails(&s, "INSERT INTO t (id, name) VALUES (99999999999, 'a')", &["column 'id' is INT"]).await;
    run(&s, "INSERT INTO t VALUES (1, 'a', NULL, NULL, 2)").await;
    fails(&s, "UPDATE t SET age = -1", &["CHECK (age >= 0) fails"]).await;
    fails(&s, "UPDATE t SET name = NULL", &["NOT NULL"]).await;
    fails(&s, "INSERT INTO t VALUES (1, 2)", &["2 values are given for 5 columns"]).await;
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM t").await, "1");
}

#[tokio::test]
async fn all_refusals_of_a_table_are_reported_together() {
    let s = session().await;
    let message = failure(&s, "CREATE TABLE t (\n  id TEXT LEARNABLE,\n  w DOUBLE LEARNABLE,\n  w INT,\n  z NOSUCHTYPE)").await;
    for piece in [
        "column 'id' is TEXT",
        "line 2, column 3",
        "column 'w' is declared twice",
        "line 4, column 3",
        "type NOSUCHTYPE is not known",
        "line 5, column 3",
    ] {
        assert!(message.contains(piece), "{message}\nwithout: {piece}");
    }
    let message = failure(
        &s,
        "CREATE TABLE t (id INT UNIQUE REFERENCES u (id), w DOUBLE LEARNABLE DEFAULT init_norm(1), FOREIGN KEY (id) REFERENCES u (id))",
    )
    .await;
    assert!(message.contains("UNIQUE is not supported") && message.matches("foreign keys are not supported").count() == 2, "{message}");
    let message = failure(&s, "CREATE TABLE t (w DOUBLE LEARNABLE DEFAULT init_norm(1) CHECK (w * w < 1), PRIMARY KEY (nope))").await;
    for piece in ["unknown initializer 'init_norm'", "no projection is known", "column 'nope' not found"] {
        assert!(message.contains(piece), "{message}\nwithout: {piece}");
    }
}

#[tokio::test]
async fn a_learnable_column_can_be_added_frozen_and_thawed() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE t (id INT); INSERT INTO t VALUES (1), (2); ALTER TABLE t ADD COLUMN emb REAL[2] LEARNABLE DEFAULT init_uniform(1, 2)",
    )
    .await;
    assert_eq!(rows(&s, "SELECT COUNT(DISTINCT emb[1]), MIN(emb[2]) >= 1 FROM t").await, "2|true");
    run(&s, "ALTER TABLE t ALTER COLUMN emb DROP LEARNABLE").await;
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM nabla.learnable_columns").await, "0");
    run(&s, "ALTER TABLE t ALTER COLUMN emb SET LEARNABLE").await;
    assert_eq!(rows(&s, "SELECT column_name FROM nabla.learnable_columns").await, "emb");
    fails(&s, "ALTER TABLE t ALTER COLUMN id SET LEARNABLE", &["column 'id' is INT, which cannot be LEARNABLE", "line 1, column 28"]).await;
    fails(&s, "ALTER TABLE t ALTER COLUMN ebm SET LEARNABLE", &["did you mean 'emb'?"]).await;
    fails(&s, "ALTER TABLE t ADD COLUMN w DOUBLE LEARNABLE", &["no DEFAULT"]).await;
    fails(&s, "ALTER TABLE t ADD COLUMN w DOUBEL", &["type DOUBEL is not known", "did you mean DOUBLE?"]).await;
    run(&s, "CREATE TABLE u (w DOUBLE CHECK (w >= 0)); INSERT INTO u VALUES (NULL)").await;
    fails(&s, "ALTER TABLE u ALTER COLUMN w SET LEARNABLE", &["never NULL"]).await;
    run(&s, "UPDATE u SET w = 1; ALTER TABLE u ALTER COLUMN w SET LEARNABLE").await;
    assert_eq!(rows(&s, "SELECT bound FROM nabla.learnable_columns WHERE table_name = 'u'").await, ">= 0");
    run(&s, "ALTER TABLE t DROP COLUMN emb").await;
    assert_eq!(rows(&s, "SELECT * FROM t ORDER BY 1").await, "1\n2");
}
