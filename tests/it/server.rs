//! `nabla serve` as a process, for tests with clients.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A server, which is ended with this.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Its log, line by line.
    pub log: mpsc::Receiver<String>,
}

const STARTS_WITHIN: Duration = Duration::from_secs(60);

impl Server {
    /// Serves a folder at a free port of loopback.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nabla"));
        command.arg("serve").arg(folder).args(["--listen", "127.0.0.1:0"]).args(arguments).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into(), log };
        server.address = server.address_of("Flight SQL");
        server
    }

    /// Where a door listens, as the log says when it begins.
    pub fn address_of(&self, door: &str) -> SocketAddr {
        let line = self.line(door, STARTS_WITHIN);
        let rest = line.split_once("address=").unwrap_or_else(|| panic!("{line}")).1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The next line of the log with this in it.
    pub fn line(&self, text: &str, within: Duration) -> String {
        let began = Instant::now();
        let mut seen = vec![];
        loop {
            match self.log.recv_timeout(within.saturating_sub(began.elapsed())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("the log has no '{text}':\n{}", seen.join("\n")),
            }
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks it to stop, as a service manager does, and gives its exit status.
    pub fn stop(mut self) -> Option<i32> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not stop")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
