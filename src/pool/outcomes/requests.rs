//! Outcomes of the requests of an iterator or a stream.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use event_listener::EventListener;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MapReport;
use super::source::{Source, Track};
use crate::error::TaskError;
use crate::mailbox::Mailbox;
use crate::mailbox::batches::{Item, Supply, Taker};
use crate::mailbox::range::Work;
use crate::payload::{Body, DecodeLimits};
use crate::unwind::caught;

/// More requests are taken out of the source once there is room for this share of those that may be
/// under way, so that many are left for the driver at once.
const ROOM_SHARE: usize = 8;

/// Requests for [`Pool::map`](crate::Pool::map): anything that can be iterated over, or a stream through
/// [`from_stream`].
pub trait IntoRequests: sealed::IntoSealed {
    /// What one request is.
    type Request;
    /// Where they come from.
    type Pull: Pull<Request = Self::Request>;

    /// Makes the source of them.
    #[doc(hidden)]
    fn into_pull(self) -> Self::Pull;
}

/// Where requests come from. Sealed: an iterator, or a stream by way of [`from_stream`].
pub trait Pull: sealed::PullSealed {
    /// What one request is.
    type Request;

    /// Returns the next one, or `None` after the last.
    #[doc(hidden)]
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Request>>;
}

/// An iterator as a source.
#[doc(hidden)]
#[derive(Debug)]
pub struct Iter<I>(I);

/// A stream as a source: made by [`from_stream`].
pub struct FromStream<S>(Pin<Box<S>>);

/// Makes requests for [`Pool::map`](crate::Pool::map) of a stream, whose end is the map's.
///
/// It is polled by whoever polls the map, while fewer requests than
/// [`ahead`](crate::Outcomes::ahead) says are under way or untaken.
///
/// ```
/// # async fn f(pool: chargehand::Pool, urls: impl futures_core::Stream<Item = String>) {
/// let mut pages = pool.map::<Vec<u8>, _>(chargehand::from_stream(urls));
/// while let Some((url, page)) = pages.next().await {
///     println!("{url}: {page:?}");
/// }
/// # }
/// ```
pub fn from_stream<S: Stream>(stream: S) -> FromStream<S> {
    FromStream(Box::pin(stream))
}

mod sealed {
    pub trait IntoSealed {}
    pub trait PullSealed {}
}

impl<I: IntoIterator> sealed::IntoSealed for I {}
impl<I> sealed::PullSealed for Iter<I> {}
impl<S> sealed::IntoSealed for FromStream<S> {}
impl<S> sealed::PullSealed for FromStream<S> {}

impl<I: IntoIterator> IntoRequests for I {
    type Request = I::Item;
    type Pull = Iter<I::IntoIter>;

    fn into_pull(self) -> Iter<I::IntoIter> {
        Iter(self.into_iter())
    }
}

impl<S: Stream> IntoRequests for FromStream<S> {
    type Request = S::Item;
    type Pull = Self;

    fn into_pull(self) -> Self {
        self
    }
}

impl<I: Iterator> Pull for Iter<I> {
    type Request = I::Item;

