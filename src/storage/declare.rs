//! The catalog's rows for declarations: schemas, tables, columns, tags and views, made, changed and ended.
//! It never hears of rows of data or files.

use super::ViewDefinition;
use super::column::{CatalogColumn, Parts, catalog_rows, stored_type};
use super::commit::Commit;
use super::declaration::{self, Tags};
use crate::error::{Error, Result};
use crate::table::TableDefinition;
use std::collections::HashSet;

/// A table that is there, in the commit's eyes.
pub(super) struct Table {
    pub id: i64,
    /// Where its files lie, below the data folder.
    pub folder: String,
}

impl Commit<'_> {
    pub(super) async fn existing_table(&mut self, schema: &str, name: &str) -> Result<Table> {
        let found = self.table(schema, name).await?;
        found.ok_or_else(|| Error::new(format!("there is no table {schema}.{name}")).hint("SHOW TABLES lists the tables that there are"))
    }

    async fn table(&mut self, schema: &str, name: &str) -> Result<Option<Table>> {
        let query = sqlx::query_as(
            "SELECT t.table_id, s.path, t.path FROM ducklake_table t JOIN ducklake_schema s USING (schema_id)
             WHERE s.schema_name = ? AND t.table_name = ? AND s.end_snapshot IS NULL AND t.end_snapshot IS NULL",
        );
        let found: Option<(i64, String, String)> = self.catalog.first(query.bind(schema).bind(name)).await?;
        Ok(found.map(|(id, schema, table)| Table { id, folder: format!("{schema}{table}") }))
    }

    async fn view(&mut self, schema: &str, name: &str) -> Result<Option<i64>> {
        let query = sqlx::query_as(
            "SELECT v.view_id FROM ducklake_view v JOIN ducklake_schema s USING (schema_id)
             WHERE s.schema_name = ? AND v.view_name = ? AND s.end_snapshot IS NULL AND v.end_snapshot IS NULL",
        );
        let found: Option<(i64,)> = self.catalog.first(query.bind(schema).bind(name)).await?;
        Ok(found.map(|(id,)| id))
    }

    async fn refuse_taken(&mut self, schema: &str, name: &str) -> Result<()> {
        let taken =
            |what| Err(Error::new(format!("there already is a {what} {schema}.{name}")).hint("drop it first, or choose another name"));
        if self.table(schema, name).await?.is_some() {
            return taken("table");
        }
        if self.view(schema, name).await?.is_some() { taken("view") } else { Ok(()) }
    }

    /// The number and the folder of a schema, which is made when it is missing.
    async fn schema(&mut self, name: &str) -> Result<(i64, String)> {
        let query = sqlx::query_as("SELECT schema_id, path FROM ducklake_schema WHERE schema_name = ? AND end_snapshot IS NULL");
        if let Some(found) = self.catalog.first(query.bind(name)).await? {
            return Ok(found);
        }
        let (id, uuid) = (self.catalog_id(), self.uuid().await?);
        let path = folder_name(name, id);
        let insert = sqlx::query(
            "INSERT INTO ducklake_schema (schema_id, schema_uuid, begin_snapshot, schema_name, path, path_is_relative) VALUES (?, ?, ?, ?, ?, 1)",
        );
        self.catalog.run(insert.bind(id).bind(uuid).bind(self.version).bind(name).bind(&path)).await?;
        self.declare();
        self.note(format!("created_schema:{}", quoted(name)));
        Ok((id, path))
    }

    pub(super) async fn create_table(&mut self, definition: &TableDefinition) -> Result<Table> {
        let TableDefinition { schema, name, .. } = definition;
        check(definition)?;
        self.refuse_taken(schema, name).await?;
        let (schema_id, schema_folder) = self.schema(schema).await?;
        let (id, uuid) = (self.catalog_id(), self.uuid().await?);
        let path = folder_name(name, id);
        let insert = sqlx::query(
            "INSERT INTO ducklake_table (table_id, table_uuid, begin_snapshot, schema_id, table_name, path, path_is_relative)
             VALUES (?, ?, ?, ?, ?, ?, 1)",
        );
        self.catalog.run(insert.bind(id).bind(uuid).bind(self.version).bind(schema_id).bind(name).bind(&path)).await?;
        let table = Table { id, folder: format!("{schema_folder}{path}") };
        self.set_columns(&table, definition, true).await?;
        self.note(format!("created_table:{}.{}", quoted(schema), quoted(name)));
        Ok(table)
    }

    pub(super) async fn alter_table(&mut self, table: &Table, definition: &TableDefinition, new_rows: bool) -> Result<()> {
        check(definition)?;
        self.set_columns(table, definition, new_rows).await?;
        self.declare();
        self.note(format!("altered_table:{}", table.id));
        Ok(())
    }

    pub(super) async fn drop_table(&mut self, table: &Table) -> Result<()> {
        self.end_rows(table).await?;
        for end in [
            "UPDATE ducklake_table SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
            "UPDATE ducklake_column SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
            "UPDATE ducklake_column_tag SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
            "UPDATE ducklake_tag SET end_snapshot = ? WHERE object_id = ? AND end_snapshot IS NULL",
            "UPDATE ducklake_partition_info SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
            "UPDATE ducklake_sort_info SET end_snapshot = ? WHERE table_id = ? AND end_snapshot IS NULL",
        ] {
            self.catalog.run(sqlx::query(end).bind(self.version).bind(table.id)).await?;
        }
        self.declare();
        self.note(format!("dropped_table:{}", table.id));
        Ok(())
    }

    pub(super) async fn create_view(&mut self, view: &ViewDefinition) -> Result<()> {
        self.refuse_taken(&view.schema, &view.name).await?;
        let (schema_id, _) = self.schema(&view.schema).await?;
        let (id, uuid) = (self.catalog_id(), self.uuid().await?);
        let insert = sqlx::query(
            "INSERT INTO ducklake_view (view_id, view_uuid, begin_snapshot, schema_id, view_name, dialect, sql, column_aliases)
             VALUES (?, ?, ?, ?, ?, 'nabla', ?, '')",
        );
        self.catalog.run(insert.bind(id).bind(uuid).bind(self.version).bind(schema_id).bind(&view.name).bind(&view.sql)).await?;
        self.declare();
        self.note(format!("created_view:{}.{}", quoted(&view.schema), quoted(&view.name)));
        Ok(())
    }

    pub(super) async fn drop_view(&mut self, schema: &str, name: &str) -> Result<()> {
        let id = self.view(schema, name).await?.ok_or_else(|| Error::new(format!("there is no view {schema}.{name}")))?;
        let end = sqlx::query("UPDATE ducklake_view SET end_snapshot = ? WHERE view_id = ? AND end_snapshot IS NULL");
        self.catalog.run(end.bind(self.version).bind(id)).await?;
        self.declare();
        self.note(format!("dropped_view:{id}"));
        Ok(())
    }

    /// A table's columns and their parts as they are now, in order.
    pub(super) async fn columns(&mut self, table: &Table) -> Result<Vec<CatalogColumn>> {
        let query = sqlx::query_as(
            "SELECT column_id, parent_column, column_name, column_type, nulls_allowed FROM ducklake_column
             WHERE table_id = ? AND end_snapshot IS NULL ORDER BY column_order",
        );
        let rows: Vec<(i64, Option<i64>, String, String, bool)> = self.catalog.all(query.bind(table.id)).await?;
        let column = |(id, parent, name, type_name, nullable)| CatalogColumn { id, parent, name, type_name, nullable };
        Ok(rows.into_iter().map(column).collect())
    }

    /// Makes the catalog's columns and tags those of the definition. A column that stays keeps its number, by which Parquet files
    /// know it; one whose type changes is a new column of the same name.
    async fn set_columns(&mut self, table: &Table, definition: &TableDefinition, new_rows: bool) -> Result<()> {
        let before = self.columns(table).await?;
        let parts = Parts::of(&before);
        let last: (Option<i64>,) =
            self.catalog.one(sqlx::query_as("SELECT MAX(column_id) FROM ducklake_column WHERE table_id = ?").bind(table.id)).await?;
        let mut next = last.0.unwrap_or(0) + 1;
        let mut after = Vec::new();
        let mut ids = Vec::new();
        for column in &definition.columns {
            let stored = stored_type(&column.data_type)?;
            let old = parts.columns().iter().find(|old| old.name == column.name);
            let start = after.len();
            match old.map(|old| Ok::<_, Error>((old, parts.data_type(old)?))).transpose()? {
                Some((old, data_type)) if data_type == stored => {
                    after.extend(parts.subtree(old));
                    after[start].nullable = column.nullable;
                }
                Some(_) if !new_rows => {
                    return Err(Error::new(format!("column '{}' cannot change its type without new rows", column.name)));
                }
                _ => after.extend(catalog_rows(&column.name, &stored, column.nullable, &mut next)?),
            }
            ids.push(after[start].id);
        }
        self.set_column_rows(table, &before, &after).await?;
        self.set_tags(table, &declaration::tags(definition, &ids)).await
    }

    async fn set_column_rows(&mut self, table: &Table, before: &[CatalogColumn], after: &[CatalogColumn]) -> Result<()> {
        if before == after {
            return Ok(());
        }
        for (_, old) in before.iter().enumerate().filter(|(i, old)| after.get(*i) != Some(*old)) {
            let end =
                sqlx::query("UPDATE ducklake_column SET end_snapshot = ? WHERE table_id = ? AND column_id = ? AND end_snapshot IS NULL");
            self.catalog.run(end.bind(self.version).bind(table.id).bind(old.id)).await?;
        }
        for (i, column) in after.iter().enumerate().filter(|(i, column)| before.get(*i) != Some(*column)) {
            let insert = sqlx::query(
                "INSERT INTO ducklake_column (column_id, begin_snapshot, table_id, column_order, column_name, column_type, default_value,
                     nulls_allowed, parent_column, default_value_type, default_value_dialect)
                 VALUES (?, ?, ?, ?, ?, ?, 'NULL', ?, ?, 'literal', 'duckdb')",
            );
            let insert = insert.bind(column.id).bind(self.version).bind(table.id).bind(i as i64 + 1);
            let insert = insert.bind(&column.name).bind(&column.type_name).bind(i64::from(column.nullable)).bind(column.parent);
            self.catalog.run(insert).await?;
        }
        let schema_version = self.declare();
        let insert = sqlx::query(
            "INSERT INTO ducklake_schema_versions (begin_snapshot, schema_version, table_id) SELECT ?1, ?2, ?3
             WHERE NOT EXISTS (SELECT 1 FROM ducklake_schema_versions WHERE begin_snapshot = ?1 AND table_id = ?3)",
        );
        self.catalog.run(insert.bind(self.version).bind(schema_version).bind(table.id)).await
    }

    async fn set_tags(&mut self, table: &Table, tags: &Tags) -> Result<()> {
        let query = sqlx::query_as("SELECT key, value FROM ducklake_tag WHERE object_id = ? AND end_snapshot IS NULL AND key LIKE ?");
        let live: Vec<(String, String)> = self.catalog.all(query.bind(table.id).bind(declaration::OURS)).await?;
        for (key, _) in live.iter().filter(|(key, value)| tags.get(key) != Some(value)) {
            let end = sqlx::query("UPDATE ducklake_tag SET end_snapshot = ? WHERE object_id = ? AND key = ? AND end_snapshot IS NULL");
            self.catalog.run(end.bind(self.version).bind(table.id).bind(key)).await?;
        }
        for (key, value) in tags.iter().filter(|(k, v)| !live.iter().any(|(key, value)| key == *k && value == *v)) {
            let insert = sqlx::query("INSERT INTO ducklake_tag (object_id, begin_snapshot, key, value) VALUES (?, ?, ?, ?)");
            self.catalog.run(insert.bind(table.id).bind(self.version).bind(key).bind(value)).await?;
        }
        Ok(())
    }
}

/// A table needs a name and columns, each with a name of its own.
fn check(definition: &TableDefinition) -> Result<()> {
    let mut names = HashSet::new();
    let name = &definition.name;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::new(format!("a table cannot be named {name:?}")));
    }
    if definition.columns.is_empty() {
        return Err(Error::new(format!("table '{name}' has no columns")).hint("declare at least one"));
    }
    match definition.columns.iter().find(|c| !names.insert(&c.name)) {
        Some(column) => Err(Error::new(format!("table '{name}' has two columns named '{}'", column.name))),
        None => Ok(()),
    }
}

/// A name that any file system takes as a folder, or else the number.
fn folder_name(name: &str, id: i64) -> String {
    let plain = name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { format!("{name}/") } else { format!("object_{id}/") }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
