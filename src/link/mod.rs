//! What driver and worker both need of a link: the transport behind it, whose turn it is, its times.

pub(crate) mod alarm;
pub(crate) mod erased;
pub(crate) mod expiring;
pub(crate) mod lock;
pub mod memory;
pub(crate) mod ready;
pub(crate) mod room;
pub(crate) mod schema;

pub use self::erased::{BoxError, Kind, Local, Threaded};
