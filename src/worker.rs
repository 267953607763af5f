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
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt::{self, Debug, Display};
use core::future::{Future, poll_fn};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

use chargehand_core::BackoffPolicy;
use chargehand_core::io::{Connect, Listen, Timer, Wire};
use chargehand_core::message::check_name;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::engine::{CONTROL, Engine};
use self::source::{Accepts, Dials, Source};
use crate::ready::{Entry, ReadySet};
use crate::runs::caught;
use crate::seed::mixed;
#[cfg(feature = "std")]
use crate::seed::random;
use crate::wire::BoxError;

#[cfg(feature = "blocking")]
mod blocking;
mod clock;
mod engine;
mod go;
mod handler;
mod link;
mod runner;
mod source;
mod state;
#[cfg(test)]
mod tests;

#[cfg(feature = "blocking")]
pub use self::blocking::Threads;
pub use self::handler::{Handler, Raw, Typed};

/// A worker: a handler, and the limits under which it serves managers.
///
/// It is one future, [`serve`](Worker::serve) or [`dial`](Worker::dial), which spawns nothing and
/// is `Send` when its timer, transport and handler are. What a manager sends can end that manager's
/// link and nothing else. A handler that panics fails its task with the panic's text. Where a
/// manager cancels a task, or its link is lost, the handler's future is dropped.
pub struct Worker<T, H> {
    parts: Parts<T, H>,
}

struct Parts<T, H> {
    timer: T,
    handler: H,
    settings: Settings,
    hook: Hook,
    ready: ReadySet,
    control: Entry,
    stopped: Arc<AtomicBool>,
}

struct Settings {
    name: String,
    token: u64,
    concurrency: u16,
    window_max: u16,
    links_max: usize,
    handshake_timeout: Duration,
    pending_handshakes_max: usize,
    frame_bytes_max: usize,
    drain_timeout: Duration,
    backoff: BackoffPolicy,
    seed: u64,
    #[cfg(feature = "json")]
    json_heights: crate::JsonHeights,
}

impl<T, F, Q> Worker<T, Typed<F, Q>> {
    /// Makes a worker of a function from a request to a future of its answer. Requests and answers
    /// are in postcard's encoding on the wire; an error fails the task with its text.
    ///
    /// A manager of the Go package asks for a `u64` height (or an `i64` one: feature `json`,
    /// `json_heights`), and gets no more than success or the error's text.
    #[cfg(feature = "std")]
    pub fn new<A, R, E>(timer: T, handler: F) -> Self
    where
        F: Fn(Q) -> A,
        A: Future<Output = Result<R, E>>,
        Q: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        Self::seeded(timer, random(), handler)
    }

    /// Makes a worker as [`new`](Worker::new) does, without asking the system for a seed.
    ///
    /// The seed is that of the backoff's jitter. The worker's default name, and the token that tells
    /// managers one run of it from the next, are made of it. So give every worker another one, and
    /// another one at every start: from a source of random numbers, or from a serial number and a
    /// count of the starts.
    pub fn seeded<A, R, E>(timer: T, seed: u64, handler: F) -> Self
    where
        F: Fn(Q) -> A,
        A: Future<Output = Result<R, E>>,
        Q: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        Self::from_parts(timer, seed, Typed::new(handler))
    }
}

impl<T, F> Worker<T, Raw<F>> {
    /// Makes a worker of a function from a request's bytes to a future of the answer's.
    #[cfg(feature = "std")]
    pub fn raw<A>(timer: T, handler: F) -> Self
    where
        F: Fn(Vec<u8>) -> A,
        A: Future<Output = Result<Vec<u8>, String>>,
    {
        Self::seeded_raw(timer, random(), handler)
    }

    /// Makes a worker as [`raw`](Worker::raw) does, with the seed of [`seeded`](Worker::seeded).
    pub fn seeded_raw<A>(timer: T, seed: u64, handler: F) -> Self
    where
        F: Fn(Vec<u8>) -> A,
        A: Future<Output = Result<Vec<u8>, String>>,
    {
        Self::from_parts(timer, seed, Raw(handler))
    }
}

