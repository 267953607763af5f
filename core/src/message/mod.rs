//! The native messages between a manager and a worker, one per frame, in postcard's encoding.
//!
//! Both sides send [`Message::Hello`] as soon as the transport is up, whoever dialled. The manager
//! answers a worker's with [`Message::Welcome`], or with [`Message::Goodbye`] and the end. Then
//! requests flow. The first bytes of a Hello, `00` `c h g d` and the version, never change, so that
//! two sides of different versions can say so. A Hello, a Welcome and a Request may carry
//! [`Extensions`], which a peer that does not know them passes over.
//!
//! ```
//! use chargehand_core::TaskId;
//! use chargehand_core::message::{Extensions, HEAD_BYTES_MAX, Message};
//!
//! let (task, body) = (TaskId::from_parts(7, 1), b"block 42".as_slice());
//! let request = Message::Request { task, attempt: 1, extensions: Extensions::NONE, body };
//! let mut head = [0; HEAD_BYTES_MAX];
//! let mut frame = request.encode(&mut head).to_vec();
//! frame.extend_from_slice(body); // a transport takes head and body side by side
//! assert_eq!(Message::decode(&frame), Ok(request));
//! ```

mod aside;
mod codec;
mod extensions;
mod holding;
mod progress;
mod served;
mod took;
mod trace;

use core::fmt;

use crate::event::Verdict;
use crate::id::TaskId;

pub use aside::Aside;
pub use extensions::{
    ATTEMPT_TIMEOUT_EXTENSION, Extensions, ExtensionsIter, ExtensionsWriter, GRACE_EXTENSION,
    NoRoom, PRIVATE_EXTENSION, PROGRESS_EXTENSION, QUEUES_EXTENSION, RATE_EXTENSION,
    SCHEMA_BYTES_MAX, SCHEMA_EXTENSION, TOOK_EXTENSION, TRACE_EXTENSION, check_schema,
};
pub use holding::{HELD_BYTES_MAX, Holding};
pub use progress::{PROGRESS_BYTES_MAX, Progress};
pub use served::{QUEUE_NAMES_BYTES_MAX, QueueNames, check_queue_name};
pub use took::{TOOK_BYTES_MAX, Took};
pub use trace::{NoTraceContext, TRACE_BYTES, TraceContext};

/// The first bytes of every Hello, after its kind. Anything else is not this protocol.
pub const MAGIC: [u8; 4] = *b"chgd";
/// The version of the messages that this crate speaks.
pub const VERSION: u8 = 2;
/// The longest name in a Hello, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest text in a Goodbye, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// The longest Hello or Welcome, as a whole, in bytes: take no longer message before the link is up.
pub const HELLO_BYTES_MAX: usize = 1024;
/// How many bytes of extensions a message may carry, their length not counted. Those of a Hello and a
/// Welcome must leave room for the rest of it in [`HELLO_BYTES_MAX`].
pub const EXTENSIONS_BYTES_MAX: usize = 1024;
/// The size of the buffer for [`Message::encode`]: no message without extensions, and without its
/// body, is longer.
pub const HEAD_BYTES_MAX: usize = 264;
/// The size of a buffer that is long enough for [`Message::encode_extended`], whatever the message.
pub const EXTENDED_HEAD_BYTES_MAX: usize = HEAD_BYTES_MAX + 1 + EXTENSIONS_BYTES_MAX;
/// How much longer than its body a request without extensions or an answer is at most, in bytes:
/// kind, task, attempt, and verdict or the number of no extensions.
pub const BODY_HEAD_BYTES_MAX: usize = 15;

/// The longest Hello without name and extensions, whose lengths are counted.
const BARE_HELLO_BYTES_MAX: usize = 1 + MAGIC.len() + 1 + 1 + 3 + 5 + 10 + 1 + 1;

/// The first byte of a message of a key exchange, which is over before these messages begin.
pub(crate) const KEYED_KIND: u8 = 9;
/// The first byte of a [`Progress`].
const PROGRESS_KIND: u8 = 10;
/// The first byte of a [`Holding`].
const HOLDING_KIND: u8 = 11;
/// The first byte of a [`Took`].
const TOOK_KIND: u8 = 12;
#[cfg(feature = "keyed")]
pub(crate) use codec::{GOODBYE as GOODBYE_KIND, HELLO as HELLO_KIND};

