//! A run on a terminal: one live line while it learns, and what came of it.

use super::Stop;
use super::braille::sparkline;
use super::output::terminal_size;
use crate::error::Result;
use crate::session::{Length, Outcome, Step, Trained, Training, steps_of};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{Write, stdout};
use std::time::Duration;

/// Parts of the bar, and columns of it.
const PARTS: u64 = 1000;
const BAR: usize = 20;
/// Columns of the small curve, and how many objectives are kept for it.
const CURVE: usize = 12;
const MOST_KEPT: usize = 512;

/// The line, and what is known of the run so far.
struct Line {
    bar: ProgressBar,
    length: Length,
    /// Steps of an epoch.
    each: Option<u64>,
    objectives: Curve,
    first: Option<f64>,
    /// With their steps.
    validations: Vec<(u64, f64)>,
}

/// Objectives in order, ever fewer of the many.
struct Curve {
    kept: Vec<f64>,
    every: u64,
    seen: u64,
}

impl Curve {
    fn push(&mut self, x: f64) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(x);
        }
        self.seen += 1;
        if self.kept.len() >= MOST_KEPT {
            let mut number = 0;
            self.kept.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every *= 2;
        }
    }
}

impl Line {
    fn new(length: Length, is_coloured: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr());
        let colours = if is_coloured { ".cyan/dim" } else { "" };
        let style = ProgressStyle::with_template(&format!("{{bar:{BAR}{colours}}} {{msg}}")).expect("a template");
        bar.set_style(style.progress_chars("━━─"));
        Self { bar, length, each: None, objectives: Curve { kept: vec![], every: 1, seen: 0 }, first: None, validations: vec![] }
    }

    fn step(&mut self, step: &Step) {
        self.first.get_or_insert(step.objective);
        self.objectives.push(step.objective);
        self.validations.extend(step.validation.map(|x| (step.step, x)));
        let (part, at) = match self.length {
            Length::Steps(all) => (step.step as f64 / all.max(1) as f64, format!("step {}/{all}", step.step)),
            Length::Epochs(all) => {
                // Before the second epoch nobody knows how many steps one has.
                if step.epoch == 2 {
                    self.each.get_or_insert(step.step - 1);
                }
                let part = self.each.map_or(0.0, |each| step.step as f64 / (each.max(1) as f64 * all.max(1) as f64));
                (part, format!("step {}, epoch {}/{all}", step.step, step.epoch))
            }
        };
        let part = part.clamp(0.0, 1.0);
        let left = Duration::try_from_secs_f64(step.elapsed_ms / 1e3 * (1.0 - part) / part).unwrap_or_default();
        self.bar.set_position((part * PARTS as f64) as u64);
        let message = format!(
            "{at}  objective {:.6} {}{}  T {:.3}  {} left  {} rows/s",
            step.objective,
            sparkline(&self.objectives.kept, CURVE),
            self.validations.last().map_or(String::new(), |(_, x)| format!("  valid {x:.6}")),
            step.temperature,
            clock(left),
            short(step.rows_per_second)
        );
        // Room for the bar, and for the ^C of whoever cancels: a line that is cut by the terminal cannot be cleared.
        let width = terminal_size().map_or(80, |(columns, _)| columns);
        self.bar.set_message(message.chars().take(width.saturating_sub(BAR + 4)).collect::<String>());
    }
}

/// Nothing of the line stays, however the run ends.
impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A count in a few characters.
fn short(x: f64) -> String {
    match x {
        x if x >= 1e9 => format!("{:.1}G", x / 1e9),
        x if x >= 1e6 => format!("{:.1}M", x / 1e6),
        x if x >= 1e3 => format!("{:.1}k", x / 1e3),
        x => format!("{x:.0}"),
    }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

/// The log of a run as it is, with the live line beside it.
pub(super) fn watched(log: Outcome, length: Length, is_coloured: bool) -> Outcome {
    let mut line = Line::new(length, is_coloured);
    log.inspected(move |rows| steps_of(rows).for_each(|step| line.step(&step)))
}

/// Instead of the log, the live line and then what came of the run.
pub(super) async fn told(log: Outcome, length: Length, is_coloured: bool) -> Result<(), Stop> {
    let mut line = Line::new(length, is_coloured);
    let mut training = Training::of(log);
    while let Some(step) = training.next().await {
        line.step(&step?);
    }
    let trained = training.finish().await?;
    line.bar.finish_and_clear();
    Ok(summary(&trained, &line)?)
}

fn summary(trained: &Trained, line: &Line) -> std::io::Result<()> {
    let mut out = stdout().lock();
    let shown = |x: Option<f64>| x.map_or("NULL".into(), |x| format!("{x:.6}"));
    writeln!(out, "run {}: {} steps in {:.2} s, version {}", trained.run_id, trained.steps, trained.elapsed_ms / 1e3, trained.version)?;
    writeln!(
        out,
        "  relaxed objective  {} -> {}  {}",
        shown(line.first),
        shown(Some(trained.relaxed_objective)),
        sparkline(&line.objectives.kept, 2 * CURVE)
    )?;
    writeln!(out, "  exact objective    {}", shown(trained.exact_objective))?;
    writeln!(out, "  relaxation gap     {}", shown(trained.relaxation_gap()))?;
    if let Some((step, best)) = line.validations.iter().find(|(_, x)| Some(*x) == trained.validation) {
        writeln!(out, "  best validation    {best:.6} at step {step}")?;
    }
    Ok(())
}
