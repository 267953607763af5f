//! Transports behind trait objects, so that one pool mixes TCP, WebSocket and in-process workers.
//!
//! A pool's future is `Send` exactly when its parts are. Trait objects need that said in their
//! type, so each is named twice by a [`Kind`]: [`Threaded`] for parts that may cross threads, and
//! [`Local`] for parts that may not.

use alloc::boxed::Box;
use core::fmt::Debug;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use chargehand_core::io::{BytesMoved, Connect, Dialect, Exposure, Listen, Trust, Wire};

use crate::handler::HandlerFn;
use crate::handler::in_process::{AnyHands, Hands};
use crate::link::reason::BoxError;

/// Whether a pool's transports and handlers may cross threads: [`Threaded`] or [`Local`].
pub trait Kind: Sized + Debug + sealed::Sealed + 'static {
    #[doc(hidden)]
    type Wire: AnyWire + ?Sized;
    #[doc(hidden)]
    type Connector: AnyConnector<Self::Wire> + ?Sized;
    #[doc(hidden)]
    type Listener: AnyListener<Self> + ?Sized;
    #[doc(hidden)]
    type Accepting: Future<Output = Result<Box<Self::Wire>, BoxError>> + ?Sized;
    #[doc(hidden)]
    type Hands: AnyHands + ?Sized;
}

/// Transports and handlers that are `Send`; the pool's driver is `Send` as well. The default.
#[derive(Debug)]
pub struct Threaded(());

/// Transports and handlers that need not be `Send`; the pool's driver stays on its thread.
#[derive(Debug)]
pub struct Local(());

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Threaded {}
    impl Sealed for crate::Local {}
}

impl Kind for Threaded {
    type Wire = dyn AnyWire + Send;
    type Connector = dyn AnyConnector<Self::Wire> + Send;
    type Listener = dyn AnyListener<Self> + Send;
    type Accepting = dyn Future<Output = Result<Box<Self::Wire>, BoxError>> + Send;
    type Hands = dyn AnyHands + Send;
}

impl Kind for Local {
    type Wire = dyn AnyWire;
    type Connector = dyn AnyConnector<Self::Wire>;
    type Listener = dyn AnyListener<Self>;
    type Accepting = dyn Future<Output = Result<Box<Self::Wire>, BoxError>>;
    type Hands = dyn AnyHands;
}

/// A trait object type that a `T` fits in.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this transport does not fit the kind of this pool: a `Threaded` pool takes those that are `Send`, and `Pool::local_builder` makes one for others"
)]
pub trait Holds<T> {
    fn boxed(value: T) -> Box<Self>;
}

macro_rules! holds {
    ($object:ty, $value:ident: $($bound:tt)*) => {
        impl<$value: $($bound)*> Holds<$value> for $object {
            fn boxed(value: $value) -> Box<Self> {
                Box::new(value)
            }
        }
    };
}