const _: () = assert!(BARE_HELLO_BYTES_MAX + NAME_BYTES_MAX <= HEAD_BYTES_MAX);
const _: () = assert!(1 + 1 + 2 + TEXT_BYTES_MAX <= HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= HELLO_BYTES_MAX);
const _: () = assert!(HELLO_BYTES_MAX <= EXTENDED_HEAD_BYTES_MAX);

/// Which side of a link a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// It hands tasks out.
    Manager,
    /// It does them.
    Worker,
}

/// Why a side says Goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Code {
    /// It stops, and everything that it held is answered or given back.
    Stopped,
    /// The other side sent what cannot be decoded, or what its state does not allow.
    BadMessage,
    /// The other side speaks another version of the protocol, or another protocol.
    WrongVersion,
    /// Two managers, or two workers, were connected to one another.
    WrongRole,
    /// It serves as many peers as it can. Try again later.
    Busy,
    /// A newer link of the same worker took this one's place.
    Displaced,
    /// The other side was silent, or slow, for too long.
    Timeout,
    /// Another live worker has this name. Take another name, or wait until that one has gone.
    NameTaken,
    /// The worker came back too soon after links on which it did nothing. Wait longer.
    TooSoon,
    /// Manager and worker were set up for requests and answers of other schemas. Upgrade one of them.
    WrongSchema,
    /// The other side did not prove a key that this one knows, or this one has none and is asked for it. Give
    /// both the same key.
    Unproven,
    /// The other side is not whom it says, or none of those that may come here. Give it the name that it
    /// proves, or let it in.
    NotAllowed,
    /// A reason of a later version: this byte. On the wire a number that has a variant of its own is
    /// that variant.
    Other(u8),
}

impl Code {
    /// Returns what a byte on the wire stands for. Every byte stands for something.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Stopped,
            1 => Self::BadMessage,
            2 => Self::WrongVersion,
            3 => Self::WrongRole,
            4 => Self::Busy,
            5 => Self::Displaced,
            6 => Self::Timeout,
            7 => Self::NameTaken,
            8 => Self::TooSoon,
            9 => Self::WrongSchema,
            10 => Self::Unproven,
            11 => Self::NotAllowed,
            other => Self::Other(other),
        }
    }

    /// Returns the byte on the wire.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::BadMessage => 1,
            Self::WrongVersion => 2,
            Self::WrongRole => 3,
            Self::Busy => 4,
            Self::Displaced => 5,
            Self::Timeout => 6,
            Self::NameTaken => 7,
            Self::TooSoon => 8,
            Self::WrongSchema => 9,
            Self::Unproven => 10,
            Self::NotAllowed => 11,
            Self::Other(byte) => byte,
        }
    }
}

/// What each side says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hello<'a> {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`VERSION`].
    pub version: u8,
    /// Which side the sender is.
    pub role: Role,
    /// How many tasks the worker runs at once; 0 from a manager.
    pub window: u16,
    /// The longest frame that the sender takes, in bytes.
    pub frame_bytes_max: u32,
    /// A random number, drawn once per process: same name with another token is a restart.
    pub token: u64,
    /// Names the sender: at most [`NAME_BYTES_MAX`] bytes.
    pub name: &'a str,
    /// What else the sender has to say. With it the Hello is at most [`HELLO_BYTES_MAX`] bytes.
    pub extensions: Extensions<'a>,
}

impl<'a> Hello<'a> {
    /// Makes the Hello of this version: frames of any length are taken, and there are no extensions.
    pub const fn new(role: Role, window: u16, token: u64, name: &'a str) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            role,
            window,
            frame_bytes_max: u32::MAX,
            token,
            name,
            extensions: Extensions::NONE,
        }
    }
}

