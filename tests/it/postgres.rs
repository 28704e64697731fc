//! PostgreSQL's wire, by psql and psycopg, and by bytes that mean no good.

use crate::python;
use crate::server::Server;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn start(folder: &Path, arguments: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(folder, &[&["--postgres", "127.0.0.1:0"], arguments].concat());
    let address = server.address_of("PostgreSQL");
    (server, address)
}

/// What psql prints, results and errors, or `None` where there is no psql.
fn psql(connection: &str, input: &str) -> Option<String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", connection]).env("PGCONNECT_TIMEOUT", "20").env("PAGER", "cat");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("psql is not there, and was not tried");
        return None;
    };
    // It may have ended before it reads, when it cannot connect.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn at(address: SocketAddr) -> String {
    format!("host=127.0.0.1 port={} dbname=database user=ann", address.port())
}

#[test]
fn psql_finds_tables_queries_mistakes_and_learns() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = start(&folder.path().join("db"), &[]);
    let script = "CREATE TABLE points (id BIGINT PRIMARY KEY, x DOUBLE, name TEXT);
        INSERT INTO points VALUES (1, 2.5, 'one'), (2, NULL, 'it''s');
        CREATE VIEW named AS SELECT name FROM points;
        SELECT * FROM points ORDER BY id;
        \\d
        \\dt
        \\d points
        \\dn
        SELECT *
        FRM points;
        SELECT * FROM pints;
        BEGIN; INSERT INTO points (id) VALUES (3); ROLLBACK;
        BEGIN;
        INSERT INTO points (id) VALUES (1);
        SELECT 'not reached';
        COMMIT;
        SELECT COUNT(*) AS kept FROM points;
        CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3);
        INSERT INTO m DEFAULT VALUES;
        TRAIN MINIMIZE (SELECT SUM(power(a - 1, 2)) FROM m) USING sgd (learning_rate => 0.25) FOR 30 STEPS;
        SELECT round(a, 6) AS learned FROM m;
        SELECT version(), current_schema() AS here;
        COPY points FROM STDIN;
        SELECT round(a, 6) AS learned FROM m;
        \\gset
        \\echo it is :learned";
    let Some(said) = psql(&at(address), script) else { return };
    for line in [
        "  1 | 2.5 | one",
        "  2 |     | it's",
        " main   | points            | table",
        " main   | named             | view",
        " id     | bigint           |           | not null |",
        " x      | double precision |",
        "ERROR:  expected: end of statement, found: FRM",
        "LINE 2:         FRM points;",
        "HINT:  did you mean 'points'?",
        "ERROR:  duplicate primary key (id) = (1)",
        "no other runs",
        "    2\n(1 row)",
        "(31 rows)",
        "PostgreSQL 16.6 (NablaDB",
        "| main\n",
        "COPY FROM STDIN is not supported",
        "it is 1",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains("not reached"), "{said}");
    assert_eq!(server.stop(), Some(0));
}

/// Runs one of `tests/clients` and shows what it says.
fn client(script: &str, arguments: &[&str]) {
    let packages = ["psycopg[binary]==3.3.9", "psycopg2-binary==2.9.13", "sqlalchemy==2.0.36"];
    let python = match python::with("postgres-clients", &packages, "import psycopg, psycopg2, sqlalchemy") {
        Ok(python) => python,
        Err(why) => return eprintln!("{script} was not tried: {why}"),
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let said = python::output(Command::new(python).arg(script).args(arguments)).unwrap_or_else(|text| panic!("{text}"));
    assert!(said.contains("does it all"), "{said}");
}

#[test]
fn psycopg_does_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = start(&folder.path().join("db"), &[]);
    client("psycopg_client.py", &[&at(address)]);
}

#[test]
fn sqlalchemy_finds_the_server_that_it_expects() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = start(&folder.path().join("db"), &[]);
    client("sqlalchemy_client.py", &["127.0.0.1", &address.port().to_string()]);
}

