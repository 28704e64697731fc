//! `nabla report`: a run as a page of HTML, in a file or on standard output.

use super::settings::Settings;
use super::{Stop, say_so, status};
use crate::error::Error;
use crate::report;
use crate::session::{Database, Options};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is to be reported, and where.
#[derive(Debug, Clone)]
pub struct ReportCommand {
    pub database: PathBuf,
    /// Without one, the newest.
    pub run: Option<i64>,
    /// `-` is standard output.
    pub output: PathBuf,
    /// In bytes.
    pub memory_limit: Option<usize>,
    /// The settings file, instead of the user's own.
    pub config: Option<PathBuf>,
}

/// Writes a report and gives the exit status of the command.
pub fn report(command: ReportCommand) -> LocalBoxFuture<'static, u8> {
    async move { status(command.config.as_deref(), async |settings| write(&command, settings).await).await }.boxed_local()
}

async fn write(command: &ReportCommand, settings: Settings) -> Result<(), Stop> {
    let ReportCommand { database, run, output, memory_limit, .. } = command;
    if !database.exists() {
        return Err(Error::new(format!("there is no database at {}", database.display())).hint("check the path").into());
    }
    let memory_limit = memory_limit.or(settings.memory_limit);
    let options = Options { path: Some(database.clone()), read_only: true, memory_limit, ..Options::default() };
    let report = report::report(&Database::open_with(options).await?, *run).await?;
    if output == Path::new("-") {
        return Ok(std::io::stdout().write_all(report.html.as_bytes())?);
    }
    let cannot = |e: std::io::Error| Error::new(format!("{} cannot be written: {e}", output.display()));
    std::fs::write(output, &report.html).map_err(cannot)?;
    say_so(&format!("{}: run {} of {}", output.display(), report.run_id, database.display()));
    Ok(())
}
