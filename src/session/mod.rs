//! The waist: one SQL sentence in, one `Outcome` out. It owns the order of the layers.

mod alter;
mod answer;
mod append;
mod arg_max;
mod catalog;
mod change;
mod constant;
mod copy_from;
mod create;
mod database;
mod dependent;
mod describe;
mod difference;
mod drop;
mod equal_keys;
mod explain;
mod functions;
mod gradient;
mod in_lists;
mod insert;
mod kept;
mod learn;
mod log;
mod objective;
mod outcome;
mod parameter;
mod perturbed;
mod profile;
mod query;
mod relaxed;
mod settings;
mod train;
mod training;
mod transaction;
mod unnest;
mod validation;
mod value;
mod view;

pub use crate::grammar::{Length, Piece, Statement, WORDS, is_complete, nearest, pieces, statements};
pub use crate::scalar::{Arguments, Cotangents, DifferentiableFunction, FunctionType};
pub use database::{Database, Options};
pub use describe::{Description, Table};
pub use explain::{Tells, tells};
pub use outcome::Outcome;
pub use parameter::Parameter;
pub use relaxed::RelaxedQuery;
pub use settings::{length, option_names};
pub(crate) use training::steps_of;
pub use training::{Step, TrainHandle, Trained, Training};
pub use transaction::Transaction;
pub use value::{ToValue, Value};

use crate::error::{Error, Result};
use crate::grammar::{self, Bound, Kind};
pub use crate::storage::Snapshot;
use crate::storage::{Access, Change, CommitMessage};
use catalog::Temporary;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{ObjectType, Statement as SqlStatement};
use futures::FutureExt;
use futures::future::BoxFuture;
use query::Prepared;
use std::sync::Arc;

/// What a context is of: a snapshot, and how many functions the application has given.
type Newest = (Snapshot, usize);

/// One user of a database, with settings, prepared statements and external tables of its own.
pub struct Session {
    pub(crate) database: Database,
    /// Functions and SET variables; every statement's context begins as a copy of it.
    settings: SessionContext,
    /// External tables, which end with the session.
    temporary: Arc<Temporary>,
    prepared: Arc<Prepared>,
    /// The context of the newest snapshot that a statement has read, until the settings change or functions come.
    latest: Arc<std::sync::Mutex<Option<(Newest, SessionContext)>>>,
    transaction: Arc<std::sync::Mutex<Option<Arc<transaction::Open>>>>,
    /// What a statement reads and changes, from its beginning to its end.
    of_statement: Option<transaction::Work>,
}

