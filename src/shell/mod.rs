//! The keyboard door: SQL text in from a script or a prompt, results out in one of a few formats.
//! It never hears of plans, tables or training; it asks the session.

mod braille;
mod canvas;
mod command;
mod complete;
mod editor;
mod explanation;
mod format;
mod grid;
mod mark;
mod output;
mod plot;
mod progress;
mod prompt;
mod report;
mod settings;
mod size;
mod table;

pub use format::Format;
pub use report::{ReportCommand, report};
pub use settings::settings_help;
pub use size::bytes;

use crate::error::{Error, Place, Result};
use crate::session::{Options, Session, is_complete, statements};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use output::Output;
use settings::Settings;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Command {
    pub database: Option<PathBuf>,
    pub read_only: bool,
    /// In bytes.
    pub memory_limit: Option<usize>,
    pub format: Option<Format>,
    /// The settings file, instead of the user's own.
    pub config: Option<PathBuf>,
    /// `-c` and `-f`, in the order of the command line.
    pub scripts: Vec<Script>,
}

#[derive(Debug, Clone)]
pub enum Script {
    Text(String),
    File(PathBuf),
}

/// Why a command ended early.
#[derive(Debug)]
enum Stop {
    /// With the text that places in it are of.
    Failed(Error, Option<String>),
    /// Nobody reads the results any more.
    Closed,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error, None)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Stop::Closed,
            _ => Error::new(format!("results cannot be written: {error}")).into(),
        }
    }
}

/// Runs a command and gives its exit status: 0; 1 when a statement failed; 2 when the settings file cannot be used.
pub fn run(command: Command) -> LocalBoxFuture<'static, u8> {
    async move { status(command.config.as_deref(), async |settings| all(&command, settings).await).await }.boxed_local()
}

/// The exit status of some work with the settings of a file.
async fn status(config: Option<&Path>, work: impl AsyncFnOnce(Settings) -> Result<(), Stop>) -> u8 {
    let settings = match Settings::load(config) {
        Ok(settings) => settings,
        Err(error) => {
            say(&error, None);
            return 2;
        }
    };
    match work(settings).await {
        Ok(()) | Err(Stop::Closed) => 0,
        Err(Stop::Failed(error, sql)) => {
            say(&error, sql.as_deref());
            1
        }
    }
}

async fn all(command: &Command, mut settings: Settings) -> Result<(), Stop> {
    settings.format = command.format.unwrap_or(settings.format);
    let memory_limit = command.memory_limit.or(settings.memory_limit);
    let options = Options { path: command.database.clone(), read_only: command.read_only, memory_limit, ..Options::default() };
    let session = Session::open(options).await?;
    let mut output = Output { settings, file: None };
    for script in &command.scripts {
        match script {
            Script::Text(sql) => run_text(&session, sql, &mut output).await?,
            Script::File(path) => run_file(&session, path, &mut output).await?,
        }
    }
    if !command.scripts.is_empty() {
        Ok(())
    } else if std::io::stdin().is_terminal() {
        prompt::talk(&session, output).await
    } else {
        run_stdin(&session, &mut output).await
    }
}

async fn run_file(session: &Session, path: &PathBuf, output: &mut Output) -> Result<(), Stop> {
    let place = || Place::File { path: path.display().to_string(), line: None, column: None };
    let sql = std::fs::read_to_string(path).map_err(|e| Error::new(format!("the script cannot be read: {e}")).at(place()))?;
    run_text(session, &sql, output).await
}

/// Runs statements as they arrive. Lines before a statement stay in its text as empty ones, so that places are those of the input.
async fn run_stdin(session: &Session, output: &mut Output) -> Result<(), Stop> {
    let (mut text, mut lines) = (String::new(), 0);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::new(format!("standard input cannot be read: {e}")))?;
        text.push_str(&line);
        text.push('\n');
        lines += 1;
        if line.trim_end().ends_with(';') && is_complete(&text) {
            run_text(session, &text, output).await?;
            text = "\n".repeat(lines);
        }
    }
    run_text(session, &text, output).await
}

/// Runs the statements of a text up to the first that fails.
async fn run_text(session: &Session, sql: &str, output: &mut Output) -> Result<(), Stop> {
    for statement in statements(sql) {
        let ran = async {
            let (statement, started) = (statement?, Instant::now());
            let outcome = session.execute(&statement).await?;
            output.show(&statement, outcome, started).await
        };
        ran.await.map_err(|stop| match stop {
            Stop::Failed(error, None) => Stop::Failed(error, Some(sql.to_string())),
            stop => stop,
        })?;
    }
    Ok(())
}

/// Tells what was done.
fn say_so(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn say(error: &Error, sql: Option<&str>) {
    let told = sql.map_or_else(|| error.to_string(), |sql| mark::marked(error, sql));
    let _ = writeln!(std::io::stderr(), "error: {told}");
}
