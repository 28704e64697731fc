//! A search service that learns from what its users choose. Serving and learning are two sessions of one database, and both run the same
//! query: requests are answered while a run goes on, and by the new weights as soon as it has committed.
//!
//! ```sh
//! cargo run --release --example search
//! ```

use futures::StreamExt;
use nabladb::{Database, Result, Session, values};

const TABLES: [&str; 5] = [
    "CREATE TABLE docs AS SELECT value AS id, sin(value * 0.7) AS bm25, cos(value * 1.3) AS age FROM generate_series(1, 500)",
    // What was chosen: of each two documents that a user saw, the better one.
    "CREATE TABLE chosen AS SELECT a.id AS better, b.id AS worse FROM docs a JOIN docs b ON b.id = (a.id * 7) % 500 + 1
     WHERE a.bm25 - 0.5 * a.age > b.bm25 - 0.5 * b.age",
    "CREATE TABLE ranker (w_text DOUBLE LEARNABLE DEFAULT 0.1 CHECK (w_text >= 0), w_age DOUBLE LEARNABLE DEFAULT 0)",
    "INSERT INTO ranker DEFAULT VALUES",
    "CREATE VIEW scored AS SELECT d.id, d.age, r.w_text * d.bm25 - r.w_age * d.age AS score FROM docs d, ranker r",
];

const LEARN: &str = "TRAIN ranker MINIMIZE (
    SELECT AVG(softplus(b.score - a.score)) FROM chosen c JOIN scored a ON a.id = c.better JOIN scored b ON b.id = c.worse)
  USING adam (learning_rate => ?) FOR ? STEPS";

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::in_memory().await?;
    let (serving, learning) = (database.session()?, database.session()?);
    for table in TABLES {
        learning.run(table).await?;
    }
    println!("before: {}", answer(&serving, 0.5).await?);
    let mut training = learning.train(LEARN, &values![0.05, 300]).await?;
    while let Some(step) = training.next().await {
        let step = step?;
        if step.step.is_multiple_of(100) {
            println!("step {}: {:.4}; served meanwhile: {}", step.step, step.objective, answer(&serving, 0.5).await?);
        }
    }
    let trained = training.finish().await?;
    println!("exact loss {:?}, relaxation gap {:?}", trained.exact_objective, trained.relaxation_gap());
    println!("after: {}", answer(&serving, 0.5).await?);
    Ok(())
}

/// The best three documents that are not too old.
async fn answer(session: &Session, oldest: f64) -> Result<String> {
    let best = "SELECT array_agg(id) FROM (SELECT id FROM scored WHERE age < ? ORDER BY score DESC, id LIMIT 3)";
    Ok(session.run_with(best, &values![oldest]).await?.value().await?.to_string())
}
