//! The catalog's rows for data: files that come, files that go, and the statistics that readers prune and plan by.
//! It never hears of declarations or tags.

use super::column::{CatalogColumn, Parts};
use super::commit::Commit;
use super::declare::Table;
use super::file::{self, Written};
use super::staged;
use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use datafusion_ducklake::stats_encode::{FileColumnStat, aggregate_global_column_stats, is_numeric_ducklake_type};
use sqlx::AssertSqlSafe;

/// A column's number, least and greatest value, and whether it has NULL and NaN.
type KnownColumn = (i64, Option<String>, Option<String>, Option<i64>, Option<bool>);

impl Commit<'_> {
    pub(super) async fn replace(&mut self, table: &Table, rows: Vec<RecordBatch>) -> Result<()> {
        self.end_rows(table).await?;
        self.append(table, rows).await
    }

    pub(super) async fn append(&mut self, table: &Table, rows: Vec<RecordBatch>) -> Result<()> {
        if rows.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(());
        }
        let columns = self.columns(table).await?;
        let parts = Parts::of(&columns);
        let fields = parts.columns().iter().map(|c| parts.parquet_field(c)).collect::<Result<Vec<_>>>()?;
        let name = staged::name(self.version, &self.random().await?);
        let path = self.staged.add(&table.folder, &name)?;
        let durable = self.staged.durable;
        let written = tokio::task::spawn_blocking(move || file::write(&path, fields, &rows, durable)).await;
        let written = written.map_err(|e| Error::new(format!("the writing of rows broke off: {e}")))??;
        self.add_file(table, &name, &written).await?;
        self.add_table_statistics(table, &columns, &written).await?;
        self.note(format!("inserted_into_table:{}", table.id));
        Ok(())
    }

    async fn add_file(&mut self, table: &Table, name: &str, written: &Written) -> Result<()> {
        let (id, (_, next_row)) = (self.file_id(), self.row_counts(table).await?);
        let insert = sqlx::query(
            "INSERT INTO ducklake_data_file (data_file_id, table_id, begin_snapshot, path, path_is_relative, file_format, record_count,
                 file_size_bytes, footer_size, row_id_start)
             VALUES (?, ?, ?, ?, 1, 'parquet', ?, ?, ?, ?)",
        );
        let insert = insert.bind(id).bind(table.id).bind(self.version).bind(name);
        let insert = insert.bind(written.rows).bind(written.bytes).bind(written.footer_bytes).bind(next_row);
        self.catalog.run(insert).await?;
        for column in &written.statistics {
            let insert = sqlx::query(
                "INSERT INTO ducklake_file_column_stats (data_file_id, table_id, column_id, column_size_bytes, value_count, null_count,
                     min_value, max_value, contains_nan)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            );
            let insert = insert.bind(id).bind(table.id).bind(column.column_id).bind(column.column_size_bytes).bind(column.value_count);
            let insert = insert.bind(column.null_count).bind(column.min_value.as_deref()).bind(column.max_value.as_deref());
            self.catalog.run(insert.bind(column.contains_nan)).await?;
        }
        Ok(())
    }

    /// How many rows a table has, and the number that its next row gets.
    async fn row_counts(&mut self, table: &Table) -> Result<(i64, i64)> {
        let query = sqlx::query_as("SELECT record_count, next_row_id FROM ducklake_table_stats WHERE table_id = ?");
        Ok(self.catalog.first(query.bind(table.id)).await?.unwrap_or((0, 0)))
    }

    /// The table's statistics are widened by the new file's; what either does not know, nobody knows.
    async fn add_table_statistics(&mut self, table: &Table, columns: &[CatalogColumn], written: &Written) -> Result<()> {
        let (rows, next_row) = self.row_counts(table).await?;
        let query =
            "SELECT column_id, min_value, max_value, contains_null, contains_nan FROM ducklake_table_column_stats WHERE table_id = ?";
        let known: Vec<KnownColumn> = self.catalog.all(sqlx::query_as(query).bind(table.id)).await?;
        let mut statistics: Vec<FileColumnStat> = Vec::new();
        if rows > 0 {
            statistics.extend(known.into_iter().map(|(column_id, min_value, max_value, null_count, contains_nan)| FileColumnStat {
                column_id,
                min_value,
                max_value,
                null_count,
                contains_nan,
            }));
        }
        statistics.extend(written.statistics.iter().map(|s| FileColumnStat {
            column_id: s.column_id,
            min_value: s.min_value.clone(),
            max_value: s.max_value.clone(),
            null_count: s.null_count,
            contains_nan: s.contains_nan,
        }));
        let numeric = |id| columns.iter().any(|c| c.id == id && is_numeric_ducklake_type(&c.type_name));
        let merged = aggregate_global_column_stats(&statistics, if rows > 0 { 2 } else { 1 }, numeric);

        self.forget_column_statistics(table).await?;
        for column in merged {
            let insert = sqlx::query(
                "INSERT INTO ducklake_table_column_stats (table_id, column_id, contains_null, contains_nan, min_value, max_value)
                 VALUES (?, ?, ?, ?, ?, ?)",
            );
            let insert = insert.bind(table.id).bind(column.column_id).bind(column.contains_null).bind(column.contains_nan);
            self.catalog.run(insert.bind(column.min_value).bind(column.max_value)).await?;
        }
        if next_row == 0 && rows == 0 {
            let insert = "INSERT INTO ducklake_table_stats (table_id, record_count, next_row_id, file_size_bytes)
                          SELECT ?1, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM ducklake_table_stats WHERE table_id = ?1)";
            self.catalog.run(sqlx::query(insert).bind(table.id)).await?;
        }
        let widen = sqlx::query(
            "UPDATE ducklake_table_stats SET record_count = record_count + ?1, next_row_id = next_row_id + ?1,
                 file_size_bytes = file_size_bytes + ?2 WHERE table_id = ?3",
        );
        self.catalog.run(widen.bind(written.rows).bind(written.bytes).bind(table.id)).await
    }

    /// Ends all rows of a table, those too that another program put into the catalog itself.
    pub(super) async fn end_rows(&mut self, table: &Table) -> Result<()> {
        let (rows, _) = self.row_counts(table).await?;
        if rows > 0 {
            self.note(format!("deleted_from_table:{}", table.id));
        }
        for end in [
            "UPDATE ducklake_data_file SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
            "UPDATE ducklake_delete_file SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
        ] {
            self.catalog.run(sqlx::query(end).bind(self.version).bind(table.id)).await?;
        }
        let query = sqlx::query_as("SELECT table_name FROM ducklake_inlined_data_tables WHERE table_id = ?");
        let inlined: Vec<(String,)> = self.catalog.all(query.bind(table.id)).await?;
        for (name,) in inlined {
            let end = format!("UPDATE \"{}\" SET end_snapshot = ? WHERE end_snapshot IS NULL", name.replace('"', "\"\""));
            self.catalog.run(sqlx::query(AssertSqlSafe(end)).bind(self.version)).await?;
        }
        let empty = sqlx::query("UPDATE ducklake_table_stats SET record_count = 0, file_size_bytes = 0 WHERE table_id = ?");
        self.catalog.run(empty.bind(table.id)).await?;
        self.forget_column_statistics(table).await
    }

    async fn forget_column_statistics(&mut self, table: &Table) -> Result<()> {
        self.catalog.run(sqlx::query("DELETE FROM ducklake_table_column_stats WHERE table_id = ?").bind(table.id)).await
    }
}
