//! The extended protocol: statements that are prepared, described, bound and executed.

use super::{Catalog, Door, catalog, id, refused, variables};
use crate::error::Error;
use crate::server::statement::Failure;
use crate::session::{Description, Session, Value};
use arrow::datatypes::DataType;
use arrow_pg::datatypes::df::deserialize_parameters;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, into_pg_type};
use datafusion::common::ParamValues;
use futures::Sink;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{FieldInfo, Response};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use std::fmt::Debug;
use std::sync::Arc;

/// A statement with what it asks for and gives.
#[derive(Clone)]
pub(super) struct Prepared {
    sql: String,
    description: Arc<Description>,
    is_of_catalog: bool,
}

pub(super) struct Parser {
    pub session: Arc<Session>,
    pub catalog: Arc<Catalog>,
}

#[async_trait::async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let failed = |error: Error| refused(&Failure::Statement(error), sql);
        let is_of_catalog = catalog::concerns(sql);
        let nothing = |columns| Description { parameters: vec![], gives_rows: true, columns };
        let description = if let Some(answer) = variables::answer(sql) {
            match answer {
                variables::Answer::Set => Description { gives_rows: false, ..nothing(None) },
                variables::Answer::Shown(batch) => nothing(Some(batch.schema())),
            }
        } else if is_of_catalog {
            self.catalog.describe(sql).await.map_err(failed)?
        } else {
            self.session.describe(sql).await.map_err(failed)?
        };
        Ok(Some(Prepared { sql: sql.into(), description: Arc::new(description), is_of_catalog }))
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        let pg_type = |known: &Option<DataType>| known.as_ref().map_or(Ok(Type::TEXT), into_pg_type);
        statement.description.parameters.iter().map(pg_type).collect()
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let Some(columns) = &statement.description.columns else { return Ok(vec![]) };
        arrow_schema_to_pg_fields(columns, format.unwrap_or(&Format::UnifiedText), None)
    }
}

#[async_trait::async_trait]
impl ExtendedQueryHandler for Door {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        self.parser.clone()
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &portal.statement.statement;
        let types: Vec<Option<&DataType>> = statement.description.parameters.iter().map(Option::as_ref).collect();
        let values: Vec<Value> = match deserialize_parameters(portal, &types)? {
            ParamValues::List(values) => values.into_iter().map(|v| v.value).collect(),
            ParamValues::Map(_) => vec![],
        };
        if statement.is_of_catalog {
            let failed = |error| refused(&Failure::Statement(error), &statement.sql);
            let (schema, rows) = self.parser.catalog.rows(&statement.sql, values).await.map_err(failed)?;
            return super::batches(schema, rows, &portal.result_column_format);
        }
        if let Some(response) = self.forgotten(client, &statement.sql) {
            return Ok(response);
        }
        let (pid, key) = client.pid_and_secret_key();
        self.answer(id(pid, &key), &statement.sql, values, &portal.result_column_format).await
    }
}
