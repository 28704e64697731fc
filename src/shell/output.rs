//! Where results go, and how they look there.

use super::Stop;
use super::format::{self, Format};
use super::progress;
use super::settings::Settings;
use super::table::{self, Look};
use crate::error::Error;
use crate::session::{Outcome, Statement};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What is asked of results.
pub(super) struct Output {
    pub settings: Settings,
    /// Instead of standard output.
    pub file: Option<File>,
}

impl Output {
    /// Sends results to a file from now on, or back to standard output.
    pub fn send_to(&mut self, path: Option<&str>) -> Result<(), Stop> {
        let open = |path: &str| File::create(Path::new(path)).map_err(|e| Error::new(format!("{path} cannot be written: {e}")));
        self.file = path.map(open).transpose()?;
        Ok(())
    }

    /// Writes what a statement gave. A TRAIN is watched on a terminal, and told in short where its log would be a table.
    pub async fn show(&mut self, statement: &Statement, outcome: Outcome, started: Instant) -> Result<(), Stop> {
        if let Outcome::Done(tag) = outcome {
            let _ = writeln!(stderr(), "{tag} ({} ms)", started.elapsed().as_millis());
            return Ok(());
        }
        let length = crate::session::length(statement).filter(|_| stderr().is_terminal());
        let on_terminal = self.file.is_none() && stdout().is_terminal();
        let is_coloured = self.settings.is_coloured();
        match length {
            Some(length) if on_terminal && self.settings.format == Format::Table => progress::told(outcome, length, is_coloured).await?,
            // Rows and a live line on one terminal would write over each other.
            Some(length) if !on_terminal => self.write(progress::watched(outcome, length, is_coloured)).await?,
            _ if statement.is_explanation() => self.written(outcome, true).await?,
            _ => self.write(outcome).await?,
        }
        if self.settings.timing {
            let _ = writeln!(stderr(), "Time: {:.3} ms", started.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }

    /// Writes rows where results go.
    pub async fn write(&mut self, outcome: Outcome) -> Result<(), Stop> {
        self.written(outcome, false).await
    }

    async fn written(&mut self, outcome: Outcome, explains: bool) -> Result<(), Stop> {
        let Settings { format, expanded, paging, .. } = self.settings;
        let on_terminal = self.file.is_none() && stdout().is_terminal();
        let paged = paging && on_terminal && format == Format::Table;
        let width = terminal_size().map(|(columns, _)| columns).filter(|_| on_terminal && !paged);
        let most = if paged || explains { usize::MAX } else { self.settings.max_rows.get() };
        let painted = explains && on_terminal && !paged && self.settings.is_coloured();
        let look = Look { width, expanded, most, painted };
        if let Some(file) = &mut self.file {
            return write_to(&mut BufWriter::new(file), outcome, format, look).await;
        }
        if !paged {
            return write_to(&mut BufWriter::new(stdout().lock()), outcome, format, look).await;
        }
        let mut pager = pager(self.settings.pager.as_deref())?;
        let input = pager.stdin.take().ok_or_else(|| Error::new("the pager takes no input"))?;
        let written = write_to(&mut BufWriter::new(input), outcome, format, look).await;
        pager.wait()?;
        // A pager that was left before the end is no failure.
        if let Err(Stop::Closed) = written { Ok(()) } else { written }
    }
}

/// Columns and rows of the terminal, where it has any.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    let (columns, rows) = crossterm::terminal::size().ok()?;
    (columns > 0 && rows > 0).then_some((usize::from(columns), usize::from(rows)))
}

async fn write_to(out: &mut impl Write, mut outcome: Outcome, format: Format, look: Look) -> Result<(), Stop> {
    let Some(schema) = outcome.schema() else { return Ok(()) };
    match format {
        Format::Table => table::write(out, outcome, &schema, look).await?,
        other => format::write(out, &mut outcome, &schema, other).await?,
    }
    Ok(out.flush()?)
}

/// The pager of the settings, else $PAGER, else less.
fn pager(set: Option<&str>) -> Result<Child, Stop> {
    let command = set.map(str::to_string).or_else(|| std::env::var("PAGER").ok()).unwrap_or_else(|| "less -SFX".into());
    let mut words = command.split_whitespace();
    let mut pager = Command::new(words.next().unwrap_or("less"));
    let started = pager.args(words).stdin(Stdio::piped()).spawn();
    Ok(started
        .map_err(|e| Error::new(format!("the pager '{command}' cannot be started: {e}")).hint("set PAGER, or turn it off: \\pager"))?)
}
