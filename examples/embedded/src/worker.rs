//! A worker on a serial line: no interrupt, no clock, no heap.
//!
//! What it does of a request is up to its [`Handle`]: a plain function does it at once, and nothing
//! else happens meanwhile; a [`Waiting`](crate::waiting::Waiting) keeps it for somebody else, and the
//! worker goes on to answer pings.
//!
//! It needs no clock because the manager has one: a link that is dead is given up there, and opened
//! anew, which the worker takes for the end of the old one.

use core::time::Duration;

use chargehand_core::Verdict;
use chargehand_core::message::{BODY_HEAD_BYTES_MAX, Code, HEAD_BYTES_MAX, Hello, Message, Role};
use chargehand_core::serial::{
    Acceptor, FrameDecoder, FrameHeader, FrameKind, FrameMeaning, encode, wire_bytes_max,
};
use chargehand_core::session::{RunId, RunSlot, Session};

use crate::guard::{Guard, Heard, Unguarded};
use crate::uart::Uart;

/// The longest message on the line, either way. The manager's limit must not be above it.
pub const MESSAGE_BYTES_MAX: usize = 512;
/// The length of the buffers for frames.
pub const WIRE_BYTES_MAX: usize = wire_bytes_max(MESSAGE_BYTES_MAX);
/// The length of the buffer for answers.
pub const ANSWER_BYTES_MAX: usize = MESSAGE_BYTES_MAX - BODY_HEAD_BYTES_MAX;
/// How many requests may be on their way here at once: one to work on, one that waits in the line.
pub const WINDOW: u16 = 2;

/// Does a task: writes the answer into the buffer and returns its length, or says why not.
pub type Handler = fn(&[u8], &mut [u8]) -> Result<usize, &'static str>;

/// What becomes of requests.
pub trait Handle {
    /// Takes a request. Returns how it ended, its answer in the buffer and of this length; or `None`
    /// where it ends later, with [`Worker::finish`].
    fn start(&mut self, job: Job, body: &[u8], answer: &mut [u8]) -> Option<(Verdict, usize)>;

    /// Hears that nobody waits for a request any longer that ends later.
    fn cancel(&mut self, _job: Job) {}
}

impl<F: FnMut(&[u8], &mut [u8]) -> Result<usize, &'static str>> Handle for F {
    fn start(&mut self, _: Job, body: &[u8], answer: &mut [u8]) -> Option<(Verdict, usize)> {
        Some(match self(body, answer) {
            Ok(length) => (Verdict::Done, length.min(answer.len())),
            Err(text) => (Verdict::Failed, fill(answer, text.as_bytes())),
        })
    }
}

/// Which request of which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    link: u16,
    slot: RunId,
}

impl Job {
    /// Returns whether the other one came over the same link.
    pub fn shares_link(self, other: Self) -> bool {
        self.link == other.link
    }
}

/// The memory that a [`Worker`] is lent.
#[derive(Debug)]
pub struct Buffers {
    input: [u8; WIRE_BYTES_MAX],
    output: [u8; WIRE_BYTES_MAX],
    answer: [u8; ANSWER_BYTES_MAX],
}

impl Buffers {
    /// Fresh memory.
    pub const fn new() -> Self {
        Self {
            input: [0; WIRE_BYTES_MAX],
            output: [0; WIRE_BYTES_MAX],
            answer: [0; ANSWER_BYTES_MAX],
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker, whoever its manager is, or with a [`Guard`] whoever has the key.
#[derive(Debug)]
pub struct Worker<'b, U, H = Handler, G = Unguarded> {
    decoder: FrameDecoder<&'b mut [u8]>,
    state: State<'b, U, H, G>,
}

#[derive(Debug)]
struct State<'b, U, H, G> {
    uart: U,
    guard: G,
    name: &'static str,
    handler: H,
    output: &'b mut [u8],
    answer: &'b mut [u8],
    acceptor: Acceptor,
    phase: Phase,
    session: Session<[RunSlot; WINDOW as usize]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The manager's Hello is next.
    Hello,
    /// Its Welcome is next.
    Welcome,
    Up {
        heartbeat_millis: u32,
    },
}

impl<'b, U: Uart, H: Handle> Worker<'b, U, H> {
    /// Makes a worker, and tells the manager that it starts afresh.
    pub fn new(uart: U, name: &'static str, handler: H, buffers: &'b mut Buffers) -> Self {
        Self::guarded(uart, name, handler, buffers, Unguarded)
    }
}

impl<'b, U: Uart, H: Handle, G: Guard> Worker<'b, U, H, G> {
    /// Makes a worker whose messages go through a guard, and tells the manager that it starts afresh.
    pub fn guarded(
        uart: U,
        name: &'static str,
        handler: H,
        buffers: &'b mut Buffers,
        guard: G,
    ) -> Self {
        let Buffers { input, output, answer } = buffers;
        let answer = &mut answer[..ANSWER_BYTES_MAX - G::ADDED_BYTES];
        let mut state = State {
            uart,
            guard,
            name,
            handler,
            output,
            answer,
            acceptor: Acceptor::new(),
            phase: Phase::Hello,
            session: Session::new([RunSlot::EMPTY; WINDOW as usize]),
        };
        state.send_frame(FrameHeader::STARTED, &[], &[]);
        Self { decoder: FrameDecoder::new(input), state }
    }

