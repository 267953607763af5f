//! An answer on its way to whoever waits for it: bytes, or what a handler in this process returned.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;
use core::{fmt, mem};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bytes::Body;
use super::decode::{DecodeLimits, decode};
use crate::budget::Charge;
use crate::error::TaskError;
use crate::failure::{Failure, failure_of};
use crate::unwind::caught;

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
    #[expect(
        clippy::inline_always,
        reason = "an answer passed through memory stalls: decision 0010"
    )]
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

    /// Returns the same answer for somebody else, as bytes.
    pub(crate) fn share(&mut self) -> Result<Self, TaskError> {
        Ok(Self::Bytes(match self {
            Self::Bytes(body) => body.share(),
            Self::Value(value) => value.encode()?,
        }))
    }

    pub(crate) const EMPTY: Self = Self::Bytes(Body::EMPTY);

    /// Leaves an empty one in its place.
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::EMPTY)
    }

    /// Takes the answer's bytes, in `spare` if there is room.
    #[inline]
    pub(crate) fn take_bytes(&mut self, spare: Vec<u8>) -> Result<Vec<u8>, TaskError> {
        Ok(match self {
            Self::Bytes(body) => body.take_vec(spare),
            Self::Value(value) => value.encode()?.take_vec(spare),
        })
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

    /// Returns it as it is, to look at.
    pub(super) fn as_any(&self) -> &dyn Any {
        self.0.as_ref().expect("it is there until it is read").as_any()
    }

    pub(super) fn encode(&self) -> Result<Body, TaskError> {
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
        assert_eq!(Answer::value(300_u64).take_bytes(Vec::new()), Ok(vec![0xac, 0x02]));
        assert!(matches!(
            Answer::value(1_u64 << 40).read::<u32>(&LIMITS),
            Err(TaskError::Answer(_))
        ));
    }

    #[test]
    fn a_value_whose_destructor_panics_may_be_dropped() {
        drop(Answer::value(Sore));
        assert!(Answer::value(Sore).take_bytes(Vec::new()).is_ok());
    }
}
