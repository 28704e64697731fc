//! Everything that DataFusion runs by itself: queries, EXPLAIN, SHOW, SET, prepared statements, COPY TO, external tables.

use super::arg_max;
use super::difference::Signed;
use super::equal_keys::EqualKeys;
use super::in_lists::InLists;
use super::unnest::Unnest;
use super::{Outcome, Session, catalog};
use crate::error::{Error, Place, Result};
use crate::grammar;
use arrow::datatypes::DataType;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::{DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, cast, dml::CopyTo};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Endings of files that can be read in place.
const FILES: [&str; 6] = ["parquet", "csv", "json", "ndjson", "arrow", "avro"];

/// PREPAREd statements by name. They are planned anew for each EXECUTE, over that statement's snapshot.
#[derive(Default)]
pub(super) struct Prepared(Mutex<HashMap<String, PlainStatement>>);

impl Prepared {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, PlainStatement>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The context that a session's settings live in.
pub(super) fn settings(memory_limit: Option<usize>) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(catalog::CATALOG, catalog::MAIN);
    config.options_mut().sql_parser.collect_spans = true;
    // DataFusion's rules take apart the sub-queries that they know; ours comes before them and leaves them those.
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(Unnest), Arc::new(InLists)];
    let equal_keys = Arc::new(EqualKeys::default());
    rules.extend(Optimizer::new().rules.into_iter().map(|rule| if rule.name() == equal_keys.name() { equal_keys.clone() } else { rule }));
    let runtime = RuntimeEnvBuilder::new();
    let runtime = memory_limit.map_or(runtime.clone(), |bytes| runtime.with_memory_limit(bytes, 1.0)).build_arc()?;
    let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime);
    let state = builder.with_default_features().with_optimizer_rules(rules).build();
    let mut context = SessionContext::new_with_state(state);
    context.register_expr_planner(Arc::new(Signed))?;
    super::functions(&context);
    arg_max::register(&mut context)?;
    Ok(context)
}

/// A statement with a result set.
pub(super) async fn rows(session: &Session, statement: &PlainStatement) -> Result<Outcome> {
    let (context, _) = session.context().await?;
    let plan = plan(&context, statement).await?;
    Ok(Outcome::Rows(stream(&context, plan).await?))
}

/// A statement that changes the session and not the database.
pub(super) async fn done(session: &Session, statement: &PlainStatement, tag: &str) -> Result<Outcome> {
    session.files()?;
    let (context, _) = session.context().await?;
    let plan = context.state().statement_to_plan(statement.clone()).await.map_err(|e| explained(e.into(), &context))?;
    context.execute_logical_plan(plan).await?.collect().await?;
    Ok(Outcome::Done(tag.into()))
}

/// SET and RESET reach every later statement.
pub(super) async fn setting(session: &Session, statement: &PlainStatement, tag: &str) -> Result<Outcome> {
    if statement.to_string().to_lowercase().contains("datafusion.runtime.") {
        session.files()?;
    }
    let plan = session.settings.state().statement_to_plan(statement.clone()).await?;
    session.settings.execute_logical_plan(plan).await.map_err(|e| unknown_setting(e.into()))?;
    *session.latest() = None;
    Ok(Outcome::Done(tag.into()))
}

fn unknown_setting(error: Error) -> Error {
    let text = error.to_string();
    if text.contains("\"memory_limit\"") {
        error.hint("write SET datafusion.runtime.memory_limit = '512M'")
    } else if text.contains("could not find config") {
        error.hint("SHOW ALL lists the settings")
    } else {
        error
    }
}

pub(super) async fn copy_to(session: &Session, statement: &PlainStatement) -> Result<Outcome> {
    session.files()?;
    let (context, _) = session.context().await?;
    let plan = match plan(&context, statement).await? {
        LogicalPlan::Copy(copy) if copy.file_type.get_ext() == "csv" => {
            LogicalPlan::Copy(CopyTo { input: Arc::new(flat(copy.input.as_ref().clone())?), ..copy })
        }
        plan => plan,
    };
    let batches = context.execute_logical_plan(plan).await?.collect().await?;
    Ok(Outcome::Done(format!("COPY {}", catalog::count_of(&batches))))
}

