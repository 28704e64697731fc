//! One writer at a time: a locked file in the folder that names the process which holds it.
//! It never hears of what is written.

use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

/// The file's name in the database folder.
pub(super) const FILE: &str = "nabla.lock";

/// The right to write. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    pub fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let failed = |e: std::io::Error| {
            Error::new(format!("cannot lock the database {}: {e}", folder.display()))
                .hint("check the folder's permissions, or open it with --read-only")
        };
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(folder, &path)),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn held(folder: &Path, path: &Path) -> Error {
    let owner = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let folder = folder.display();
    let what = match owner {
        Some(pid) if pid == std::process::id() => format!("database {folder} is already open for writing in this process (pid {pid})"),
        Some(pid) => format!("database {folder} is open for writing in another process (pid {pid})"),
        None => format!("database {folder} is open for writing in another process"),
    };
    Error::new(what).hint("close it there, or open the database with --read-only")
}
