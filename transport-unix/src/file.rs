//! The socket file: taken over from a dead process, never from a live one, and removed at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

/// The backlog: how many connections the system queues until they are accepted, if it allows that many.
const BACKLOG: i32 = 1024;
/// How long to wait for another process that is about to listen in the same directory.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How long to wait for one at the end. A file that stays is replaced by the next who listens.
const UNLOCK_WAIT: Duration = Duration::from_millis(100);

/// A socket file of ours. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: Box<str>,
    /// Device and inode: what tells the file from one that took its place.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &str) -> io::Result<Self> {
        Ok(Self { path: path.into(), identity: identity(path)? })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Ok(_lock) = lock_directory(&self.path, UNLOCK_WAIT) else { return };
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&*self.path);
        }
    }
}

fn identity(path: &str) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Listens on a path that nobody else listens on.
pub(crate) fn claim(path: &str, mode: u32) -> io::Result<(StdListener, SocketFile)> {
    claim_by(path, |socket| {
        // Before it listens: until then whoever connects is refused, whatever the umask allows.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(listen(socket, BACKLOG)?)
    })
}

/// As [`claim`], where `open` lets others connect to the socket, which has its path by then.
fn claim_by(
    path: &str,
    open: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<(StdListener, SocketFile)> {
    // Between the look at an old file and the new one nobody else may put his own there.
    let lock = lock_directory(path, LOCK_WAIT)?;
    remove_stale(path)?;
    let address = SocketAddrUnix::new(path)?;
    let socket = stream_socket()?;
    bind(&socket, &address).map_err(explained)?;
    let file = SocketFile::of(path)?;
    if let Err(error) = open(&socket) {
        // The file takes the lock once more, to go.
        drop(lock);
        return Err(error);
    }
    Ok((socket.into(), file))
}

fn explained(errno: Errno) -> io::Error {
    let remedy = match errno {
        Errno::NOENT => "create its directory first",
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            "this user may not create files in its directory: choose another one"
        }
        Errno::NOTDIR => "what stands before its last slash is no directory",
        _ => return errno.into(),
    };
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("{error}: {remedy}"))
}

/// Removes the socket that a dead process has left.
fn remove_stale(path: &str) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.file_type(),
    };
    if !kind.is_socket() {
        let problem = "something else than a socket is there: remove it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
    }
    let in_use = |problem| Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
    match probe(path) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|error| {
            let remedy = "it was left behind, and this user may not remove it: do so, or choose \
                          another path";
            io::Error::new(error.kind(), format!("{error}: {remedy}"))
        }),
        // With `AGAIN` its queue is full.
        Ok(()) | Err(Errno::AGAIN) => {
            in_use("a program listens there: stop it, or choose another path")
        }
        Err(Errno::PROTOTYPE) => {
            in_use("a program uses it for a socket of another type: choose another path")
        }
        Err(Errno::ACCESS | Errno::PERM) => {
            in_use("a socket of another user is there: remove it, or choose another path")
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Finds out whether somebody listens, without waiting for him to accept.
fn probe(path: &str) -> Result<(), Errno> {
    let socket = stream_socket()?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Makes a socket that programs started from this one do not inherit.
fn stream_socket() -> Result<OwnedFd, Errno> {
    #[cfg(not(target_vendor = "apple"))]
    let flags = SocketFlags::CLOEXEC;
    #[cfg(target_vendor = "apple")]
    let flags = SocketFlags::empty(); // It has no such flag.
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    #[cfg(target_vendor = "apple")]
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Keeps others that listen in this directory waiting while what it returns is held.
fn lock_directory(path: &str, wait: Duration) -> io::Result<Option<OwnedFd>> {
    let directory = match Path::new(path).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty()).map_err(explained)?;
    let started = Instant::now();
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if started.elapsed() < wait => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Errno::AGAIN) => {
                let problem = format!(
                    "another process has held a lock (flock) on its directory for {wait:?}: wait \
                     for it, or choose another directory"
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, problem));
            }
            // A file system that has no locks: then two that start at once may both get in.
            Err(_) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
