//! What a manager's messages mean to a worker: the state of one link, without its wire.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::message::{
    ATTEMPT_TIMEOUT_EXTENSION, BODY_HEAD_BYTES_MAX, Code, GRACE_EXTENSION, Hello, Message,
    MessageError, PROGRESS_EXTENSION, Role, TOOK_EXTENSION,
};
use chargehand_core::session::{RunId, RunSlot, Session};
use chargehand_core::{Instant, TaskId, Verdict};

use self::requests::RequestState;
use super::clock::Now;
use super::dialect::Speech;
use super::runner::Runner;
use super::settings::Settings;
use super::usage::Usage;
use crate::handler::{Handler, fail};
use crate::link::identity::{check_shown, may_be_called};
use crate::link::ready::ReadySet;
use crate::link::reason::DisconnectReason;
use crate::link::schema::check_schema;
use crate::link::silence::Silence;
use crate::payload::HEIGHT_BYTES_MAX;

mod keeping;
mod requests;

use self::keeping::SentAnswers;
pub(super) use self::keeping::{Kept, ReadyAnswer};

/// How many messages without work a peer may send in one heartbeat interval before they count as a flood,
/// besides those that a window's worth of cancels explains.
const IDLE_MESSAGES_MAX: usize = 256;
/// The shortest interval in which they are counted, however short the heartbeat.
const IDLE_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What a link needs of its surroundings while it is polled.
pub(super) struct Around<'a, H: Handler> {
    pub(super) place: u32,
    pub(super) clock: &'a mut dyn Now,
    pub(super) runner: &'a mut Runner<H>,
    pub(super) ready: &'a ReadySet,
    pub(super) settings: &'a Settings,
    /// Whether a link may ask to be flushed and polled again after one message.
    pub(super) reads_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing came yet: the manager's Hello is next.
    Hello,
    /// Its Welcome is next.
    Welcome,
    Up,
    /// Up, but requests are given back: the worker stops, or has no memory for them.
    GivingBack,
}

#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(super) struct ProtocolState {
    pub(super) phase: Phase,
    pub(super) speech: Speech,
    session: Session<Box<[RunSlot]>>,
    jobs: Vec<RequestState>,
    /// The jobs that wait for room, in order. Those that were cancelled since are skipped.
    pending: VecDeque<RunId>,
    /// Whether the runner knows that some wait.
    queued: bool,
    /// The name in the manager's Hello, or the identity that it has proven where that is another.
    pub(super) manager: Arc<str>,
    /// Whom the transport has proven the manager to be.
    identity: Option<Arc<str>>,
    /// How long the manager waits for an attempt's answer, if it says so.
    timeout: Option<Duration>,
    /// What makes the manager one process.
    pub(super) token: u64,
    /// What it calls this worker, and how long what runs goes on without a link, if it does.
    pub(super) claim: Option<(Claim, Duration)>,
    /// How many attempts it has under way here at most.
    window: u16,
    /// The trace context of the request that is taken just now.
    #[cfg(feature = "tracing")]
    trace: Option<chargehand_core::message::TraceContext>,
    sent: SentAnswers,
    /// Whether it wants to know how far attempts are.
    pub(super) takes_progress: bool,
    /// Whether it wants to know how long attempts took.
    pub(super) takes_times: bool,
    pub(super) heartbeat: Duration,
    /// The longest body that an answer may have, and who says so.
    pub(super) answer_bytes_max: usize,
    pub(super) limiter: Limiter,
    pub(super) silence: Silence,
    pub(super) usage: Usage,
    idle_messages: usize,
    idle_since: Instant,
    /// When a drained link is closed from this side.
    pub(super) leave_at: Instant,
    /// How many bytes of the worker's budget are requests that wait or run here, or answers that the
    /// wire had no room for.
    pub(super) held: usize,
    /// Whether the budget knows that this link waits for more.
    pub(super) is_paused: bool,
    /// Whether what waits is not started until answers have left.
    pub(super) is_stalled: bool,
}

/// Which worker of which manager's process a link is of: what goes on when it breaks belongs to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) token: u64,
    pub(super) worker: [u8; 8],
}

/// Who limits the length of an answer most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limiter {
    Manager,
    Setting,
    Transport,
}

/// What is to be done about a message, once its frame is no longer borrowed.
pub(super) enum Step {
    None,
    Pong,
    Up,
    /// A request is to be given back.
    Return(TaskId, u16),
    /// A handler ended at once; its answer is in the runner's `body`.
    Answer(RunId, Verdict),
}

/// What comes of a frame. The end of a link is boxed, so that what is hot fits two registers: decision 0010.
pub(super) type Stepped = Result<Step, Box<DisconnectReason>>;

