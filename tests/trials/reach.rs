//! What the trials need of a pair beyond the conformance suite: a name whose address changes, and
//! workers of bytes.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chargehand::core::io::{Dial, Exposure};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::worker::Raw;
use chargehand::{Worker, tcp, ws};

use crate::pair::{Setup, Socket, TcpSmol, TcpTokio, WsSmol, WsTokio};

/// An answer of bytes in the making.
pub(crate) type Bytes = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;
/// A worker whose handler takes bytes and answers bytes.
pub(crate) type RawHand<P> =
    Worker<<P as crate::pair::Pair>::Timer, Raw<Box<dyn Fn(Vec<u8>) -> Bytes + Send>, (Vec<u8>,)>>;

/// A pair that can be reached in these ways, too.
pub(crate) trait Reach: Socket {
    /// Adds a worker that is dialled by a name, behind which there is now this address, now that.
    fn connect_by_name(setup: Setup<Self>, name: &str, known: &Known) -> Setup<Self>;
    fn serve_raw(
        hand: RawHand<Self>,
        door: TcpListener,
    ) -> impl Future<Output = ()> + Send + 'static;
    fn dial_raw(hand: RawHand<Self>, at: &SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let connector = Self::connector(at);
        async move { hand.dial(connector).await.expect("the settings are in range") }
    }
}

/// Makes a worker of bytes.
pub(crate) fn raw_hand<P: Socket>(work: impl Fn(Vec<u8>) -> Bytes + Send + 'static) -> RawHand<P> {
    let work: Box<dyn Fn(Vec<u8>) -> Bytes + Send> = Box::new(work);
    Worker::raw(P::timer(), work).name("raw")
}

/// What a name stands for at the moment, and how often that was asked.
#[derive(Clone)]
pub(crate) struct Known(Arc<Mutex<(SocketAddr, u32)>>);

impl Known {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new((address, 0))))
    }

    pub(crate) fn moves_to(&self, address: SocketAddr) {
        self.0.lock().expect("no panic with it").0 = address;
    }

    pub(crate) fn times_asked(&self) -> u32 {
        self.0.lock().expect("no panic with it").1
    }
}

/// Dials whatever a name stands for at that moment.
struct ByName<D> {
    dial: D,
    name: String,
    known: Known,
}

impl<D: Dial> Dial for ByName<D> {
    type Stream = D::Stream;
    type Error = D::Error;
    type Dialling = D::Dialling;

    fn dial(&self, address: &str) -> D::Dialling {
        assert_eq!(address, self.name, "the name as it was given");
        let mut known = self.known.0.lock().expect("no panic with it");
        known.1 += 1;
        self.dial.dial(&known.0.to_string())
    }

    fn exposure(&self, _name: &str) -> Exposure {
        let known = self.known.0.lock().expect("no panic with it");
        self.dial.exposure(&known.0.to_string())
    }
}

macro_rules! reach {
    ($pair:ident, $runtime:ty, $listener:ty, $transport:ident::$connector:ident, $url:literal,
     $listen:ident) => {
        impl Reach for $pair {
            fn connect_by_name(setup: Setup<Self>, name: &str, known: &Known) -> Setup<Self> {
                let (name, known) = (name.to_owned(), known.clone());
                let url = format!($url, name);
                let dial = ByName { dial: <$runtime>::new(), name, known };
                setup.connect($transport::$connector::new(dial, &url).expect("a name and a port"))
            }

            async fn serve_raw(hand: RawHand<Self>, door: TcpListener) {
                let listener = <$listener>::from_std(door).expect("a socket that listens");
                let listener = $transport::$listen::new(listener);
                hand.serve(listener).await.expect("the settings are in range");
            }
        }
    };
}

reach!(TcpTokio, Tokio, TokioListener, tcp::TcpConnector, "tcp://{}", TcpListener);
reach!(TcpSmol, Smol, SmolListener, tcp::TcpConnector, "tcp://{}", TcpListener);
reach!(WsTokio, Tokio, TokioListener, ws::WsConnector, "ws://{}/", WsListener);
reach!(WsSmol, Smol, SmolListener, ws::WsConnector, "ws://{}/", WsListener);