#[test]
fn the_door_is_locked_with_tls_and_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(file("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(file("users"), "ann:open sesame\n").unwrap();
    assert!(Command::new("chmod").args(["600", &file("users")]).status().unwrap().success());
    let arguments = ["--tls-certificate", &file("cert.pem"), "--tls-key", &file("key.pem"), "--users", &file("users")];
    let (_server, address) = start(&folder.path().join("db"), &arguments);
    let tls = format!(
        "host=localhost hostaddr=127.0.0.1 port={} dbname=database sslmode=verify-full sslrootcert={}",
        address.port(),
        file("cert.pem")
    );
    let with = |user: &str, password: &str| psql(&format!("{tls} user={user} password='{password}'"), "SELECT 'inside' AS place;");
    // Without TLS nobody comes in.
    let plain = psql(&format!("{} sslmode=disable password='open sesame'", at(address)), "SELECT 'inside' AS place;");
    assert!(plain.is_none_or(|said| said.contains("needs TLS")));
    let Some(said) = with("ann", "open sesame") else { return };
    assert!(said.contains("inside"), "{said}");
    for (user, password) in [("ann", "open sesam"), ("ann", ""), ("bob", "open sesame"), ("", "open sesame")] {
        let said = with(user, password).unwrap();
        assert!(!said.contains("inside") && said.contains("error"), "{user} {password}: {said}");
    }
}

#[test]
fn random_and_truncated_frames_crash_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = start(&folder.path().join("db"), &[]);
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let startup = {
        let parameters = b"user\0ann\0database\0database\0\0";
        [&(8 + parameters.len() as u32).to_be_bytes()[..], &196_608u32.to_be_bytes(), parameters].concat()
    };
    for n in 0..2000 {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(if n % 4 == 0 { 1 } else { 5 }))).unwrap();
        let mut bytes = if n % 4 == 0 { vec![] } else { startup.clone() };
        for _ in 0..next() % 4 {
            // A message of a kind there is, whose length is often none of its own.
            let body: Vec<u8> = (0..next() % 40).map(|_| next() as u8).collect();
            let kinds = b"QPBEDCSHXFfcdp";
            let length = if next() % 3 == 0 { next() as u32 % 100_000 } else { body.len() as u32 + 4 };
            bytes.push(kinds[(next() % kinds.len() as u64) as usize]);
            bytes.extend(length.to_be_bytes());
            bytes.extend(body);
        }
        if n % 4 == 0 {
            bytes = (0..next() % 100).map(|_| next() as u8).collect();
        }
        if n % 5 == 0 {
            bytes.truncate((next() % (bytes.len() as u64 + 1)) as usize);
        }
        // The server may hang up at once.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 256]);
    }
    if let Some(said) = psql(&at(address), "SELECT 6 * 7 AS answer;") {
        assert!(said.contains("42"), "{said}");
    }
    assert_eq!(server.stop(), Some(0), "it lives, and stops when it is asked");
}

/// A message of the protocol.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn startup() -> Vec<u8> {
    let parameters = b"user\0ann\0database\0database\0\0";
    [&(8 + parameters.len() as u32).to_be_bytes()[..], &196_608u32.to_be_bytes(), parameters].concat()
}

#[test]
fn what_comes_after_a_login_that_failed_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "ann:open sesame\n").unwrap();
    assert!(Command::new("chmod").args(["600", users.to_str().unwrap()]).status().unwrap().success());
    let path = folder.path().join("db");
    let (server, address) = start(&path, &["--users", users.to_str().unwrap()]);
    let sql = b"CREATE TABLE broken_in (x BIGINT)\0";
    let prepared = [
        message(b'P', &[b"\0", &sql[..], &[0, 0]].concat()),
        message(b'B', &[0, 0, 0, 0, 0, 0, 0, 0]),
        message(b'E', &[0, 0, 0, 0, 0]),
        message(b'S', b""),
    ];
    for after in [message(b'Q', sql), prepared.concat()] {
        for login in [message(b'p', b"NONE\0\0\0\0\0"), message(b'p', b"SCRAM-SHA-256\0\0\0\0\x04n,,n"), vec![]] {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            // It may hang up before all of it is sent.
            let _ = stream.write_all(&[startup(), login, after.clone(), after.clone()].concat());
            while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        }
    }
    assert_eq!(server.stop(), Some(0));
    let output = Command::new(env!("CARGO_BIN_EXE_nabla")).arg(&path).args(["-c", "SELECT * FROM broken_in"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not found"), "somebody came in without a password");
}

#[test]
fn a_message_of_several_statements_runs_all_of_them_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = start(&folder.path().join("db"), &[]);
    let Some(_) = psql(&at(address), "CREATE TABLE t (x BIGINT PRIMARY KEY);") else { return };
    let send = |sql: &str| {
        let output = Command::new("psql").args(["-X", "-q", "-A", "-t", &at(address), "-c", sql]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    send("SET client_encoding TO 'UTF8'; INSERT INTO t VALUES (1); -- a comment; with a semicolon");
    assert!(send("INSERT INTO t VALUES (2); INSERT INTO t VALUES (1)").contains("duplicate"));
    assert!(send("BEGIN; INSERT INTO t VALUES (3); SELECT nope").contains("nope"));
    assert_eq!(send("SELECT string_agg(CAST(x AS TEXT), ',') FROM t"), "1\n");
    let said = psql(
        &at(address),
        "BEGIN; INSERT INTO t VALUES (4);\nSELEC 1;\nEND;\nSELECT COUNT(*) AS kept FROM t;\nROLLBACK;\nSELECT 5 AS five;",
    )
    .unwrap();
    let savepoint = "BEGIN; INSERT INTO t VALUES (6);\nSAVEPOINT s;\nROLLBACK TO SAVEPOINT s;\nINSERT INTO t VALUES (7);\nROLLBACK;\nSELECT COUNT(*) AS still FROM t;";
    let still = psql(&at(address), savepoint).unwrap();
    assert!(still.contains("still") && still.contains("     1\n"), "{still}");
    assert!(said.contains("kept") && said.contains("    1\n") && said.contains("five"), "{said}");
}

#[test]
fn a_server_stops_although_a_client_has_a_transaction_open() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = start(&folder.path().join("db"), &["--grace", "1"]);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sql = |text: &str| message(b'Q', &[text.as_bytes(), b"\0"].concat());
    stream.write_all(&[startup(), sql("CREATE TABLE t (x BIGINT)"), sql("BEGIN"), sql("INSERT INTO t VALUES (1)")].concat()).unwrap();
    let mut seen = vec![];
    while !String::from_utf8_lossy(&seen).contains("INSERT 0 1") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0);
        seen.extend(&bytes[..count]);
    }
    assert_eq!(server.stop(), Some(0));
}
