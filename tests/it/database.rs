//! What changes a database: rows, tables, views and files.

use crate::{fails, rows, run, session, tag};
use nabladb::Session;
use nabladb::session::Options;

#[tokio::test]
async fn rows_are_updated_and_deleted_and_counted() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id INT, x INT DEFAULT 7); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)").await;
    assert_eq!(tag(&s, "UPDATE t SET x = x + 1, id = id * 10 WHERE x >= 20").await, "UPDATE 2");
    assert_eq!(rows(&s, "SELECT * FROM t").await, "1|10\n20|21\n30|31");
    assert_eq!(tag(&s, "UPDATE t AS q SET x = DEFAULT WHERE q.id = 1").await, "UPDATE 1");
    run(&s, "CREATE TABLE u (id INT, y INT); INSERT INTO u VALUES (20, 5), (99, 6)").await;
    assert_eq!(tag(&s, "UPDATE t SET x = u.y FROM u WHERE t.id = u.id").await, "UPDATE 1");
    assert_eq!(rows(&s, "SELECT * FROM t").await, "1|7\n20|5\n30|31");
    assert_eq!(tag(&s, "DELETE FROM t WHERE id IN (SELECT id FROM u)").await, "DELETE 1");
    assert_eq!(tag(&s, "DELETE FROM t WHERE x = (SELECT MAX(x) FROM t)").await, "DELETE 1");
    assert_eq!(tag(&s, "DELETE FROM t WHERE false").await, "DELETE 0");
    assert_eq!(tag(&s, "DELETE FROM t").await, "DELETE 1");
    fails(&s, "UPDATE t SET x = nope", &["nope", "line 1, column 18"]).await;
}