    fn poll_pull(&mut self, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

impl<S: Stream> Pull for FromStream<S> {
    type Request = S::Item;

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<S> fmt::Debug for FromStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromStream").finish_non_exhaustive()
    }
}

/// Requests that are encoded by postcard, as what a stream of [`Outcomes`](super::Outcomes) is of.
pub type Requests<P> = Mapped<P, Encoded>;

/// Requests that are bytes as they are, as what a stream of [`Outcomes`](super::Outcomes) is of.
pub type RawRequests<P> = Mapped<P, Verbatim>;

/// How requests become bytes: by postcard.
#[derive(Debug)]
pub enum Encoded {}

/// How requests become bytes: they are bytes.
#[derive(Debug)]
pub enum Verbatim {}

/// The requests of a map: [`Requests`] or [`RawRequests`].
pub struct Mapped<P: Pull, E> {
    /// `None` once it has ended or panicked.
    pull: Option<P>,
    encode: fn(&P::Request) -> Result<Body, TaskError>,
    request_bytes_max: usize,
    /// Those whose outcomes were not returned.
    open: BTreeMap<u64, P::Request>,
    /// Encoded, on their way to the driver.
    staged: VecDeque<Result<Body, TaskError>>,
    /// The latest one, where there is no room for it in memory. It comes behind those that are staged.
    waiting: Option<(Body, EventListener)>,
    ahead_max: usize,
    /// The source had none when it was asked last, and will say when it has.
    source_waits: bool,
    /// What the driver was told of the source, if anything yet.
    told: Option<Supply>,
    report: MapReport,
    encoding: PhantomData<fn() -> E>,
}

impl<P: Pull, E> Mapped<P, E> {
    /// `ahead_max` holds where the map has none of its own.
    pub(crate) fn new(
        pull: P,
        encode: fn(&P::Request) -> Result<Body, TaskError>,
        request_bytes_max: usize,
        ahead_max: usize,
    ) -> Self {
        Self {
            pull: Some(pull),
            encode,
            request_bytes_max,
            open: BTreeMap::new(),
            staged: VecDeque::new(),
            waiting: None,
            source_waits: false,
            ahead_max,
            told: None,
            report: MapReport::default(),
            encoding: PhantomData,
        }
    }

    /// Takes requests out of the source while there are fewer than `ahead_max` here, and the memory for
    /// them.
    fn pull(&mut self, cx: &mut Context<'_>, mailbox: &Mailbox, room: usize) {
        for _ in 0..room {
            if self.waiting.is_some() {
                return;
            }
            // A source that panics is not asked again: what was taken out of it goes on.
            let Some(mut pull) = self.pull.take() else { return };
            let pulled = pull.poll_pull(cx);
            self.source_waits = pulled.is_pending();
            if !matches!(pulled, Poll::Ready(None)) {
                self.pull = Some(pull);
            }
            let Poll::Ready(Some(request)) = pulled else {
                self.report.is_exhausted |= pulled.is_ready();
                return;
            };
            let encode = || (self.encode)(&request);
            // An encoder is the user's code, too.
            let body = caught(encode).unwrap_or_else(|panic| Err(TaskError::Request(panic)));
            self.open.insert(self.report.taken, request);
            self.report.taken += 1;
            match body.and_then(|body| check_length(&body, self.request_bytes_max).map(|()| body)) {
                Ok(body) => self.stage(cx, mailbox, body),
                Err(error) => self.staged.push_back(Err(error)),
            }
        }
    }

    /// Puts a request behind those that are staged, once there is room for it in memory.
    fn stage(&mut self, cx: &mut Context<'_>, mailbox: &Mailbox, mut body: Body) {
        loop {
            if mailbox.charge(&mut body) {
                return self.staged.push_back(Ok(body));
            }
            // There may be room since a moment ago, before it was listened for.
            let mut listener = mailbox.listen_for_memory();
            if mailbox.charge(&mut body) {
                return self.staged.push_back(Ok(body));
            }
            if Pin::new(&mut listener).poll(cx).is_pending() {
                self.waiting = Some((body, listener));
                return;
            }
        }
    }

    fn stage_waiting(&mut self, cx: &mut Context<'_>, mailbox: &Mailbox) {
        if let Some((body, mut listener)) = self.waiting.take() {
            match Pin::new(&mut listener).poll(cx) {
                Poll::Ready(()) => self.stage(cx, mailbox, body),
                Poll::Pending => self.waiting = Some((body, listener)),
            }
        }
    }

