//! CREATE TABLE: what is declared becomes a definition, with every refusal reported at once.

use super::catalog::MAIN;
use super::{Outcome, Session, kept, query, train};
use crate::error::{Error, Place, Result};
use crate::grammar::{self, Check, Column, Condition, CreateTable, Position, Rows};
use crate::storage::{self, Change, Snapshot};
use crate::table::{self, Bound, ColumnDefinition, Initializer, TableDefinition};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, CastKind, Expr, Statement as SqlStatement, visit_expressions};
use std::ops::ControlFlow;

/// Types that are meant most often.
const TYPES: [&str; 11] = ["REAL", "DOUBLE", "SMALLINT", "INT", "BIGINT", "DECIMAL", "TEXT", "BOOLEAN", "DATE", "TIMESTAMP", "BYTEA"];

pub(super) async fn create_table(session: &Session, create: &CreateTable, text: &str) -> Result<Outcome> {
    session.writable()?;
    let (schema, name) = kept::object(&create.name)?;
    if schema != MAIN {
        return Err(Error::new(format!("a table cannot be created in schema '{schema}'"))
            .at(place(create.position))
            .hint("leave the schema out"));
    }
    let (context, snapshot) = session.context().await?;
    if exists(session, &snapshot, &name, create)? {
        return Ok(Outcome::Done("CREATE TABLE".into()));
    }
    let declared = definition(&context, create, &name)?;
    let source = match &create.source {
        Some(source) => Some(source_rows(session, &context, source).await?),
        None => None,
    };
    // A TRAIN has committed by now: what follows stands on what it left.
    let _writing = session.turn().await?;
    let snapshot = session.snapshot().await?;
    exists(session, &snapshot, &name, create)?;
    let (definition, rows) = match source {
        None => (declared, vec![]),
        Some((schema, batches)) => filled(&context, declared, &schema, batches)?,
    };
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    let mut changes = Vec::new();
    if create.or_replace && snapshot.table(MAIN, &name).is_some() {
        changes.push(Change::DropTable { schema: MAIN.into(), name });
    }
    changes.push(Change::CreateTable { definition, rows });
    session.commit(changes, text).await?;
    Ok(Outcome::Done(if create.source.is_some() { format!("SELECT {count}") } else { "CREATE TABLE".into() }))
}

/// Whether the statement has nothing to do; an error when the name is taken.
fn exists(session: &Session, snapshot: &Snapshot, name: &str, create: &CreateTable) -> Result<bool> {
    let is_table = snapshot.table(MAIN, name).is_some();
    if is_table && (create.or_replace || create.if_not_exists) {
        return Ok(create.if_not_exists);
    }
    let what = if is_table {
        "a table"
    } else if snapshot.views().iter().any(|v| v.schema == MAIN && v.name == *name) {
        "a view"
    } else if session.temporary.contains(name) {
        "an external table"
    } else {
        return Ok(false);
    };
    let hint = if is_table { "choose another name, or write CREATE OR REPLACE TABLE or IF NOT EXISTS" } else { "choose another name" };
    Err(Error::new(format!("{what} '{name}' exists already")).at(place(create.position)).hint(hint))
}

/// What is declared, checked in every part.
fn definition(context: &SessionContext, create: &CreateTable, name: &str) -> Result<TableDefinition> {
    let mut refusals = Vec::new();
    let mut table = TableDefinition { schema: MAIN.into(), name: name.into(), columns: vec![], primary_key: vec![], checks: vec![] };
    for (i, column) in create.columns.iter().enumerate() {
        if create.columns[..i].iter().any(|c| c.name == column.name) {
            refusals.push(Error::new(format!("column '{}' is declared twice", column.name)).at(place(column.position)));
        }
        match column_definition(context, column) {
            Ok(definition) => table.columns.push(definition),
            Err(error) => refusals.push(error.at(place(column.position))),
        }
    }
    if refusals.is_empty() || table.columns.len() == create.columns.len() {
        refusals.extend(primary_key(&mut table, create));
        refusals.extend(create.checks.iter().filter_map(|check| declare_check(context, &mut table, check).err()));
        let defaults = create.columns.iter().filter_map(|column| check_default(context, &table, column).err());
        refusals.extend(defaults);
    }
    Error::all(refusals).map_or(Ok(table), Err)
}