#[tokio::test]
async fn a_change_that_fails_changes_nothing() {
    let s = session().await;
    run(&s, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    fails(&s, "INSERT INTO t VALUES (2), (3), (1)", &["duplicate"]).await;
    fails(&s, "INSERT INTO t SELECT 10 / (id - 1) FROM t", &["ivide by zero"]).await;
    assert_eq!(rows(&s, "SELECT * FROM t").await, "1");
}

#[tokio::test]
async fn defaults_fill_what_an_insert_leaves_out() {
    let s = session().await;
    run(&s, "CREATE TABLE t (a INT DEFAULT 1 + 1, b TEXT DEFAULT 'x' NOT NULL, c DOUBLE)").await;
    run(
        &s,
        "INSERT INTO t (c) VALUES (0.5); INSERT INTO t VALUES (DEFAULT, 'y', NULL), (DEFAULT, 'z', 1); INSERT INTO t (b, a) SELECT 'w', 9",
    )
    .await;
    assert_eq!(rows(&s, "SELECT * FROM t").await, "2|x|0.5\n2|y|NULL\n2|z|1.0\n9|w|NULL");
}

#[tokio::test]
async fn tables_are_made_from_queries_and_replaced_and_dropped() {
    let s = session().await;
    assert_eq!(tag(&s, "CREATE TABLE t AS SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'").await, "SELECT 2");
    fails(&s, "CREATE TABLE t (a INT)", &["a table 't' exists already", "line 1, column 14"]).await;
    assert_eq!(tag(&s, "CREATE TABLE IF NOT EXISTS t (a INT)").await, "CREATE TABLE");
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM t").await, "2");
    run(&s, "CREATE OR REPLACE TABLE t AS SELECT a + 1 AS a FROM t").await;
    assert_eq!(rows(&s, "SELECT * FROM t ORDER BY a").await, "2\n3");
    run(&s, "DROP TABLE t; DROP TABLE IF EXISTS t").await;
    fails(&s, "DROP TABLE t", &["table 't' not found"]).await;
    fails(&s, "CREATE TABLE d AS SELECT 1 AS a, 2 AS a", &["a"]).await;
}

#[tokio::test]
async fn views_read_the_newest_rows_and_never_themselves() {
    let s = session().await;
    run(&s, "CREATE TABLE t (a INT); CREATE VIEW v AS SELECT a + 1 AS b FROM t; CREATE VIEW w (c) AS SELECT b * 2 FROM v; INSERT INTO t VALUES (1)").await;
    assert_eq!(rows(&s, "SELECT c FROM w").await, "4");
    fails(&s, "CREATE OR REPLACE VIEW v AS SELECT c AS b FROM w", &["'v' not found"]).await;
    fails(&s, "CREATE VIEW v AS SELECT 1", &["a view 'v' exists already"]).await;
    fails(&s, "CREATE VIEW bad AS SELECT nope FROM t", &["nope", "line 1, column 27"]).await;
    fails(&s, "INSERT INTO v VALUES (1)", &["'v' is a view"]).await;
    run(&s, "CREATE OR REPLACE VIEW v AS SELECT a + 10 AS b FROM t").await;
    assert_eq!(rows(&s, "SELECT c FROM w").await, "22");
    run(&s, "DROP VIEW w; DROP VIEW v").await;
    fails(&s, "SELECT * FROM v", &["table 'v' not found"]).await;
}

#[tokio::test]
async fn files_go_out_and_come_back() {
    let s = session().await;
    let folder = tempfile::tempdir().unwrap();
    run(&s, "CREATE TABLE t (id INT PRIMARY KEY, name TEXT, v REAL[2] DEFAULT [0, 0], d DATE)").await;
    run(&s, "INSERT INTO t VALUES (1, 'a,b', [1, 2.5], '2024-02-03'), (2, NULL, [3, 4], NULL)").await;
    for (ending, columns) in [("parquet", "id, name, v, d"), ("json", "id, name, v, d"), ("csv", "id, name, v, d")] {
        let path = folder.path().join(format!("t.{ending}"));
        assert_eq!(tag(&s, &format!("COPY (SELECT {columns} FROM t ORDER BY id) TO '{}'", path.display())).await, "COPY 2");
        run(&s, "CREATE OR REPLACE TABLE back (id INT PRIMARY KEY, name TEXT, v REAL[2] DEFAULT [0, 0], d DATE)").await;
        assert_eq!(tag(&s, &format!("COPY back FROM '{}'", path.display())).await, "COPY 2");
        let same = format!("SELECT {columns} FROM");
        assert_eq!(rows(&s, &format!("{same} t ORDER BY id")).await, rows(&s, &format!("{same} back ORDER BY id")).await, "{ending}");
    }
    let path = folder.path().join("o.txt");
    run(&s, &format!("COPY t TO '{}' (FORMAT json)", path.display())).await;
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("{\"id\":1"));
}

#[tokio::test]
async fn csv_mistakes_have_a_file_a_line_and_a_column() {
    let s = session().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let copy = format!("COPY t FROM '{}'", path.display());
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    run(&s, "CREATE TABLE t (name TEXT, age INT, v REAL[2])").await;
    write("name,age\n\"two\nlines\",1\nb,old\n");
    fails(&s, &copy, &["'old' is not INT", "x.csv, line 4, column age"]).await;
    write("name,age\na,1\nb\n");
    fails(&s, &copy, &["wrong number of fields", "x.csv, line 3"]).await;
    write("name,agee\na,1\n");
    fails(&s, &copy, &["column 'agee' is not a column of the table", "did you mean 'age'?", "line 1"]).await;
    write("name,v\na,\"[1, x]\"\n");
    fails(&s, &copy, &["'[1, x]' is not REAL[2]", "line 2, column v"]).await;
    write("a;1\nb;\n");
    assert_eq!(tag(&s, &format!("COPY t (name, age) FROM '{}' (HEADER false, DELIMITER ';')", path.display())).await, "COPY 2");
    write("name,v\nc,\"[1, 2.5]\"\nd,\n");
    run(&s, &copy).await;
    assert_eq!(rows(&s, "SELECT * FROM t ORDER BY name").await, "a|1|NULL\nb|NULL|NULL\nc|NULL|[1.0, 2.5]\nd|NULL|NULL");
    fails(&s, "COPY t FROM 'no/such/file.csv'", &["cannot be read", "file no/such/file.csv"]).await;
    fails(&s, "COPY t FROM 'file'", &["format of the file is not known"]).await;
    std::fs::write(folder.path().join("x.json"), "{\"name\": \"a\"}\n{\"name\": \"b\", \"age\": \"old\"}\n").unwrap();
    fails(&s, &format!("COPY t FROM '{}'", folder.path().join("x.json").display()), &["x.json, line 2"]).await;
}