impl ProtocolState {
    pub(super) fn new(speech: Speech, now: Instant) -> Self {
        // Without a handshake, a link is up from the start and has one request at a time.
        let (phase, window) = match speech {
            Speech::Native => (Phase::Hello, 0),
            Speech::Json(_) => (Phase::Up, 1),
        };
        Self {
            phase,
            speech,
            session: Session::with_window(window),
            jobs: Vec::new(),
            pending: VecDeque::new(),
            queued: false,
            manager: Arc::from(""),
            identity: None,
            timeout: None,
            token: 0,
            claim: None,
            window,
            #[cfg(feature = "tracing")]
            trace: None,
            sent: SentAnswers::default(),
            takes_progress: false,
            takes_times: false,
            heartbeat: Duration::MAX,
            answer_bytes_max: usize::MAX,
            limiter: Limiter::Manager,
            silence: Silence::new(now),
            usage: Usage::new(now),
            idle_messages: 0,
            idle_since: now,
            leave_at: Instant::FAR_FUTURE,
            held: 0,
            is_paused: false,
            is_stalled: false,
        }
    }

    /// Notes whom the transport has proven the manager to be.
    pub(super) fn introduce(&mut self, identity: Option<&str>) {
        self.identity = identity.map(Arc::from);
        if let Some(identity) = &self.identity {
            self.manager = Arc::clone(identity);
        }
    }

    /// Judges one frame.
    #[inline]
    pub(super) fn on_frame<H: Handler>(
        &mut self,
        frame: &[u8],
        around: &mut Around<'_, H>,
    ) -> Stepped {
        self.silence.is_broken = true;
        if !self.speech.is_native() {
            return self.on_json(frame, around);
        }
        // Without a `?`, which would move the message.
        match Message::decode(frame) {
            Ok(Message::Request { task, attempt, extensions, body }) if self.phase == Phase::Up => {
                let millis = extensions.millis(ATTEMPT_TIMEOUT_EXTENSION);
                let timeout = millis.map(|millis| Duration::from_millis(millis.into()));
                #[cfg(feature = "tracing")]
                if !extensions.is_empty() && around.settings.takes_traces() {
                    self.trace = extensions.trace();
                }
                self.on_request(task, attempt, timeout, body, around)
            }
            other => self.on_other(other, around),
        }
    }

    fn on_json<H: Handler>(&mut self, frame: &[u8], around: &mut Around<'_, H>) -> Stepped {
        let is_busy = self.is_busy();
        let Speech::Json(json) = &mut self.speech else { unreachable!("the caller has looked") };
        let height = json.read(frame);
        if is_busy {
            json.wait(height);
            return Ok(Step::None);
        }
        self.on_height(height, around)
    }

    /// Judges what is not hot.
    fn on_other<H: Handler>(
        &mut self,
        message: Result<Message<'_>, MessageError>,
        around: &mut Around<'_, H>,
    ) -> Stepped {
        match (self.phase, message.map_err(DisconnectReason::from)?) {
            (_, Message::Goodbye { code, text }) => {
                Err(DisconnectReason::goodbye(code, text).into())
            }
            (Phase::Hello, Message::Hello(hello)) => self.on_hello(&hello, around.settings),
            (Phase::Welcome, Message::Welcome { heartbeat_millis, window, extensions }) => {
                let timeout = extensions.millis(ATTEMPT_TIMEOUT_EXTENSION);
                self.timeout = timeout.map(|millis| Duration::from_millis(millis.into()));
                self.claim = self.claim_of(extensions.get(GRACE_EXTENSION), around.settings);
                let heartbeat = Duration::from_millis(u64::from(heartbeat_millis));
                self.on_welcome(heartbeat, window, around.settings)
            }
            (Phase::GivingBack, Message::Request { task, attempt, .. }) => {
                self.count_idle(around.clock.now())?;
                self.on_ended(around.clock);
                Ok(Step::Return(task, attempt))
            }
            (Phase::Up | Phase::GivingBack, Message::Cancel { task, attempt }) => {
                self.on_cancel(task, attempt, around)
            }
            (Phase::Up | Phase::GivingBack, Message::Ping) => {
                self.count_idle(around.clock.now())?;
                Ok(Step::Pong)
            }
            (phase, message) => {
                let text = match phase {
                    Phase::Hello => "before the manager's Hello",
                    Phase::Welcome => "before the Welcome",
                    Phase::Up | Phase::GivingBack => "from a manager, once the link is up",
                };
                Err(DisconnectReason::protocol(format!("a {} {text}", message.kind())).into())
            }
        }
    }

