//! What a handler may know of the attempt that it carries out.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

use event_listener::Event;
use futures_util::task::AtomicWaker;

use crate::link::lock::Lock;

/// What a handler may know of the task that it carries out: which attempt it is, how long it has, and
/// whether anybody still waits for it.
///
/// A handler that takes one before its request gets it:
///
/// ```
/// # fn f<T: chargehand::core::io::Timer>(timer: T) {
/// use chargehand::{Context, Worker};
///
/// let worker = Worker::new(timer, |cx: Context, height: u64| async move {
///     if cx.attempt() > 1 {
///         println!("{height}: tried before, perhaps in part");
///     }
///     Ok::<_, String>(height)
/// });
/// # drop(worker);
/// # }
/// ```
///
/// Those of [`Worker::new`](crate::Worker::new), `raw` and `blocking`, and those in a pool's own
/// process ([`Builder::in_process`](crate::Builder::in_process)) alike. `S` is what
/// [`with_state`](crate::with_state) shares with the handler; without it there is none.
///
/// Cloning it is cheap, and it may outlive the handler. A handler that takes none costs nothing.
#[derive(Clone)]
pub struct Context<S = ()> {
    shared: Arc<Shared>,
    state: S,
}

struct Shared {
    attempt: u16,
    timeout: Option<Duration>,
    manager: Arc<str>,
    worker: Arc<str>,
    /// Nobody waits for the answer any more.
    is_cancelled: AtomicBool,
    cancelled: Event,
    said: Said,
    #[cfg(feature = "tracing")]
    trace: Option<crate::traces::TraceContext>,
}

/// How far the handler says that it is.
#[derive(Default)]
struct Said {
    /// How much is done of how much.
    parts: Lock<(u64, u64)>,
    /// Nobody has taken that yet.
    is_news: AtomicBool,
    /// What is to hear of news. Taken by the first of them, so that a handler which tells much wakes little.
    waker: AtomicWaker,
}

impl<S> Context<S> {
    /// Returns which sending of the task this is, from 1 on. Above 1 it was begun before, perhaps, on
    /// this worker or on another.
    pub fn attempt(&self) -> u16 {
        self.shared.attempt
    }

    /// Returns how long the manager waited for the answer when the handler began: its attempt timeout, that
    /// of the task's own [options](crate::TaskOptions) or what was left until its deadline where that is
    /// less, without what the request waited here. A later answer is discarded. `None` where the manager does
    /// not say, as in the Go package's dialect.
    ///
    /// It counts from when the request arrived here, so the manager's own time is up sooner by as long
    /// as the request was on its way.
    pub fn timeout(&self) -> Option<Duration> {
        self.shared.timeout
    }

    /// Returns the name of the manager whose task it is; empty in the Go package's dialect.
    pub fn manager(&self) -> &str {
        &self.shared.manager
    }

    /// Returns the name of the worker that carries it out.
    pub fn worker(&self) -> &str {
        &self.shared.worker
    }

    /// Returns what [`with_state`](crate::with_state) was given.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Returns whether nobody waits for the answer any more: the manager cancelled the task or gave it
    /// up, its link is lost, or the worker stops. Then stop: the answer is discarded.
    ///
    /// For handlers on threads, which nothing else ends. An asynchronous handler's future is dropped
    /// then, so only what it has handed elsewhere has to ask. False once the handler has returned
    /// before.
    pub fn is_cancelled(&self) -> bool {
        // Pairs with the store in `Guard::drop`: what the canceller did before is seen.
        self.shared.is_cancelled.load(Ordering::Acquire)
    }

