//! The data files of a commit that is not yet done: kept when it succeeds, removed when it fails, swept when the process died.
//! It never hears of what is in them.

use super::{DATA, file};
use crate::error::{Error, Place, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Stands in the folder while a commit has files that no catalog row may ever name.
const MARKER: &str = "nabla.unfinished";

pub(super) struct Staged {
    data: PathBuf,
    marker: PathBuf,
    pub durable: bool,
    files: Vec<PathBuf>,
}

impl Staged {
    pub fn new(folder: &Path, durable: bool) -> Self {
        Self { data: folder.join(DATA), marker: folder.join(MARKER), durable, files: Vec::new() }
    }

    /// A path below the data folder for a new file, which is ours to remove until it is handed over.
    pub fn add(&mut self, folder: &str, name: &str) -> Result<PathBuf> {
        if self.files.is_empty() {
            let place = Place::File { path: self.marker.display().to_string(), line: None, column: None };
            std::fs::write(&self.marker, "").map_err(|e| Error::new(format!("cannot write: {e}")).at(place))?;
        }
        let path = self.data.join(folder).join(name);
        self.files.push(path.clone());
        Ok(path)
    }

    /// The files' names and the folders that they needed, after the files themselves.
    pub fn make_durable(&self) -> Result<()> {
        if !self.durable || self.files.is_empty() {
            return Ok(());
        }
        let mut folders = BTreeSet::from([self.data.as_path()]);
        for file in &self.files {
            folders.extend(file.ancestors().skip(1).take_while(|a| a.starts_with(&self.data)));
        }
        folders.into_iter().try_for_each(file::sync_folder)
    }

    pub fn hand_over(&mut self) {
        self.files.clear();
    }

    pub fn settle(&self) {
        // A marker that stays costs the next opening a sweep, and nothing else.
        let _ = std::fs::remove_file(&self.marker);
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.files.is_empty() {
            return;
        }
        // A file that cannot be removed is named by no catalog row: it takes room, and nothing else.
        self.files.iter().for_each(|path| drop(std::fs::remove_file(path)));
        self.settle();
    }
}

/// The name of a data file tells the snapshot that it was written for.
pub(super) fn name(version: i64, random: &str) -> String {
    format!("nabla-{version:010}-{random}.parquet")
}

/// The snapshot that a data file of ours was written for.
pub(super) fn version(name: &str) -> Option<i64> {
    name.strip_prefix("nabla-")?.split_once('-')?.0.parse().ok()
}

/// Removes what a process that was killed in the middle of a commit left: files of snapshots that never came to be.
/// Only for the one who holds the writer's lock.
pub(super) fn sweep(folder: &Path, latest: i64) {
    let marker = folder.join(MARKER);
    if !marker.exists() {
        return;
    }
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    for path in entries(&folder.join(DATA)).iter().flat_map(|schema| entries(schema)).flat_map(|table| entries(&table)) {
        let written_for = path.file_name().and_then(|n| n.to_str()).and_then(version);
        if written_for.is_some_and(|v| v > latest) {
            let _ = std::fs::remove_file(&path);
        }
    }
    let _ = std::fs::remove_file(marker);
}