/// One message. Borrows its text and body from the frame.
///
/// The order of the variants and fields is the encoding: what postcard would make of it, with the
/// bodies left out.
// With a tag of its own: one in the niche of the Hello's role takes more code to read and to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Message<'a> {
    /// Opens a link, from either side.
    Hello(Hello<'a>),
    /// A manager takes a worker in.
    Welcome {
        /// How long the manager may hear nothing before it pings. A worker that for twice as long
        /// neither hears nor answers anything gives the link up.
        heartbeat_millis: u32,
        /// How many attempts the manager has under way on this link at most.
        window: u16,
        /// What else it has to say. With it the Welcome is at most [`HELLO_BYTES_MAX`] bytes.
        extensions: Extensions<'a>,
    },
    /// A manager sends a task.
    Request {
        /// The task. The worker repeats it in its answer and makes nothing else of it.
        task: TaskId,
        /// The number of this sending among all of the task's, from 1 on.
        attempt: u16,
        /// What else there is to say of it: at most [`EXTENSIONS_BYTES_MAX`] bytes.
        extensions: Extensions<'a>,
        /// What is asked: the rest of the frame.
        body: &'a [u8],
    },
    /// A worker answers an attempt.
    Response {
        /// As in the request.
        task: TaskId,
        /// As in the request.
        attempt: u16,
        /// How the attempt ended.
        verdict: Verdict,
        /// The result; the error's UTF-8 text; where it is given back, nothing or a text. The rest of
        /// the frame.
        body: &'a [u8],
    },
    /// A manager no longer wants an attempt. An answer may cross it.
    Cancel {
        /// As in the request.
        task: TaskId,
        /// As in the request.
        attempt: u16,
    },
    /// A manager asks for a [`Message::Pong`] at once.
    Ping,
    /// A worker answers a [`Message::Ping`].
    Pong,
    /// A worker is about to stop: it finishes what it holds and wants nothing more.
    Drain,
    /// The sender closes the link now.
    Goodbye {
        /// Why, for the program.
        code: Code,
        /// Why, for people: at most [`TEXT_BYTES_MAX`] bytes.
        text: &'a str,
    },
}

impl<'a> Message<'a> {
    /// Makes a Hello: see [`Hello::new`].
    pub const fn hello(role: Role, window: u16, token: u64, name: &'a str) -> Self {
        Self::Hello(Hello::new(role, window, token, name))
    }

    /// Returns the message in a whole frame. Copies and allocates nothing; time does not depend on
    /// the body's length.
    ///
    /// # Errors
    /// Returns [`MessageError`] for every frame that this version would not have written. Close the
    /// link, with a Goodbye that carries [`MessageError::code`] and the error's text.
    #[expect(clippy::inline_always, reason = "passing a message through memory stalls")]
    #[inline(always)]
    pub fn decode(frame: &'a [u8]) -> Result<Self, MessageError> {
        codec::decode(frame)
    }

    /// Writes the message without its body into `head` and returns what was written: a frame is
    /// that, then the body. A Goodbye's text is cut at [`TEXT_BYTES_MAX`].
    ///
    /// # Panics
    /// Panics where a Hello's name is longer than [`NAME_BYTES_MAX`]: check it where it is set; and
    /// where there are extensions: use [`encode_extended`](Self::encode_extended).
    #[inline]
    pub fn encode<'h>(&self, head: &'h mut [u8; HEAD_BYTES_MAX]) -> &'h [u8] {
        codec::encode(self, head)
    }

    /// Writes a message with or without extensions as [`encode`](Self::encode) does, in a buffer that
    /// must be longer by one byte than [`HEAD_BYTES_MAX`] and its extensions:
    /// [`EXTENDED_HEAD_BYTES_MAX`] is enough for any.
    ///
    /// # Errors
    /// Returns [`NoRoom`] where the buffer is shorter, and where a Hello or a Welcome would be
    /// longer than [`HELLO_BYTES_MAX`].
    ///
    /// # Panics
    /// Panics where a Hello's name is longer than [`NAME_BYTES_MAX`].
    pub fn encode_extended<'h>(&self, head: &'h mut [u8]) -> Result<&'h [u8], NoRoom> {
        codec::encode_extended(self, head)
    }

    /// Writes a message as [`encode`](Self::encode) does, in a buffer that costs nothing to make
    /// anew for each message. Returns `None` for a Hello, a Welcome, a Goodbye and a request with
    /// extensions, which are longer.
    #[inline]
    pub fn encode_short<'h>(&self, head: &'h mut [u8; BODY_HEAD_BYTES_MAX]) -> Option<&'h [u8]> {
        codec::encode_short(self, head)
    }

    /// Returns the message's name, for errors and logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Welcome { .. } => "Welcome",
            Self::Request { .. } => "Request",
            Self::Response { .. } => "Response",
            Self::Cancel { .. } => "Cancel",
            Self::Ping => "Ping",
            Self::Pong => "Pong",
            Self::Drain => "Drain",
            Self::Goodbye { .. } => "Goodbye",
        }
    }
}

