//! UPDATE, DELETE and TRUNCATE: a query says which rows change and to what, and the table's rows are replaced.

use super::kept;
use super::{Outcome, Session, query};
use crate::error::{Error, Result};
use crate::grammar;
use crate::storage::{Change, Snapshot};
use crate::table::{self, Keys, TableDefinition};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter_record_batch, interleave, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Ident, ObjectName, SelectItem, SetExpr, Statement as SqlStatement, TableAlias,
    TableFactor, TableWithJoins, Truncate, Update, UpdateTableFromKind,
};
use std::sync::Arc;

/// Where the rows that may change are put, with their numbers, under a name that no user's query has.
const PLACE: [&str; 3] = ["nabla_change", "rows", "target"];
const ROW: &str = "nabla_row";

pub(super) async fn update(session: &Session, update: &Update, text: &str) -> Result<Outcome> {
    refuse([
        (update.returning.is_some(), "RETURNING"),
        (!update.order_by.is_empty(), "ORDER BY in UPDATE"),
        (update.limit.is_some(), "LIMIT in UPDATE"),
    ])?;
    let _writing = session.turn().await?;
    let (context, snapshot) = session.context().await?;
    let (name, alias) = relation(&update.table)?;
    let table = kept::target(&snapshot, session, &name)?;
    let assigned = assigned(table, &update.assignments)?;
    let others = match &update.from {
        None => &[],
        Some(UpdateTableFromKind::BeforeSet(tables) | UpdateTableFromKind::AfterSet(tables)) => tables.as_slice(),
    };
    let old = kept::all_rows(&context, &snapshot, table).await?;
    let values: Vec<&Expr> = assigned.iter().filter_map(|(_, value)| *value).collect();
    let changed = changed_rows(&context, &old, alias, &values, others, update.selection.as_ref()).await?;
    if changed.rows.is_empty() {
        return Ok(Outcome::Done("UPDATE 0".into()));
    }
    let new = updated(&context, table, &old, &assigned, &changed)?;
    let rows = take_record_batch(&new, &UInt64Array::from(changed.rows.clone()))?;
    kept::check(&context, table, &rows)?;
    if assigned.iter().any(|(column, _)| table.primary_key.contains(column)) {
        Keys::of(table, std::slice::from_ref(&new))?;
    }
    replace(session, table, new, text).await?;
    Ok(Outcome::Done(format!("UPDATE {}", changed.rows.len())))
}

pub(super) async fn delete(session: &Session, delete: &Delete, text: &str) -> Result<Outcome> {
    refuse([
        (delete.returning.is_some(), "RETURNING"),
        (!delete.order_by.is_empty(), "ORDER BY in DELETE"),
        (delete.limit.is_some(), "LIMIT in DELETE"),
    ])?;
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [from] = from.as_slice() else { return Err(Error::new("DELETE needs exactly one table").hint("name other tables after USING")) };
    let _writing = session.turn().await?;
    let (context, snapshot) = session.context().await?;
    let (name, alias) = relation(from)?;
    let table = kept::target(&snapshot, session, &name)?;
    let old = kept::all_rows(&context, &snapshot, table).await?;
    let others = delete.using.as_deref().unwrap_or_default();
    let changed = changed_rows(&context, &old, alias, &[], others, delete.selection.as_ref()).await?;
    if !changed.rows.is_empty() {
        let mut keep = vec![true; old.num_rows()];
        changed.rows.iter().for_each(|row| keep[*row as usize] = false);
        replace(session, table, filter_record_batch(&old, &BooleanArray::from(keep))?, text).await?;
    }
    Ok(Outcome::Done(format!("DELETE {}", changed.rows.len())))
}

pub(super) async fn truncate(session: &Session, truncate: &Truncate, text: &str) -> Result<Outcome> {
    let _writing = session.turn().await?;
    let (_, snapshot) = session.context().await?;
    let change = |name: &ObjectName, snapshot: &Snapshot| {
        let table = kept::target(snapshot, session, name)?;
        Ok(Change::Replace { schema: table.schema.clone(), name: table.name.clone(), rows: vec![] })
    };
    let changes = truncate.table_names.iter().map(|t| change(&t.name, &snapshot)).collect::<Result<_>>()?;
    session.commit(changes, text).await?;
    Ok(Outcome::Done("TRUNCATE TABLE".into()))
}

