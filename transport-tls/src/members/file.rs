//! The files of authorities and members: PEM, with some lines before it.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a file of an authority or a member cannot be made or used. The text names the file, and says what to
/// do.
#[derive(Debug)]
pub struct MembersError {
    path: PathBuf,
    problem: Box<str>,
    source: Option<io::Error>,
}

impl MembersError {
    pub(super) fn new(path: &Path, problem: impl Into<Box<str>>) -> Self {
        Self { path: path.to_owned(), problem: problem.into(), source: None }
    }

    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let problem = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                "there is such a file already, and it stays as it is: remove it, or choose another name".into()
            }
            _ => error.to_string().into(),
        };
        Self { path: path.to_owned(), problem, source: Some(error) }
    }

    /// Returns which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for MembersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for MembersError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// Writes a new file that only its owner can read.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), MembersError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| MembersError::io(path, error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a key is of no use, and would be in the way of a whole one.
        let _ = fs::remove_file(path);
        MembersError::io(path, error)
    })
}

/// Reads a file that has a key.
pub(super) fn read_secret(path: &Path) -> Result<String, MembersError> {
    let failed = |error| MembersError::io(path, error);
    let mut file = File::open(path).map_err(failed)?;
    if let Some(mode) = open_to_others(&file.metadata().map_err(failed)?) {
        return Err(MembersError::new(
            path,
            format!(
                "it has a key, and others than its owner may read or change it (mode {mode:03o}): chmod 600 it. If \
                 somebody may have read it, make a new one, and revoke the serial number of this one"
            ),
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Returns a file's mode where others than its owner can use it. What the system's administrator owns, its
/// group may read, as libpq has it: secrets are mounted so. A pipe is whose it is.
#[cfg(unix)]
fn open_to_others(file: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = file.mode() & 0o777;
    let others = if file.uid() == 0 { 0o037 } else { 0o077 };
    (file.is_file() && mode & others != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Metadata) -> Option<u32> {
    None
}

/// Returns what stands after `name: ` on a line before the first PEM block.
pub(super) fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().take_while(|line| !line.starts_with("-----BEGIN"));
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next().map(str::trim)
}

/// Says what several files in one have, or one that somebody has put together.
pub(super) fn several(path: &Path, what: &str) -> MembersError {
    let problem =
        format!("it has {what}: is it several join files in one? Give this member its own alone");
    MembersError::new(path, problem)
}

/// What a member's file has.
pub(super) struct JoinFile {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) certificate: CertificateDer<'static>,
    /// One, or two while one takes the other's place.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) manager: Option<Box<str>>,
}

impl JoinFile {
    pub(super) fn read(path: &Path) -> Result<Self, MembersError> {
        let text = read_secret(path)?;
        if let Some(authority) = header(&text, "Authority") {
            return Err(MembersError::new(
                path,
                format!(
                    "this is the file of an authority, \"{authority}\", which stays where members are made: \
                     make a join file by it (Authority::join), and give that"
                ),
            ));
        }
        let wrong =
            |what: &str| MembersError::new(path, format!("it has no {what}: is it a join file?"));
        let damaged = |_| MembersError::new(path, "it is damaged: what is in it cannot be read");
        let bytes = text.as_bytes();
        let mut keys = PrivateKeyDer::pem_slice_iter(bytes);
        let key = keys.next().ok_or_else(|| wrong("key"))?.map_err(damaged)?;
        if keys.next().is_some() {
            return Err(several(path, "more than one key"));
        }
        let mut certificates = CertificateDer::pem_slice_iter(bytes);
        let certificate =
            certificates.next().ok_or_else(|| wrong("certificate"))?.map_err(damaged)?;
        let authorities: Vec<_> = certificates.collect::<Result<_, _>>().map_err(damaged)?;
        if authorities.is_empty() {
            return Err(wrong("certificate of an authority"));
        }
        let manager = header(&text, "Manager").map(Into::into);
        Ok(Self { key, certificate, authorities, manager })
    }
}