    /// Leaves what is staged for the driver, and tells it of the source's end.
    fn hand_over(&mut self, taker: &Taker, mailbox: &Mailbox) {
        let is_ended = self.pull.is_none() && self.waiting.is_none();
        let supply = match is_ended {
            true => Supply::Ended,
            false if self.source_waits && self.waiting.is_none() => Supply::Waits,
            false => Supply::Flows,
        };
        let is_known = self.told.replace(supply) == Some(supply);
        if self.staged.is_empty() && is_known {
            return;
        }
        let left = taker.leave_requests(&mut self.staged, supply);
        if left.closed {
            self.leave();
        }
        // Whoever waits until the pool is idle may wait for that.
        if left.rings || (supply == Supply::Waits && !is_known) {
            mailbox.ring();
        }
    }
}

impl<P: Pull, E> Track for Mapped<P, E> {
    type Request = P::Request;
    type Report = MapReport;

    fn work(&self) -> Work {
        Work::Requests
    }

    fn feed(
        &mut self,
        cx: &mut Context<'_>,
        (taker, mailbox): (&Taker, &Mailbox),
        ahead_max: Option<usize>,
        untaken: usize,
    ) {
        if self.told == Some(Supply::Ended) {
            return;
        }
        if let Some(ahead_max) = ahead_max {
            self.ahead_max = ahead_max;
        }
        self.stage_waiting(cx, mailbox);
        let room = self.ahead_max.saturating_sub(self.open.len());
        // While the stream still has some, the rest is left until it is worth it.
        if untaken == 0 || room >= (self.ahead_max / ROOM_SHARE).max(1) {
            self.pull(cx, mailbox, room);
        }
        self.hand_over(taker, mailbox);
    }

    fn next_from(&self, index: u64) -> Option<u64> {
        Some(index)
    }

    fn note_done(&mut self, index: u64) -> P::Request {
        self.report.done += 1;
        self.open.remove(&index).expect("a request has one outcome")
    }

    fn note_failed(&mut self, index: u64, error: &TaskError) -> P::Request {
        self.report.note_failed(index, error);
        self.open.remove(&index).expect("a request has one outcome")
    }

    fn report(&self) -> &MapReport {
        &self.report
    }

    fn take_report(&mut self) -> MapReport {
        mem::take(&mut self.report)
    }

    fn leave(&mut self) {
        self.pull = None;
        self.staged = VecDeque::new();
        self.waiting = None;
        self.told = Some(Supply::Ended);
    }
}

impl<A: DeserializeOwned + Send + 'static, P: Pull> Source<A> for Mapped<P, Encoded> {
    fn read(item: &mut Item, limits: &DecodeLimits) -> Result<A, TaskError> {
        item.read(limits)
    }
}

impl<P: Pull> Source<Vec<u8>> for Mapped<P, Verbatim> {
    fn read(item: &mut Item, _: &DecodeLimits) -> Result<Vec<u8>, TaskError> {
        item.take_bytes()
    }
}

/// Nothing in it is pinned in place: a stream has a place of its own.
impl<P: Pull, E> Unpin for Mapped<P, E> {}

impl<P: Pull, E> fmt::Debug for Mapped<P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("report", &self.report).finish_non_exhaustive()
    }
}

/// Encodes a request by postcard.
pub(crate) fn encode<Q: Serialize + ?Sized>(request: &Q) -> Result<Body, TaskError> {
    let mut body = Body::EMPTY;
    encode_into(request, &mut body)?;
    Ok(body)
}

/// Encodes a request into an empty body.
#[inline]
pub(crate) fn encode_into<Q: Serialize + ?Sized>(
    request: &Q,
    body: &mut Body,
) -> Result<(), TaskError> {
    body.write(request).map_err(|error| TaskError::Request(error.to_string()))
}

/// Returns why a body cannot be sent, if it is longer than a frame takes.
#[inline]
pub(crate) fn check_length(body: &Body, bytes_max: usize) -> Result<(), TaskError> {
    let bytes = body.as_slice().len();
    if bytes > bytes_max { Err(too_long(bytes, bytes_max)) } else { Ok(()) }
}

fn too_long(bytes: usize, bytes_max: usize) -> TaskError {
    TaskError::Request(format!(
        "it has {bytes} bytes and at most {bytes_max} fit a frame: raise frame_bytes_max on both sides"
    ))
}
