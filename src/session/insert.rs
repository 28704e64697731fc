//! INSERT: from VALUES, a query, or defaults alone.

use super::kept;
use super::{Outcome, Session, query};
use crate::error::{Error, Result};
use crate::grammar;
use crate::storage::{Change, Snapshot};
use crate::table::TableDefinition;
use arrow::array::{ArrayRef, RecordBatch};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{Expr, Insert, Query, SetExpr, Statement as SqlStatement, TableObject};
use std::collections::HashMap;

pub(super) async fn insert(session: &Session, insert: &Insert, text: &str) -> Result<Outcome> {
    refuse_extras(insert)?;
    let TableObject::TableName(name) = &insert.table else { return Err(Error::new("INSERT needs the name of a table")) };
    let _writing = session.turn().await?;
    let (context, snapshot) = session.context().await?;
    let table = kept::target(&snapshot, session, name)?;
    let named = named_columns(table, insert)?;
    let given = match &insert.source {
        Some(source) => given_rows(&context, source, table, &named).await?,
        None => vec![(HashMap::new(), 1)],
    };
    let rows = complete_rows(&context, &snapshot, table, given).await?;
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    if count > 0 {
        let change = Change::Append { schema: table.schema.clone(), name: table.name.clone(), rows };
        session.commit(vec![change], text).await?;
    }
    Ok(Outcome::Done(format!("INSERT 0 {count}")))
}

/// Given columns as rows of the table, with every constraint checked.
pub(super) async fn complete_rows(
    context: &SessionContext,
    snapshot: &Snapshot,
    table: &TableDefinition,
    given: Vec<(HashMap<String, ArrayRef>, usize)>,
) -> Result<Vec<RecordBatch>> {
    let mut first_row = kept::row_count(context, snapshot, table).await?;
    let mut rows = Vec::new();
    for (columns, count) in given.into_iter().filter(|(_, count)| *count > 0) {
        let batch = kept::complete(context, table, &columns, count, first_row)?;
        kept::check(context, table, &batch)?;
        first_row += count as u64;
        rows.push(batch);
    }
    kept::check_keys(context, snapshot, table, &rows).await?;
    Ok(rows)
}

fn refuse_extras(insert: &Insert) -> Result<()> {
    let extra = [
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.returning.is_some(), "RETURNING"),
        (insert.overwrite || insert.replace_into || insert.or.is_some(), "replacing rows by INSERT"),
        (!insert.assignments.is_empty(), "INSERT ... SET"),
        (insert.partitioned.is_some(), "PARTITION"),
    ];
    let refusals = extra.into_iter().filter(|(given, _)| *given).map(|(_, what)| Error::new(format!("{what} is not supported yet")));
    Error::all(refusals).map_or(Ok(()), Err)
}

/// The columns that the values are for: those that are listed, or all.
fn named_columns(table: &TableDefinition, insert: &Insert) -> Result<Vec<String>> {
    if insert.columns.is_empty() {
        return Ok(table.columns.iter().map(|c| c.name.clone()).collect());
    }
    let (mut names, mut refusals) = (Vec::new(), Vec::new());
    for column in &insert.columns {
        let name = column.0.last().and_then(|part| part.as_ident()).map(grammar::name).unwrap_or_default();
        refusals.extend(kept::column(table, &name).err());
        if names.contains(&name) {
            refusals.push(Error::new(format!("column '{name}' is listed twice")));
        }
        names.push(name);
    }
    Error::all(refusals).map_or(Ok(names), Err)
}

/// The rows that are to be inserted, each batch by column name.
async fn given_rows(
    context: &SessionContext,
    source: &Query,
    table: &TableDefinition,
    named: &[String],
) -> Result<Vec<(HashMap<String, ArrayRef>, usize)>> {
    let (source, named) = without_defaults(source, named)?;
    let statement = PlainStatement::Statement(Box::new(SqlStatement::Query(Box::new(source))));
    let plan = query::plan(context, &statement).await?;
    let columns = plan.schema().fields().len();
    if columns != named.len() {
        let error = Error::new(format!("{columns} values are given for {} columns of table '{}'", named.len(), table.name));
        return Err(error.hint(format!("the columns are {}", named.join(", "))));
    }
    let batches = kept::in_order(context).execute_logical_plan(plan).await?.collect().await?;
    let by_name = |batch: RecordBatch| (named.iter().cloned().zip(batch.columns().iter().cloned()).collect(), batch.num_rows());
    Ok(batches.into_iter().map(by_name).collect())
}

/// VALUES with the columns left out that are DEFAULT in every row.
fn without_defaults(source: &Query, named: &[String]) -> Result<(Query, Vec<String>)> {
    let mut source = source.clone();
    let SetExpr::Values(values) = source.body.as_mut() else { return Ok((source, named.to_vec())) };
    let is_default =
        |expr: &Expr| matches!(expr, Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
    let defaulted: Vec<bool> = (0..named.len())
        .map(|column| {
            let count = values.rows.iter().filter(|row| row.content.get(column).is_some_and(is_default)).count();
            match count {
                0 => Ok(false),
                _ if count == values.rows.len() => Ok(true),
                _ => Err(Error::new(format!("column '{}' is DEFAULT in some of the rows", named[column]))
                    .hint("insert those rows by themselves")),
            }
        })
        .collect::<Result<_>>()?;
    if !defaulted.contains(&true) || values.rows.iter().any(|row| row.content.len() != named.len()) {
        return Ok((source, named.to_vec()));
    }
    if !defaulted.contains(&false) {
        return Err(Error::new("every value is DEFAULT").hint("write INSERT INTO ... DEFAULT VALUES"));
    }
    for row in &mut values.rows {
        let mut column = 0..;
        row.content.retain(|_| column.next().is_none_or(|c| !defaulted[c]));
    }
    let kept = named.iter().zip(&defaulted).filter(|(_, defaulted)| !**defaulted).map(|(name, _)| name.clone());
    Ok((source, kept.collect()))
}
