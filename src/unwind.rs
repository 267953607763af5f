//! Panics of the user's code, caught where there is `std`.

use alloc::string::String;

#[cfg(feature = "std")]
use crate::trace;

/// Calls what may panic, and makes the text of a failure of that.
#[cfg(feature = "std")]
pub(crate) fn caught<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    match unwound(call) {
        Ok(value) => Ok(value),
        Err(text) => Err(format!("the handler panicked: {text}")),
    }
}

/// Calls what may panic, and returns what a panic said.
#[cfg(feature = "std")]
pub(crate) fn unwound<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    match std::panic::catch_unwind(core::panic::AssertUnwindSafe(call)) {
        Ok(value) => Ok(value),
        Err(panic) => {
            let text = panic_text(&*panic);
            trace::panicked(text);
            Err(text.into())
        }
    }
}

/// Calls what may panic. Without std nothing unwinds: a panic ends the program.
#[cfg(not(feature = "std"))]
#[allow(clippy::unnecessary_wraps, reason = "with std it may fail")]
pub(crate) fn caught<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    Ok(call())
}

#[cfg(not(feature = "std"))]
pub(crate) use self::caught as unwound;

/// Returns what a panic said.
#[cfg(feature = "std")]
fn panic_text(panic: &(dyn core::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no text"
    }
}
