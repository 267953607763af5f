//! Frames of a WebSocket (RFC 6455 section 5): headers and masks.

/// How long a header is at most.
pub(crate) const HEADER_BYTES_MAX: usize = 14;
/// How long the payload of a control frame is at most (section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is for: its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn of(code: u8) -> Option<Self> {
        match code {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What comes before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether this frame ends its message.
    pub(crate) is_final: bool,
    pub(crate) kind: Kind,
    pub(crate) mask: Option<[u8; 4]>,
    /// Of the payload, in bytes.
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header at the beginning of `bytes`: it and its own length, or `None` where it isn't
    /// whole yet. What no peer may send is refused at the second byte.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("a frame with reserved bits, though no extension is in use");
        }
        let kind = Kind::of(first & 0x0F).ok_or("a frame with a reserved opcode")?;
        let is_final = first & 0x80 != 0;
        if kind.is_control() && !is_final {
            return Err("a control frame in fragments");
        }
        let (length, wide) = match second & 0x7F {
            0x7E.. if kind.is_control() => return Err("a control frame of more than 125 bytes"),
            0x7E => (rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes).into()), 2),
            0x7F => (rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)), 8),
            length => (Some(length.into()), 0),
        };
        let Some(length) = length else { return Ok(None) };
        if length > u64::MAX >> 1 {
            return Err("a frame whose length has the highest bit set");
        }
        let (mask, masked) = if second & 0x80 == 0 {
            (None, 0)
        } else {
            let Some(mask) = rest[wide..].first_chunk() else { return Ok(None) };
            (Some(*mask), 4)
        };
        Ok(Some((Self { is_final, kind, mask, length }, 2 + wide + masked)))
    }

    /// Appends the header to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code() | if self.is_final { 0x80 } else { 0 });
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ 0..=125), _) => out.push(masked | length),
            (_, Ok(length)) => {
                out.push(masked | 0x7E);
                out.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                out.push(masked | 0x7F);
                out.extend_from_slice(&self.length.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| &mask[..]));
    }
}

/// Masks bytes, or takes the mask off (section 5.3), and turns `key` to where the next bytes begin.
pub(crate) fn mask(bytes: &mut [u8], key: &mut [u8; 4]) {
    let count = bytes.len();
    // A word at a time: the compiler makes vectors of these, and of single bytes it does not.
    let wide = u64::from_ne_bytes(std::array::from_fn(|at| key[at % 4]));
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let value = u64::from_ne_bytes((&*word).try_into().expect("it has eight bytes"));
        word.copy_from_slice(&(value ^ wide).to_ne_bytes());
    }
    let rest = words.into_remainder().iter_mut();
    rest.zip(wide.to_ne_bytes()).for_each(|(byte, key)| *byte ^= key);
    key.rotate_left(count % 4);
}

/// Whether a close frame may have this code (section 7.4, and the registry that it set up).
pub(crate) fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_from_their_bytes_and_from_no_part_of_them() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 40, u64::MAX >> 1] {
            for (kind, is_final) in
                [(Kind::Text, true), (Kind::Binary, false), (Kind::Continuation, true)]
            {
                for mask in [None, Some([1, 2, 3, 4])] {
                    let header = Header { is_final, kind, mask, length };
                    let mut bytes = Vec::new();
                    header.write(&mut bytes);
                    assert!(bytes.len() <= HEADER_BYTES_MAX);
                    assert_eq!(Header::parse(&bytes), Ok(Some((header, bytes.len()))));
                    for end in 0..bytes.len() {
                        assert_eq!(Header::parse(&bytes[..end]), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn every_first_byte_is_a_kind_or_refused() {
        for first in 0..=u8::MAX {
            let known = matches!(first & 0x7F, 0 | 1 | 2 | 8 | 9 | 10);
            let whole = first & 0x08 == 0 || first & 0x80 != 0;
            assert_eq!(Header::parse(&[first, 0]).is_ok(), known && whole, "{first:#x}");
        }
        assert!(Header::parse(&[0x89, 126]).is_err(), "a long ping");
        let longest = [&[0x82, 127][..], &[0xFF; 8]].concat();
        assert!(Header::parse(&longest).is_err());
    }

    #[test]
    fn a_mask_is_the_same_in_pieces_of_any_length() {
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> =
            plain.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(a, b)| a ^ b).collect();
        for piece in 1..=plain.len() {
            let (mut bytes, mut key) = (plain.clone(), [9, 8, 7, 6]);
            bytes.chunks_mut(piece).for_each(|piece| mask(piece, &mut key));
            assert_eq!(bytes, expected, "in pieces of {piece}");
        }
    }
}
