//! The side that does the work: [`Worker`] runs a handler for the managers that reach it.
//!
//! ```no_run
//! # async fn fetch(height: u64) -> Result<Vec<u8>, std::io::Error> { Ok(vec![]) }
//! # async fn example<T, L>(timer: T, listener: L)
//! # where T: chargehand::core::io::Timer, L: chargehand::core::io::Listen,
//! #       L::Error: Into<chargehand::BoxError>,
//! #       <L::Wire as chargehand::core::io::Wire>::Error: Into<chargehand::BoxError> {
//! use chargehand::Worker;
//!
//! Worker::new(timer, |height: u64| async move { fetch(height).await })
//!     .concurrency(8)
//!     .serve(listener)
//!     .await
//!     .expect("settings in range");
//! # }
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use chargehand_core::io::{Connect, Listen, Timer, Wire};

use self::engine::{Engine, EngineParts};
use self::hook::Hook;
use self::settings::Settings;
use self::source::{Accepts, Dials, LinkSource};
use crate::link::ready::ReadySet;
use crate::link::reason::BoxError;
use crate::link::token::Token;

mod clock;
mod dialect;
mod engine;
pub(crate) mod events;
mod hook;
#[cfg(feature = "json")]
mod json;
mod link;
mod memory;
mod runner;
mod setters;
mod settings;
mod shares;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod usage;

pub use self::events::WorkerEvent;
pub use self::settings::SettingError;
#[cfg(feature = "blocking")]
pub use crate::handler::{BlockingFn, Threads};
pub use crate::handler::{Handler, HandlerFn, OwnedRequest, Raw, Typed, WithState};

/// A worker: a handler, and the limits under which it serves managers.
///
/// It is one future, [`serve`](Worker::serve) or [`dial`](Worker::dial), which spawns nothing and
/// is `Send` when its timer, transport and handler are. What a manager sends can end that manager's
/// link and nothing else. A handler that panics fails its task with the panic's text. Where a
/// manager cancels a task, or its link is lost, the handler's future is dropped.
pub struct Worker<T, H> {
    parts: EngineParts<T, H>,
}

impl<T, F, Args> Worker<T, Typed<F, Args>> {
    /// Makes a worker of a function from a request to a future of its answer. Requests and answers
    /// are in postcard's encoding on the wire; an error fails the task with its text, cut at 16 KiB.
    ///
    /// Whatever type the request is, what a manager sends cannot take more of this process than its
    /// bytes warrant: it is bounded as an answer of [`Pool::call`](crate::Pool::call) is, and a
    /// request that is refused fails with the limit and the remedy. [`raw`](Worker::raw) hands the bytes
    /// on as they are. Requests and answers that are bytes cost a copy; for a struct's fields of bytes see
    /// there, under *Types*.
    ///
    /// A manager of the Go package asks for a `u64` height (or an `i64` one: feature `json`,
    /// `json_heights`), and gets no more than success or the error's text.
    pub fn new(timer: T, handler: F) -> Self
    where
        F: HandlerFn<Args>,
    {
        Self::from_parts(timer, Typed::new(handler))
    }
}

impl<T, F, Args> Worker<T, Raw<F, Args>> {
    /// Makes a worker of a function from a request's bytes to a future of the answer's.
    pub fn raw(timer: T, handler: F) -> Self
    where
        F: HandlerFn<Args, Request = Vec<u8>, Answer = Vec<u8>>,
    {
        Self::from_parts(timer, Raw::new(handler))
    }
}

#[cfg(feature = "blocking")]
impl<T> Worker<T, Threads> {
    /// Makes a worker of a function that blocks or computes: it runs on `threads` threads of its
    /// own, and the worker's [`concurrency`](Worker::concurrency) starts out as their number.
    ///
    /// A thread cannot be stopped: a cancelled task runs to its end there, and its answer is
    /// discarded. A handler that takes a [`Context`](crate::Context) before its request can ask
    /// [`is_cancelled`](crate::Context::is_cancelled) now and then, and return.
    ///
    /// # Errors
    /// Says why the threads could not be started; zero of them are an error as well.
    pub fn blocking<F, Args>(timer: T, threads: u16, handler: F) -> std::io::Result<Self>
    where
        F: BlockingFn<Args> + Send + Sync + 'static,
    {
        let handler = Threads::new(threads, handler)?;
        Ok(Self::from_parts(timer, handler).concurrency(threads))
    }
}

