//! PostgreSQL's wire, version 3: its tools and drivers find tables, queries, transactions and TRAIN.
//! Source: PostgreSQL's documentation, "Frontend/Backend Protocol".

mod catalog;
mod error;
mod login;
mod prepared;
mod variables;

use super::connection::{Connection, Shared};
use super::statement::{Answer, Failure, Running};
use super::users::Users;
use crate::error::Error;
use crate::session::{Piece, Session, Value, pieces};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use catalog::Catalog;
use error::refused;
use futures::{Sink, Stream, TryStreamExt, stream};
use login::Login;
use pgwire::api::auth::StartupHandler;
use pgwire::api::cancel::CancelHandler;
use pgwire::api::portal::Format;
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireServerHandlers};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::SecretKey;
use pgwire::tokio::{TlsAcceptor, process_socket};
use prepared::Parser;
use socket2::{SockRef, TcpKeepalive};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Accepts connections until the server stops, and gives those that there are: they end when they are dropped.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Shared,
    users: Option<Arc<Users>>,
    tls: Option<TlsAcceptor>,
    mut stopping: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.map_err(|e| Error::new(e.to_string())),
            _ = stopping.wait_for(|stop| *stop) => return connections,
            Some(_) = connections.join_next() => continue,
        };
        let opened = accepted.and_then(|(stream, peer)| {
            keep_asking(&stream).map_err(|e| Error::new(e.to_string()))?;
            Ok((stream, Connection::open(&shared, peer, "postgres")?))
        });
        let (stream, connection) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let entered = Arc::<AtomicBool>::default();
        let login = Login::new(users.clone(), tls.is_some(), entered.clone());
        let handlers = Handlers { door: Arc::new(Door::new(connection, entered)), login: Arc::new(login) };
        let tls = tls.clone();
        connections.spawn(async move {
            if let Err(error) = process_socket(stream, tls, handlers).await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
}

/// Asks a silent client whether it is there, so that one that has vanished frees what it held.
fn keep_asking(stream: &TcpStream) -> std::io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5)).with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

struct Handlers {
    door: Arc<Door>,
    login: Arc<Login>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.door.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.door.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.login.clone()
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(Cancels(self.door.connection.shared.running.clone()))
    }
}

/// Cancels what a connection runs, asked over another one.
struct Cancels(Arc<Running>);

/// What the statements of a client are cancelled by: at any time it runs one.
fn id(pid: i32, key: &SecretKey) -> Vec<u8> {
    let key = match key {
        SecretKey::I32(key) => key.to_be_bytes().to_vec(),
        SecretKey::Bytes(key) => key.to_vec(),
    };
    [b"postgres".as_slice(), &pid.to_be_bytes(), &key].concat()
}

#[async_trait::async_trait]
impl CancelHandler for Cancels {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.0.cancel(&id(request.pid, &request.secret_key));
    }
}

/// One client's connection.
struct Door {
    connection: Connection,
    parser: Arc<Parser>,
}

impl Door {
    fn new(connection: Connection, entered: Arc<AtomicBool>) -> Self {
        let catalog = Arc::new(Catalog::new(connection.session.clone()));
        Self { parser: Arc::new(Parser { session: connection.session.clone(), catalog, entered }), connection }
    }

    /// What the client is told of the transaction is what the session knows: an error would tell it of one that has ended.
    fn tell<C: ClientInfo>(&self, client: &mut C) {
        let open = self.session().in_transaction();
        client.set_transaction_status(if open { TransactionStatus::Transaction } else { TransactionStatus::Idle });
    }

    fn session(&self) -> &Session {
        &self.connection.session
    }

