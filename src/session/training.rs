//! A run as a stream of its steps.

use super::transaction::within;
use super::{Outcome, Session, Value, bound, train};
use crate::error::{Error, Result};
use crate::grammar::Kind;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{Stream, StreamExt};
use futures::task::AtomicWaker;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll, ready};

/// One step of a run: a row of `nabla.steps`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The run's number in `nabla.runs`.
    pub run_id: i64,
    /// Counted from 1.
    pub step: u64,
    /// How often all rows have been gone over, counted from 1.
    pub epoch: u64,
    /// The relaxed objective before the step.
    pub objective: f64,
    /// What VALIDATE measured after the step; `None` where it did not, and for NULL.
    pub validation: Option<f64>,
    /// The temperature of the relaxation.
    pub temperature: f64,
    /// The Euclidean norm of the gradient.
    pub gradient_norm: f64,
    /// Rows of the widest domain, by the second.
    pub rows_per_second: f64,
    /// Milliseconds since the run began.
    pub elapsed_ms: f64,
}

/// What a run ended with: the last row of its log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trained {
    /// The run's number in `nabla.runs`.
    pub run_id: i64,
    /// How many steps were taken.
    pub steps: u64,
    /// The best of what VALIDATE measured, which is of what was committed.
    pub validation: Option<f64>,
    /// The relaxed objective at the end.
    pub relaxed_objective: f64,
    /// The exact value of the same query at the end; `None` for NULL.
    pub exact_objective: Option<f64>,
    /// The version of the database that the run committed.
    pub version: i64,
    /// Milliseconds that the run took, its commit included.
    pub elapsed_ms: f64,
}

impl Trained {
    /// The relaxation gap: the relaxed objective minus the exact one.
    pub fn relaxation_gap(&self) -> Option<f64> {
        self.exact_objective.map(|exact| self.relaxed_objective - exact)
    }
}

/// A run: a stream of its steps as they are taken. What it learned is committed when the stream has ended; dropping it before cancels the run,
/// and nothing is committed, unless the commit has begun.
#[must_use = "a run that is dropped is cancelled"]
pub struct Training {
    /// Until it has ended, or was cancelled.
    log: Option<Outcome>,
    fate: Arc<Fate>,
    steps: VecDeque<Step>,
    trained: Option<Trained>,
}

/// A run is cancelled, or it commits, whichever comes first.
#[derive(Debug, Default)]
pub(super) struct Fate {
    state: AtomicU8,
    reader: AtomicWaker,
}

const RUNS: u8 = 0;
const CANCELLED: u8 = 1;
const COMMITS: u8 = 2;

impl Fate {
    fn cancel(&self) {
        if self.state.compare_exchange(RUNS, CANCELLED, SeqCst, SeqCst).is_ok() {
            self.reader.wake();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.state.load(SeqCst) == CANCELLED
    }

    /// Whether the run may commit; it cannot be cancelled any more.
    pub fn commits(&self) -> bool {
        self.state.compare_exchange(RUNS, COMMITS, SeqCst, SeqCst).is_ok()
    }
}

/// What a cancelled run ends with.
pub(super) fn cancelled() -> Error {
    Error::new("the run was cancelled")
}

/// Cancels a run from anywhere.
#[derive(Debug, Clone)]
pub struct TrainHandle(Arc<Fate>);

impl TrainHandle {
    /// Ends the run; nothing of it is committed, and its stream ends with an error that says so. A run that has ended, or whose commit has
    /// begun, goes on.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Session {
    /// Begins a TRAIN, with values for its parameters.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use futures::StreamExt;
    /// use nabladb::{Database, values};
    /// let session = Database::in_memory().await?.session()?;
    /// session.run("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)").await?;
    /// session.run("INSERT INTO m DEFAULT VALUES").await?;
    /// let train = "TRAIN MINIMIZE (SELECT SUM(power(a - $1, 2)) FROM m) USING adam (learning_rate => $2) FOR 200 STEPS";
    /// let mut training = session.train(train, &values![1.0, 0.1]).await?;
    /// while let Some(step) = training.next().await {
    ///     let step = step?;
    ///     if step.step % 100 == 0 {
    ///         println!("{}: {}", step.step, step.objective);
    ///     }
    /// }
    /// let trained = training.finish().await?;
    /// assert!(trained.exact_objective.expect("a number") < 1e-3);
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The sentence is no TRAIN, or one that is refused; then nothing has begun.
    pub fn train<'a>(&'a self, sql: &'a str, values: &'a [Value]) -> BoxFuture<'a, Result<Training>> {
        async move {
            let (statement, bound) = bound(sql, values).inspect_err(|_| self.fail())?;
            let Kind::Train(train) = &statement.kind else {
                return Err(Error::new("the statement is no TRAIN").hint("run() takes any statement"));
            };
            let fate = Arc::<Fate>::default();
            let session = self.for_a_statement();
            let log = within(session.work(), train::train(&session, train, &statement.text, fate.clone()));
            let log = log.await.map_err(|e| bound.placed(e))?;
            Ok(Training { fate, ..Training::of(log) })
        }
        .boxed()
    }
}

