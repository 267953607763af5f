//! What a manager and a worker say of the requests and answers that they were set up for.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use chargehand_core::Rate;
use chargehand_core::message::{
    Extensions, ExtensionsWriter, GRACE_EXTENSION, PROGRESS_EXTENSION, QUEUE_NAMES_BYTES_MAX,
    SCHEMA_BYTES_MAX, SCHEMA_EXTENSION, TOOK_EXTENSION, TRACE_EXTENSION,
};

use super::reason::DisconnectReason;

/// Room for the extensions of a manager's Hello or Welcome.
pub(crate) const EXTENSIONS_ROOM: usize = 2 + SCHEMA_BYTES_MAX + 2 + 14 + 2;
/// Room for those of a worker's Hello.
pub(crate) const WORKER_EXTENSIONS_ROOM: usize =
    2 + SCHEMA_BYTES_MAX + 6 + 3 + QUEUE_NAMES_BYTES_MAX + 14 + 2;

/// What a worker says of the tasks that it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of which queues; of all where it says nothing.
    pub(crate) queues: Option<Box<[Arc<str>]>>,
    pub(crate) rate: Option<Rate>,
}

impl Wanted {
    /// Reads it from a worker's Hello.
    pub(crate) fn of(extensions: Extensions<'_>) -> Self {
        let queues = extensions.queues().map(|names| names.iter().map(Arc::from).collect());
        let rate = extensions
            .rate()
            .map(|(interval, burst)| Rate::per(1, Duration::from_nanos(interval)).burst(burst));
        Self { queues, rate }
    }
}

/// Returns the extensions of a worker's Hello: the schema, if there is one, for how many milliseconds it goes
/// on without a link, if it does, which tasks it wants, and
/// whether it takes trace contexts.
pub(crate) fn worker_extensions<'a>(
    schema: Option<&str>,
    grace_millis: u32,
    (wanted, takes_traces): (&Wanted, bool),
    room: &'a mut [u8; WORKER_EXTENSIONS_ROOM],
) -> Extensions<'a> {
    let mut writer = ExtensionsWriter::new(room);
    add_schema(schema, &mut writer);
    if grace_millis > 0 {
        writer.add(GRACE_EXTENSION, &grace_millis.to_le_bytes()).expect("there is room");
    }
    if let Some(names) = &wanted.queues {
        writer.add_queues(&**names).expect("their lengths were checked");
    }
    if let Some(rate) = wanted.rate {
        let interval = u64::try_from(rate.interval().as_nanos()).unwrap_or(u64::MAX);
        writer.add_rate(interval, rate.burst_max()).expect("there is room");
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