    /// One sentence.
    async fn answer(&self, id: Vec<u8>, sql: &str, values: Vec<Value>, format: &Format) -> PgWireResult<Response> {
        if let Some(response) = self.special(sql, format).await? {
            return Ok(response);
        }
        let (words, open) = (words(sql), self.session().in_transaction());
        let ends = words.first().is_some_and(|first| ["commit", "end", "rollback", "abort"].contains(&first.as_str()))
            && words[1..].iter().all(|word| ["work", "transaction"].contains(&word.as_str()));
        if ends && !open {
            // PostgreSQL warns, and goes on.
            return Ok(Response::TransactionEnd(Tag::new("ROLLBACK")));
        }
        // A failed transaction is only rolled back, whatever it is ended by.
        let sql = if ends && (self.session().has_failed() || words[0] == "abort") { "ROLLBACK" } else { sql };
        let answer = self.connection.run(id, sql.to_string(), [values].into(), None).await;
        match answer.map_err(|failure| refused(&failure, sql))? {
            Answer::Done(tags) => Ok(done(&tags.concat())),
            Answer::Rows(schema, rows) => {
                let text = sql.to_string();
                let rows = rows.stream().map_err(move |failure| refused(&failure, &text));
                let mut response = query(&schema, rows, format)?;
                if first_word(sql) == "train" {
                    response.set_command_tag("TRAIN");
                }
                Ok(Response::Query(response))
            }
        }
    }

    /// What PostgreSQL's clients ask of a server beside SQL of their user's: its variables and its catalog.
    async fn special(&self, sql: &str, format: &Format) -> PgWireResult<Option<Response>> {
        let failed = |error| refused(&Failure::Statement(error), sql);
        if let Some(answer) = variables::answer(sql).map_err(failed)? {
            return Ok(Some(match answer {
                variables::Answer::Set => Response::Execution(Tag::new("SET")),
                variables::Answer::Shown(batch) => batches(batch.schema(), vec![batch], format)?,
            }));
        }
        // In a transaction that has failed nothing runs, and the session says so.
        if !catalog::concerns(sql) || self.session().has_failed() {
            return Ok(None);
        }
        self.of_catalog(sql, vec![], format).await.map(Some)
    }

    /// A query of PostgreSQL's catalog, within the time of a statement.
    async fn of_catalog(&self, sql: &str, values: Vec<Value>, format: &Format) -> PgWireResult<Response> {
        let failed = |failure| refused(&failure, sql);
        let found = self.connection.shared.limits.in_time(self.parser.catalog.rows(sql, values)).await.map_err(failed)?;
        let (schema, rows) = found.map_err(Failure::Statement).map_err(failed)?;
        batches(schema, rows, format)
    }

    /// DEALLOCATE of what was prepared by the protocol and not by PREPARE, which share their names.
    fn forgotten<C: ClientPortalStore>(&self, client: &C, sql: &str) -> Option<Response>
    where
        C::PortalStore: PortalStore,
    {
        if first_word(sql) != "deallocate" {
            return None;
        }
        let name = sql.trim().trim_end_matches(';').split_whitespace().last()?.trim_matches('"');
        client.portal_store().get_statement(name)?;
        client.portal_store().rm_statement(name);
        Some(Response::Execution(Tag::new("DEALLOCATE")))
    }

    /// Several sentences in one message are one transaction, unless they say otherwise.
    async fn together(&self, id: &[u8], sentences: &[&str]) -> PgWireResult<Vec<Response>> {
        let failed = |error| refused(&Failure::Statement(error), "");
        let controls = ["begin", "start", "commit", "end", "rollback"];
        let own = self.session().in_transaction() || sentences.iter().any(|s| controls.contains(&first_word(s).as_str()));
        let transaction = if own { None } else { Some(self.session().begin().await.map_err(failed)?) };
        let mut responses = vec![];
        for sql in sentences {
            responses.push(match self.answer(id.to_vec(), sql, vec![], &Format::UnifiedText).await? {
                Response::Query(response) => Response::Query(read(response).await?),
                other => other,
            });
        }
        if let Some(transaction) = transaction {
            transaction.commit().await.map_err(failed)?;
        }
        Ok(responses)
    }
}

