//! TRAIN: the sentence of the system. Settings, plan, split, materialize, relax, fit, commit, outcome.

use super::learn::{self, Column, Learned};
use super::log::{self, End};
use super::objective::{Answer, Exact, Objective, Planned};
use super::settings::{self, Clauses, Estimator};
use super::training::{Fate, cancelled};
use super::transaction::Work;
use super::validation::Validator;
use super::{Outcome, Session, perturbed};
use crate::error::{Error, Result, both};
use crate::grammar::{Direction, Relaxed, Train};
use crate::program::Lanes;
use crate::split::Materialized;
use crate::storage::{Change, CommitMessage, history};
use crate::table::{self, Bound, TableDefinition};
use crate::training::{Optimizer, Projection, Step, Steps};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Trains, and gives the log as it grows. Dropping the log cancels the run; the commit comes with its last row.
pub(super) async fn train(session: &Session, train: &Train, text: &str, fate: Arc<Fate>) -> Result<Outcome> {
    session.writable()?;
    let clauses = settings::clauses(train);
    let perturbed = clauses.as_ref().ok().and_then(|c| if let Estimator::Perturbed { pairs } = c.estimator { Some(pairs) } else { None });
    let (clauses, planned, steps) = match perturbed {
        Some(pairs) => {
            let (clauses, planned) = both(clauses, Planned::new(session, &train.objective, Answer::Number).await)?;
            planned.exact.can_run().await?;
            let columns = columns(&planned, &train.objective)?;
            let validator = validator(&planned, train).await?;
            let steps = perturbed::start(&planned, columns, clauses.clone(), pairs, validator);
            (clauses, planned, steps)
        }
        None => {
            let (clauses, objective) = both(clauses, Objective::new(session, &train.objective, Answer::Number).await)?;
            let Objective { planned, split, single } = objective;
            let columns = columns(&planned, &train.objective)?;
            let validator = validator(&planned, train).await?;
            let skeletons = Objective::one_partition(&planned.exact.context);
            let steps = if single {
                start(split.materialize::<f32>(&skeletons).await?, columns, clauses.clone(), validator)
            } else {
                start(split.materialize::<f64>(&skeletons).await?, columns, clauses.clone(), validator)
            };
            (clauses, planned, steps)
        }
    };
    let Planned { exact, tables, .. } = planned;
    let run_id = next_run(session).await?;
    let run = Run {
        id: run_id,
        started: SystemTime::now(),
        clock: Instant::now(),
        text: text.to_string(),
        direction: train.direction,
        clauses,
        exact,
        tables,
        work: session.work(),
        steps,
        seen: vec![],
        fate,
    };
    let rows = stream::unfold(Some(run), |run| async move {
        let mut run = run?;
        match run.steps.recv().await {
            Some(News::Steps(steps)) => {
                run.seen.extend(&steps);
                Some((log::progress(run.id, &steps).map_err(Into::into), Some(run)))
            }
            Some(News::End(learned)) => Some((run.end(learned).await.map_err(Into::into), None)),
            None => {
                let error = Error::new("the training thread stopped without a word");
                Some((Err(error.hint("a function of the application panicked; if it has none, this is a defect of the engine: please report the query").into()), None))
            }
        }
    });
    Ok(Outcome::Rows(Box::pin(RecordBatchStreamAdapter::new(log::schema(), rows))))
}

/// What validates the run, after it has done so once.
async fn validator(planned: &Planned, train: &Train) -> Result<Option<Validator>> {
    let validator = Validator::new(planned, train.validate.as_ref()).await?;
    if let Some(validator) = &validator {
        validator.first().await?;
    }
    Ok(validator)
}

