//! What messages go through once the key is proven.

use core::fmt;

use zeroize::Zeroize;

use super::key::{is_right, mac};
use super::name::Name;
use super::{PROOF_BYTES, SEAL_BYTES};

/// A proven link: what all messages after the exchange go through, in order.
///
/// Without encryption the first message each way has a code at its end, and the others are as they are. With
/// it each is encrypted, in place, and its end says which one it is and that nobody has changed it.
pub struct Channel {
    peer: Name,
    seals: bool,
    may_lose: bool,
    ours: Direction,
    theirs: Direction,
}

/// The messages of one side.
struct Direction {
    key: [u8; 32],
    /// How many there were.
    count: u64,
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A message that cannot be sent, or is not the other side's. Close the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChannelError {
    /// What came is not what the other side sent, or it comes again.
    Forged,
    /// Messages before this one are missing, on a transport that loses none.
    Missing,
    /// As many messages as there are counts have been sent. A new link begins anew.
    Exhausted,
    /// The buffer has no room for what the message becomes longer by.
    NoRoom,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forged => {
                "a message is not what the other side sent: somebody changes or repeats what is said on \
                 the way"
            }
            Self::Missing => {
                "messages of the other side are missing: somebody takes them out on the way"
            }
            Self::Exhausted => "a link has no number left for one more message: open a new one",
            Self::NoRoom => "the buffer has no room for the end that encryption adds to a message",
        })
    }
}

impl core::error::Error for ChannelError {}

impl Channel {
    pub(super) fn new(peer: Name, seals: bool, ours: [u8; 32], theirs: [u8; 32]) -> Self {
        let direction = |key| Direction { key, count: 0 };
        Self { peer, seals, may_lose: false, ours: direction(ours), theirs: direction(theirs) }
    }

    /// Takes it for no attack where messages are missing between others: on a line that drops a
    /// damaged frame. Up to 65,535 may be missing in a row; none can come twice or in another order.
    #[must_use]
    pub fn losing(self) -> Self {
        Self { may_lose: true, ..self }
    }

    /// Returns the name that the other side has proven.
    pub fn peer(&self) -> &str {
        self.peer.as_str()
    }

    /// Returns whether every message is encrypted.
    pub const fn is_sealed(&self) -> bool {
        self.seals
    }

    /// Returns by how much the next message that is sent becomes longer, in bytes. Where it is 0, there is no
    /// need to pass it through [`protect`](Self::protect).
    pub const fn added_bytes(&self) -> usize {
        self.bytes_of(&self.ours)
    }

    /// Returns how much shorter than what comes next its message is, in bytes. Where it is 0, there is no need
    /// to pass it through [`open`](Self::open).
    pub const fn removed_bytes(&self) -> usize {
        self.bytes_of(&self.theirs)
    }

    const fn bytes_of(&self, direction: &Direction) -> usize {
        match (self.seals, direction.count) {
            (true, _) => SEAL_BYTES,
            (false, 0) => PROOF_BYTES,
            (false, _) => 0,
        }
    }

    /// Makes the message in the first `length` bytes what is to be sent, in place, and returns how long
    /// that is: by [`added_bytes`](Self::added_bytes) longer. Each call counts: send what it made, in
    /// order, or close the link.
    ///
    /// # Errors
    /// Returns [`ChannelError::NoRoom`] where the buffer is shorter than that, and nothing was changed;
    /// [`ChannelError::Exhausted`] after 2^64 - 1 messages.
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, ChannelError> {
        let added = self.added_bytes();
        let (message, end) = buffer.split_at_mut_checked(length).ok_or(ChannelError::NoRoom)?;
        let end = end.get_mut(..added).ok_or(ChannelError::NoRoom)?;
        self.ours.count = match self.ours.count.checked_add(1) {
            Some(count) => count,
            None if self.seals => return Err(ChannelError::Exhausted),
            None => u64::MAX,
        };
        match added {
            0 => {}
            PROOF_BYTES => end.copy_from_slice(&mac(&self.ours.key, &[message])),
            _ => seal(&self.ours.key, self.ours.count - 1, message, end)?,
        }
        Ok(length + added)
    }

