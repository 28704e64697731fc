//! The prompt on a terminal: a statement ends with a semicolon, Ctrl-C cancels it, and commands begin with a backslash.

use super::command::{self, Command};
use super::editor::{Names, editor};
use super::output::{Output, terminal_size};
use super::plot::{self, Plot};
use super::{Stop, run_file, run_text, say, say_so};
use crate::error::{Error, Result};
use crate::session::{Session, Value, statements};
use arrow::util::display::array_value_to_string;
use reedline::{DefaultPrompt, DefaultPromptSegment, Reedline, Signal};
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

const TABLES: &str = "SELECT table_schema AS schema, table_name AS name, lower(table_type) AS kind FROM information_schema.tables
WHERE table_schema <> 'information_schema' ORDER BY table_schema, table_name";

/// Columns of one table, `$2` in the schema `$1`, with what is learnable of them.
const COLUMNS: &str = "SELECT c.column_name AS column, COALESCE(l.type, c.data_type) AS type, c.is_nullable AS nullable,
  CASE WHEN l.column_name IS NULL THEN '' ELSE 'learnable' END AS learnable, l.default, l.bound
FROM information_schema.columns c LEFT JOIN nabla.learnable_columns l
  ON c.table_schema = 'main' AND l.table_name = c.table_name AND l.column_name = c.column_name
WHERE c.table_schema = $1 AND c.table_name = $2 ORDER BY c.ordinal_position";

const NAMES: &str = "SELECT CASE WHEN table_schema = 'main' THEN table_name ELSE table_schema || '.' || table_name END, column_name
FROM information_schema.columns WHERE table_schema <> 'information_schema' ORDER BY table_schema, table_name, ordinal_position";

/// The curve of the last run.
const RUN: &str = "SELECT step, objective FROM nabla.steps WHERE run_id = (SELECT MAX(run_id) FROM nabla.runs) ORDER BY step";

struct Prompt<'a> {
    session: &'a Session,
    output: Output,
    editor: Reedline,
    names: Names,
    /// The last text with statements.
    last: String,
}

pub(super) async fn talk(session: &Session, output: Output) -> Result<(), Stop> {
    let names = Names::default();
    let editor = editor(names.clone(), &output.settings).map_err(|e| unusable(&e))?;
    let mut prompt = Prompt { session, output, editor, names, last: String::new() };
    let _ = writeln!(stderr(), "NablaDB {}: \\help for help, \\q to leave", env!("CARGO_PKG_VERSION"));
    loop {
        prompt.learn_names().await;
        let line = DefaultPrompt::new(DefaultPromptSegment::Basic(name(session).into()), DefaultPromptSegment::Empty);
        let text = match prompt.editor.read_line(&line).map_err(|e| unusable(&e))? {
            Signal::Success(text) => text,
            Signal::CtrlC => continue,
            _ => return Ok(()),
        };
        if let Err(e) = prompt.editor.sync_history() {
            say(&Error::new(format!("the history cannot be written: {e}")).hint("set NABLA_HISTORY"), None);
        }
        match prompt.obey(&text).await {
            Ok(true) => {}
            Ok(false) | Err(Stop::Closed) => return Ok(()),
            Err(Stop::Failed(error, sql)) => say(&error, sql.as_deref()),
        }
    }
}

