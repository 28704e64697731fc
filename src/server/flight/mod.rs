//! Flight SQL: statements, prepared statements, transactions, ingestion and the catalog, as gRPC calls.
//! Source: Apache Arrow's `FlightSql.proto` and `Flight.proto`.

mod catalog;
mod encode;
mod info;
mod ingest;
mod wire;

use super::connection::{Connection, Peer, Prepared};
use super::metrics;
use super::statement::{Rows, Running};
use super::users::Users;
use crate::error::Error;
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::*;
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::{Stream, stream};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use tonic::metadata::MetadataValue;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Request, Response, Status, Streaming};
use wire::{Answered, Asked, Batches, Ticketed, answer, batches, changed, encoded, flight_info, id, one, parameters, refused, status};

/// The service, for all connections.
pub(super) struct Flight {
    users: Option<Arc<Users>>,
    running: Arc<Running>,
    info: info::Info,
}

impl Flight {
    pub fn new(users: Option<Arc<Users>>, running: Arc<Running>, read_only: bool) -> Result<Self, Error> {
        Ok(Self { users, running, info: info::Info::new(read_only)? })
    }
}

/// The action of Flight's own that cancels what a FlightInfo is of.
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

impl Flight {
    /// The connection of a request, if whoever sent it may come in.
    #[allow(clippy::result_large_err)]
    fn enter<T>(&self, request: &Request<T>) -> Result<Arc<Connection>, Status> {
        if let Some(users) = &self.users {
            let header = request.metadata().get("authorization").and_then(|h| h.to_str().ok());
            let unknown = || {
                metrics::refused_login();
                Status::unauthenticated("wrong name, password or token")
            };
            let header = header.ok_or_else(|| Status::unauthenticated("this server needs a name and a password, or a token"))?;
            users.of_header(header).ok_or_else(unknown)?;
        }
        let plain = request.extensions().get::<Peer>();
        let peer = plain.or_else(|| request.extensions().get::<TlsConnectInfo<Peer>>().map(TlsConnectInfo::get_ref));
        peer.map(|peer| peer.0.clone()).ok_or_else(|| Status::internal("the request came over no connection"))
    }

