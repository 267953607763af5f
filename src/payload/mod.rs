//! What a task asks and what it is answered: bytes for workers elsewhere, values as they are for
//! workers in this process.

pub(crate) mod answer;
pub(crate) mod bytes;
pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod height;
#[cfg(feature = "json")]
pub(crate) mod json_heights;
pub(crate) mod request;

pub(crate) use self::answer::Answer;
pub(crate) use self::bytes::Body;
pub(crate) use self::check::Check;
pub use self::decode::DecodeLimits;
pub(crate) use self::height::{HEIGHT_BYTES_MAX, RangeHeight, encode_height};
#[cfg(feature = "json")]
pub use self::json_heights::JsonHeights;
pub(crate) use self::request::{Asked, decode_request};