/// The definition of one column, without its CHECKs.
pub(super) fn column_definition(context: &SessionContext, column: &Column) -> Result<ColumnDefinition> {
    let (element, dimensions) = dimensions(&column.data_type)?;
    let declared = arrow_type(context, element)?;
    let data_type = dimensions.iter().fold(declared, |inner, _| DataType::new_list(inner, true));
    let data_type = storage::stored_type(&data_type)?;
    let dimensions: Vec<usize> = if dimensions.contains(&None) { vec![] } else { dimensions.into_iter().flatten().collect() };
    if column.learnable && !table::learnable_type(&data_type, &dimensions) {
        let declared = table::type_name(&data_type, &dimensions);
        let error = Error::new(format!("column '{}' is {declared}, which cannot be LEARNABLE", column.name));
        return Err(error.hint("declare REAL or DOUBLE, or a fixed-size array or matrix of them such as REAL[32]"));
    }
    Ok(ColumnDefinition {
        name: column.name.clone(),
        data_type,
        dimensions,
        nullable: !column.not_null && !column.learnable,
        default: column.default.as_ref().map(|d| d.text.clone()),
        learnable: column.learnable,
        bound: None,
    })
}

/// The type of the elements, and the declared lengths from left to right.
fn dimensions(data_type: &ast::DataType) -> Result<(&ast::DataType, Vec<Option<usize>>)> {
    let ast::DataType::Array(ArrayElemTypeDef::SquareBracket(inner, length)) = data_type else { return Ok((data_type, vec![])) };
    if *length == Some(0) {
        return Err(Error::new("an array of length 0 holds nothing").hint("give a positive length"));
    }
    let (element, mut lengths) = dimensions(inner)?;
    lengths.push(length.map(|length| length as usize));
    Ok((element, lengths))
}

/// What DataFusion makes of a type's name.
fn arrow_type(context: &SessionContext, data_type: &ast::DataType) -> Result<DataType> {
    let null = Expr::Value(ast::Value::Null.with_empty_span());
    let cast = Expr::Cast { kind: CastKind::Cast, expr: Box::new(null), data_type: data_type.clone(), array: false, format: None };
    match kept::constant(context, cast, 0) {
        Ok(values) => Ok(values.data_type().clone()),
        Err(_) => {
            let error = Error::new(format!("type {data_type} is not known"));
            let meant = grammar::nearest(&data_type.to_string(), TYPES);
            Err(error.hint(meant.map_or(format!("some types are {}", TYPES.join(", ")), |meant| format!("did you mean {meant}?"))))
        }
    }
}

fn primary_key(table: &mut TableDefinition, create: &CreateTable) -> Vec<Error> {
    let mut refusals = Vec::new();
    for (name, position) in &create.primary_key {
        match kept::column(table, name) {
            Err(error) => refusals.push(error.at(place(*position))),
            Ok(column) if column.learnable => {
                let error = Error::new(format!("column '{name}' is LEARNABLE and cannot be in the PRIMARY KEY"));
                refusals.push(error.at(place(*position)).hint("a key identifies a row, so it must not change in training"));
            }
            Ok(column) if column.data_type.is_nested() => {
                refusals.push(
                    Error::new(format!("column '{name}' is {} and cannot be in the PRIMARY KEY", column.type_name())).at(place(*position)),
                );
            }
            Ok(_) if table.primary_key.contains(name) => {
                refusals.push(Error::new(format!("column '{name}' is twice in the PRIMARY KEY")).at(place(*position)));
            }
            Ok(_) => table.primary_key.push(name.clone()),
        }
    }
    let key = &table.primary_key;
    table.columns.iter_mut().filter(|c| key.contains(&c.name)).for_each(|c| c.nullable = false);
    refusals
}

