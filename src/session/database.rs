//! A database, which sessions are opened of.

use super::Session;
use super::functions::Functions;
use super::query::{self, Prepared};
use crate::error::{Error, Result};
use crate::scalar::{DifferentiableFunction, Function};
use crate::storage::{self, Access};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Which database, and whether it may be changed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The database's folder, made when missing; without one the database is temporary.
    pub path: Option<PathBuf>,
    /// Refuses every change, takes no lock, and follows what another process commits.
    pub read_only: bool,
    /// Bytes that sorts, joins and groups and the columns of a TRAIN may take in each session; what is more goes to temporary files.
    pub memory_limit: Option<usize>,
    /// Refuses statements that read or write files of the machine, and that lift the memory limit: for a server's clients.
    pub refuse_files: bool,
}

/// An open database. Clones are the same database; the folder is closed with the last of them and of their sessions.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use nabladb::Database;
/// let database = Database::in_memory().await?;
/// let (writer, reader) = (database.session()?, database.session()?);
/// writer.run("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)").await?;
/// writer.run("INSERT INTO m DEFAULT VALUES").await?;
/// assert_eq!(reader.run("SELECT a FROM m").await?.value().await?, 3.0.into());
/// # nabladb::Result::<()>::Ok(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Database {
    pub(super) storage: Arc<storage::Database>,
    /// Held by a statement that changes the database, from its snapshot to its commit.
    pub(super) writing: Arc<Mutex<()>>,
    /// The number of the last run that began here.
    pub(super) runs: Arc<Mutex<i64>>,
    /// What the application has given.
    pub(super) functions: Functions,
    memory_limit: Option<usize>,
    pub(super) files: bool,
}

impl Database {
    /// Opens a database folder, which is made when it is missing.
    ///
    /// # Errors
    /// The folder is none of a database, or another process has opened it for writing.
    pub fn open(path: impl AsRef<Path>) -> BoxFuture<'static, Result<Self>> {
        Self::open_with(Options { path: Some(path.as_ref().to_path_buf()), ..Options::default() })
    }

    /// A database in a temporary folder, which goes with it.
    pub fn in_memory() -> BoxFuture<'static, Result<Self>> {
        Self::open_with(Options::default())
    }

    /// Opens a database as the options tell.
    ///
    /// # Errors
    /// As [`Database::open`]; and a database that is to be read only has to be there.
    pub fn open_with(options: Options) -> BoxFuture<'static, Result<Self>> {
        async move {
            let access = if options.read_only { Access::ReadOnly } else { Access::ReadWrite };
            let storage = match &options.path {
                Some(path) => storage::Database::open(path, access).await?,
                None if options.read_only => {
                    return Err(Error::new("a database in memory cannot be read-only").hint("name a database folder"));
                }
                None => storage::Database::temporary().await?,
            };
            let storage = Arc::new(storage);
            let (writing, runs, functions) = (Arc::default(), Arc::default(), Functions::default());
            Ok(Self { storage, writing, runs, functions, memory_limit: options.memory_limit, files: !options.refuse_files })
        }
        .boxed()
    }

    /// A new session. Sessions run side by side, each statement over the newest commit; statements that change the database wait for each other.
    pub fn session(&self) -> Result<Session> {
        Ok(Session {
            database: self.clone(),
            settings: query::settings(self.memory_limit)?,
            temporary: Arc::default(),
            prepared: Arc::new(Prepared::default()),
            latest: Arc::default(),
            transaction: Arc::default(),
            of_statement: None,
        })
    }

    /// Waits until a commit that is under way is done.
    pub async fn finish(&self) {
        drop(self.writing.lock().await);
    }

    /// Gives all sessions of this database a function, from their next statement on. The database does not keep it: an application gives
    /// its functions again whenever it opens the database.
    ///
    /// # Errors
    /// A function of this name exists already; the name is no name of a function in SQL; there are no arguments; a vector has no elements.
    pub fn register_function(&self, function: impl DifferentiableFunction + 'static) -> Result<()> {
        self.functions.add(Function::new(function)?, &query::settings(self.memory_limit)?)
    }

    /// The database as it was at a version, such as that of a run: later commits are not in it, and it is only read.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let database = nabladb::Database::in_memory().await?;
    /// let session = database.session()?;
    /// session.run("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)").await?;
    /// session.run("INSERT INTO m DEFAULT VALUES").await?;
    /// let trained = session.train("TRAIN MINIMIZE (SELECT SUM(a * a) FROM m) FOR 5 STEPS", &[]).await?.finish().await?;
    /// let before = database.at(trained.version - 1).await?.session()?;
    /// assert_eq!(before.run("SELECT a FROM m").await?.value().await?, 3.0.into());
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There is no such version.
    pub fn at(&self, version: i64) -> BoxFuture<'static, Result<Self>> {
        let (present, now) = (self.storage.clone(), self.clone());
        async move {
            let storage = Arc::new(present.at(version).await?);
            Ok(Self { storage, writing: Arc::default(), runs: Arc::default(), ..now })
        }
        .boxed()
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        self.storage.folder()
    }
}
