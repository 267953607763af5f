//! The receiving half: from bytes to messages and control frames.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{io, mem};

use chargehand_core::copy;
use chargehand_core::spare::{self, SPARE_BYTES};
use futures_io::AsyncRead;

use crate::frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Kind, mask};

/// How much memory is set aside at most for a message before its bytes are there. Otherwise it is as
/// much as came already, or one read buffer.
const AHEAD_BYTES: usize = 64 << 10;
/// How short a fragment is to count as one that carries nothing.
const SHORT_BYTES: u64 = 16;

/// Collects messages out of frames.
///
/// Everything is judged by a frame's header, before memory is set aside. That is then taken as the
/// bytes come, so a peer that announces much and sends nothing costs nothing.
pub(crate) struct Reader {
    rules: Rules,
    /// What was read and isn't taken yet lies in `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The message under way, or the one that was given out last: its first `filled` bytes. Those
    /// behind are of no meaning, and there to read to.
    message: Vec<u8>,
    filled: usize,
    /// What the message under way is.
    kind: Option<Kind>,
    /// The data frame under way.
    frame: Option<Payload>,
    received: u64,
    /// How long a message may be that there is memory for.
    admitted: usize,
    /// How long the message is, or may become, that waits for it.
    held: usize,
}

/// What may come.
pub(crate) struct Rules {
    /// Whether frames are masked: those of a client are, those of a server are not.
    pub(crate) is_masked: bool,
    pub(crate) takes_text: bool,
    pub(crate) message_bytes_max: usize,
    pub(crate) frame_bytes_max: usize,
}

/// What is left of a data frame.
struct Payload {
    left: u64,
    mask: Option<[u8; 4]>,
    is_final: bool,
    is_short: bool,
}

/// What came.
pub(crate) enum Event {
    /// A whole message, which [`Reader::message`] has.
    Message,
    /// A fragment that carries nothing, or next to nothing.
    Idle,
    Ping(Control),
    Pong,
    Close(Control),
    /// A data frame that waits to be [admitted](Reader::admit). Read nothing until then.
    Held,
    /// Nothing whole: [`Reader::poll_fill`] gets more.
    Hungry,
}

/// The payload of a control frame.
pub(crate) struct Control {
    bytes: [u8; CONTROL_BYTES_MAX],
    length: usize,
}

impl Control {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// How a peer broke the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Breach {
    /// A frame that no peer may send.
    Frame(&'static str),
    /// Text, where there should be none.
    Text,
    NotUtf8,
    TooLong {
        length: u64,
        limit: usize,
    },
}

impl Reader {
    /// Makes a reader that takes `tail` for the first bytes, and `read_bytes` at most with a read.
    pub(crate) fn new(rules: Rules, tail: &[u8], read_bytes: usize) -> Self {
        // A header or a control frame has to be in there whole.
        let least = HEADER_BYTES_MAX + CONTROL_BYTES_MAX;
        let mut buffer = vec![0; read_bytes.max(least).max(tail.len())];
        buffer[..tail.len()].copy_from_slice(tail);
        let (end, received) = (tail.len(), tail.len() as u64);
        let (message, kind, frame) = (Vec::new(), None, None);
        let (start, filled, admitted, held) = (0, 0, usize::MAX, 0);
        Self { rules, buffer, start, end, message, filled, kind, frame, received, admitted, held }
    }

    /// Sets how long a message may be from the next frame on.
    pub(crate) fn limit(&mut self, message_bytes_max: usize) {
        self.rules.message_bytes_max = message_bytes_max;
    }

    /// Sets how long a message may be that memory is taken for, from the next frame on.
    pub(crate) fn admit(&mut self, bytes_max: usize) {
        self.admitted = bytes_max;
    }

    /// Returns how long the message is, or may become, that waits to be admitted.
    pub(crate) fn incoming(&self) -> usize {
        self.held
    }

    /// Returns how many bytes have come.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Returns the message that [`Event::Message`] told of.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message[..self.filled]
    }

    /// Forgets the message that was given out last. To be called before [`next`](Self::next).
    pub(crate) fn release(&mut self) {
        if self.kind.is_none() {
            self.filled = 0;
        }
    }

