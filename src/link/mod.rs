//! What driver and worker both need of a link: the transport behind it, whose turn it is, its times.

pub(crate) mod accept;
pub(crate) mod alarm;
pub(crate) mod closing;
pub(crate) mod erased;
pub(crate) mod expiring;
pub(crate) mod exposure;
pub(crate) mod identity;
pub(crate) mod lock;
pub mod memory;
pub(crate) mod party;
pub(crate) mod quota;
pub(crate) mod read_on;
pub(crate) mod ready;
pub(crate) mod reason;
pub(crate) mod room;
pub(crate) mod schema;
pub(crate) mod silence;
pub(crate) mod token;
pub(crate) mod watch;

pub use self::erased::{InProcessFn, Kind, Local, Threaded};
pub use self::reason::{BoxError, DisconnectReason};
