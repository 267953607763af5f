//! Who belongs to the demo's pool: an authority and join files made on the spot, which nobody finds later.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chargehand::tls::members::{Authority, Members, MembersError, Role};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::failure::Failure;
use crate::files::nameless;

/// A worker's join file, without a name: the child processes inherit it.
#[derive(Debug)]
pub(crate) struct JoinFile(File);

impl JoinFile {
    /// Returns where a process finds it that is started next.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/dev/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Has the next process read it from its beginning, where all share one place in it.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.0.rewind()
    }
}

/// Makes a pool of that name, and workers of these. The authority is forgotten at once: there are no others.
pub(crate) fn make<const N: usize>(
    pool: &str,
    workers: [&str; N],
) -> Result<(Members, [JoinFile; N]), Failure> {
    let folder = std::env::temp_dir().join(format!("chargehand-members-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&folder).map_err(Failure::run)?;
    let made = make_in(&folder, pool, workers);
    fs::remove_dir_all(&folder).map_err(Failure::run)?;
    made
}

fn make_in<const N: usize>(
    folder: &Path,
    pool: &str,
    workers: [&str; N],
) -> Result<(Members, [JoinFile; N]), Failure> {
    let authority = Authority::create(folder.join("authority")).map_err(Failure::run)?;
    let place = |name: &str| folder.join(name).with_extension("join");
    authority.join(Role::Pool, pool).write(place(pool)).map_err(Failure::run)?;
    let members = Members::pool(place(pool)).map_err(Failure::run)?;
    let mut files = Vec::new();
    for name in workers {
        authority.join(Role::Worker, name).write(place(name)).map_err(Failure::run)?;
        files.push(inherited(&place(name)).map_err(Failure::run)?);
    }
    Ok((members, files.try_into().expect("as many as names")))
}

fn inherited(join: &Path) -> io::Result<JoinFile> {
    let mut file = nameless("join")?;
    file.write_all(&fs::read(join)?)?;
    fcntl_setfd(&file, FdFlags::empty())?;
    Ok(JoinFile(file))
}

/// Reads the join file that was named, if one was.
pub(crate) fn read(
    path: Option<&Path>,
    read: fn(PathBuf) -> Result<Members, MembersError>,
) -> Result<Option<Members>, Failure> {
    path.map(|path| read(path.to_owned())).transpose().map_err(Failure::input)
}

/// Returns who this end is, for a link over TLS.
pub(crate) fn of(members: Option<&Members>) -> Result<&Members, Failure> {
    members.ok_or_else(|| Failure::input("tls:// and wss:// need --tls JOINFILE"))
}
