//! New rows of a table, brought to what the table declares: types, defaults, initial values, and every constraint kept.

use super::catalog::{MAIN, NABLA};
use super::{Session, catalog};
use crate::error::{Error, Result};
use crate::grammar;
use crate::storage::Snapshot;
use crate::table::{self, ColumnDefinition, Initializer, Keys, TableDefinition};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{self, ExprWithAlias, ObjectName};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;

/// The schema and the name that an object's name stands for.
pub(super) fn object(name: &ObjectName) -> Result<(String, String)> {
    let mut parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(grammar::name).collect();
    if parts.len() == 3 && parts[0] == catalog::CATALOG {
        parts.remove(0);
    }
    match parts.as_slice() {
        [name] => Ok((MAIN.to_string(), name.clone())),
        [schema, name] => Ok((schema.clone(), name.clone())),
        _ => Err(Error::new(format!("'{name}' is not the name of a table"))),
    }
}

/// The definition of a user's table that is to be changed.
pub(super) fn target<'a>(snapshot: &'a Snapshot, session: &Session, name: &ObjectName) -> Result<&'a TableDefinition> {
    session.writable()?;
    let (schema, name) = object(name)?;
    if schema == NABLA {
        return Err(Error::new(format!("{NABLA}.{name} is kept by the engine")).hint("read it with SELECT"));
    }
    if let Some(table) = snapshot.table(&schema, &name) {
        return Ok(table);
    }
    if snapshot.views().iter().any(|v| v.schema == schema && v.name == name) {
        return Err(Error::new(format!("'{name}' is a view")).hint("change the tables that it reads"));
    }
    if session.temporary.contains(&name) {
        return Err(
            Error::new(format!("'{name}' is an external table, which is only read")).hint("CREATE TABLE ... AS SELECT * FROM it first")
        );
    }
    let error = Error::new(format!("table '{name}' not found"));
    let known = snapshot.tables().iter().filter(|t| t.schema == MAIN).map(|t| t.name.as_str());
    Err(match grammar::nearest(&name, known) {
        Some(meant) => error.hint(format!("did you mean '{meant}'?")),
        None => error,
    })
}

