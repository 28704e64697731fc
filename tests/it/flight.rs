//! Flight SQL, by the clients that people have, and by those that mean no good.

use crate::python;
use crate::server::Server;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tonic::transport::Channel;

const PACKAGES: [&str; 4] = ["adbc-driver-flightsql==1.13.0", "flightsql-dbapi==0.2.2", "pyarrow==26.0.1", "pandas"];
const IMPORTS: &str = "import adbc_driver_flightsql.dbapi, flightsql, pandas, pyarrow";

/// Runs one of `tests/clients` and shows what it says.
fn client(script: &str, arguments: &[&str]) {
    let python = match python::with("flight-clients", &PACKAGES, IMPORTS) {
        Ok(python) => python,
        Err(why) => return eprintln!("{script} was not tried: {why}"),
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let said = python::output(Command::new(python).arg(&script).args(arguments)).unwrap_or_else(|text| panic!("{text}"));
    assert!(said.contains("does it all"), "{said}");
}

type Client = FlightSqlServiceClient<Channel>;

async fn connect(server: &Server) -> Client {
    FlightSqlServiceClient::new(Channel::from_shared(server.url()).unwrap().connect().await.unwrap())
}

fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

async fn query(client: &mut Client, sql: &str) -> Vec<RecordBatch> {
    let info = client.execute(sql.into(), None).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    client.do_get(ticket(&info)).await.unwrap().try_collect().await.unwrap()
}

async fn number(client: &mut Client, sql: &str) -> i64 {
    query(client, sql).await[0].column(0).as_primitive::<Int64Type>().value(0)
}

async fn update(client: &mut Client, sql: &str) -> i64 {
    client.execute_update(sql.into(), None).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// A table to learn from, and the number that is learned.
async fn learnable(client: &mut Client) {
    update(client, "CREATE TABLE data AS SELECT CAST(value AS DOUBLE) AS y FROM range(10000)").await;
    update(client, "CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)").await;
    update(client, "INSERT INTO m DEFAULT VALUES").await;
}

fn train(steps: usize) -> String {
    format!("TRAIN MINIMIZE (SELECT AVG(power(a - y, 2)) FROM m CROSS JOIN data) USING sgd (learning_rate => 0.01) FOR {steps} STEPS")
}

#[test]
fn adbc_does_everything() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    client("adbc.py", &[&server.url().replace("http", "grpc")]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn flightsql_dbapi_does_everything() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    client("dbapi.py", &["127.0.0.1", &server.address.port().to_string()]);
}

#[test]
fn the_door_is_locked_with_tls_and_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(at("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(at("users"), "ann:open sesame\n").unwrap();
    assert!(Command::new("chmod").args(["600", &at("users")]).status().unwrap().success());
    let arguments = ["--tls-certificate", &at("cert.pem"), "--tls-key", &at("key.pem"), "--users", &at("users")];
    let server = Server::start(&folder.path().join("db"), &arguments);
    let url = format!("grpc+tls://localhost:{}", server.address.port());
    client("adbc.py", &[&url, &at("cert.pem"), "ann", "open sesame"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_anybody_could_use_does_not_begin() {
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_nabla")).arg("serve").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&["--listen", "0.0.0.0:0"]);
    assert!(said.contains("anybody") && said.contains("--users"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "ann:a\n").unwrap();
    assert!(Command::new("chmod").args(["644", users.to_str().unwrap()]).status().unwrap().success());
    let said = refused(&["--users", users.to_str().unwrap()]);
    assert!(said.contains("others can read") && said.contains("chmod 600"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = refused(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(said.contains("cannot listen"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let server = Server::start(&path, &[]);
    update(&mut connect(&server).await, "CREATE TABLE t (x BIGINT)").await;
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&path, &["--read-only"]);
    let mut client = connect(&server).await;
    let error = client.execute_update("INSERT INTO t VALUES (1)".into(), None).await.unwrap_err().to_string();
    assert!(error.contains("reading only"), "{error}");
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM t").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_by_its_flight_info() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    let mut client = connect(&server).await;
    learnable(&mut client).await;
    let info = client.execute(train(1_000_000), None).await.unwrap();
    let mut log = client.do_get(ticket(&info)).await.unwrap();
    assert!(log.next().await.unwrap().unwrap().num_rows() > 0);
    let mut other = connect(&server).await;
    let cancel = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec());
    let result = other.inner_mut().do_action(cancel).await.unwrap().into_inner().next().await.unwrap().unwrap();
    let result = CancelFlightInfoResult::decode(&*result.body).unwrap();
    assert_eq!(result.status, CancelStatus::Cancelled as i32);
    let error = log.try_for_each(|_| async { Ok(()) }).await.unwrap_err().to_string();
    assert!(error.contains("cancelled"), "{error}");
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM nabla.runs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_have_limits() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ["--statement-timeout", "2", "--max-statements", "2", "--stall-timeout", "1"];
    let server = Server::start(&folder.path().join("db"), &limits);
    let mut client = connect(&server).await;
    learnable(&mut client).await;
    let info = client.execute(train(10_000_000), None).await.unwrap();
    let began = Instant::now();
    let log = client.do_get(ticket(&info)).await.unwrap();
    let error = log.try_for_each(|_| async { Ok(()) }).await.unwrap_err().to_string();
    assert!(error.contains("longer than it may") && began.elapsed() < Duration::from_secs(20), "{error}");

    // Two that are not read, and a third.
    let endless = "SELECT a.value FROM range(100000) AS a CROSS JOIN range(100000) AS b";
    let info = client.execute(endless.into(), None).await.unwrap();
    let (first, second) = (client.do_get(ticket(&info)).await.unwrap(), client.execute(endless.into(), None).await.unwrap());
    let second = client.do_get(ticket(&second)).await.unwrap();
    let error = client.execute(endless.into(), None).await.unwrap();
    let error = client.do_get(ticket(&error)).await.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("too many statements"), "{error}");
    // They are slow, and free what they held.
    let began = Instant::now();
    while client.execute_update("INSERT INTO m DEFAULT VALUES".into(), None).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "a client that does not read keeps its statements");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_client_does_not_want_fail_no_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &["--max-statements", "1"]);
    let mut client = connect(&server).await;
    update(&mut client, "CREATE TABLE t (x BIGINT)").await;
    let transaction = client.begin_transaction().await.unwrap();
    client.execute_update("INSERT INTO t VALUES (1)".into(), Some(transaction.clone())).await.unwrap();
    let many = "SELECT a.value FROM range(1000) AS a CROSS JOIN range(1000) AS b".to_string();
    let info = client.execute(many, Some(transaction.clone())).await.unwrap();
    let mut rows = client.do_get(ticket(&info)).await.unwrap();
    rows.next().await.unwrap().unwrap();
    drop(rows);
    // The statement ends soon, and then there is room for another.
    let began = Instant::now();
    while client.execute_update("INSERT INTO t VALUES (2)".into(), Some(transaction.clone())).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.end_transaction(transaction, arrow_flight::sql::EndTransaction::Commit).await.unwrap();
    assert_eq!(number(&mut client, "SELECT SUM(x) FROM t").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_puts_is_no_more_than_the_memory_that_it_may_take() {
    use arrow::array::Int64Array;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &["--memory-limit", "1MB"]);
    let mut client = connect(&server).await;
    update(&mut client, "CREATE TABLE t (x BIGINT)").await;
    let mut many = client.prepare("INSERT INTO t VALUES (?)".into(), None).await.unwrap();
    let rows = Int64Array::from_iter_values(0..1_000_000);
    many.set_parameters(RecordBatch::try_from_iter([("x", std::sync::Arc::new(rows) as _)]).unwrap()).unwrap();
    let error = many.execute_update().await.unwrap_err().to_string();
    assert!(error.contains("--memory-limit"), "{error}");
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM t").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_client_frees_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    let mut client = connect(&server).await;
    learnable(&mut client).await;
    let mut other = connect(&server).await;
    let transaction = other.begin_transaction().await.unwrap();
    other.execute_update("INSERT INTO m DEFAULT VALUES".into(), Some(transaction)).await.unwrap();
    let info = other.execute(train(10_000_000), None).await.unwrap();
    let mut log = other.do_get(ticket(&info)).await.unwrap();
    log.next().await.unwrap().unwrap();
    // The writers' turn is the other's, and it goes away without a word.
    let waits = tokio::time::timeout(Duration::from_millis(300), client.execute_update("INSERT INTO m VALUES (1)".into(), None)).await;
    assert!(waits.is_err());
    drop((log, other));
    server.line("disconnected", Duration::from_secs(20));
    tokio::time::timeout(Duration::from_secs(20), update(&mut client, "INSERT INTO m VALUES (2)")).await.expect("the turn is free");
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM m").await, 2);
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM nabla.runs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_lets_a_statement_end_and_keeps_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let server = Server::start(&path, &["--grace", "60"]);
    let mut client = connect(&server).await;
    learnable(&mut client).await;
    let info = client.execute(train(300), None).await.unwrap();
    let mut log = client.do_get(ticket(&info)).await.unwrap();
    let ended = tokio::spawn(async move {
        let mut steps = 0;
        while let Some(batch) = log.next().await {
            steps += batch.unwrap().num_rows();
        }
        steps
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    assert_eq!(ended.await.unwrap(), 301);
    assert_eq!(stopped.await.unwrap(), Some(0));
    let server = Server::start(&path, &["--grace", "0.2"]);
    let mut client = connect(&server).await;
    assert_eq!(number(&mut client, "SELECT steps FROM nabla.runs").await, 300);
    // One that would take too long is ended.
    let info = client.execute(train(100_000_000), None).await.unwrap();
    let mut log = client.do_get(ticket(&info)).await.unwrap();
    log.next().await.unwrap().unwrap();
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    assert!(log.try_for_each(|_| async { Ok(()) }).await.is_err());
    assert_eq!(stopped.await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_with_a_hundred_statements_each_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    let mut client = connect(&server).await;
    learnable(&mut client).await;
    update(&mut client, "CREATE TABLE log (client BIGINT, n BIGINT)").await;
    update(&mut client, "CREATE TABLE w (b DOUBLE LEARNABLE DEFAULT 0)").await;
    update(&mut client, "INSERT INTO w DEFAULT VALUES").await;
    let mut clients = vec![];
    for number_of in 0..8i64 {
        let mut client = connect(&server).await;
        clients.push(tokio::spawn(async move {
            for n in 0..100 {
                match number_of {
                    // Each learner has a table of its own.
                    0 | 1 if n % 10 == 9 => {
                        let (table, column) = [("m", "a"), ("w", "b")][number_of as usize];
                        let sql = format!("TRAIN MINIMIZE (SELECT AVG(power({column} - 1, 2)) FROM {table}) FOR 5 STEPS");
                        assert_eq!(query(&mut client, &sql).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
                    }
                    _ if n % 2 == 0 => assert_eq!(update(&mut client, &format!("INSERT INTO log VALUES ({number_of}, {n})")).await, 1),
                    _ => {
                        let own = format!("SELECT COUNT(*) FROM log WHERE client = {number_of}");
                        assert_eq!(number(&mut client, &own).await, (n + 1) / 2, "its own rows are there at once");
                    }
                }
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM log").await, 8 * 50);
    assert_eq!(number(&mut client, "SELECT COUNT(DISTINCT client * 1000 + n) FROM log").await, 8 * 50);
    assert_eq!(number(&mut client, "SELECT COUNT(DISTINCT run_id) FROM nabla.runs").await, 20);
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM nabla.steps").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_at_once_on_one_connection_is_each_its_own() {
    use arrow::array::Int64Array;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    let mut client = connect(&server).await;
    update(&mut client, "CREATE TABLE t (x BIGINT PRIMARY KEY)").await;
    update(&mut client, "INSERT INTO t VALUES (-1)").await;
    // Many rows, the last of which is twice, while others of the same connection insert their own.
    let mut many = client.prepare("INSERT INTO t VALUES (?)".into(), None).await.unwrap();
    let rows = Int64Array::from_iter_values((1000..1200).chain([1000]));
    many.set_parameters(RecordBatch::try_from_iter([("x", std::sync::Arc::new(rows) as _)]).unwrap()).unwrap();
    let refused = tokio::spawn(async move { many.execute_update().await.unwrap_err().to_string() });
    for x in 0..20 {
        update(&mut client, &format!("INSERT INTO t VALUES ({x})")).await;
    }
    let refused = refused.await.unwrap();
    assert!(refused.contains("duplicate"), "{refused}");
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM t").await, 21, "all of the single ones, and none of the many");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_reach_files_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.csv");
    std::fs::write(&file, "x\n1\n").unwrap();
    let file = file.display();
    let server = Server::start(&folder.path().join("db"), &[]);
    let mut client = connect(&server).await;
    update(&mut client, "CREATE TABLE t (x BIGINT)").await;
    for sql in [
        format!("COPY t FROM '{file}'"),
        format!("COPY (SELECT 1) TO '{file}'"),
        format!("COPY t TO '{file}' STORED AS CSV"),
        format!("CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '{file}'"),
        format!("SELECT * FROM '{file}'"),
        format!("EXPLAIN ANALYZE COPY t TO '{file}' STORED AS CSV"),
        "SET datafusion.runtime.memory_limit = '100G'".into(),
    ] {
        let error = client.execute(sql.clone(), None).await.err().unwrap_or_else(|| panic!("{sql} went through")).to_string();
        assert!(error.contains("file"), "{sql}: {error}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("secret.csv")).unwrap(), "x\n1\n");
    drop(client);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&folder.path().join("db"), &["--allow-files"]);
    assert_eq!(update(&mut connect(&server).await, &format!("COPY t FROM '{file}'")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_tell_what_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let server = Server::start(&folder.path().join("db"), &["--metrics", &address, "--log-format", "text"]);
    let mut client = connect(&server).await;
    assert_eq!(number(&mut client, "SELECT COUNT(*) FROM range(7)").await, 7);
    assert!(client.execute_update("SELEC".into(), None).await.is_err());
    let page = |path: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let text = page("/metrics");
    for line in [
        "nabla_statements_total{door=\"flight\",result=\"ok\"} 1",
        "nabla_statements_total{door=\"flight\",result=\"error\"} 1",
        "nabla_connections{door=\"flight\"} 1",
        "nabla_rows_total 1",
        "nabla_statement_seconds_bucket",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(page("/health").starts_with("HTTP/1.1 200"));
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1);
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_frames_and_statements_crash_nothing() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    let mut client = connect(&server).await;
    learnable(&mut client).await;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    // Bytes that are no HTTP/2, and HTTP/2 that is cut short.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    for _ in 0..500 {
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut bytes: Vec<u8> = if numbers.below(2) == 0 { preface[..numbers.below(preface.len() + 1)].to_vec() } else { vec![] };
        bytes.extend((0..numbers.below(200)).map(|_| numbers.next() as u8));
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 64]);
    }
    // Tickets, commands and actions of random bytes, or whole ones with a few bytes changed or cut off.
    let whole = client.execute("SELECT y FROM data WHERE y < 3".into(), None).await.unwrap();
    let whole = ticket(&whole).ticket.to_vec();
    let raw = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut raw = arrow_flight::flight_service_client::FlightServiceClient::new(raw);
    for n in 0..5000 {
        let mut bytes = if numbers.below(3) == 0 { (0..numbers.below(60)).map(|_| numbers.next() as u8).collect() } else { whole.clone() };
        for _ in 0..numbers.below(4) {
            if let Some(byte) = {
                let at = numbers.below(bytes.len().max(1));
                bytes.get_mut(at)
            } {
                *byte = numbers.next() as u8;
            }
        }
        bytes.truncate(numbers.below(bytes.len() + 1));
        match n % 4 {
            0 => drop(raw.do_get(Ticket::new(bytes)).await),
            1 => drop(raw.get_flight_info(arrow_flight::FlightDescriptor::new_cmd(bytes)).await),
            2 => {
                let names = ["CreatePreparedStatement", "BeginTransaction", "EndTransaction", "CancelQuery", "CancelFlightInfo", "x"];
                drop(raw.do_action(Action::new(names[numbers.below(names.len())], bytes)).await)
            }
            _ => {
                let data = arrow_flight::FlightData::new().with_data_header(bytes.clone()).with_data_body(bytes.clone());
                let data = data.with_descriptor(arrow_flight::FlightDescriptor::new_cmd(bytes));
                drop(raw.do_put(futures::stream::iter([data])).await)
            }
        }
    }
    // Words in any order, and statements cut short.
    let words = [
        "SELECT",
        "FROM",
        "data",
        "y",
        "(",
        ")",
        ",",
        "*",
        "TRAIN",
        "MINIMIZE",
        "m",
        "a",
        "WHERE",
        "1",
        "'x",
        "'x'",
        "?",
        "$1",
        ";",
        "--",
        "/*",
        "RELAX",
        "GRADIENT OF",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "INSERT INTO",
        "VALUES",
        "CREATE TABLE",
        "USING adam",
        "FOR 2 STEPS",
        "\u{0}",
        "\"",
        "é",
        "ORDER BY",
        "LIMIT",
        "GROUP BY",
        "[",
        "]",
        "::",
        "<->",
        "LEARNABLE",
        "EXPLAIN",
        "DESCRIBE",
        "SHOW",
        "SET",
        "=",
        "0.5e",
    ];
    for n in 0..4500 {
        let mut sql: String = (0..1 + numbers.below(12)).map(|_| format!("{} ", words[numbers.below(words.len())])).collect();
        if n % 3 == 0 {
            sql = train(2).chars().take(numbers.below(130)).collect();
        }
        if let Ok(info) = client.execute(sql, None).await {
            let _ = client.do_get(ticket(&info)).await;
        }
    }
    let mut fresh = connect(&server).await;
    let sum = query(&mut fresh, "SELECT SUM(y) FROM data").await[0].column(0).as_primitive::<Float64Type>().value(0);
    assert_eq!(sum, 49_995_000.0);
    assert_eq!(server.stop(), Some(0), "it lives, and stops when it is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_of_sqllogictest_passes_through_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("db"), &[]);
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/suite.slt");
    let url = server.url();
    let mut runner = sqllogictest::Runner::new(move || {
        let url = url.clone();
        async move { sqllogictest_flightsql::runner::FlightSqlDB::new_from_endpoint("nabla", url, "", "").await }
    });
    runner.run_file_async(suite).await.unwrap_or_else(|e| panic!("{e}"));
}
