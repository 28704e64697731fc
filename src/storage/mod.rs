//! Tables to DuckLake and back: commit all or nothing, and the history of runs.
//! This room never hears of SQL statements, gradients or training.
//!
//! A database is a folder:
//!
//! ```text
//! catalog.sqlite          DuckLake 1.0's catalog: which tables, columns, tags, views and files there are at each version
//! data/<schema>/<table>/  Parquet files, written once and never changed
//! nabla.lock              held by the process that may write, and names it
//! nabla.unfinished        there only during a commit; found later, it tells that a process died in one
//! ```
//!
//! The folder may be moved. DuckDB attaches it with
//! `ATTACH 'ducklake:sqlite:<folder>/catalog.sqlite' AS db (DATA_PATH '<folder>/data/', OVERRIDE_DATA_PATH true)`, and without the
//! options where it lay when it was last opened for writing.
//!
//! What the catalog has no column for (learnable columns, dimensions, defaults, bounds, keys, checks) are tags of tables and columns,
//! listed in `declaration`. How a commit is atomic is told in `commit`.

mod cached;
mod catalog;
mod column;
mod commit;
mod database;
mod declaration;
mod declare;
mod file;
pub mod history;
mod lock;
mod page_index;
mod pending;
mod provider;
mod rows;
mod snapshot;
mod staged;
#[cfg(test)]
mod tests;

pub use column::stored_type;
pub use database::Database;
pub use snapshot::Snapshot;

use crate::table::TableDefinition;
use arrow::array::RecordBatch;

/// The folder of Parquet files in the database folder.
const DATA: &str = "data";

/// What may be done with an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadWrite,
    /// Takes no lock, changes nothing, and sees what is committed when each snapshot is taken.
    ReadOnly,
}

/// What the catalog keeps about a commit: who, why, and anything that identifies it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitMessage {
    pub author: String,
    pub message: String,
    pub extra_info: Option<String>,
}

/// A named query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDefinition {
    pub schema: String,
    pub name: String,
    pub sql: String,
}

/// One change of the database. Rows come as the definition declares them; their types are converted where storage has another
/// layout for them, see [`stored_type`].
#[derive(Debug, Clone)]
pub enum Change {
    CreateTable {
        definition: TableDefinition,
        rows: Vec<RecordBatch>,
    },
    /// A new declaration of an existing table. Columns are known by their names: what is new in the definition is added, what is
    /// missing is dropped. `rows` replace all rows; with `None` the data stay, and a new column reads as NULL.
    AlterTable {
        definition: TableDefinition,
        rows: Option<Vec<RecordBatch>>,
    },
    DropTable {
        schema: String,
        name: String,
    },
    Append {
        schema: String,
        name: String,
        rows: Vec<RecordBatch>,
    },
    /// All rows are replaced; without `rows` the table is emptied.
    Replace {
        schema: String,
        name: String,
        rows: Vec<RecordBatch>,
    },
    CreateView(ViewDefinition),
    DropView {
        schema: String,
        name: String,
    },
}