holds!(dyn AnyWire + Send, W: AnyWire + Send + 'static);
holds!(dyn AnyWire, W: AnyWire + 'static);
holds!(dyn AnyConnector<<Threaded as Kind>::Wire> + Send,
       C: AnyConnector<<Threaded as Kind>::Wire> + Send + 'static);
holds!(dyn AnyConnector<<Local as Kind>::Wire>, C: AnyConnector<<Local as Kind>::Wire> + 'static);
holds!(dyn AnyListener<Threaded> + Send, L: AnyListener<Threaded> + Send + 'static);
holds!(dyn AnyListener<Local>, L: AnyListener<Local> + 'static);
holds!(dyn Future<Output = Result<Box<<Threaded as Kind>::Wire>, BoxError>> + Send,
       F: Future<Output = Result<Box<<Threaded as Kind>::Wire>, BoxError>> + Send + 'static);
holds!(dyn Future<Output = Result<Box<<Local as Kind>::Wire>, BoxError>>,
       F: Future<Output = Result<Box<<Local as Kind>::Wire>, BoxError>> + 'static);

/// A handler that a pool of kind `K` runs in its own process: for
/// [`Builder::in_process`](crate::Builder::in_process) and [`Pool::add_in_process`](crate::Pool::add_in_process).
///
/// Every [`HandlerFn`] is one, of whatever shape `Args`, with answers that are `Send` and `'static`. That of a
/// [`Threaded`] pool is `Send` itself, and so are its requests and the futures that it returns: share by
/// `Arc` and not by `Rc` there, hold nothing across an await that is not `Send`, or make the pool with
/// [`Pool::local_builder`](crate::Pool::local_builder), which takes any.
pub trait InProcessFn<K: Kind, Args>: HandlerFn<Args> {
    #[doc(hidden)]
    fn boxed(self) -> Box<K::Hands>;
}

impl<F, Args> InProcessFn<Threaded, Args> for F
where
    F: HandlerFn<Args, Request: Send, Answer: Send + 'static, Future: Send + 'static>,
    F: Send + 'static,
    Args: 'static,
{
    fn boxed(self) -> Box<<Threaded as Kind>::Hands> {
        Box::new(Hands::new(self))
    }
}

impl<F, Args> InProcessFn<Local, Args> for F
where
    F: HandlerFn<Args, Answer: Send + 'static, Future: 'static> + 'static,
    Args: 'static,
{
    fn boxed(self) -> Box<<Local as Kind>::Hands> {
        Box::new(Hands::new(self))
    }
}

/// How a worker of a pool is reached.
pub(crate) enum Reach<K: Kind> {
    /// The manager dials it.
    Dial(Box<K::Connector>),
    /// It dials in.
    Await,
    /// It is in this process.
    InProcess(Box<K::Hands>),
}

impl<K: Kind> Reach<K> {
    /// Returns who may be at the other end, or in between.
    pub(crate) fn exposure(&self) -> Exposure {
        match self {
            Self::Dial(connector) => connector.exposure(),
            Self::Await | Self::InProcess(_) => Exposure::Local,
        }
    }
}

/// A [`Wire`] whose error type is hidden.
#[doc(hidden)]
pub trait AnyWire {
    fn dialect(&self) -> Dialect;
    fn peer(&self) -> &str;
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, BoxError>>;
    fn expects_next(&mut self) -> bool;
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), BoxError>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
    fn progress(&self) -> BytesMoved;
    fn least_rate_max(&self) -> u32;
    fn limit_incoming(&mut self, bytes_max: usize);
    fn admit(&mut self, bytes_max: usize);
    fn incoming(&self) -> usize;
    fn message_bytes_max(&self) -> usize;
    fn host(&self) -> Option<&str>;
    fn identity(&self) -> Option<&str>;
    fn trust(&mut self) -> Trust<'_>;
}

impl<W: Wire> AnyWire for W
where
    W::Error: Into<BoxError>,
{
    fn dialect(&self) -> Dialect {
        Wire::dialect(self)
    }

    fn peer(&self) -> &str {
        Wire::peer(self)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, BoxError>> {
        Wire::poll_recv(self, cx).map_err(Into::into)
    }

    fn expects_next(&mut self) -> bool {
        Wire::expects_next(self)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), BoxError>> {
        Wire::poll_send(self, cx, head, body).map_err(Into::into)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Wire::poll_flush(self, cx).map_err(Into::into)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Wire::poll_close(self, cx).map_err(Into::into)
    }

    fn progress(&self) -> BytesMoved {
        Wire::progress(self)
    }

    fn least_rate_max(&self) -> u32 {
        Wire::least_rate_max(self)
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        Wire::limit_incoming(self, bytes_max);
    }

    fn admit(&mut self, bytes_max: usize) {
        Wire::admit(self, bytes_max);
    }

    fn incoming(&self) -> usize {
        Wire::incoming(self)
    }

    fn message_bytes_max(&self) -> usize {
        Wire::message_bytes_max(self)
    }

    fn host(&self) -> Option<&str> {
        Wire::host(self)
    }

    fn identity(&self) -> Option<&str> {
        Wire::identity(self)
    }

    fn trust(&mut self) -> Trust<'_> {
        Wire::trust(self)
    }
}

/// A [`Connect`] together with the attempt that is under way.
#[doc(hidden)]
pub trait AnyConnector<W: ?Sized> {
    /// Names the other end.
    fn peer(&self) -> &str;
    /// Returns who may be at the other end, or in between.
    fn exposure(&self) -> Exposure;
    /// Continues the attempt under way, or starts one.
    fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<W>, BoxError>>;
    /// Gives up the attempt under way, if any.
    fn give_up(&mut self);
}

/// A [`Connect`] as a trait object.
#[doc(hidden)]
#[allow(missing_debug_implementations)] // A future of the user's is in it.
pub struct Connector<C: Connect> {
    connect: C,
    connecting: Option<Pin<Box<C::Connecting>>>,
}

impl<C: Connect> Connector<C> {
    pub(crate) fn new(connect: C) -> Self {
        Self { connect, connecting: None }
    }
}

impl<C, W> AnyConnector<W> for Connector<C>
where
    C: Connect,
    C::Error: Into<BoxError>,
    W: Holds<C::Wire> + ?Sized,
{
    fn peer(&self) -> &str {
        self.connect.peer()
    }

    fn exposure(&self) -> Exposure {
        self.connect.exposure()
    }

    fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<W>, BoxError>> {
        let Self { connect, connecting } = self;
        let attempt = connecting.get_or_insert_with(|| Box::pin(connect.connect()));
        let Poll::Ready(result) = attempt.as_mut().poll(cx) else { return Poll::Pending };
        *connecting = None;
        Poll::Ready(result.map(W::boxed).map_err(Into::into))
    }

    fn give_up(&mut self) {
        self.connecting = None;
    }
}

/// A [`Listen`] whose types are hidden.
#[doc(hidden)]
pub trait AnyListener<K: Kind> {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pin<Box<K::Accepting>>, BoxError>>;
    /// Names the host of the connection that was taken last.
    fn accepted_host(&self) -> Option<&str>;
    /// Returns who may be at the other end, or in between.
    fn exposure(&self) -> Exposure;
    /// Sets whether there is no room for newcomers.
    fn set_full(&mut self, is_full: bool);
    /// Returns how many connections there may be.
    fn connections_max(&self) -> Option<usize>;
}

/// A [`Listen`] as a trait object.
#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub struct Listener<L>(pub(crate) L);

/// The accepting future of a [`Listen`], with its types hidden.
#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub struct Accepting<F, W: ?Sized> {
    future: Pin<Box<F>>,
    wire: core::marker::PhantomData<fn() -> Box<W>>,
}

impl<F, T, E, W> Future for Accepting<F, W>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    W: Holds<T> + ?Sized,
{
    type Output = Result<Box<W>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx).map(|result| result.map(W::boxed).map_err(Into::into))
    }
}

impl<L, K> AnyListener<K> for Listener<L>
where
    K: Kind,
    L: Listen,
    L::Error: Into<BoxError>,
    K::Accepting: Holds<Accepting<L::Accepting, K::Wire>>,
{
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pin<Box<K::Accepting>>, BoxError>> {
        self.0.poll_accept(cx).map(|result| match result {
            Ok(accepting) => Ok(Box::into_pin(K::Accepting::boxed(Accepting {
                future: Box::pin(accepting),
                wire: core::marker::PhantomData,
            }))),
            Err(error) => Err(error.into()),
        })
    }

    fn accepted_host(&self) -> Option<&str> {
        self.0.accepted_host()
    }

    fn exposure(&self) -> Exposure {
        self.0.exposure()
    }

    fn set_full(&mut self, is_full: bool) {
        self.0.set_full(is_full);
    }

    fn connections_max(&self) -> Option<usize> {
        self.0.connections_max()
    }
}
