//! The command line: what `nabla` is asked for, and the status that it ends with.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use nabladb::Options;
use nabladb::server::{self, Limits, Settings};
use nabladb::shell::{self, Command, Format, ReportCommand, Script, bytes};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    /// Serve a database over Flight SQL, and PostgreSQL's protocol, until SIGINT or SIGTERM
    Serve(Box<Serve>),
}

#[derive(clap::Args)]
struct Serve {
    /// The database's folder, made when missing; without one the database is in memory
    #[arg(value_name = "DATABASE")]
    database: Option<PathBuf>,
    /// Where to listen; beyond loopback only with --users or --allow-anyone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:31337")]
    listen: SocketAddr,
    /// Where to speak PostgreSQL's protocol, such as 127.0.0.1:5433
    #[arg(long, value_name = "ADDRESS")]
    postgres: Option<SocketAddr>,
    /// Where to serve metrics for Prometheus, at /metrics
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// A file of name:password lines, readable by its owner only; a line :token is a bearer token
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// A PEM certificate, for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Listen beyond loopback although everybody may come in
    #[arg(long)]
    allow_anyone: bool,
    /// Refuse every change to the database
    #[arg(long)]
    read_only: bool,
    /// Let clients read and write files of this machine: COPY, FROM 'file', external tables
    #[arg(long)]
    allow_files: bool,
    /// How much memory sorts, joins, groups and the rows of a TRAIN of each connection may take, such as 512MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_limit: Option<usize>,
    /// How long a statement may take, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    statement_timeout: Option<Duration>,
    /// How long a client may leave rows unread before its statement is ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    stall_timeout: Duration,
    /// How many statements of one connection may run at once
    #[arg(long, value_name = "COUNT", default_value = "16")]
    max_statements: usize,
    /// How long statements may go on when the server is asked to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    grace: Duration,
    /// How logs are written to standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    /// Which logs are written, such as debug, or nabladb=debug,tonic=info
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

impl Serve {
    fn settings(&self) -> Settings {
        let options = Options {
            path: self.database.clone(),
            read_only: self.read_only,
            memory_limit: self.memory_limit,
            refuse_files: !self.allow_files,
        };
        let limits =
            Limits { statement_timeout: self.statement_timeout, stall_timeout: self.stall_timeout, statements: self.max_statements };
        Settings {
            database: options,
            listen: self.listen,
            postgres: self.postgres,
            metrics: self.metrics,
            users: self.users.clone(),
            tls: self.tls_certificate.clone().zip(self.tls_key.clone()),
            allow_anyone: self.allow_anyone,
            limits,
            grace: self.grace,
        }
    }

    /// The server, until it is asked to stop; asked twice, it stops at once.
    async fn run(self) -> u8 {
        let failed = |error: &dyn std::fmt::Display| {
            eprintln!("error: {error}");
            1
        };
        let filter = match tracing_subscriber::EnvFilter::try_new(&self.log) {
            Ok(filter) => filter,
            Err(error) => return failed(&error),
        };
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
        if self.log_format == "json" {
            logs.json().init()
        } else {
            logs.init()
        }
        let stop = match asked_to_stop() {
            Ok(stop) => stop,
            Err(error) => return failed(&error),
        };
        server::serve(self.settings(), stop).await.map_or_else(|error| failed(&error), |()| 0)
    }
}

/// SIGINT or SIGTERM; the second one ends the process.
#[cfg(unix)]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut next = async move || {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            std::process::exit(1);
        });
    })
}

#[cfg(not(unix))]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.ok_or_else(|| "write a number of seconds, such as 30 or 0.5".into())
}

const EXAMPLES: &str = "\
Examples:
  nabla shop                                      a prompt over the database in the folder shop
  nabla shop -f learn.sql                         run the statements of a file
  nabla shop --format csv -c 'SELECT * FROM t'    rows as CSV on standard output
  nabla run shop tables.sql learn.sql             run programs, with the same options
  nabla report shop 3 -o run3.html                a page about run 3
  nabla serve shop --listen 127.0.0.1:31337       Flight SQL over the database
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
        Some(Tool::Serve(serve)) => run(move || serve.run()),
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
