//! Who belongs to a pool: join files for members elsewhere, and for the demo's pool an authority and files made
//! on the spot, which nobody finds later.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use chargehand::tls::members::{Authority, Members, MembersError, Role};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::args::MembersArgs;
use crate::failure::{Failure, print};
use crate::files::nameless;

/// The authority's file, in the folder of its join files.
const AUTHORITY: &str = "authority.pem";

/// How often a process looks whether its join file is another.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Makes the join files that are asked for, and says what to do with them.
pub(crate) fn run(args: &MembersArgs) -> ExitCode {
    match write(args) {
        Ok(text) => print(&text),
        Err(failure) => failure.report(),
    }
}

fn write(args: &MembersArgs) -> Result<String, Failure> {
    if args.manager.is_empty() && args.worker.is_empty() {
        return Err(Failure::input("name a member: --manager NAME, --worker NAME"));
    }
    let folder = &args.folder;
    if !folder.is_dir() {
        let made = DirBuilder::new().mode(0o700).create(folder);
        made.map_err(|error| Failure::input(format!("{}: {error}", folder.display())))?;
    }
    let place = folder.join(AUTHORITY);
    let authority =
        if place.exists() { Authority::open(&place) } else { Authority::create(&place) };
    let authority = authority.map_err(Failure::input)?;
    let mut lines = Vec::new();
    let managers = args.manager.iter().map(|name| (Role::Pool, name, MANAGER_USE));
    let workers = args.worker.iter().map(|name| (Role::Worker, name, WORKER_USE));
    for (role, name, use_of_it) in managers.chain(workers) {
        let path = folder.join(format!("{name}.join"));
        authority.join(role, name).days(args.days).write(&path).map_err(Failure::input)?;
        lines.push(path.display().to_string());
        lines.push(format!("    {use_of_it} --tls {name}.join"));
    }
    lines.push(format!(
        "Move each to its member's machine, and leave none here but {}.\n",
        place.display()
    ));
    Ok(lines.join("\n"))
}

const MANAGER_USE: &str = "backfill --listen tls://0.0.0.0:9000";
const WORKER_USE: &str = "backfill worker --dial tls://MANAGER:9000 --chain FILE";

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

/// Reads the join file that was named, if one was, and goes on by another one that takes its place, which it says.
pub(crate) fn read(
    path: Option<&Path>,
    read: fn(PathBuf) -> Result<Members, MembersError>,
    say: impl Fn(&str) + Send + 'static,
) -> Result<Option<Members>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let at_first = stamp(path);
    let members = read(path.to_owned()).map_err(Failure::input)?;
    let (own, path) = (members.clone(), path.to_owned());
    thread::Builder::new()
        .name("join file".to_owned())
        .spawn(move || follow(&own, &path, at_first, &say))
        .map_err(Failure::run)?;
    Ok(Some(members))
}

/// Renews a member each time that its file is another. One that is no good, or not whole yet, is said once.
fn follow(members: &Members, path: &Path, at_first: Option<Stamp>, say: &dyn Fn(&str)) {
    let mut known = at_first;
    loop {
        thread::sleep(LOOK_INTERVAL);
        let now = stamp(path);
        if now.is_none() || now == known {
            continue;
        }
        known = now;
        match members.renew(path) {
            Ok(()) => say(&format!("{}: goes on by the new join file", path.display())),
            Err(error) => say(&format!("{error}; goes on by the join file of before")),
        }
    }
}

/// What tells a file from the one before it.
type Stamp = (u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
}

/// Returns who this end is, for a link over TLS.
pub(crate) fn of(members: Option<&Members>) -> Result<&Members, Failure> {
    members.ok_or_else(|| Failure::input("tls:// and wss:// need --tls JOINFILE"))
}
