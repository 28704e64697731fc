//! A run as one page of HTML, which needs nothing else: what was asked, how it went, what it changed, and how it was relaxed.

mod page;
mod parameters;

use crate::error::{Error, Result};
use crate::plot::{self, Chart, Figure};
use crate::session::{Database, Session, Value, tells};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::array_value_to_string;
use page::{Page, escaped};

/// A page about a run.
pub struct Report {
    pub run_id: i64,
    pub html: String,
}

/// The size of the curve of the objective, and of what stands beside it.
const LARGE: (u32, u32) = (900, 420);
const SMALL: (u32, u32) = (900, 260);

/// More runs are not listed where one is not found.
const LISTED: i64 = 20;

/// Reports a run, or the newest.
pub async fn report(database: &Database, run: Option<i64>) -> Result<Report> {
    let session = database.session()?;
    let record = record(&session, run).await?;
    let (run_id, version) = (whole(&record, "run_id")?, whole(&record, "version")?);
    let statement = text(&record, "statement")?;
    let mut page = Page::new(&format!("Run {run_id}"));
    page.section("Statement");
    page.code(&statement);
    page.section("Outcome");
    page.facts(&facts(&record, &["relaxed_objective", "exact_objective", "relaxation_gap"])?);
    page.note("The relaxation gap is the relaxed objective minus the exact one of the same query, both at the end of the run.");
    curves(&mut page, &session, run_id, real(&record, "exact_objective")?).await?;
    page.section("Settings");
    page.facts(&facts(&record, &["started_at", "direction", "optimizer", "seed", "steps", "version", "elapsed_ms"])?);
    let before = database.at(version - 1).await?.session()?;
    let after = database.at(version).await?.session()?;
    page.section(&format!("Parameters, before (version {}) and after (version {version})", version - 1));
    parameters::tell(&mut page, &before, &after).await?;
    page.section("Explanation");
    explanation(&mut page, &before, &statement).await?;
    Ok(Report { run_id, html: page.end() })
}

/// The row of a run in `nabla.runs`.
async fn record(session: &Session, run: Option<i64>) -> Result<RecordBatch> {
    let newest = "SELECT MAX(run_id) FROM nabla.runs";
    let query = format!("SELECT * FROM nabla.runs WHERE run_id = COALESCE($1, ({newest}))");
    let found = rows(session, &query, &[Value::Int64(run)]).await?;
    if found.num_rows() == 1 {
        return Ok(found);
    }
    let known = rows(session, &format!("SELECT run_id FROM nabla.runs ORDER BY run_id DESC LIMIT {LISTED}"), &[]).await?;
    let known = (0..known.num_rows()).map(|row| array_value_to_string(known.column(0), row)).collect::<Result<Vec<_>, _>>()?;
    Err(match run {
        _ if known.is_empty() => Error::new("nothing was trained in this database").hint("TRAIN ... commits a run"),
        Some(run) if known.len() < LISTED as usize => {
            Error::new(format!("there is no run {run}")).hint(format!("the runs, newest first, are {}", known.join(", ")))
        }
        run => Error::new(format!("there is no run {}", run.unwrap_or_default()))
            .hint(format!("the newest runs are {}; all are in nabla.runs", known.join(", "))),
    })
}

/// The objective and the temperature over the steps.
async fn curves(page: &mut Page, session: &Session, run: i64, exact: Option<f64>) -> Result<()> {
    let query = "SELECT step, objective, temperature FROM nabla.steps WHERE run_id = $1 ORDER BY step";
    let steps = rows(session, query, &[Value::from(run)]).await?;
    if steps.num_rows() == 0 {
        page.note("No steps were taken.");
        return Ok(());
    }
    let x = ("step".to_string(), numbers(steps.column(0))?);
    let mut curves = vec![("relaxed objective".to_string(), numbers(steps.column(1))?)];
    curves.extend(exact.map(|exact| ("exact objective at the end".to_string(), vec![exact; x.1.len()])));
    draw(page, Ok(Figure::Chart(Chart { x: x.clone(), curves, is_scattered: false })), LARGE);
    let curves = vec![("temperature".to_string(), numbers(steps.column(2))?)];
    draw(page, Ok(Figure::Chart(Chart { x, curves, is_scattered: false })), SMALL);
    Ok(())
}

/// A figure on the page; numbers that cannot be drawn are no reason to tell nothing else.
fn draw(page: &mut Page, figure: Result<Figure>, size: (u32, u32)) {
    match figure.and_then(|figure| plot::svg(&figure, Some(size))) {
        Ok(svg) => page.figure(&svg),
        Err(error) => page.note(&error.to_string()),
    }
}

/// EXPLAIN of the statement over the database that the run began with. What it reads may be gone by now.
async fn explanation(page: &mut Page, before: &Session, statement: &str) -> Result<()> {
    let lines = match rows(before, &format!("EXPLAIN {statement}"), &[]).await {
        Ok(lines) => lines,
        Err(error) => {
            page.note("The statement can no longer be explained:");
            page.code(&error.without_positions().to_string());
            return Ok(());
        }
    };
    let mut table = vec![];
    for row in 0..lines.num_rows() {
        let cells = (0..3).map(|column| array_value_to_string(lines.column(column), row)).collect::<Result<Vec<_>, _>>()?;
        let class = format!("{:?}", tells(&cells[0], &cells[1])).to_lowercase();
        table.push((class, cells.iter().map(|cell| escaped(cell)).collect()));
    }
    page.note("Grey: what the exact engine does, once. Green: what is relaxed. Yellow: what is learned.");
    page.table(&["stage", "what", "detail"], &table);
    Ok(())
}

async fn rows(session: &Session, sql: &str, values: &[Value]) -> Result<RecordBatch> {
    let outcome = session.run_with(sql, values).await?;
    let schema = outcome.schema().ok_or_else(|| Error::new("a query gave no rows"))?;
    Ok(concat_batches(&schema, &outcome.collect().await?)?)
}

fn column<'a>(record: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    record.column_by_name(name).ok_or_else(|| Error::new(format!("nabla.runs has no column '{name}'")))
}

fn text(record: &RecordBatch, name: &str) -> Result<String> {
    Ok(array_value_to_string(column(record, name)?, 0)?)
}

fn real(record: &RecordBatch, name: &str) -> Result<Option<f64>> {
    Ok(Some(numbers(column(record, name)?)?[0]).filter(|x| !x.is_nan()))
}

fn whole(record: &RecordBatch, name: &str) -> Result<i64> {
    text(record, name)?.parse().map_err(|_| Error::new(format!("column '{name}' of nabla.runs is no whole number")))
}

/// Names of columns, and what stands in them.
fn facts(record: &RecordBatch, names: &[&str]) -> Result<Vec<(String, String)>> {
    let fact = |name: &&str| {
        let told = text(record, name)?;
        Ok((name.replace('_', " "), if told.is_empty() { "NULL".into() } else { told }))
    };
    names.iter().map(fact).collect()
}

/// NULL is NaN.
fn numbers(column: &ArrayRef) -> Result<Vec<f64>> {
    let column = cast(column, &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().iter().map(|x| x.unwrap_or(f64::NAN)).collect())
}
