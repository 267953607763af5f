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

    /// Sets how many handlers run at once, over all links. Each manager is told this number as the
    /// worker's window; requests past it wait, and managers take turns. At least 1; default 1.
    #[must_use]
    pub fn concurrency(self, concurrency: u16) -> Self {
        self.set(|settings| settings.concurrency = concurrency)
    }

    /// Sets the name that managers know the worker by. 1 to 64 bytes; default `worker-` and random
    /// hexadecimal digits, other ones at every start.
    ///
    /// Set one, and another one for each worker: managers remember workers by their names, those that
    /// are gone as well, and have room for so many. A worker that starts again under its name is the
    /// same one to them. With the name goes a token, which is made of the [`seed`](Worker::seed) of
    /// each [`Worker`] and tells two of one name apart: a link with the name and token of another displaces
    /// it, since its worker has connected anew; one with the name but another token is let in once
    /// the other link is dead, and refused while that lives.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set(|settings| (settings.name, settings.is_named) = (name.into(), true))
    }

    /// Sets what requests and answers mean: a name and a version such as `blocks/3`, or a hash of their
    /// types. Up to 64 bytes; default none.
    ///
    /// A manager that has [another one](crate::Builder::schema) is refused as it connects, and both sides
    /// are told both. One that has none is taken.
    #[must_use]
    pub fn schema(self, schema: impl Into<String>) -> Self {
        let schema = schema.into();
        self.set(|settings| settings.schema = Some(schema.into()))
    }

    /// Has handlers go on with the traces of managers that [say](crate::Builder::propagate) which they are: each
    /// handler runs in a span `handle`, and its [`Context::trace`](crate::Context::trace) is the manager's. See
    /// [`traces`](crate::traces). Default: none does.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn propagate(self, propagate: impl crate::traces::Propagate + 'static) -> Self {
        let propagator = crate::traces::Propagator(Arc::new(propagate));
        self.set(|settings| settings.propagator = Some(propagator))
    }

    /// Sets the largest window that a manager may ask for where it wants requests to wait here. Up
    /// to that many request bodies are held for each link. Default 1024; never below the
    /// concurrency.
    #[must_use]
    pub fn window_max(self, window_max: u16) -> Self {
        self.set(|settings| settings.window_max = window_max)
    }

    /// Sets how many managers are served at once. One more takes the place of an idle one
    /// ([`idle_min`](Worker::idle_min)), or is told that the worker is busy. At least 1; default 64.
    /// Where the process may not open as many connections as this and
    /// [`pending_handshakes_max`](Worker::pending_handshakes_max) together, both are lowered;
    /// [`WorkerEvent::Lowered`](super::WorkerEvent::Lowered) tells so if one of them was set, or by more than
    /// a half.
    #[must_use]
    pub fn links_max(self, links_max: usize) -> Self {
        self.set(|settings| {
            settings.links_max = links_max;
            settings.is_set = true;
        })
    }

    /// Sets how many of these links managers of one identity may have, where their transport proves one: so a
    /// member's file that leaks does not take all places. One more takes the place of an idle one of its own, or is
    /// told that there is no room, and which limit says so. At least 1; default half of
    /// [`links_max`](Worker::links_max).
    #[must_use]
    pub fn links_per_identity(self, count: usize) -> Self {
        self.set(|settings| settings.links_per_identity = Some(count))
    }

    /// Sets how many of these links managers from one host (by IP address) may have, of those that have proven no
    /// identity. At least 1; default half of [`links_max`](Worker::links_max), and for loopback addresses,
    /// behind which is any process of this machine, no limit unless one is set. Managers behind one router or
    /// proxy are of one host.
    #[must_use]
    pub fn links_per_host(self, count: usize) -> Self {
        self.set(|settings| settings.links_per_host = Some(count))
    }

    /// Sets how long it may take from an accepted or dialled connection to the end of its
    /// handshake. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.handshake_timeout = timeout)
    }

    /// Sets how many handshakes may be pending; one more takes the place of the oldest of the host that
    /// has most, or, where all have proven who they are, of the identity that has. An identity has half of them
    /// at most: one more takes the place of its own oldest. At least 1; default 128.
    #[must_use]
    pub fn pending_handshakes_max(self, pending: usize) -> Self {
        self.set(|settings| {
            settings.pending_handshakes_max = pending;
            settings.is_set = true;
        })
    }

    /// Sets the longest frame to send and to take, in bytes; a manager's limit for what is sent to it
    /// may be lower, and that of the transport for both. Managers are told how long a request may be.
    /// An answer that does not fit fails its task, with a text that names the limit. Default
    /// 16 MiB.
    #[must_use]
    pub fn frame_bytes_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.frame_bytes_max = bytes)
    }

    /// Sets how many bytes the worker holds over all its links: the requests that wait for a handler,
    /// those that run, those that are arriving, and the answers that no link has room for. At least 1;
    /// default 256 MiB.
    ///
    /// A link that holds as much as is left is not read until some of that is done: TCP and WebSocket
    /// then make its manager wait. So one link can use up a half, two a third each, and others go on. All
    /// links of one proven identity, or of one host of strangers that is not this machine, leave more than a third
    /// together, however many they are: each may hold as much as one alone, divided by how many there are.
    /// Of a manager whose link stays unread for four heartbeats, requests that came meanwhile are given
    /// back to it, so that its cancels are read. What runs always ends and its answer leaves, even
    /// where answers take more than this; nothing that would make more of them is started meanwhile.
    ///
    /// A message is held against what is left as soon as its length is known, and waits in the transport
    /// where there is too little. Long ones leave room for short ones, and one at a time goes on whatever
    /// is held, so none waits for ever; where this is less than twice
    /// [`frame_bytes_max`](Worker::frame_bytes_max), that one may go past it. What else a transport
    /// buffers is not counted: on each link 4 KiB of what comes, and one message that is leaving. Nor is what handlers keep, and the request of a thread whose task was cancelled.
    #[must_use]
    pub fn memory_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.memory_max = bytes)
    }

    /// Sets the longest heartbeat that a manager is granted: one that asks for a longer one is given
    /// up all the same where twice this passes in silence. At least 1 ms; default 5 min.
    #[must_use]
    pub fn heartbeat_max(self, heartbeat: Duration) -> Self {
        self.set(|settings| settings.heartbeat_max = heartbeat)
    }

    /// Sets how deep and how large requests may become as they are decoded. One that would pass a limit
    /// fails with a text that names it, and the handler does not see it. Default
    /// [`DecodeLimits::new`](crate::DecodeLimits::new).
    #[must_use]
    pub fn decode_limits(self, limits: crate::DecodeLimits) -> Self {
        self.set(|settings| settings.decode_limits = limits)
    }

    /// Sets how many bytes of a long message must come or leave in each second, on average since the
    /// last sign of life, so that its link is not silent. Below that it ends as a silent one does:
    /// after twice the manager's heartbeat. Transports that do not tell their progress are judged by
    /// whole messages. A serial line has a lower rate of its own, which holds there. Default 1024, which
    /// is 1 KiB/s.
    #[must_use]
    pub fn progress_rate_min(self, bytes_per_second: u32) -> Self {
        self.set(|settings| settings.progress_rate_min = bytes_per_second)
    }

    /// Sets how long it takes until managers hear what a handler says with
    /// [`Context::progress`](crate::Context::progress), and hence how often they hear of one task at most. At
    /// least 100 ms, of which managers count on not hearing more; default 250 ms, four times a second.
    #[must_use]
    pub fn progress_interval(self, interval: Duration) -> Self {
        self.set(|settings| settings.progress_interval = interval)
    }

    /// Sets for how long the worker goes on with what it runs for a manager whose link broke, at most: less where
    /// the manager's own [`grace`](crate::core::Config::grace) is shorter. Over its next link the manager is told what
    /// runs here still and what has been answered meanwhile, and the tasks go on as if nothing had happened.
    /// Default zero: what runs ends with its link.
    ///
    /// What was waiting and had not begun is sent again. A manager that was started anew, one that says
    /// Goodbye, and the end of this worker end it at once.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|settings| settings.grace = grace)
    }

    /// Sets which queues the worker serves, by their names: of a manager that knows them it gets those tasks only,
    /// so that an archive node is asked what a pruned one cannot answer, and only that. Names that a manager does
    /// not know count for nothing there; with none that it knows, the worker gets no task of it, which the manager
    /// says by [`PoolEvent::Serves`](crate::PoolEvent::Serves). Each of 1 to 64 bytes without control
    /// characters, and 512 bytes in all. Default: all queues of every manager.
    ///
    /// Managers of older versions, and of the Go package, send whatever they have.
    #[must_use]
    pub fn queues(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(|name| Arc::from(name.into())).collect();
        self.set(|settings| settings.wanted.queues = Some(names))
    }

    /// Sets how many tasks each manager sends the worker in a time, at most: what the endpoint that it calls on
    /// allows, say. Where a handler says [not now](crate::Throttled), half as many come from then on, growing with
    /// each one done. A manager's own [`rate`](crate::WorkerOptions::rate) for it counts where that is lower.
    /// Default: no limit. Managers of older versions, and of the Go package, know none.
    #[must_use]
    pub fn rate(self, rate: Rate) -> Self {
        self.set(|settings| settings.wanted.rate = Some(rate))
    }

    /// Sets how many bytes of the latest answers are kept on each link with a [`grace`](Worker::grace), for they may
    /// be on their way when it breaks: they are sent again over the next one where the manager has them not. One that
    /// is longer, or older than these, is lost with its link, and its task done again. There are no more of them than
    /// the link's window, and with [`links_max`](Worker::links_max) links they have a quarter of
    /// [`memory_max`](Worker::memory_max) at most. Default 1 MiB.
    #[must_use]
    pub fn answers_kept_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.answers_kept_max = bytes)
    }

    /// Sets for how long a manager's link that no request came on keeps its place where there are
    /// [`links_max`](Worker::links_max) of them and another manager comes. The one that has been idle
    /// longest makes room. Where a request came before, it keeps it for 30 times as long after
    /// the last one, and while it holds one, always. Default 10 s, hence 5 min.
    #[must_use]
    pub fn idle_min(self, idle: Duration) -> Self {
        self.set(|settings| settings.idle_min = idle)
    }

    /// Sets which managers may use this worker, by the identities that their transport proves: the
    /// members' names, as a rule. Any other one, and one that proves nothing, is refused before anything is
    /// said to it, let alone a request taken ([`DisconnectReason::NotAllowed`]). None at all lets nobody in.
    /// Default: whoever gets as far as that.
    ///
    /// [`DisconnectReason::NotAllowed`]: crate::DisconnectReason::NotAllowed
    #[must_use]
    pub fn managers(self, identities: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let identities = identities.into_iter().map(|identity| Arc::from(identity.into()));
        let managers = identities.collect();
        self.set(|settings| settings.managers = Some(managers))
    }

    /// Takes links that leave the machine with nothing to protect them: plain TCP or WebSocket from and
    /// to other hosts, where whoever reaches the worker is its manager, and whoever is in between reads
    /// and writes what they like. For networks that are trusted themselves. Default:
    /// [`serve`](Worker::serve) and [`dial`](Worker::dial) fail instead, as
    /// [`Exposure`](crate::core::io::Exposure) has it.
    #[must_use]
    pub fn insecure(self) -> Self {
        self.set(|settings| settings.is_insecure = true)
    }

    /// Sets how long what runs may go on after [`Stopper::stop`](super::Stopper::stop). Default 30 s.
    #[must_use]
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout)
    }

    /// Sets the delay between connects of [`dial`](Worker::dial). Its base and cap are at least 1 ms.
    #[must_use]
    pub fn backoff(self, policy: BackoffPolicy) -> Self {
        self.set(|settings| settings.backoff = policy)
    }

    /// Sets the seed of the backoff's jitter. The token that tells managers one run of this worker from the
    /// next is made of it, and so is the default [`name`](Worker::name). Default: drawn at random where
    /// there is the feature `std`; without it the worker cannot serve if none is given.
    ///
    /// So give every worker another one, and another one at every start: from a source of random
    /// numbers, or from a serial number and a count of the starts.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.set_seed(seed))
    }

    /// Sets what the handler gets for a height that a manager of the Go `worker` package asks for.
    /// Default [`Unsigned`](crate::JsonHeights::Unsigned): a `u64`, and a height below zero fails
    /// with a text that says so.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json_heights(self, heights: crate::JsonHeights) -> Self {
        self.set(|settings| settings.json_heights = heights)
    }
}