impl<T, H> Worker<T, H> {
    fn from_parts(timer: T, handler: H) -> Self {
        let ready = ReadySet::new();
        let settings = Settings::new();
        let control = ready.entry(Token::Doorbell.into());
        let stopped = Arc::new(AtomicBool::new(false));
        Self {
            parts: EngineParts {
                timer,
                handler,
                settings,
                hook: Hook::default(),
                ready,
                control,
                stopped,
            },
        }
    }

    /// Sets a function that is told what happens. It runs inside the worker's future, so it should
    /// be quick; if it panics, the worker goes on.
    #[must_use]
    pub fn on_event(mut self, hook: impl Fn(&WorkerEvent) + Send + 'static) -> Self {
        self.parts.hook.function = Some(Box::new(hook));
        self
    }

    /// Returns a handle that stops the worker.
    pub fn stopper(&self) -> Stopper {
        let EngineParts { stopped, control, .. } = &self.parts;
        Stopper { stopped: Arc::clone(stopped), waker: control.waker().clone() }
    }
}

impl<T: Timer, H: Handler> Worker<T, H> {
    /// Serves the managers that connect to `listener`, until the worker is [stopped](Stopper).
    ///
    /// Where no connection can be taken (out of file descriptors, say), it pauses and tries again.
    ///
    /// # Errors
    /// Returns [`SettingError`] at once where a setting is out of its range, a seed is to be given, or links
    /// would leave the machine with nothing to protect them: see [`insecure`](Worker::insecure).
    pub async fn serve<L>(self, listener: L) -> Result<(), SettingError>
    where
        L: Listen,
        L::Error: Into<BoxError>,
        <L::Wire as Wire>::Error: Into<BoxError>,
    {
        self.run(|_| Accepts(listener)).await
    }

    /// Connects to one manager and serves it, and connects again with backoff whenever that ends,
    /// until the worker is [stopped](Stopper).
    ///
    /// # Errors
    /// Returns [`SettingError`] at once where a setting is out of its range, a seed is to be given, or links
    /// would leave the machine with nothing to protect them: see [`insecure`](Worker::insecure).
    pub async fn dial<C>(self, connect: C) -> Result<(), SettingError>
    where
        C: Connect,
        C::Error: Into<BoxError>,
        <C::Wire as Wire>::Error: Into<BoxError>,
    {
        self.run(|settings| {
            Dials::new(connect, settings.backoff, settings.seed.expect("it was checked"))
        })
        .await
    }

    async fn run<S>(mut self, source: impl FnOnce(&Settings) -> S) -> Result<(), SettingError>
    where
        S: LinkSource,
        S::Error: Into<BoxError>,
        <S::Wire as Wire>::Error: Into<BoxError>,
    {
        self.parts.settings.check()?;
        self.parts.hook.name = Arc::clone(&self.parts.settings.name);
        let source = source(&self.parts.settings);
        self.parts.settings.check_exposure(source.exposure())?;
        if let Some(reason) = self.parts.settings.lower(source.connections_max()) {
            self.parts.hook.call(|| WorkerEvent::Lowered { reason });
        }
        let mut engine = Engine::new(source, self.parts);
        poll_fn(|cx| engine.poll(cx)).await;
        Ok(())
    }
}

impl<T, H> Debug for Worker<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.parts.settings.name).finish_non_exhaustive()
    }
}

/// Stops a worker, from anywhere.
#[derive(Clone, Debug)]
pub struct Stopper {
    stopped: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    /// Asks the worker to stop: it takes no new manager, tells the present ones, finishes and
    /// answers what it holds within its [`drain_timeout`](Worker::drain_timeout), and then its
    /// future completes. Calling it again changes nothing.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}
