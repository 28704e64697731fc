//! CREATE VIEW: a query is kept as SQL text, once it has been planned.

use super::catalog::MAIN;
use super::{Outcome, Session, kept, query};
use crate::error::{Error, Result};
use crate::grammar::{self, Kind};
use crate::storage::{Change, ViewDefinition};
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{CreateView, Statement as SqlStatement};

pub(super) async fn create_view(session: &Session, create: &CreateView, text: &str) -> Result<Outcome> {
    session.writable()?;
    if create.materialized || create.temporary {
        return Err(Error::new("a materialized or temporary view is not supported yet").hint("write CREATE VIEW, or CREATE TABLE ... AS"));
    }
    let (schema, name) = kept::object(&create.name)?;
    if schema != MAIN {
        return Err(Error::new(format!("a view cannot be created in schema '{schema}'")).hint("leave the schema out"));
    }
    let _writing = session.turn().await?;
    let snapshot = session.snapshot().await?;
    let known = snapshot.views().iter().any(|v| v.schema == schema && v.name == name);
    if snapshot.table(&schema, &name).is_some() || session.temporary.contains(&name) {
        return Err(Error::new(format!("a table '{name}' exists already")).hint("choose another name"));
    }
    if known && create.if_not_exists {
        return Ok(Outcome::Done("CREATE VIEW".into()));
    }
    if known && !create.or_replace {
        return Err(Error::new(format!("a view '{name}' exists already")).hint("choose another name, or write CREATE OR REPLACE VIEW"));
    }
    let sql = renamed(create);
    // Without the view that it replaces, so that no view reads itself.
    let context = session.context_without(&snapshot, Some(name.clone()))?;
    query::plan(&context, &PlainStatement::Statement(Box::new(SqlStatement::Query(create.query.clone())))).await?;
    let kept = grammar::statements(&sql).next().unwrap_or_else(|| Err(Error::new("the view has no query")))?;
    let Kind::Plain(kept) = &kept.kind else { return Err(Error::new("a view is a query")) };
    query::plan(&context, kept).await?;
    let mut changes = Vec::new();
    if known {
        changes.push(Change::DropView { schema: schema.clone(), name: name.clone() });
    }
    changes.push(Change::CreateView(ViewDefinition { schema, name, sql }));
    session.commit(changes, text).await?;
    Ok(Outcome::Done("CREATE VIEW".into()))
}

/// The query, with the column names that the view gives it.
fn renamed(create: &CreateView) -> String {
    if create.columns.is_empty() {
        return create.query.to_string();
    }
    let names: Vec<String> = create.columns.iter().map(|c| c.name.to_string()).collect();
    format!("SELECT * FROM ({}) AS {} ({})", create.query, "named", names.join(", "))
}
