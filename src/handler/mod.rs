//! The kinds of handlers behind one trait: from a request's bytes to an answer's.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Debug, Display, Write};
use core::future::Future;
use core::marker::PhantomData;

use chargehand_core::Verdict;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::payload::decode_request;
use crate::payload::encode::{self, Onto};

#[cfg(feature = "blocking")]
mod blocking;
pub(crate) mod in_process;
pub(crate) mod running;

#[cfg(feature = "blocking")]
pub use self::blocking::Threads;

/// How a worker carries out a request: made by `Worker::new`, `raw` or `blocking`.
///
/// Sealed: give those a function instead.
pub trait Handler: sealed::Sealed {
    /// One request being carried out.
    #[doc(hidden)]
    type Future: Future;

    /// Whether dropping the future ends the work. Where it does not, its room stays taken until
    /// it completes.
    #[doc(hidden)]
    const ENDS_WHEN_DROPPED: bool = true;

    /// Starts to carry a request out; the error is the text of a failure.
    #[doc(hidden)]
    fn start(&self, body: &[u8]) -> Result<Self::Future, String>;

    /// Puts the answer's body, or the failure's text, into `body`, which is empty.
    #[doc(hidden)]
    fn finish(&self, output: <Self::Future as Future>::Output, body: &mut Vec<u8>) -> Verdict;
}

pub(crate) mod sealed {
    #[allow(missing_debug_implementations)]
    pub trait Sealed {}
}

/// A handler of typed requests and answers, as postcard.
pub struct Typed<F, Q> {
    function: F,
    request: PhantomData<fn(Q)>,
}

impl<F, Q> Typed<F, Q> {
    pub(crate) const fn new(function: F) -> Self {
        Self { function, request: PhantomData }
    }
}

impl<F, Q> Debug for Typed<F, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").finish_non_exhaustive()
    }
}

impl<F, Q> sealed::Sealed for Typed<F, Q> {}

impl<F, Q, A, R, E> Handler for Typed<F, Q>
where
    F: Fn(Q) -> A,
    A: Future<Output = Result<R, E>>,
    Q: DeserializeOwned + 'static,
    R: Serialize,
    E: Display,
{
    type Future = A;

    #[inline]
    fn start(&self, body: &[u8]) -> Result<A, String> {
        match decode_request(body) {
            Ok(request) => Ok((self.function)(request)),
            Err(text) => Err(text),
        }
    }

    fn finish(&self, output: Result<R, E>, body: &mut Vec<u8>) -> Verdict {
        encode(output, body)
    }
}

/// A handler of bytes.
pub struct Raw<F>(pub(crate) F);

impl<F> Debug for Raw<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

impl<F> sealed::Sealed for Raw<F> {}

impl<F, A> Handler for Raw<F>
where
    F: Fn(Vec<u8>) -> A,
    A: Future<Output = Result<Vec<u8>, String>>,
{
    type Future = A;

    fn start(&self, body: &[u8]) -> Result<A, String> {
        Ok((self.0)(body.to_vec()))
    }

    fn finish(&self, output: Result<Vec<u8>, String>, body: &mut Vec<u8>) -> Verdict {
        match output {
            Ok(answer) => {
                *body = answer;
                Verdict::Done
            }
            Err(text) => fail(&text, body),
        }
    }
}

/// Puts a handler's result into `body`.
pub(crate) fn encode<R: Serialize, E: Display>(
    output: Result<R, E>,
    body: &mut Vec<u8>,
) -> Verdict {
    let error = match output {
        Ok(answer) => match encode::encode(&answer, Onto(body)) {
            Ok(()) => return Verdict::Done,
            Err(error) => format!("the answer cannot be encoded: {error}"),
        },
        Err(error) => return fail(&error, body),
    };
    fail(&error, body)
}

/// Puts a failure's text into `body`.
pub(crate) fn fail(error: &dyn Display, body: &mut Vec<u8>) -> Verdict {
    body.clear();
    // The same room, as a text.
    let mut text = String::from_utf8(core::mem::take(body)).unwrap_or_default();
    // Only a `Display` that reports an error of its own fails here; what it wrote so far stands.
    let _ = write!(text, "{error}");
    *body = text.into_bytes();
    Verdict::Failed
}
