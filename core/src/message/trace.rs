//! The context of a trace that a task belongs to, as W3C's Trace Context has it.

use core::fmt;
use core::str::FromStr;

/// Which trace a task belongs to, and which part of it the task is: what W3C's
/// [Trace Context](https://www.w3.org/TR/trace-context/) calls a `traceparent`.
///
/// Displays as one, and parses what displays so. A `tracestate` is not carried: that is what a peer may do with it.
///
/// ```
/// use chargehand_core::message::TraceContext;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context: TraceContext = text.parse()?;
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), text);
/// # Ok::<(), chargehand_core::message::NoTraceContext>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TraceContext {
    trace: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

/// How many bytes a [`TraceContext`] has in a message.
pub const TRACE_BYTES: usize = 25;
/// The length of a `traceparent` of the only version that there is.
const TEXT_BYTES: usize = 55;
const SAMPLED: u8 = 1;

/// A text or some bytes are no trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoTraceContext;

impl TraceContext {
    /// Makes one of the ids of a trace and of the span that is the parent there, and of flags.
    ///
    /// # Errors
    /// Returns [`NoTraceContext`] where an id is all zero, which is none.
    pub const fn new(trace: [u8; 16], parent: [u8; 8], flags: u8) -> Result<Self, NoTraceContext> {
        if u128::from_be_bytes(trace) == 0 || u64::from_be_bytes(parent) == 0 {
            return Err(NoTraceContext);
        }
        Ok(Self { trace, parent, flags })
    }

    /// Returns the id of the trace.
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace
    }

    /// Returns the id of the span that is the parent of whatever belongs to this.
    pub const fn parent_id(&self) -> [u8; 8] {
        self.parent
    }

    /// Returns the flags.
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Returns whether the trace is recorded, as far as whoever began it knows.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns it as it is in a message: both ids and the flags.
    pub fn to_bytes(&self) -> [u8; TRACE_BYTES] {
        let mut bytes = [self.flags; TRACE_BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..24].copy_from_slice(&self.parent);
        bytes
    }

    /// Reads it as it is in a message. More bytes than that are of a later version, and passed over.
    ///
    /// # Errors
    /// Returns [`NoTraceContext`] where there are too few, or an id is all zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoTraceContext> {
        let (trace, rest) = bytes.split_first_chunk().ok_or(NoTraceContext)?;
        let (parent, rest) = rest.split_first_chunk().ok_or(NoTraceContext)?;
        Self::new(*trace, *parent, *rest.first().ok_or(NoTraceContext)?)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, parent) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.parent));
        write!(f, "00-{trace:032x}-{parent:016x}-{:02x}", self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// Reads a `traceparent`, also of a later version, of which the beginning is the same.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(TEXT_BYTES).ok_or(NoTraceContext)?;
        let version = hex::<1>(&known[..2])?[0];
        let is_cut = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        // A later version may have more, behind another dash; the last one is none.
        let has_more = version > 0 && rest.first() == Some(&b'-');
        if !is_cut || version == u8::MAX || !(rest.is_empty() || has_more) {
            return Err(NoTraceContext);
        }
        Self::new(hex(&known[3..35])?, hex(&known[36..52])?, hex::<1>(&known[53..55])?[0])
    }
}

/// Reads digits in lower case, as all of a `traceparent` is.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], NoTraceContext> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(NoTraceContext),
            };
            *byte = *byte << 4 | value;
        }
    }
    Ok(bytes)
}

impl fmt::Display for NoTraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no trace context: it is written like \
             00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
    }
}

impl core::error::Error for NoTraceContext {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_w3c_has_it() {
        let context: TraceContext = TEXT.parse().unwrap();
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(context.trace_id()[..2], [0x0a, 0xf7]);
        assert_eq!((context.parent_id()[7], context.flags()), (0x31, 1));
        assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Ok(context));
        let later = TEXT.replacen("00", "cc", 1) + "-what-comes";
        assert_eq!(later.parse(), Ok(context), "a later version begins alike");
        let unsampled: TraceContext = TEXT.replace("-01", "-00").parse().unwrap();
        assert!(context.is_sampled() && !unsampled.is_sampled());
    }

    #[test]
    fn what_is_none_is_refused_and_nothing_panics() {
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}\u{1d11e}",
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(NoTraceContext), "{wrong}");
        }
        let context: TraceContext = TEXT.parse().unwrap();
        for length in 0..TRACE_BYTES {
            assert!(TraceContext::from_bytes(&context.to_bytes()[..length]).is_err());
        }
        assert!(TraceContext::from_bytes(&[0; TRACE_BYTES]).is_err());
    }
}
