//! The SQLite catalog: made whole or not at all, opened durably, and read and written one transaction at a time.
//! It never hears of table definitions, rows or Parquet.

use crate::error::{Error, Place, Result};
use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, FromRow};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Access;

/// The catalog's file name in the database folder.
pub(super) const FILE: &str = "catalog.sqlite";
/// Its name while it is being made: what bears this name was never a database.
pub(super) const NEW_FILE: &str = "catalog.sqlite.new";

const TABLES: &str = include_str!("catalog.sql");

/// The first snapshot of every DuckLake: the schema `main`, and nothing in it.
const FIRST_SNAPSHOT: &str = "
    INSERT INTO ducklake_metadata (key, value) VALUES ('version', '1.0'), ('created_by', 'NablaDB'), ('encrypted', 'false');
    INSERT INTO ducklake_snapshot VALUES (0, strftime('%Y-%m-%d %H:%M:%f+00', 'now'), 0, 1, 0);
    INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made) VALUES (0, 'created_schema:\"main\"');
    INSERT INTO ducklake_schema (schema_id, schema_uuid, begin_snapshot, schema_name, path, path_is_relative)
        VALUES (0, lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
            || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), 0, 'main', 'main/', 1);
";

/// How long a statement waits for another process that is committing.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to the catalog. A transaction that its owner abandoned is rolled back before the next one begins (`settle`).
pub(super) struct Catalog {
    path: PathBuf,
    connection: SqliteConnection,
    in_transaction: bool,
}

/// Makes a catalog beside its final name and then moves it there, so that a folder has a whole catalog or none.
pub(super) async fn create(folder: &Path) -> Result<()> {
    let new = folder.join(NEW_FILE);
    let failed = |e: std::io::Error| Error::new(format!("cannot make a database in folder {}: {e}", folder.display()));
    if new.exists() {
        std::fs::remove_file(&new).map_err(failed)?;
    }
    let options = options(&new, Access::ReadWrite).create_if_missing(true);
    let mut catalog = Catalog::open(&new, options).await?;
    catalog.begin("BEGIN IMMEDIATE").await?;
    catalog.script(TABLES).await?;
    catalog.script(FIRST_SNAPSHOT).await?;
    catalog.commit().await?;
    catalog.close().await?;
    std::fs::rename(&new, folder.join(FILE)).map_err(failed)?;
    super::file::sync_folder(folder)
}

/// Opens the catalog of an existing database, and checks that it is one.
pub(super) async fn connect(folder: &Path, access: Access) -> Result<Catalog> {
    let path = folder.join(FILE);
    let mut catalog = Catalog::open(&path, options(&path, access)).await?;
    let version: Option<(String,)> =
        catalog.first(sqlx::query_as("SELECT value FROM ducklake_metadata WHERE key = 'version' AND scope IS NULL")).await?;
    match version {
        Some((version,)) if version.starts_with("1.") => {}
        Some((version,)) => {
            let e = Error::new(format!("the catalog follows DuckLake {version}, and this NablaDB reads DuckLake 1"));
            return Err(e.at(place(&path)).hint("open the folder with the NablaDB that wrote it"));
        }
        None => return Err(damaged(&path, "it has no DuckLake version")),
    }
    Ok(catalog)
}

/// Connections for the DuckLake reader, made when it asks for them.
pub(super) fn pool(folder: &Path) -> SqlitePool {
    let options = options(&folder.join(FILE), Access::ReadOnly);
    SqlitePoolOptions::new().max_connections(4).acquire_timeout(PATIENCE).connect_lazy_with(options)
}

/// A reader, too, opens the file as a writer where it may (SQLite falls back by itself): only so can it undo the half of a commit
/// that a killed process left. Beyond that, `query_only` keeps it from writing.
fn options(path: &Path, access: Access) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).disable_statement_logging();
    match access {
        Access::ReadWrite => options.journal_mode(SqliteJournalMode::Delete).synchronous(SqliteSynchronous::Full),
        Access::ReadOnly => options.pragma("query_only", "1"),
    }
}

