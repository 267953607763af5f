//! What a manager and a worker say of the requests and answers that they were set up for.

use chargehand_core::message::{
    Extensions, ExtensionsWriter, GRACE_EXTENSION, PROGRESS_EXTENSION, SCHEMA_BYTES_MAX,
    SCHEMA_EXTENSION, TOOK_EXTENSION, TRACE_EXTENSION,
};

use super::reason::DisconnectReason;

/// Room for the extensions of a Hello or a Welcome of ours.
pub(crate) const EXTENSIONS_ROOM: usize = 2 + SCHEMA_BYTES_MAX + 2 + 14 + 2 + 2;

/// Returns the extensions of a worker's Hello: the schema, if there is one, for how many milliseconds it goes
/// on without a link, if it does, and whether it takes trace contexts.
pub(crate) fn worker_extensions<'a>(
    schema: Option<&str>,
    grace_millis: u32,
    takes_traces: bool,
    room: &'a mut [u8; EXTENSIONS_ROOM],
) -> Extensions<'a> {
    let mut writer = ExtensionsWriter::new(room);
    add_schema(schema, &mut writer);
    if grace_millis > 0 {
        writer.add(GRACE_EXTENSION, &grace_millis.to_le_bytes()).expect("there is room");
    }
    if takes_traces {
        writer.add(TRACE_EXTENSION, &[]).expect("there is room");
    }
    writer.finish()
}

/// Returns the extensions of a manager's Hello: it takes progress and times, and the schema, if there is one.
pub(crate) fn manager_extensions<'a>(
    schema: Option<&str>,
    room: &'a mut [u8; EXTENSIONS_ROOM],
) -> Extensions<'a> {
    let mut writer = ExtensionsWriter::new(room);
    add_schema(schema, &mut writer);
    writer.add(PROGRESS_EXTENSION, &[]).expect("there is room");
    writer.add(TOOK_EXTENSION, &[]).expect("there is room");
    writer.finish()
}

fn add_schema(schema: Option<&str>, writer: &mut ExtensionsWriter<'_>) {
    if let Some(schema) = schema {
        writer.add(SCHEMA_EXTENSION, schema.as_bytes()).expect("its length was checked");
    }
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