/// Adds a CHECK to a table: as a bound when it is about a learnable column, else as a condition that DataFusion evaluates.
pub(super) fn declare_check(context: &SessionContext, table: &mut TableDefinition, check: &Check) -> Result<()> {
    let (column, bound) = match &check.condition {
        Condition::UnitNorm(column) => (column.clone(), Bound::UnitNorm),
        Condition::Simplex(column) => (column.clone(), Bound::Simplex),
        Condition::Expression(expr) => {
            let named = columns_of(expr);
            let refusals = named.iter().filter_map(|name| kept::column(table, name).err());
            if let Some(error) = Error::all(refusals) {
                return Err(error.at(place(check.position)));
            }
            let is_live = |name: &&String| table.column(name).is_some_and(|c| c.learnable);
            let Some(live) = named.iter().find(is_live).cloned() else {
                check_condition(context, table, expr).map_err(|e| e.at(place(check.position)))?;
                table.checks.push(check.text.clone());
                return Ok(());
            };
            let bound = Bound::parse(&live, expr).map_err(|e| e.at(place(check.position)))?;
            (live, bound)
        }
    };
    add_bound(table, &column, bound).map_err(|e| e.at(place(check.position)))
}

pub(super) fn add_bound(table: &mut TableDefinition, column: &str, bound: Bound) -> Result<()> {
    let known = kept::column(table, column)?;
    let is_vector = table::learnable_type(&known.data_type, &known.dimensions) && known.dimensions.len() == 1;
    if matches!(bound, Bound::UnitNorm | Bound::Simplex) && !is_vector {
        let error = Error::new(format!("CHECK ({column} {bound}) is for vectors, and the column is {}", known.type_name()));
        return Err(error.hint("declare a vector such as REAL[32], or bounds such as CHECK (c >= 0)"));
    }
    let both = match &known.bound {
        None => bound,
        Some(before) => before.and(&bound).ok_or_else(|| {
            let error = Error::new(format!("no projection is known for CHECK ({column} {before}) together with CHECK ({column} {bound})"));
            error.hint("keep one of them")
        })?,
    };
    if let Some(known) = table.columns.iter_mut().find(|c| c.name == column) {
        known.bound = Some(both);
    }
    Ok(())
}

fn check_condition(context: &SessionContext, table: &TableDefinition, expr: &Expr) -> Result<()> {
    let schema = DFSchema::try_from_qualified_schema(table.name.as_str(), table.arrow_schema().as_ref())?;
    let logical = kept::logical(context, expr.clone(), &schema)?;
    let physical = context.create_physical_expr(logical, &schema)?;
    match physical.data_type(schema.as_arrow())? {
        DataType::Boolean | DataType::Null => Ok(()),
        other => Err(Error::new(format!("CHECK ({expr}) is {}, not a condition", table::type_name(&other, &[])))),
    }
}

