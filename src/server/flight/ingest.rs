//! Bulk ingestion: batches that a client puts become rows of a table, all or none.

use super::Connection;
use super::wire::{fits, refused};
use crate::server::metrics;
use crate::session::Session;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::TryStreamExt;
use std::sync::Arc;
use tonic::Status;

pub(super) async fn ingest(connection: &Connection, ingest: CommandStatementIngest, data: PeekableFlightDataStream) -> Result<i64, Status> {
    if ingest.temporary {
        return Err(Status::unimplemented("temporary tables are not supported"));
    }
    for (what, name, own) in [("catalog", &ingest.catalog, connection.session.catalog_name()), ("schema", &ingest.schema, "main")] {
        if name.as_deref().is_some_and(|name| !name.is_empty() && name != own) {
            return Err(Status::invalid_argument(format!("rows are put into the {what} '{own}' only")));
        }
    }
    let mut stream = FlightRecordBatchStream::new_from_flight_data(data.map_err(FlightError::from));
    let (mut batches, mut bytes) = (vec![], 0);
    while let Some(batch) = stream.try_next().await.map_err(|e| Status::invalid_argument(e.to_string()))? {
        bytes += batch.get_array_memory_size();
        fits(bytes, connection)?;
        batches.push(batch);
    }
    let Some(schema) = stream.schema().cloned() else { return Err(Status::invalid_argument("the rows to put have no schema")) };
    // ADBC's driver leaves its transaction out: rows join the one that the connection has open.
    let named = ingest.transaction_id.as_deref().filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
    let transaction = named.map_or_else(|| connection.only_transaction().map_err(refused), |id| Ok(Some(id)))?;
    let mut session = connection.session(transaction.as_deref()).map_err(refused)?;
    let own = !session.in_transaction();
    if own {
        session = Arc::new(session.apart().await.map_err(refused)?);
    }
    if let Some(or_replace) = makes(&session, &ingest).await? {
        session.create_table(&ingest.table, &schema, or_replace).await.map_err(refused)?;
    }
    let count = session.append(&ingest.table, batches).await.map_err(refused)?;
    if own {
        session.run("COMMIT").await.map_err(refused)?;
    }
    metrics::ingested(count);
    Ok(count as i64)
}

/// Whether the table is to be made first, and whether in place of one that there is.
async fn makes(session: &Session, ingest: &CommandStatementIngest) -> Result<Option<bool>, Status> {
    let exists = session.tables().await.map_err(refused)?.iter().any(|t| t.schema == "main" && t.name == ingest.table);
    let TableDefinitionOptions { if_not_exist, if_exists } = ingest.table_definition_options.unwrap_or_default();
    let name = &ingest.table;
    match (exists, TableNotExistOption::try_from(if_not_exist), TableExistsOption::try_from(if_exists)) {
        (true, _, Ok(TableExistsOption::Append)) => Ok(None),
        (true, _, Ok(TableExistsOption::Replace)) => Ok(Some(true)),
        (true, ..) => Err(Status::already_exists(format!("table '{name}' exists already"))),
        (false, Ok(TableNotExistOption::Create), _) => Ok(Some(false)),
        (false, ..) => Err(Status::not_found(format!("table '{name}' not found"))),
    }
}