/// As psql has it: a star in a transaction, an exclamation mark in one that has failed.
fn name(session: &Session) -> &'static str {
    match (session.in_transaction(), session.has_failed()) {
        (false, _) => "nabla",
        (true, false) => "nabla*",
        (true, true) => "nabla!",
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Stop {
    Error::new(format!("the terminal cannot be used: {error}")).into()
}

impl Prompt<'_> {
    /// Does what a line says; false to leave.
    async fn obey(&mut self, text: &str) -> Result<bool, Stop> {
        let Some(command) = Command::of(text) else {
            if !text.trim().is_empty() {
                self.last = text.into();
                self.run_last().await?;
            }
            return Ok(true);
        };
        let switched = |is_on: bool| if is_on { "on" } else { "off" };
        match command? {
            Command::Help => say_so(&command::help()),
            Command::Quit => return Ok(false),
            Command::Tables => self.cancellable(TABLES.into()).await?,
            Command::Describe(table) => self.describe(&table).await?,
            Command::Timing => {
                self.output.settings.timing ^= true;
                say_so(&format!("timing is {}", switched(self.output.settings.timing)));
            }
            Command::Expanded => {
                self.output.settings.expanded ^= true;
                say_so(&format!("expanded tables are {}", switched(self.output.settings.expanded)));
            }
            Command::Paging => {
                self.output.settings.paging ^= true;
                say_so(&format!("paging is {}", switched(self.output.settings.paging)));
            }
            Command::Format(name) => self.output.settings.format = name.parse().map_err(|e: String| Error::new(e))?,
            Command::Output(path) => self.output.send_to(path.as_deref())?,
            Command::Include(path) => {
                let path = PathBuf::from(path);
                cancelled_by_ctrl_c(run_file(self.session, &path, &mut self.output)).await?;
            }
            Command::Edit => {
                self.last = edited(&self.last)?;
                say_so(self.last.trim_end());
                self.run_last().await?;
            }
            Command::Plot(plot) => self.plot(plot).await?,
            Command::Watch(seconds) => loop {
                self.run_last().await?;
                cancelled_by_ctrl_c(async {
                    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                    Ok(())
                })
                .await?;
            },
        }
        Ok(true)
    }

    async fn run_last(&mut self) -> Result<(), Stop> {
        if self.last.trim().is_empty() {
            return Err(Error::new("there is no last statement").into());
        }
        self.cancellable(self.last.clone()).await
    }

    async fn cancellable(&mut self, sql: String) -> Result<(), Stop> {
        cancelled_by_ctrl_c(run_text(self.session, &sql, &mut self.output)).await
    }

    async fn plot(&mut self, Plot { kind, file, sql }: Plot) -> Result<(), Stop> {
        let (session, is_coloured) = (self.session, self.output.settings.is_coloured());
        let is_given = sql.is_some();
        let text = sql.unwrap_or_else(|| self.last.clone());
        let query = match statements(&text).next() {
            Some(Ok(statement)) if statement.is_query() => statement.text,
            Some(Ok(statement)) if statement.is_train() && !is_given => RUN.into(),
            None => RUN.into(),
            Some(Err(error)) if is_given => return Err(Stop::Failed(error, Some(text.clone()))),
            _ => return Err(Error::new("the last statement is no query").hint("\\plot draws a SELECT, or the last run").into()),
        };
        cancelled_by_ctrl_c(async move {
            let outcome = session.run(&query).await.map_err(|error| Stop::Failed(error, Some(query.clone())))?;
            if let Some(path) = file {
                return plot::save(outcome, kind, &path).await;
            }
            let (columns, rows) = terminal_size().unwrap_or((80, 24));
            let drawn = plot::drawn(outcome, kind, (columns - 1, (rows / 2).max(8)), is_coloured).await?;
            Ok(writeln!(stdout(), "{drawn}")?)
        })
        .await
    }

    async fn describe(&mut self, table: &str) -> Result<(), Stop> {
        let (schema, name) = table.split_once('.').unwrap_or(("main", table));
        // As SQL has it: in lower case unless it is quoted.
        let folded = |name: &str| name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).map_or(name.to_lowercase(), str::to_string);
        let of = [schema, name].map(|name| Value::from(folded(name)));
        let found = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2";
        if self.session.run_with(found, &of).await?.value().await? == Value::from(0i64) {
            return Err(Error::new(format!("there is no table or view '{table}'")).hint("\\d lists them").into());
        }
        let columns = self.session.run_with(COLUMNS, &of).await?;
        self.output.write(columns).await
    }

    /// What can be completed now. A database that cannot be read says so when it is asked for something.
    async fn learn_names(&mut self) {
        let Ok(outcome) = self.session.run(NAMES).await else { return };
        let Ok(batches) = outcome.collect().await else { return };
        let mut names: Vec<(String, Vec<String>)> = vec![];
        for batch in &batches {
            let text = |column: usize, row: usize| array_value_to_string(batch.column(column), row).unwrap_or_default();
            for row in 0..batch.num_rows() {
                let (table, column) = (text(0, row), text(1, row));
                match names.last_mut() {
                    Some((last, columns)) if *last == table => columns.push(column),
                    _ => names.push((table, vec![column])),
                }
            }
        }
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

/// Ctrl-C ends the statement, and what it has begun; not the shell.
async fn cancelled_by_ctrl_c(work: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Error::new("cancelled").into()),
    }
}

/// A text as the user's editor leaves it.
fn edited(text: &str) -> Result<String, Stop> {
    let failed = |e: std::io::Error| Error::new(format!("the statement cannot be edited: {e}"));
    let file = tempfile::Builder::new().prefix("nabla-").suffix(".sql").tempfile().map_err(failed)?;
    std::fs::write(file.path(), text).map_err(failed)?;
    let command = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "vi".into());
    let mut words = command.split_whitespace();
    let status = std::process::Command::new(words.next().unwrap_or("vi")).args(words).arg(file.path()).status();
    match status {
        Ok(status) if status.success() => Ok(std::fs::read_to_string(file.path()).map_err(failed)?),
        Ok(status) => Err(Error::new(format!("the editor '{command}' ended with {status}")).into()),
        Err(e) => Err(Error::new(format!("the editor '{command}' cannot be started: {e}")).hint("set EDITOR").into()),
    }
}