pub(super) fn column<'a>(table: &'a TableDefinition, name: &str) -> Result<&'a ColumnDefinition> {
    table.column(name).ok_or_else(|| {
        let error = Error::new(format!("column '{name}' not found in table '{}'", table.name));
        match grammar::nearest(name, table.columns.iter().map(|c| c.name.as_str())) {
            Some(meant) => error.hint(format!("did you mean '{meant}'?")),
            None => error.hint(format!("its columns are {}", table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "))),
        }
    })
}

/// How many rows a table has.
pub(super) async fn row_count(context: &SessionContext, snapshot: &Snapshot, table: &TableDefinition) -> Result<u64> {
    Ok(context.read_table(snapshot.provider(&table.schema, &table.name).await?)?.count().await? as u64)
}

/// All rows of a table in their order, as one batch.
pub(super) async fn all_rows(context: &SessionContext, snapshot: &Snapshot, table: &TableDefinition) -> Result<RecordBatch> {
    let provider = snapshot.provider(&table.schema, &table.name).await?;
    let in_order = in_order(context);
    let frame = in_order.read_table(provider)?;
    let schema = frame.schema().inner().clone();
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

/// The same context with one partition, so that a scan keeps the order of rows.
pub(super) fn in_order(context: &SessionContext) -> SessionContext {
    let mut state = context.state();
    state.config_mut().options_mut().execution.target_partitions = 1;
    SessionContext::new_with_state(state)
}

/// Given columns, in the table's order and types; a column that is not given gets its default or its initial values.
pub(super) fn complete(
    context: &SessionContext,
    table: &TableDefinition,
    given: &HashMap<String, ArrayRef>,
    rows: usize,
    first_row: u64,
) -> Result<RecordBatch> {
    let (mut columns, mut refusals) = (Vec::new(), Vec::new());
    for column in &table.columns {
        let values = match given.get(&column.name) {
            Some(values) => table::cast(column, values),
            None => default_values(context, table, column, rows, first_row),
        };
        match values {
            Ok(values) => columns.push(values),
            Err(error) => refusals.push(error),
        }
    }
    match Error::all(refusals) {
        Some(error) => Err(error),
        // Nullability is checked with the other constraints, which say what to do.
        None => batch(table, columns, rows),
    }
}

pub(super) fn batch(table: &TableDefinition, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields: Vec<Field> = table.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// The values of a column in rows that do not give it.
pub(super) fn default_values(
    context: &SessionContext,
    table: &TableDefinition,
    column: &ColumnDefinition,
    rows: usize,
    first_row: u64,
) -> Result<ArrayRef> {
    let Some(text) = &column.default else {
        if column.learnable {
            return Err(Error::new(format!("learnable column '{}' has no value and no DEFAULT", column.name))
                .hint("give a value, or declare a DEFAULT such as init_normal(0, 0.1)"));
        }
        return Ok(arrow::array::new_null_array(&column.data_type, rows));
    };
    let expr = grammar::expression(text)?;
    if let Some(initializer) = Initializer::parse(&expr)? {
        return table::fill(&table.name, column, initializer, first_row, rows);
    }
    let values = constant(context, expr, rows).and_then(|values| table::cast(column, &values));
    values.map_err(Error::without_positions)
}

/// An expression without columns, computed for each of some rows.
pub(super) fn constant(context: &SessionContext, expr: ast::Expr, rows: usize) -> Result<ArrayRef> {
    let schema = Arc::new(Schema::empty());
    let none = RecordBatch::try_new_with_options(schema, vec![], &RecordBatchOptions::new().with_row_count(Some(rows)))?;
    evaluate(context, expr, &none, None)
}

/// An expression over the columns of a batch.
pub(super) fn evaluate(context: &SessionContext, expr: ast::Expr, rows: &RecordBatch, table: Option<&str>) -> Result<ArrayRef> {
    let schema = match table {
        Some(table) => DFSchema::try_from_qualified_schema(table, rows.schema().as_ref())?,
        None => DFSchema::try_from(rows.schema().as_ref().clone())?,
    };
    let expr = logical(context, expr, &schema)?;
    let physical = context.create_physical_expr(expr, &schema)?;
    Ok(physical.evaluate(rows)?.into_array(rows.num_rows())?)
}

pub(super) fn logical(context: &SessionContext, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(context.state().create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, schema)?)
}

/// Every breach of a constraint that new rows alone can show, all at once.
pub(super) fn check(context: &SessionContext, table: &TableDefinition, rows: &RecordBatch) -> Result<()> {
    let mut refusals = table::breaches(table, rows, 1);
    for text in &table.checks {
        match failing_row(context, table, text, rows) {
            Ok(None) => {}
            Ok(Some(row)) => {
                let what = format!("CHECK ({text}) fails in row {} of the new rows of table '{}'", row + 1, table.name);
                refusals.push(Error::new(what).hint("give values that satisfy the CHECK"));
            }
            Err(error) => refusals.push(error.without_positions()),
        }
    }
    Error::all(refusals).map_or(Ok(()), Err)
}

/// The first row in which a CHECK is false; NULL passes, as in SQL.
fn failing_row(context: &SessionContext, table: &TableDefinition, text: &str, rows: &RecordBatch) -> Result<Option<usize>> {
    let truth = evaluate(context, grammar::expression(text)?, rows, Some(&table.name))?;
    let truth = arrow::compute::cast(&truth, &DataType::Boolean)?;
    let truth = truth.as_boolean();
    Ok((0..truth.len()).find(|row| truth.is_valid(*row) && !truth.value(*row)))
}

/// No key twice: neither among the new rows nor, when they are added to it, in the table.
pub(super) async fn check_keys(context: &SessionContext, snapshot: &Snapshot, table: &TableDefinition, rows: &[RecordBatch]) -> Result<()> {
    let Some(keys) = Keys::of(table, rows)? else { return Ok(()) };
    let provider = snapshot.provider(&table.schema, &table.name).await?;
    let names: Vec<&str> = keys.names().iter().map(String::as_str).collect();
    let mut existing = context.read_table(provider)?.select_columns(&names)?.execute_stream().await?;
    while let Some(batch) = existing.next().await {
        keys.refuse(&batch?)?;
    }
    Ok(())
}