    /// Lends the UART.
    pub fn uart(&self) -> &U {
        &self.state.uart
    }

    /// Takes in what the UART has, and does what is asked for. Returns whether it heard anything.
    pub fn poll(&mut self) -> bool {
        let mut heard = false;
        while let Some(byte) = self.state.uart.read() {
            if let Some(place) = self.decoder.spare().first_mut() {
                *place = byte;
                self.decoder.advance(1);
            }
            while let Some((header, message)) = self.decoder.next_frame_mut() {
                self.state.on_frame(header, message);
                heard = true;
            }
        }
        heard
    }

    /// Answers a request that was to end later: done with this answer, cut where it is too long, or
    /// failed with this text. Says nothing where nobody waits for it.
    pub fn finish(&mut self, job: Job, answer: Result<&[u8], &str>) {
        let (verdict, bytes) = match answer {
            Ok(bytes) => (Verdict::Done, bytes),
            Err(text) => (Verdict::Failed, text.as_bytes()),
        };
        if self.wants(job) {
            let length = fill(self.state.answer, bytes);
            self.state.finish(job.slot, verdict, length);
        }
    }

    /// Returns whether the manager still waits for the answer.
    pub fn wants(&self, job: Job) -> bool {
        self.state.acceptor.link() == Some(job.link) && self.state.session.contains(job.slot)
    }

    /// Returns how long the manager may say nothing, and be answered nothing, before it is gone:
    /// then call [`leave`](Self::leave). `None` where no link is up.
    pub fn silence_max(&self) -> Option<Duration> {
        match self.state.phase {
            Phase::Up { heartbeat_millis } if self.state.acceptor.link().is_some() => {
                Some(Duration::from_millis(heartbeat_millis.into()) * 2)
            }
            _ => None,
        }
    }

    /// Ends the link, which has been silent for too long.
    pub fn leave(&mut self) {
        self.state.leave(Code::Timeout);
    }

    /// Returns the handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.state.handler
    }
}

