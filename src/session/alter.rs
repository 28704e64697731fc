//! ALTER TABLE: a column comes, goes, is thawed or frozen.

use super::create::{add_bound, check_default, column_definition, columns_of, declare_check, place};
use super::{Outcome, Session, kept};
use crate::error::{Error, Result};
use crate::grammar::{self, AlterAction, AlterTable, Check, Column};
use crate::storage::{Change, Snapshot};
use crate::table::{self, Bound, TableDefinition};
use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;

pub(super) async fn alter_table(session: &Session, alter: &AlterTable, text: &str) -> Result<Outcome> {
    let done = Ok(Outcome::Done("ALTER TABLE".into()));
    let _writing = session.turn().await?;
    let (context, snapshot) = session.context().await?;
    let table = match kept::target(&snapshot, session, &alter.name) {
        Err(_) if alter.if_exists => return done,
        found => found.map_err(|e| e.at(place(alter.position)))?,
    };
    let change = match &alter.action {
        AlterAction::AddColumn { column, if_not_exists: true, .. } if table.column(&column.name).is_some() => return done,
        AlterAction::AddColumn { column, checks, .. } => add_column(&context, &snapshot, table, column, checks).await?,
        AlterAction::DropColumn { column, if_exists: true, .. } if table.column(column).is_none() => return done,
        AlterAction::DropColumn { column, position, .. } => {
            drop_column(&context, &snapshot, table, column).await.map_err(|e| e.at(place(*position)))?
        }
        AlterAction::SetLearnable { column, position } => {
            thaw(&context, &snapshot, table, column).await.map_err(|e| e.at(place(*position)))?
        }
        AlterAction::DropLearnable { column, position } => freeze(table, column).map_err(|e| e.at(place(*position)))?,
    };
    session.commit(vec![change], text).await?;
    done
}

/// The new column's values in the rows that are there already are those that new rows would get.
async fn add_column(
    context: &SessionContext,
    snapshot: &Snapshot,
    table: &TableDefinition,
    column: &Column,
    checks: &[Check],
) -> Result<Change> {
    let at = place(column.position);
    if table.column(&column.name).is_some() {
        return Err(Error::new(format!("column '{}' exists already", column.name))
            .at(at)
            .hint("choose another name, or write IF NOT EXISTS"));
    }
    let mut definition = table.clone();
    definition.columns.push(column_definition(context, column).map_err(|e| e.at(at.clone()))?);
    let refusals = checks.iter().filter_map(|check| declare_check(context, &mut definition, check).err());
    let mut refusals: Vec<Error> = refusals.collect();
    refusals.extend(check_default(context, &definition, column).err());
    if let Some(error) = Error::all(refusals) {
        return Err(error);
    }
    let old = kept::all_rows(context, snapshot, table).await?;
    let rows = if old.num_rows() == 0 { vec![] } else { vec![widened(context, &definition, &old).map_err(|e| e.at(at))?] };
    Ok(Change::AlterTable { definition, rows: Some(rows) })
}

fn widened(context: &SessionContext, definition: &TableDefinition, old: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = old.columns().to_vec();
    if let Some(new) = definition.columns.last() {
        columns.push(kept::default_values(context, definition, new, old.num_rows(), 0)?);
    }
    let rows = kept::batch(definition, columns, old.num_rows())?;
    kept::check(context, definition, &rows)?;
    Ok(rows)
}

async fn drop_column(context: &SessionContext, snapshot: &Snapshot, table: &TableDefinition, name: &str) -> Result<Change> {
    kept::column(table, name)?;
    if table.primary_key.iter().any(|key| key == name) {
        return Err(Error::new(format!("column '{name}' is in the PRIMARY KEY")).hint("create a new table with another key"));
    }
    if table.columns.len() == 1 {
        return Err(Error::new(format!("'{name}' is the table's only column")).hint("DROP TABLE"));
    }
    let mut definition = table.clone();
    definition.columns.retain(|c| c.name != name);
    definition.checks.retain(|check| !grammar::expression(check).is_ok_and(|expr| columns_of(&expr).iter().any(|c| c == name)));
    let old = kept::all_rows(context, snapshot, table).await?;
    let kept: Vec<usize> = (0..table.columns.len()).filter(|i| table.columns[*i].name != name).collect();
    let rows = if old.num_rows() == 0 { vec![] } else { vec![old.project(&kept)?] };
    Ok(Change::AlterTable { definition, rows: Some(rows) })
}

/// SET LEARNABLE: the column's CHECKs must be ones that training can keep, and its rows must keep them.
async fn thaw(context: &SessionContext, snapshot: &Snapshot, table: &TableDefinition, name: &str) -> Result<Change> {
    let column = kept::column(table, name)?;
    if !table::learnable_type(&column.data_type, &column.dimensions) {
        let error = Error::new(format!("column '{name}' is {}, which cannot be LEARNABLE", column.type_name()));
        return Err(error.hint("only REAL and DOUBLE, and fixed-size arrays and matrices of them, can be learned"));
    }
    if table.primary_key.iter().any(|key| key == name) {
        return Err(Error::new(format!("column '{name}' is in the PRIMARY KEY and cannot be LEARNABLE")));
    }
    let mut definition = table.clone();
    let mut refusals = Vec::new();
    for check in &table.checks {
        let expr = grammar::expression(check)?;
        if columns_of(&expr).iter().any(|c| c == name) {
            definition.checks.retain(|known| known != check);
            let added = Bound::parse(name, &expr).and_then(|bound| add_bound(&mut definition, name, bound));
            refusals.extend(added.err());
        }
    }
    if let Some(column) = definition.columns.iter_mut().find(|c| c.name == name) {
        (column.learnable, column.nullable) = (true, false);
    }
    refusals.extend(table::breaches(&definition, &kept::all_rows(context, snapshot, table).await?, 1));
    Error::all(refusals).map_or(Ok(Change::AlterTable { definition, rows: None }), Err)
}

/// DROP LEARNABLE: the values stay as they are, and so does the bound on them.
fn freeze(table: &TableDefinition, name: &str) -> Result<Change> {
    if !kept::column(table, name)?.learnable {
        return Err(Error::new(format!("column '{name}' is not LEARNABLE")));
    }
    let mut definition = table.clone();
    definition.columns.iter_mut().filter(|c| c.name == name).for_each(|c| c.learnable = false);
    Ok(Change::AlterTable { definition, rows: None })
}