impl Catalog {
    async fn open(path: &Path, options: SqliteConnectOptions) -> Result<Self> {
        let connection = options.connect().await.map_err(|e| failure(path, e))?;
        Ok(Self { path: path.to_path_buf(), connection, in_transaction: false })
    }

    async fn close(self) -> Result<()> {
        self.connection.close().await.map_err(|e| failure(&self.path, e))
    }

    pub(super) async fn begin(&mut self, how: &'static str) -> Result<()> {
        self.settle().await?;
        // Before it is asked for: whoever gives up meanwhile leaves one that may have begun.
        self.in_transaction = true;
        let begun = self.script(how).await;
        self.in_transaction = begun.is_ok();
        begun
    }

    /// Ends a transaction that its owner abandoned.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if self.in_transaction { self.rollback().await } else { Ok(()) }
    }

    pub(super) async fn commit(&mut self) -> Result<()> {
        self.script("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<()> {
        self.in_transaction = false;
        // SQLite may have ended the transaction itself; then there is nothing to roll back.
        match self.script("ROLLBACK").await {
            Err(e) if e.to_string().contains("no transaction is active") => Ok(()),
            done => done,
        }
    }

    pub(super) async fn script(&mut self, sql: &'static str) -> Result<()> {
        let done = sqlx::raw_sql(sql).execute(&mut self.connection).await;
        done.map(drop).map_err(|e| failure(&self.path, e))
    }

    pub(super) async fn run(&mut self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<()> {
        query.execute(&mut self.connection).await.map(drop).map_err(|e| failure(&self.path, e))
    }

    pub(super) async fn all<T>(&mut self, query: QueryAs<'_, Sqlite, T, SqliteArguments>) -> Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> FromRow<'r, SqliteRow>,
    {
        query.fetch_all(&mut self.connection).await.map_err(|e| failure(&self.path, e))
    }

    pub(super) async fn first<T>(&mut self, query: QueryAs<'_, Sqlite, T, SqliteArguments>) -> Result<Option<T>>
    where
        T: Send + Unpin + for<'r> FromRow<'r, SqliteRow>,
    {
        query.fetch_optional(&mut self.connection).await.map_err(|e| failure(&self.path, e))
    }

    pub(super) async fn one<T>(&mut self, query: QueryAs<'_, Sqlite, T, SqliteArguments>) -> Result<T>
    where
        T: Send + Unpin + for<'r> FromRow<'r, SqliteRow>,
    {
        query.fetch_one(&mut self.connection).await.map_err(|e| failure(&self.path, e))
    }
}

fn failure(path: &Path, error: sqlx::Error) -> Error {
    let message = match &error {
        sqlx::Error::Database(e) => e.message().to_string(),
        other => other.to_string(),
    };
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<u32>().ok()).map(|c| c & 0xff);
    match code {
        Some(SQLITE_BUSY | SQLITE_LOCKED) => Error::new("the catalog is busy: another process holds it")
            .at(place(path))
            .hint("close the other program, or try again when its commit is done"),
        Some(SQLITE_READONLY | SQLITE_PERM | SQLITE_CANTOPEN) => {
            Error::new(format!("the catalog cannot be opened or written: {message}")).at(place(path)).hint("check the folder's permissions")
        }
        Some(SQLITE_FULL) => Error::new("the disk is full").at(place(path)).hint("free some space; nothing was changed"),
        Some(SQLITE_IOERR) => Error::new(format!("the catalog cannot be read or written: {message}")).at(place(path)),
        _ => damaged(path, &message),
    }
}

const SQLITE_PERM: u32 = 3;
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_READONLY: u32 = 8;
const SQLITE_IOERR: u32 = 10;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;

/// The error for a catalog whose content contradicts itself.
pub(super) fn damaged(path: &Path, reason: &str) -> Error {
    Error::new(format!("the catalog is damaged: {reason}")).at(place(path)).hint("restore the database folder from a backup")
}

fn place(path: &Path) -> Place {
    Place::File { path: path.display().to_string(), line: None, column: None }
}