    /// Gives the memory of long messages back with nothing more to read now: all of it, or what is more
    /// than twice as much as has come of the one under way, unless there is room for that whole.
    pub(crate) fn rest(&mut self) {
        if self.kind.is_none() {
            if self.message.capacity() > self.buffer.len() {
                spare::give_back(mem::take(&mut self.message));
                self.filled = 0;
            }
        } else if self.message.len() >= SPARE_BYTES && self.filled < self.message.len() / 2 {
            let mut other = Vec::with_capacity((2 * self.filled).max(self.buffer.len()));
            other.extend_from_slice(self.message());
            spare::give_back(mem::replace(&mut self.message, other));
        }
    }

    /// Takes the thread's buffer for a message that begins and needs more than a read.
    fn take_spare(&mut self, left: u64) {
        // Whoever takes only short messages for now should not hold what may follow them.
        let may_be_large = self.rules.message_bytes_max >= SPARE_BYTES;
        let is_long = left > self.buffer.len() as u64;
        if may_be_large && is_long && self.filled == 0 && self.message.capacity() == 0 {
            self.message = spare::take();
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity() + self.message.capacity()
    }

    /// Takes the next of what was read.
    pub(crate) fn next(&mut self) -> Result<Event, Breach> {
        loop {
            if let Some(mut frame) = self.frame.take() {
                self.take_payload(&mut frame);
                if frame.left > 0 {
                    self.frame = Some(frame);
                    return Ok(Event::Hungry);
                }
                match self.end_frame(&frame)? {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            let held = &self.buffer[self.start..self.end];
            let Some((header, length)) = Header::parse(held).map_err(Breach::Frame)? else {
                return Ok(Event::Hungry);
            };
            match (self.rules.is_masked, header.mask.is_some()) {
                (true, false) => return Err(Breach::Frame("a client's frame without a mask")),
                (false, true) => return Err(Breach::Frame("a server's frame with a mask")),
                _ => {}
            }
            match header.kind {
                Kind::Close | Kind::Ping | Kind::Pong => {
                    return Ok(self.take_control(&header, length).unwrap_or(Event::Hungry));
                }
                Kind::Continuation | Kind::Text | Kind::Binary => {
                    self.judge(&header)?;
                    self.held = self.in_need(&header);
                    if self.held > 0 {
                        return Ok(Event::Held);
                    }
                    self.begin_frame(&header);
                    self.start += length;
                }
            }
        }
    }

    /// Takes a control frame whose header has `header_length` bytes, if it is whole.
    fn take_control(&mut self, header: &Header, header_length: usize) -> Option<Event> {
        let length = usize::try_from(header.length).ok()?;
        let at = self.start + header_length;
        let payload = self.buffer[at..self.end].get(..length)?;
        let mut control = Control { bytes: [0; CONTROL_BYTES_MAX], length };
        control.bytes[..length].copy_from_slice(payload);
        if let Some(mut key) = header.mask {
            mask(&mut control.bytes[..length], &mut key);
        }
        self.start = at + length;
        Some(match header.kind {
            Kind::Ping => Event::Ping(control),
            Kind::Close => Event::Close(control),
            _ => Event::Pong,
        })
    }

    /// Judges a data frame by its header.
    fn judge(&self, header: &Header) -> Result<(), Breach> {
        match (header.kind, self.kind) {
            (Kind::Continuation, None) => return Err(Breach::Frame("a continuation of nothing")),
            (Kind::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(Breach::Frame("a message inside of a fragmented one")),
            (Kind::Text, None) if !self.rules.takes_text => return Err(Breach::Text),
            (_, None) => {}
        }
        let whole = (self.filled as u64).saturating_add(header.length);
        for (length, limit) in
            [(whole, self.rules.message_bytes_max), (header.length, self.rules.frame_bytes_max)]
        {
            if length > limit as u64 {
                return Err(Breach::TooLong { length, limit });
            }
        }
        Ok(())
    }

    /// Returns how much memory a frame's message needs if that is not admitted yet, or 0. Where more
    /// fragments are to come, that is twice as much as is known of, so that short ones do not ask
    /// each by itself.
    fn in_need(&self, header: &Header) -> usize {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let whole = self.filled.saturating_add(length);
        match (whole <= self.admitted, header.is_final) {
            (true, _) => 0,
            (false, true) => whole,
            (false, false) => whole.saturating_mul(2).min(self.rules.message_bytes_max),
        }
    }

    /// Begins with a data frame.
    fn begin_frame(&mut self, header: &Header) {
        if header.kind != Kind::Continuation {
            self.kind = Some(header.kind);
        }
        self.frame = Some(Payload {
            left: header.length,
            mask: header.mask,
            is_final: header.is_final,
            is_short: header.length < SHORT_BYTES,
        });
        self.take_spare(header.length);
        let whole =
            self.filled.saturating_add(usize::try_from(header.length).unwrap_or(usize::MAX));
        if header.is_final && whole > AHEAD_BYTES && self.admitted < usize::MAX {
            // The caller has set memory aside for it.
            self.message.reserve_exact(whole.saturating_sub(self.message.len()));
        }
    }

    /// Moves what was read of a frame to its message.
    fn take_payload(&mut self, frame: &mut Payload) {
        let held = &mut self.buffer[self.start..self.end];
        let count = usize::try_from(frame.left).map_or(held.len(), |left| left.min(held.len()));
        if count == 0 {
            return;
        }
        if let Some(key) = &mut frame.mask {
            mask(&mut held[..count], key);
        }
        let taken = &self.buffer[self.start..self.start + count];
        if let Some(room) = self.message.get_mut(self.filled..self.filled + count) {
            copy::copy(room, taken);
        } else {
            self.message.truncate(self.filled);
            let ahead = ahead(frame.left, self.filled + count, self.buffer.len());
            reserve(&mut self.message, count.max(ahead), self.rules.message_bytes_max);
            copy::append(&mut self.message, taken);
        }
        self.filled += count;
        self.start += count;
        frame.left -= count as u64;
    }

    /// Ends a frame, and with the last one its message.
    fn end_frame(&mut self, frame: &Payload) -> Result<Option<Event>, Breach> {
        if !frame.is_final {
            return Ok(frame.is_short.then_some(Event::Idle));
        }
        let kind = self.kind.take();
        if kind == Some(Kind::Text) && std::str::from_utf8(self.message()).is_err() {
            return Err(Breach::NotUtf8);
        }
        Ok(Some(Event::Message))
    }

    /// Reads once, and completes with how many bytes came: none at the end of the stream. To be
    /// called after [`Event::Hungry`].
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        // What is left over is less than one header or control frame.
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let buffer_bytes = self.buffer.len();
        let count = match &mut self.frame {
            // Long payloads need no detour.
            Some(frame) if frame.left >= buffer_bytes as u64 => {
                if self.message.len() == self.filled {
                    let left = ahead(frame.left, self.filled, buffer_bytes);
                    reserve(&mut self.message, left, self.rules.message_bytes_max);
                    self.message.resize(self.filled + left, 0);
                }
                let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
                let room = self.message.len().min(self.filled.saturating_add(left));
                let room = &mut self.message[self.filled..room];
                let count = ready!(read(cx, stream, room))?;
                if let Some(key) = &mut frame.mask {
                    mask(&mut room[..count], key);
                }
                self.filled += count;
                frame.left -= count as u64;
                count
            }
            _ => {
                let count = ready!(read(cx, stream, &mut self.buffer[self.end..]))?;
                self.end += count;
                count
            }
        };
        self.received += count as u64;
        Poll::Ready(Ok(count))
    }
}

fn read<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        match ready!(Pin::new(&mut *stream).poll_read(cx, room)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

/// Returns for how many of the bytes left to set memory aside, of which `filled` came.
fn ahead(left: u64, filled: usize, buffer_bytes: usize) -> usize {
    let most = filled.max(buffer_bytes).min(AHEAD_BYTES);
    usize::try_from(left).map_or(most, |left| left.min(most))
}

/// Makes room for that many more bytes: twice as much as before where that helps, but no more than a
/// message may have.
fn reserve(message: &mut Vec<u8>, more: usize, message_bytes_max: usize) {
    let needed = message.len().saturating_add(more);
    if needed > message.capacity() {
        let doubled = message.capacity().saturating_mul(2).min(message_bytes_max);
        message.reserve_exact(needed.max(doubled) - message.len());
    }
}
