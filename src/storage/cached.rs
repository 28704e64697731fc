//! What the DuckLake reader asks of the catalog for each scan, asked once: a table at a version never changes.
//! It never hears of SQL or of rows.

use arrow::record_batch::RecordBatch;
use datafusion_ducklake::metadata_provider::{
    ColumnWithTable, DataFileChange, DeleteFileChange, DuckLakeFileMetadata, DuckLakeInlinedDelete, DuckLakeNameMapping,
    DuckLakeStatistics, DuckLakeTableColumn, DuckLakeTableField, DuckLakeTableFile, FileWithTable, SchemaMetadata, SnapshotMetadata,
    TableMetadata, TableWithSchema,
};
use datafusion_ducklake::{MetadataProvider, PartitionSpec, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The catalog as the scans of one table at one version see it. The catalog does not choose files and inlined rows
/// by a query's filters, as it could: it gives all, and the reader chooses by the same statistics.
#[derive(Debug)]
pub(super) struct Cached {
    catalog: Arc<dyn MetadataProvider>,
    files: Answers<Option<i64>, Vec<DuckLakeFileMetadata>>,
    deletes: Answers<(), Vec<DuckLakeInlinedDelete>>,
    inlined: Answers<(), Vec<RecordBatch>>,
}

/// Answers by question. Two that ask at once may both reach the catalog, and get the same.
#[derive(Debug)]
struct Answers<Q, A>(Mutex<HashMap<Q, A>>);

impl<Q: std::hash::Hash + Eq, A: Clone> Answers<Q, A> {
    fn get(&self, question: Q, ask: impl FnOnce() -> Result<A>) -> Result<A> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known().get(&question) {
            return Ok(answer.clone());
        }
        let answer = ask()?;
        known().insert(question, answer.clone());
        Ok(answer)
    }
}

impl Cached {
    pub fn new(catalog: Arc<dyn MetadataProvider>) -> Self {
        Self { catalog, files: Answers(Mutex::default()), deletes: Answers(Mutex::default()), inlined: Answers(Mutex::default()) }
    }
}

impl MetadataProvider for Cached {
    fn get_table_file_metadata_page(
        &self,
        table: i64,
        version: i64,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DuckLakeFileMetadata>> {
        self.files.get(after, || self.catalog.get_table_file_metadata_page(table, version, after, limit))
    }

    fn get_inlined_deletes(&self, table: i64, version: i64) -> Result<Vec<DuckLakeInlinedDelete>> {
        self.deletes.get((), || self.catalog.get_inlined_deletes(table, version))
    }

    fn get_inlined_data(&self, table: i64, version: i64, columns: &[DuckLakeTableColumn]) -> Result<Vec<RecordBatch>> {
        self.inlined.get((), || self.catalog.get_inlined_data(table, version, columns))
    }

    // What is asked once for each table, or never for a scan, goes to the catalog.

    fn get_current_snapshot(&self) -> Result<i64> {
        self.catalog.get_current_snapshot()
    }

    fn get_data_path(&self) -> Result<String> {
        self.catalog.get_data_path()
    }

    fn list_snapshots(&self) -> Result<Vec<SnapshotMetadata>> {
        self.catalog.list_snapshots()
    }

    fn list_schemas(&self, version: i64) -> Result<Vec<SchemaMetadata>> {
        self.catalog.list_schemas(version)
    }

    fn list_tables(&self, schema: i64, version: i64) -> Result<Vec<TableMetadata>> {
        self.catalog.list_tables(schema, version)
    }

    fn get_table_structure(&self, table: i64, version: i64) -> Result<Vec<DuckLakeTableColumn>> {
        self.catalog.get_table_structure(table, version)
    }

    fn get_table_fields(&self, table: i64, version: i64) -> Result<Vec<DuckLakeTableField>> {
        self.catalog.get_table_fields(table, version)
    }

    fn get_name_mapping(&self, mapping: i64) -> Result<DuckLakeNameMapping> {
        self.catalog.get_name_mapping(mapping)
    }

    fn get_table_files_for_select(&self, table: i64, version: i64) -> Result<Vec<DuckLakeTableFile>> {
        self.catalog.get_table_files_for_select(table, version)
    }

    fn get_partition_spec(&self, table: i64, version: i64) -> Result<Option<PartitionSpec>> {
        self.catalog.get_partition_spec(table, version)
    }

    fn get_table_statistics(&self, table: i64, version: i64) -> Result<DuckLakeStatistics> {
        self.catalog.get_table_statistics(table, version)
    }

    fn get_table_summary_statistics(&self, table: i64, version: i64) -> Result<DuckLakeStatistics> {
        self.catalog.get_table_summary_statistics(table, version)
    }

    fn get_schema_by_name(&self, name: &str, version: i64) -> Result<Option<SchemaMetadata>> {
        self.catalog.get_schema_by_name(name, version)
    }

    fn get_table_by_name(&self, schema: i64, name: &str, version: i64) -> Result<Option<TableMetadata>> {
        self.catalog.get_table_by_name(schema, name, version)
    }

    fn table_exists(&self, schema: i64, name: &str, version: i64) -> Result<bool> {
        self.catalog.table_exists(schema, name, version)
    }

    fn list_all_tables(&self, version: i64) -> Result<Vec<TableWithSchema>> {
        self.catalog.list_all_tables(version)
    }

    fn list_all_columns(&self, version: i64) -> Result<Vec<ColumnWithTable>> {
        self.catalog.list_all_columns(version)
    }

    fn list_all_files(&self, version: i64) -> Result<Vec<FileWithTable>> {
        self.catalog.list_all_files(version)
    }

    fn get_data_files_added_between_snapshots(&self, table: i64, first: i64, last: i64) -> Result<Vec<DataFileChange>> {
        self.catalog.get_data_files_added_between_snapshots(table, first, last)
    }

    fn get_delete_files_added_between_snapshots(&self, table: i64, first: i64, last: i64) -> Result<Vec<DeleteFileChange>> {
        self.catalog.get_delete_files_added_between_snapshots(table, first, last)
    }
}
