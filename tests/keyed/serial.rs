//! A serial line, which is lent to one link after another.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use chargehand::core::io::{Connect, Exposure};
use chargehand::serial::{Limits, SerialLine};
use chargehand::smol::Smol;
use chargehand::testing::conformance::Pair;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Line = SerialLine<Compat<DuplexStream>>;

pub(crate) struct Serial;

/// One end of a line, for whoever has its turn.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Line>>);

impl Connect for Turns {
    type Wire = <Line as Connect>::Wire;
    type Error = <Line as Connect>::Error;
    type Connecting = <Line as Connect>::Connecting;

    fn connect(&mut self) -> Self::Connecting {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).connect()
    }

    fn peer(&self) -> &'static str {
        "the line"
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

impl Pair for Serial {
    type Timer = Smol;
    type Listener = Line;
    type Connector = Turns;

    fn timer() -> Smol {
        Smol::new()
    }

    fn run<F: Future>(case: F) -> F::Output {
        smol::block_on(case)
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }

    fn place() -> (Line, Turns) {
        let (ours, theirs) = tokio::io::duplex(256);
        let ours = SerialLine::new(ours.compat(), "ours", Limits::new());
        // Whoever is at the other end says more than this one takes.
        let mut limits = Limits::new();
        (limits.frame_bytes_max, limits.write_buffer_bytes_max) = (1 << 17, 1 << 18);
        let theirs = SerialLine::new(theirs.compat(), "theirs", limits);
        (ours, Turns(Arc::new(Mutex::new(theirs))))
    }
}