    /// What there is to get of a statement. One without rows runs now, once: a client that has no use for rows may never get them.
    async fn asked(
        &self,
        connection: &Connection,
        prepared: Prepared,
        rows: Ticketed,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let session = connection.session(prepared.transaction.as_deref()).map_err(refused)?;
        let description = session.describe(&prepared.sql).await.map_err(refused)?;
        let columns = description.columns.map_or_else(|| Arc::new(Schema::empty()), |columns| encode::plain_schema(&columns));
        if description.gives_rows {
            return match rows {
                Ticketed::Statement => {
                    let asked = Asked { id: id()?, sql: prepared.sql, transaction: prepared.transaction.unwrap_or_default() };
                    flight_info(&columns, TicketStatementQuery { statement_handle: asked.encode_to_vec().into() }, request.into_inner())
                }
                Ticketed::Prepared(query) => flight_info(&columns, query, request.into_inner()),
            };
        }
        changed(connection.run(id()?, prepared.sql, prepared.rows, prepared.transaction.as_deref()).await).await?;
        let nothing = Asked::default().encode_to_vec();
        flight_info(&columns, TicketStatementQuery { statement_handle: nothing.into() }, request.into_inner())
    }
}

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Flight;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answered<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>> {
        let header = request.metadata().get("authorization").and_then(|h| h.to_str().ok()).unwrap_or_default();
        let token = match &self.users {
            None => String::new(),
            Some(users) => {
                let name = users.of_header(header).ok_or_else(|| {
                    metrics::refused_login();
                    Status::unauthenticated("wrong name, password or token")
                })?;
                users.token(name).unwrap_or_default().to_string()
            }
        };
        let answer = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let mut response = Response::new(Box::pin(stream::iter([Ok(answer)])) as Pin<Box<dyn Stream<Item = _> + Send>>);
        if !token.is_empty() {
            let value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|e| Status::internal(e.to_string()))?;
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(&self, query: CommandStatementQuery, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        let connection = self.enter(&request)?;
        let transaction = query.transaction_id.map(|id| id.to_vec());
        let statement = Prepared { sql: query.query, transaction, rows: Rows::default() };
        self.asked(&connection, statement, Ticketed::Statement, request).await
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Answered<Batches> {
        let connection = self.enter(&request)?;
        let Asked { id, sql, transaction } =
            Asked::decode(&*ticket.statement_handle).map_err(|_| Status::invalid_argument("the ticket is none of this server"))?;
        if sql.is_empty() {
            return Ok(batches(Arc::new(Schema::empty()), stream::empty()));
        }
        connection.run(id, sql, Rows::default(), Some(&transaction)).await.map(answer).map_err(status)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let connection = self.enter(&request)?;
        let prepared = connection.prepared(&query.prepared_statement_handle).map_err(refused)?;
        self.asked(&connection, prepared, Ticketed::Prepared(query), request).await
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Answered<Batches> {
        let connection = self.enter(&request)?;
        let prepared = connection.prepared(&query.prepared_statement_handle).map_err(refused)?;
        // It is cancelled by its own handle.
        let id = query.prepared_statement_handle.to_vec();
        connection.run(id, prepared.sql, prepared.rows, prepared.transaction.as_deref()).await.map(answer).map_err(status)
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let connection = self.enter(&request)?;
        changed(connection.run(id()?, update.query, Rows::default(), update.transaction_id.as_deref()).await).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let connection = self.enter(&request)?;
        let rows = parameters(request.into_inner(), &connection).await?;
        connection.bind(&query.prepared_statement_handle, rows).map_err(refused)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        update: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let connection = self.enter(&request)?;
        let prepared = connection.prepared(&update.prepared_statement_handle).map_err(refused)?;
        let rows = parameters(request.into_inner(), &connection).await?;
        let rows = if rows.is_empty() { prepared.rows } else { rows };
        changed(connection.run(id()?, prepared.sql, rows, prepared.transaction.as_deref()).await).await
    }

    async fn do_put_statement_ingest(
        &self,
        ingest: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let connection = self.enter(&request)?;
        let done = ingest::ingest(&connection, ingest, request.into_inner());
        connection.shared.limits.in_time(done).await.unwrap_or_else(|failure| Err(status(failure)))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let connection = self.enter(&request)?;
        let transaction = query.transaction_id.map(|id| id.to_vec());
        let session = connection.session(transaction.as_deref()).map_err(refused)?;
        let description = session.describe(&query.query).await.map_err(refused)?;
        let handle = connection.prepare(query.query, transaction).map_err(refused)?;
        let numbered = |(n, t): (usize, &Option<DataType>)| Field::new(format!("${}", n + 1), t.clone().unwrap_or(DataType::Null), true);
        let parameters = Schema::new(description.parameters.iter().enumerate().map(numbered).collect::<Vec<_>>());
        let bytes = |schema: &Schema| {
            let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &Default::default()).try_into();
            message.map(|m| m.0).map_err(|e| Status::internal(e.to_string()))
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: description.columns.map(|c| bytes(&encode::plain_schema(&c))).transpose()?.unwrap_or_default(),
            parameter_schema: bytes(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        self.enter(&request)?.close(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        let id = self.enter(&request)?.begin().await.map_err(refused)?;
        Ok(ActionBeginTransactionResult { transaction_id: id.into() })
    }

    async fn do_action_end_transaction(&self, end: ActionEndTransactionRequest, request: Request<Action>) -> Result<(), Status> {
        let connection = self.enter(&request)?;
        let commit = match EndTransaction::try_from(end.action) {
            Ok(EndTransaction::Commit) => true,
            Ok(EndTransaction::Rollback) => false,
            _ => return Err(Status::invalid_argument("a transaction ends with COMMIT or ROLLBACK")),
        };
        connection.end(&end.transaction_id, commit).await.map_err(refused)
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        self.enter(&request)?;
        let info = FlightInfo::decode(&*query.info).map_err(|e| Status::invalid_argument(e.to_string()))?;
        // 1 is CANCELLED, 3 is NOT_CANCELLABLE.
        Ok(ActionCancelQueryResult { result: if self.cancel(&info) { 1 } else { 3 } })
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Answered<<Self as FlightService>::DoActionStream> {
        self.enter(&request)?;
        let action = request.into_inner();
        if action.r#type != CANCEL_FLIGHT_INFO {
            return Err(Status::unimplemented(format!("there is no action '{}'", action.r#type)));
        }
        let cancel = CancelFlightInfoRequest::decode(&*action.body).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let done = cancel.info.is_some_and(|info| self.cancel(&info));
        let result = CancelFlightInfoResult::new(if done { CancelStatus::Cancelled } else { CancelStatus::NotCancellable });
        Ok(Response::new(Box::pin(stream::iter([Ok(arrow_flight::Result::new(result.encode_to_vec()))]))))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let description =
            "Cancels what a FlightInfo is of.\nRequest Message: CancelFlightInfoRequest\nResponse Message: CancelFlightInfoResult";
        Some(vec![Ok(ActionType { r#type: CANCEL_FLIGHT_INFO.into(), description: description.into() })])
    }

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&query.into_builder().schema(), query, request.into_inner())
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Answered<Batches> {
        one(catalog::catalogs(&self.enter(&request)?.session, query))
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&query.clone().into_builder().schema(), query, request.into_inner())
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Answered<Batches> {
        one(catalog::schemas(&self.enter(&request)?.session, query))
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&query.clone().into_builder().schema(), query, request.into_inner())
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Answered<Batches> {
        one(catalog::tables(&self.enter(&request)?.session, query).await)
    }

    async fn get_flight_info_table_types(&self, query: CommandGetTableTypes, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&query.into_builder().schema(), query, request.into_inner())
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, request: Request<Ticket>) -> Answered<Batches> {
        self.enter(&request)?;
        one(catalog::table_types(query))
    }

    async fn get_flight_info_primary_keys(&self, query: CommandGetPrimaryKeys, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&catalog::keys_schema(), query, request.into_inner())
    }

    async fn do_get_primary_keys(&self, query: CommandGetPrimaryKeys, request: Request<Ticket>) -> Answered<Batches> {
        one(catalog::primary_keys(&self.enter(&request)?.session, query).await)
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&catalog::references_schema(), query, request.into_inner())
    }

    async fn do_get_imported_keys(&self, _: CommandGetImportedKeys, request: Request<Ticket>) -> Answered<Batches> {
        self.enter(&request)?;
        Ok(encoded(catalog::references_schema(), stream::empty()))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&catalog::references_schema(), query, request.into_inner())
    }

    async fn do_get_exported_keys(&self, _: CommandGetExportedKeys, request: Request<Ticket>) -> Answered<Batches> {
        self.enter(&request)?;
        Ok(encoded(catalog::references_schema(), stream::empty()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&catalog::references_schema(), query, request.into_inner())
    }

    async fn do_get_cross_reference(&self, _: CommandGetCrossReference, request: Request<Ticket>) -> Answered<Batches> {
        self.enter(&request)?;
        Ok(encoded(catalog::references_schema(), stream::empty()))
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&self.info.sql.schema(), query, request.into_inner())
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Answered<Batches> {
        self.enter(&request)?;
        one(self.info.sql.record_batch(query.info))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        self.enter(&request)?;
        flight_info(&self.info.types.schema(), query, request.into_inner())
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, request: Request<Ticket>) -> Answered<Batches> {
        self.enter(&request)?;
        one(self.info.types.record_batch(query.data_type))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

impl Flight {
    fn cancel(&self, info: &FlightInfo) -> bool {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let ids = tickets.filter_map(|ticket| match Command::try_from(Any::decode(&*ticket.ticket).ok()?).ok()? {
            Command::TicketStatementQuery(query) => Some(Asked::decode(&*query.statement_handle).ok()?.id),
            Command::CommandPreparedStatementQuery(query) => Some(query.prepared_statement_handle.to_vec()),
            _ => None,
        });
        let found: Vec<bool> = ids.map(|id| self.running.cancel(&id)).collect();
        found.contains(&true)
    }
}