// The futures of the waist are boxed, so that the library compiles them once and not each program that calls it.
impl Session {
    /// The first session of a database.
    pub fn open(options: Options) -> BoxFuture<'static, Result<Self>> {
        async move { Database::open_with(options).await?.session() }.boxed()
    }

    /// Another session of the same database.
    pub fn another(&self) -> Result<Self> {
        self.database.session()
    }

    /// Runs exactly one sentence. The rows of a query come as they are read; a TRAIN learns while they are, see [`Session::train`].
    pub async fn run(&self, sql: &str) -> Result<Outcome> {
        self.run_with(sql, &[]).await
    }

    /// Runs exactly one sentence with values for its parameters, `?` or `$1`, `$2`, ..., which may stand wherever a literal may.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use nabladb::{Database, values};
    /// let session = Database::in_memory().await?.session()?;
    /// session.run("CREATE TABLE items (id BIGINT, price DOUBLE)").await?;
    /// session.run_with("INSERT INTO items VALUES (?, ?), (?, ?)", &values![1, 2.5, 2, 4.0]).await?;
    /// let dear = session.run_with("SELECT COUNT(*) FROM items WHERE price > $1", &values![3.0]).await?;
    /// assert_eq!(dear.value().await?, 1i64.into());
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There are more parameters than values, or fewer.
    pub fn run_with<'a>(&'a self, sql: &'a str, values: &'a [Value]) -> BoxFuture<'a, Result<Outcome>> {
        async move {
            // A mistake fails a transaction as what goes wrong does.
            let (statement, bound) = bound(sql, values).inspect_err(|_| self.fail())?;
            self.execute(&statement).await.map_err(|e| bound.placed(e))
        }
        .boxed()
    }

    /// Runs one sentence. It reads one snapshot, and what it changes is committed all at once or not at all.
    pub fn execute<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Outcome>> {
        self.executed(statement).boxed()
    }

    async fn executed(&self, statement: &Statement) -> Result<Outcome> {
        if let Kind::Plain(plain) = &statement.kind
            && let PlainStatement::Statement(sql) = plain.as_ref()
            && let Some(outcome) = transaction::control(self, sql).await
        {
            return outcome;
        }
        let session = self.for_a_statement();
        transaction::within(session.work(), session.sentence(statement)).await
    }

    async fn sentence(&self, statement: &Statement) -> Result<Outcome> {
        match &statement.kind {
            Kind::Plain(plain) => self.plain(plain, &statement.text).await,
            Kind::CreateTable(table) => create::create_table(self, table, &statement.text).await,
            Kind::AlterTable(change) => alter::alter_table(self, change, &statement.text).await,
            Kind::Train(train) => train::train(self, train, &statement.text, Arc::default()).await,
            Kind::Relax(query) => answer::relax(self, query).await,
            Kind::Gradient(query) => gradient::gradient(self, query).await,
            Kind::Explain(kind) => explain::explain(self, kind).await,
            Kind::Analyze(train) => profile::analyze(self, train).await,
        }
    }

    /// A context whose tables are those of the newest snapshot, and that snapshot.
    pub fn context(&self) -> BoxFuture<'_, Result<(SessionContext, Snapshot)>> {
        async {
            let snapshot = self.snapshot().await?;
            let functions = self.database.functions.count();
            let is_newest = |(of, count): &Newest| of.is(&snapshot) && *count == functions;
            let known = self.latest().as_ref().filter(|(newest, _)| is_newest(newest)).map(|(_, context)| context.clone());
            let context = match known {
                Some(context) => context,
                None => {
                    let context = self.context_of(&snapshot)?;
                    *self.latest() = Some(((snapshot.clone(), functions), context.clone()));
                    context
                }
            };
            Ok((context, snapshot))
        }
        .boxed()
    }

    /// A context that no other statement has.
    pub(crate) fn context_of(&self, snapshot: &Snapshot) -> Result<SessionContext> {
        self.context_without(snapshot, None)
    }

    /// The same, where a view is as if it were not there.
    fn context_without(&self, snapshot: &Snapshot, hidden: Option<String>) -> Result<SessionContext> {
        self.database.functions.make_known(&self.settings);
        catalog::context(&self.settings, snapshot, &self.temporary, hidden, self.database.files)
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Option<(Newest, SessionContext)>> {
        self.latest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn plain(&self, statement: &PlainStatement, text: &str) -> Result<Outcome> {
        let PlainStatement::Statement(sql) = statement else {
            return match statement {
                PlainStatement::CreateExternalTable(_) => query::done(self, statement, "CREATE TABLE").await,
                PlainStatement::CopyTo(_) => query::copy_to(self, statement).await,
                PlainStatement::Reset(_) => query::setting(self, statement, "RESET").await,
                _ => query::rows(self, statement).await,
            };
        };
        match sql.as_ref() {
            SqlStatement::Insert(insert) => insert::insert(self, insert, text).await,
            SqlStatement::Update(update) => change::update(self, update, text).await,
            SqlStatement::Delete(delete) => change::delete(self, delete, text).await,
            SqlStatement::Truncate(truncate) => change::truncate(self, truncate, text).await,
            SqlStatement::Copy { to: false, source, target, options, .. } => {
                copy_from::copy_from(self, source, target, options, text).await
            }
            SqlStatement::CreateView(view) => view::create_view(self, view, text).await,
            SqlStatement::Drop { object_type: ObjectType::Table, names, if_exists, .. } => {
                drop::drop_tables(self, names, *if_exists, text).await
            }
            SqlStatement::Drop { object_type: ObjectType::View, names, if_exists, .. } => {
                drop::drop_views(self, names, *if_exists, text).await
            }
            SqlStatement::Set(_) => query::setting(self, statement, "SET").await,
            SqlStatement::Prepare { name, .. } => query::prepare(self, name, statement).await,
            SqlStatement::Execute { name: Some(name), .. } => query::execute(self, name, statement).await,
            SqlStatement::Deallocate { name, .. } => query::deallocate(self, name).await,
            _ => query::rows(self, statement).await,
        }
    }

    /// What the next statement reads.
    async fn snapshot(&self) -> Result<Snapshot> {
        self.work().snapshot().await
    }

    /// Held by a statement that changes the database, from its snapshot to its commit.
    async fn turn(&self) -> Result<transaction::Turn> {
        self.work().turn().await
    }

    /// Commits the changes of one sentence.
    async fn commit(&self, changes: Vec<Change>, text: &str) -> Result<i64> {
        self.writable()?;
        let message = CommitMessage { author: "nabla".into(), message: text.chars().take(200).collect(), extra_info: None };
        self.work().commit(changes, message).await
    }

    /// Whether statements may read and write files of the machine.
    fn files(&self) -> Result<()> {
        if self.database.files {
            return Ok(());
        }
        Err(Error::new("files are not read or written for clients here").hint("the server's --allow-files lets them"))
    }

    fn writable(&self) -> Result<()> {
        match self.database.storage.access() {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::new("the database is open for reading only").hint("open it without --read-only")),
        }
    }
}

/// The only sentence of a text, with values for its parameters.
fn bound(sql: &str, values: &[Value]) -> Result<(Statement, Bound)> {
    let literals = values.iter().map(value::literal).collect::<Result<Vec<_>>>()?;
    let bound = grammar::bind(sql, &literals)?;
    let mut sentences = statements(&bound.text);
    let first = sentences.next().ok_or_else(|| Error::new("there is no statement").hint("write one, such as SELECT 1"))?;
    if sentences.next().is_some() {
        return Err(Error::new("there is more than one statement").hint("run them one at a time"));
    }
    drop(sentences);
    Ok((first.map_err(|e| bound.placed(e))?, bound))
}

/// The functions that every query has beyond DataFusion's own.
fn functions(context: &SessionContext) {
    crate::split::functions::register(context);
}
