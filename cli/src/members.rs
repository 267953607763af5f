//! Who this end is, on links over TLS.

use std::path::{Path, PathBuf};

use chargehand::tls::members::{Members, MembersError};

use crate::failure::Failure;

/// Reads the join file that was named, if one was, and the list of members that are not let in any more.
pub(crate) fn read(
    join: Option<&Path>,
    revoked: Option<&Path>,
    read: fn(PathBuf) -> Result<Members, MembersError>,
) -> Result<Option<Members>, Failure> {
    let Some(join) = join else { return Ok(None) };
    let members = read(join.to_owned()).map_err(Failure::input)?;
    match revoked {
        Some(list) => members.revoked(list).map(Some).map_err(Failure::input),
        None => Ok(Some(members)),
    }
}

/// Returns who this end is, for a link over TLS.
pub(crate) fn of(members: Option<&Members>) -> Result<&Members, Failure> {
    members.ok_or_else(|| Failure::input("tls:// and wss:// need --tls JOINFILE"))
}

/// Adds what to write to what the library says of links that nothing protects.
#[expect(clippy::needless_pass_by_value, reason = "that is what `map_err` gives")]
pub(crate) fn explained(error: impl ToString) -> Failure {
    let text = error.to_string();
    let is_open = text.contains("insecure()");
    Failure::Input(text + if is_open { "; that is --tls JOINFILE, or --insecure" } else { "" })
}
