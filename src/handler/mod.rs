//! The kinds of handlers behind one trait: from a request's bytes to an answer's.

use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::{self, Debug, Display, Write};
use core::future::Future;
use core::marker::PhantomData;

use chargehand_core::Verdict;
use chargehand_core::copy::copied;
use serde::Serialize;

use crate::failure::{FAILURE_BYTES_MAX, Failure, Throttled};
use crate::payload::encode::{self, Onto};
use crate::payload::{DecodeLimits, decode_request};

#[cfg(feature = "blocking")]
mod blocking;
mod context;
mod function;
pub(crate) mod in_process;
pub(crate) mod reports;
pub(crate) mod running;

#[cfg(feature = "blocking")]
pub use self::blocking::Threads;
pub use self::context::Context;
pub(crate) use self::context::{Guard, Origin};
#[cfg(feature = "blocking")]
pub use self::function::BlockingFn;
pub use self::function::{HandlerFn, OwnedRequest, WithState, with_state};

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
    fn start(
        &self,
        body: &[u8],
        limits: &DecodeLimits,
        origin: &mut Origin<'_>,
    ) -> Result<Self::Future, String>;

    /// Puts the answer's body, or the failure's text, into `body`, which is empty.
    #[doc(hidden)]
    fn finish(&self, output: <Self::Future as Future>::Output, body: &mut Vec<u8>) -> Verdict;
}

pub(crate) mod sealed {
    #[allow(missing_debug_implementations)]
    pub trait Sealed {}
}

/// A handler of typed requests and answers, as postcard.
pub struct Typed<F, Args> {
    function: F,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> Typed<F, Args> {
    pub(crate) const fn new(function: F) -> Self {
        Self { function, args: PhantomData }
    }
}

impl<F, Args> Debug for Typed<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").finish_non_exhaustive()
    }
}

impl<F, Args> sealed::Sealed for Typed<F, Args> {}

impl<F: HandlerFn<Args>, Args> Handler for Typed<F, Args> {
    type Future = F::Future;

    #[inline]
    fn start(
        &self,
        body: &[u8],
        limits: &DecodeLimits,
        origin: &mut Origin<'_>,
    ) -> Result<F::Future, String> {
        match decode_request(body, limits) {
            Ok(request) => Ok(self.function.call(request, origin)),
            Err(text) => Err(text),
        }
    }

    fn finish(&self, output: Result<F::Answer, F::Error>, body: &mut Vec<u8>) -> Verdict {
        encode(output, body)
    }
}

/// A handler of bytes.
pub struct Raw<F, Args> {
    function: F,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> Raw<F, Args> {
    pub(crate) const fn new(function: F) -> Self {
        Self { function, args: PhantomData }
    }
}

impl<F, Args> Debug for Raw<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

impl<F, Args> sealed::Sealed for Raw<F, Args> {}

impl<F, Args> Handler for Raw<F, Args>
where
    F: HandlerFn<Args, Request = Vec<u8>, Answer = Vec<u8>>,
{
    type Future = F::Future;

    fn start(
        &self,
        body: &[u8],
        _: &DecodeLimits,
        origin: &mut Origin<'_>,
    ) -> Result<F::Future, String> {
        Ok(self.function.call(copied(body), origin))
    }

    fn finish(&self, output: Result<Vec<u8>, F::Error>, body: &mut Vec<u8>) -> Verdict {
        match output {
            Ok(answer) => {
                *body = answer;
                Verdict::Done
            }
            Err(error) => fail_by(&error, body),
        }
    }
}

/// Puts a handler's result into `body`.
pub(crate) fn encode<R: Serialize, E: Display + 'static>(
    output: Result<R, E>,
    body: &mut Vec<u8>,
) -> Verdict {
    let error = match output {
        Ok(answer) => match encode::encode(&answer, Onto(body)) {
            Ok(()) => return Verdict::Done,
            Err(error) => format!("the answer cannot be encoded: {error}"),
        },
        Err(error) => return fail_by(&error, body),
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

/// Puts a handler's error into `body`: its text, or all that a [`Failure`] or [`Throttled`] says.
pub(crate) fn fail_by<E: Display + 'static>(error: &E, body: &mut Vec<u8>) -> Verdict {
    let error_as_any = error as &dyn Any;
    if let Some(throttled) = error_as_any.downcast_ref::<Throttled>() {
        Failure::from(*throttled).write(FAILURE_BYTES_MAX, body);
    } else if let Some(failure) = error_as_any.downcast_ref::<Failure>() {
        failure.write(FAILURE_BYTES_MAX, body);
    } else {
        return fail(error, body);
    }
    Verdict::Failed
}
