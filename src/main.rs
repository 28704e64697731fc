//! The command line: what `nabla` is asked for, and the status that it ends with.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use nabladb::shell::{self, Command, Format, ReportCommand, Script, bytes};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// An embedded database whose queries learn.
///
/// Statements come from -c and -f, else from the prompt on a terminal, else from standard input. Results go to standard output, everything
/// else to standard error. Exit status: 0; 1 a statement failed (the statements before it stay committed); 2 wrong usage, or a settings file
/// that cannot be used.
#[derive(Parser)]
#[command(name = "nabla", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES, after_long_help = manual())]
struct Arguments {
    #[command(subcommand)]
    tool: Option<Tool>,
    /// The database's folder, made when missing; without one the database is in memory
    #[arg(value_name = "DATABASE")]
    database: Option<PathBuf>,
    /// Run SQL; may be repeated, and mixed with -f
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    command: Vec<String>,
    /// Run the SQL of a file; may be repeated, and mixed with -c
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    running: Running,
}

/// How statements are run.
#[derive(Args)]
struct Running {
    /// How results are written: table, csv, json, ndjson or arrow; without it, as tables
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Refuse every change to the database
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    engine: Engine,
}

/// What every work with a database takes.
#[derive(Args)]
struct Engine {
    /// How much memory sorts, joins, groups and the rows of a TRAIN may take, such as 512MB; the rest goes to temporary files
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_limit: Option<usize>,
    /// The settings file, instead of the user's own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What else the command does.
#[derive(Subcommand)]
enum Tool {
    /// Run programs in SQL, one after another
    Run {
        /// The database's folder, made when missing
        database: PathBuf,
        /// Files of SQL
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        running: Running,
    },
    /// Write a page of HTML about a run: its curve, the parameters before and after, the relaxation gap and the explanation
    Report {
        /// The database's folder
        database: PathBuf,
        /// The run's number in nabla.runs; without one, the newest
        run: Option<i64>,
        /// Where the page goes; - is standard output
        #[arg(short, long, value_name = "FILE", default_value = "report.html")]
        output: PathBuf,
        #[command(flatten)]
        engine: Engine,
    },
    /// Write the completions of a shell to standard output
    Completions { shell: clap_complete::Shell },
    /// Write the manual page to standard output
    Man,
}

const EXAMPLES: &str = "\
Examples:
  nabla shop                                      a prompt over the database in the folder shop
  nabla shop -f learn.sql                         run the statements of a file
  nabla shop --format csv -c 'SELECT * FROM t'    rows as CSV on standard output
  nabla run shop tables.sql learn.sql             run programs, with the same options
  nabla report shop 3 -o run3.html                a page about run 3
  nabla completions bash > /etc/bash_completion.d/nabla
  nabla man > nabla.1                             the manual page";

/// What stands below the whole help.
fn manual() -> String {
    format!("{EXAMPLES}\n\n{}", shell::settings_help())
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let scripts = scripts(&matches);
    let Arguments { tool, database, running, .. } = arguments;
    match tool {
        None => run(move || shell::run(command(database, scripts, running))),
        Some(Tool::Run { database, files, running }) => {
            run(move || shell::run(command(Some(database), files.into_iter().map(Script::File).collect(), running)))
        }
        Some(Tool::Report { database, run: number, output, engine: Engine { memory_limit, config } }) => {
            run(move || shell::report(ReportCommand { database, run: number, output, memory_limit, config }))
        }
        Some(Tool::Completions { shell }) => write(|command, text| {
            clap_complete::generate(shell, command, "nabla", text);
            Ok(())
        }),
        Some(Tool::Man) => write(|command, text| clap_mangen::Man::new(command.clone()).render(text)),
    }
}

fn command(database: Option<PathBuf>, scripts: Vec<Script>, running: Running) -> Command {
    let Running { format, read_only, engine: Engine { memory_limit, config } } = running;
    Command { database, read_only, memory_limit, format, config, scripts }
}

/// What is made of the command line, on standard output; whoever reads it may stop before the end.
fn write(make: impl FnOnce(&mut clap::Command, &mut Vec<u8>) -> std::io::Result<()>) -> ExitCode {
    let mut text = vec![];
    match make(&mut Arguments::command(), &mut text).and_then(|()| std::io::stdout().write_all(&text)) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: standard output cannot be written: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

const STACK: usize = 512 << 20;

/// Deeply nested queries are walked recursively; the memory of a stack is only taken when it is used.
fn run<F: Future<Output = u8>>(work: impl FnOnce() -> F + Send + 'static) -> ExitCode {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK / 8).build()?;
        Ok(runtime.block_on(work()))
    });
    let status = thread.and_then(|work| work.join().map_err(|_| std::io::Error::other("it stopped unexpectedly"))).flatten();
    status.map_or_else(
        |e| {
            eprintln!("error: the engine failed: {e}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

/// -c and -f in the order in which they were written.
fn scripts(matches: &ArgMatches) -> Vec<Script> {
    let indices = |name: &str| matches.indices_of(name).into_iter().flatten();
    let texts = matches.get_many::<String>("command").into_iter().flatten().cloned().map(Script::Text);
    let files = matches.get_many::<PathBuf>("file").into_iter().flatten().cloned().map(Script::File);
    let mut scripts: Vec<(usize, Script)> = indices("command").zip(texts).chain(indices("file").zip(files)).collect();
    scripts.sort_by_key(|(index, _)| *index);
    scripts.into_iter().map(|(_, script)| script).collect()
}
