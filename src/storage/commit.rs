//! One commit: all changes of a statement become one DuckLake snapshot, or none of them happens.
//! It never hears of how a snapshot is read.
//!
//! Everything happens within one SQLite transaction that begins by taking the write lock. Data files are written and made durable
//! first; the catalog's rows that name them follow; the row in `ducklake_snapshot` comes last, and then COMMIT. A process that is
//! killed before COMMIT leaves files that no catalog row names: `staged` sweeps them when the database is opened next. One that is
//! killed during COMMIT leaves SQLite's journal, by which the next one to open the catalog undoes the half.
//! The crate's own writer has no commit that holds tags, views, emptied tables and new declarations, so the rows are written here,
//! as DuckLake's specification says, and the crate reads them.

use super::catalog::Catalog;
use super::staged::Staged;
use super::{Change, CommitMessage};
use crate::error::Result;
use std::path::Path;

/// A commit under way.
pub(super) struct Commit<'a> {
    pub catalog: &'a mut Catalog,
    pub staged: Staged,
    /// The snapshot that this commit becomes.
    pub version: i64,
    schema_version: i64,
    declared: bool,
    next_catalog_id: i64,
    next_file_id: i64,
    log: Vec<String>,
}

/// Commits, or leaves all as it was.
pub(super) async fn commit(
    catalog: &mut Catalog,
    folder: &Path,
    durable: bool,
    changes: Vec<Change>,
    message: &CommitMessage,
) -> Result<i64> {
    catalog.begin("BEGIN IMMEDIATE").await?;
    let done = attempt(catalog, folder, durable, changes, message).await;
    if done.is_err() {
        catalog.rollback().await?;
    }
    done
}

async fn attempt(catalog: &mut Catalog, folder: &Path, durable: bool, changes: Vec<Change>, message: &CommitMessage) -> Result<i64> {
    let mut commit = Commit::new(catalog, Staged::new(folder, durable)).await?;
    for change in changes {
        commit.apply(change).await?;
    }
    commit.finish(message).await
}

impl<'a> Commit<'a> {
    /// Numbers go on from where the latest snapshot left them; a writer that does not keep them is caught up with.
    async fn new(catalog: &'a mut Catalog, staged: Staged) -> Result<Self> {
        let head = sqlx::query_as(
            "SELECT snapshot_id, schema_version,
                    MAX(COALESCE(next_catalog_id, 0), 1 + (SELECT MAX(id) FROM (
                        SELECT MAX(schema_id) AS id FROM ducklake_schema UNION ALL SELECT MAX(table_id) FROM ducklake_table
                        UNION ALL SELECT MAX(view_id) FROM ducklake_view))),
                    MAX(COALESCE(next_file_id, 0), 1 + MAX(
                        COALESCE((SELECT MAX(data_file_id) FROM ducklake_data_file), -1),
                        COALESCE((SELECT MAX(delete_file_id) FROM ducklake_delete_file), -1)))
             FROM ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1",
        );
        let (latest, schema_version, next_catalog_id, next_file_id): (i64, i64, i64, i64) = catalog.one(head).await?;
        let (version, declared, log) = (latest + 1, false, Vec::new());
        Ok(Self { catalog, staged, version, schema_version, declared, next_catalog_id, next_file_id, log })
    }

    async fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::CreateTable { definition, rows } => {
                let table = self.create_table(&definition).await?;
                self.append(&table, rows).await
            }
            Change::AlterTable { definition, rows } => {
                let table = self.existing_table(&definition.schema, &definition.name).await?;
                self.alter_table(&table, &definition, rows.is_some()).await?;
                match rows {
                    Some(rows) => self.replace(&table, rows).await,
                    None => Ok(()),
                }
            }
            Change::DropTable { schema, name } => {
                let table = self.existing_table(&schema, &name).await?;
                self.drop_table(&table).await
            }
            Change::Append { schema, name, rows } => {
                let table = self.existing_table(&schema, &name).await?;
                self.append(&table, rows).await
            }
            Change::Replace { schema, name, rows } => {
                let table = self.existing_table(&schema, &name).await?;
                self.replace(&table, rows).await
            }
            Change::CreateView(view) => self.create_view(&view).await,
            Change::DropView { schema, name } => self.drop_view(&schema, &name).await,
        }
    }

    async fn finish(mut self, message: &CommitMessage) -> Result<i64> {
        self.staged.make_durable()?;
        let snapshot = sqlx::query(
            "INSERT INTO ducklake_snapshot (snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id)
             VALUES (?, strftime('%Y-%m-%d %H:%M:%f+00', 'now'), ?, ?, ?)",
        );
        let snapshot = snapshot.bind(self.version).bind(self.schema_version).bind(self.next_catalog_id).bind(self.next_file_id);
        self.catalog.run(snapshot).await?;
        let changes = sqlx::query(
            "INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made, author, commit_message, commit_extra_info)
             VALUES (?, ?, ?, ?, ?)",
        );
        let changes = changes.bind(self.version).bind(self.log.join(",")).bind(&message.author).bind(&message.message);
        self.catalog.run(changes.bind(&message.extra_info)).await?;
        // From here on it is SQLite that knows whether the files count.
        self.staged.hand_over();
        self.catalog.commit().await?;
        self.staged.settle();
        Ok(self.version)
    }

    /// Notes what was done in DuckLake's words, each thing once.
    pub(super) fn note(&mut self, done: String) {
        if !self.log.contains(&done) {
            self.log.push(done);
        }
    }

    /// The version of all declarations, one up from the latest snapshot's.
    pub(super) fn declare(&mut self) -> i64 {
        self.schema_version += i64::from(!self.declared);
        self.declared = true;
        self.schema_version
    }

    pub(super) fn catalog_id(&mut self) -> i64 {
        self.next_catalog_id += 1;
        self.next_catalog_id - 1
    }

    pub(super) fn file_id(&mut self) -> i64 {
        self.next_file_id += 1;
        self.next_file_id - 1
    }

    /// 32 hexadecimal digits that nobody else has.
    pub(super) async fn random(&mut self) -> Result<String> {
        let (digits,): (String,) = self.catalog.one(sqlx::query_as("SELECT lower(hex(randomblob(16)))")).await?;
        Ok(digits)
    }

    pub(super) async fn uuid(&mut self) -> Result<String> {
        let r = self.random().await?;
        Ok(format!("{}-{}-4{}-a{}-{}", &r[..8], &r[8..12], &r[13..16], &r[17..20], &r[20..]))
    }
}