    /// Checks what came, decrypts it in place, and returns the message: its beginning.
    ///
    /// # Errors
    /// Returns [`ChannelError`] where it is not the other side's next message. What is in `message` then is of
    /// no use: close the link.
    pub fn open<'m>(&mut self, message: &'m mut [u8]) -> Result<&'m [u8], ChannelError> {
        let removed = self.removed_bytes();
        let length = message.len().checked_sub(removed).ok_or(ChannelError::Forged)?;
        let (message, end) = message.split_at_mut(length);
        if removed == PROOF_BYTES {
            let code = (&*end).try_into().map_err(|_| ChannelError::Forged)?;
            if !is_right(&self.theirs.key, message, code) {
                return Err(ChannelError::Forged);
            }
        } else if removed > 0 {
            let number = unseal(&self.theirs.key, self.theirs.count, message, end)?;
            if number != self.theirs.count && !self.may_lose {
                return Err(ChannelError::Missing);
            }
            self.theirs.count = number;
        }
        self.theirs.count = match self.theirs.count.checked_add(1) {
            Some(count) => count,
            None if self.seals => return Err(ChannelError::Exhausted),
            None => u64::MAX,
        };
        Ok(message)
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, count: u64) {
        (self.ours.count, self.theirs.count) = (count, count);
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("peer", &self.peer())
            .field("seals", &self.seals)
            .field("sent", &self.ours.count)
            .field("received", &self.theirs.count)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "sealed")]
use self::sealing::{seal, unseal};

#[cfg(feature = "sealed")]
mod sealing {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};

    use super::ChannelError;

    /// How many bytes of its number a message carries: the rest follows from those before it.
    const NUMBER_BYTES: usize = 2;

    /// Encrypts a message in place, and writes what is to follow it.
    pub(super) fn seal(
        key: &[u8; 32],
        number: u64,
        message: &mut [u8],
        end: &mut [u8],
    ) -> Result<(), ChannelError> {
        let tag = ChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(&nonce(number), &[], message.into())
            .map_err(|_| ChannelError::NoRoom)?;
        let (place, rest) = end.split_at_mut(NUMBER_BYTES);
        place.copy_from_slice(&number.to_le_bytes()[..NUMBER_BYTES]);
        rest.copy_from_slice(&tag);
        Ok(())
    }

    /// Decrypts a message in place, and returns its number: the least one from `next` on with this end.
    pub(super) fn unseal(
        key: &[u8; 32],
        next: u64,
        message: &mut [u8],
        end: &[u8],
    ) -> Result<u64, ChannelError> {
        let (said, tag) = end.split_first_chunk::<NUMBER_BYTES>().ok_or(ChannelError::Forged)?;
        let [low, high, ..] = next.to_le_bytes();
        let gap = u16::from_le_bytes(*said).wrapping_sub(u16::from_le_bytes([low, high]));
        let number = next.checked_add(gap.into()).ok_or(ChannelError::Forged)?;
        let tag = Tag::try_from(tag).map_err(|_| ChannelError::Forged)?;
        ChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(&nonce(number), &[], message.into(), &tag)
            .map_err(|_| ChannelError::Forged)?;
        Ok(number)
    }

    fn nonce(number: u64) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[4..].copy_from_slice(&number.to_le_bytes());
        nonce
    }
}

/// Nothing asks for encryption without the feature, so there is nothing to encrypt.
#[cfg(not(feature = "sealed"))]
fn seal(_: &[u8; 32], _: u64, _: &mut [u8], _: &mut [u8]) -> Result<(), ChannelError> {
    Err(ChannelError::NoRoom)
}

#[cfg(not(feature = "sealed"))]
fn unseal(_: &[u8; 32], _: u64, _: &mut [u8], _: &[u8]) -> Result<u64, ChannelError> {
    Err(ChannelError::Forged)
}
