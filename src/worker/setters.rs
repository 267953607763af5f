//! The setters of a worker.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use chargehand_core::{BackoffPolicy, Rate};

use super::Worker;
use super::settings::Settings;

impl<T, H> Worker<T, H> {
    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.parts.settings);
        self
    }

    /// Sets how many handlers run at once, over all links. At least 1; default 1. Each manager is told this number as
    /// the worker's window. Requests beyond it wait, and managers take turns.
    #[must_use]
    pub fn concurrency(self, concurrency: u16) -> Self {
        self.set(|settings| settings.concurrency = concurrency)
    }

    /// Sets the name that identifies the worker to managers. 1 to 64 bytes; default `worker-` and random hexadecimal
    /// digits, which differ at every start.
    ///
    /// Give every worker its own name. Managers remember workers by name, also those that are gone, and have room for
    /// a limited number. A worker that restarts with the same name is the same worker to them.
    ///
    /// A token, derived from the [`seed`](Worker::seed) of each [`Worker`], tells two workers with the same name
    /// apart. A link with the same name and token replaces the older link, since the worker has reconnected. A link
    /// with the same name but another token is refused while the older link is alive.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set(|settings| (settings.name, settings.is_named) = (name.into(), true))
    }

    /// Sets a tag for the types of requests and answers: a name and version such as `blocks/3`, or a hash of the
    /// types. At most 64 bytes; default none.
    ///
    /// A manager with a [different tag](crate::Builder::schema) is refused when it connects, and both sides are told
    /// both tags. A manager without a tag is accepted.
    #[must_use]
    pub fn schema(self, schema: impl Into<String>) -> Self {
        let schema = schema.into();
        self.set(|settings| settings.schema = Some(schema.into()))
    }

    /// Continues the traces of managers that [send](crate::Builder::propagate) them: each handler runs in a span
    /// `handle`, and its [`Context::trace`](crate::Context::trace) is the manager's. See [`traces`](crate::traces).
    /// Default: traces are ignored.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn propagate(self, propagate: impl crate::traces::Propagate + 'static) -> Self {
        let propagator = crate::traces::Propagator(Arc::new(propagate));
        self.set(|settings| settings.propagator = Some(propagator))
    }

    /// Sets the largest window that a manager may ask for if it wants requests to wait at the worker. Each link holds
    /// up to this many request bodies. Default 1024; never below the concurrency.
    #[must_use]
    pub fn window_max(self, window_max: u16) -> Self {
        self.set(|settings| settings.window_max = window_max)
    }

    /// Sets how many managers are served at once. At least 1; default 64. A further manager replaces an idle one
    /// ([`idle_min`](Worker::idle_min)), or is told that the worker is busy.
    ///
    /// If the process may not open as many connections as this and
    /// [`pending_handshakes_max`](Worker::pending_handshakes_max) together, both are lowered.
    /// [`WorkerEvent::Lowered`](super::WorkerEvent::Lowered) reports it if one of them was set, or if they were
    /// lowered by more than half.
    #[must_use]
    pub fn links_max(self, links_max: usize) -> Self {
        self.set(|settings| {
            settings.links_max = links_max;
            settings.is_set = true;
        })
    }

    /// Sets how many of these links managers with the same identity may have, on transports that prove one. So a
    /// leaked member file cannot take all links. At least 1; default half of [`links_max`](Worker::links_max). A
    /// further link replaces an idle one of the same identity, or is refused with the limit that was reached.
    #[must_use]
    pub fn links_per_identity(self, count: usize) -> Self {
        self.set(|settings| settings.links_per_identity = Some(count))
    }

    /// Sets how many of these links managers without a proven identity may have from one host (IP address). At least
    /// 1; default half of [`links_max`](Worker::links_max), and no limit for loopback addresses unless one is set,
    /// since any process of this machine may be behind those. Managers behind one router or proxy count as one host.
    #[must_use]
    pub fn links_per_host(self, count: usize) -> Self {
        self.set(|settings| settings.links_per_host = Some(count))
    }

    /// Sets how long the handshake of a connection may take after it was accepted or dialled. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.handshake_timeout = timeout)
    }

    /// Sets how many handshakes may be pending at once. At least 1; default 128. A further one replaces the oldest of
    /// the host that has the most; if all have proven who they are, that of the identity that has the most. One
    /// identity has at most half of them, and a further one of its own replaces its oldest.
    #[must_use]
    pub fn pending_handshakes_max(self, pending: usize) -> Self {
        self.set(|settings| {
            settings.pending_handshakes_max = pending;
            settings.is_set = true;
        })
    }

    /// Sets the longest frame to send and to receive, in bytes. Default 16 MiB. The limits of the manager and of the
    /// transport may be lower. Managers are told how long a request may be. An answer that does not fit fails its
    /// task with a text that names the limit.
    #[must_use]
    pub fn frame_bytes_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.frame_bytes_max = bytes)
    }

    /// Sets how many bytes the worker holds over all its links: requests that wait, run or arrive, and answers that
    /// no link has room for. At least 1; default 256 MiB.
    ///
    /// A link that holds as much as is left for others is not read until some of its work is done; TCP and WebSocket
    /// then slow its manager down. So one link can use half of the memory, two links a third each, and so on. All
    /// links of one proven identity, or of one host of strangers other than this machine, together leave more than a
    /// third to others, however many they are: each may hold as much as one alone, divided by their number. If a
    /// link stays unread for four heartbeats, the requests that came meanwhile are given back to its manager, so that
    /// its cancels are read. Running handlers always finish and their answers are sent, even if the answers exceed
    /// this limit; no further handler is started until they fit again.
    ///
    /// As soon as its length is known, a message is checked against what is left, and waits in the transport if it
    /// does not fit. Long messages leave room for short ones, and one at a time always proceeds, so none waits
    /// forever. If the limit is less than twice [`frame_bytes_max`](Worker::frame_bytes_max), that one message may
    /// exceed it.
    ///
    /// Not counted are the buffers of the transports (4 KiB of input and one outgoing message per link), what
    /// handlers keep, and the request of a thread whose task was cancelled.
    #[must_use]
    pub fn memory_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.memory_max = bytes)
    }

    /// Sets the longest heartbeat that a manager may ask for. Even if it asks for more, it is given up after twice
    /// this time in silence. At least 1 ms; default 5 min.
    #[must_use]
    pub fn heartbeat_max(self, heartbeat: Duration) -> Self {
        self.set(|settings| settings.heartbeat_max = heartbeat)
    }

    /// Sets how deep and how large decoded requests may become. A request that would exceed a limit fails with a text
    /// that names the limit, without reaching the handler. Default [`DecodeLimits::new`](crate::DecodeLimits::new).
    #[must_use]
    pub fn decode_limits(self, limits: crate::DecodeLimits) -> Self {
        self.set(|settings| settings.decode_limits = limits)
    }

    /// Sets how fast a long message must be transferred, in bytes per second on average since the last sign of life,
    /// for its link not to count as silent. Default 1024 (1 KiB/s). A slower link ends as a silent one does: after
    /// twice the manager's heartbeat. Transports that do not report their progress are judged by whole messages. A
    /// serial line has a lower minimum of its own.
    #[must_use]
    pub fn progress_rate_min(self, bytes_per_second: u32) -> Self {
        self.set(|settings| settings.progress_rate_min = bytes_per_second)
    }

    /// Sets how often the progress of a task is reported to its manager at most, and hence how late a report may be:
    /// see [`Context::progress`](crate::Context::progress). At least 100 ms, which managers rely on; default 250 ms,
    /// which is four times a second.
    #[must_use]
    pub fn progress_interval(self, interval: Duration) -> Self {
        self.set(|settings| settings.progress_interval = interval)
    }

    /// Sets how long the worker keeps running the tasks of a manager whose link broke; if the manager's own
    /// [`grace`](crate::core::Config::grace) is shorter, that applies. When the manager is connected again it is told
    /// what is still running and what was answered meanwhile, and the tasks go on as if nothing had happened. Default
    /// zero: running tasks end with their link.
    ///
    /// Requests that had not started are sent again. The tasks end at once if the manager was restarted or says
    /// Goodbye, or if this worker stops.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|settings| settings.grace = grace)
    }

    /// Sets which queues the worker serves, by name: it gets only tasks of these. So an archive node gets what a
    /// pruned node cannot answer, and nothing else. Default: all queues of every manager.
    ///
    /// Each name has 1 to 64 bytes without control characters, and all together at most 512 bytes. A manager ignores
    /// names that it does not know. If it knows none of them, the worker gets no task from it, and the manager
    /// reports [`PoolEvent::Serves`](crate::PoolEvent::Serves).
    ///
    /// Managers of older versions and of the Go package do not know queues and send any task.
    #[must_use]
    pub fn queues(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(|name| Arc::from(name.into())).collect();
        self.set(|settings| settings.wanted.queues = Some(names))
    }

    /// Limits how many tasks per unit of time each manager sends to the worker, for example to what the endpoint
    /// behind it allows. Default: no limit. When a handler returns [`Throttled`](crate::Throttled), the rate is
    /// halved, and grows back with each task done. If the manager has a lower [`rate`](crate::WorkerOptions::rate)
    /// for this worker, that applies, and so does a smaller burst. Managers of older versions and of the Go package do
    /// not know rates.
    #[must_use]
    pub fn rate(self, rate: Rate) -> Self {
        self.set(|settings| settings.wanted.rate = Some(rate))
    }

    /// Sets how many bytes of recent answers each link with a [`grace`](Worker::grace) keeps. Default 1 MiB. Answers
    /// may be on their way when a link breaks; those that the manager did not get are sent again over the next link.
    /// An answer that is longer, or no longer kept, is lost with its link, and its task is done again. A link keeps
    /// at most as many answers as its window, and [`links_max`](Worker::links_max) links together at most a quarter
    /// of [`memory_max`](Worker::memory_max).
    #[must_use]
    pub fn answers_kept_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.answers_kept_max = bytes)
    }

    /// Sets how long a link may be idle before it can be replaced when [`links_max`](Worker::links_max) is reached
    /// and another manager connects. Default 10 s. It applies to links that never carried a request; after a request
    /// a link is kept 30 times as long (5 min by default), and never replaced while it holds one. The link that has
    /// been idle for longest is replaced.
    #[must_use]
    pub fn idle_min(self, idle: Duration) -> Self {
        self.set(|settings| settings.idle_min = idle)
    }

    /// Sets which managers may use this worker, by the identities that their transport proves, which are usually the
    /// names of members. All others, and managers without an identity, are refused with
    /// [`DisconnectReason::NotAllowed`] before anything is sent to them. An empty list refuses everyone. Default:
    /// every manager that can connect.
    ///
    /// [`DisconnectReason::NotAllowed`]: crate::DisconnectReason::NotAllowed
    #[must_use]
    pub fn managers(self, identities: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let identities = identities.into_iter().map(|identity| Arc::from(identity.into()));
        let managers = identities.collect();
        self.set(|settings| settings.managers = Some(managers))
    }

    /// Allows unprotected links to other hosts: plain TCP and WebSocket. Anyone who reaches the worker can then be
    /// its manager, and anyone on the path can read and change everything. For networks that are trusted as a whole.
    /// Default: [`serve`](Worker::serve) and [`dial`](Worker::dial) fail instead;
    /// [`Exposure`](crate::core::io::Exposure) defines which links count as unprotected.
    #[must_use]
    pub fn insecure(self) -> Self {
        self.set(|settings| settings.is_insecure = true)
    }

    /// Sets how long running tasks may go on after [`Stopper::stop`](super::Stopper::stop). Default 30 s.
    #[must_use]
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout)
    }

    /// Sets the delay between connection attempts of [`dial`](Worker::dial). Its base and cap are at least 1 ms.
    #[must_use]
    pub fn backoff(self, policy: BackoffPolicy) -> Self {
        self.set(|settings| settings.backoff = policy)
    }

    /// Sets the seed of the backoff's jitter. The token that tells managers one run of this worker from the next, and
    /// the default [`name`](Worker::name), are derived from it. Default: random with the feature `std`; without it,
    /// the worker does not start unless a seed is set.
    ///
    /// Use a different seed for every worker and at every start: from a random source, or from a serial number and a
    /// boot counter.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.set_seed(seed))
    }

    /// Sets the type of the heights that managers of the Go package `worker` ask for. Default
    /// [`Unsigned`](crate::JsonHeights::Unsigned): a `u64`; a height below zero fails with a text that says so.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json_heights(self, heights: crate::JsonHeights) -> Self {
        self.set(|settings| settings.json_heights = heights)
    }
}
