//! The bytes of a message's head: what postcard would write for it, and take, written by hand.

use super::{
    BODY_HEAD_BYTES_MAX, Code, Extensions, HEAD_BYTES_MAX, HELLO_BYTES_MAX, Hello, MAGIC, Message,
    MessageError, NAME_BYTES_MAX, NoRoom, Role, TEXT_BYTES_MAX, VERSION, check_name, clip,
};
use crate::event::Verdict;
use crate::id::TaskId;

pub(crate) const HELLO: u8 = 0;
const WELCOME: u8 = 1;
const REQUEST: u8 = 2;
const RESPONSE: u8 = 3;
const CANCEL: u8 = 4;
const PING: u8 = 5;
const PONG: u8 = 6;
const DRAIN: u8 = 7;
pub(crate) const GOODBYE: u8 = 8;

/// Set in each byte of a number but the last.
const MORE: u8 = 0x80;

/// Decodes a frame: requests and answers here, inlined into the caller, and the rest in [`rare`].
// Inlined, so that a message is matched on where it is built: written to memory in small pieces and read
// back in large ones, it stalls the processor (decision 0010).
#[expect(clippy::inline_always, reason = "passing a message through memory stalls")]
#[inline(always)]
pub(super) fn decode(frame: &[u8]) -> Result<Message<'_>, MessageError> {
    let (&kind, rest) = frame.split_first().ok_or(MessageError::Empty)?;
    let mut head = FieldReader { rest };
    if !matches!(kind, REQUEST | RESPONSE | CANCEL) {
        // It never returns a request, and the compiler, told so, leaves a request's parts where they
        // are; it would lay them where this one's result lies. See decision 0011.
        return rare(kind, head).map(|message| match message {
            Message::Request { .. } => Message::Ping,
            other => other,
        });
    }
    let (task, attempt) = head.attempt()?;
    match kind {
        REQUEST => {
            let (extensions, body) = match head.rest.split_first() {
                Some((&0, body)) => (Extensions::NONE, body),
                _ => extended(head)?,
            };
            Ok(Message::Request { task, attempt, extensions, body })
        }
        RESPONSE => {
            let verdict = head.verdict()?;
            Ok(Message::Response { task, attempt, verdict, body: head.rest })
        }
        _ if head.rest.is_empty() => Ok(Message::Cancel { task, attempt }),
        _ => Err(MessageError::TrailingBytes),
    }
}

/// Reads the rest of a request that has extensions.
fn extended(mut head: FieldReader<'_>) -> Result<(Extensions<'_>, &[u8]), MessageError> {
    Ok((head.extensions()?, head.rest))
}

