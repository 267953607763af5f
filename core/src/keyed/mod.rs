//! Proof of a shared key, for links without TLS, before the first message; and, with the feature
//! `sealed`, encryption after it. No heap, no clock, no randomness of its own.
//!
//! Each member has a key of 32 random bytes, and the other side of its links has the same. The side that
//! opens a link is the [`Initiator`], the other one the [`Responder`], whichever of them is the manager.
//! They exchange three messages, which are the first of the link:
//!
//! 1. *Open*: version, role, name, a nonce, and which key it is;
//! 2. *Challenge*: the same of the other side, and its proof;
//! 3. *Proof* of the side that opened.
//!
//! The key never leaves: a proof is HMAC-SHA-256 over all that both sides said, under the key. So each side
//! knows that the other one has the key now, in that role, under that name, and that nobody changed a bit on
//! the way. A message that was recorded or sent back proves nothing: it is about other nonces, or the
//! other direction.
//!
//! Both sides then have a [`Channel`], which all later messages go through. Without encryption it adds
//! a code of 32 bytes to the first message each way, the Hello, so that window, token and whatever
//! else is in there is the peer's as well. Whoever can change bytes on the way can still do so later: there is
//! encryption ([`Member::sealed`]) against that, which ChaCha20-Poly1305 does with a key for each direction.
//!
//! ```
//! use chargehand_core::keyed::{EXCHANGE_BYTES_MAX, Initiator, SharedKey, Member, Responder};
//! use chargehand_core::message::Role;
//!
//! let key = SharedKey::new([7; 32]); // from 32 random bytes, the same on both sides
//! let (mut ours, mut theirs) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
//! let manager = Member::new(Role::Manager, "blocks")?;
//! let worker = Member::new(Role::Worker, "w1")?;
//!
//! // Nonces are from a source of randomness, and never the same twice.
//! let (initiator, open) = Initiator::new(manager, &key, [1; 32], &mut ours);
//! let find = |name: &str, id| (name == "blocks" && id == key.id()).then(|| key.clone());
//! let (responder, challenge) = Responder::new(worker, [2; 32], open, find, &mut theirs)?;
//! let (mut near, proof) = initiator.handle_challenge(challenge, &mut ours)?;
//! let mut far = responder.handle_proof(proof)?;
//! assert_eq!((near.peer(), far.peer()), ("w1", "blocks"));
//!
//! let mut buffer = [0; 64];
//! buffer[..5].copy_from_slice(b"hello");
//! let length = near.protect(&mut buffer, 5)?; // send so much of the buffer
//! assert_eq!(far.open(&mut buffer[..length])?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Nonces
//!
//! A nonce must differ from all that this side has used with the key; it need not be secret, and not even
//! hard to guess. Take it from a source of randomness, or count starts in memory that outlives
//! a reset and links since then. Where a board has neither, and uses one again, the keys of a link are still
//! new, since the other side's nonce is in them. But then somebody who recorded a link can play the other
//! side's part of it to that board again, verbatim, until its answers differ: nobody can read or
//! forge anything by that, and what the board was asked then it is asked again.

mod channel;
mod exchange;
mod key;
mod name;
#[cfg(test)]
mod tests;

use core::fmt;

use crate::message::{Code, MessageError, NAME_BYTES_MAX, Role, VERSION, check_name};

pub use channel::{Channel, ChannelError};
pub use exchange::{Initiator, Responder};
pub use key::{KEY_BYTES, KeyError, KeyId, SharedKey};

/// The version of the exchange that this crate speaks.
pub const KEYED_VERSION: u8 = 1;
/// The length of a nonce, in bytes.
pub const NONCE_BYTES: usize = 32;
/// The longest message of an exchange, in bytes.
pub const EXCHANGE_BYTES_MAX: usize = 6 + NONCE_BYTES + 1 + NAME_BYTES_MAX + PROOF_BYTES;
/// By how much a [`Channel`] makes the first message each way longer where nothing is encrypted, in bytes:
/// the later ones stay as they are.
pub const PROOF_BYTES: usize = 32;
/// By how much a [`Channel`] makes each message longer where all is encrypted, in bytes.
pub const SEAL_BYTES: usize = 2 + 16;

