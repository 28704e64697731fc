//! A scan of 100 million rows through Flight SQL, beside servers as arrow-flight's own example is one: one reads the same files with plain
//! DataFusion, the other encodes a batch that lies in memory again and again, and reads no table.

use crate::harness::median;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::server::FlightSqlService;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt, SqlInfo, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use datafusion::arrow::array::{Float64Array, Int64Array, RecordBatch};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use nabladb::server::{Limits, Settings, serve};
use nabladb::{Database, Options};
use prost::Message;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

const ROWS: usize = 100_000_000;
const BATCH: usize = 8192;
const RUNS: usize = 5;

/// Where an example server has its rows from.
enum Example {
    Memory(RecordBatch),
    Files(SessionContext),
}

impl Example {
    async fn rows(&self) -> BoxStream<'static, Result<RecordBatch, FlightError>> {
        match self {
            Example::Memory(batch) => {
                let batch = batch.clone();
                stream::iter((0..ROWS.div_ceil(BATCH)).map(move |n| Ok(batch.slice(0, BATCH.min(ROWS - n * BATCH))))).boxed()
            }
            Example::Files(context) => {
                let rows = context.sql("SELECT * FROM numbers").await.expect("a query").execute_stream().await.expect("rows");
                rows.map_err(|e| FlightError::ExternalError(Box::new(e))).boxed()
            }
        }
    }
}

#[tonic::async_trait]
impl FlightSqlService for Example {
    type FlightService = Example;

    async fn get_flight_info_statement(
        &self,
        _: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = Ticket::new(TicketStatementQuery { statement_handle: "all".into() }.as_any().encode_to_vec());
        let info = FlightInfo::new().with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_descriptor(request.into_inner());
        Ok(Response::new(info))
    }

    async fn do_get_statement(
        &self,
        _: TicketStatementQuery,
        _: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let data = FlightDataEncoderBuilder::new().build(self.rows().await).map_err(|e| Status::internal(e.to_string()));
        Ok(Response::new(Box::pin(data)))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

async fn connect(address: SocketAddr) -> FlightSqlServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    for _ in 0..100 {
        if let Ok(channel) = channel.connect().await {
            return FlightSqlServiceClient::new(channel);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server does not begin")
}

/// How long all rows take.
async fn scan(client: &mut FlightSqlServiceClient<Channel>) -> f64 {
    let start = Instant::now();
    let info = client.execute("SELECT * FROM numbers".into(), None).await.expect("a query");
    let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
    let rows = client.do_get(ticket).await.expect("rows").try_fold(0, |n, batch| async move { Ok(n + batch.num_rows()) });
    assert_eq!(rows.await.expect("all rows"), ROWS);
    start.elapsed().as_secs_f64()
}

pub async fn table() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let database = Database::open(&path).await.expect("a database");
    let session = database.session().expect("a session");
    let create = format!("CREATE TABLE numbers AS SELECT value AS n, value * 0.5 AS half FROM range({ROWS})");
    session.run(&create).await.expect("a table");
    drop((session, database));

    let ours = free();
    let files = SessionContext::new();
    let numbers = path.join("data/main/numbers");
    files.register_parquet("numbers", numbers.to_str().expect("UTF-8"), ParquetReadOptions::default()).await.expect("the table's files");
    let settings = Settings {
        database: Options { path: Some(path), ..Options::default() },
        listen: ours,
        postgres: None,
        metrics: None,
        users: None,
        tls: None,
        allow_anyone: false,
        limits: Limits { statement_timeout: None, stall_timeout: Duration::from_secs(600), statements: 16 },
        grace: Duration::from_secs(1),
    };
    let server = tokio::spawn(serve(settings, std::future::pending()));
    let n = Int64Array::from_iter_values(0..BATCH as i64);
    let half = Float64Array::from_iter_values((0..BATCH).map(|n| n as f64 * 0.5));
    let batch = RecordBatch::try_from_iter([("n", Arc::new(n) as _), ("half", Arc::new(half) as _)]).expect("two columns");
    let (mut clients, mut servers) = (vec![connect(ours).await], vec![]);
    for example in [Example::Files(files), Example::Memory(batch)] {
        let address = free();
        let service = FlightServiceServer::new(example).max_encoding_message_size(usize::MAX);
        servers.push(tokio::spawn(Server::builder().tcp_nodelay(true).add_service(service).serve(address)));
        clients.push(connect(address).await);
    }
    let mut times = [vec![], vec![], vec![]];
    for run in 0..=RUNS {
        for (client, times) in clients.iter_mut().zip(&mut times) {
            let time = scan(client).await;
            // The first run warms up.
            if run > 0 {
                times.push(time);
            }
        }
    }
    let [ours, files, memory] = times;
    let ratio = |theirs: &[f64]| median(ours.iter().zip(theirs).map(|(a, b)| b / a).collect());
    let rate = |seconds: &[f64]| ROWS as f64 / median(seconds.to_vec()) / 1e6;
    println!(
        "\n| 100,000,000 rows of a BIGINT and a DOUBLE, million a second | example | nabla | throughput to the example's |\n|---|---|---|---|"
    );
    println!("| of the same files | {:.1} | {:.1} | {:.2} |", rate(&files), rate(&ours), ratio(&files));
    println!("| of a batch in memory | {:.1} | {:.1} | {:.2} |", rate(&memory), rate(&ours), ratio(&memory));
    server.abort();
    servers.iter().for_each(tokio::task::JoinHandle::abort);
}
