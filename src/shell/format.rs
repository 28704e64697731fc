//! The formats of results. What can be written row by row is written as it arrives.

use super::Stop;
use crate::error::{Error, Result};
use crate::session::Outcome;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::json::{Writer, WriterBuilder as JsonWriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Deserialize;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Table,
    Csv,
    Json,
    Ndjson,
    Arrow,
}

/// The names of the formats, in reading order.
pub const FORMATS: [(&str, Format); 5] =
    [("table", Format::Table), ("csv", Format::Csv), ("json", Format::Json), ("ndjson", Format::Ndjson), ("arrow", Format::Arrow)];

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
        found.ok_or_else(|| format!("the formats are {}", FORMATS.map(|(known, _)| known).join(", ")))
    }
}

/// Writes one result in any format but a table.
pub(super) async fn write(out: &mut impl Write, rows: &mut Outcome, schema: &SchemaRef, format: Format) -> Result<(), Stop> {
    match format {
        Format::Table => unreachable!("tables are drawn elsewhere"),
        Format::Csv => csv(out, rows, schema).await,
        Format::Json => json(out, rows).await,
        Format::Ndjson => ndjson(out, rows).await,
        Format::Arrow => ipc(out, rows, schema).await,
    }
}

async fn csv(out: &mut impl Write, rows: &mut Outcome, schema: &SchemaRef) -> Result<(), Stop> {
    let mut header = true;
    let mut write = |batch: &RecordBatch, out: &mut dyn Write| {
        let written = WriterBuilder::new().with_header(std::mem::take(&mut header)).build(out).write(&flat(batch)?);
        written.map_err(io_or_engine)
    };
    write(&RecordBatch::new_empty(schema.clone()), out)?;
    while let Some(batch) = rows.next().await {
        write(&batch?, out)?;
        out.flush()?;
    }
    Ok(())
}

async fn json(out: &mut impl Write, rows: &mut Outcome) -> Result<(), Stop> {
    let mut writer: Writer<_, JsonArray> = JsonWriterBuilder::new().with_explicit_nulls(true).build(&mut *out);
    while let Some(batch) = rows.next().await {
        writer.write(&batch?).map_err(io_or_engine)?;
    }
    writer.finish().map_err(io_or_engine)?;
    drop(writer);
    Ok(writeln!(out)?)
}

async fn ndjson(out: &mut impl Write, rows: &mut Outcome) -> Result<(), Stop> {
    while let Some(batch) = rows.next().await {
        let mut writer: Writer<_, LineDelimited> = JsonWriterBuilder::new().with_explicit_nulls(true).build(&mut *out);
        writer.write(&batch?).map_err(io_or_engine)?;
        writer.finish().map_err(io_or_engine)?;
        drop(writer);
        out.flush()?;
    }
    Ok(())
}

async fn ipc(out: &mut impl Write, rows: &mut Outcome, schema: &SchemaRef) -> Result<(), Stop> {
    let mut writer = StreamWriter::try_new(out, schema).map_err(io_or_engine)?;
    while let Some(batch) = rows.next().await {
        writer.write(&batch?).map_err(io_or_engine)?;
        writer.flush().map_err(io_or_engine)?;
    }
    writer.finish().map_err(io_or_engine)
}

/// Arrays and other nested values as text, which CSV has no way of its own for.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, Stop> {
    let options = FormatOptions::default();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            let texts = ArrayFormatter::try_new(column, &options).map_err(io_or_engine)?;
            let text = |row: usize| column.is_valid(row).then(|| texts.value(row).to_string());
            columns.push(Arc::new((0..column.len()).map(text).collect::<StringArray>()) as ArrayRef);
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        } else {
            columns.push(column.clone());
            fields.push(field.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(io_or_engine)
}

pub(super) fn io_or_engine(error: ArrowError) -> Stop {
    match error {
        ArrowError::IoError(_, inner) => Stop::from(inner),
        // The CSV writer hides what went wrong below it.
        ArrowError::CsvError(what) if what.contains("Broken pipe") => Stop::Closed,
        other => Error::from(other).into(),
    }
}
