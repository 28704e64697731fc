//! The command line: what `nabla` is asked for, and the status that it ends with.

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use nabladb::shell::{self, Command, Format, Script};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// An embedded database whose queries learn.
///
/// Statements come from -c and -f, else from the prompt on a terminal, else from standard input. Results go to standard output, everything
/// else to standard error. Exit status: 0; 1 a statement failed (the statements before it stay committed); 2 wrong usage.
#[derive(Parser)]
#[command(name = "nabla", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
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
    /// How results are written: table, csv, json, ndjson or arrow
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Refuse every change to the database
    #[arg(long)]
    read_only: bool,
    /// How much memory sorts, joins, groups and the rows of a TRAIN may take, such as 512MB; the rest goes to temporary files
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_limit: Option<usize>,
}

/// What else the command does.
#[derive(Subcommand)]
enum Tool {
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
  nabla completions bash > /etc/bash_completion.d/nabla
  nabla man > nabla.1                             the manual page";

/// A number of bytes, KB, MB, GB or TB, each 1,024 of the one before.
fn bytes(text: &str) -> Result<usize, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().map_err(|_| "write a number and a unit, such as 512MB".to_string())?;
    let power = match unit.trim().to_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        _ => return Err(format!("the unit '{unit}' is none of B, KB, MB, GB, TB")),
    };
    Ok((number * 1024f64.powi(power)) as usize)
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let scripts = scripts(&matches);
    let Arguments { tool, database, read_only, memory_limit, format, .. } = arguments;
    if let Some(tool) = tool {
        return write(tool);
    }
    let command = Command { database, read_only, memory_limit, format: Some(format), scripts };
    // Deeply nested queries are walked recursively; the memory of a stack is only taken when it is used.
    let work = std::thread::Builder::new().stack_size(STACK).spawn(move || run(command));
    let status = work.and_then(|work| work.join().map_err(|_| std::io::Error::other("it stopped unexpectedly"))).and_then(|status| status);
    status.map_or_else(
        |e| {
            eprintln!("error: the engine failed: {e}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

/// Completions, or the manual page, on standard output; whoever reads them may stop before the end.
fn write(tool: Tool) -> ExitCode {
    let (mut command, mut text) = (Arguments::command(), vec![]);
    let made = match tool {
        Tool::Completions { shell } => {
            clap_complete::generate(shell, &mut command, "nabla", &mut text);
            Ok(())
        }
        Tool::Man => clap_mangen::Man::new(command).render(&mut text),
    };
    match made.and_then(|()| std::io::stdout().write_all(&text)) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: standard output cannot be written: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

const STACK: usize = 512 << 20;

fn run(command: Command) -> std::io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK / 8).build()?;
    Ok(runtime.block_on(shell::run(command)))
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
