//! The side that does the work: a [`Worker`] runs a handler for the managers that connect to it.
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
/// It runs as one future, [`serve`](Worker::serve) or [`dial`](Worker::dial), which spawns nothing and is `Send` if
/// its timer, transport and handler are. Whatever a manager sends, it can at most end its own link. A handler that
/// panics fails its task with the text of the panic. If a manager cancels a task or its link is lost, the handler's
/// future is dropped.
pub struct Worker<T, H> {
    parts: EngineParts<T, H>,
}

impl<T, F, Args> Worker<T, Typed<F, Args>> {
    /// Makes a worker from an async function that takes a request and returns its answer. Requests and answers are
    /// encoded with postcard. An error fails the task with its text, cut at 16 KiB.
    ///
    /// Decoding a request is bounded for every type, as decoding an answer of [`Pool::call`](crate::Pool::call) is. A
    /// request that exceeds a limit fails with the limit and the remedy. [`raw`](Worker::raw) passes the bytes on
    /// undecoded. Requests and answers that are bytes cost one copy; for byte fields in a struct see *Types* at
    /// [`Pool::call`](crate::Pool::call).
    ///
    /// A manager of the Go package sends a `u64` height (or an `i64` one: feature `json`, `json_heights`) and gets
    /// only success or the text of the error.
    pub fn new(timer: T, handler: F) -> Self
    where
        F: HandlerFn<Args>,
    {
        Self::from_parts(timer, Typed::new(handler))
    }
}

impl<T, F, Args> Worker<T, Raw<F, Args>> {
    /// Makes a worker from an async function that takes the bytes of a request and returns those of its answer.
    pub fn raw(timer: T, handler: F) -> Self
    where
        F: HandlerFn<Args, Request = Vec<u8>, Answer = Vec<u8>>,
    {
        Self::from_parts(timer, Raw::new(handler))
    }
}

#[cfg(feature = "blocking")]
impl<T> Worker<T, Threads> {
    /// Makes a worker from a function that blocks or computes. It runs on `threads` dedicated threads, and the
    /// worker's [`concurrency`](Worker::concurrency) defaults to their number.
    ///
    /// A thread cannot be stopped: a cancelled task runs to its end, and its answer is discarded. A handler that
    /// takes a [`Context`](crate::Context) as its first argument can check
    /// [`is_cancelled`](crate::Context::is_cancelled) now and then, and return early.
    ///
    /// # Errors
    /// Returns why the threads could not be started. Zero threads are an error as well.
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

    /// Sets a function that is called for each event. It runs inside the worker's future, so it should be quick. If
    /// it panics, the worker goes on.
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
    /// Serves the managers that connect to `listener` until the worker is [stopped](Stopper).
    ///
    /// If no connection can be accepted, for example because there are no file descriptors left, it pauses and tries
    /// again.
    ///
    /// # Errors
    /// Returns [`SettingError`] at once if a setting is out of its range, a seed is missing, or links to other hosts
    /// would be unprotected: see [`insecure`](Worker::insecure).
    pub async fn serve<L>(self, listener: L) -> Result<(), SettingError>
    where
        L: Listen,
        L::Error: Into<BoxError>,
        <L::Wire as Wire>::Error: Into<BoxError>,
    {
        self.run(|_| Accepts(listener)).await
    }

    /// Connects to one manager and serves it, and reconnects with backoff whenever the link ends, until the worker is
    /// [stopped](Stopper).
    ///
    /// # Errors
    /// Returns [`SettingError`] at once if a setting is out of its range, a seed is missing, or links to other hosts
    /// would be unprotected: see [`insecure`](Worker::insecure).
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

/// Stops a worker. Cheap to clone, and usable from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    stopped: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    /// Asks the worker to stop. It accepts no new manager, tells those that are connected, finishes and answers the
    /// tasks that it holds within its [`drain_timeout`](Worker::drain_timeout), and then its future completes.
    /// Calling this again has no effect.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}