#[cfg(feature = "blocking")]
impl<T> Worker<T, Threads> {
    /// Makes a worker of a function that blocks or computes: it runs on `threads` threads of its
    /// own, and the worker's [`concurrency`](Worker::concurrency) starts out as their number.
    ///
    /// A thread cannot be stopped: a cancelled task runs to its end there, and its answer is
    /// discarded.
    ///
    /// # Errors
    /// Says why the threads could not be started; zero of them are an error as well.
    pub fn blocking<F, Q, R, E>(timer: T, threads: u16, handler: F) -> std::io::Result<Self>
    where
        F: Fn(Q) -> Result<R, E> + Send + Sync + 'static,
        Q: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        let handler = Threads::new(threads, handler)?;
        Ok(Self::from_parts(timer, random(), handler).concurrency(threads))
    }
}

impl<T, H> Worker<T, H> {
    fn from_parts(timer: T, seed: u64, handler: H) -> Self {
        let token = mixed(seed);
        let ready = ReadySet::new();
        let settings = Settings {
            name: format!("worker-{:08x}", mixed(token) >> 32),
            token,
            concurrency: 1,
            window_max: 1024,
            links_max: 64,
            handshake_timeout: Duration::from_secs(10),
            pending_handshakes_max: 128,
            frame_bytes_max: 16 << 20,
            drain_timeout: Duration::from_secs(30),
            backoff: BackoffPolicy::new(),
            seed,
            #[cfg(feature = "json")]
            json_heights: crate::JsonHeights::default(),
        };
        let control = ready.entry(CONTROL);
        let stopped = Arc::new(AtomicBool::new(false));
        Self {
            parts: Parts { timer, handler, settings, hook: Hook(None), ready, control, stopped },
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.parts.settings);
        self
    }

    /// Sets how many handlers run at once, over all links. Each manager is told this number as the
    /// worker's window; requests past it wait, and managers take turns. At least 1; default 1.
    #[must_use]
    pub fn concurrency(self, concurrency: u16) -> Self {
        self.set(|settings| settings.concurrency = concurrency)
    }

    /// Sets the name that managers know the worker by: a second link with the same name displaces
    /// the first. 1 to 64 bytes; default `worker-` and random hexadecimal digits.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set(|settings| settings.name = name)
    }

    /// Sets the largest window that a manager may ask for where it wants requests to wait here. Up
    /// to that many request bodies are held for each link. Default 1024; never below the
    /// concurrency.
    #[must_use]
    pub fn window_max(self, window_max: u16) -> Self {
        self.set(|settings| settings.window_max = window_max)
    }

    /// Sets how many managers are served at once; another one is told that the worker is busy. At
    /// least 1; default 64.
    #[must_use]
    pub fn links_max(self, links_max: usize) -> Self {
        self.set(|settings| settings.links_max = links_max)
    }

    /// Sets how long it may take from an accepted or dialled connection to the end of its
    /// handshake. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.handshake_timeout = timeout)
    }

    /// Sets how many handshakes may be pending; one more takes the oldest one's place. At least 1;
    /// default 128.
    #[must_use]
    pub fn pending_handshakes_max(self, pending: usize) -> Self {
        self.set(|settings| settings.pending_handshakes_max = pending)
    }

    /// Sets the longest frame, in bytes. Default 16 MiB. An answer that does not fit fails its task;
    /// a manager's limit may be lower. Managers are told that no longer one is taken; whether it is,
    /// the transport's limit decides, so set it where that is lower.
    #[must_use]
    pub fn frame_bytes_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.frame_bytes_max = bytes)
    }

    /// Sets how long what runs may go on after [`Stopper::stop`]. Default 30 s.
    #[must_use]
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout)
    }

    /// Sets the delay between connects of [`dial`](Worker::dial).
    #[must_use]
    pub fn backoff(self, policy: BackoffPolicy) -> Self {
        self.set(|settings| settings.backoff = policy)
    }

    /// Sets the seed of the backoff's jitter alone. Default: random, or that of
    /// [`seeded`](Worker::seeded).
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.seed = seed)
    }

    /// Sets what the handler gets for a height that a manager of the Go `worker` package asks for.
    /// Default [`Unsigned`](crate::JsonHeights::Unsigned): a `u64`, and a height below zero fails
    /// with a text that says so.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json_heights(self, heights: crate::JsonHeights) -> Self {
        self.set(|settings| settings.json_heights = heights)
    }

    /// Sets a function that is told what happens. It runs inside the worker's future, so it should
    /// be quick; if it panics, the worker goes on.
    #[must_use]
    pub fn on_event(mut self, hook: impl Fn(&WorkerEvent) + Send + 'static) -> Self {
        self.parts.hook = Hook(Some(Box::new(hook)));
        self
    }

    /// Returns a handle that stops the worker.
    pub fn stopper(&self) -> Stopper {
        let Parts { stopped, control, .. } = &self.parts;
        Stopper { stopped: Arc::clone(stopped), waker: control.waker().clone() }
    }
}

