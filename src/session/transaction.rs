//! BEGIN, COMMIT, ROLLBACK: what statements read and where their changes go, the database or a transaction over it.

use super::{Database, Outcome, Session};
use crate::error::{Error, Result};
use crate::storage::{Change, CommitMessage, Snapshot};
use datafusion::sql::sqlparser::ast::{Statement as SqlStatement, TransactionAccessMode, TransactionMode};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// What a statement reads, and where its changes go.
#[derive(Clone)]
pub(super) enum Work {
    Database(Database),
    Transaction(Arc<Open>),
}

/// A writer's turn: while it is held, no other statement changes the same.
pub(super) struct Turn(#[expect(dead_code, reason = "it is released when it is dropped")] OwnedMutexGuard<()>);

impl Turn {
    async fn of(queue: &Arc<Queue<()>>) -> Self {
        Self(queue.clone().lock_owned().await)
    }
}

impl Work {
    pub async fn snapshot(&self) -> Result<Snapshot> {
        match self {
            Work::Database(database) => database.storage.snapshot().await,
            Work::Transaction(open) => Ok(open.state()?.now.clone()),
        }
    }

    pub async fn turn(&self) -> Result<Turn> {
        match self {
            Work::Database(database) => Ok(Turn::of(&database.writing).await),
            Work::Transaction(open) => open.turn().await,
        }
    }

    /// The version that what is committed next will be.
    pub async fn next_version(&self) -> Result<i64> {
        let begun = match self {
            Work::Database(database) => database.storage.snapshot().await?.version(),
            Work::Transaction(open) => open.state()?.begun.version(),
        };
        Ok(begun + 1)
    }

    /// The version that the changes are committed as, in a transaction the one that it will be.
    pub async fn commit(&self, changes: Vec<Change>, message: CommitMessage) -> Result<i64> {
        match self {
            Work::Database(database) => database.storage.commit(changes, message).await,
            Work::Transaction(open) => open.add(changes, message),
        }
    }
}

/// An open transaction. It reads the snapshot that it began with and its own changes, which stay in memory until they are committed.
pub(super) struct Open {
    database: Database,
    read_only: bool,
    /// Its statements change one after the other.
    writing: Arc<Queue<()>>,
    failed: AtomicBool,
    /// `None` once it has ended.
    state: Mutex<Option<State>>,
}

struct State {
    begun: Snapshot,
    now: Snapshot,
    changes: Vec<Change>,
    messages: Vec<CommitMessage>,
    /// The turn among all sessions, from the first change on.
    turn: Option<Turn>,
}

/// The state of an open transaction.
struct Held<'a>(MutexGuard<'a, Option<State>>);

impl Open {
    async fn begin(database: &Database, read_only: bool) -> Result<Self> {
        let begun = database.storage.snapshot().await?;
        let state = State { now: begun.clone(), begun, changes: vec![], messages: vec![], turn: None };
        let (database, state) = (database.clone(), Mutex::new(Some(state)));
        Ok(Self { database, read_only, writing: Arc::default(), failed: AtomicBool::new(false), state })
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> Result<Held<'_>> {
        let state = self.lock();
        if state.is_some() { Ok(Held(state)) } else { Err(Error::new("the transaction of this statement has ended")) }
    }

    async fn turn(&self) -> Result<Turn> {
        if self.read_only {
            return Err(Error::new("the transaction is READ ONLY").hint("ROLLBACK, and BEGIN without READ ONLY"));
        }
        let turn = Turn::of(&self.writing).await;
        if self.state()?.turn.is_none() {
            let all = Turn::of(&self.database.writing).await;
            let now = self.database.storage.snapshot().await?;
            let mut state = self.state()?;
            if now.version() != state.begun.version() {
                return Err(
                    Error::new("another session has changed the database since the transaction began").hint("ROLLBACK, and begin again")
                );
            }
            state.turn = Some(all);
        }
        Ok(turn)
    }

    fn add(&self, changes: Vec<Change>, message: CommitMessage) -> Result<i64> {
        let mut state = self.state()?;
        let version = state.begun.version() + 1;
        state.now = state.now.changed(&changes, version)?;
        changes.into_iter().for_each(|change| push(&mut state.changes, change));
        state.messages.push(message);
        Ok(version)
    }