fn rare(kind: u8, mut head: FieldReader<'_>) -> Result<Message<'_>, MessageError> {
    let is_long = head.rest.len() >= HELLO_BYTES_MAX;
    let message = match kind {
        HELLO => {
            head.opening()?;
            if is_long {
                return Err(MessageError::HelloTooLong);
            }
            Message::Hello(head.hello()?)
        }
        WELCOME if is_long => return Err(MessageError::HelloTooLong),
        WELCOME => Message::Welcome {
            heartbeat_millis: head.u32()?,
            window: head.u16()?,
            extensions: head.extensions()?,
        },
        PING => Message::Ping,
        PONG => Message::Pong,
        DRAIN => Message::Drain,
        GOODBYE => Message::Goodbye { code: Code::from_byte(head.byte()?), text: head.text()? },
        _ => return Err(MessageError::UnknownKind(kind)),
    };
    if !head.rest.is_empty() {
        return Err(MessageError::TrailingBytes);
    }
    match message {
        Message::Hello(Hello { name, .. }) => check_name(name)?,
        Message::Goodbye { text, .. } if text.len() > TEXT_BYTES_MAX => {
            return Err(MessageError::TextTooLong);
        }
        _ => {}
    }
    Ok(message)
}

/// What is left of a frame.
///
/// A number may take more bytes than it needs, up to what the largest of its type takes: so it is
/// in postcard.
#[derive(Clone, Debug)]
pub(super) struct FieldReader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    fn byte(&mut self) -> Result<u8, MessageError> {
        let (&byte, rest) = self.rest.split_first().ok_or(MessageError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Reads a number in no more bytes than one of so many bits takes. With 16 bits it may still be
    /// above `u16::MAX`.
    #[inline]
    fn number(&mut self, bits: u32) -> Result<u32, MessageError> {
        let mut value = 0;
        let mut shift = 0;
        while shift < bits {
            let byte = self.byte()?;
            let part = u32::from(byte & !MORE);
            if part > u32::MAX >> shift {
                break;
            }
            value |= part << shift;
            if byte & MORE == 0 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(MessageError::BadValue)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        u16::try_from(self.called(16)?).map_err(|_| MessageError::BadValue)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.called(32)
    }

    /// [`number`](Self::number), where size counts more than speed.
    fn called(&mut self, bits: u32) -> Result<u32, MessageError> {
        self.number(bits)
    }

    pub(super) fn u64(&mut self) -> Result<u64, MessageError> {
        let mut value = 0;
        let mut shift = 0;
        while shift < u64::BITS {
            let byte = self.byte()?;
            let part = u64::from(byte & !MORE);
            if part > u64::MAX >> shift {
                break;
            }
            value |= part << shift;
            if byte & MORE == 0 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(MessageError::BadValue)
    }

    /// Reads all fields of a message, which ends with its frame.
    pub(super) fn whole<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Result<T, MessageError>,
    ) -> Result<T, MessageError> {
        let message = read(&mut self)?;
        if self.rest.is_empty() { Ok(message) } else { Err(MessageError::TrailingBytes) }
    }

    /// Reads a length, and so many bytes.
    fn counted(&mut self) -> Result<&'a [u8], MessageError> {
        let length = usize::try_from(self.u32()?).map_err(|_| MessageError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(MessageError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, MessageError> {
        core::str::from_utf8(self.counted()?).map_err(|_| MessageError::NotUtf8)
    }

    fn extensions(&mut self) -> Result<Extensions<'a>, MessageError> {
        Extensions::new(self.counted()?)
    }

    /// Reads one extension.
    pub(super) fn extension(&mut self) -> Result<(u16, &'a [u8]), MessageError> {
        Ok((self.u16()?, self.counted()?))
    }

    /// Reads what names an attempt: three numbers in a loop, which the compiler unrolls for speed
    /// and leaves alone for size.
    #[inline]
    pub(super) fn attempt(&mut self) -> Result<(TaskId, u16), MessageError> {
        let mut numbers = [0; 3];
        for (number, bits) in numbers.iter_mut().zip([32, 32, 16]) {
            *number = self.number(bits)?;
        }
        let [slot, generation, attempt] = numbers;
        let attempt = u16::try_from(attempt).map_err(|_| MessageError::BadValue)?;
        Ok((TaskId::from_parts(slot, generation), attempt))
    }

    #[expect(clippy::inline_always, reason = "as `decode`")]
    #[inline(always)]
    fn verdict(&mut self) -> Result<Verdict, MessageError> {
        // Mostly one byte. Of more bytes only zeros would still be a verdict's.
        let number = match self.rest {
            [byte, rest @ ..] if byte & MORE == 0 => {
                self.rest = rest;
                (*byte).into()
            }
            _ => self.called(32)?,
        };
        match number {
            0 => Ok(Verdict::Done),
            1 => Ok(Verdict::Failed),
            2 => Ok(Verdict::Returned),
            _ => Err(MessageError::BadValue),
        }
    }

    /// Reads what is the same in the Hello of every version, and judges it before the rest is read.
    fn opening(&mut self) -> Result<(), MessageError> {
        for expected in MAGIC {
            if self.byte()? != expected {
                return Err(MessageError::WrongMagic);
            }
        }
        match self.byte()? {
            VERSION => Ok(()),
            version => Err(MessageError::WrongVersion(version)),
        }
    }

    /// Reads the rest of a Hello.
    fn hello(&mut self) -> Result<Hello<'a>, MessageError> {
        let role = match self.u32()? {
            0 => Role::Manager,
            1 => Role::Worker,
            _ => return Err(MessageError::BadValue),
        };
        Ok(Hello {
            magic: MAGIC,
            version: VERSION,
            role,
            window: self.u16()?,
            frame_bytes_max: self.u32()?,
            token: self.u64()?,
            name: self.text()?,
            extensions: self.extensions()?,
        })
    }
}

/// Writes a message without its body.
#[inline]
pub(super) fn encode<'h>(message: &Message<'_>, head: &'h mut [u8; HEAD_BYTES_MAX]) -> &'h [u8] {
    let mut head = FieldWriter { head, length: 0 };
    if !head.frequent(message) {
        head.rare(message);
    }
    head.written()
}

/// Writes a message without its body, where it fits.
pub(super) fn encode_extended<'h>(
    message: &Message<'_>,
    head: &'h mut [u8],
) -> Result<&'h [u8], NoRoom> {
    let mut bare = *message;
    let extensions = match &mut bare {
        Message::Hello(Hello { extensions, .. })
        | Message::Welcome { extensions, .. }
        | Message::Request { extensions, .. } => core::mem::take(extensions).as_bytes(),
        _ => &[],
    };
    // Their length takes a byte where there are none, and one more where there are many.
    if head.len() <= HEAD_BYTES_MAX + extensions.len() {
        return Err(NoRoom);
    }
    let mut head = FieldWriter { head, length: 0 };
    if !head.frequent(&bare) {
        head.rare(&bare);
    }
    if !extensions.is_empty() {
        // In place of the byte that says that there are none.
        head.length -= 1;
        head.counted(extensions);
    }
    let opens = matches!(message, Message::Hello(_) | Message::Welcome { .. });
    if opens && head.length > HELLO_BYTES_MAX {
        return Err(NoRoom);
    }
    Ok(head.written())
}

/// Writes a message without its body, if its head is short.
#[allow(
    clippy::inline_always,
    reason = "with its like 3.6 % of a range, where flash is not short: decision 0010"
)]
#[cfg_attr(feature = "alloc", inline(always))]
#[cfg_attr(not(feature = "alloc"), inline)]
pub(super) fn encode_short<'h>(
    message: &Message<'_>,
    head: &'h mut [u8; BODY_HEAD_BYTES_MAX],
) -> Option<&'h [u8]> {
    let mut head = FieldWriter { head, length: 0 };
    match message {
        Message::Request { extensions, .. } if !extensions.is_empty() => return None,
        Message::Hello(_) | Message::Welcome { .. } | Message::Goodbye { .. } => return None,
        _ if head.frequent(message) => {}
        _ => head.rare(message),
    }
    Some(head.written())
}

