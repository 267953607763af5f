//! A state as bytes: a line with what it is, its version and a checksum, and a line of JSON.

use sha2::{Digest, Sha256};

use super::State;
use crate::block::Hash;

/// What every state of any version begins with.
pub(super) const NAME: &str = "chargehand-backfill-state ";
const VERSION: u64 = 1;

pub(super) fn encode(state: &State) -> serde_json::Result<Vec<u8>> {
    let mut body = serde_json::to_vec(state)?;
    body.push(b'\n');
    let mut bytes = head(&body).into_bytes();
    bytes.append(&mut body);
    Ok(bytes)
}

/// Reads what [`encode`] wrote, and nothing else.
pub(super) fn decode(bytes: &[u8]) -> Result<State, String> {
    if bytes.is_empty() {
        return Err("it is empty: no state of a backfill".to_owned());
    }
    let foreign = || "it is no state of a backfill".to_owned();
    let rest = bytes.strip_prefix(NAME.as_bytes()).ok_or_else(foreign)?;
    let version = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
    let version = str::from_utf8(version).ok().and_then(|version| version.parse::<u64>().ok());
    if let Some(version) = version.filter(|&version| version > VERSION) {
        return Err(format!(
            "its format is version {version}, but this program knows no newer one than {VERSION}"
        ));
    }
    let damaged = || "it is damaged: its checksum does not match".to_owned();
    let end = bytes.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
    let (first, body) = bytes.split_at(end + 1);
    if first != head(body).as_bytes() {
        return Err(damaged());
    }
    serde_json::from_slice(body).map_err(|error| format!("it is not understood: {error}"))
}

fn head(body: &[u8]) -> String {
    format!("{NAME}{VERSION} {}\n", Hash(Sha256::digest(body).into()))
}