    /// Commits all changes as one version.
    async fn commit(&self) -> Result<()> {
        let state = self.lock().take().ok_or_else(|| Error::new("the transaction has ended already"))?;
        if self.failed.load(SeqCst) {
            return Err(Error::new("a statement of the transaction failed: it was rolled back").hint("nothing of it was committed"));
        }
        let storage = self.database.storage.clone();
        // It goes through, and has its turn until then, whether or not somebody waits for it.
        let commit = tokio::spawn(async move {
            let State { changes, messages, turn: _turn, .. } = state;
            storage.commit(changes, message(&messages)).await.map(drop)
        });
        commit.await.map_err(|e| Error::new(format!("the commit stopped unexpectedly: {e}")))?
    }
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.as_ref().expect("looked at when it was taken")
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("looked at when it was taken")
    }
}

/// Adds a change, and leaves out what it makes vain: rows that nobody will read are not written.
fn push(changes: &mut Vec<Change>, change: Change) {
    let is_of = |change: &Change, schema: &str, name: &str| match change {
        Change::Append { schema: s, name: n, .. } | Change::Replace { schema: s, name: n, .. } => s == schema && n == name,
        _ => false,
    };
    let declares = |change: &Change, schema: &str, name: &str| match change {
        Change::CreateTable { definition, .. } | Change::AlterTable { definition, .. } => {
            definition.schema == schema && definition.name == name
        }
        Change::DropTable { schema: s, name: n } => s == schema && n == name,
        _ => false,
    };
    if let Change::Replace { schema, name, .. } = &change {
        let declared = changes.iter().rposition(|c| declares(c, schema, name)).map_or(0, |at| at + 1);
        let mut at = 0;
        changes.retain(|c| {
            at += 1;
            at <= declared || !is_of(c, schema, name)
        });
    }
    // Rows after rows of the same table are one change, and one file.
    match (change, changes.last_mut()) {
        (Change::Append { schema, name, rows }, Some(Change::Append { schema: s, name: n, rows: before }))
            if *s == schema && *n == name =>
        {
            before.extend(rows);
        }
        (change, _) => changes.push(change),
    }
}

/// What the statements say of themselves, one after the other.
fn message(messages: &[CommitMessage]) -> CommitMessage {
    let text = messages.iter().map(|m| m.message.as_str()).collect::<Vec<_>>().join("; ").chars().take(200).collect();
    let extra: Vec<&str> = messages.iter().filter_map(|m| m.extra_info.as_deref()).collect();
    let extra_info = match extra.as_slice() {
        [] => None,
        [one] => Some(one.to_string()),
        several => Some(format!("[{}]", several.join(", "))),
    };
    CommitMessage { author: "nabla".into(), message: text, extra_info }
}

/// Statements that are committed together, or not at all: a [`Session`] that is rolled back when it is dropped before
/// [`Transaction::commit`].
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<'a> {
    session: &'a Session,
    open: Arc<Open>,
}

impl Deref for Transaction<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session
    }
}

impl Transaction<'_> {
    /// Commits what the statements since [`Session::begin`] changed, as one version of the database.
    ///
    /// # Errors
    /// A statement has failed, or the changes cannot be written; then nothing was committed.
    pub fn commit(self) -> BoxFuture<'static, Result<()>> {
        let open = self.open.clone();
        drop(self.session.transaction().take_if(|now| Arc::ptr_eq(now, &open)));
        async move { open.commit().await }.boxed()
    }

    /// Takes back what the statements since [`Session::begin`] changed, as dropping it does.
    pub fn rollback(self) {}
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let ended = self.session.transaction().take_if(|now| Arc::ptr_eq(now, &self.open));
        if let Some(open) = ended {
            open.lock().take();
        }
    }
}

impl Session {
    /// Begins a transaction, as BEGIN does: its statements, TRAIN included, are committed together. It reads the database as it is now; from
    /// its first change on, other sessions wait with theirs.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = nabladb::Database::in_memory().await?.session()?;
    /// session.run("CREATE TABLE t (x BIGINT)").await?;
    /// let transaction = session.begin().await?;
    /// transaction.run("INSERT INTO t VALUES (1)").await?;
    /// transaction.run("INSERT INTO t VALUES (2)").await?;
    /// transaction.commit().await?;
    /// assert_eq!(session.run("SELECT SUM(x) FROM t").await?.value().await?, 3i64.into());
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The session has one already. A change is refused when another session has changed the database since.
    pub fn begin(&self) -> BoxFuture<'_, Result<Transaction<'_>>> {
        async move { Ok(Transaction { session: self, open: self.begun(false).await? }) }.boxed()
    }

    /// Whether statements are of a transaction, from BEGIN to COMMIT or ROLLBACK.
    pub fn in_transaction(&self) -> bool {
        self.transaction().is_some()
    }

    /// Whether a statement of the open transaction has failed, so that it can only be rolled back.
    pub fn has_failed(&self) -> bool {
        self.transaction().as_ref().is_some_and(|open| open.failed.load(SeqCst))
    }