#[inline]
fn assert_none(extensions: Extensions<'_>) {
    assert!(extensions.is_empty(), "a message with extensions: use encode_extended");
}

/// What is written of a head. The buffer holds every head that it is lent for, so that nothing is
/// ever left out. Extensions are written apart, by [`encode_extended`].
pub(super) struct FieldWriter<'h> {
    pub(super) head: &'h mut [u8],
    pub(super) length: usize,
}

impl<'h> FieldWriter<'h> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.number(value);
    }

    #[inline]
    fn number(&mut self, mut value: u32) {
        while value >= u32::from(MORE) {
            self.byte(value.to_le_bytes()[0] | MORE);
            value >>= 7;
        }
        self.byte(value.to_le_bytes()[0]);
    }

    pub(super) fn u64(&mut self, mut value: u64) {
        while value >= u64::from(MORE) {
            self.byte(value.to_le_bytes()[0] | MORE);
            value >>= 7;
        }
        self.byte(value.to_le_bytes()[0]);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.byte(byte);
        }
    }

    /// Writes the kind of a message, and which attempt it is about.
    pub(super) fn of_attempt(&mut self, kind: u8, task: TaskId, attempt: u16) {
        self.byte(kind);
        self.id_of_attempt(task, attempt);
    }

    /// Writes which attempt is meant, where size counts more than speed.
    pub(super) fn id_of_attempt(&mut self, task: TaskId, attempt: u16) {
        for number in [task.slot(), task.generation(), attempt.into()] {
            self.u32(number);
        }
    }

    /// Writes a length, and the bytes.
    fn counted(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.bytes(bytes);
    }

    /// Writes what names an attempt, which flows all the time. Returns whether the message does.
    #[allow(
        clippy::inline_always,
        reason = "3.5 % of a range, where flash is not short: decision 0010"
    )]
    #[cfg_attr(feature = "alloc", inline(always))]
    #[cfg_attr(not(feature = "alloc"), inline)]
    fn frequent(&mut self, message: &Message<'_>) -> bool {
        let (kind, task, attempt) = match *message {
            Message::Request { task, attempt, extensions, .. } => {
                assert_none(extensions);
                (REQUEST, task, attempt)
            }
            Message::Response { task, attempt, .. } => (RESPONSE, task, attempt),
            Message::Cancel { task, attempt } => (CANCEL, task, attempt),
            _ => return false,
        };
        self.byte(kind);
        for number in [task.slot(), task.generation(), u32::from(attempt)] {
            self.number(number);
        }
        match *message {
            Message::Request { .. } => self.byte(0),
            Message::Response { verdict, .. } => self.byte(verdict as u8),
            _ => {}
        }
        true
    }

    fn rare(&mut self, message: &Message<'_>) {
        match *message {
            Message::Hello(Hello {
                magic,
                version,
                role,
                window,
                frame_bytes_max,
                token,
                name,
                extensions,
            }) => {
                assert_none(extensions);
                assert!(name.len() <= NAME_BYTES_MAX, "a name is at most {NAME_BYTES_MAX} bytes");
                self.byte(HELLO);
                self.bytes(&magic);
                self.byte(version);
                self.byte(role as u8);
                self.u32(u32::from(window));
                self.u32(frame_bytes_max);
                self.u64(token);
                self.counted(name.as_bytes());
                self.byte(0);
            }
            Message::Welcome { heartbeat_millis, window, extensions } => {
                assert_none(extensions);
                self.byte(WELCOME);
                self.u32(heartbeat_millis);
                self.u32(u32::from(window));
                self.byte(0);
            }
            Message::Ping => self.byte(PING),
            Message::Pong => self.byte(PONG),
            Message::Drain => self.byte(DRAIN),
            Message::Goodbye { code, text } => {
                self.byte(GOODBYE);
                self.byte(code.to_byte());
                self.counted(clip(text, TEXT_BYTES_MAX).as_bytes());
            }
            // `frequent` writes these.
            Message::Request { .. } | Message::Response { .. } | Message::Cancel { .. } => {}
        }
    }

    #[inline]
    pub(super) fn written(self) -> &'h [u8] {
        self.head.get(..self.length).unwrap_or_default()
    }
}
