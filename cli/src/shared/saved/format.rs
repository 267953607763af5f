//! A state as bytes: a line with what it is, its version and a checksum, and a line of JSON.

use sha2::{Digest, Sha256};

use super::State;
use crate::shared::files::hex;

pub(super) fn encode<S: State>(state: &S) -> serde_json::Result<Vec<u8>> {
    let mut body = serde_json::to_vec(state)?;
    body.push(b'\n');
    let mut bytes = head::<S>(&body).into_bytes();
    bytes.append(&mut body);
    Ok(bytes)
}

/// Reads what [`encode`] wrote, and nothing else.
pub(super) fn decode<S: State>(bytes: &[u8]) -> Result<S, String> {
    if bytes.is_empty() {
        return Err(format!("it is empty: no state of {}", S::OF));
    }
    let foreign = || format!("it is no state of {}", S::OF);
    let rest = bytes.strip_prefix(S::NAME.as_bytes()).ok_or_else(foreign)?;
    let version = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
    let version = std::str::from_utf8(version).ok().and_then(|version| version.parse::<u64>().ok());
    if let Some(version) = version.filter(|&version| version > S::VERSION) {
        return Err(format!(
            "its format is version {version}, but this program knows no newer one than {}",
            S::VERSION
        ));
    }
    let damaged = || "it is damaged: its checksum does not match".to_owned();
    let end = bytes.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
    let (first, body) = bytes.split_at(end + 1);
    if first != head::<S>(body).as_bytes() {
        return Err(damaged());
    }
    serde_json::from_slice(body).map_err(|error| format!("it is not understood: {error}"))
}

fn head<S: State>(body: &[u8]) -> String {
    format!("{}{} 0x{}\n", S::NAME, S::VERSION, hex(&Sha256::digest(body)))
}
