//! What functions are handlers.

use core::fmt::Display;
use core::future::Future;

use serde::{Deserialize, Serialize};

use super::context::{Context, Origin};

/// A request that owns all that is in it, and is read from bytes of any lifetime: every [`Deserialize`] that
/// does not borrow from those is one, of every `'de`. Take a `String` for a `&str`, a `Vec<u8>` for a
/// `&[u8]`: the bytes are gone before the handler is.
///
/// A trait of its own, since errors of lifetimes alone say no more of one than its name.
pub trait OwnedRequest<'de>: Deserialize<'de> {}

impl<'de, T: Deserialize<'de>> OwnedRequest<'de> for T {}

/// An asynchronous function that does tasks: `Fn(Q)`, or `Fn(Context, Q)`, to a future of
/// `Result<R, E>`.
///
/// `Q` is the request, of any type that is [`Deserialize`] and an [`OwnedRequest`]; `R` the answer, `Serialize`; `E` the error, of
/// any `Display` type or a [`Failure`](crate::Failure), which can say more. Nothing else implements
/// this but what [`with_state`](crate::with_state) makes. `Args` tells the shapes apart; leave it to be
/// inferred, and give the closure's arguments their types. A request that borrows (`&str`) is refused by
/// the compiler with "implementation of `OwnedRequest` is not general enough": take what owns (`String`).
#[diagnostic::on_unimplemented(
    message = "this is no handler: it is an async function of `(request)` or `(Context, request)` to a `Result`; the request is owned (`String`, not `&str`) and `serde::Deserialize`, the answer `serde::Serialize`, the error `Display`",
    label = "not a handler",
    note = "for an error without `Display` take its text, as with `.map_err(|error| format!(\"{{error:?}}\"))`; for an answer without `Serialize` derive it",
    note = "a function that blocks, and is not async, is for `Worker::blocking`"
)]
pub trait HandlerFn<Args> {
    /// What is asked.
    type Request: for<'de> OwnedRequest<'de> + 'static;
    /// What is answered.
    type Answer: Serialize;
    /// Why there is no answer.
    type Error: Display + 'static;
    /// One request being carried out.
    type Future: Future<Output = Result<Self::Answer, Self::Error>>;

    #[doc(hidden)]
    fn call(&self, request: Self::Request, origin: &mut Origin<'_>) -> Self::Future;
}

/// A function that does tasks and blocks meanwhile, or computes: `Fn(Q) -> Result<R, E>`, or
/// `Fn(Context, Q) -> Result<R, E>`. As [`HandlerFn`], without the future.
#[cfg(feature = "blocking")]
#[diagnostic::on_unimplemented(
    message = "this is no blocking handler: it is a function of `(request)` or `(Context, request)` to a `Result`, not async (give those to `Worker::new`); the request is owned (`String`, not `&str`) and `serde::Deserialize`, the answer `serde::Serialize`, the error `Display`",
    label = "not a blocking handler",
    note = "for an error without `Display` take its text, as with `.map_err(|error| format!(\"{{error:?}}\"))`; for an answer without `Serialize` derive it"
)]
pub trait BlockingFn<Args> {
    /// What is asked.
    type Request: for<'de> OwnedRequest<'de> + 'static;
    /// What is answered.
    type Answer: Serialize;
    /// Why there is no answer.
    type Error: Display + 'static;

    #[doc(hidden)]
    const TAKES_CONTEXT: bool;

    #[doc(hidden)]
    fn call(
        &self,
        request: Self::Request,
        context: Option<Context>,
    ) -> Result<Self::Answer, Self::Error>;
}

/// A handler and what it shares with all of its runs: see [`with_state`].
#[derive(Clone, Debug)]
pub struct WithState<F, S> {
    function: F,
    state: S,
}

