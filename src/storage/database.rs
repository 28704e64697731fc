//! A database folder, open: found or made, locked by its one writer, read at a version, changed by commits.
//! It never hears of the catalog's tables or of file formats.

use super::catalog::{self, Catalog};
use super::lock::WriterLock;
use super::provider::DataFolder;
use super::snapshot::Reader;
use super::{Access, Change, CommitMessage, DATA, Snapshot, commit, history, lock, staged};
use crate::error::{Error, Result};
use datafusion_ducklake::SqliteMetadataProvider;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// An open database.
///
/// ```
/// # tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
/// use nabladb::storage::{Change, CommitMessage, Database, ViewDefinition};
/// let database = Database::temporary().await?;
/// let view = ViewDefinition { schema: "main".into(), name: "one".into(), sql: "SELECT 1".into() };
/// let version = database.commit(vec![Change::CreateView(view)], CommitMessage::default()).await?;
/// assert_eq!(database.snapshot().await?.version(), version);
/// # Ok::<(), nabladb::Error>(()) }).expect("a view is made");
/// ```
pub struct Database {
    folder: PathBuf,
    access: Access,
    open: Mutex<Open>,
    reader: Reader,
    past: Option<Past>,
    // In this order: the lock goes when all else is closed, and the folder after it.
    _lock: Option<WriterLock>,
    temporary: Option<TempDir>,
}

/// What a database shows that is not as it is now.
struct Past {
    snapshot: Snapshot,
    /// Keeps the folder.
    _present: Arc<Database>,
}

struct Open {
    catalog: Catalog,
    latest: Option<Snapshot>,
}

impl Database {
    /// Opens a database folder, and makes it when it is missing or empty and may be written.
    pub async fn open(path: &Path, access: Access) -> Result<Self> {
        match (Found::at(path)?, access) {
            (Found::Database, _) => {}
            (Found::Nothing, Access::ReadOnly) => {
                let e = Error::new(format!("there is no database at {}", path.display()));
                return Err(e.hint("check the path, or open it without --read-only to make a database there"));
            }
            (Found::Nothing, Access::ReadWrite) => {
                let failed = |e| Error::new(format!("cannot make the folder {}: {e}", path.display()));
                std::fs::create_dir_all(path).map_err(failed)?;
            }
        }
        Self::open_existing(path, access, None).await
    }

    /// A database in a temporary folder, which is removed with it.
    pub async fn temporary() -> Result<Self> {
        let folder = TempDir::with_prefix("nabla-").map_err(|e| Error::new(format!("cannot make a temporary folder: {e}")))?;
        let path = folder.path().to_path_buf();
        Self::open_existing(&path, Access::ReadWrite, Some(folder)).await
    }

    /// The same database as it was at a version, for reading only.
    pub async fn at(self: &Arc<Self>, version: i64) -> Result<Self> {
        let mut catalog = catalog::connect(&self.folder, Access::ReadOnly).await?;
        catalog.begin("BEGIN").await?;
        let loaded = self.loaded(&mut catalog, version).await;
        catalog.rollback().await?;
        let past = Some(Past { snapshot: loaded?, _present: self.clone() });
        let (folder, reader, open) = (self.folder.clone(), self.reader.clone(), Mutex::new(Open { catalog, latest: None }));
        Ok(Self { folder, access: Access::ReadOnly, open, reader, past, _lock: None, temporary: None })
    }

    async fn loaded(&self, catalog: &mut Catalog, version: i64) -> Result<Snapshot> {
        let query = sqlx::query_as("SELECT snapshot_id FROM ducklake_snapshot WHERE snapshot_id = ?").bind(version);
        let found: Option<(i64,)> = catalog.first(query).await?;
        if found.is_none() {
            let newest = newest(catalog).await?;
            return Err(Error::new(format!("the database has no version {version}")).hint(format!("its newest version is {newest}")));
        }
        Snapshot::load(catalog, version, self.reader.clone()).await
    }

    pub fn access(&self) -> Access {
        self.access
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database as it is now, or at its version: all definitions, and providers to read them.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        if let Some(past) = &self.past {
            return Ok(past.snapshot.clone());
        }
        let mut open = self.open.lock().await;
        let Open { catalog, latest } = &mut *open;
        catalog.settle().await?;
        if let Some(snapshot) = latest
            && snapshot.version() == newest(catalog).await?
        {
            return Ok(snapshot.clone());
        }
        catalog.begin("BEGIN").await?;
        let loaded = self.load(catalog).await;
        catalog.rollback().await?;
        Ok(latest.insert(loaded?).clone())
    }

    /// Commits all changes as one version, or none of them, and returns the version's number. Without changes there is no new one.
    pub async fn commit(&self, changes: Vec<Change>, message: CommitMessage) -> Result<i64> {
        if changes.is_empty() {
            return Ok(self.snapshot().await?.version());
        }
        if self.access == Access::ReadOnly {
            let e = Error::new(format!("database {} is open for reading only", self.folder.display()));
            return Err(e.hint("open it without --read-only to change it"));
        }
        let mut open = self.open.lock().await;
        let durable = self.temporary.is_none();
        commit::commit(&mut open.catalog, &self.folder, durable, changes, &message).await
    }