impl<U: Uart, H: Handle, G: Guard> State<'_, U, H, G> {
    fn on_frame(&mut self, header: FrameHeader, message: &mut [u8]) {
        match self.acceptor.hear(header) {
            FrameMeaning::Opened => {
                if self.guard.begin() {
                    self.begin();
                }
            }
            FrameMeaning::Message => {}
            FrameMeaning::Refuse(header) => return self.send_frame(header, &[], &[]),
            FrameMeaning::Closed | FrameMeaning::Nothing => return,
        }
        self.on_guarded(message);
    }

    /// Takes in what came over the present link.
    fn on_guarded(&mut self, message: &mut [u8]) {
        match self.guard.hear(message) {
            Heard::Message(bytes) => self.on_bytes(bytes),
            Heard::Answer(bytes) => {
                if let Some(link) = self.acceptor.link() {
                    let header = FrameHeader { kind: FrameKind::Data, link };
                    send_frame(&mut self.uart, self.output, header, bytes, &[]);
                }
            }
            Heard::Proven => self.begin(),
            Heard::Refused(code) => self.leave(code),
        }
    }

    /// Begins a link. Its part of the stack is given back before the handler runs.
    #[expect(clippy::cast_possible_truncation, reason = "512 is well within 32 bits")]
    #[inline(never)]
    fn begin(&mut self) {
        self.phase = Phase::Hello;
        self.session = Session::new([RunSlot::EMPTY; WINDOW as usize]);
        let hello = Hello {
            frame_bytes_max: (MESSAGE_BYTES_MAX - G::ADDED_BYTES) as u32,
            ..Hello::new(Role::Worker, WINDOW, 0, self.name)
        };
        self.send(&Message::Hello(hello), 0);
    }

    #[inline(never)]
    fn on_bytes(&mut self, bytes: &[u8]) {
        let code = match Message::decode(bytes) {
            Ok(message) => self.on_message(message),
            Err(error) => Err(error.code()),
        };
        if let Err(code) = code {
            self.leave(code);
        }
    }

    fn on_message(&mut self, message: Message<'_>) -> Result<(), Code> {
        match (self.phase, message) {
            (_, Message::Goodbye { .. }) => {
                if let Some(header) = self.acceptor.close() {
                    self.send_frame(header, &[], &[]);
                }
            }
            (Phase::Hello, Message::Hello(Hello { role: Role::Manager, .. })) => {
                self.phase = Phase::Welcome;
            }
            (Phase::Hello, Message::Hello(_)) => return Err(Code::WrongRole),
            (Phase::Welcome, Message::Welcome { window, heartbeat_millis, .. })
                if window <= WINDOW =>
            {
                self.phase = Phase::Up { heartbeat_millis };
            }
            (Phase::Up { .. }, Message::Request { task, attempt, body, .. }) => {
                let slot = self.session.request(task, attempt).map_err(|_| Code::BadMessage)?;
                let job = Job { link: self.acceptor.link().unwrap_or_default(), slot };
                if let Some((verdict, length)) = self.handler.start(job, body, self.answer) {
                    self.finish(slot, verdict, length);
                }
            }
            (Phase::Up { .. }, Message::Cancel { task, attempt }) => {
                if let Some(slot) = self.session.cancel(task, attempt) {
                    let link = self.acceptor.link().unwrap_or_default();
                    self.handler.cancel(Job { link, slot });
                }
            }
            (Phase::Up { .. }, Message::Ping) => self.send(&Message::Pong, 0),
            _ => return Err(Code::BadMessage),
        }
        Ok(())
    }

    fn finish(&mut self, slot: RunId, verdict: Verdict, answer_bytes: usize) {
        if let Some((task, attempt)) = self.session.complete(slot) {
            self.send(&Message::Response { task, attempt, verdict, body: &[] }, answer_bytes);
        }
    }

    fn leave(&mut self, code: Code) {
        self.send(&Message::Goodbye { code, text: "" }, 0);
        if let Some(header) = self.acceptor.close() {
            self.send_frame(header, &[], &[]);
        }
    }

    /// Sends a message, with the beginning of the answer as its body.
    fn send(&mut self, message: &Message<'_>, answer_bytes: usize) {
        let Some(link) = self.acceptor.link() else { return };
        let mut head = [0; HEAD_BYTES_MAX];
        let head = message.encode(&mut head);
        let body = &self.answer[..answer_bytes];
        let header = FrameHeader { kind: FrameKind::Data, link };
        if let Some((head, body)) = self.guard.protect(head, body) {
            send_frame(&mut self.uart, self.output, header, head, body);
        }
    }

    fn send_frame(&mut self, header: FrameHeader, head: &[u8], body: &[u8]) {
        send_frame(&mut self.uart, self.output, header, head, body);
    }
}

fn send_frame(
    uart: &mut impl Uart,
    output: &mut [u8],
    header: FrameHeader,
    head: &[u8],
    body: &[u8],
) {
    // All that is sent here fits; a frame that did not would be a lost one.
    for &byte in encode(header, head, body, output).unwrap_or_default() {
        uart.write(byte);
    }
    uart.flush();
}

/// Copies as much as there is room for, and returns how much that was.
pub(crate) fn fill(place: &mut [u8], bytes: &[u8]) -> usize {
    let length = bytes.len().min(place.len());
    place[..length].copy_from_slice(&bytes[..length]);
    length
}
