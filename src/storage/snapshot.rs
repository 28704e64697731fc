//! What the database holds at one version: definitions, views, and providers that read the rows.
//! It never hears of changes or locks.

use super::cached::Cached;
use super::catalog::Catalog;
use super::column::{CatalogColumn, Parts};
use super::declaration::{self, Described, Tags};
use super::pending::{self, Changed};
use super::provider::{DataFolder, StoredTable, without_turns};
use super::{Change, ViewDefinition, file};
use crate::error::{Error, Result};
use crate::table::TableDefinition;
use datafusion::catalog::TableProvider;
use datafusion_ducklake::{DuckLakeError, DuckLakeTable, MetadataProvider};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The database at one version. Cheap to clone; what is committed later does not show in it.
#[derive(Clone)]
pub struct Snapshot(Arc<Loaded>);

struct Loaded {
    version: i64,
    /// The version whose files are read.
    stored: i64,
    contents: Contents,
    /// Tables that another program made with types that we do not have.
    unreadable: Vec<(String, String, Error)>,
    reader: Reader,
    providers: Arc<Mutex<HashMap<i64, Arc<dyn TableProvider>>>>,
}

#[derive(Clone)]
pub(super) struct Contents {
    pub tables: Vec<TableDefinition>,
    /// Where each of `tables` lies, in the same order.
    pub places: Vec<Place>,
    pub views: Vec<ViewDefinition>,
}

impl Contents {
    pub fn position(&self, schema: &str, name: &str) -> Option<usize> {
        self.tables.iter().position(|t| t.schema == schema && t.name == name)
    }
}

/// Where the rows of a table are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Stored(Stored),
    Changed(Arc<Changed>),
}

/// Files, below the data folder.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    table_id: i64,
    folder: String,
}

/// What the DuckLake crate reads a database by.
#[derive(Clone)]
pub(super) struct Reader {
    pub catalog: Arc<dyn MetadataProvider>,
    pub data: PathBuf,
    pub folder: DataFolder,
}

impl Snapshot {
    /// The number of the DuckLake snapshot; with changes, the one that they will be.
    pub fn version(&self) -> i64 {
        self.0.version
    }

    /// Whether two are the same contents: clones are.
    pub fn is(&self, other: &Snapshot) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What the database is when these changes are committed over this version. Their rows stay in memory.
    ///
    /// # Errors
    /// A change is of a table that is not there.
    pub fn changed(&self, changes: &[Change], version: i64) -> Result<Self> {
        let Loaded { contents, unreadable, reader, providers, stored, .. } = self.0.as_ref();
        let mut contents = contents.clone();
        changes.iter().try_for_each(|change| pending::apply(&mut contents, change))?;
        let (unreadable, reader, providers) = (unreadable.clone(), reader.clone(), providers.clone());
        Ok(Self(Arc::new(Loaded { version, stored: *stored, contents, unreadable, reader, providers })))
    }

    /// All tables, of users and of the engine (schemas `main` and `nabla`), in the order of their making.
    pub fn tables(&self) -> &[TableDefinition] {
        &self.0.contents.tables
    }

    pub fn table(&self, schema: &str, name: &str) -> Option<&TableDefinition> {
        self.position(schema, name).map(|i| &self.0.contents.tables[i])
    }

    pub fn views(&self) -> &[ViewDefinition] {
        &self.0.contents.views
    }

    /// A provider that reads the rows of a table, in the order of their insertion where `target_partitions` is 1.
    /// A missing or damaged data file is an error here, not in the middle of a query.
    pub async fn provider(&self, schema: &str, name: &str) -> Result<Arc<dyn TableProvider>> {
        without_turns(self.opened(schema, name)).await
    }

    async fn opened(&self, schema: &str, name: &str) -> Result<Arc<dyn TableProvider>> {
        let Some(at) = self.0.contents.position(schema, name) else { return Err(self.missing(schema, name)) };
        self.provider_of(&self.0.contents.places[at], &self.0.contents.tables[at]).await
    }

