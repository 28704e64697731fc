//! The network doors: Flight SQL, PostgreSQL's wire, metrics, health. A connection has a session of its own, and what it holds ends
//! with it.

mod connection;
mod flight;
mod metrics;
mod postgres;
mod statement;
mod tls;
mod users;

pub use statement::Limits;

use crate::error::{Error, Result};
use crate::session::{Database, Options};
use arrow_flight::flight_service_server::FlightServiceServer;
use connection::{Connection, Shared, Socket};
use futures::stream::{self, Stream};
use statement::Running;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use users::Users;

/// What is served, to whom, and how much of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which database.
    pub database: Options,
    /// Where Flight SQL listens.
    pub listen: SocketAddr,
    /// Where PostgreSQL's wire listens.
    pub postgres: Option<SocketAddr>,
    /// Where metrics for Prometheus are served, at `/metrics`.
    pub metrics: Option<SocketAddr>,
    /// A file of `name:password` lines; without one, everybody may come in.
    pub users: Option<PathBuf>,
    /// Files of a PEM certificate and its key, for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether to listen beyond loopback although everybody may come in.
    pub allow_anyone: bool,
    /// For each connection.
    pub limits: Limits,
    /// How long statements may go on when the server is asked to stop.
    pub grace: Duration,
}

/// The largest message that a client may send, in bytes.
const LARGEST_MESSAGE: usize = 64 << 20;
/// How often a silent client is asked whether it is there, and how long it may take to say so.
const ASK_AFTER: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Serves a database until `stop` is done and all statements have ended or their grace is over.
///
/// # Errors
/// The database cannot be opened, an address not be listened at, a file not be read; or anybody could come in from other machines.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    let users = settings.users.as_deref().map(Users::read).transpose()?.map(Arc::new);
    if users.is_none() && !settings.allow_anyone {
        std::iter::once(settings.listen).chain(settings.postgres).try_for_each(refuse_strangers)?;
    }
    let tls = settings.tls.as_ref().map(Tls::read).transpose()?;
    let database = Database::open_with(settings.database.clone()).await?;
    if let Some(address) = settings.metrics {
        metrics::serve(address)?;
    }
    let running = Arc::<Running>::default();
    let shared = Shared {
        database: database.clone(),
        running: running.clone(),
        limits: settings.limits,
        memory_limit: settings.database.memory_limit,
    };
    let service = flight::Flight::new(users.clone(), running.clone(), settings.database.read_only)?;
    let service = FlightServiceServer::new(service).max_decoding_message_size(LARGEST_MESSAGE).max_encoding_message_size(usize::MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<FlightServiceServer<flight::Flight>>().await;

    let mut server =
        Server::builder().tcp_nodelay(true).http2_keepalive_interval(Some(ASK_AFTER)).http2_keepalive_timeout(Some(ANSWER_WITHIN));
    if let Some(tls) = &tls {
        server = server.tls_config(tls.of_flight()).map_err(|e| failed("TLS cannot be set up", &e))?;
    }
    let (listener, address) = listening(settings.listen).await?;
    tracing::info!(%address, database = %database.folder().display(), tls = tls.is_some(), "Flight SQL");
    let (stopped, mut stopping) = watch::channel(false);
    let postgres = match settings.postgres {
        None => None,
        Some(address) => {
            let (listener, address) = listening(address).await?;
            tracing::info!(%address, "PostgreSQL");
            let acceptor = tls.as_ref().map(Tls::acceptor).transpose()?;
            Some(tokio::spawn(postgres::serve(listener, shared.clone(), users, acceptor, stopping.clone())))
        }
    };
    let asked = async move { drop(stopping.wait_for(|stop| *stop).await) };
    let serving = server.add_service(service).add_service(health_service).serve_with_incoming_shutdown(sockets(listener, shared), asked);
    let mut serving = tokio::spawn(serving);
    let ended = tokio::select! {
        () = stop => None,
        ended = &mut serving => Some(ended),
    };
    tracing::info!(statements = running.count(), "stopping");
    health.set_not_serving::<FlightServiceServer<flight::Flight>>().await;
    running.close();
    // Whoever is not there any more has stopped already.
    let _ = stopped.send(true);
    drain(&running, settings.grace).await;
    // The statements have ended: what is left are idle connections, with transactions that nobody will commit.
    if let Some(postgres) = postgres {
        drop(postgres.await);
    }
    if ended.is_none() && tokio::time::timeout(settings.grace, &mut serving).await.is_err() {
        serving.abort();
    }
    if tokio::time::timeout(settings.grace, database.finish()).await.is_err() {
        tracing::warn!("a commit is still under way");
    }
    if let Some(Err(error)) = ended.map(|ended| ended.map_err(|e| e.to_string()).and_then(|served| served.map_err(|e| e.to_string()))) {
        return Err(failed("the server stopped", &error));
    }
    tracing::info!("stopped");
    Ok(())
}

async fn listening(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let refused = |e: std::io::Error| failed(&format!("cannot listen at {address}"), &e);
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Waits for statements to end, and ends them when that takes too long.
async fn drain(running: &Running, grace: Duration) {
    const LOOK: Duration = Duration::from_millis(20);
    let all_ended = async {
        while running.count() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        running.cancel_all();
    }
}

fn sockets(listener: TcpListener, shared: Shared) -> impl Stream<Item = std::io::Result<Socket>> {
    stream::unfold((listener, shared), |(listener, shared)| async move {
        let socket = accepted(&listener, &shared).await;
        if let Err(error) = &socket {
            tracing::warn!(%error, "a connection was not accepted");
            // Too many open files, for one: it is not asked for at once again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some((socket, (listener, shared)))
    })
}

async fn accepted(listener: &TcpListener, shared: &Shared) -> std::io::Result<Socket> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let connection = Connection::open(shared, peer, "flight").map_err(std::io::Error::other)?;
    Ok(Socket { stream, connection: Arc::new(connection) })
}

fn refuse_strangers(address: SocketAddr) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let error = Error::new(format!("anybody on the network could come in at {address}"));
    Err(error.hint("name the users with --users FILE, or say --allow-anyone"))
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(format!("{what}: {error}"))
}
