//! Who belongs to a pool: an authority, join files for its members, and a list of those who do no longer.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use chargehand::tls::members::{Authority, Members, MembersError, Role};
use serde::Serialize;
use serde_json::json;

use crate::args::{AddArgs, Format, InitArgs, KeysCommand, RevokeArgs, ShowArgs};
use crate::console::printable;
use crate::failure::{Failure, print};

/// The authority's file, in the folder of its pool.
const AUTHORITY: &str = "authority.pem";
/// The list of those who are not let in any more.
const REVOKED: &str = "revoked";
/// What the names of join files end with.
const JOIN: &str = "join";
const DAY_SECONDS: u64 = 86_400;

/// Does what was asked, and says what to do with it.
pub(crate) fn run(command: &KeysCommand) -> ExitCode {
    let done = match command {
        KeysCommand::Init(args) => init(args),
        KeysCommand::Add(args) => add(args),
        KeysCommand::Revoke(args) => revoke(args),
        KeysCommand::Show(args) => show(args),
    };
    done.map_or_else(|failure| failure.report(), |text| print(&text))
}

fn init(args: &InitArgs) -> Result<String, Failure> {
    let folder = &args.folder;
    if !folder.is_dir() {
        let made = DirBuilder::new().mode(0o700).create(folder);
        made.map_err(|error| wrong(folder, &error))?;
    }
    let (authority, revoked) = (folder.join(AUTHORITY), folder.join(REVOKED));
    Authority::create(&authority).map_err(Failure::input)?;
    let head =
        "# Members who are not let in any more: a name on each line, or `serial` and its digits.\n";
    if !revoked.exists() {
        fs::write(&revoked, head).map_err(|error| wrong(&revoked, &error))?;
    }
    Ok(match args.output {
        Format::Json => line(&json!({ "v": 1, "authority": authority, "revoked": revoked })),
        Format::Human => format!(
            "{}\nWhoever has this file says who belongs to the pool: it stays here. `chargehand keys add` makes the \
             members' files.\n",
            authority.display()
        ),
    })
}

fn add(args: &AddArgs) -> Result<String, Failure> {
    let folder = &args.folder;
    let authority = Authority::open(folder.join(AUTHORITY)).map_err(|error| {
        let hint =
            if folder.join(AUTHORITY).exists() { "" } else { "; `chargehand keys init` makes it" };
        Failure::input(error).and(hint)
    })?;
    let (role, name) = match (&args.member.manager, &args.member.worker) {
        (Some(name), _) => (Role::Pool, name),
        (None, Some(name)) => (Role::Worker, name),
        (None, None) => {
            return Err(Failure::input("name a member: --manager NAME or --worker NAME"));
        }
    };
    let path = join_path(folder, name);
    let mut join = authority.join(role, name).days(args.days);
    if let Some(address) = &args.connect {
        join = join.manager(address.text());
    }
    join.write(&path).map_err(Failure::input)?;
    let member = Member::read(&path).map_err(Failure::input)?;
    if args.output == Format::Json {
        return Ok(line(&json!({ "v": 1, "member": member })));
    }
    let what = match role {
        Role::Pool => "chargehand run --listen tls://0.0.0.0:9000 --tls",
        Role::Worker => "chargehand worker --connect tls://MANAGER:9000 --tls",
    };
    Ok(format!(
        "{}\nMove it to the machine of its member, and leave none here but {AUTHORITY}:\n    {what} {name}.{JOIN}\n",
        path.display()
    ))
}

fn revoke(args: &RevokeArgs) -> Result<String, Failure> {
    let list = args.folder.join(REVOKED);
    let name = args.name.trim();
    // The same names as the library takes. A line of another kind would make the list unreadable.
    let is_name = (1..=60).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        return Err(Failure::input(format!("\"{name}\" is no member's name")));
    }
    let is_new = !revoked_in(&list)?.iter().any(|revoked| revoked == name);
    if is_new {
        append(&list, name).map_err(|error| wrong(&list, &error))?;
        // Whoever wrote to it at the same time may have put something in front of the name.
        if !revoked_in(&list)?.iter().any(|revoked| revoked == name) {
            return Err(Failure::input(format!(
                "{}: {name} has no line of its own there and is NOT revoked: somebody else changes the list at the \
                 same time; look at its last lines, and do this again",
                list.display()
            )));
        }
    }
    Ok(match args.output {
        Format::Json => line(&json!({ "v": 1, "revoked": name, "new": is_new, "list": list })),
        Format::Human => {
            let was = if is_new { "is revoked" } else { "was revoked before" };
            let list = list.display();
            format!(
                "{name} {was}. Have every end go by the list, which is read again as it changes:\n    --revoked {list}\n"
            )
        }
    })
}

/// Puts a name on a list, on a line of its own: people edit the list as well, and may leave its last line without an
/// end.
fn append(list: &Path, name: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(0o600).open(list)?;
    let mut last = *b"\n";
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let begin = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{begin}{name}\n").as_bytes())?;
    file.sync_all()
}

/// A member, as its join file says.
#[derive(Serialize)]
struct Member {
    name: String,
    role: String,
    /// In seconds since 1970.
    expires: u64,
    file: PathBuf,
}

impl Member {
    fn read(path: &Path) -> Result<Self, MembersError> {
        let (members, role) = match Members::worker(path) {
            Ok(members) => (members, Role::Worker),
            Err(error) => match Members::pool(path) {
                Ok(members) => (members, Role::Pool),
                Err(_) => return Err(error),
            },
        };
        let expires = members.expires().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = members.name().to_owned();
        Ok(Self { name, role: role.to_string(), expires, file: path.to_owned() })
    }
}

fn show(args: &ShowArgs) -> Result<String, Failure> {
    let folder = &args.folder;
    let entries = fs::read_dir(folder).map_err(|error| wrong(folder, &error))?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == JOIN))
        .collect();
    paths.sort();
    let revoked = revoked_in(&folder.join(REVOKED))?;
    let members = paths.iter().map(|path| (path, Member::read(path)));
    if args.output == Format::Json {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (path, member) in members {
            match member {
                Ok(member) => good.push(member),
                Err(error) => bad.push(json!({ "file": path, "error": error.to_string() })),
            }
        }
        let shown = json!({ "v": 1, "members": good, "unreadable": bad, "revoked": revoked });
        return Ok(line(&shown));
    }
    let members = members.map(|(_, member)| match member {
        Ok(member) => {
            let left = days_until(member.expires);
            let is_revoked = revoked.contains(&member.name);
            let revoked = if is_revoked { ", revoked" } else { "" };
            format!("{:<7} {} ({left} days left{revoked})", member.role, member.name)
        }
        Err(error) => error.to_string(),
    });
    let lines = members.chain(revoked.iter().map(|name| format!("revoked {name}")));
    // Join files and the list may be anybody's.
    Ok(lines.map(|line| printable(&line) + "\n").collect())
}

fn days_until(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    seconds.saturating_sub(now) / DAY_SECONDS
}

/// Returns what is on a list, without remarks. Nothing, where there is none.
fn revoked_in(list: &Path) -> Result<Vec<String>, Failure> {
    if !list.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(list).map_err(|error| wrong(list, &error))?;
    let entries = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(entries.filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
}

fn join_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{JOIN}"))
}

fn line(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

fn wrong(path: &Path, error: &io::Error) -> Failure {
    Failure::input(format!("{}: {error}", path.display()))
}
