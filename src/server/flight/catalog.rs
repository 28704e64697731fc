//! The catalog as Flight SQL's commands ask for it.

use crate::error::{Error, Result};
use crate::session::{Session, Table};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTableTypes, CommandGetTables};
use std::sync::Arc;

const SCHEMAS: [&str; 3] = ["main", "nabla", "information_schema"];
const TYPES: [&str; 2] = ["BASE TABLE", "VIEW"];

fn failed(e: FlightError) -> Error {
    Error::new(e.to_string())
}

pub(super) fn catalogs(session: &Session, query: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    builder.append(session.catalog_name());
    builder.build().map_err(failed)
}

pub(super) fn schemas(session: &Session, query: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    SCHEMAS.iter().for_each(|schema| builder.append(session.catalog_name(), schema));
    builder.build().map_err(failed)
}

fn type_of(table: &Table) -> &'static str {
    TYPES[usize::from(table.is_view)]
}

pub(super) async fn tables(session: &Session, query: CommandGetTables) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for table in session.tables().await? {
        let columns = super::encode::plain_schema(&table.columns);
        builder.append(session.catalog_name(), &table.schema, &table.name, type_of(&table), &columns).map_err(failed)?;
    }
    builder.build().map_err(failed)
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    TYPES.iter().for_each(|name| builder.append(name));
    builder.build().map_err(failed)
}

fn text(names: &[(&str, bool)]) -> Vec<Field> {
    names.iter().map(|(name, nullable)| Field::new(*name, DataType::Utf8, *nullable)).collect()
}

/// The columns of `CommandGetPrimaryKeys`.
pub(super) fn keys_schema() -> SchemaRef {
    let mut fields =
        text(&[("catalog_name", true), ("db_schema_name", true), ("table_name", false), ("column_name", false), ("key_name", true)]);
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    Arc::new(Schema::new(fields))
}

pub(super) async fn primary_keys(session: &Session, query: CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let asked = |table: &Table| {
        query.catalog.as_deref().is_none_or(|c| c == session.catalog_name())
            && query.db_schema.as_deref().is_none_or(|s| s == table.schema)
            && query.table == table.name
    };
    let tables: Vec<Table> = session.tables().await?.into_iter().filter(asked).collect();
    let keys: Vec<(&Table, &String, i32)> =
        tables.iter().flat_map(|t| t.primary_key.iter().zip(1..).map(move |(column, n)| (t, column, n))).collect();
    let text = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let columns = vec![
        text(keys.iter().map(|_| Some(session.catalog_name())).collect()),
        text(keys.iter().map(|(table, ..)| Some(table.schema.as_str())).collect()),
        text(keys.iter().map(|(table, ..)| Some(table.name.as_str())).collect()),
        text(keys.iter().map(|(_, column, _)| Some(column.as_str())).collect()),
        text(vec![None; keys.len()]),
        Arc::new(keys.iter().map(|(.., n)| Some(*n)).collect::<Int32Array>()),
    ];
    Ok(RecordBatch::try_new(keys_schema(), columns)?)
}

/// The columns of the commands that ask for foreign keys, which there are none of.
pub(super) fn references_schema() -> SchemaRef {
    let side = |prefix: &str| {
        ["catalog_name", "db_schema_name", "table_name", "column_name"]
            .map(|name| Field::new(format!("{prefix}_{name}"), DataType::Utf8, name == "catalog_name" || name == "db_schema_name"))
    };
    let mut fields: Vec<Field> = side("pk").into_iter().chain(side("fk")).collect();
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    fields.extend(text(&[("fk_key_name", true), ("pk_key_name", true)]));
    fields.extend(["update_rule", "delete_rule"].map(|name| Field::new(name, DataType::UInt8, false)));
    Arc::new(Schema::new(fields))
}
