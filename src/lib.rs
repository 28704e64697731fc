//! NablaDB: an embedded database whose queries learn.
//!
//! Three layers, and a statement passes through them once, in this order:
//!
//! ```text
//! symbolic structure      ->   differentiable computation   ->   optimization objective
//! SQL, types, keys, joins,     values, weights, gradients        loss, optimizer, schedule,
//! constraints, transactions    of the live part only             validation, commit
//! ```
//!
//! The sentence of the system is `session::train`; read it first.
//!
//! # The rooms, and who may use whom
//!
//! `tests/architecture.rs` reads this table and fails on any `use crate::...` or external crate
//! that it does not allow. `error` is at the bottom and every room may use it.
//!
//! | room | holds | may use | may name |
//! |---|---|---|---|
//! | main | the command line | session shell server | clap clap_complete clap_mangen tokio tracing_subscriber |
//! | shell | the keyboard door: line editing, statements from a stream, output formats, the progress of runs, the settings file | session plot report | arrow reedline nu_ansi_term crossterm comfy_table unicode_width indicatif futures tokio tempfile serde toml |
//! | server | the network doors: Flight SQL, PostgreSQL's wire, metrics, health; connections, users, limits | session | datafusion arrow arrow_flight arrow_pg pgwire datafusion_pg_catalog async_trait tonic tonic_health prost base64 subtle getrandom socket2 metrics metrics_exporter_prometheus tracing futures tokio |
//! | report | a run as one page of HTML | session plot | arrow |
//! | plot | curves, points, histograms and pictures of numbers, as PNG and SVG | - | plotters epaint_default_fonts |
//! | blocking | the library's door for programs without `async` | session | arrow futures tokio |
//! | session | the waist: one SQL sentence in, one `Outcome` out; owns the order of the layers, and `EXPLAIN` | grammar table storage algebra split relaxation scalar program training buffer | datafusion arrow tokio futures async_trait ndarray |
//! | grammar | text -> `Statement`; only our words beyond DataFusion's parser | - | datafusion strsim |
//! | table | tables, learnable columns, constraints, as DataFusion sees them | - | datafusion arrow rand_chacha rand_distr async_trait |
//! | storage | tables <-> DuckLake; commit all or nothing; run history | table | datafusion datafusion_ducklake arrow object_store sqlx tempfile tokio bytes futures async_trait |
//! | algebra | our own operators and expressions, plain data | scalar buffer | - |
//! | split | DataFusion plan -> stages; the only border post between the SQL side and the learning side | algebra scalar program buffer | datafusion async_trait futures |
//! | relaxation | one file per relaxed operator | algebra program scalar buffer | - |
//! | scalar | one line per scalar function: name, value, slope, where it holds; and what an application's own function is | - | - |
//! | program | instructions, checker, printer, fused forward and backward; one file per primitive | scalar buffer | rayon multiversion ndarray |
//! | training | `fit(program, parameters, settings, validation, observer)`: optimizers, schedules, sampling, constraints, validation, stopping | program scalar | multiversion rand_chacha |
//! | buffer | numbers in memory, or in files beyond it | - | arrow bytes memmap2 tempfile |
//! | error | every way a sentence can fail: what, where, what to do | - | datafusion arrow |

#![deny(missing_docs)]

/// The columns and batches of results are of this version of the crate.
pub extern crate arrow;
/// The arrays of [`Parameter`] are of this version of the crate.
pub extern crate ndarray;

#[doc(hidden)]
pub mod algebra;
pub mod blocking;
#[doc(hidden)]
pub mod buffer;
pub mod error;
#[doc(hidden)]
pub mod grammar;
#[doc(hidden)]
pub mod plot;
#[doc(hidden)]
pub mod program;
#[doc(hidden)]
pub mod relaxation;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod scalar;
#[doc(hidden)]
pub mod server;
pub mod session;
#[doc(hidden)]
pub mod shell;
#[doc(hidden)]
pub mod split;
#[doc(hidden)]
pub mod storage;
#[doc(hidden)]
pub mod table;
#[doc(hidden)]
pub mod training;

pub use error::{Error, Result};
pub use session::{Arguments, Cotangents, DifferentiableFunction, FunctionType};
pub use session::{Database, Options, Outcome, Parameter, Session, Step, ToValue, TrainHandle, Trained, Training, Transaction, Value};
