//! One client's connection: its session, its transactions and prepared statements, which end with it.

use super::metrics;
use super::statement::{Answer, Failure, Limits, Request, Rows, Running, begin};
use super::users::random;
use crate::error::{Error, Result};
use crate::session::{Database, Session};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::transport::server::Connected;

/// What all connections of a server share.
#[derive(Clone)]
pub(super) struct Shared {
    pub database: Database,
    pub running: Arc<Running>,
    pub limits: Limits,
    /// Bytes that a client may put at once.
    pub memory_limit: Option<usize>,
}

/// A client's connection.
pub(super) struct Connection {
    pub shared: Shared,
    pub session: Arc<Session>,
    /// Sessions with an open transaction each, by the handle that the client has of it.
    transactions: Mutex<HashMap<Vec<u8>, Arc<Session>>>,
    prepared: Mutex<HashMap<Vec<u8>, Prepared>>,
    permits: Arc<Semaphore>,
    door: &'static str,
    number: u64,
}

/// A prepared statement, with the rows of parameters that were bound to it last.
#[derive(Clone)]
pub(super) struct Prepared {
    pub sql: String,
    pub transaction: Option<Vec<u8>>,
    pub rows: Rows,
}

impl Connection {
    pub fn open(shared: &Shared, peer: SocketAddr, door: &'static str) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let session = Arc::new(shared.database.session()?);
        let (permits, number) =
            (Arc::new(Semaphore::new(shared.limits.statements.min(Semaphore::MAX_PERMITS))), NUMBER.fetch_add(1, Relaxed));
        metrics::connected(door);
        tracing::info!(door, connection = number, %peer, "connected");
        let (transactions, prepared) = (Mutex::default(), Mutex::default());
        Ok(Self { shared: shared.clone(), session, transactions, prepared, permits, door, number })
    }

    /// Begins a statement in a transaction, or in none.
    pub async fn run(&self, id: Vec<u8>, sql: String, rows: Rows, transaction: Option<&[u8]>) -> Result<Answer, Failure> {
        let session = self.session(transaction).map_err(Failure::Statement)?;
        let rows = if rows.is_empty() { [vec![]].into() } else { rows };
        begin(Request { session, sql, rows, id, door: self.door }, &self.shared.running, &self.permits, self.shared.limits).await
    }

    /// The session of a transaction; without one, the connection's own.
    pub fn session(&self, transaction: Option<&[u8]>) -> Result<Arc<Session>> {
        match transaction.filter(|id| !id.is_empty()) {
            None => Ok(self.session.clone()),
            Some(id) => lock(&self.transactions).get(id).cloned().ok_or_else(|| Error::new("there is no such transaction: it has ended")),
        }
    }

    /// The one transaction that the client has begun and not ended, if there is one.
    ///
    /// # Errors
    /// There are several.
    pub fn only_transaction(&self) -> Result<Option<Vec<u8>>> {
        let transactions = lock(&self.transactions);
        match transactions.len() {
            0 | 1 => Ok(transactions.keys().next().cloned()),
            _ => Err(Error::new("the connection has several transactions open").hint("name the one that the rows are for")),
        }
    }

    pub async fn begin(&self) -> Result<Vec<u8>> {
        let session = self.shared.database.session()?;
        session.run("BEGIN").await?;
        let id = random()?.into_bytes();
        lock(&self.transactions).insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    pub async fn end(&self, id: &[u8], commit: bool) -> Result<()> {
        let session = lock(&self.transactions).remove(id).ok_or_else(|| Error::new("there is no such transaction: it has ended"))?;
        session.run(if commit { "COMMIT" } else { "ROLLBACK" }).await.map(drop)
    }

    pub fn prepare(&self, sql: String, transaction: Option<Vec<u8>>) -> Result<Vec<u8>> {
        let id = random()?.into_bytes();
        lock(&self.prepared).insert(id.clone(), Prepared { sql, transaction, rows: Rows::default() });
        Ok(id)
    }

    pub fn prepared(&self, id: &[u8]) -> Result<Prepared> {
        lock(&self.prepared)
            .get(id)
            .cloned()
            .ok_or_else(|| Error::new("there is no such prepared statement").hint("prepare it on this connection"))
    }

    pub fn bind(&self, id: &[u8], rows: Rows) -> Result<()> {
        self.prepared(id)?;
        lock(&self.prepared).entry(id.to_vec()).and_modify(|known| known.rows = rows);
        Ok(())
    }

    pub fn close(&self, id: &[u8]) {
        lock(&self.prepared).remove(id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::disconnected(self.door);
        tracing::info!(door = self.door, connection = self.number, "disconnected");
    }
}

/// A stream of bytes that knows whose it is: each request that comes over it finds its connection.
pub(super) struct Socket {
    pub stream: TcpStream,
    pub connection: Arc<Connection>,
}

/// What a request finds.
#[derive(Clone)]
pub(super) struct Peer(pub Arc<Connection>);

impl Connected for Socket {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.connection.clone())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[std::io::IoSlice<'_>]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
