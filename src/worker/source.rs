//! Where a worker's links come from: managers that dial it, or one that it dials.

use core::future::Future;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::io::{Connect, Exposure, Listen, Wire};
use chargehand_core::message::Code;
use chargehand_core::{Backoff, BackoffPolicy};

use crate::link::accept::NOT_NAMED;
use crate::link::exposure;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;

/// How long a link must have been up to reset the backoff where no request came on it.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// The least pause after a manager has sent the worker away.
const SENT_AWAY_PAUSE: Duration = Duration::from_secs(1);

pub(super) trait LinkSource {
    type Wire: Wire;
    type Error;
    type Opening: Future<Output = Result<Self::Wire, Self::Error>>;

    /// Returns the next link in the making.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Opening, Self::Error>>;

    /// Notes that a link is gone, or was never made. Returns how long to wait before the next
    /// `poll_open`, which is due then even without a wake.
    fn on_ended(&mut self, ended: &LinkEnded) -> Option<Duration>;

    /// Sets whether there is no room for newcomers.
    fn set_full(&mut self, is_full: bool);

    /// Returns how many connections there may be, where there is such a limit.
    fn connections_max(&self) -> Option<usize> {
        None
    }

    /// Names the host of the latest connection that was taken, where there is one that tells it apart.
    fn accepted_host(&self) -> Option<&str> {
        None
    }

    /// Names the other end while there is no wire to ask.
    fn peer(&self) -> &str;

    /// Returns who may be at the other end, or in between, and what to do where that is anybody.
    fn exposure(&self) -> (Exposure, &'static str);
}

/// What there is to say of a link that is gone.
#[derive(Debug, Default)]
pub(super) struct LinkEnded {
    /// Whether a request came on it.
    pub(super) useful: bool,
    pub(super) lived: Duration,
    /// Whether the manager does not want this worker, for now: see [`is_unwelcome`].
    pub(super) unwelcome: bool,
}

/// Returns whether the manager said that to come back at once would be in vain, or would only push out
/// another.
pub(super) fn is_unwelcome(reason: &DisconnectReason) -> bool {
    let DisconnectReason::Goodbye { code, .. } = reason else { return false };
    matches!(
        code,
        Code::Busy | Code::Displaced | Code::NameTaken | Code::TooSoon | Code::NotAllowed
    )
}

/// Every manager that comes.
pub(super) struct Accepts<L>(pub(super) L);

impl<L: Listen> LinkSource for Accepts<L>
where
    L::Error: Into<BoxError>,
{
    type Wire = L::Wire;
    type Error = L::Error;
    type Opening = L::Accepting;

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<L::Accepting, L::Error>> {
        self.0.poll_accept(cx)
    }

    fn on_ended(&mut self, _ended: &LinkEnded) -> Option<Duration> {
        None
    }

    fn set_full(&mut self, is_full: bool) {
        self.0.set_full(is_full);
    }

    fn connections_max(&self) -> Option<usize> {
        self.0.connections_max()
    }

    fn accepted_host(&self) -> Option<&str> {
        self.0.accepted_host()
    }

    fn peer(&self) -> &'static str {
        NOT_NAMED
    }

    fn exposure(&self) -> (Exposure, &'static str) {
        (self.0.exposure(), exposure::LISTENED)
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

impl<C: Connect> LinkSource for Dials<C>
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

    fn on_ended(&mut self, ended: &LinkEnded) -> Option<Duration> {
        self.busy = false;
        if !ended.unwelcome && (ended.useful || ended.lived >= STABLE_AFTER) {
            self.backoff.reset();
        }
        self.backoff.attempt();
        let pause = self.backoff.delay();
        Some(if ended.unwelcome { pause.max(SENT_AWAY_PAUSE) } else { pause })
    }

    fn set_full(&mut self, _is_full: bool) {
        // Nobody comes.
    }

    fn peer(&self) -> &str {
        self.connect.peer()
    }

    fn exposure(&self) -> (Exposure, &'static str) {
        (self.connect.exposure(), exposure::DIALLED)
    }
}
