//! The messages of the Go package `worker`: one JSON object per WebSocket text message.
//!
//! A manager sends `{"Height":42}`, the worker answers
//! `{"Height":42,"Success":true,"Error":""}`, one at a time. What is read here is what Go's
//! `encoding/json` reads into those two structs: white space, keys in any order and ASCII case, the
//! last of equal keys, unknown keys skipped, `null` and missing keys as zero. Unlike there, an
//! unpaired surrogate escape is an error, and so are `-0` and a key in Unicode case (`"ſuccess"` is
//! an unknown one). What is written is byte for byte what Go writes.
//!
//! ```
//! use chargehand_core::json::{Request, Response};
//!
//! assert_eq!(Request::decode(br#" {"height": 42} "#).unwrap(), Request { height: 42 });
//! let mut out = Vec::new();
//! Response::failed(42, "a < b").encode(&mut out);
//! assert_eq!(out, br#"{"Height":42,"Success":false,"Error":"a \u003c b"}"#);
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

/// What stands before the height.
const HEIGHT_KEY: &[u8] = b"{\"Height\":";

/// What a manager sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The block height that is asked for.
    pub height: i64,
}

impl Request {
    /// Returns the request in a whole message.
    ///
    /// # Errors
    /// Returns [`JsonError`] where Go's decoder fails. Close the link.
    pub fn decode(text: &[u8]) -> Result<Self, JsonError> {
        if let Some((height, b"}")) = plain(text) {
            return Ok(Self { height });
        }
        let Fields { height, .. } = decode::<false>(text)?;
        Ok(Self { height })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_height(out, self.height);
        out.push(b'}');
    }
}

/// What a worker answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The height of the request.
    pub height: i64,
    /// Whether the handler succeeded.
    pub success: bool,
    /// The handler's error; empty where there is none.
    pub error: String,
}

impl Response {
    /// Makes the answer of a handler that succeeded.
    pub const fn done(height: i64) -> Self {
        Self { height, success: true, error: String::new() }
    }

    /// Makes the answer of a handler that failed.
    pub fn failed(height: i64, error: impl Into<String>) -> Self {
        Self { height, success: false, error: error.into() }
    }

    /// Returns the answer in a whole message. Allocates no more than the message is long.
    ///
    /// # Errors
    /// Returns [`JsonError`] where Go's decoder fails. Close the link.
    pub fn decode(text: &[u8]) -> Result<Self, JsonError> {
        if let Some((height, br#","Success":true,"Error":""}"#)) = plain(text) {
            return Ok(Self::done(height));
        }
        let Fields { height, success, error } = decode::<true>(text)?;
        Ok(Self { height, success, error })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { height, success, error } = self;
        put_height(out, *height);
        let success: &[u8] = if *success { b"true" } else { b"false" };
        out.extend_from_slice(b",\"Success\":");
        out.extend_from_slice(success);
        out.extend_from_slice(b",\"Error\":\"");
        put_escaped(out, error);
        out.extend_from_slice(b"\"}");
    }
}

/// A message that Go's decoder would not take either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JsonError {
    /// What is wrong with it.
    pub kind: JsonErrorKind,
    /// The line where it shows, from 1 on.
    pub line: usize,
    /// The byte of that line, from 1 on.
    pub column: usize,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonErrorKind {
    /// It is not JSON.
    Syntax,
    /// It ends too early.
    Truncated,
    /// It is JSON, but no object, or a value has the wrong type or is out of range.
    Value,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::Syntax => "is not JSON",
            JsonErrorKind::Truncated => "ends in the middle of its JSON",
            JsonErrorKind::Value => {
                "is not an object of \"Height\" (an integer of 64 bits), \"Success\" (true or \
                 false) and \"Error\" (a string)"
            }
        };
        write!(f, "the message {what}: line {}, column {}", self.line, self.column)
    }
}

impl core::error::Error for JsonError {}

/// Reads the start of a message as Go writes it, with a height that is not negative. Returns what is
/// behind the height. All others are left to the parser, which takes ten times as long.
fn plain(text: &[u8]) -> Option<(i64, &[u8])> {
    let rest = text.strip_prefix(HEIGHT_KEY)?;
    let (number, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
    let is_number = number.len() == 1 || number.first().is_some_and(|&first| first != b'0');
    let height = core::str::from_utf8(number).ok()?.parse().ok()?;
    is_number.then_some((height, rest))
}

fn decode<const ANSWER: bool>(text: &[u8]) -> Result<Fields<ANSWER>, JsonError> {
    match serde_json::from_slice::<Option<Fields<ANSWER>>>(text) {
        Ok(fields) => Ok(fields.unwrap_or_default()),
        Err(error) => Err(JsonError {
            kind: match error.classify() {
                Category::Eof => JsonErrorKind::Truncated,
                Category::Data => JsonErrorKind::Value,
                Category::Io | Category::Syntax => JsonErrorKind::Syntax,
            },
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// The keys of a response, or of a request: that one skips the others, whatever their values.
#[derive(Default)]
struct Fields<const ANSWER: bool> {
    height: i64,
    success: bool,
    error: String,
}

// By hand: the derive knows neither the case of keys, nor equal ones, nor null for "unchanged".
impl<'de, const ANSWER: bool> Deserialize<'de> for Fields<ANSWER> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor<const ANSWER: bool>;
        impl<'de, const ANSWER: bool> Visitor<'de> for FieldsVisitor<ANSWER> {
            type Value = Fields<ANSWER>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Height => set(&mut fields.height, map.next_value()?),
                        Key::Success if ANSWER => set(&mut fields.success, map.next_value()?),
                        Key::Error if ANSWER => set(&mut fields.error, map.next_value()?),
                        _ => map.next_value::<IgnoredAny>().map(drop)?,
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

enum Key {
    Height,
    Success,
    Error,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(if key.eq_ignore_ascii_case("Height") {
                    Key::Height
                } else if key.eq_ignore_ascii_case("Success") {
                    Key::Success
                } else if key.eq_ignore_ascii_case("Error") {
                    Key::Error
                } else {
                    Key::Other
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

fn put_height(out: &mut Vec<u8>, height: i64) {
    out.extend_from_slice(HEIGHT_KEY);
    out.extend_from_slice(itoa::Buffer::new().format(height).as_bytes());
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Appender<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    fmt::Write::write_fmt(&mut Appender(out), text).expect("appending cannot fail");
}

/// Escapes as Go does, where `serde_json` leaves `<`, `>`, `&` and the line separators alone.
fn put_escaped(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                put(out, format_args!("\\u{:04x}", u32::from(character)));
            }
            plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