#[tokio::test]
async fn copy_keeps_the_constraints() {
    let s = session().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    run(&s, "CREATE TABLE t (id INT PRIMARY KEY, x INT CHECK (x > 0))").await;
    std::fs::write(&path, "id,x\n1,1\n1,2\n").unwrap();
    fails(&s, &format!("COPY t FROM '{}'", path.display()), &["duplicate primary key (id) = (1)", "x.csv"]).await;
    std::fs::write(&path, "id,x\n1,0\n").unwrap();
    fails(&s, &format!("COPY t FROM '{}'", path.display()), &["CHECK (x > 0) fails"]).await;
}

#[tokio::test]
async fn a_folder_keeps_its_tables_and_a_reader_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = Some(folder.path().join("db"));
    {
        let s = Session::open(Options { path: path.clone(), read_only: false, ..Default::default() }).await.unwrap();
        run(&s, "CREATE TABLE t (w DOUBLE LEARNABLE DEFAULT 1 CHECK (w >= 0), v REAL[2] DEFAULT [1, 2]); INSERT INTO t DEFAULT VALUES; CREATE VIEW q AS SELECT w FROM t").await;
    }
    let s = Session::open(Options { path, read_only: true, ..Default::default() }).await.unwrap();
    assert_eq!(rows(&s, "SELECT w, v FROM t").await, "1.0|[1.0, 2.0]");
    assert_eq!(rows(&s, "SELECT * FROM q").await, "1.0");
    assert_eq!(rows(&s, "SELECT bound FROM nabla.learnable_columns").await, ">= 0");
    for sql in [
        "INSERT INTO t DEFAULT VALUES",
        "UPDATE t SET w = 2",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u (a INT)",
        "DROP VIEW q",
        "ALTER TABLE t ADD COLUMN x INT",
    ] {
        fails(&s, sql, &["open for reading only"]).await;
    }
    fails(&s, "INSERT INTO nabla.runs DEFAULT VALUES", &["reading only"]).await;
}

#[tokio::test]
async fn the_engines_tables_are_only_read() {
    let s = session().await;
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM nabla.runs").await, "0");
    assert_eq!(rows(&s, "SELECT COUNT(*) FROM nabla.steps").await, "0");
    fails(&s, "DELETE FROM nabla.runs", &["kept by the engine"]).await;
    fails(&s, "CREATE TABLE nabla.x (a INT)", &["cannot be created in schema 'nabla'"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_serves_several_tasks_and_loses_no_row() {
    let s = std::sync::Arc::new(session().await);
    run(&s, "CREATE TABLE t (i INT PRIMARY KEY)").await;
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let s = s.clone();
            tokio::spawn(async move { run(&s, &format!("INSERT INTO t VALUES ({i}); UPDATE t SET i = i + 10 WHERE i = {i}")).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(rows(&s, "SELECT COUNT(*), MIN(i), MAX(i) FROM t").await, "8|10|17");
}

/// Tokio makes a task that has done much wait for its next turn, and the DuckLake reader holds the thread that would give it.
#[test]
fn a_task_that_plans_many_scans_without_a_pause_does_not_wait_for_itself() {
    let (done, all_planned) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let s = session().await;
            run(&s, "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)").await;
            let (context, _) = s.context().await.unwrap();
            let plan = context.sql("SELECT a FROM t").await.unwrap().into_optimized_plan().unwrap();
            for _ in 0..500 {
                context.state().create_physical_plan(&plan).await.unwrap();
            }
        });
        done.send(()).unwrap();
    });
    all_planned.recv_timeout(std::time::Duration::from_secs(120)).expect("the plans are made");
}
