//! JSON files: one object after another, or one array of objects.

use super::{Given, by_name, file};
use crate::error::{Error, Place, Result};
use crate::table::ColumnDefinition;
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::json::ReaderBuilder;
use std::io::Cursor;
use std::sync::Arc;

const BATCH: usize = 8192;

pub(super) fn read(filename: &str, columns: &[&ColumnDefinition]) -> Result<Vec<Given>> {
    let bytes = std::fs::read(filename).map_err(|e| Error::new(format!("the file cannot be read: {e}")).at(file(filename)))?;
    let objects = objects(&bytes);
    let schema = Arc::new(Schema::new(columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect::<Vec<_>>()));
    let mut given = Vec::new();
    for chunk in objects.chunks(BATCH) {
        let decoded = decode(&schema, chunk.iter().map(|(_, object)| *object));
        let batch = decoded.map_err(|e| {
            let wrong = chunk.iter().find(|(_, object)| decode(&schema, std::iter::once(*object)).is_err());
            let line = wrong.map(|(line, _)| *line);
            Error::new(e).at(Place::File { path: filename.into(), line, column: None }).hint("correct the line in the file")
        })?;
        given.push(by_name(&batch, columns, filename)?);
    }
    Ok(given)
}

fn decode<'a>(schema: &Arc<Schema>, objects: impl Iterator<Item = &'a [u8]>) -> std::result::Result<RecordBatch, String> {
    let mut text = Vec::new();
    let mut count = 0;
    for object in objects {
        text.extend_from_slice(object);
        text.push(b'\n');
        count += 1;
    }
    let say = |e: arrow::error::ArrowError| e.to_string().trim_start_matches("Json error: ").to_lowercase();
    let reader =
        ReaderBuilder::new(schema.clone()).with_strict_mode(true).with_batch_size(count.max(1)).build(Cursor::new(text)).map_err(say)?;
    let batches: Vec<RecordBatch> = reader.collect::<std::result::Result<_, _>>().map_err(say)?;
    arrow::compute::concat_batches(schema, &batches).map_err(say)
}

/// The objects of a file with the lines on which they begin, whether or not an array holds them.
fn objects(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let in_array = bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    let outside = i32::from(in_array);
    let (mut found, mut line, mut depth, mut quoted, mut escaped) = (Vec::new(), 1, 0, false, false);
    let mut start: Option<(u64, usize)> = None;
    for (i, byte) in bytes.iter().enumerate() {
        if start.is_none() && depth == outside && !byte.is_ascii_whitespace() && !matches!(byte, b',' | b'[' | b']') {
            start = Some((line, i));
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        line += u64::from(*byte == b'\n');
        let ends = *byte == b'}' && depth == outside && !quoted;
        if let Some((line, at)) = start.filter(|_| ends) {
            found.push((line, &bytes[at..=i]));
            start = None;
        }
    }
    found.extend(start.map(|(line, at)| (line, &bytes[at..])));
    found
}