fn refuse<const N: usize>(extra: [(bool, &str); N]) -> Result<()> {
    let refusals = extra.into_iter().filter(|(given, _)| *given).map(|(_, what)| Error::new(format!("{what} is not supported yet")));
    Error::all(refusals).map_or(Ok(()), Err)
}

/// The table that is changed, and the name that the statement calls it by.
fn relation(table: &TableWithJoins) -> Result<(ObjectName, TableAlias)> {
    match &table.relation {
        TableFactor::Table { name, alias, .. } if table.joins.is_empty() => {
            let (_, own) = kept::object(name)?;
            let own = TableAlias { explicit: true, name: Ident::with_quote('"', own), columns: vec![], at: None };
            Ok((name.clone(), alias.clone().unwrap_or(own)))
        }
        other => Err(Error::new(format!("'{other}' cannot be changed")).hint("name one table, and others after FROM or USING")),
    }
}

/// The columns that are set, each with its new value; `None` is DEFAULT.
fn assigned<'a>(table: &TableDefinition, assignments: &'a [Assignment]) -> Result<Vec<(String, Option<&'a Expr>)>> {
    let (mut assigned, mut refusals) = (Vec::<(String, Option<&Expr>)>::new(), Vec::new());
    for assignment in assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            refusals.push(Error::new(format!("'{assignment}' sets several columns at once")).hint("write one assignment for each column"));
            continue;
        };
        let name = name.0.last().and_then(|part| part.as_ident()).map(grammar::name).unwrap_or_default();
        refusals.extend(kept::column(table, &name).err());
        if assigned.iter().any(|(known, _)| *known == name) {
            refusals.push(Error::new(format!("column '{name}' is set twice")));
        }
        let is_default =
            matches!(&assignment.value, Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
        assigned.push((name, (!is_default).then_some(&assignment.value)));
    }
    Error::all(refusals).map_or(Ok(assigned), Err)
}

/// Which rows a statement changes, in order, and the values that it computes for them.
struct Changed {
    rows: Vec<u64>,
    /// For each computed value, its column over all of the query's rows.
    values: Vec<ArrayRef>,
    /// For each of `rows`, where its values stand.
    at: Vec<usize>,
}

async fn changed_rows(
    context: &SessionContext,
    old: &RecordBatch,
    alias: TableAlias,
    values: &[&Expr],
    others: &[TableWithJoins],
    selection: Option<&Expr>,
) -> Result<Changed> {
    offer(context, old)?;
    let statement = selecting(&alias, values, others, selection)?;
    let batches = collect(context, &statement).await?;
    let computed = arrow::compute::concat_batches(&batches.schema, &batches.batches)?;
    let numbers = computed.column(0).as_primitive::<UInt64Type>();
    // A row that several partners match is changed once, by the first of them.
    let mut first: Vec<Option<usize>> = vec![None; old.num_rows()];
    numbers.values().iter().enumerate().for_each(|(i, row)| {
        first[*row as usize].get_or_insert(i);
    });
    let (rows, at) = first.iter().enumerate().filter_map(|(row, i)| i.map(|i| (row as u64, i))).unzip();
    Ok(Changed { rows, at, values: computed.columns()[1..].to_vec() })
}