    /// Marks the transaction of its statement, or the one that is open, as failed: it can only be rolled back.
    pub(crate) fn fail(&self) {
        if let Work::Transaction(open) = self.work() {
            open.failed.store(true, SeqCst);
        }
    }

    /// The same session with a transaction of its own, which has the writers' turn from the beginning: what else the session runs meanwhile
    /// is not of that.
    pub(crate) async fn apart(&self) -> Result<Session> {
        let turn = Turn::of(&self.database.writing).await;
        let open = Open::begin(&self.database, false).await?;
        open.state()?.turn = Some(turn);
        Ok(Session { transaction: Arc::new(Mutex::new(Some(Arc::new(open)))), of_statement: None, ..self.for_a_statement() })
    }

    /// This session as one statement sees it: whatever begins or ends meanwhile, it reads and changes the same.
    pub(crate) fn for_a_statement(&self) -> Session {
        Session {
            database: self.database.clone(),
            settings: self.settings.clone(),
            temporary: self.temporary.clone(),
            prepared: self.prepared.clone(),
            latest: self.latest.clone(),
            transaction: self.transaction.clone(),
            of_statement: Some(self.work()),
        }
    }

    async fn begun(&self, read_only: bool) -> Result<Arc<Open>> {
        let already = || Error::new("a transaction is open already").hint("COMMIT or ROLLBACK it first");
        if self.in_transaction() {
            return Err(already());
        }
        let open = Arc::new(Open::begin(&self.database, read_only).await?);
        let mut transaction = self.transaction();
        if transaction.is_some() {
            return Err(already());
        }
        Ok(transaction.insert(open).clone())
    }

    fn transaction(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        self.transaction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its statements read and change.
    pub(super) fn work(&self) -> Work {
        if let Some(work) = &self.of_statement {
            return work.clone();
        }
        match self.transaction().as_ref() {
            Some(open) => Work::Transaction(open.clone()),
            None => Work::Database(self.database.clone()),
        }
    }
}

/// A statement that begins or ends a transaction; `None` for any other.
pub(super) async fn control(session: &Session, statement: &SqlStatement) -> Option<Result<Outcome>> {
    let tag = |tag: &str| Ok(Outcome::Done(tag.into()));
    let ended = || session.transaction().take().ok_or_else(|| Error::new("no transaction is open").hint("BEGIN one first"));
    let unsupported = |what: &str| Some(Err(Error::new(format!("{what} is not supported yet"))));
    match statement {
        SqlStatement::StartTransaction { statements, .. } if !statements.is_empty() => unsupported("BEGIN with statements in it"),
        SqlStatement::StartTransaction { modes, begin, .. } => {
            let read_only = modes.contains(&TransactionMode::AccessMode(TransactionAccessMode::ReadOnly));
            let begun = session.begun(read_only).await;
            Some(begun.and_then(|_| tag(if *begin { "BEGIN" } else { "START TRANSACTION" })))
        }
        SqlStatement::Commit { chain: true, .. } | SqlStatement::Rollback { chain: true, .. } => unsupported("AND CHAIN"),
        SqlStatement::Commit { .. } => Some(match ended() {
            Ok(open) => open.commit().await.and_then(|()| tag("COMMIT")),
            Err(error) => Err(error),
        }),
        SqlStatement::Rollback { savepoint: Some(_), .. } => unsupported("ROLLBACK TO SAVEPOINT"),
        SqlStatement::Rollback { .. } => Some(ended().and_then(|open| {
            open.lock().take();
            tag("ROLLBACK")
        })),
        _ => None,
    }
}

/// A statement of an open transaction.
pub(super) async fn within(work: Work, run: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
    let outcome = guarded(&work, run).await?;
    let Work::Transaction(open) = work else { return Ok(outcome) };
    Ok(outcome.on_error(move || open.failed.store(true, SeqCst)))
}

/// What is done in an open transaction: nothing after something that failed, or that was given up.
pub(super) async fn guarded<T>(work: &Work, run: impl Future<Output = Result<T>>) -> Result<T> {
    let Work::Transaction(open) = work else { return run.await };
    if open.failed.load(SeqCst) {
        return Err(Error::new("a statement of the transaction has failed, and no other runs").hint("ROLLBACK"));
    }
    let mut given_up = GivenUp(Some(open));
    let done = run.await;
    if done.is_ok() {
        given_up.0 = None;
    }
    done
}

/// Fails a transaction when it is dropped.
struct GivenUp<'a>(Option<&'a Arc<Open>>);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.0 {
            open.failed.store(true, SeqCst);
        }
    }
}
