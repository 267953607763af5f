//! Connections that another HTTP server has upgraded.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::{self, Display};
use std::future::{Ready, ready};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use chargehand_core::io::{Dialect, Exposure, Listen};
use futures_io::{AsyncRead, AsyncWrite};
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};

use crate::address::Peer;
use crate::bearer::{Bearers, TokenError};
use crate::denial::Denial;
use crate::door::{Agreement, Door};
use crate::error::WsError;
use crate::wire::{Role, WsWire};
use crate::{AddressError, Limits, SUBPROTOCOL};

/// A WebSocket endpoint on a route of an HTTP server that owns the port: axum's, hyper's, or any that
/// has the types of the crate `http` and gives the stream of an upgraded connection out.
///
/// It has two ends. The [`Upgrader`] goes to the route: it judges each request as a
/// [`WsListener`](crate::WsListener) would (RFC 6455, both dialects, whose pages may connect), gives the
/// response, and takes the stream. The [`UpgradeListener`] goes to a worker's `serve` or a pool's
/// `accept`, like any other listener.
///
/// ```
/// use chargehand_transport_ws::{Refused, Upgrader, Upgrades};
/// # type Stream = futures_io_stream::Stream;
/// # mod futures_io_stream { pub type Stream = (); }
///
/// let (upgrader, listener) = Upgrades::new().allow_origin("https://example.org")?.pair();
/// // `listener` goes to `Worker::serve` or to a pool's `accept`; this is the route:
/// fn route(
///     upgrader: &Upgrader<Stream>,
///     request: http::Request<()>,
///     upgraded: impl FnOnce(http::Request<()>, Box<dyn FnOnce(Stream)>),
/// ) -> http::Response<String> {
///     match upgrader.admit(&request) {
///         Ok(upgrade) => {
///             let response = upgrade.response();
///             // With hyper and axum, a task that awaits `hyper::upgrade::on(request)`.
///             upgraded(request, Box::new(|stream| upgrade.enter(stream, "10.0.0.8:4321")));
///             response
///         }
///         Err(refused) => refused.response(),
///     }
/// }
/// # let request = http::Request::get("/").body(())?;
/// # assert_eq!(route(&upgrader, request, |_, _| {}).status(), 400);
/// # drop(listener);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `examples/http` in the repository has a route of axum and one of hyper, whole.
///
/// The server keeps what is its own: TLS, deadlines for requests, and the options of its sockets. Set
/// `TCP_NODELAY` there, since messages are batched here.
#[derive(Clone, Debug)]
#[must_use = "it is a route's once it is made a pair"]
pub struct Upgrades {
    door: Door,
    waiting_max: usize,
    exposure: Exposure,
}

impl Upgrades {
    /// Makes an endpoint that speaks the native dialect only, to clients that are no browsers.
    pub fn new() -> Self {
        Self { door: Door::new(), waiting_max: 128, exposure: Exposure::Open }
    }

    /// Sets whether the JSON dialect of the Go package is served, as
    /// [`WsListener::json`](crate::WsListener::json) does. Default `false`.
    pub fn json(mut self, json: bool) -> Self {
        self.door.json = json;
        self
    }

    /// Allows pages of this origin to connect, as
    /// [`WsListener::allow_origin`](crate::WsListener::allow_origin) does. Default none.
    ///
    /// # Errors
    /// Says what is wrong with the origin.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, AddressError> {
        self.door.allow_origin(origin)?;
        Ok(self)
    }

    /// Sets the bearer tokens that let clients in, as [`WsListener::bearers`](crate::WsListener::bearers) does.
    /// Without it, clients that the server lets in have no identity.
    ///
    /// # Errors
    /// As there.
    pub fn bearers<T, I>(
        mut self,
        tokens: impl IntoIterator<Item = (T, I)>,
    ) -> Result<Self, TokenError>
    where
        T: AsRef<str>,
        I: Into<String>,
    {
        self.door.set_bearers(Bearers::new(tokens)?);
        Ok(self)
    }

    /// Sets other limits than the default ones. That of the handshake's length is the server's to keep.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.door.limits = limits;
        self
    }

    /// Sets how many connections may be admitted that the listener has not taken yet. One more gets
    /// status 503. Default 128; 0 counts as 1.
    pub fn waiting_max(mut self, count: usize) -> Self {
        self.waiting_max = count.max(1);
        self
    }

    /// Declares how the server is reached, which is the server's to know: [`Exposure::Protected`] where
    /// it speaks TLS, or what is in front of it does, and checks who comes; [`Exposure::Local`] where it
    /// listens on a loopback address. Default [`Exposure::Open`], which is waived where
    /// [`json`](Upgrades::json) is on.
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = exposure;
        self
    }

    /// Makes the two ends. `S` is the stream of an upgraded connection, with the traits of
    /// `futures_io`.
    pub fn pair<S>(self) -> (Upgrader<S>, UpgradeListener<S>) {
        let queue = Mutex::new(Queue {
            arrived: VecDeque::new(),
            admitted: 0,
            listener: None,
            is_closed: false,
        });
        let Self { door, waiting_max, exposure } = self;
        let exposure = exposure.waived_if(door.json);
        let shared = Arc::new(Shared { door, waiting_max, exposure, queue });
        (Upgrader { shared: Arc::clone(&shared) }, UpgradeListener { shared })
    }
}

impl Default for Upgrades {
    fn default() -> Self {
        Self::new()
    }
}

struct Shared<S> {
    door: Door,
    waiting_max: usize,
    exposure: Exposure,
    queue: Mutex<Queue<S>>,
}

