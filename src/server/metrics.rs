//! What Prometheus is told: statements, how long they took, rows, connections.

use crate::error::{Error, Result};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::net::SocketAddr;
use std::time::Duration;

const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0];

/// Serves the numbers at `/metrics` of an address, and at `/health` that the process lives.
pub(super) fn serve(address: SocketAddr) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::new(format!("metrics cannot be served at {address}: {e}"));
    let builder = PrometheusBuilder::new().with_http_listener(address);
    builder.set_buckets(&SECONDS).map_err(|e| failed(&e))?.install().map_err(|e| failed(&e))?;
    metrics::describe_counter!("nabla_statements_total", "Statements that have ended, by door and result.");
    metrics::describe_histogram!("nabla_statement_seconds", "How long statements took, until their last row was sent.");
    metrics::describe_counter!("nabla_rows_total", "Rows sent to clients.");
    metrics::describe_counter!("nabla_ingested_rows_total", "Rows that clients have put into tables.");
    metrics::describe_gauge!("nabla_connections", "Open connections, by door.");
    metrics::describe_counter!("nabla_refused_logins_total", "Logins with a wrong name, password or token.");
    Ok(())
}

pub(super) fn statement(door: &'static str, took: Duration, failed: bool) {
    let result = if failed { "error" } else { "ok" };
    metrics::counter!("nabla_statements_total", "door" => door, "result" => result).increment(1);
    metrics::histogram!("nabla_statement_seconds", "door" => door).record(took.as_secs_f64());
}

pub(super) fn rows(count: usize) {
    metrics::counter!("nabla_rows_total").increment(count as u64);
}

pub(super) fn ingested(count: u64) {
    metrics::counter!("nabla_ingested_rows_total").increment(count);
}

pub(super) fn connected(door: &'static str) {
    metrics::gauge!("nabla_connections", "door" => door).increment(1.0);
}

pub(super) fn disconnected(door: &'static str) {
    metrics::gauge!("nabla_connections", "door" => door).decrement(1.0);
}

pub(super) fn refused_login() {
    metrics::counter!("nabla_refused_logins_total").increment(1);
}