    async fn load(&self, catalog: &mut Catalog) -> Result<Snapshot> {
        let version = newest(catalog).await?;
        Snapshot::load(catalog, version, self.reader.clone()).await
    }

    async fn open_existing(path: &Path, access: Access, temporary: Option<TempDir>) -> Result<Self> {
        let folder = path.canonicalize().map_err(|e| Error::new(format!("cannot open {}: {e}", path.display())))?;
        if folder.to_str().is_none() {
            return Err(Error::new(format!("the path {} is not UTF-8", path.display())).hint("rename the folder"));
        }
        let lock = match access {
            Access::ReadWrite => Some(WriterLock::acquire(&folder)?),
            Access::ReadOnly => None,
        };
        let data = folder.join(DATA);
        if access == Access::ReadWrite {
            let failed = |e| Error::new(format!("cannot make the folder {}: {e}", data.display()));
            std::fs::create_dir_all(&data).map_err(failed)?;
            if !folder.join(catalog::FILE).exists() {
                catalog::create(&folder).await?;
            }
        }
        let catalog = catalog::connect(&folder, access).await?;
        let reader = Arc::new(SqliteMetadataProvider::from_pool(catalog::pool(&folder)));
        let reader = Reader { catalog: reader, folder: DataFolder::open(&data)?, data };
        let open = Mutex::new(Open { catalog, latest: None });
        let database = Self { folder, access, open, reader, past: None, _lock: lock, temporary };
        database.settle().await?;
        Ok(database)
    }

    /// What a writer puts right when it opens a database: leavings of a killed process, the path of a moved folder, missing history.
    async fn settle(&self) -> Result<()> {
        let snapshot = self.snapshot().await?;
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        staged::sweep(&self.folder, snapshot.version());
        self.settle_path().await?;
        let missing = [history::runs(), history::steps()].into_iter().filter(|t| snapshot.table(&t.schema, &t.name).is_none());
        let changes: Vec<Change> = missing.map(|definition| Change::CreateTable { definition, rows: Vec::new() }).collect();
        let message = CommitMessage { author: "nabladb".into(), message: "the history of runs".into(), extra_info: None };
        self.commit(changes, message).await.map(drop)
    }

    /// Other readers of DuckLake take the data's folder from the catalog, and it has to be absolute for them.
    async fn settle_path(&self) -> Result<()> {
        let here = format!("{}/", self.folder.join(DATA).display());
        let catalog = &mut self.open.lock().await.catalog;
        let query = "SELECT value FROM ducklake_metadata WHERE key = 'data_path' AND scope IS NULL";
        let stored: Option<(String,)> = catalog.first(sqlx::query_as(query)).await?;
        if stored.is_some_and(|(path,)| path == here) {
            return Ok(());
        }
        catalog.begin("BEGIN IMMEDIATE").await?;
        catalog.run(sqlx::query("DELETE FROM ducklake_metadata WHERE key = 'data_path' AND scope IS NULL")).await?;
        catalog.run(sqlx::query("INSERT INTO ducklake_metadata (key, value) VALUES ('data_path', ?)").bind(here)).await?;
        catalog.commit().await
    }
}

async fn newest(catalog: &mut Catalog) -> Result<i64> {
    let (version,): (i64,) = catalog.one(sqlx::query_as("SELECT MAX(snapshot_id) FROM ducklake_snapshot")).await?;
    Ok(version)
}

/// What lies where a database is to be opened.
enum Found {
    Database,
    /// Nothing, an empty folder, or what is left of one in which a database was never finished.
    Nothing,
}

impl Found {
    fn at(path: &Path) -> Result<Self> {
        let cannot = |e: std::io::Error| Error::new(format!("cannot open {}: {e}", path.display()));
        let entries = match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(e) => return Err(cannot(e)),
            Ok(found) if !found.is_dir() => {
                let e = Error::new(format!("{} is a file, and a database is a folder", path.display()));
                return Err(e.hint("name a folder; a file is read with SELECT ... FROM 'file'"));
            }
            Ok(_) => std::fs::read_dir(path).map_err(cannot)?,
        };
        let names =
            entries.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
        if names.iter().any(|name| name == catalog::FILE) {
            return Ok(Self::Database);
        }
        let unfinished = |name: &String| {
            let empty_data = name == DATA && std::fs::read_dir(path.join(DATA)).is_ok_and(|mut d| d.next().is_none());
            name == lock::FILE || name.starts_with(catalog::NEW_FILE) || empty_data
        };
        if names.iter().all(unfinished) {
            return Ok(Self::Nothing);
        }
        let e = Error::new(format!("folder {} is not a NablaDB database", path.display()));
        Err(e.hint("name a new or empty folder, or one that has a catalog.sqlite"))
    }
}
