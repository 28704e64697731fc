//! The extended protocol: statements that are prepared, described, bound and executed.

use super::{Catalog, Door, catalog, check_format, id, refused, variables};
use crate::error::{Error, Result};
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
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::Execute;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The most rows that a client gets at once when it asks for so many.
const MOST_ROWS: i32 = 100_000;

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
    /// Whether the client has come in.
    pub entered: Arc<AtomicBool>,
}

impl Parser {
    /// After a login that failed the wire goes on to be read: nothing that comes over it counts.
    pub fn refuse_strangers(&self) -> PgWireResult<()> {
        if self.entered.load(SeqCst) {
            return Ok(());
        }
        let info = ErrorInfo::new("FATAL".into(), "28000".into(), "there was no login".into());
        Err(PgWireError::UserError(Box::new(info)))
    }

    async fn described(&self, sql: &str) -> Result<Description> {
        let nothing = |columns| Description { parameters: vec![], gives_rows: true, columns };
        let description = match variables::answer(sql)? {
            Some(variables::Answer::Set) => Description { gives_rows: false, ..nothing(None) },
            Some(variables::Answer::Shown(batch)) => nothing(Some(batch.schema())),
            None if catalog::concerns(sql) => self.catalog.describe(sql).await?,
            None => self.session.describe(sql).await?,
        };
        if description.gives_rows && description.columns.is_none() {
            let what = "the columns of this statement are only known when it runs, and the client asks for them before";
            return Err(Error::new(what).hint("send it without preparing it, as psql does"));
        }
        Ok(description)
    }
}

#[async_trait::async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.refuse_strangers()?;
        let is_of_catalog = catalog::concerns(sql);
        let description = self.described(sql).await.map_err(|error| {
            self.session.fail();
            refused(&Failure::Statement(error), sql)
        })?;
        Ok(Some(Prepared { sql: sql.into(), description: Arc::new(description), is_of_catalog }))
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        let pg_type = |known: &Option<DataType>| known.as_ref().map_or(Ok(Type::TEXT), into_pg_type);
        statement.description.parameters.iter().map(pg_type).collect()
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let Some(columns) = &statement.description.columns else { return Ok(vec![]) };
        check_format(format.unwrap_or(&Format::UnifiedText), columns.fields().len())?;
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

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // The rows of one answer are reserved room for before there are any.
        let max_rows = message.max_rows.clamp(0, MOST_ROWS);
        self._on_execute(client, Execute::new(message.name, max_rows)).await
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.parser.refuse_strangers()?;
        let (pid, key) = client.pid_and_secret_key();
        let statement = &portal.statement.statement;
        let answered = match self.forgotten(client, &statement.sql) {
            Some(response) => Ok(response),
            None => self.executed(id(pid, &key), statement, portal).await,
        };
        if answered.is_err() {
            self.session().fail();
            self.tell(client);
        }
        answered
    }
}

impl Door {
    async fn executed(&self, id: Vec<u8>, statement: &Prepared, portal: &Portal<Prepared>) -> PgWireResult<Response> {
        let types: Vec<Option<&DataType>> = statement.description.parameters.iter().map(Option::as_ref).collect();
        check_format(&portal.parameter_format, portal.parameters.len())?;
        let values: Vec<Value> = match deserialize_parameters(portal, &types)? {
            ParamValues::List(values) => values.into_iter().map(|v| v.value).collect(),
            ParamValues::Map(_) => vec![],
        };
        if statement.is_of_catalog {
            return self.of_catalog(&statement.sql, values, &portal.result_column_format).await;
        }
        self.answer(id, &statement.sql, values, &portal.result_column_format).await
    }
}