impl<T: Timer, H: Handler> Worker<T, H> {
    /// Serves the managers that connect to `listener`, until the worker is [stopped](Stopper).
    ///
    /// Where no connection can be taken (out of file descriptors, say), it pauses and tries again.
    ///
    /// # Errors
    /// Returns [`SettingError`] at once where a setting is out of its range.
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
    /// Returns [`SettingError`] at once where a setting is out of its range.
    pub async fn dial<C>(self, connect: C) -> Result<(), SettingError>
    where
        C: Connect,
        C::Error: Into<BoxError>,
        <C::Wire as Wire>::Error: Into<BoxError>,
    {
        self.run(|settings| Dials::new(connect, settings.backoff, settings.seed)).await
    }

    async fn run<S>(mut self, source: impl FnOnce(&Settings) -> S) -> Result<(), SettingError>
    where
        S: Source,
        S::Error: Into<BoxError>,
        <S::Wire as Wire>::Error: Into<BoxError>,
    {
        self.parts.settings.check()?;
        let source = source(&self.parts.settings);
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

impl Settings {
    fn check(&mut self) -> Result<(), SettingError> {
        if self.name.is_empty() || check_name(&self.name).is_err() {
            return Err(SettingError("name must have 1 to 64 bytes and no control character"));
        }
        if self.concurrency == 0 {
            return Err(SettingError("concurrency must be at least 1"));
        }
        if self.links_max == 0 {
            return Err(SettingError("links_max must be at least 1"));
        }
        if self.pending_handshakes_max == 0 {
            return Err(SettingError("pending_handshakes_max must be at least 1"));
        }
        self.window_max = self.window_max.max(self.concurrency);
        Ok(())
    }
}

/// A worker's setting that is out of its range; the text names it and the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingError(&'static str);

impl Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for SettingError {}

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

/// Something that happened to a worker: see [`Worker::on_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// A manager's link is up.
    Connected {
        /// The other end, as the transport names it.
        peer: String,
        /// The manager's name for itself; empty in the JSON dialect.
        manager: String,
    },
    /// A link that was up is gone. What it ran was stopped.
    Disconnected {
        /// The other end, as the transport names it.
        peer: String,
        /// The manager's name for itself; empty in the JSON dialect.
        manager: String,
        /// Why.
        reason: String,
    },
    /// A connection did not come up, or its handshake failed.
    Refused {
        /// The other end, as the transport names it.
        peer: String,
        /// Why.
        reason: String,
    },
    /// No connection could be taken.
    AcceptFailed {
        /// Why.
        reason: String,
        /// How long until the next try.
        pause: Duration,
    },
    /// The worker was asked to stop.
    Draining,
}

struct Hook(Option<Box<dyn Fn(&WorkerEvent) + Send>>);

impl Hook {
    fn call(&self, event: impl FnOnce() -> WorkerEvent) {
        if let Some(hook) = &self.0 {
            let event = event();
            // The user's own affair: it must not take the links down.
            let _ = caught(|| hook(&event));
        }
    }
}
