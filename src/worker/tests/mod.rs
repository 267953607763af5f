//! The worker against a manager that is played by hand, over wires in memory and on a clock that
//! is moved by hand.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, pending, poll_fn};
use core::sync::atomic::AtomicUsize;
use core::time::Duration;
use std::sync::Mutex;

use chargehand_core::io::{Connect, Dialect, Wire};
use chargehand_core::message::{
    Code, EXTENDED_HEAD_BYTES_MAX, Extensions, HEAD_BYTES_MAX, Hello, Message, Role,
};
use chargehand_core::{BackoffPolicy, TaskId, Verdict};
use smol::future::{or, zip};

use super::*;
use crate::DisconnectReason;
use crate::link::memory::{
    MemoryConnector, MemoryError, MemoryListener, MemoryWire, pair, pair_of,
};
use crate::testing::ManualTimer;

mod away;
mod bounds;
mod doors;
mod flushing;
mod handlers;
mod handshakes;
mod json;
mod links;
mod managers;
mod meddled;
mod slow;
mod sources;
mod stopping;
mod told;

const HEARTBEAT: Duration = Duration::from_secs(10);

fn task(slot: u32) -> TaskId {
    TaskId::from_parts(slot, 0)
}

fn request_head(number: u32) -> Message<'static> {
    let extensions = Extensions::NONE;
    Message::Request { task: task(number), attempt: 1, extensions, body: &[] }
}

/// The other end of a worker's link.
struct Manager {
    wire: MemoryWire,
}

impl Manager {
    /// Connects and reads the worker's Hello.
    async fn knock(connector: &MemoryConnector) -> (Self, Vec<u8>) {
        let mut manager = Self::connect(connector).await;
        let hello = manager.recv().await.expect("a Hello");
        (manager, hello)
    }

    async fn connect(connector: &MemoryConnector) -> Self {
        Self { wire: connector.clone().connect().await.expect("the worker listens") }
    }

    /// Connects and is through with the handshake.
    async fn meet(connector: &MemoryConnector) -> Self {
        let (mut manager, hello) = Self::knock(connector).await;
        let Ok(Message::Hello(Hello { role: Role::Worker, window, .. })) = Message::decode(&hello)
        else {
            panic!("a worker's Hello: {hello:?}");
        };
        manager.welcome(window, 1 << 20).await;
        manager
    }

    async fn welcome(&mut self, window: u16, frame_bytes_max: u32) {
        let heartbeat_millis = u32::try_from(HEARTBEAT.as_millis()).unwrap();
        let hello = Hello { frame_bytes_max, ..Hello::new(Role::Manager, 0, 7, "m") };
        self.send(&Message::Hello(hello), &[]).await;
        let extensions = Extensions::NONE;
        self.send(&Message::Welcome { heartbeat_millis, window, extensions }, &[]).await;
    }

    async fn send(&mut self, message: &Message<'_>, body: &[u8]) {
        let mut head = [0; EXTENDED_HEAD_BYTES_MAX];
        self.send_bytes(message.encode_extended(&mut head).unwrap(), body).await;
    }

    async fn send_bytes(&mut self, head: &[u8], body: &[u8]) {
        poll_fn(|cx| self.wire.poll_send(cx, head, body)).await.expect("the worker is there");
    }

    async fn request(&mut self, number: u32, body: &[u8]) {
        let message = request_head(number);
        self.send(&message, body).await;
    }

    async fn ask(&mut self, number: u32, question: u64) {
        self.request(number, &postcard::to_allocvec(&question).unwrap()).await;
    }

    /// Returns the next frame, or `None` at the end of the link.
    async fn recv(&mut self) -> Option<Vec<u8>> {
        poll_fn(|cx| self.wire.poll_recv(cx).map_ok(|frame| frame.map(<[u8]>::to_vec)))
            .await
            .expect("a wire in memory does not break")
    }

    /// Returns the next frame, once there is one or the link is over.
    async fn recv_if_any(&mut self) -> Option<Vec<u8>> {
        let frame = poll_fn(|cx| self.wire.poll_recv(cx).map_ok(|frame| frame.map(<[u8]>::to_vec)));
        frame.await.ok().flatten()
    }

    /// Returns the task, verdict and text of the next frame, which must be an answer.
    async fn answer(&mut self) -> (u32, Verdict, Vec<u8>) {
        let frame = self.recv().await.expect("an answer, not the end");
        match Message::decode(&frame) {
            Ok(Message::Response { task, verdict, body, .. }) => {
                (task.slot(), verdict, body.to_vec())
            }
            other => panic!("not an answer: {other:?}"),
        }
    }

    async fn failure(&mut self) -> String {
        let (_, verdict, body) = self.answer().await;
        assert_eq!(verdict, Verdict::Failed);
        String::from_utf8(body).unwrap()
    }

    async fn done(&mut self) -> (u32, u64) {
        let (task, verdict, body) = self.answer().await;
        assert_eq!(verdict, Verdict::Done, "{}", String::from_utf8_lossy(&body));
        (task, postcard::from_bytes(&body).unwrap())
    }

    /// Reads up to the Goodbye and the end that must follow it.
    async fn goodbye(&mut self) -> (Code, String) {
        while let Some(frame) = self.recv().await {
            if let Ok(Message::Goodbye { code, text }) = Message::decode(&frame) {
                assert_eq!(self.recv().await, None, "a Goodbye is the last message");
                return (code, text.to_owned());
            }
        }
        panic!("the link ended without a Goodbye");
    }

    /// Reads the next frame, which must give a request back, and returns whose.
    async fn returned(&mut self) -> u32 {
        let (task, verdict, body) = self.answer().await;
        assert_eq!((verdict, body), (Verdict::Returned, Vec::new()));
        task
    }

    async fn cancel(&mut self, number: u32) {
        self.send(&Message::Cancel { task: task(number), attempt: 1 }, &[]).await;
    }

    async fn ping(&mut self) {
        self.send(&Message::Ping, &[]).await;
        assert_eq!(self.recv().await.as_deref(), Some(&[6][..]), "a Pong");
    }
}

/// Runs a story beside a worker that must outlive it. Bounded in real time.
fn beside<T>(
    worker: impl Future<Output = Result<(), SettingError>>,
    story: impl Future<Output = T>,
) -> T {
    bounded(or(
        async {
            let ended = worker.await;
            panic!("the worker ended: {ended:?}");
        },
        story,
    ))
}

fn bounded<T>(story: impl Future<Output = T>) -> T {
    smol::block_on(or(story, async {
        smol::Timer::after(Duration::from_secs(20)).await;
        panic!("the story takes too long");
    }))
}

/// Lets the worker run until it has nothing left to do.
async fn settle() {
    for _ in 0..100 {
        smol::future::yield_now().await;
    }
}

/// A hook that keeps what it is told.
fn log() -> (Arc<Mutex<Vec<WorkerEvent>>>, impl Fn(&WorkerEvent) + Send + 'static) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&log);
    (log, move |event: &WorkerEvent| writer.lock().unwrap().push(event.clone()))
}

type Doubling = core::future::Ready<Result<u64, String>>;
type Doubler = Worker<ManualTimer, Typed<fn(u64) -> Doubling, (u64,)>>;

fn double(number: u64) -> Doubling {
    core::future::ready(Ok(number * 2))
}

/// A worker that doubles, its clock, and the way to it.
fn doubler() -> (Doubler, ManualTimer, MemoryConnector, MemoryListener) {
    let timer = ManualTimer::new();
    let (connector, listener) = pair(64);
    let double: fn(u64) -> Doubling = double;
    (Worker::new(timer.clone(), double), timer, connector, listener)
}
