//! Peers of the Go package `worker`: what they say, and a manager in the hands of a test.

use std::future::poll_fn;
use std::string::String;
use std::string::ToString;
use std::vec::Vec;

use chargehand_core::Verdict;
use chargehand_core::io::Wire;
use chargehand_core::json::{Request, Response};

use super::site::End;
use super::wires::{WorldError, WorldWire};

/// A manager of the Go package `worker`, made by
/// [`WorkerHandle::go_manager`](super::WorkerHandle::go_manager): it asks your own worker for one
/// height at a time, or sends what no manager would. Dropping it ends its connection, as the end of
/// its process does.
///
/// ```
/// use chargehand::testing::World;
/// use chargehand::Worker;
///
/// let world = World::new(1);
/// let timer = world.timer();
/// let worker = world.host("indexer", move || {
///     Worker::new(timer.clone(), |height: u64| async move {
///         if height == 13 { Err("no such block") } else { Ok(()) }
///     })
/// });
/// world.run(async {
///     let mut manager = worker.go_manager().await?;
///     assert!(manager.process(12).await?.success);
///     assert_eq!(manager.process(13).await?.error, "no such block");
///     manager.send(b"{\"Height\":").await?; // That is no request:
///     assert_eq!(manager.receive().await?, None); // the worker closes the connection.
///     Ok::<(), chargehand::testing::wires::WorldError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GoManager {
    wire: WorldWire,
}

impl GoManager {
    pub(super) const fn new(wire: WorldWire) -> Self {
        Self { wire }
    }

    /// Asks for a height, waits for the answer, and returns it, as `Process` and the handler of
    /// `Run` do there.
    ///
    /// # Errors
    /// Returns [`WorldError::Closed`] where the worker closes the connection instead, or sends what is
    /// no answer, and any other [`WorldError`] where the connection breaks.
    pub async fn process(&mut self, height: i64) -> Result<Response, WorldError> {
        let mut frame = Vec::new();
        Request { height }.encode(&mut frame);
        self.send(&frame).await?;
        let answer = self.receive().await?.ok_or(WorldError::Closed)?;
        Response::decode(&answer).map_err(|_| WorldError::Closed)
    }

    /// Sends these bytes as a message, whether they are a request or not.
    ///
    /// # Errors
    /// Returns a [`WorldError`] where the connection is closed or broken.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), WorldError> {
        poll_fn(|cx| self.wire.poll_send(cx, frame, &[])).await
    }

    /// Returns the bytes of the next message, or `None` once the worker has closed the connection.
    ///
    /// # Errors
    /// Returns a [`WorldError`] where the connection breaks.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, WorldError> {
        poll_fn(|cx| self.wire.poll_recv(cx).map_ok(|frame| frame.map(Vec::from))).await
    }
}

/// Returns the height that a Go worker is asked for.
pub(super) fn request(frame: &[u8]) -> Option<i64> {
    Request::decode(frame).ok().map(|request| request.height)
}

/// Returns a Go worker's answer.
pub(super) fn response(height: i64, verdict: Verdict, text: &[u8]) -> Vec<u8> {
    let response = match verdict {
        Verdict::Done => Response::done(height),
        Verdict::Failed | Verdict::Returned => {
            Response::failed(height, String::from_utf8_lossy(text))
        }
    };
    let mut frame = Vec::new();
    response.encode(&mut frame);
    frame
}

/// Says what a message is, from the worker's point of view.
pub(super) fn describe(end: End, frame: &[u8]) -> String {
    match end {
        End::Manager => match Request::decode(frame) {
            Ok(Request { height }) => format!("is asked height {height}"),
            Err(_) => format!("is sent garbage, {} bytes", frame.len()),
        },
        End::Worker => match Response::decode(frame) {
            Ok(Response { height, success: true, .. }) => format!("answers height {height}"),
            Ok(Response { height, error, .. }) => {
                let error = chargehand_core::message::clip(&error, 200).to_string();
                format!("fails height {height}: {error:?}")
            }
            Err(_) => format!("sends garbage, {} bytes", frame.len()),
        },
    }
}