    /// Completes once [`is_cancelled`](Context::is_cancelled) is true, for tasks that the handler has
    /// spawned. Never completes where the handler returns first. Dropping the future costs nothing.
    ///
    /// ```
    /// # async fn f(cx: chargehand::Context, work: impl Future<Output = u64> + Unpin) -> Option<u64> {
    /// use futures_util::future::{Either, select};
    ///
    /// let cancelled = std::pin::pin!(cx.cancelled());
    /// match select(work, cancelled).await {
    ///     Either::Left((result, _)) => Some(result),
    ///     Either::Right(_) => None,
    /// }
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        while !self.is_cancelled() {
            let listener = self.shared.cancelled.listen();
            // It may have been set before the listener was there.
            if self.is_cancelled() {
                return;
            }
            listener.await;
        }
    }

    /// Says how far the handler is: so much done, of so much in `total`, in whatever unit; 0 where that is not
    /// known. The pool shows it ([`Task::progress`](crate::Task::progress),
    /// [`PoolEvent::Progress`](crate::PoolEvent::Progress), [`PoolStats`](crate::PoolStats)), and gives the
    /// attempt its time once more where the task's
    /// [`attempt_max`](crate::TaskOptions::attempt_max) says so and more is done than before.
    ///
    /// From anywhere and as often as you like: the latest one goes out, after the worker's
    /// [`progress_interval`](crate::Worker::progress_interval) and not before, so what takes less than that says
    /// nothing. A handler that is asynchronous may be polled once more for it. Nothing happens where nobody
    /// waits any more, and towards managers of the Go package and others that do not take it.
    ///
    /// ```
    /// # fn f<T: chargehand::core::io::Timer>(timer: T) {
    /// use chargehand::{Context, Worker};
    ///
    /// let worker = Worker::new(timer, |cx: Context, parts: Vec<u64>| async move {
    ///     let (mut sum, total) = (0_u64, parts.len() as u64);
    ///     for (done, part) in (1..).zip(parts) {
    ///         sum += part; // for minutes
    ///         cx.progress(done, total);
    ///     }
    ///     Ok::<_, String>(sum)
    /// });
    /// # drop(worker);
    /// # }
    /// ```
    pub fn progress(&self, done: u64, total: u64) {
        let Said { parts, is_news, waker } = &self.shared.said;
        if parts.with(|parts| core::mem::replace(parts, (done, total))) != (done, total) {
            is_news.store(true, Ordering::Release);
            waker.wake();
        }
    }

    /// Returns which trace the attempt belongs to, as its manager says it: that of the span `attempt` there. `None`
    /// where it is not traced, or the worker does not [take](crate::Worker::propagate) traces. See
    /// [`traces`](crate::traces): what the handler records in the current span belongs to it without this.
    #[cfg(feature = "tracing")]
    pub fn trace(&self) -> Option<crate::traces::TraceContext> {
        self.shared.trace
    }

    pub(super) fn with<N>(self, state: N) -> Context<N> {
        Context { shared: self.shared, state }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("attempt", &self.shared.attempt)
            .field("timeout", &self.shared.timeout)
            .field("manager", &self.shared.manager)
            .field("worker", &self.shared.worker)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// What a context is made of, if the handler wants one.
#[doc(hidden)]
#[derive(Debug)]
pub struct Origin<'a> {
    pub(crate) attempt: u16,
    pub(crate) timeout: Option<Duration>,
    pub(crate) manager: &'a Arc<str>,
    pub(crate) worker: &'a Arc<str>,
    /// Of a context, where the handler took one.
    guard: Guard,
    /// What it has of a trace.
    #[cfg(feature = "tracing")]
    traced: Option<alloc::boxed::Box<crate::traces::Traced>>,
}

impl<'a> Origin<'a> {
    pub(crate) const fn new(
        attempt: u16,
        timeout: Option<Duration>,
        manager: &'a Arc<str>,
        worker: &'a Arc<str>,
    ) -> Self {
        Self {
            attempt,
            timeout,
            manager,
            worker,
            guard: Guard::NONE,
            #[cfg(feature = "tracing")]
            traced: None,
        }
    }

    /// Makes it that of a trace, if it is of one.
    #[cfg(feature = "tracing")]
    pub(crate) fn traced(self, traced: Option<alloc::boxed::Box<crate::traces::Traced>>) -> Self {
        Self { traced, ..self }
    }

    /// Takes what it has of a trace, once the handler is called.
    #[cfg(feature = "tracing")]
    pub(crate) fn take_traced(&mut self) -> Option<alloc::boxed::Box<crate::traces::Traced>> {
        self.traced.take()
    }

    /// Returns the span in which the handler runs, if there is one.
    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self) -> Option<tracing::Span> {
        self.traced.as_ref().map(|traced| traced.span.clone())
    }

    /// Makes the context, once.
    pub(super) fn context(&mut self) -> Context {
        let shared = Arc::new(Shared {
            attempt: self.attempt,
            timeout: self.timeout,
            manager: Arc::clone(self.manager),
            worker: Arc::clone(self.worker),
            is_cancelled: AtomicBool::new(false),
            cancelled: Event::new(),
            said: Said::default(),
            #[cfg(feature = "tracing")]
            trace: self.traced.as_ref().and_then(|traced| traced.context),
        });
        self.guard = Guard(Some(Arc::clone(&shared)));
        Context { shared, state: () }
    }

    /// Returns what tells the context that the attempt is over.
    pub(crate) fn into_guard(self) -> Guard {
        self.guard
    }
}

/// Tells a context, if there is one, when it is dropped before the handler has ended.
pub(crate) struct Guard(Option<Arc<Shared>>);

impl Guard {
    pub(crate) const NONE: Self = Self(None);

    /// Has a waker woken by the next news of how far the handler is. Returns whether there are some already.
    pub(crate) fn listen(&self, waker: &Waker) -> bool {
        self.0.as_ref().is_some_and(|shared| {
            // First, so that what comes between the two is not missed.
            shared.said.waker.register(waker);
            shared.said.is_news.load(Ordering::Acquire)
        })
    }

    /// Returns whether the handler has said how far it is since that was taken last.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.said.is_news.load(Ordering::Acquire))
    }

    /// Returns how far the handler is, if that is news.
    pub(crate) fn take_said(&self) -> Option<(u64, u64)> {
        let said = &self.0.as_ref()?.said;
        said.is_news.swap(false, Ordering::AcqRel).then(|| said.parts.with(|parts| *parts))
    }

    /// Has it be news once more how far the handler is, if it ever said so.
    pub(crate) fn renew_said(&self) {
        let said = self.0.as_ref().map(|shared| &shared.said);
        if let Some(said) = said.filter(|said| said.parts.with(|parts| *parts) != (0, 0)) {
            said.is_news.store(true, Ordering::Release);
        }
    }

    /// The handler has ended by itself.
    pub(crate) fn defuse(&mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.is_cancelled.store(true, Ordering::Release);
            shared.cancelled.notify(usize::MAX);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}