/// Arrays as text, which CSV has no way of its own for.
fn flat(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column((qualifier, field).into());
        if field.data_type().is_nested() { cast(column, DataType::Utf8).alias(field.name()) } else { column }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

pub(super) async fn prepare(session: &Session, name: &Ident, statement: &PlainStatement) -> Result<Outcome> {
    let context = session.context_of(&session.snapshot().await?)?;
    let plan = context.state().statement_to_plan(statement.clone()).await.map_err(|e| explained(e.into(), &context))?;
    context.execute_logical_plan(plan).await?;
    session.prepared.with(|known| known.insert(grammar::name(name), statement.clone()));
    Ok(Outcome::Done("PREPARE".into()))
}

pub(super) async fn execute(session: &Session, name: &ObjectName, statement: &PlainStatement) -> Result<Outcome> {
    let context = session.context_of(&session.snapshot().await?)?;
    let name = name.0.iter().filter_map(|part| part.as_ident()).map(grammar::name).collect::<Vec<_>>().join(".");
    let Some(prepared) = session.prepared.with(|known| known.get(&name).cloned()) else {
        return Err(Error::new(format!("there is no prepared statement '{name}'")).hint("PREPARE it first"));
    };
    // Places in it are those of the text of the PREPARE.
    let preparation = context.state().statement_to_plan(prepared).await.map_err(|e| Error::from(e).without_positions())?;
    context.execute_logical_plan(preparation).await?;
    let plan = context.state().statement_to_plan(statement.clone()).await?;
    let frame = context.execute_logical_plan(plan).await?;
    Ok(Outcome::Rows(frame.execute_stream().await?))
}

pub(super) async fn deallocate(session: &Session, name: &Ident) -> Result<Outcome> {
    if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all") {
        session.prepared.with(HashMap::clear);
        return Ok(Outcome::Done("DEALLOCATE ALL".into()));
    }
    let name = grammar::name(name);
    match session.prepared.with(|known| known.remove(&name)) {
        Some(_) => Ok(Outcome::Done("DEALLOCATE".into())),
        None => Err(Error::new(format!("there is no prepared statement '{name}'"))),
    }
}

/// A plan that changes nothing: what would change the database has its own files here.
pub(super) async fn plan(context: &SessionContext, statement: &PlainStatement) -> Result<LogicalPlan> {
    let plan = context.state().statement_to_plan(statement.clone()).await.map_err(|e| explained(e.into(), context))?;
    refuse_changes(&plan)?;
    Ok(plan)
}

pub(super) async fn stream(context: &SessionContext, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
    Ok(context.execute_logical_plan(plan).await?.execute_stream().await?)
}

fn refuse_changes(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Analyze(analyze) => match analyze.input.as_ref() {
            LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => {
                Err(Error::new("EXPLAIN ANALYZE runs its statement, and this one changes the database or a file")
                    .hint("write EXPLAIN without ANALYZE"))
            }
            _ => Ok(()),
        },
        LogicalPlan::Ddl(ddl) => {
            let what = match ddl {
                DdlStatement::CreateCatalogSchema(_) | DdlStatement::DropCatalogSchema(_) => "schemas of your own",
                DdlStatement::CreateCatalog(_) => "CREATE DATABASE",
                DdlStatement::CreateIndex(_) => "CREATE INDEX",
                DdlStatement::CreateFunction(_) | DdlStatement::DropFunction(_) => "functions written in SQL",
                _ => "this statement",
            };
            Err(Error::new(format!("{what}: not supported yet")))
        }
        LogicalPlan::Dml(_) => {
            Err(Error::new("this way of changing a table is not supported yet").hint("write INSERT, UPDATE, DELETE or COPY"))
        }
        _ => Ok(()),
    }
}

/// An error of the planner, with the nearest known name where a name was not found.
pub(super) fn explained(error: Error, context: &SessionContext) -> Error {
    let what = error.refusals().first().map(|r| r.what.clone()).unwrap_or_default();
    let Some(missing) = what.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) else { return error };
    let short = missing.strip_prefix(catalog::PREFIX).unwrap_or(missing);
    let known = catalog::table_names(context);
    let place: Option<Place> = error.refusals().first().and_then(|r| r.place.clone());
    let is_file =
        short.contains(['/', '\\']) || short.rsplit_once('.').is_some_and(|(_, ending)| FILES.contains(&ending.to_lowercase().as_str()));
    let mut ours = Error::new(if is_file { format!("file '{short}' not found") } else { format!("table '{short}' not found") });
    if let Some(place) = place {
        ours = ours.at(place);
    }
    if is_file {
        return ours.hint("paths begin at the folder in which the command was started");
    }
    match grammar::nearest(short, known.iter().map(String::as_str)) {
        Some(meant) => ours.hint(format!("did you mean '{meant}'?")),
        None if known.is_empty() => ours.hint("there are no tables yet: CREATE TABLE, or read a file with FROM 'file.parquet'"),
        None => ours.hint(format!("the tables are {}", known.join(", "))),
    }
}