/// The learnable columns with their values.
pub(super) fn columns(planned: &Planned, query: &Relaxed) -> Result<Vec<Column>> {
    planned
        .parameters
        .iter()
        .map(|parameter| {
            let (definition, rows) = &planned.tables[parameter.table];
            let name = parameter.name.rsplit_once('.').map_or("", |(_, column)| column);
            let column = definition.column(name).ok_or_else(|| Error::new(format!("column {} is gone", parameter.name)))?;
            let array = rows.column(rows.schema().index_of(name)?);
            let projection = column.bound.as_ref().map(|bound| match *bound {
                Bound::Box { lower, upper } => Projection::Box { lower, upper },
                Bound::UnitNorm => Projection::UnitNorm,
                Bound::Simplex => Projection::Simplex,
            });
            let listed = query.targets.iter().any(|t| t.table == definition.name && t.column.as_deref() == Some(name));
            Ok(Column { parameter: parameter.clone(), values: table::elements(array), projection, listed })
        })
        .collect()
}

/// What the computing thread sends.
pub(super) enum News {
    Steps(Vec<Step>),
    End(Result<Option<Learned>>),
}

/// Steps are sent on when this many, or this old.
const MOST_STEPS: usize = 1000;
const OLDEST_STEP: Duration = Duration::from_millis(100);

fn start<R: Lanes + Steps>(
    materialized: Materialized<R>,
    columns: Vec<Column>,
    clauses: Clauses,
    validator: Option<Validator>,
) -> mpsc::Receiver<News> {
    on_a_thread(move |observe| learn::learn(materialized, columns, &clauses, validator.as_ref(), observe, None))
}

/// Learns on a thread of its own, and sends what there is to tell. A closed channel is a cancelled run.
pub(super) fn on_a_thread(
    learn: impl FnOnce(&mut dyn FnMut(Step) -> bool) -> Result<Option<Learned>> + Send + 'static,
) -> mpsc::Receiver<News> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let (mut pending, mut sent) = (Vec::with_capacity(MOST_STEPS), Instant::now());
        let mut observe = |step: Step| {
            pending.push(step);
            let is_looked_at = step.step.is_multiple_of(16) || step.validation.is_some();
            if pending.len() >= MOST_STEPS || (is_looked_at && sent.elapsed() >= OLDEST_STEP) {
                sent = Instant::now();
                return sender.blocking_send(News::Steps(std::mem::replace(&mut pending, Vec::with_capacity(MOST_STEPS)))).is_ok();
            }
            !sender.is_closed()
        };
        let end = learn(&mut observe);
        // There is nobody to tell when the channel is closed.
        if !pending.is_empty() && sender.blocking_send(News::Steps(pending)).is_err() {
            return;
        }
        drop(sender.blocking_send(News::End(end)));
    });
    receiver
}

/// A run whose log is being read.
struct Run {
    id: i64,
    started: SystemTime,
    clock: Instant,
    text: String,
    direction: Direction,
    clauses: Clauses,
    exact: Exact,
    tables: Vec<(TableDefinition, RecordBatch)>,
    work: Work,
    steps: mpsc::Receiver<News>,
    seen: Vec<Step>,
    fate: Arc<Fate>,
}

impl Run {
    /// The last row of the log, when all is committed.
    async fn end(self, learned: Result<Option<Learned>>) -> Result<RecordBatch> {
        let learned = learned?.ok_or_else(cancelled)?;
        let tables = learned_tables(&self.tables, &learned.columns, &learned.reached)?;
        let exact_objective = self.exact.value(&tables).await?;
        let turn = self.work.turn().await?;
        if !self.fate.commits() {
            return Err(cancelled());
        }
        // A commit goes through, whether or not somebody still reads the log: one that nobody drove would keep its locks.
        let commit = tokio::spawn(async move {
            let _turn = turn;
            self.commit(&learned, tables, exact_objective).await
        });
        commit.await.map_err(|e| Error::new(format!("the commit stopped unexpectedly: {e}")))?
    }