    fn on_hello(&mut self, hello: &Hello<'_>, settings: &Settings) -> Stepped {
        if hello.role != Role::Manager {
            let text = "both sides are workers: one of them has a manager's place";
            let code = Code::WrongRole;
            return Err(DisconnectReason::Protocol { code, text: text.into() }.into());
        }
        check_shown(hello.name)?;
        let (ours, theirs) = (settings.schema.as_deref(), hello.extensions.schema());
        check_schema(ours, theirs, hello.name)?;
        // What it calls itself counts as far as it has proven it.
        if self.identity.as_deref().is_none_or(|identity| may_be_called(identity, hello.name)) {
            self.manager = hello.name.into();
        }
        self.limit_answers(
            usize::try_from(hello.frame_bytes_max).unwrap_or(usize::MAX),
            Limiter::Manager,
        );
        self.token = hello.token;
        self.takes_progress = hello.extensions.get(PROGRESS_EXTENSION).is_some();
        self.takes_times = hello.extensions.get(TOOK_EXTENSION).is_some();
        self.phase = Phase::Welcome;
        Ok(Step::None)
    }

    /// Returns what a Welcome says of what goes on without a link.
    fn claim_of(&self, value: Option<&[u8]>, settings: &Settings) -> Option<(Claim, Duration)> {
        let (millis, worker) = value?.split_first_chunk()?;
        let claim = Claim { token: self.token, worker: worker.try_into().ok()? };
        let span = Duration::from_millis(u32::from_le_bytes(*millis).into());
        Some((claim, span.min(settings.grace))).filter(|(_, span)| !span.is_zero())
    }

    /// Notes that somebody takes or carries no longer frames than this.
    pub(super) fn limit_answers(&mut self, frame_bytes_max: usize, limiter: Limiter) {
        let bytes_max = frame_bytes_max.saturating_sub(BODY_HEAD_BYTES_MAX);
        if bytes_max < self.answer_bytes_max {
            (self.answer_bytes_max, self.limiter) = (bytes_max, limiter);
        }
    }

    fn on_welcome(&mut self, heartbeat: Duration, window: u16, settings: &Settings) -> Stepped {
        if window > settings.window_max {
            return Err(DisconnectReason::protocol(format!(
                "the manager's window of {window} is above this worker's window_max, {}: lower \
                 the one or raise the other",
                settings.window_max
            ))
            .into());
        }
        if heartbeat.is_zero() {
            return Err(DisconnectReason::protocol("a Welcome with a heartbeat of 0 ms").into());
        }
        self.heartbeat = heartbeat.min(settings.heartbeat_max);
        self.window = window.max(1);
        self.session = Session::with_window(self.window);
        self.phase = Phase::Up;
        Ok(Step::Up)
    }

    /// Carries out a request of the JSON dialect, or refuses what was none.
    pub(super) fn on_height<H: Handler>(
        &mut self,
        height: Result<i64, String>,
        around: &mut Around<'_, H>,
    ) -> Stepped {
        let Speech::Json(json) = &mut self.speech else { unreachable!("it asked for a height") };
        let task = TaskId::from_parts(0, 0);
        let height = height.map_err(DisconnectReason::protocol)?;
        let mut buffer = [0; HEIGHT_BYTES_MAX];
        match json.begin(height, around.settings, &mut buffer) {
            Ok(body) => self.on_request(task, 1, None, body, around),
            Err(why) => {
                let slot = self.session.request(task, 1).map_err(DisconnectReason::from)?;
                Ok(Step::Answer(slot, fail(&why, &mut around.runner.body)))
            }
        }
    }

    /// Returns the request that waited, once the one before it is answered.
    pub(super) fn take_next(&mut self) -> Option<Result<i64, String>> {
        match &mut self.speech {
            Speech::Json(json) if self.session.running() == 0 => json.take_next(),
            _ => None,
        }
    }

    /// Returns since when this link has been of no use, if nothing is under way on it.
    pub(super) fn idle_since(&mut self, now: Instant) -> Option<Instant> {
        let idle_since = self.usage.look(now);
        (!self.is_busy() && self.held == 0).then_some(idle_since)
    }

    /// Returns which attempt it is, if it is still wanted.
    pub(super) fn attempt(&self, slot: RunId) -> Option<(TaskId, u16)> {
        self.session.attempt(slot)
    }

    fn is_busy(&self) -> bool {
        self.session.running() > 0
    }

    /// Counts a message that makes no work.
    fn count_idle(&mut self, now: Instant) -> Result<(), DisconnectReason> {
        let interval = self.heartbeat.max(IDLE_INTERVAL_MIN);
        if now >= self.idle_since.saturating_add(interval) {
            self.idle_since = now;
            self.idle_messages = 0;
        }
        self.idle_messages += 1;
        if self.idle_messages > IDLE_MESSAGES_MAX + 2 * self.session.window() {
            return Err(DisconnectReason::protocol("a flood of pings or cancels"));
        }
        Ok(())
    }
}
