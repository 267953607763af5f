//! Where a worker's links come from: managers that dial it, or one that it dials.

use core::future::Future;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::io::{Connect, Listen, Wire};
use chargehand_core::{Backoff, BackoffPolicy};

use crate::wire::BoxError;

/// How long a link must have been up to reset the backoff where no request came on it.
const STABLE_AFTER: Duration = Duration::from_secs(30);

pub(super) trait Source {
    type Wire: Wire;
    type Error;
    type Opening: Future<Output = Result<Self::Wire, Self::Error>>;

    /// Returns the next link in the making.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Opening, Self::Error>>;

    /// Notes that a link is gone, or was never made. Returns how long to wait before the next
    /// `poll_open`, which is due then even without a wake.
    fn on_ended(&mut self, useful: bool, lived: Duration) -> Option<Duration>;

    /// Names the other end while there is no wire to ask.
    fn peer(&self) -> &str;
}

/// Every manager that comes.
pub(super) struct Accepts<L>(pub(super) L);

impl<L: Listen> Source for Accepts<L>
where
    L::Error: Into<BoxError>,
{
    type Wire = L::Wire;
    type Error = L::Error;
    type Opening = L::Accepting;

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<L::Accepting, L::Error>> {
        self.0.poll_accept(cx)
    }

    fn on_ended(&mut self, _useful: bool, _lived: Duration) -> Option<Duration> {
        None
    }

    fn peer(&self) -> &'static str {
        "an incoming connection"
    }
}

/// One manager, again and again.
pub(super) struct Dials<C> {
    connect: C,
    backoff: Backoff,
    busy: bool,
}

impl<C: Connect> Dials<C> {
    pub(super) fn new(connect: C, policy: BackoffPolicy, seed: u64) -> Self {
        Self { connect, backoff: Backoff::new(policy, seed), busy: false }
    }
}

impl<C: Connect> Source for Dials<C>
where
    C::Error: Into<BoxError>,
{
    type Wire = C::Wire;
    type Error = C::Error;
    type Opening = C::Connecting;

    fn poll_open(&mut self, _cx: &mut Context<'_>) -> Poll<Result<C::Connecting, C::Error>> {
        if core::mem::replace(&mut self.busy, true) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.connect.connect()))
    }

    fn on_ended(&mut self, useful: bool, lived: Duration) -> Option<Duration> {
        self.busy = false;
        if useful || lived >= STABLE_AFTER {
            self.backoff.reset();
        }
        self.backoff.attempt();
        Some(self.backoff.delay())
    }

    fn peer(&self) -> &str {
        self.connect.peer()
    }
}
