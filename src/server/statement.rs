//! A statement under way for a client: a task of its own, which ends with its last row, its deadline, or whoever asked for it.

use super::metrics;
use crate::error::{Error, Result};
use crate::session::{Outcome, Session, Value};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::{self, Stream, StreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot, watch};

/// What one client's statements may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a statement may run; `None` for as long as it takes.
    pub statement_timeout: Option<Duration>,
    /// How long a client may leave a batch unread before its statement is ended.
    pub stall_timeout: Duration,
    /// How many statements of one connection may run at once.
    pub statements: usize,
}

impl Limits {
    /// What takes no longer than a statement may.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        match self.statement_timeout {
            Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| Failure::TimedOut),
            None => Ok(work.await),
        }
    }
}

/// Rows of values for parameters; a statement that has been prepared keeps them.
pub(super) type Rows = Arc<[Vec<Value>]>;

/// What is asked for.
pub(super) struct Request {
    pub session: Arc<Session>,
    pub sql: String,
    /// Values for its parameters: it runs once with each row of them.
    pub rows: Rows,
    /// What it is cancelled by.
    pub id: Vec<u8>,
    pub door: &'static str,
}

/// How a statement began.
pub(super) enum Answer {
    Rows(SchemaRef, Batches),
    /// The command tag, or several for several rows of parameters.
    Done(Vec<String>),
}

/// Rows as they come.
pub(super) struct Batches {
    batches: mpsc::Receiver<RecordBatch>,
    ended: Arc<OnceLock<Result<(), Failure>>>,
}

/// Why a statement ended early.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Statement(Error),
    Cancelled,
    TimedOut,
    TooMany,
    Stopping,
    /// Whoever asked for it does not want the rest.
    GivenUp,
}

impl Failure {
    pub fn error(&self) -> Error {
        match self {
            Failure::Statement(error) => error.clone(),
            Failure::Cancelled | Failure::GivenUp => Error::new("the statement was cancelled"),
            Failure::TimedOut => Error::new("the statement took longer than it may").hint("the server's --statement-timeout is the limit"),
            Failure::Stopping => Error::new("the server is stopping").hint("ask again when it has begun again"),
            Failure::TooMany => {
                Error::new("the connection has too many statements at once").hint("read or cancel one: --max-statements is the limit")
            }
        }
    }
}

impl Batches {
    pub fn stream(self) -> impl Stream<Item = Result<RecordBatch, Failure>> + Send + 'static {
        stream::unfold(Some(self), |rows| async move {
            let mut rows = rows?;
            match rows.batches.recv().await {
                Some(batch) => Some((Ok(batch), Some(rows))),
                None => rows.failure().map(|failure| (Err(failure), None)),
            }
        })
    }

    /// Why no more rows come, if not because there are none.
    fn failure(&self) -> Option<Failure> {
        match self.ended.get() {
            Some(Ok(())) => None,
            Some(Err(failure)) => Some(failure.clone()),
            None => Some(Failure::Statement(Error::new("the statement stopped unexpectedly"))),
        }
    }
}

/// The statements under way of all clients, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Running {
    all: Mutex<HashMap<u64, Cancel>>,
    closed: AtomicBool,
}

/// What cancels a statement.
#[derive(Debug)]
struct Cancel {
    id: Vec<u8>,
    sender: watch::Sender<bool>,
}

impl Running {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Cancel>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No other statement begins.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    fn add(&self, id: Vec<u8>) -> (u64, watch::Receiver<bool>) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (sender, receiver) = watch::channel(false);
        let number = NUMBER.fetch_add(1, Relaxed);
        self.all().insert(number, Cancel { id, sender });
        (number, receiver)
    }

    /// Whether there was such a statement.
    pub fn cancel(&self, id: &[u8]) -> bool {
        let all = self.all();
        let found: Vec<bool> = all.values().filter(|known| known.id == id).map(|known| known.sender.send(true).is_ok()).collect();
        found.contains(&true)
    }

    pub fn cancel_all(&self) {
        for cancel in self.all().values() {
            // One that nobody waits for has just ended.
            let _ = cancel.sender.send(true);
        }
    }

    pub fn count(&self) -> usize {
        self.all().len()
    }
}

/// Held while a statement runs.
struct Entry {
    running: Arc<Running>,
    number: u64,
    _permit: OwnedSemaphorePermit,
    clock: Instant,
    door: &'static str,
    failed: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.all().remove(&self.number);
        metrics::statement(self.door, self.clock.elapsed(), self.failed);
    }
}

const AHEAD: usize = 4;

