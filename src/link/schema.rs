//! What a manager and a worker say of the requests and answers that they were set up for.

use alloc::string::String;

use chargehand_core::message::{Extensions, ExtensionsWriter, SCHEMA_BYTES_MAX, SCHEMA_EXTENSION};

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

/// Returns why two sides do not go together, where both say what they speak of.
pub(crate) fn schemas_differ(
    ours: Option<&str>,
    theirs: Option<&str>,
    peer: &str,
) -> Option<String> {
    let (ours, theirs) = (ours?, theirs?);
    (ours != theirs).then(|| {
        format!(
            "the schema here is {ours:?}, and that of the peer ({peer}) is {theirs:?}: upgrade the \
             older side, so that both speak of the same requests and answers"
        )
    })
}
