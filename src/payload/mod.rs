//! What a task asks and what it is answered: bytes for workers elsewhere, values as they are for
//! workers in this process.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::num::TryFromIntError;

use chargehand_core::ledger::Height as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::budget::Charge;
use crate::error::TaskError;
use crate::failure::{Failure, failure_of};
use crate::handler::running::caught;

pub(crate) mod bytes;
mod decode;
pub(crate) mod encode;
#[cfg(feature = "json")]
pub(crate) mod json_heights;

pub(crate) use self::bytes::Body;
pub use self::decode::DecodeLimits;
use self::decode::plain::same;
pub(crate) use self::decode::{Check, decode};
#[cfg(feature = "json")]
pub use self::json_heights::JsonHeights;

/// The longest postcard encoding of a `u64`.
pub(crate) const HEIGHT_BYTES_MAX: usize = 10;

/// A height of a range: which handlers see as a `u64` or as an `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeHeight {
    /// One of [`Pool::process`](crate::Pool::process).
    Unsigned(u64),
    /// One of [`Pool::process_signed`](crate::Pool::process_signed).
    Signed(i64),
}

impl RangeHeight {
    /// Returns the height of that index in its type.
    #[inline]
    pub(crate) fn from_index(index: u64, is_signed: bool) -> Self {
        if is_signed { Self::Signed(i64::from_index(index)) } else { Self::Unsigned(index) }
    }

    #[inline]
    pub(crate) fn to_index(self) -> u64 {
        match self {
            Self::Unsigned(height) => height,
            Self::Signed(height) => height.to_index(),
        }
    }
}

impl From<RangeHeight> for i128 {
    fn from(height: RangeHeight) -> Self {
        match height {
            RangeHeight::Unsigned(height) => height.into(),
            RangeHeight::Signed(height) => height.into(),
        }
    }
}

impl TryFrom<RangeHeight> for i64 {
    type Error = TryFromIntError;

    fn try_from(height: RangeHeight) -> Result<Self, TryFromIntError> {
        match height {
            RangeHeight::Unsigned(height) => height.try_into(),
            RangeHeight::Signed(height) => Ok(height),
        }
    }
}

/// Encodes a height as handlers see it: a postcard `u64` or `i64`. Every height that is sent comes through
/// here, so what is below 2^56 is put together in one go and not a byte at a time.
#[inline]
pub(crate) fn encode_height(height: RangeHeight, buffer: &mut [u8; HEIGHT_BYTES_MAX]) -> &[u8] {
    let rest = match height {
        RangeHeight::Unsigned(height) => height,
        // Postcard's numbers with a sign: those next to zero are the short ones.
        RangeHeight::Signed(height) => {
            u64::from_ne_bytes(((height << 1) ^ (height >> 63)).to_ne_bytes())
        }
    };
    let bits = u64::BITS - (rest | 1).leading_zeros();
    if bits > SPREAD_BITS {
        return encode_long(rest, buffer);
    }
    let len = bits.div_ceil(7) as usize;
    let more = 0x0080_8080_8080_8080 >> (8 * (8 - len));
    let place = buffer.first_chunk_mut::<8>().expect("there is room for ten");
    *place = (spread(rest) | more).to_le_bytes();
    &buffer[..len]
}

/// How many bits go into eight bytes.
const SPREAD_BITS: u32 = 56;

/// Puts seven bits into each byte, the lowest first.
#[inline]
const fn spread(number: u64) -> u64 {
    let word = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
    let word = word & 0x0000_3fff_0000_3fff | (word & 0x0fff_c000_0fff_c000) << 2;
    word & 0x007f_007f_007f_007f | (word & 0x3f80_3f80_3f80_3f80) << 1
}

#[cold]
fn encode_long(mut rest: u64, buffer: &mut [u8; HEIGHT_BYTES_MAX]) -> &[u8] {
    let mut len = 0;
    for byte in buffer.iter_mut() {
        len += 1;
        *byte = rest.to_le_bytes()[0] | 0x80;
        rest >>= 7;
        if rest == 0 {
            *byte &= 0x7f;
            break;
        }
    }
    &buffer[..len]
}

/// A request for a handler in this process.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// One of a range.
    Height(RangeHeight),
    /// Encoded by whoever called.
    Body(&'a [u8]),
}

impl Asked<'_> {
    /// Makes the handler's own type of it. A height that is of that type already is not encoded.
    #[inline]
    pub(crate) fn read<Q: DeserializeOwned + 'static>(
        self,
        limits: &DecodeLimits,
    ) -> Result<Q, String> {
        let height = match self {
            Self::Body(body) => return decode_request(body, limits),
            Self::Height(height) => height,
        };
        let request = match height {
            RangeHeight::Unsigned(height) => same(height),
            RangeHeight::Signed(height) => same(height),
        };
        if let Some(request) = request {
            return Ok(request);
        }
        decode_request(encode_height(height, &mut [0; HEIGHT_BYTES_MAX]), limits)
    }
}

