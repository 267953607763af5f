//! What a manager and a worker say of the requests and answers that they were set up for.

use chargehand_core::message::{Extensions, ExtensionsWriter, SCHEMA_BYTES_MAX, SCHEMA_EXTENSION};

use super::reason::DisconnectReason;

/// Room for the extensions of a Hello or a Welcome of ours.
pub(crate) const EXTENSIONS_ROOM: usize = 2 + SCHEMA_BYTES_MAX;

/// Returns the extension of a Hello that says a schema, if there is one.
pub(crate) fn schema_extension<'a>(
    schema: Option<&str>,
    room: &'a mut [u8; EXTENSIONS_ROOM],
) -> Extensions<'a> {
    let Some(schema) = schema else { return Extensions::NONE };
    let mut writer = ExtensionsWriter::new(room);
    writer.add(SCHEMA_EXTENSION, schema.as_bytes()).expect("its length was checked");
    writer.finish()
}

/// Checks that two sides go together, where both say what they speak of.
pub(crate) fn check_schema(
    ours: Option<&str>,
    theirs: Option<&str>,
    peer: &str,
) -> Result<(), DisconnectReason> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(DisconnectReason::WrongSchema {
            ours: ours.into(),
            theirs: theirs.into(),
            peer: peer.into(),
        }),
        _ => Ok(()),
    }
}