/// The same, with all rows read.
async fn read(mut response: QueryResponse) -> PgWireResult<QueryResponse> {
    let rows: Vec<_> = response.data_rows().try_collect().await?;
    let mut read = QueryResponse::new(response.row_schema(), stream::iter(rows.into_iter().map(Ok)));
    read.set_command_tag(response.command_tag());
    Ok(read)
}

/// The words and names of a sentence, in lower case.
fn words(sql: &str) -> Vec<String> {
    let words = pieces(sql).into_iter().filter(|(_, piece)| matches!(piece, Piece::Word | Piece::Name));
    words.map(|(bytes, _)| sql[bytes].to_lowercase()).collect()
}

fn first_word(sql: &str) -> String {
    words(sql).into_iter().next().unwrap_or_default()
}

/// The sentences of a text, apart by semicolons that are in no string and no comment; PostgreSQL's own may have words that are none of ours.
fn sentences(sql: &str) -> Vec<&str> {
    let mut start = 0;
    let mut found = vec![];
    for (bytes, _) in pieces(sql).into_iter().filter(|(bytes, piece)| *piece == Piece::Other && &sql[bytes.clone()] == ";") {
        found.push(&sql[start..bytes.start]);
        start = bytes.end;
    }
    found.push(&sql[start..]);
    let is_blank =
        |text: &&str| pieces(text).iter().all(|(bytes, piece)| *piece == Piece::Comment || text[bytes.clone()].trim().is_empty());
    found.into_iter().filter(|text| !is_blank(text)).collect()
}

/// Whether a client that gives a format for each column gives one for every column.
fn check_format(format: &Format, columns: usize) -> PgWireResult<()> {
    match format {
        Format::Individual(codes) if codes.len() != columns => {
            let what = format!("{} formats for {columns} columns", codes.len());
            Err(PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), "08P01".into(), what))))
        }
        _ => Ok(()),
    }
}

fn query(
    schema: &SchemaRef,
    rows: impl Stream<Item = PgWireResult<RecordBatch>> + Send + 'static,
    format: &Format,
) -> PgWireResult<QueryResponse> {
    check_format(format, schema.fields().len())?;
    let fields = Arc::new(arrow_schema_to_pg_fields(schema, format, None)?);
    let of_rows = fields.clone();
    let rows = rows.map_ok(move |batch| stream::iter(encode_recordbatch(of_rows.clone(), batch))).try_flatten();
    Ok(QueryResponse::new(fields, rows))
}

fn batches(schema: SchemaRef, batches: Vec<RecordBatch>, format: &Format) -> PgWireResult<Response> {
    query(&schema, stream::iter(batches.into_iter().map(Ok)), format).map(Response::Query)
}

/// A command tag, as the session gives it.
fn done(tag: &str) -> Response {
    match tag {
        "BEGIN" | "START TRANSACTION" => Response::TransactionStart(Tag::new(tag)),
        "COMMIT" | "ROLLBACK" => Response::TransactionEnd(Tag::new(tag)),
        _ => Response::Execution(match tag.rsplit_once(' ').and_then(|(what, n)| Some((what, n.parse().ok()?))) {
            Some(("INSERT 0", rows)) => Tag::new("INSERT").with_oid(0).with_rows(rows),
            Some((what, rows)) => Tag::new(what).with_rows(rows),
            None => Tag::new(tag),
        }),
    }
}

#[async_trait::async_trait]
impl SimpleQueryHandler for Door {
    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.parser.refuse_strangers()?;
        let (pid, key) = client.pid_and_secret_key();
        let id = id(pid, &key);
        let answered = match sentences(sql).as_slice() {
            [] => Ok(vec![Response::EmptyQuery]),
            // The text as it was sent, so that places in it are those of the client.
            [one] => match self.forgotten(client, one) {
                Some(response) => Ok(vec![response]),
                None => self.answer(id, sql, vec![], &Format::UnifiedText).await.map(|response| vec![response]),
            },
            several => self.together(&id, several).await,
        };
        if answered.is_err() {
            self.session().fail();
            self.tell(client);
        }
        answered
    }
}