/// Makes a handler of a function that takes a [`Context`] with a clone of `state` in it.
///
/// For connections, caches, settings: what every run of the handler uses. `state` is cloned for each
/// task, so put what is expensive to clone into an `Arc`. Good wherever a handler is: `Worker::new`, `raw`,
/// `blocking`, `Builder::in_process`.
///
/// ```
/// # use std::sync::Arc;
/// # struct Chain;
/// # impl Chain { async fn block(&self, height: u64) -> Result<Vec<u8>, String> { Ok(vec![]) } }
/// # fn f<T: chargehand::core::io::Timer>(timer: T, chain: Chain) {
/// use chargehand::{Context, Worker, with_state};
///
/// async fn fetch(cx: Context<Arc<Chain>>, height: u64) -> Result<Vec<u8>, String> {
///     cx.state().block(height).await
/// }
///
/// let worker = Worker::new(timer, with_state(Arc::new(chain), fetch));
/// # drop(worker);
/// # }
/// ```
pub const fn with_state<F, S: Clone>(state: S, function: F) -> WithState<F, S> {
    WithState { function, state }
}

/// Makes handlers of what calls a function with these arguments, `Q` among them. In brackets are the types
/// that this takes beside those of the function.
macro_rules! impl_handler_fn {
    ([$($state:ident)?] $target:ty: Fn($($args:ty),+), $call:expr) => {
        impl<F, $($state: Clone,)? Q, A, R, E> HandlerFn<($($args,)+)> for $target
        where
            F: Fn($($args),+) -> A,
            A: Future<Output = Result<R, E>>,
            Q: for<'de> OwnedRequest<'de> + 'static,
            R: Serialize,
            E: Display + 'static,
        {
            type Request = Q;
            type Answer = R;
            type Error = E;
            type Future = A;

            #[inline]
            fn call(&self, request: Q, origin: &mut Origin<'_>) -> A {
                let call: fn(&Self, Q, &mut Origin<'_>) -> A = $call;
                call(self, request, origin)
            }
        }
    };
}

impl_handler_fn!([] F: Fn(Q), |function, request, _| function(request));
impl_handler_fn!([] F: Fn(Context, Q), |function, request, origin| {
    function(origin.context(), request)
});
// Does not overlap with the functions: `WithState` is none, and traits of functions are fundamental.
impl_handler_fn!([S] WithState<F, S>: Fn(Context<S>, Q), |this, request, origin| {
    (this.function)(origin.context().with(this.state.clone()), request)
});

/// The same without the future. `takes_context` is whether the call has one.
#[cfg(feature = "blocking")]
macro_rules! impl_blocking_fn {
    ([$($state:ident)?] $target:ty: Fn($($args:ty),+), takes_context: $takes:literal, $call:expr) => {
        impl<F, $($state: Clone,)? Q, R, E> BlockingFn<($($args,)+)> for $target
        where
            F: Fn($($args),+) -> Result<R, E>,
            Q: for<'de> OwnedRequest<'de> + 'static,
            R: Serialize,
            E: Display + 'static,
        {
            type Request = Q;
            type Answer = R;
            type Error = E;

            const TAKES_CONTEXT: bool = $takes;

            fn call(&self, request: Q, context: Option<Context>) -> Result<R, E> {
                let call: fn(&Self, Q, Option<Context>) -> Result<R, E> = $call;
                call(self, request, context)
            }
        }
    };
}

#[cfg(feature = "blocking")]
const MADE: &str = "a context is made for what takes one";
#[cfg(feature = "blocking")]
impl_blocking_fn!([] F: Fn(Q), takes_context: false, |function, request, _| function(request));
#[cfg(feature = "blocking")]
impl_blocking_fn!([] F: Fn(Context, Q), takes_context: true, |function, request, context| {
    function(context.expect(MADE), request)
});
#[cfg(feature = "blocking")]
impl_blocking_fn!([S] WithState<F, S>: Fn(Context<S>, Q), takes_context: true, |this, request, context| {
    (this.function)(context.expect(MADE).with(this.state.clone()), request)
});