    pub(super) async fn provider_of(&self, place: &Place, table: &TableDefinition) -> Result<Arc<dyn TableProvider>> {
        let place = match place {
            Place::Stored(place) => place,
            Place::Changed(changed) => return changed.provider(self, table).await,
        };
        let providers = || self.0.providers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = providers().get(&place.table_id) {
            return Ok(known.clone());
        }
        let (schema, name) = (&table.schema, &table.name);
        let rows = self.open(place, schema, name)?;
        for (path, bytes, _) in self.files(&rows, place, schema, name)? {
            file::check(&path, bytes)?;
        }
        let provider: Arc<dyn TableProvider> = Arc::new(StoredTable { rows, folder: self.0.reader.folder.clone() });
        providers().insert(place.table_id, provider.clone());
        Ok(provider)
    }

    /// Reads every row of every table, and names all files that are missing or damaged.
    pub async fn check(&self) -> Result<()> {
        without_turns(self.checked()).await
    }

    async fn checked(&self) -> Result<()> {
        let mut errors = Vec::new();
        for (table, place) in self.0.contents.tables.iter().zip(&self.0.contents.places) {
            let Place::Stored(place) = place else { continue };
            let rows = self.open(place, &table.schema, &table.name)?;
            for (path, bytes, rows) in self.files(&rows, place, &table.schema, &table.name)? {
                errors.extend(file::check(&path, bytes).and_then(|()| file::check_rows(&path, rows)).err());
            }
        }
        Error::all(errors).map_or(Ok(()), Err)
    }

    fn open(&self, place: &Stored, schema: &str, name: &str) -> Result<DuckLakeTable> {
        let Reader { catalog, folder, .. } = &self.0.reader;
        let catalog = Arc::new(Cached::new(catalog.clone()));
        DuckLakeTable::new(place.table_id, name, catalog, self.0.stored, folder.url.clone(), place.folder.clone())
            .map_err(|e| unreadable(schema, name, e))
    }

    /// The path, size in bytes and number of rows of each data file.
    fn files(&self, table: &DuckLakeTable, place: &Stored, schema: &str, name: &str) -> Result<Vec<(PathBuf, i64, i64)>> {
        let within = self.0.reader.data.join(&place.folder);
        let described = table.files().map_err(|e| unreadable(schema, name, e))?.into_iter().map(|f| {
            if !f.file.path_is_relative {
                let e = Error::new(format!("table {schema}.{name} has a file outside of the database folder: {}", f.file.path));
                return Err(e.hint("another program added it; copy its rows into the table instead"));
            }
            Ok((within.join(&f.file.path), f.file.file_size_bytes, f.max_row_count.unwrap_or_default()))
        });
        described.collect()
    }

    fn missing(&self, schema: &str, name: &str) -> Error {
        let known = self.0.unreadable.iter().find(|(s, n, _)| s == schema && n == name);
        known.map_or_else(|| Error::new(format!("there is no table {schema}.{name}")), |(_, _, e)| e.clone())
    }

    fn position(&self, schema: &str, name: &str) -> Option<usize> {
        self.0.contents.position(schema, name)
    }