/// Begins a statement. It goes on while its rows are read, and ends when they are dropped.
pub(super) async fn begin(request: Request, running: &Arc<Running>, permits: &Arc<Semaphore>, limits: Limits) -> Result<Answer, Failure> {
    if running.closed.load(Relaxed) {
        return Err(Failure::Stopping);
    }
    let permit = permits.clone().try_acquire_owned().map_err(|e| match e {
        TryAcquireError::NoPermits => Failure::TooMany,
        TryAcquireError::Closed => Failure::Cancelled,
    })?;
    let (number, mut cancelled) = running.add(request.id.clone());
    let door = request.door;
    let mut entry = Entry { running: running.clone(), number, _permit: permit, clock: Instant::now(), door, failed: false };
    let (sender, batches) = mpsc::channel(AHEAD);
    let (begun, answer) = oneshot::channel();
    let ended = Arc::new(OnceLock::new());
    let deadline = limits.statement_timeout.map(|limit| tokio::time::Instant::now() + limit);
    tracing::debug!(door, sql = %request.sql, "statement");
    let noted = ended.clone();
    // The transaction that is open now, whatever is when it ends.
    let session = request.session.for_a_statement();
    tokio::spawn(async move {
        let mut begun = Some(begun);
        let work = run(request, &mut begun, &sender, limits.stall_timeout);
        let ended = tokio::select! {
            ended = work => ended,
            Ok(_) = cancelled.wait_for(|cancel| *cancel) => Err(Failure::Cancelled),
            () = at(deadline) => Err(Failure::TimedOut),
            () = sender.closed() => Err(Failure::GivenUp),
        };
        // Rows that a client does not want are no failure of its transaction.
        let gave_rows = begun.is_none();
        if let Err(failure) = &ended
            && !(matches!(failure, Failure::GivenUp) && gave_rows)
        {
            tracing::info!(door, error = %failure.error(), "statement failed");
            entry.failed = true;
            session.fail();
        }
        // Before the channel closes, so that the reader finds it; and the permit is free before the client is told.
        let tags = ended.as_ref().ok().cloned();
        let _ = noted.set(ended.map(drop));
        drop(entry);
        if let (Some(begun), Some(tags)) = (begun, tags) {
            // Nobody may wait any more.
            let _ = begun.send(Begun::Done(tags));
        }
        drop(sender);
    });
    let batches = Batches { batches, ended };
    match answer.await {
        Ok(Begun::Rows(schema)) => Ok(Answer::Rows(schema, batches)),
        Ok(Begun::Done(tags)) => Ok(Answer::Done(tags)),
        // It ended before it began: the channel of batches closes when the reason is known.
        Err(_) => Err(why(batches).await),
    }
}

async fn why(mut batches: Batches) -> Failure {
    while batches.batches.recv().await.is_some() {}
    batches.failure().unwrap_or(Failure::Cancelled)
}

async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

enum Begun {
    Rows(SchemaRef),
    Done(Vec<String>),
}

/// The tags of a statement without rows; one that has rows takes `begun`.
async fn run(
    request: Request,
    begun: &mut Option<oneshot::Sender<Begun>>,
    rows: &mpsc::Sender<RecordBatch>,
    stall: Duration,
) -> Result<Vec<String>, Failure> {
    let Request { mut session, sql, rows: parameters, .. } = request;
    let several = parameters.len() > 1;
    let changes = several && !session.describe(&sql).await.map_err(Failure::Statement)?.gives_rows;
    // All of the rows change the database, or none does; what else the connection runs meanwhile is not of that.
    let own = changes && !session.in_transaction();
    if own {
        session = Arc::new(session.apart().await.map_err(Failure::Statement)?);
    }
    let (mut tags, mut schema): (_, Option<SchemaRef>) = (vec![], None);
    for values in parameters.iter() {
        let mut outcome = session.run_with(&sql, values).await.map_err(Failure::Statement)?;
        if let Outcome::Done(tag) = &outcome {
            tags.push(tag.clone());
            continue;
        }
        let columns = outcome.schema().unwrap_or_else(|| Arc::new(Schema::empty()));
        if schema.get_or_insert_with(|| columns.clone()) != &columns {
            let what = "the rows of parameters give results of different columns";
            return Err(Failure::Statement(Error::new(what).hint("cast the parameters, or give them one at a time")));
        }
        if let Some(begun) = begun.take() {
            // Nobody waits any more: the closed channel of batches ends it.
            let _ = begun.send(Begun::Rows(columns));
        }
        while let Some(batch) = outcome.next().await {
            let batch = batch.map_err(Failure::Statement)?;
            metrics::rows(batch.num_rows());
            match tokio::time::timeout(stall, rows.send(batch)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Failure::GivenUp),
                Err(_) => {
                    return Err(Failure::Statement(
                        Error::new("the client has stopped reading").hint("the server's --stall-timeout is the limit"),
                    ));
                }
            }
        }
    }
    if own {
        session.run("COMMIT").await.map_err(Failure::Statement)?;
    }
    Ok(tags)
}

impl Batches {
    /// All rows of a statement that nobody reads, so that it ends.
    pub async fn finish(self) -> Result<u64, Failure> {
        let mut rows = 0;
        let mut stream = std::pin::pin!(self.stream());
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows() as u64;
        }
        Ok(rows)
    }
}
