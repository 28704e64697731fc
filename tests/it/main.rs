//! All tests from outside of the library, in one binary.

mod aggregates;
mod api;
#[path = "../architecture.rs"]
mod architecture;
mod command;
mod constraints;
mod crash;
mod database;
mod duckdb;
mod explain;
mod flight;
mod functions;
mod images;
mod joins;
mod language;
mod laws;
mod memory;
mod nested;
mod order;
mod pairs;
mod postgres;
mod programs;
mod python;
mod readme;
mod recursion;
mod relaxed;
mod server;
mod shell;
mod straight_through;
mod subqueries;
mod training;
mod transactions;
mod validation;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use nabladb::session::Options;
use nabladb::{Outcome, Session};

/// A session over a database of its own.
pub async fn session() -> Session {
    Session::open(Options::default()).await.expect("a database in memory opens")
}

/// Runs statements, all of which must succeed.
pub async fn run(session: &Session, sql: &str) {
    for statement in nabladb::session::statements(sql) {
        let statement = statement.unwrap_or_else(|e| panic!("{e}"));
        let outcome = session.execute(&statement).await.unwrap_or_else(|e| panic!("{}\n{e}", statement.text));
        outcome.collect().await.unwrap_or_else(|e| panic!("{}\n{e}", statement.text));
    }
}

/// The rows of a query as text: fields apart by `|`, rows by line breaks.
pub async fn rows(session: &Session, sql: &str) -> String {
    let outcome = session.run(sql).await.unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let batches = outcome.collect().await.unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        lines.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|")));
    }
    lines.join("\n")
}

/// The tag of a statement that changes something.
pub async fn tag(session: &Session, sql: &str) -> String {
    match session.run(sql).await.unwrap_or_else(|e| panic!("{sql}\n{e}")) {
        Outcome::Done(tag) => tag,
        Outcome::Rows(_) => panic!("{sql} gave rows"),
    }
}

/// The message of a statement that must fail, while running at the latest.
pub async fn failure(session: &Session, sql: &str) -> String {
    let result = match session.run(sql).await {
        Ok(outcome) => outcome.collect().await.map(|_| ()),
        Err(error) => Err(error),
    };
    result.expect_err(&format!("must fail: {sql}")).to_string()
}

/// A statement fails, and its message has all of these pieces.
pub async fn fails(session: &Session, sql: &str, pieces: &[&str]) {
    let message = failure(session, sql).await;
    for piece in pieces {
        assert!(message.contains(piece), "{sql}\ngave: {message}\nwithout: {piece}");
    }
}
