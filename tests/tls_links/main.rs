//! Links of members over TLS, over real sockets: handshakes that are cut off at each byte, and what goes over any
//! other link, too.

mod carried;
mod truncated;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use chargehand::tls::members::{Authority, Members, Role};

/// A pool `m1` and a worker `w1` of one authority.
fn members() -> (Members, Members) {
    let dir = Folder::new();
    let authority = Authority::create(dir.path("authority.pem")).expect("a new file");
    authority.join(Role::Pool, "m1").write(dir.path("m1.join")).expect("a new file");
    authority.join(Role::Worker, "w1").write(dir.path("w1.join")).expect("a new file");
    let pool = Members::pool(dir.path("m1.join")).expect("its file");
    (pool, Members::worker(dir.path("w1.join")).expect("its file"))
}

/// A folder that goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chargehand-tls-links-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a folder of its own");
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