impl Training {
    /// The run of a TRAIN's outcome, which only ends by itself, or when it is dropped.
    pub(crate) fn of(log: Outcome) -> Self {
        Training { log: Some(log), fate: Arc::default(), steps: VecDeque::new(), trained: None }
    }

    /// What cancels the run.
    pub fn handle(&self) -> TrainHandle {
        TrainHandle(self.fate.clone())
    }

    /// Takes all steps that are left, and tells how the run ended.
    ///
    /// # Errors
    /// The run failed, or was cancelled, before it ended or by the end of this; then nothing was committed.
    pub async fn finish(mut self) -> Result<Trained> {
        while let Some(step) = self.next().await {
            step?;
        }
        self.trained.ok_or_else(|| Error::new("the run has failed already"))
    }

    /// Takes rows of the log.
    fn read(&mut self, rows: &RecordBatch) {
        self.steps.extend(steps_of(rows));
        let last = (0..rows.num_rows()).rev().find(|row| rows.column(VERSION).is_valid(*row));
        self.trained = self.trained.or(last.map(|row| Trained {
            run_id: whole(rows, 0, row),
            steps: whole(rows, 1, row) as u64,
            validation: known(rows, VALIDATION, row),
            relaxed_objective: real(rows, RELAXED, row),
            exact_objective: known(rows, EXACT, row),
            version: whole(rows, VERSION, row),
            elapsed_ms: real(rows, ELAPSED, row),
        }));
    }
}

/// The steps among rows of the log.
pub(crate) fn steps_of(rows: &RecordBatch) -> impl Iterator<Item = Step> {
    (0..rows.num_rows()).filter(|row| rows.column(VERSION).is_null(*row)).map(|row| Step {
        run_id: whole(rows, 0, row),
        step: whole(rows, 1, row) as u64,
        epoch: whole(rows, 2, row) as u64,
        objective: real(rows, 3, row),
        validation: known(rows, VALIDATION, row),
        temperature: real(rows, 5, row),
        gradient_norm: real(rows, 6, row),
        rows_per_second: real(rows, 7, row),
        elapsed_ms: real(rows, ELAPSED, row),
    })
}

fn whole(rows: &RecordBatch, column: usize, row: usize) -> i64 {
    rows.column(column).as_primitive::<Int64Type>().value(row)
}

fn real(rows: &RecordBatch, column: usize, row: usize) -> f64 {
    rows.column(column).as_primitive::<Float64Type>().value(row)
}

fn known(rows: &RecordBatch, column: usize, row: usize) -> Option<f64> {
    rows.column(column).is_valid(row).then(|| real(rows, column, row))
}

/// Columns of the log.
const VALIDATION: usize = 4;
const ELAPSED: usize = 8;
const RELAXED: usize = 9;
const EXACT: usize = 10;
const VERSION: usize = 12;

impl Stream for Training {
    type Item = Result<Step>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Step>>> {
        self.fate.reader.register(cx.waker());
        loop {
            if self.fate.is_cancelled() && self.log.take().is_some() {
                return Poll::Ready(Some(Err(cancelled())));
            }
            if let Some(step) = self.steps.pop_front() {
                return Poll::Ready(Some(Ok(step)));
            }
            let Some(log) = &mut self.log else { return Poll::Ready(None) };
            match ready!(log.poll_next_unpin(cx)) {
                Some(Ok(rows)) => self.read(&rows),
                Some(Err(error)) => {
                    self.log = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.log = None,
            }
        }
    }
}
