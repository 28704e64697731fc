//! What a sentence asks for and gives, before it runs; and the tables that there are.

use super::catalog::{self, CATALOG, MAIN, NABLA};
use super::{Session, Value, bound, explain, log, query};
use crate::error::Result;
use crate::grammar::{self, Kind, Statement};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;

/// What a sentence asks for, and what it will give.
#[derive(Debug, Clone)]
pub struct Description {
    /// The type of each parameter that the sentence has, in order; `None` where the sentence does not tell.
    pub parameters: Vec<Option<DataType>>,
    /// Whether it gives rows.
    pub gives_rows: bool,
    /// The columns of its rows, as far as they are known before it runs with its parameters.
    pub columns: Option<SchemaRef>,
}

/// A table or view, as the catalog has it.
#[derive(Debug, Clone)]
pub struct Table {
    /// `main`, or `nabla` for the engine's own tables.
    pub schema: String,
    /// As it is quoted.
    pub name: String,
    /// Whether it is a view or another table that cannot be changed.
    pub is_view: bool,
    /// Names and types.
    pub columns: SchemaRef,
    /// The columns of its PRIMARY KEY.
    pub primary_key: Vec<String>,
}

impl Session {
    /// What a sentence asks for and gives, without running it.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = nabladb::Database::in_memory().await?.session()?;
    /// let description = session.describe("SELECT 1 + 1 AS two, CAST(? AS BIGINT) AS given").await?;
    /// assert_eq!(description.parameters.len(), 1);
    /// assert_eq!(description.columns.expect("they are known").field(0).name(), "two");
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// It cannot be read, or, without parameters, not be planned.
    pub fn describe<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Description>> {
        self.described(sql).boxed()
    }

    async fn described(&self, sql: &str) -> Result<Description> {
        let parameters = grammar::parameters(sql)?;
        let (statement, _) = bound(sql, &vec![Value::Null; parameters])?;
        let types = self.parameter_types(sql, parameters).await;
        let gives_rows = gives_rows(&statement);
        if !gives_rows {
            return Ok(Description { parameters: types, gives_rows, columns: None });
        }
        // With values of types that the sentence tells, such as LIMIT's.
        let samples = types.iter().map(|t| t.as_ref().and_then(|t| Value::new_zero(t).ok()).unwrap_or(Value::Null)).collect::<Vec<_>>();
        let (statement, _) = bound(sql, &samples)?;
        let columns = match self.columns(&statement).await {
            Err(error) if parameters == 0 => return Err(error),
            columns => columns.ok().flatten(),
        };
        Ok(Description { parameters: types, gives_rows, columns })
    }

    async fn columns(&self, statement: &Statement) -> Result<Option<SchemaRef>> {
        match &statement.kind {
            Kind::Train(_) => Ok(Some(log::schema())),
            Kind::Explain(_) => Ok(Some(explain::columns())),
            Kind::Plain(plain) => {
                let (context, _) = self.context().await?;
                if let PlainStatement::Statement(sql) = plain.as_ref()
                    && matches!(sql.as_ref(), SqlStatement::Execute { .. })
                {
                    return Ok(None);
                }
                let plan = query::plan(&context, plain).await?;
                Ok(Some(Arc::new(plan.schema().as_arrow().clone())))
            }
            _ => Ok(None),
        }
    }

    /// What DataFusion's planner finds out about parameters; our own statements have none that it could plan.
    async fn parameter_types(&self, sql: &str, parameters: usize) -> Vec<Option<DataType>> {
        let unknown = vec![None; parameters];
        let Some(Ok(Statement { kind: Kind::Plain(plain), .. })) = grammar::statements(sql).next() else { return unknown };
        let Ok((context, _)) = self.context().await else { return unknown };
        if parameters == 0 {
            return unknown;
        }
        let plan = context.state().statement_to_plan(*plain).await;
        let found: HashMap<String, Option<DataType>> = plan.and_then(|p: LogicalPlan| p.get_parameter_types()).unwrap_or_default();
        (1..=parameters).map(|n| found.get(&format!("${n}")).cloned().flatten()).collect()
    }

    /// All tables and views, those of the engine too.
    pub fn tables(&self) -> BoxFuture<'_, Result<Vec<Table>>> {
        self.listed().boxed()
    }

    async fn listed(&self) -> Result<Vec<Table>> {
        let (context, snapshot) = self.context().await?;
        let mut tables = vec![];
        for schema_name in [MAIN, NABLA] {
            let Some(schema) = context.catalog(CATALOG).and_then(|c| c.schema(schema_name)) else { continue };
            for name in schema.table_names() {
                let definition = snapshot.table(schema_name, &name);
                let is_view = definition.is_none();
                // A view that no longer works is listed, without columns.
                let provider = schema.table(&name).await.ok().flatten();
                let columns = provider.map_or_else(|| Arc::new(Schema::empty()), |p| p.schema());
                let primary_key = definition.map(|d| d.primary_key.clone()).unwrap_or_default();
                tables.push(Table { schema: schema_name.into(), name, is_view, columns, primary_key });
            }
        }
        Ok(tables)
    }

    /// The name of the one catalog, which tables may be called by: `database.main.t`.
    pub fn catalog_name(&self) -> &'static str {
        catalog::CATALOG
    }
}

fn gives_rows(statement: &Statement) -> bool {
    let Kind::Plain(plain) = &statement.kind else {
        return !matches!(statement.kind, Kind::CreateTable(_) | Kind::AlterTable(_));
    };
    match plain.as_ref() {
        PlainStatement::Explain(_) => true,
        PlainStatement::Statement(sql) => matches!(
            sql.as_ref(),
            SqlStatement::Query(_)
                | SqlStatement::Explain { .. }
                | SqlStatement::ExplainTable { .. }
                | SqlStatement::Execute { .. }
                | SqlStatement::ShowTables { .. }
                | SqlStatement::ShowColumns { .. }
                | SqlStatement::ShowVariable { .. }
                | SqlStatement::ShowFunctions { .. }
                | SqlStatement::ShowDatabases { .. }
                | SqlStatement::ShowSchemas { .. }
                | SqlStatement::ShowCreate { .. }
        ),
        _ => false,
    }
}
