//! EXPLAIN ANALYZE TRAIN: runs the steps, measures each instruction, and commits nothing.

use super::learn;
use super::objective::{Answer, Objective};
use super::settings::{self, Clauses, Estimator};
use super::validation::Validator;
use super::{Outcome, Session, train};
use crate::error::{Error, Result, both};
use crate::grammar::Train;
use crate::program::{Lanes, Peak, Profile};
use crate::split::Materialized;
use crate::training::Steps;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A run that was measured.
struct Measured {
    profile: Profile,
    peak: Peak,
    steps: u64,
    /// Of a step, by the clock.
    time: Duration,
}

/// One row for each instruction, in the order in which they run, one for what is not the program's, and one for the whole; times
/// are those of a step, on the average.
pub(super) async fn analyze(session: &Session, statement: &Train) -> Result<Outcome> {
    let clauses = settings::clauses(statement);
    if let Ok(Clauses { estimator: Estimator::Perturbed { .. }, .. }) = clauses {
        return Err(Error::new("a run by perturbations has no program to measure")
            .hint("write EXPLAIN ANALYZE and the query that is the objective: that is what each step runs"));
    }
    let (clauses, objective) = both(clauses, Objective::new(session, &statement.objective, Answer::Number).await)?;
    let Objective { planned, split, single } = objective;
    // The steps are what is measured: a validation is none of their instructions, and only has to be one that could be run.
    Validator::new(&planned, statement.validate.as_ref()).await?;
    let columns = train::columns(&planned, &statement.objective)?;
    let skeletons = Objective::one_partition(&planned.exact.context);
    let measured = if single {
        on_a_thread(split.materialize::<f32>(&skeletons).await?, columns, clauses)
    } else {
        on_a_thread(split.materialize::<f64>(&skeletons).await?, columns, clauses)
    };
    measured.await.map_err(|_| Error::new("the training thread stopped without a word"))??.table()
}

/// The receiver is dropped when the statement is cancelled, and then the run ends too.
fn on_a_thread<R: Lanes + Steps>(
    materialized: Materialized<R>,
    columns: Vec<learn::Column>,
    clauses: Clauses,
) -> oneshot::Receiver<Result<Measured>> {
    let (sender, receiver) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let profile = measure(materialized, columns, &clauses, &|| sender.is_closed());
        // There is nobody to tell when the channel is closed.
        drop(sender.send(profile));
    });
    receiver
}

fn measure<R: Lanes + Steps>(
    materialized: Materialized<R>,
    columns: Vec<learn::Column>,
    clauses: &Clauses,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Measured> {
    let (mut steps, mut time, mut profile) = (0, Duration::ZERO, None);
    let mut observe = |step: crate::training::Step| {
        (steps, time) = (step.step, step.elapsed.div_f64(step.step as f64));
        !is_cancelled()
    };
    learn::learn(materialized, columns, clauses, None, &mut observe, Some(&mut profile))?;
    let profile = profile.ok_or_else(|| Error::new("the run was cancelled"))?;
    Ok(Measured { profile, peak: Peak::measure::<R>(), steps, time })
}

impl Measured {
    fn table(&self) -> Result<Outcome> {
        let Profile { instructions, runs, time } = &self.profile;
        let runs = (*runs).max(1);
        let milliseconds = |time: Duration| rounded(time.as_secs_f64() * 1e3, 6);
        let computed: Duration = instructions.iter().map(|m| m.time / runs).sum();
        let beside = self.time.saturating_sub(*time / runs);
        let all = (computed + beside).as_secs_f64().max(1e-12);
        let share = |time: Duration| rounded(time.as_secs_f64() / all, 6);
        let mut rows: Vec<Row> = instructions
            .iter()
            .map(|m| {
                let seconds = m.time.as_secs_f64().max(1e-12);
                let of = |count: u64, peak: f64| (count > 0).then(|| rounded(count as f64 / seconds / peak, 6));
                Row {
                    strip: Some(m.strip as i64),
                    over: Some(m.domain.clone()),
                    instruction: m.instruction.clone(),
                    time: milliseconds(m.time / runs),
                    share: share(m.time / runs),
                    counts: Some([m.rows, m.bytes, m.operations].map(|n| (n / u64::from(runs)) as i64)),
                    of_bandwidth: of(m.bytes, self.peak.bytes),
                    of_arithmetic: of(m.operations, self.peak.operations),
                }
            })
            .collect();
        rows.push(Row::named("optimizer, sampling and the log", milliseconds(beside), share(beside)));
        let threads = format!("a step, of {}; instructions are added up over all threads", self.steps);
        rows.push(Row::named(&threads, milliseconds(self.time), 1.0));
        let peak = format!(
            "one thread reads {:.1} GB and counts {:.1} billion operations a second",
            self.peak.bytes / 1e9,
            self.peak.operations / 1e9
        );
        rows.push(Row { time: f64::NAN, share: f64::NAN, ..Row::named(&peak, 0.0, 0.0) });
        let real = |f: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(f).collect::<Float64Array>()) };
        let count = |n: usize| -> ArrayRef { Arc::new(rows.iter().map(|r| r.counts.map(|c| c[n])).collect::<Int64Array>()) };
        let known = |x: f64| (!x.is_nan()).then_some(x);
        let over: StringArray = rows.iter().map(|r| r.over.as_deref()).collect();
        let instructions: StringArray = rows.iter().map(|r| Some(r.instruction.as_str())).collect();
        Ok(Outcome::batch(RecordBatch::try_from_iter_with_nullable([
            ("strip", Arc::new(rows.iter().map(|r| r.strip).collect::<Int64Array>()) as ArrayRef, true),
            ("over", Arc::new(over), true),
            ("instruction", Arc::new(instructions), false),
            ("ms", real(&|r| known(r.time)), true),
            ("share", real(&|r| known(r.share)), true),
            ("rows", count(0), true),
            ("bytes", count(1), true),
            ("operations", count(2), true),
            ("of_bandwidth", real(&|r| r.of_bandwidth), true),
            ("of_arithmetic", real(&|r| r.of_arithmetic), true),
        ])?))
    }
}

fn rounded(x: f64, digits: i32) -> f64 {
    (x * 10f64.powi(digits)).round() / 10f64.powi(digits)
}

#[derive(Default)]
struct Row {
    strip: Option<i64>,
    over: Option<String>,
    instruction: String,
    time: f64,
    share: f64,
    /// Rows, bytes and operations.
    counts: Option<[i64; 3]>,
    of_bandwidth: Option<f64>,
    of_arithmetic: Option<f64>,
}

impl Row {
    fn named(instruction: &str, time: f64, share: f64) -> Self {
        Self { instruction: instruction.to_string(), time, share, ..Self::default() }
    }
}
