//! The same library for programs that do not use `async`: every call waits. A database brings the threads that it needs.
//!
//! ```
//! use nabladb::{blocking::Database, values};
//! let session = Database::in_memory()?.session()?;
//! session.run("CREATE TABLE items (id BIGINT, price DOUBLE)")?;
//! session.run_with("INSERT INTO items VALUES (?, ?)", &values![1, 2.5])?;
//! session.run("CREATE TABLE m (cutoff DOUBLE LEARNABLE DEFAULT 1)")?;
//! session.run("INSERT INTO m DEFAULT VALUES")?;
//! for step in session.train("TRAIN MINIMIZE (SELECT SUM(power(price - cutoff, 2)) FROM items, m) FOR 3 STEPS", &[])? {
//!     println!("{}", step?.objective);
//! }
//! for batch in session.run("SELECT * FROM items")? {
//!     assert_eq!(batch?.num_rows(), 1);
//! }
//! # nabladb::Result::<()>::Ok(())
//! ```
//!
//! Within `async` code, use the crate's own [`Database`](crate::Database): waiting there panics, as tokio does.

use crate::error::{Error, Result};
use crate::session::{self, DifferentiableFunction, Options, Parameter, Step, TrainHandle, Trained, Value};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// The memory of a thread's stack, for deeply nested queries; it is only taken when it is used.
const STACK: usize = 64 << 20;

/// An open database with its threads. Clones are the same one.
#[derive(Clone)]
pub struct Database {
    inner: session::Database,
    runtime: Arc<Runtime>,
}

impl Database {
    /// Opens a database folder, which is made when it is missing.
    ///
    /// # Errors
    /// As [`session::Database::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(Options { path: Some(path.as_ref().to_path_buf()), ..Options::default() })
    }

    /// A database in a temporary folder, which goes with it.
    ///
    /// # Errors
    /// There is no temporary folder.
    pub fn in_memory() -> Result<Self> {
        Self::open_with(Options::default())
    }

    /// Opens a database as the options tell.
    ///
    /// # Errors
    /// As [`session::Database::open_with`].
    pub fn open_with(options: Options) -> Result<Self> {
        let failed = |e| Error::new(format!("threads cannot be started: {e}"));
        let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build().map_err(failed)?;
        Ok(Self { inner: runtime.block_on(session::Database::open_with(options))?, runtime: Arc::new(runtime) })
    }

    /// Gives all sessions of this database a function, from their next statement on.
    ///
    /// # Errors
    /// As [`session::Database::register_function`].
    pub fn register_function(&self, function: impl DifferentiableFunction + 'static) -> Result<()> {
        self.inner.register_function(function)
    }

    /// A new session.
    ///
    /// # Errors
    /// As [`session::Database::session`].
    pub fn session(&self) -> Result<Session> {
        Ok(Session { inner: self.inner.session()?, runtime: self.runtime.clone() })
    }
}

/// One user of a database; see [`session::Session`].
pub struct Session {
    inner: session::Session,
    runtime: Arc<Runtime>,
}

impl Session {
    /// Runs exactly one sentence.
    ///
    /// # Errors
    /// The sentence is refused, or fails.
    pub fn run(&self, sql: &str) -> Result<Outcome> {
        self.run_with(sql, &[])
    }

    /// Runs exactly one sentence with values for its parameters.
    ///
    /// # Errors
    /// As [`session::Session::run_with`].
    pub fn run_with(&self, sql: &str, values: &[Value]) -> Result<Outcome> {
        Ok(Outcome { inner: self.runtime.block_on(self.inner.run_with(sql, values))?, runtime: self.runtime.clone() })
    }

    /// Begins a TRAIN.
    ///
    /// # Errors
    /// As [`session::Session::train`].
    pub fn train(&self, sql: &str, values: &[Value]) -> Result<Training> {
        Ok(Training { inner: self.runtime.block_on(self.inner.train(sql, values))?, runtime: self.runtime.clone() })
    }

    /// Appends batches to a table, as one commit, and returns how many rows they had.
    ///
    /// # Errors
    /// As [`session::Session::append`].
    pub fn append(&self, table: &str, batches: Vec<RecordBatch>) -> Result<u64> {
        self.runtime.block_on(self.inner.append(table, batches))
    }

    /// The values of a learnable column, `table.column`.
    ///
    /// # Errors
    /// As [`session::Session::parameter`].
    pub fn parameter(&self, name: &str) -> Result<Parameter> {
        self.runtime.block_on(self.inner.parameter(name))
    }
}

/// What a sentence gave: an iterator over its batches of rows.
pub struct Outcome {
    inner: session::Outcome,
    runtime: Arc<Runtime>,
}

impl Outcome {
    /// The columns of the result; `None` for a statement that has none.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.inner.schema()
    }

    /// What a statement without a result says that it did, such as `INSERT 0 3`.
    pub fn tag(&self) -> Option<&str> {
        if let session::Outcome::Done(tag) = &self.inner { Some(tag) } else { None }
    }

    /// All rows at once.
    ///
    /// # Errors
    /// What failed while the rows were computed.
    pub fn collect_all(self) -> Result<Vec<RecordBatch>> {
        self.runtime.block_on(self.inner.collect())
    }

    /// The one value of a result of one row and one column.
    ///
    /// # Errors
    /// As [`session::Outcome::value`].
    pub fn value(self) -> Result<Value> {
        self.runtime.block_on(self.inner.value())
    }
}

impl Iterator for Outcome {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.runtime.block_on(self.inner.next())
    }
}

/// A run: an iterator over its steps; see [`session::Training`].
#[must_use = "a run that is dropped is cancelled"]
pub struct Training {
    inner: session::Training,
    runtime: Arc<Runtime>,
}

impl Training {
    /// What cancels the run, from another thread.
    pub fn handle(&self) -> TrainHandle {
        self.inner.handle()
    }

    /// Takes all steps that are left, and tells how the run ended.
    ///
    /// # Errors
    /// As [`session::Training::finish`].
    pub fn finish(self) -> Result<Trained> {
        self.runtime.block_on(self.inner.finish())
    }
}

impl Iterator for Training {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Result<Step>> {
        self.runtime.block_on(self.inner.next())
    }
}