    /// Commits all changed columns, the run and its steps in one transaction.
    async fn commit(
        self,
        learned: &Learned,
        tables: Vec<(TableDefinition, RecordBatch)>,
        exact_objective: Option<f64>,
    ) -> Result<RecordBatch> {
        let now = self.work.snapshot().await?;
        for (definition, rows) in &self.tables {
            let unchanged = now.is(&self.exact.snapshot)
                || (now.table(&definition.schema, &definition.name) == Some(definition)
                    && super::kept::all_rows(&self.exact.context, &now, definition).await? == *rows);
            if !unchanged {
                return Err(Error::new(format!("table '{}' was changed while it was trained", definition.name))
                    .hint("nothing was committed: run TRAIN again"));
            }
        }
        let version = self.work.next_version().await?;
        let end = End { validation: learned.validation, relaxed_objective: learned.relaxed_objective, exact_objective, version };
        let mut changes: Vec<Change> =
            tables.into_iter().map(|(t, rows)| Change::Replace { schema: t.schema, name: t.name, rows: vec![rows] }).collect();
        changes.push(Change::Append { schema: history::SCHEMA.into(), name: "runs".into(), rows: vec![self.record(learned, end)?] });
        changes.push(Change::Append { schema: history::SCHEMA.into(), name: "steps".into(), rows: vec![log::steps(self.id, &self.seen)?] });
        let message = CommitMessage {
            author: "nabla".into(),
            message: self.text.chars().take(200).collect(),
            extra_info: Some(format!("{{\"run_id\": {}}}", self.id)),
        };
        let version = self.work.commit(changes, message).await?;
        log::last(self.id, learned.steps, End { version, ..end }, self.clock.elapsed().as_secs_f64() * 1e3)
    }

    /// The row of `nabla.runs`.
    fn record(&self, learned: &Learned, end: End) -> Result<RecordBatch> {
        let whole = |x: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![x])) };
        let real = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
        let text = |x: &str| -> ArrayRef { Arc::new(StringViewArray::from(vec![x])) };
        let started = self.started.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
        let direction = if self.direction == Direction::Minimize { "minimize" } else { "maximize" };
        let optimizer = if matches!(self.clauses.optimizer, Optimizer::Sgd { .. }) { "sgd" } else { "adam" };
        let columns = vec![
            whole(self.id),
            Arc::new(TimestampMicrosecondArray::from(vec![started])),
            text(&self.text),
            text(direction),
            text(optimizer),
            whole(self.clauses.seed as i64),
            whole(learned.steps as i64),
            real(Some(end.relaxed_objective)),
            real(end.exact_objective),
            real(end.gap()),
            whole(end.version),
            real(Some(self.clock.elapsed().as_secs_f64() * 1e3)),
        ];
        Ok(RecordBatch::try_new(history::runs().arrow_schema(), columns)?)
    }
}

/// The tables with live columns, with what was learned in them.
pub(super) fn learned_tables(
    tables: &[(TableDefinition, RecordBatch)],
    learned: &[Column],
    reached: &[usize],
) -> Result<Vec<(TableDefinition, RecordBatch)>> {
    let mut changed = vec![];
    for (number, (definition, rows)) in tables.iter().enumerate() {
        let mut columns = rows.columns().to_vec();
        for &i in reached {
            let column = &learned[i];
            let name = column.parameter.name.rsplit_once('.').map_or("", |(_, name)| name);
            if column.parameter.table == number {
                let at = rows.schema().index_of(name)?;
                columns[at] = table::shape(column.values.clone(), rows.schema().field(at).data_type(), &column.parameter.dimensions)?;
            }
        }
        changed.push((definition.clone(), RecordBatch::try_new(rows.schema(), columns)?));
    }
    Ok(changed)
}

/// One more than the last run of the database and of this session.
async fn next_run(session: &Session) -> Result<i64> {
    let (context, _) = session.context().await?;
    let batches = context.sql("SELECT MAX(run_id) FROM nabla.runs").await?.collect().await?;
    let last = batches.first().and_then(|b| b.column(0).as_primitive::<Int64Type>().iter().next().flatten()).unwrap_or(0);
    let mut runs = session.database.runs.lock().await;
    *runs = (*runs).max(last) + 1;
    Ok(*runs)
}
