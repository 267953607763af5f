//! What a member is and how it is called, and how its certificate says so.

use std::fmt;

/// How many bytes a name has at most: less than a Hello's, which may have an instance after it.
const NAME_BYTES_MAX: usize = 60;
const SCHEME: &str = "chargehand://";

/// What a certificate lets its member be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A manager: the end that hands tasks out.
    Pool,
    /// A worker.
    Worker,
}

impl Role {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Pool => Self::Worker,
            Self::Worker => Self::Pool,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool => "pool",
            Self::Worker => "worker",
        })
    }
}

/// Whether a member may have this name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Writes a member as its certificate does.
pub(super) fn uri(role: Role, name: &str) -> String {
    format!("{SCHEME}{role}/{name}")
}

/// Reads what [`uri`] writes.
pub(super) fn member(uri: &str) -> Option<(Role, &str)> {
    let (role, name) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let role = [Role::Pool, Role::Worker].into_iter().find(|it| it.to_string() == role)?;
    is_name(name).then_some((role, name))
}
