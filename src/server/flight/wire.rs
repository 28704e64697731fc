//! What calls of Flight take and give: tickets, streams of batches, rows of parameters, errors as statuses.

use super::encode;
use crate::error::Error;
use crate::server::connection::Connection;
use crate::server::statement::{Answer, Failure, Rows};
use crate::server::users::random;
use crate::session::Value;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{CommandPreparedStatementQuery, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use futures::{Stream, TryStreamExt, stream};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use tonic::{Response, Status};

pub(super) type Answered<T> = Result<Response<T>, Status>;
pub(super) type Batches = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// What a ticket asks for: a statement that runs when it is redeemed, and what it is cancelled by; without a statement, nothing.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Asked {
    #[prost(bytes, tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub sql: String,
    #[prost(bytes, tag = "3")]
    pub transaction: Vec<u8>,
}

/// What the ticket of a statement with rows is.
pub(super) enum Ticketed {
    Statement,
    Prepared(CommandPreparedStatementQuery),
}

pub(super) fn status(failure: Failure) -> Status {
    let text = failure.error().to_string();
    match failure {
        Failure::Statement(_) => Status::invalid_argument(text),
        Failure::Cancelled | Failure::GivenUp => Status::cancelled(text),
        Failure::TimedOut => Status::deadline_exceeded(text),
        Failure::TooMany => Status::resource_exhausted(text),
        Failure::Stopping => Status::unavailable(text),
    }
}

pub(super) fn refused(error: impl Into<Error>) -> Status {
    Status::invalid_argument(error.into().to_string())
}

/// One endpoint, here, whose ticket is a command.
#[allow(clippy::result_large_err)]
pub(super) fn flight_info(schema: &Schema, ticket: impl ProstMessageExt, descriptor: FlightDescriptor) -> Answered<FlightInfo> {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new().try_with_schema(schema).map_err(|e| Status::internal(e.to_string()))?;
    Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_descriptor(descriptor)))
}

pub(super) fn answer(answer: Answer) -> Response<Batches> {
    match answer {
        Answer::Rows(schema, rows) => batches(schema, rows.stream().map_err(status)),
        // A statement without rows was asked for its rows, as clients do that know one call only.
        Answer::Done(_) => batches(Arc::new(Schema::empty()), stream::empty()),
    }
}

pub(super) fn batches(schema: SchemaRef, rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> Response<Batches> {
    let plain = encode::plain_schema(&schema);
    let to = plain.clone();
    encoded(plain, rows.and_then(move |batch| std::future::ready(encode::plain(batch, &to))))
}

pub(super) fn encoded(schema: SchemaRef, rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> Response<Batches> {
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(rows.map_err(FlightError::from));
    Response::new(Box::pin(encoded.map_err(|e| match e {
        FlightError::Tonic(status) => *status,
        other => Status::internal(other.to_string()),
    })))
}

/// A batch whose columns a specification gives.
pub(super) fn one(batch: Result<RecordBatch, impl std::fmt::Display>) -> Answered<Batches> {
    let batch = batch.map_err(|e| Status::internal(e.to_string()))?;
    Ok(encoded(batch.schema(), stream::iter([Ok(batch)])))
}

/// How many rows a statement changed, by its tags; -1 where they do not say.
pub(super) fn count(tags: &[String]) -> i64 {
    let counts = tags.iter().map(|tag| tag.rsplit(' ').next().and_then(|n| n.parse::<i64>().ok()));
    counts.sum::<Option<i64>>().unwrap_or(-1)
}

pub(super) async fn changed(answer: Result<Answer, Failure>) -> Result<i64, Status> {
    match answer.map_err(status)? {
        Answer::Done(tags) => Ok(count(&tags)),
        Answer::Rows(_, rows) => rows.finish().await.map(|_| -1).map_err(status),
    }
}

/// What a client puts is no more than the memory that it may take.
#[allow(clippy::result_large_err)]
pub(super) fn fits(bytes: usize, connection: &Connection) -> Result<(), Status> {
    match connection.shared.memory_limit {
        Some(limit) if bytes > limit => {
            Err(Status::resource_exhausted("the rows are more than the server's --memory-limit: put them in parts"))
        }
        _ => Ok(()),
    }
}

/// The rows of parameters that a client puts.
pub(super) async fn parameters(data: PeekableFlightDataStream, connection: &Connection) -> Result<Rows, Status> {
    let (mut rows, mut bytes) = (vec![], 0);
    // A client without parameters sends a message that has only the command.
    let data = data.try_filter(|data| std::future::ready(!data.data_header.is_empty())).map_err(FlightError::from);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
    while let Some(batch) = batches.try_next().await.map_err(|e| Status::invalid_argument(e.to_string()))? {
        bytes += batch.get_array_memory_size();
        fits(bytes, connection)?;
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|c| Value::try_from_array(c, row));
            rows.push(values.collect::<Result<_, _>>().map_err(refused)?);
        }
    }
    Ok(rows.into())
}

pub(super) fn id() -> Result<Vec<u8>, Status> {
    random().map(String::into_bytes).map_err(|e| Status::internal(e.to_string()))
}
