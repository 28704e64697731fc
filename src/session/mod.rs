//! The waist: one SQL sentence in, one `Outcome` out. It owns the order of the layers.

mod alter;
mod answer;
mod arg_max;
mod catalog;
mod change;
mod constant;
mod copy_from;
mod create;
mod dependent;
mod difference;
mod drop;
mod equal_keys;
mod explain;
mod gradient;
mod in_lists;
mod insert;
mod kept;
mod learn;
mod log;
mod objective;
mod outcome;
mod perturbed;
mod profile;
mod query;
mod relaxed;
mod settings;
mod train;
mod unnest;
mod view;

pub use crate::grammar::{Statement, is_complete, statements};
pub use outcome::Outcome;
pub use relaxed::RelaxedQuery;

use crate::error::{Error, Result};
use crate::grammar::Kind;
use crate::storage::{Access, Change, CommitMessage, Database, Snapshot};
use catalog::Temporary;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{ObjectType, Statement as SqlStatement};
use futures::FutureExt;
use futures::future::BoxFuture;
use query::Prepared;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Which database, and whether it may be changed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The database's folder, made when missing; without one the database is temporary.
    pub path: Option<PathBuf>,
    pub read_only: bool,
    /// Bytes that sorts, joins and groups and the columns of a TRAIN may take; what is more goes to temporary files.
    pub memory_limit: Option<usize>,
}

/// A database and the settings of one user of it.
pub struct Session {
    pub(crate) database: Arc<Database>,
    /// Functions and SET variables; every statement's context begins as a copy of it.
    settings: SessionContext,
    /// External tables, which end with the session.
    temporary: Arc<Temporary>,
    prepared: Prepared,
    /// The context of the newest snapshot that a statement has read, until the settings change.
    latest: std::sync::Mutex<Option<(i64, SessionContext)>>,
    /// Held by a statement that changes the database, from its snapshot to its commit.
    writing: Arc<Mutex<()>>,
    /// The number of this session's last run.
    runs: Mutex<i64>,
}

// The futures of the waist are boxed, so that the library compiles them once and not each program that calls it.
impl Session {
    pub fn open(options: Options) -> BoxFuture<'static, Result<Self>> {
        Self::opened(options).boxed()
    }

    async fn opened(options: Options) -> Result<Self> {
        let access = if options.read_only { Access::ReadOnly } else { Access::ReadWrite };
        let database = match &options.path {
            Some(path) => Database::open(path, access).await?,
            None if options.read_only => return Err(Error::new("a database in memory cannot be read-only").hint("name a database folder")),
            None => Database::temporary().await?,
        };
        Ok(Self {
            database: Arc::new(database),
            settings: query::settings(options.memory_limit)?,
            temporary: Arc::default(),
            prepared: Prepared::default(),
            latest: std::sync::Mutex::default(),
            writing: Arc::default(),
            runs: Mutex::default(),
        })
    }

    /// Runs exactly one sentence.
    pub async fn run(&self, sql: &str) -> Result<Outcome> {
        let mut sentences = statements(sql);
        let first = sentences.next().ok_or_else(|| Error::new("there is no statement").hint("write one, such as SELECT 1"))??;
        if sentences.next().is_some() {
            return Err(Error::new("there is more than one statement").hint("run them one at a time"));
        }
        drop(sentences);
        self.execute(&first).await
    }

    /// Runs one sentence. It reads one snapshot, and what it changes is committed all at once or not at all.
    pub fn execute<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Outcome>> {
        self.executed(statement).boxed()
    }

    async fn executed(&self, statement: &Statement) -> Result<Outcome> {
        match &statement.kind {
            Kind::Plain(plain) => self.plain(plain, &statement.text).await,
            Kind::CreateTable(table) => create::create_table(self, table, &statement.text).await,
            Kind::AlterTable(change) => alter::alter_table(self, change, &statement.text).await,
            Kind::Train(train) => train::train(self, train, &statement.text).await,
            Kind::Relax(query) => answer::relax(self, query).await,
            Kind::Gradient(query) => gradient::gradient(self, query).await,
            Kind::Explain(kind) => explain::explain(self, kind).await,
            Kind::Analyze(train) => profile::analyze(self, train).await,
        }
    }

    /// A context whose tables are those of the newest snapshot, and that snapshot.
    pub fn context(&self) -> BoxFuture<'_, Result<(SessionContext, Snapshot)>> {
        async {
            let snapshot = self.database.snapshot().await?;
            let known = self.latest().as_ref().filter(|(version, _)| *version == snapshot.version()).map(|(_, context)| context.clone());
            let context = match known {
                Some(context) => context,
                None => {
                    let context = self.context_of(&snapshot)?;
                    *self.latest() = Some((snapshot.version(), context.clone()));
                    context
                }
            };
            Ok((context, snapshot))
        }
        .boxed()
    }

    /// A context that no other statement has.
    fn context_of(&self, snapshot: &Snapshot) -> Result<SessionContext> {
        catalog::context(&self.settings, snapshot, &self.temporary, None)
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Option<(i64, SessionContext)>> {
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

    /// Commits the changes of one sentence.
    async fn commit(&self, changes: Vec<Change>, text: &str) -> Result<i64> {
        self.writable()?;
        let message = CommitMessage { author: "nabla".into(), message: text.chars().take(200).collect(), extra_info: None };
        self.database.commit(changes, message).await
    }

    fn writable(&self) -> Result<()> {
        match self.database.access() {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::new("the database is open for reading only").hint("open it without --read-only")),
        }
    }
}

/// The functions that every query has beyond DataFusion's own.
fn functions(context: &SessionContext) {
    crate::split::functions::register(context);
}
