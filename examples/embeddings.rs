//! Embeddings that are learned where they are served: a factorization of ratings, its vectors as an `ndarray`, and nearest neighbours in SQL.
//!
//! ```sh
//! cargo run --release --example embeddings
//! ```

use nabladb::blocking::Database;
use nabladb::{Result, values};

const TABLES: [&str; 5] = [
    "CREATE TABLE users (id BIGINT PRIMARY KEY, emb REAL[8] LEARNABLE DEFAULT init_normal(0, 0.1))",
    "CREATE TABLE items (id BIGINT PRIMARY KEY, emb REAL[8] LEARNABLE DEFAULT init_normal(0, 0.1))",
    "INSERT INTO users (id) SELECT value FROM generate_series(1, 200)",
    "INSERT INTO items (id) SELECT value FROM generate_series(1, 100)",
    // Users of three kinds like the items of theirs.
    "CREATE TABLE ratings AS SELECT u.value AS user_id, i.value AS item_id, CASE WHEN u.value % 3 = i.value % 3 THEN 1.0 ELSE -1.0 END AS stars
     FROM generate_series(1, 200) u, generate_series(1, 100) i WHERE (u.value * 31 + i.value * 17) % 10 < 3",
];

fn main() -> Result<()> {
    let session = Database::in_memory()?.session()?;
    for table in TABLES {
        session.run(table)?;
    }
    let learn = "TRAIN MINIMIZE (SELECT AVG(power(inner_product(u.emb, i.emb) - r.stars, 2))
        FROM ratings r JOIN users u ON u.id = r.user_id JOIN items i ON i.id = r.item_id) USING adam (learning_rate => 0.05) FOR 60 STEPS";
    for step in session.train(learn, &[])? {
        let step = step?;
        if step.step % 20 == 0 {
            println!("step {:>3}: {:.4}", step.step, step.objective);
        }
    }
    let users = session.parameter("users.emb")?;
    let embeddings = users.f32().expect("they are REAL");
    println!("{:?} numbers, the first user's: {:.2}", users.shape(), embeddings.index_axis(ndarray::Axis(0), 0));
    // A vector of our own, as a parameter.
    let taste: Vec<f32> = embeddings.index_axis(ndarray::Axis(0), 0).iter().copied().collect();
    let nearest = "SELECT array_agg(id % 3) FROM (SELECT id FROM users ORDER BY emb <=> ? LIMIT 10)";
    println!("the kinds of the users of nearest taste: {}", session.run_with(nearest, &values![taste])?.value()?);
    Ok(())
}