/// The names of the columns in an expression.
pub(super) fn columns_of(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    let _ = visit_expressions(expr, |part| {
        let name = match part {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        names.extend(name.map(grammar::name).filter(|name| !names.contains(name)));
        ControlFlow::<()>::Continue(())
    });
    names
}

/// A DEFAULT must give a value of the column's type, and one within the bound of a learnable column.
pub(super) fn check_default(context: &SessionContext, table: &TableDefinition, column: &Column) -> Result<()> {
    let (Some(default), Some(definition)) = (&column.default, table.column(&column.name)) else { return Ok(()) };
    let checked = || {
        let initializer = Initializer::parse(&default.expr)?;
        if initializer.is_some() && !table::learnable_type(&definition.data_type, &definition.dimensions) {
            return Err(Error::new(format!(
                "'{}' gives numbers, and column '{}' is {}",
                default.text,
                column.name,
                definition.type_name()
            )));
        }
        if initializer.is_none() && !definition.dimensions.is_empty() {
            let value = kept::constant(context, (*default.expr).clone(), 1)?;
            if !value.data_type().is_nested() && value.data_type() != &DataType::Null {
                let error = Error::new(format!("column '{}' is {}, and its DEFAULT is one value", column.name, definition.type_name()));
                return Err(error.hint("write init_zeros(), init_ones() or an array of the right length"));
            }
        }
        let values = kept::default_values(context, table, definition, 1, 0)?;
        let alone = TableDefinition { columns: vec![definition.clone()], primary_key: vec![], checks: vec![], ..table.clone() };
        let row = kept::batch(&alone, vec![values], 1)?;
        let breaches = table::breaches(&alone, &row, 1).into_iter().map(|e| {
            let reasons: Vec<&str> = e.refusals().iter().map(|r| r.what.as_str()).collect();
            Error::new(format!("DEFAULT {} does not fit: {}", default.text, reasons.join("; ")))
                .hint("choose a DEFAULT that the constraints allow")
        });
        Error::all(breaches).map_or(Ok(()), Err)
    };
    checked().map_err(|e| e.at(place(default.position)))
}

/// The rows of AS SELECT or AS TRAIN.
async fn source_rows(session: &Session, context: &SessionContext, source: &Rows) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let outcome = match source {
        Rows::Train(run, text) => train::train(session, run, text, Default::default()).await?,
        Rows::Query(query) => {
            let statement = PlainStatement::Statement(Box::new(SqlStatement::Query(query.clone())));
            let plan = query::plan(context, &statement).await?;
            Outcome::Rows(query::stream(&kept::in_order(context), plan).await?)
        }
    };
    let schema = outcome.schema().ok_or_else(|| Error::new("the statement gives no rows"))?;
    Ok((schema, outcome.collect().await?))
}

/// A table and its first rows; without declared columns it gets those of the rows.
fn filled(
    context: &SessionContext,
    mut table: TableDefinition,
    schema: &Schema,
    batches: Vec<RecordBatch>,
) -> Result<(TableDefinition, Vec<RecordBatch>)> {
    if table.columns.is_empty() {
        table.columns = columns_like(schema)?;
    }
    if table.columns.len() != schema.fields().len() {
        return Err(Error::new(format!("{} columns are declared, and the query has {}", table.columns.len(), schema.fields().len())));
    }
    let given = batches.into_iter().filter(|b| b.num_rows() > 0).map(|batch| {
        let columns = table.columns.iter().zip(batch.columns()).map(|(c, values)| table::cast(c, values)).collect::<Result<_>>()?;
        let rows = kept::batch(&table, columns, batch.num_rows())?;
        kept::check(context, &table, &rows)?;
        Ok(rows)
    });
    let rows = given.collect::<Result<Vec<_>>>()?;
    table::Keys::of(&table, &rows)?;
    Ok((table, rows))
}

/// Columns of the names and types of rows; lists of a fixed size become arrays of one.
pub(super) fn columns_like(schema: &Schema) -> Result<Vec<ColumnDefinition>> {
    let mut columns: Vec<ColumnDefinition> = vec![];
    for field in schema.fields() {
        if columns.iter().any(|c| c.name == *field.name()) {
            return Err(Error::new(format!("there are two columns named '{}'", field.name())).hint("name one of them otherwise, with AS"));
        }
        let (mut dimensions, mut element) = (vec![], field.data_type());
        while let DataType::FixedSizeList(of, length) = element {
            dimensions.push(*length as usize);
            element = of.data_type();
        }
        columns.push(ColumnDefinition {
            name: field.name().clone(),
            data_type: storage::stored_type(field.data_type())?,
            dimensions: if element.is_nested() { vec![] } else { dimensions },
            nullable: true,
            default: None,
            learnable: false,
            bound: None,
        });
    }
    Ok(columns)
}

pub(super) fn place((line, column): Position) -> Place {
    Place::Position { line, column }
}