/// The query for the numbers and the new values of the rows; what the user wrote stays in it with its places.
fn selecting(alias: &TableAlias, values: &[&Expr], others: &[TableWithJoins], selection: Option<&Expr>) -> Result<PlainStatement> {
    let sql = format!("SELECT {}.{ROW} FROM {} AS {}", alias.name, PLACE.join("."), alias.name);
    let statement = grammar::statements(&sql).next().unwrap_or_else(|| Err(Error::new("there is nothing to change")))?;
    let mut statement = match statement.kind {
        grammar::Kind::Plain(statement) => *statement,
        _ => return Err(Error::new("this change is not a query")),
    };
    if let PlainStatement::Statement(sql) = &mut statement
        && let SqlStatement::Query(query) = sql.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        let named = |(i, value): (usize, &&Expr)| SelectItem::ExprWithAlias {
            expr: (*value).clone(),
            alias: Ident::new(format!("nabla_value_{i}")),
        };
        select.projection.extend(values.iter().enumerate().map(named));
        select.from.extend(others.iter().cloned());
        select.selection = selection.cloned();
    }
    Ok(statement)
}

struct Collected {
    schema: Arc<Schema>,
    batches: Vec<RecordBatch>,
}

async fn collect(context: &SessionContext, statement: &PlainStatement) -> Result<Collected> {
    let plan = query::plan(context, statement).await.map_err(forget)?;
    let frame = context.execute_logical_plan(plan).await?;
    let schema = frame.schema().inner().clone();
    Ok(Collected { schema, batches: frame.collect().await? })
}

/// A hint may list the columns, and the number of the row is none of the user's.
fn forget(error: Error) -> Error {
    let users = |text: &str| text.split(", ").filter(|name| !name.ends_with(&format!(".{ROW}"))).collect::<Vec<_>>().join(", ");
    let refusals = error.refusals().iter().map(|refusal| {
        let mut ours = Error::new(refusal.what.clone());
        if let Some(place) = &refusal.place {
            ours = ours.at(place.clone());
        }
        refusal.hint.as_deref().map_or(ours.clone(), |hint| ours.hint(users(hint)))
    });
    Error::all(refusals).unwrap_or_else(|| error.clone())
}

/// Makes the table's rows readable under `PLACE`, with a number for each.
fn offer(context: &SessionContext, old: &RecordBatch) -> Result<()> {
    let mut fields: Vec<Arc<Field>> = old.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ROW, DataType::UInt64, false)));
    let mut columns = old.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_iter_values(0..old.num_rows() as u64)));
    let numbered = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let schema = MemorySchemaProvider::new();
    schema.register_table(PLACE[2].to_string(), Arc::new(MemTable::try_new(numbered.schema(), vec![vec![numbered]])?))?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(PLACE[1], Arc::new(schema))?;
    context.register_catalog(PLACE[0], Arc::new(catalog));
    Ok(())
}

/// All rows of the table after an UPDATE.
fn updated(
    context: &SessionContext,
    table: &TableDefinition,
    old: &RecordBatch,
    assigned: &[(String, Option<&Expr>)],
    changed: &Changed,
) -> Result<RecordBatch> {
    let (mut columns, mut computed) = (old.columns().to_vec(), changed.values.iter());
    for (name, value) in assigned {
        let Some(index) = table.columns.iter().position(|c| c.name == *name) else { continue };
        let column = &table.columns[index];
        let (new, at): (ArrayRef, Vec<usize>) = match (value, value.and_then(|_| computed.next())) {
            (Some(_), Some(values)) => (table::cast(column, values)?, changed.at.clone()),
            _ => {
                let all = kept::default_values(context, table, column, old.num_rows(), 0)?;
                (all, changed.rows.iter().map(|row| *row as usize).collect())
            }
        };
        let mut source: Vec<(usize, usize)> = (0..old.num_rows()).map(|row| (0, row)).collect();
        changed.rows.iter().zip(at).for_each(|(row, at)| source[*row as usize] = (1, at));
        let before = table::cast(column, &columns[index])?;
        columns[index] = interleave(&[before.as_ref(), new.as_ref()], &source)?;
    }
    kept::batch(table, columns, old.num_rows())
}

async fn replace(session: &Session, table: &TableDefinition, rows: RecordBatch, text: &str) -> Result<()> {
    let rows = if rows.num_rows() == 0 { vec![] } else { vec![rows] };
    session.commit(vec![Change::Replace { schema: table.schema.clone(), name: table.name.clone(), rows }], text).await.map(drop)
}
