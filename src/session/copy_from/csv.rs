//! CSV files: every field is read as text and then as its column's type, so that what does not fit has a place.

use super::{Given, file, known};
use crate::error::{Error, Place, Result};
use crate::table::{self, ColumnDefinition};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder as JsonReaderBuilder;
use datafusion::sql::sqlparser::ast::CopyOption;
use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

pub(super) struct Options {
    header: bool,
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    null: String,
}

impl Options {
    pub fn of(options: &[CopyOption], filename: &str) -> Result<Self> {
        let is_tsv = Path::new(filename).extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        let mut ours = Self { header: true, delimiter: if is_tsv { b'\t' } else { b',' }, quote: b'"', escape: None, null: String::new() };
        let byte = |what: &str, letter: char| {
            u8::try_from(letter).map_err(|_| Error::new(format!("{what} '{letter}' is not a single byte")).hint("use an ASCII character"))
        };
        for option in options {
            match option {
                CopyOption::Format(_) => {}
                CopyOption::Header(header) => ours.header = *header,
                CopyOption::Delimiter(letter) => ours.delimiter = byte("DELIMITER", *letter)?,
                CopyOption::Quote(letter) => ours.quote = byte("QUOTE", *letter)?,
                CopyOption::Escape(letter) => ours.escape = Some(byte("ESCAPE", *letter)?),
                CopyOption::Null(text) => ours.null = text.clone(),
                other => return Err(Error::new(format!("COPY option {other} is not supported"))),
            }
        }
        Ok(ours)
    }
}

pub(super) fn read(filename: &str, columns: &[&ColumnDefinition], options: &Options) -> Result<Vec<Given>> {
    let bytes = std::fs::read(filename).map_err(|e| Error::new(format!("the file cannot be read: {e}")).at(file(filename)))?;
    let names = header(&bytes, filename, columns, options)?;
    let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
    let mut format = Format::default().with_header(options.header).with_delimiter(options.delimiter).with_quote(options.quote);
    if let Some(escape) = options.escape {
        format = format.with_escape(escape);
    }
    let reader = ReaderBuilder::new(Arc::new(Schema::new(fields))).with_format(format).with_batch_size(8192).build(Cursor::new(&bytes));
    let mut first = 0;
    let mut given = Vec::new();
    for batch in reader? {
        let batch = batch.map_err(|e| malformed(&e.to_string(), &bytes, filename, options))?;
        let place = |row: usize, column: &str| Place::File {
            path: filename.into(),
            line: Some(line_of(&bytes, first + row + usize::from(options.header), options)),
            column: Some(column.into()),
        };
        given.push(typed(&batch, columns, &options.null, &place)?);
        first += batch.num_rows();
    }
    Ok(given)
}

/// The names of the file's columns: its header, or the table's columns in their order.
fn header(bytes: &[u8], filename: &str, columns: &[&ColumnDefinition], options: &Options) -> Result<Vec<String>> {
    if !options.header {
        return Ok(columns.iter().map(|c| c.name.clone()).collect());
    }
    let format = Format::default().with_header(true).with_delimiter(options.delimiter).with_quote(options.quote);
    let (schema, _) = format.infer_schema(Cursor::new(bytes), Some(0)).map_err(|e| malformed(&e.to_string(), bytes, filename, options))?;
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().trim_start_matches('\u{feff}').to_string()).collect();
    if names.is_empty() {
        return Err(Error::new("the file is empty")
            .at(file(filename))
            .hint("begin it with a line of column names, or write (HEADER false)"));
    }
    known(names.iter().map(String::as_str), columns, filename)?;
    Ok(names)
}

fn typed(batch: &RecordBatch, columns: &[&ColumnDefinition], null: &str, place: &dyn Fn(usize, &str) -> Place) -> Result<Given> {
    let (mut given, mut refusals) = (HashMap::new(), Vec::new());
    for (field, texts) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(column) = columns.iter().find(|c| c.name.eq_ignore_ascii_case(field.name())) else { continue };
        match values(texts.as_string::<i32>(), column, null) {
            Ok(values) => drop(given.insert(column.name.clone(), values)),
            Err((row, text)) => {
                let error = Error::new(format!("'{text}' is not {}", column.type_name())).at(place(row, field.name()));
                refusals.push(error.hint("correct the file, or give the column another type"));
            }
        }
    }
    Error::all(refusals).map_or(Ok((given, batch.num_rows())), Err)
}

