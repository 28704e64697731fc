//! DROP TABLE and DROP VIEW.

use super::kept;
use super::{Outcome, Session};
use crate::error::{Error, Result};
use crate::grammar;
use crate::storage::Change;
use datafusion::sql::sqlparser::ast::ObjectName;

pub(super) async fn drop_tables(session: &Session, names: &[ObjectName], if_exists: bool, text: &str) -> Result<Outcome> {
    let _writing = session.turn().await?;
    let snapshot = session.snapshot().await?;
    let (mut changes, mut refusals, mut external) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let (schema, own) = kept::object(name)?;
        if session.temporary.contains(&own) {
            external.push(own);
            continue;
        }
        match kept::target(&snapshot, session, name) {
            Ok(table) => changes.push(Change::DropTable { schema: table.schema.clone(), name: table.name.clone() }),
            Err(_) if if_exists && session.writable().is_ok() && !snapshot.views().iter().any(|v| v.schema == schema && v.name == own) => {}
            Err(error) => refusals.push(error),
        }
    }
    if let Some(error) = Error::all(refusals) {
        return Err(error);
    }
    external.iter().for_each(|name| session.temporary.remove(name));
    if !changes.is_empty() {
        session.commit(changes, text).await?;
    }
    Ok(Outcome::Done("DROP TABLE".into()))
}

pub(super) async fn drop_views(session: &Session, names: &[ObjectName], if_exists: bool, text: &str) -> Result<Outcome> {
    session.writable()?;
    let _writing = session.turn().await?;
    let snapshot = session.snapshot().await?;
    let (mut changes, mut refusals) = (Vec::new(), Vec::new());
    for object in names {
        let (schema, name) = kept::object(object)?;
        if snapshot.views().iter().any(|v| v.schema == schema && v.name == name) {
            changes.push(Change::DropView { schema, name });
        } else if snapshot.table(&schema, &name).is_some() {
            refusals.push(Error::new(format!("'{name}' is a table")).hint("write DROP TABLE"));
        } else if !if_exists {
            let error = Error::new(format!("view '{name}' not found"));
            let meant = grammar::nearest(&name, snapshot.views().iter().map(|v| v.name.as_str()));
            refusals.push(meant.map_or(error.clone(), |meant| error.hint(format!("did you mean '{meant}'?"))));
        }
    }
    if let Some(error) = Error::all(refusals) {
        return Err(error);
    }
    if !changes.is_empty() {
        session.commit(changes, text).await?;
    }
    Ok(Outcome::Done("DROP VIEW".into()))
}
