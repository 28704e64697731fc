//! PostgreSQL's own tables, `pg_catalog`, which its tools read to find ours: the crate datafusion-pg-catalog makes them of the session's.

use super::variables::SERVER_VERSION;
use crate::error::{Error, Result};
use crate::session::{Description, Piece, Session, Snapshot, Value, pieces};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use std::sync::{Arc, Mutex, PoisonError};

/// Names that only PostgreSQL's catalog has, beside those that begin with `pg_`.
const NAMES: [&str; 14] = [
    "current_schema",
    "current_schemas",
    "current_database",
    "current_catalog",
    "current_user",
    "session_user",
    "version",
    "regclass",
    "regtype",
    "regproc",
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
];

/// Whether a statement is a query of a tool, for the catalog.
pub(super) fn concerns(sql: &str) -> bool {
    let mut names = pieces(sql).into_iter().filter(|(_, piece)| matches!(piece, Piece::Name | Piece::Word)).map(|(bytes, _)| {
        let name = sql[bytes.clone()].to_lowercase();
        // A column may be called `version`: the function is followed by its arguments.
        let is_function = name != "version" || sql[bytes.end..].trim_start().starts_with('(');
        (name, is_function)
    });
    let begins = names.next().is_some_and(|(first, _)| ["select", "with", "show"].contains(&first.as_str()));
    begins && names.any(|(name, is_function)| name.starts_with("pg_") || (is_function && NAMES.contains(&name.as_str())))
}

/// A function without arguments that gives always the same.
fn constant(name: &str, text: String) -> ScalarUDF {
    let value = ColumnarValue::Scalar(Value::Utf8(Some(text)));
    create_udf(name, vec![], DataType::Utf8, Volatility::Stable, Arc::new(move |_| Ok(value.clone())))
}

pub(super) struct Catalog {
    session: Arc<Session>,
    parser: PostgresCompatibilityParser,
    latest: Mutex<Option<(Snapshot, SessionContext)>>,
}

impl Catalog {
    pub fn new(session: Arc<Session>) -> Self {
        Self { session, parser: PostgresCompatibilityParser::new(), latest: Mutex::default() }
    }

    async fn frame(&self, sql: &str) -> Result<DataFrame> {
        let context = self.context().await?;
        let statements = self.parser.parse(sql).map_err(|e| Error::new(e.to_string()))?;
        let [statement] = statements.as_slice() else { return Err(Error::new("one query of the catalog at a time")) };
        let queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        Ok(context.sql_with_options(&statement.to_string(), queries).await?)
    }

    /// A context of its own, until the database changes: the session's has no tables of PostgreSQL.
    async fn context(&self) -> Result<SessionContext> {
        let (_, snapshot) = self.session.context().await?;
        let latest = || self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let known = latest().as_ref().filter(|(of, _)| of.is(&snapshot)).map(|(_, context)| context.clone());
        if let Some(context) = known {
            return Ok(context);
        }
        let context = self.session.context_of(&snapshot)?;
        setup_pg_catalog(&context, self.session.catalog_name(), EmptyContextProvider).map_err(|e| Error::from(*e))?;
        // Drivers take the version apart, and look for tables in the schema that they are told.
        let version = format!("PostgreSQL {SERVER_VERSION} (NablaDB {})", env!("CARGO_PKG_VERSION"));
        context.register_udf(constant("version", version));
        context.register_udf(constant("current_schema", "main".into()));
        *latest() = Some((snapshot, context.clone()));
        Ok(context)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_catalog_concern_it() {
        for sql in [
            "SELECT * FROM pg_catalog.pg_class",
            "select version()",
            "SELECT current_schema(), 1",
            "SELECT 'points'::regclass",
            "WITH a AS (SELECT 1) SELECT * FROM a, PG_TYPE",
        ] {
            assert!(concerns(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM notes WHERE text LIKE '%pg_class%'",
            "SELECT version FROM nabla.runs -- pg_type",
            "INSERT INTO pg_notes VALUES (1)",
            "TRAIN MINIMIZE (SELECT a FROM pg_weights)",
            "",
        ] {
            assert!(!concerns(sql), "{sql}");
        }
    }
}