/// The connections on their way from the route to the listener.
struct Queue<S> {
    arrived: VecDeque<WsWire<S>>,
    /// How many have their place, and are still being upgraded.
    admitted: usize,
    listener: Option<Waker>,
    /// Whether the listener is gone.
    is_closed: bool,
}

impl<S> Shared<S> {
    fn queue(&self) -> MutexGuard<'_, Queue<S>> {
        // Nothing panics while it is held that would leave it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit<B>(&self, request: &Request<B>) -> Result<Agreement, Denial> {
        if request.method() != Method::GET {
            return Err(Denial::Method(request.method().to_string()));
        }
        if request.version() != Version::HTTP_11 {
            let problem = format!(
                "the request is one of {:?}, and only HTTP/1.1 is upgraded here",
                request.version()
            );
            return Err(Denial::Bad(problem));
        }
        let agreement = self.door.judge(request.headers(), false)?;
        let mut queue = self.queue();
        if queue.is_closed {
            return Err(Denial::Gone);
        }
        if queue.admitted + queue.arrived.len() >= self.waiting_max {
            return Err(Denial::Full);
        }
        queue.admitted += 1;
        Ok(agreement)
    }
}

/// The route's end of an endpoint: judges requests and takes streams. Its clones are the same end.
pub struct Upgrader<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Upgrader<S> {
    /// Agrees to a request, or says what is wrong with it. Whoever is agreed to has a place until the
    /// [`Upgrade`] is dropped.
    ///
    /// # Errors
    /// Returns what to respond: 400 to what is no request for this protocol, 401 to one without a token that
    /// counts here, where there are any, 403 to a page of an origin
    /// that is not allowed, 405 to another method than `GET`, 426 to another version of WebSocket, and 503
    /// while there is no room or once the listener is gone.
    pub fn admit<B>(&self, request: &Request<B>) -> Result<Upgrade<S>, Refused> {
        let agreement = self.shared.admit(request).map_err(Refused)?;
        let place = Place { shared: Arc::clone(&self.shared) };
        Ok(Upgrade { place, agreement, read_ahead: Vec::new() })
    }
}

/// A place among those that wait for the listener.
struct Place<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Drop for Place<S> {
    fn drop(&mut self) {
        self.shared.queue().admitted -= 1;
    }
}

/// A request that was agreed to: give the response, and then the stream.
#[must_use = "the client waits for the response"]
pub struct Upgrade<S> {
    place: Place<S>,
    agreement: Agreement,
    read_ahead: Vec<u8>,
}

impl<S> Upgrade<S> {
    /// Returns the response that makes the client go on, status 101, with an empty body.
    pub fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let proof = HeaderValue::from_str(&self.agreement.proof).expect("it is base64");
        headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
        if self.agreement.dialect == Dialect::Native {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        response
    }

    /// Returns which dialect the client speaks.
    pub fn dialect(&self) -> Dialect {
        self.agreement.dialect
    }

    /// Sets what the server has read past the request, where the stream does not give that itself.
    /// Streams of hyper and axum do.
    pub fn read_ahead(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.read_ahead = bytes.into();
        self
    }

    /// Hands the connection to the listener, once the response has left. Where that is gone by now, the
    /// stream is dropped.
    ///
    /// `peer` names the client in errors and events. As `host:port`, it tells the host by which a pool and
    /// a worker bound what one machine may take: behind a proxy, that is what the proxy says of it.
    pub fn enter(self, stream: S, peer: impl Display) {
        let Self { place, agreement: Agreement { dialect, identity, .. }, read_ahead } = self;
        let limits = place.shared.door.limits;
        let peer = Peer { identity, ..Peer::of(&peer) };
        let wire = WsWire::new(stream, &read_ahead, Role::Server, dialect, limits, peer);
        let mut queue = place.shared.queue();
        if queue.is_closed {
            drop(queue); // Not with the lock held: a stranger's stream is dropped.
            drop(wire);
            return;
        }
        queue.arrived.push_back(wire);
        let listener = queue.listener.take();
        drop(queue);
        if let Some(listener) = listener {
            listener.wake();
        }
    }
}

/// A request that was not agreed to. Its text says what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(Denial);

impl Refused {
    /// Returns the response, which says why.
    pub fn response<B: From<String>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(format!("{self}\n")));
        *response.status_mut() = self.0.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        for (name, value) in self.0.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            headers.insert(name, HeaderValue::from_static(value));
        }
        if headers.contains_key(UPGRADE) {
            // A connection's own header has to be named as such (RFC 9110 section 7.8).
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Refused {}

/// Takes in the connections that a route has upgraded.
pub struct UpgradeListener<S> {
    shared: Arc<Shared<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Listen for UpgradeListener<S> {
    type Wire = WsWire<S>;
    type Error = WsError;
    // The handshake was the server's.
    type Accepting = Ready<Result<Self::Wire, WsError>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, WsError>> {
        let mut queue = self.shared.queue();
        if let Some(wire) = queue.arrived.pop_front() {
            return Poll::Ready(Ok(ready(Ok(wire))));
        }
        match &mut queue.listener {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn set_full(&mut self, is_full: bool) {
        self.shared.door.set_full(is_full);
    }

    fn exposure(&self) -> Exposure {
        self.shared.exposure
    }
}

impl<S> Drop for UpgradeListener<S> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        let arrived = mem::take(&mut queue.arrived);
        drop(queue);
        drop(arrived);
        // A worker that drained was full to the end: that is not the reason that stays.
        self.shared.door.set_full(false);
    }
}

impl<S> Clone for Upgrader<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S> fmt::Debug for Upgrader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrader").field("door", &self.shared.door).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for UpgradeListener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeListener").field("door", &self.shared.door).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Upgrade<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("agreement", &self.agreement).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