/// Checks a name as every Hello is checked: its length, and that it can be printed as it is.
///
/// # Errors
/// Returns [`MessageError::NameTooLong`] or [`MessageError::NameNotPlain`]: choose another name.
pub fn check_name(name: &str) -> Result<(), MessageError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(MessageError::NameTooLong);
    }
    // It ends up in logs and on terminals, which a peer must not write to.
    if name.chars().any(char::is_control) {
        return Err(MessageError::NameNotPlain);
    }
    Ok(())
}

/// Returns the longest beginning of `text` that has at most `bytes_max` bytes and splits no
/// character.
pub fn clip(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    (0..=bytes_max).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// A frame that is no message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageError {
    /// The frame has no byte.
    Empty,
    /// The frame's first byte names no message.
    UnknownKind(u8),
    /// A Hello that does not carry [`MAGIC`].
    WrongMagic,
    /// A Hello of another version: this one.
    WrongVersion(u8),
    /// The frame ends in the middle of the message.
    Truncated,
    /// The message ends before the frame does.
    TrailingBytes,
    /// A name longer than [`NAME_BYTES_MAX`].
    NameTooLong,
    /// A name with a line break or another control character.
    NameNotPlain,
    /// A Goodbye's text longer than [`TEXT_BYTES_MAX`].
    TextTooLong,
    /// A name or text that is not UTF-8.
    NotUtf8,
    /// A number, role or verdict out of its range.
    BadValue,
    /// A Hello or Welcome longer than [`HELLO_BYTES_MAX`].
    HelloTooLong,
    /// More extensions than [`EXTENSIONS_BYTES_MAX`].
    ExtensionsTooLong,
    /// A schema longer than [`SCHEMA_BYTES_MAX`].
    SchemaTooLong,
}

impl MessageError {
    /// Returns the code to say Goodbye with.
    pub const fn code(self) -> Code {
        match self {
            Self::WrongVersion(_) | Self::WrongMagic => Code::WrongVersion,
            _ => Code::BadMessage,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty frame: each frame must hold one message",
            Self::UnknownKind(KEYED_KIND) => {
                "the peer wants both sides to prove a key, and this one has none here: wrap its \
                 connector or listener with the peer's key, or take the key from the peer"
            }
            Self::UnknownKind(kind) => {
                return write!(
                    f,
                    "the frame begins with {kind:#04x}, which names no message of version \
                     {VERSION}: is the peer a chargehand?"
                );
            }
            Self::WrongMagic => "the Hello lacks the magic \"chgd\": is the peer a chargehand?",
            Self::WrongVersion(theirs) => {
                return write!(
                    f,
                    "the peer speaks version {theirs}, this side version {VERSION}: upgrade the \
                     older one"
                );
            }
            Self::Truncated => "the frame ends in the middle of its message",
            Self::TrailingBytes => "bytes follow the message in its frame",
            Self::NameTooLong => "the Hello's name is longer than 64 bytes: choose a shorter one",
            Self::NameNotPlain => {
                "the Hello's name holds a line break or another control character: choose a plain \
                 one"
            }
            Self::TextTooLong => "the Goodbye's text is longer than 256 bytes",
            Self::NotUtf8 => "a name or text is not UTF-8",
            Self::BadValue => "a number, role or verdict is out of its range",
            Self::HelloTooLong => {
                "the Hello or Welcome is longer than 1024 bytes: send fewer or shorter extensions"
            }
            Self::ExtensionsTooLong => {
                "a message's extensions are longer than 1024 bytes: send fewer or shorter ones"
            }
            Self::SchemaTooLong => "a schema is longer than 64 bytes: choose a shorter one",
        })
    }
}

impl core::error::Error for MessageError {}

#[cfg(test)]
mod tests;