/// Decodes a request, all of it.
#[inline]
pub(crate) fn decode_request<Q: DeserializeOwned + 'static>(
    body: &[u8],
    limits: &DecodeLimits,
) -> Result<Q, String> {
    decode(body, limits).map_err(|reason| {
        format!("the request is not of the type that this worker takes: {reason}")
    })
}

/// An answer on its way to whoever waits for it.
pub(crate) enum Answer {
    /// From a worker elsewhere, or the text of a failure.
    Bytes(Body),
    /// From a handler in this process.
    Value(Value),
}

/// What a handler in this process returned, or what long bytes were decoded to. A destructor that panics
/// harms nobody.
pub(crate) struct Value(Option<Box<dyn AnyValue>>);

trait AnyValue: Any + Send {
    /// Encodes it for whoever asks for another type than its own.
    fn encode(&self) -> Result<Body, postcard::Error>;

    fn as_any(&self) -> &dyn Any;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;

    /// Returns what it takes of a budget, if it is held against one.
    fn charge(&mut self) -> Option<&mut Option<Charge>> {
        None
    }

    fn charged_bytes(&self) -> usize {
        0
    }
}

/// A value that came as bytes, of the type that its caller asks for.
struct Decoded<A> {
    value: A,
    charge: Option<Charge>,
}

impl<R: Serialize + Send + 'static> AnyValue for R {
    fn encode(&self) -> Result<Body, postcard::Error> {
        Body::encode(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl<A: Send + 'static> AnyValue for Decoded<A> {
    /// Nobody asks for another type.
    fn encode(&self) -> Result<Body, postcard::Error> {
        Err(postcard::Error::WontImplement)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn charge(&mut self) -> Option<&mut Option<Charge>> {
        Some(&mut self.charge)
    }

    fn charged_bytes(&self) -> usize {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }
}

impl Answer {
    pub(crate) fn value<R: Serialize + Send + 'static>(value: R) -> Self {
        Self::Value(Value(Some(Box::new(value))))
    }

    /// Returns how many bytes of it are held against a budget.
    #[inline]
    pub(crate) fn charged_bytes(&self) -> usize {
        match self {
            Self::Bytes(Body::Charged(charged)) => charged.charge.bytes(),
            Self::Bytes(_) => 0,
            Self::Value(value) => value.0.as_ref().map_or(0, |value| value.charged_bytes()),
        }
    }

    /// Returns what it takes of a budget, if it is held against one.
    pub(crate) fn charge(&mut self) -> Option<&mut Charge> {
        match self {
            Self::Bytes(Body::Charged(charged)) => Some(&mut charged.charge),
            Self::Bytes(_) => None,
            Self::Value(value) => value.0.as_mut()?.charge()?.as_mut(),
        }
    }

    /// Returns the answer as the type that the caller asks for, once. Nothing is encoded where the
    /// handler returned that type.
    #[expect(clippy::inline_always, reason = "an answer by way of memory is dear")]
    #[inline(always)]
    pub(crate) fn read<A: DeserializeOwned + Send + 'static>(
        &mut self,
        limits: &DecodeLimits,
    ) -> Result<A, TaskError> {
        match self {
            Self::Bytes(body) => decode(body.as_slice(), limits).map_err(TaskError::Answer),
            Self::Value(value) => value.read(limits),
        }
    }

    /// Returns the answer's bytes, in `spare` if there is room.
    #[inline]
    pub(crate) fn into_bytes(self, spare: Vec<u8>) -> Result<Vec<u8>, TaskError> {
        let body = match self {
            Self::Bytes(body) => body,
            Self::Value(value) => value.encode()?,
        };
        Ok(body.into_vec(spare))
    }

    /// Returns the failure that this is.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Bytes(body) => failure_of(body.as_slice()),
            Self::Value(_) => unreachable!("a failure is bytes"),
        }
    }
}

