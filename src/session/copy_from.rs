//! COPY FROM: the rows of a CSV, Parquet or JSON file, with the line and the column of what does not fit.

mod csv;
mod json;

use super::{Outcome, Session, insert, kept};
use crate::error::{Error, Place, Result};
use crate::grammar;
use crate::storage::Change;
use crate::table::{ColumnDefinition, TableDefinition};
use arrow::array::{ArrayRef, RecordBatch};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use datafusion::sql::sqlparser::ast::{CopyOption, CopySource, CopyTarget, Ident};
use std::collections::HashMap;
use std::path::Path;

/// Columns by name, and the number of rows.
type Given = (HashMap<String, ArrayRef>, usize);

pub(super) async fn copy_from(
    session: &Session,
    source: &CopySource,
    target: &CopyTarget,
    options: &[CopyOption],
    text: &str,
) -> Result<Outcome> {
    let CopySource::Table { table_name, columns } = source else { return Err(Error::new("COPY ... FROM needs a table")) };
    let CopyTarget::File { filename } = target else {
        return Err(Error::new(format!("COPY FROM {target} is not supported")).hint("read a file: COPY table FROM 'file.csv'"));
    };
    session.files()?;
    let _writing = session.turn().await?;
    let (context, snapshot) = session.context().await?;
    let table = kept::target(&snapshot, session, table_name)?;
    let columns = listed(table, columns)?;
    let given = match format(filename, options)?.as_str() {
        "CSV" => csv::read(filename, &columns, &csv::Options::of(options, filename)?)?,
        "JSON" | "NDJSON" => json::read(filename, &columns)?,
        "PARQUET" => parquet(&context, filename, &columns).await?,
        other => return Err(Error::new(format!("format '{other}' is not known")).hint("the formats are CSV, JSON and PARQUET")),
    };
    let rows = insert::complete_rows(&context, &snapshot, table, given).await.map_err(|e| e.at(file(filename)))?;
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    if count > 0 {
        let change = Change::Append { schema: table.schema.clone(), name: table.name.clone(), rows };
        session.commit(vec![change], text).await?;
    }
    Ok(Outcome::Done(format!("COPY {count}")))
}

/// The columns that the file is for.
fn listed<'a>(table: &'a TableDefinition, columns: &[Ident]) -> Result<Vec<&'a ColumnDefinition>> {
    if columns.is_empty() {
        return Ok(table.columns.iter().collect());
    }
    columns.iter().map(|column| kept::column(table, &grammar::name(column))).collect()
}

/// The format that is named, or that the file's name ends with.
fn format(filename: &str, options: &[CopyOption]) -> Result<String> {
    let named = options.iter().find_map(|option| match option {
        CopyOption::Format(format) => Some(format.value.to_uppercase()),
        _ => None,
    });
    let ending = || Path::new(filename).extension().map(|e| e.to_string_lossy().to_uppercase());
    match named.or_else(ending).as_deref() {
        Some("CSV" | "TSV" | "TXT") => Ok("CSV".into()),
        Some("JSON" | "NDJSON" | "JSONL") => Ok("JSON".into()),
        Some("PARQUET" | "PQ") => Ok("PARQUET".into()),
        Some(other) => Ok(other.into()),
        None => Err(Error::new("the format of the file is not known")
            .at(file(filename))
            .hint("write (FORMAT csv), (FORMAT json) or (FORMAT parquet)")),
    }
}

async fn parquet(context: &SessionContext, filename: &str, columns: &[&ColumnDefinition]) -> Result<Vec<Given>> {
    let unreadable = |e: datafusion::error::DataFusionError| Error::from(e).at(file(filename));
    if !Path::new(filename).exists() {
        return Err(Error::new("the file does not exist").at(file(filename)));
    }
    let extension = Path::new(filename).extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let options = ParquetReadOptions { file_extension: &extension, ..Default::default() };
    let frame = kept::in_order(context).read_parquet(filename, options).await.map_err(unreadable)?;
    let batches = frame.collect().await.map_err(unreadable)?;
    batches.into_iter().map(|batch| by_name(&batch, columns, filename)).collect()
}

/// A file's columns under the names that the table has for them. Columns that the file lacks get their defaults.
fn by_name(batch: &RecordBatch, columns: &[&ColumnDefinition], filename: &str) -> Result<Given> {
    let schema = batch.schema();
    known(schema.fields().iter().map(|f| f.name().as_str()), columns, filename)?;
    let given = columns.iter().filter_map(|column| {
        let index = schema.fields().iter().position(|f| f.name().eq_ignore_ascii_case(&column.name))?;
        Some((column.name.clone(), batch.column(index).clone()))
    });
    Ok((given.collect(), batch.num_rows()))
}

/// Every column of the file is one of the table's.
fn known<'a>(names: impl Iterator<Item = &'a str>, columns: &[&ColumnDefinition], filename: &str) -> Result<()> {
    let unknown = names.filter(|name| !columns.iter().any(|c| c.name.eq_ignore_ascii_case(name)));
    let refusals = unknown.map(|name| {
        let what = format!("the file's column '{name}' is not a column of the table");
        let error = Error::new(what).at(Place::File { path: filename.into(), line: Some(1), column: Some(name.into()) });
        match grammar::nearest(name, columns.iter().map(|c| c.name.as_str())) {
            Some(meant) => error.hint(format!("did you mean '{meant}'?")),
            None => error.hint("rename the column in the file, or list the columns: COPY table (a, b) FROM ..."),
        }
    });
    Error::all(refusals).map_or(Ok(()), Err)
}

fn file(path: &str) -> Place {
    Place::File { path: path.to_string(), line: None, column: None }
}
