//! The members of a pool over TLS, whose join files all processes of a run find.

use std::fs;
use std::os::unix::process::parent_id;
use std::path::PathBuf;

use chargehand::tls::members::{Authority, Members, Role};

/// The worker's name, and that of any number of instances before a slash.
pub(crate) const WORKER: &str = "w";

/// The join files. They go when this is dropped.
pub(crate) struct JoinFiles(PathBuf);

impl JoinFiles {
    /// Makes them, for the processes that this one starts.
    pub(crate) fn make() -> Self {
        let folder = folder(std::process::id());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a temporary directory");
        let files = Self(folder);
        let path = |name| files.0.join(name);
        let authority = Authority::create(path("authority")).expect("a new file");
        authority.join(Role::Pool, "m").write(path("m.join")).expect("a new file");
        authority.join(Role::Worker, WORKER).write(path("w.join")).expect("a new file");
        files
    }
}

impl Drop for JoinFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("chargehand-bench-{process}"))
}

/// Returns the manager's end.
pub(crate) fn pool() -> Members {
    Members::pool(folder(parent_id()).join("m.join")).expect("the run's join file")
}

/// Returns the worker's end.
pub(crate) fn worker() -> Members {
    Members::worker(folder(parent_id()).join("w.join")).expect("the run's join file")
}