/// What one side says of itself in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    role: Role,
    name: &'a str,
    seals: bool,
}

impl<'a> Member<'a> {
    /// Makes a side that proves its key and takes proof, and encrypts nothing.
    ///
    /// # Errors
    /// Returns [`ExchangeError::BadName`] for a name that is not of 1 to 64 bytes or has a control
    /// character: choose another.
    pub fn new(role: Role, name: &'a str) -> Result<Self, ExchangeError> {
        if name.is_empty() || check_name(name).is_err() {
            return Err(ExchangeError::BadName);
        }
        Ok(Self { role, name, seals: false })
    }

    /// Has everything encrypted after the exchange. Both sides must, or neither: there is no middle
    /// that somebody on the way could talk them into.
    #[cfg(feature = "sealed")]
    #[must_use]
    pub const fn sealed(self) -> Self {
        Self { seals: true, ..self }
    }
}

/// Why an exchange failed. Say Goodbye with [`code`](ExchangeError::code) and close the link; never go
/// on without the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ExchangeError {
    /// The other side began with a Hello: it has no key.
    Plain,
    /// The other side said Goodbye. Its text says why, and nothing proves that it is the other side's.
    Refused,
    /// What came is no message of an exchange, or not a whole one.
    Malformed,
    /// A message of another step came: that of this side itself, say, sent back.
    OutOfTurn,
    /// The other side speaks other versions.
    WrongVersion {
        /// Its version of the exchange.
        exchange: u8,
        /// Its version of the messages after that.
        messages: u8,
    },
    /// The other side has the same role.
    WrongRole,
    /// The other side encrypts, and this one does not.
    Sealed,
    /// This side encrypts, and the other one does not.
    NotSealed,
    /// A name that is not of 1 to 64 bytes, or has a control character, or is not UTF-8.
    BadName,
    /// No key of that name and id is known here.
    UnknownKey,
    /// The other side's proof is wrong: it has another key, or somebody changed what was said.
    Unproven,
}

impl ExchangeError {
    /// Returns the code to say Goodbye with.
    pub const fn code(self) -> Code {
        match self {
            Self::Plain
            | Self::Refused
            | Self::UnknownKey
            | Self::Unproven
            | Self::Sealed
            | Self::NotSealed => Code::Unproven,
            Self::Malformed | Self::OutOfTurn | Self::BadName => Code::BadMessage,
            Self::WrongVersion { .. } => Code::WrongVersion,
            Self::WrongRole => Code::WrongRole,
        }
    }
}

impl From<MessageError> for ExchangeError {
    fn from(_: MessageError) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => {
                "the other side has no key, and here only those with one are taken: give it the same \
                 key, or connect it where none is asked for"
            }
            Self::Refused => "the other side refused the proof of a key",
            Self::Malformed => {
                "what came is no message of a key exchange: does the other side have a key, too?"
            }
            Self::OutOfTurn => {
                "a message of the key exchange came out of turn: is it this side's own, sent back?"
            }
            Self::WrongVersion { exchange, messages } => {
                return write!(
                    f,
                    "the other side speaks version {exchange} of the key exchange and {messages} of \
                     the messages, this side {KEYED_VERSION} and {VERSION}: upgrade the older one"
                );
            }
            Self::WrongRole => {
                "both sides are managers, or both workers: connect managers to workers"
            }
            Self::Sealed => {
                "the other side encrypts, and this one does not: set both up alike"
            }
            Self::NotSealed => {
                "this side encrypts, and the other one does not: set both up alike"
            }
            Self::BadName => {
                "a name in the key exchange has not 1 to 64 bytes, or a control character: choose a \
                 plain one"
            }
            Self::UnknownKey => {
                "no such key is known here for the other side's name: add it, or mend the name"
            }
            Self::Unproven => {
                "the other side's proof is wrong: it has another key of the same id, or somebody \
                 changes what is said on the way"
            }
        })
    }
}

impl core::error::Error for ExchangeError {}