impl Value {
    /// Makes one of what bytes were decoded to.
    pub(crate) fn decoded<A: Send + 'static>(value: A) -> Self {
        Self(Some(Box::new(Decoded { value, charge: None })))
    }

    /// Holds one that was [decoded](Self::decoded) against a budget for as long as it is here.
    pub(crate) fn hold(&mut self, charge: Charge) {
        if let Some(place) = self.0.as_mut().and_then(|value| value.charge()) {
            *place = Some(charge);
        }
    }

    #[inline(never)]
    fn read<A: DeserializeOwned + Send + 'static>(
        &mut self,
        limits: &DecodeLimits,
    ) -> Result<A, TaskError> {
        let value = self.0.take().expect("it is there until it is read");
        if value.as_any().is::<A>() {
            return Ok(*value.into_any().downcast().expect("it was looked at just now"));
        }
        if value.as_any().is::<Decoded<A>>() {
            let decoded = value.into_any().downcast::<Decoded<A>>();
            return Ok(decoded.expect("it was looked at just now").value);
        }
        self.0 = Some(value);
        decode(self.encode()?.as_slice(), limits).map_err(TaskError::Answer)
    }

    /// Returns why it cannot be had as the type of a check, if it cannot.
    #[inline(never)]
    pub(crate) fn fits(&self, check: Check, limits: &DecodeLimits) -> Result<(), String> {
        let value = self.0.as_ref().expect("it is there until it is read");
        if check.is(value.as_any()) {
            return Ok(());
        }
        // An encoder is the user's code.
        let body = caught(|| self.encode())?.map_err(|error| format!("{error}"))?;
        check.bytes(body.as_slice(), limits)
    }

    fn encode(&self) -> Result<Body, TaskError> {
        let value = self.0.as_ref().expect("it is there until it is read");
        value.encode().map_err(|error| {
            let text = format!("it is of another type, and cannot be encoded: {error}");
            TaskError::Answer(text)
        })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            let _ = caught(|| drop(value));
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(body) => body.fmt(f),
            Self::Value(_) => f.write_str("Value"),
        }
    }
}

// Workers elsewhere pay nothing for those in this process.
const _: () = assert!(size_of::<Answer>() == size_of::<Vec<u8>>());
const _: () =
    assert!(size_of::<Result<Answer, TaskError>>() == size_of::<Result<Vec<u8>, TaskError>>());

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use serde::{Deserialize, Serializer, ser};

    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits::new();

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sealed(u64);

    impl Serialize for Sealed {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("it stays here"))
        }
    }

    /// Panics when it is dropped.
    #[derive(Serialize)]
    struct Sore;

    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("as it was told to");
        }
    }

    #[test]
    fn an_answer_of_the_type_asked_for_is_not_encoded() {
        assert_eq!(Answer::value(Sealed(3)).read(&LIMITS), Ok(Sealed(3)));
        let Err(TaskError::Answer(text)) = Answer::value(Sealed(3)).read::<u64>(&LIMITS) else {
            panic!("it cannot be encoded")
        };
        assert!(text.contains("another type"), "{text}");
    }

    #[test]
    fn an_answer_of_another_type_is_encoded_for_it() {
        assert_eq!(Answer::value("stone".to_owned()).read(&LIMITS), Ok(b"stone".to_vec()));
        assert_eq!(Answer::value(7_u64).read(&LIMITS), Ok(7_u32));
        assert_eq!(Answer::value(300_u64).into_bytes(Vec::new()), Ok(vec![0xac, 0x02]));
        assert!(matches!(
            Answer::value(1_u64 << 40).read::<u32>(&LIMITS),
            Err(TaskError::Answer(_))
        ));
    }

    #[test]
    fn a_value_whose_destructor_panics_may_be_dropped() {
        drop(Answer::value(Sore));
        assert!(Answer::value(Sore).into_bytes(Vec::new()).is_ok());
    }

    #[test]
    fn a_height_is_encoded_as_postcard_does_it() {
        let near = |power: u32| [(1_u64 << power) - 1, 1 << power, u64::MAX >> power];
        for height in (0..64).flat_map(near) {
            let buffer = &mut [0; HEIGHT_BYTES_MAX];
            let unsigned = RangeHeight::Unsigned(height);
            assert_eq!(encode_height(unsigned, buffer), postcard::to_stdvec(&height).unwrap());
            for height in
                [i64::from_ne_bytes(height.to_ne_bytes()), 0_i64.wrapping_sub_unsigned(height)]
            {
                let signed = RangeHeight::Signed(height);
                assert_eq!(encode_height(signed, buffer), postcard::to_stdvec(&height).unwrap());
                assert_eq!(Asked::Height(signed).read(&LIMITS), Ok(height));
                assert_eq!(Asked::Height(signed).read(&LIMITS), Ok((height,)));
                assert_eq!(RangeHeight::from_index(signed.to_index(), true), signed);
            }
        }
    }

    #[test]
    fn a_height_is_what_the_handler_takes_or_a_failure_says_so() {
        assert_eq!(Asked::Height(RangeHeight::Unsigned(u64::MAX)).read(&LIMITS), Ok(u64::MAX));
        assert_eq!(Asked::Height(RangeHeight::Unsigned(5)).read(&LIMITS), Ok(5_u32));
        assert_eq!(Asked::Height(RangeHeight::Unsigned(5)).read(&LIMITS), Ok((5_u8,)));
        let text = Asked::Height(RangeHeight::Unsigned(1 << 40)).read::<u32>(&LIMITS).unwrap_err();
        assert!(text.contains("not of the type that this worker takes"), "{text}");
        assert_eq!(Asked::Body(&[7]).read(&LIMITS), Ok(7_u64));
        assert!(Asked::Body(&[7, 7]).read::<u64>(&LIMITS).is_err());
    }
}