/// Texts as a column's type; the first text that is none, with its row, otherwise.
fn values(texts: &StringArray, column: &ColumnDefinition, null: &str) -> std::result::Result<ArrayRef, (usize, String)> {
    let texts: StringArray = texts.iter().map(|text| text.filter(|text| null.is_empty() || *text != null)).collect();
    if column.data_type.is_nested() {
        return nested(&texts, column);
    }
    let trimmed: StringArray = match column.data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => texts,
        _ => texts.iter().map(|text| text.map(str::trim)).collect(),
    };
    let lenient = CastOptions { safe: true, ..Default::default() };
    let values = cast_with_options(&trimmed, &column.data_type, &lenient).map_err(|_| (0, trimmed.value(0).to_string()))?;
    match (0..values.len()).find(|row| values.is_null(*row) && trimmed.is_valid(*row)) {
        Some(row) => Err((row, trimmed.value(row).to_string())),
        None => Ok(values),
    }
}

/// Arrays are written `[1, 2, 3]` or `{1, 2, 3}`, matrices as arrays of them; they are read as JSON.
fn nested(texts: &StringArray, column: &ColumnDefinition) -> std::result::Result<ArrayRef, (usize, String)> {
    let schema = Arc::new(Schema::new(vec![Field::new("v", column.data_type.clone(), true)]));
    let decode = |rows: &mut dyn Iterator<Item = Option<&str>>| {
        let mut json = String::new();
        for text in rows {
            let text = text.map_or("null".into(), |t| {
                if column.dimensions.is_empty() { t.to_string() } else { t.replace('{', "[").replace('}', "]") }
            });
            json.push_str(&format!("{{\"v\":{text}}}\n"));
        }
        let reader =
            JsonReaderBuilder::new(schema.clone()).with_batch_size(texts.len().max(1)).build(Cursor::new(json.into_bytes())).ok()?;
        let batches: Vec<RecordBatch> = reader.collect::<std::result::Result<_, _>>().ok()?;
        let [batch] = batches.as_slice() else { return None };
        table::cast(column, batch.column(0)).ok()
    };
    if let Some(values) = decode(&mut texts.iter()).filter(|values| values.len() == texts.len()) {
        return Ok(values);
    }
    let wrong = (0..texts.len()).find(|row| texts.is_valid(*row) && decode(&mut std::iter::once(Some(texts.value(*row)))).is_none());
    let row = wrong.unwrap_or(0);
    Err((row, texts.value(row).to_string()))
}

/// What Arrow says about a file that is no CSV, with the line in the file: it counts records, and a record may have several lines.
fn malformed(message: &str, bytes: &[u8], filename: &str, options: &Options) -> Error {
    let numbers = message.split("for line ").nth(1).and_then(|rest| rest.split([',', ' ', ';']).next());
    let record = numbers.and_then(|n| n.parse::<usize>().ok()).map(|n| n.saturating_sub(1));
    let what = message.trim_start_matches("Csv error: ");
    let what = if let Some((_, counts)) = what.split_once("expected ") {
        format!("a line has the wrong number of fields: expected {counts}")
    } else {
        what.to_string()
    };
    let line = record.map(|record| line_of(bytes, record, options));
    Error::new(what).at(Place::File { path: filename.into(), line, column: None }).hint("correct the line in the file")
}

/// The line on which a record begins; records and lines are counted from 0 and 1. Empty lines are no records.
fn line_of(bytes: &[u8], record: usize, options: &Options) -> u64 {
    let (mut line, mut seen, mut quoted, mut content) = (1, 0, false, false);
    let mut start = 1;
    for byte in bytes {
        if !content && !quoted {
            start = line;
        }
        if *byte == options.quote {
            quoted = !quoted;
        }
        if *byte == b'\n' {
            line += 1;
            if !quoted && content {
                if seen == record {
                    return start;
                }
                (seen, content) = (seen + 1, false);
            }
        } else if *byte != b'\r' {
            content = true;
        }
    }
    start
}