    /// Reads all definitions of a version, within the catalog's open transaction.
    pub(super) async fn load(catalog: &mut Catalog, version: i64, reader: Reader) -> Result<Self> {
        let mut columns = columns(catalog, version).await?;
        let mut tags = tags(catalog, version).await?;
        let (mut tables, mut places, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (table_id, schema, name, folder) in table_rows(catalog, version).await? {
            let rows = columns.remove(&table_id).unwrap_or_default();
            let parts = Parts::of(&rows);
            let described = parts.columns().iter().map(|c| {
                let (id, name, nullable) = (c.id, c.name.clone(), c.nullable);
                Ok(Described { id, name, data_type: parts.data_type(c)?, nullable })
            });
            let described = described.collect::<Result<Vec<_>>>();
            let tags = tags.remove(&table_id).unwrap_or_default();
            match described.and_then(|columns| declaration::table(&schema, &name, &tags, columns)) {
                Ok(table) => {
                    tables.push(table);
                    places.push(Place::Stored(Stored { table_id, folder }));
                }
                Err(e) => unreadable.push((schema, name, e)),
            }
        }
        let views = views(catalog, version).await?;
        let contents = Contents { tables, places, views };
        Ok(Self(Arc::new(Loaded { version, stored: version, contents, unreadable, reader, providers: Arc::default() })))
    }
}

fn unreadable(schema: &str, name: &str, e: DuckLakeError) -> Error {
    Error::new(format!("table {schema}.{name} cannot be read: {e}"))
}

async fn table_rows(catalog: &mut Catalog, version: i64) -> Result<Vec<(i64, String, String, String)>> {
    let rows: Vec<(i64, String, String, String, String)> = catalog
        .all(
            sqlx::query_as(
                "SELECT t.table_id, s.schema_name, t.table_name, s.path, t.path FROM ducklake_table t JOIN ducklake_schema s USING (schema_id)
                 WHERE t.begin_snapshot <= ?1 AND (t.end_snapshot IS NULL OR t.end_snapshot > ?1)
                   AND s.begin_snapshot <= ?1 AND (s.end_snapshot IS NULL OR s.end_snapshot > ?1)
                 ORDER BY t.table_id",
            )
            .bind(version),
        )
        .await?;
    Ok(rows.into_iter().map(|(id, schema, name, s, t)| (id, schema, name, s + &t)).collect())
}

async fn columns(catalog: &mut Catalog, version: i64) -> Result<HashMap<i64, Vec<CatalogColumn>>> {
    let rows: Vec<(i64, i64, Option<i64>, String, String, bool)> = catalog
        .all(
            sqlx::query_as(
                "SELECT table_id, column_id, parent_column, column_name, column_type, nulls_allowed FROM ducklake_column
                 WHERE begin_snapshot <= ?1 AND (end_snapshot IS NULL OR end_snapshot > ?1) ORDER BY table_id, column_order",
            )
            .bind(version),
        )
        .await?;
    let mut columns: HashMap<_, Vec<_>> = HashMap::new();
    for (table, id, parent, name, type_name, nullable) in rows {
        columns.entry(table).or_default().push(CatalogColumn { id, parent, name, type_name, nullable });
    }
    Ok(columns)
}

async fn tags(catalog: &mut Catalog, version: i64) -> Result<HashMap<i64, Tags>> {
    let rows: Vec<(i64, String, String)> = catalog
        .all(
            sqlx::query_as(
                "SELECT object_id, key, value FROM ducklake_tag
                 WHERE begin_snapshot <= ?1 AND (end_snapshot IS NULL OR end_snapshot > ?1) AND key LIKE ?2 AND value IS NOT NULL",
            )
            .bind(version)
            .bind(declaration::OURS),
        )
        .await?;
    let mut tags: HashMap<_, Tags> = HashMap::new();
    for (table, key, value) in rows {
        tags.entry(table).or_default().insert(key, value);
    }
    Ok(tags)
}

async fn views(catalog: &mut Catalog, version: i64) -> Result<Vec<ViewDefinition>> {
    let rows: Vec<(String, String, String)> = catalog
        .all(
            sqlx::query_as(
                "SELECT s.schema_name, v.view_name, v.sql FROM ducklake_view v JOIN ducklake_schema s USING (schema_id)
                 WHERE v.begin_snapshot <= ?1 AND (v.end_snapshot IS NULL OR v.end_snapshot > ?1)
                   AND s.begin_snapshot <= ?1 AND (s.end_snapshot IS NULL OR s.end_snapshot > ?1)
                 ORDER BY v.view_id",
            )
            .bind(version),
        )
        .await?;
    Ok(rows.into_iter().map(|(schema, name, sql)| ViewDefinition { schema, name, sql }).collect())
}
