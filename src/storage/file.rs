//! Parquet files: one is written, made durable and described; one is looked at and found whole.
//! It never hears of the catalog, transactions or definitions.

use crate::error::{Error, Place, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::schema::types::ColumnPath;
use datafusion_ducklake::ColumnStat;
use datafusion_ducklake::stats_collect::{accumulate_nan_flags, collect_column_stats};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// What the catalog has to know about a file.
pub(super) struct Written {
    pub rows: i64,
    pub bytes: i64,
    pub footer_bytes: i64,
    pub statistics: Vec<ColumnStat>,
}

/// A row group is at most this large, so that wide rows (a matrix each) do not make one of gigabytes.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Writes all rows to a new file and waits until they are on the disk.
pub(super) fn write(path: &Path, fields: Vec<Field>, batches: &[RecordBatch], durable: bool) -> Result<Written> {
    let parquet = |e: ParquetError| Error::new(format!("cannot write: {e}")).at(place(path));
    let io = |e: std::io::Error| Error::new(format!("cannot write: {e}")).at(place(path));
    let number = |field: &Field| field.metadata().get("PARQUET:field_id")?.parse().ok();
    let columns: Vec<i64> = fields.iter().filter_map(number).collect();
    let nested: Vec<i64> = fields.iter().filter(|f| f.data_type().is_nested()).filter_map(number).collect();
    let properties = properties(&fields);
    let schema = Arc::new(Schema::new(fields));

    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let file = File::create_new(path).map_err(io)?;
    let mut writer = ArrowWriter::try_new(BufWriter::with_capacity(1 << 20, file), schema.clone(), Some(properties)).map_err(parquet)?;
    let (mut rows, mut nan_flags) = (0, Vec::new());
    for batch in batches.iter().filter(|b| b.num_rows() > 0) {
        let batch = conform(batch, &schema)?;
        accumulate_nan_flags(&mut nan_flags, &batch, columns.len());
        rows += batch.num_rows() as i64;
        writer.write(&batch).map_err(parquet)?;
    }
    let file = writer.into_inner().map_err(parquet)?.into_inner().map_err(|e| io(e.into_error()))?;
    if durable {
        file.sync_all().map_err(io)?;
    }
    let bytes = file.metadata().map_err(io)?.len() as i64;
    let footer_bytes = footer(&mut File::open(path).map_err(io)?).map_err(io)?;
    let mut statistics = collect_column_stats(path, &columns, rows, &nan_flags);
    // What the crate says of a nested column is of its elements: it would hide that the column itself is NULL in a row.
    statistics.retain(|s| !nested.contains(&s.column_id));
    Ok(Written { rows, bytes, footer_bytes, statistics })
}

/// Real numbers hardly compress and never repeat: they are written as they are.
fn properties(fields: &[Field]) -> WriterProperties {
    let mut properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW).set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for field in fields {
        let mut parts = vec![field.name().clone()];
        let mut data_type = field.data_type();
        while let DataType::List(element) = data_type {
            parts.extend(["list".to_string(), element.name().clone()]);
            data_type = element.data_type();
        }
        if matches!(data_type, DataType::Float32 | DataType::Float64) {
            let path = ColumnPath::new(parts);
            properties =
                properties.set_column_dictionary_enabled(path.clone(), false).set_column_compression(path, Compression::UNCOMPRESSED);
        }
    }
    properties.build()
}

/// The batch with the types that the file has.
fn conform(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::new(format!("rows of {} columns for a table of {}", batch.num_columns(), schema.fields().len())));
    }
    let strict = CastOptions { safe: false, ..Default::default() };
    let convert = |(field, column): (&Arc<Field>, &ArrayRef)| {
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(Error::new(format!("column '{}' is NOT NULL, and a row has NULL there", field.name())));
        }
        cast_with_options(column, field.data_type(), &strict).map_err(|e| Error::new(format!("column '{}': {e}", field.name())))
    };
    let columns = schema.fields().iter().zip(batch.columns()).map(convert).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(Error::from)
}

/// Says which file is missing, cut short or no Parquet at all, before a query stumbles over it.
pub(super) fn check(path: &Path, bytes: i64) -> Result<()> {
    let bad = |reason: String| Error::new(reason).at(place(path)).hint("restore the file from a backup of the database folder");
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(bad("a data file is missing".into())),
        Err(e) => return Err(bad(format!("a data file cannot be read: {e}"))),
    };
    if length != bytes as u64 {
        return Err(bad(format!("a data file is damaged: it has {length} bytes of {bytes}")));
    }
    let whole = File::open(path).map_err(ParquetError::from).and_then(ParquetRecordBatchReaderBuilder::try_new);
    whole.map(drop).map_err(|e| bad(format!("a data file is damaged: {e}")))
}

/// Reads every row of a file, and says so when that fails.
pub(super) fn check_rows(path: &Path, rows: i64) -> Result<()> {
    let bad = |reason: String| {
        Error::new(format!("a data file is damaged: {reason}"))
            .at(place(path))
            .hint("restore the file from a backup of the database folder")
    };
    let file = File::open(path).map_err(|e| bad(e.to_string()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.build()).map_err(|e| bad(e.to_string()))?;
    let mut found = 0;
    for batch in reader {
        found += batch.map_err(|e| bad(e.to_string()))?.num_rows() as i64;
    }
    if found == rows { Ok(()) } else { Err(bad(format!("it has {found} rows of {rows}"))) }
}

/// A new file's name is only durable when its folder is.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::new(format!("cannot write: {e}")).at(place(folder));
    #[cfg(unix)]
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
    Ok(())
}

/// The length of the footer's metadata stands before the last four bytes.
fn footer(file: &mut File) -> std::io::Result<i64> {
    let mut tail = [0u8; 4];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut tail)?;
    Ok(i64::from(u32::from_le_bytes(tail)))
}

fn place(path: &Path) -> Place {
    Place::File { path: path.display().to_string(), line: None, column: None }
}
