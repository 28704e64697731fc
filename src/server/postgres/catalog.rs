//! PostgreSQL's own tables, `pg_catalog`, which its tools read to find ours: the crate datafusion-pg-catalog makes them of the session's.

use crate::error::{Error, Result};
use crate::session::{Description, Session, Value};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use std::sync::Arc;

/// Words that only PostgreSQL's catalog has.
const WORDS: [&str; 12] = [
    "pg_",
    "current_schema",
    "current_database",
    "current_user",
    "session_user",
    "version()",
    "regclass",
    "regtype",
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
];

/// Whether a query is one of a tool, for the catalog.
pub(super) fn concerns(sql: &str) -> bool {
    let text = sql.to_lowercase();
    let begins = ["select", "with", "show"].iter().any(|word| text.trim_start().starts_with(word));
    begins && WORDS.iter().any(|word| text.contains(word))
}

pub(super) struct Catalog {
    session: Arc<Session>,
    parser: PostgresCompatibilityParser,
}

const SCHEMA: &str = "pg_catalog";

impl Catalog {
    pub fn new(session: Arc<Session>) -> Self {
        Self { session, parser: PostgresCompatibilityParser::new() }
    }

    async fn frame(&self, sql: &str) -> Result<DataFrame> {
        let (context, _) = self.session.context().await?;
        let name = self.session.catalog_name();
        // The context is the session's until the database changes; then there is another.
        if context.catalog(name).is_some_and(|catalog| catalog.schema(SCHEMA).is_none()) {
            setup_pg_catalog(&context, name, EmptyContextProvider).map_err(|e| Error::from(*e))?;
        }
        let statements = self.parser.parse(sql).map_err(|e| Error::new(e.to_string()))?;
        let [statement] = statements.as_slice() else { return Err(Error::new("one query of the catalog at a time")) };
        Ok(context.sql(&statement.to_string()).await?)
    }

    pub async fn describe(&self, sql: &str) -> Result<Description> {
        let frame = self.frame(sql).await?;
        let types = frame.logical_plan().get_parameter_types()?;
        let parameters = (1..=types.len()).map(|n| types.get(&format!("${n}")).cloned().flatten()).collect();
        Ok(Description { parameters, gives_rows: true, columns: Some(Arc::new(frame.schema().as_arrow().clone())) })
    }

    /// The rows of a query, with values for `$1`, `$2`, ...
    pub async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut frame = self.frame(sql).await?;
        if !values.is_empty() {
            frame = frame.with_param_values(values)?;
        }
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok((schema, frame.collect().await?))
    }
}
