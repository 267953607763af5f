//! The handshake of the native dialect, seen from the manager.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use chargehand_core::message::{
    ATTEMPT_TIMEOUT_EXTENSION, BODY_HEAD_BYTES_MAX, Code, ExtensionsWriter, GRACE_EXTENSION,
    HELLO_BYTES_MAX, Hello, Message, Role,
};
use chargehand_core::{Config, Offer, WorkerId};

use crate::limits::Limits;
use crate::link::erased::AnyWire;
use crate::link::identity::check_name;
use crate::link::reason::DisconnectReason;
use crate::link::schema::{EXTENSIONS_ROOM, Wanted, check_schema, manager_extensions};
use crate::options::Window;
use crate::payload::HEIGHT_BYTES_MAX;

/// What a worker must take, or no height can be sent to it.
const FRAME_BYTES_MIN: usize = BODY_HEAD_BYTES_MAX + HEIGHT_BYTES_MAX;

/// What this manager says to every worker.
#[derive(Debug)]
pub(crate) struct ManagerTerms {
    name: Arc<str>,
    schema: Option<Arc<str>>,
    token: u64,
    /// How long an attempt may take.
    attempt_timeout_millis: u32,
    heartbeat_millis: u32,
    /// How long a worker is waited for whose link broke.
    grace_millis: u32,
    frame_bytes_max: u32,
    in_flight: Option<Window>,
    window_max: u16,
    /// Workers are judged by their answers.
    #[cfg(feature = "choice")]
    is_judging: bool,
}

/// What a worker said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeted {
    pub(crate) name: String,
    /// How many attempts it gets at once.
    pub(crate) window: u16,
    /// Whether it is to be found out how many of these it is given.
    pub(crate) is_auto: bool,
    /// How many it says that it runs at once.
    pub(crate) concurrency: u16,
    /// The longest frame that it says it takes, in bytes.
    pub(crate) frame_bytes_max: u32,
    /// Differs from one start of the worker to the next.
    pub(crate) token: u64,
    /// For how many milliseconds it goes on without a link.
    pub(crate) keeps_millis: u32,
    /// Which tasks it wants.
    pub(crate) wanted: Wanted,
    /// It takes trace contexts.
    #[cfg(feature = "tracing")]
    pub(crate) takes_traces: bool,
}

impl Greeted {
    /// Returns what it offers, to a manager that knew a worker of that token in its place before.
    pub(crate) fn offer(&self, known: Option<u64>) -> Offer {
        let offer = Offer::new(self.concurrency.into()).window(self.window.into());
        #[cfg(feature = "choice")]
        let offer = if self.is_auto { offer.auto(self.window.into()) } else { offer };
        let offer = offer.keeps(Duration::from_millis(self.keeps_millis.into()));
        if known == Some(self.token) { offer.resumes() } else { offer }
    }
}

/// How far a handshake is.
#[derive(Debug, Default)]
pub(crate) enum Greeting {
    #[default]
    Begun,
    HelloSent,
    HelloTaken(Greeted),
}

impl ManagerTerms {
    pub(crate) fn new(limits: &Limits, config: &Config) -> Self {
        Self {
            name: Arc::clone(&limits.name),
            schema: limits.schema.clone(),
            attempt_timeout_millis: whole_millis(config.attempt_timeout),
            token: limits.token,
            heartbeat_millis: whole_millis(config.heartbeat_interval),
            grace_millis: whole_millis(config.grace),
            frame_bytes_max: limits.frame_bytes_max,
            in_flight: limits.in_flight,
            window_max: u16::try_from(config.window_max).unwrap_or(u16::MAX),
            #[cfg(feature = "choice")]
            is_judging: config.choice == chargehand_core::Choice::FirstAnswer,
        }
    }

    /// Returns how many attempts a worker gets at once, which has a window of its `own` here or not, and
    /// whether it is to be found out how many of these.
    fn window(&self, own: Option<Window>, offered: u16) -> (u16, bool) {
        let (count, is_auto) = match own.or(self.in_flight).unwrap_or(Window::Fixed(offered)) {
            Window::Fixed(count) => (count, false),
            #[cfg(feature = "choice")]
            Window::Auto if self.is_judging => (u16::MAX, true),
            #[cfg(feature = "choice")]
            Window::Auto => (offered, false),
        };
        (count.clamp(1, self.window_max), is_auto)
    }
}

impl Greeting {
    /// Goes on with the handshake as far as the peer's Hello. It is taken in by
    /// [`poll_welcome`](Self::poll_welcome).
    pub(crate) fn poll<W: AnyWire + ?Sized>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
        opening: &ManagerTerms,
        own_window: Option<Window>,
    ) -> Poll<Result<Greeted, DisconnectReason>> {
        let mut head = [0; HELLO_BYTES_MAX];
        if let Self::Begun = self {
            // Whoever has not introduced itself has nothing longer to say.
            wire.limit_incoming(HELLO_BYTES_MAX);
            let mut extensions = [0; EXTENSIONS_ROOM];
            let hello = Message::Hello(Hello {
                frame_bytes_max: opening.frame_bytes_max,
                extensions: manager_extensions(opening.schema.as_deref(), &mut extensions),
                ..Hello::new(Role::Manager, 0, opening.token, &opening.name)
            });
            let hello = hello.encode_extended(&mut head).expect("there is room for both");
            ready!(wire.poll_send(cx, hello, &[])).map_err(DisconnectReason::reset)?;
            *self = Self::HelloSent;
        }
        if let Self::HelloSent = self {
            // The other side's Hello does not wait for ours to have left.
            let _ = wire.poll_flush(cx).map_err(DisconnectReason::reset)?;
            let greeted = match ready!(wire.poll_recv(cx)).map_err(DisconnectReason::reset)? {
                Some(frame) => hello_of(frame, opening, own_window)?,
                None => return Poll::Ready(Err(DisconnectReason::ClosedEarly)),
            };
            check_name(wire.identity(), &greeted.name)?;
            *self = Self::HelloTaken(greeted);
        }
        let Self::HelloTaken(greeted) = self else { unreachable!("the steps above lead here") };
        Poll::Ready(Ok(greeted.clone()))
    }

    /// Takes the peer in as this worker, once its Hello is [taken](Self::poll).
    pub(crate) fn poll_welcome<W: AnyWire + ?Sized>(
        &self,
        wire: &mut W,
        cx: &mut Context<'_>,
        opening: &ManagerTerms,
        worker: WorkerId,
    ) -> Poll<Result<(), DisconnectReason>> {
        let Self::HelloTaken(greeted) = self else { unreachable!("its Hello comes first") };
        let mut head = [0; HELLO_BYTES_MAX];
        let mut extensions = [0; EXTENSIONS_ROOM];
        let mut extensions = ExtensionsWriter::new(&mut extensions);
        let timeout = opening.attempt_timeout_millis.to_le_bytes();
        extensions.add(ATTEMPT_TIMEOUT_EXTENSION, &timeout).expect("there is room");
        let grace = opening.grace_millis.min(greeted.keeps_millis);
        if grace > 0 {
            let mut value = [0; 12];
            for (place, number) in
                value.chunks_exact_mut(4).zip([grace, worker.slot(), worker.generation()])
            {
                place.copy_from_slice(&number.to_le_bytes());
            }
            extensions.add(GRACE_EXTENSION, &value).expect("there is room");
        }
        let welcome = Message::Welcome {
            heartbeat_millis: opening.heartbeat_millis,
            window: greeted.window,
            extensions: extensions.finish(),
        };
        let welcome = welcome.encode_extended(&mut head).expect("there is room for both");
        wire.poll_send(cx, welcome, &[]).map_err(DisconnectReason::reset)
    }
}

/// Returns a span as messages have it. What is longer than 49 days is as good as for ever.
pub(crate) fn whole_millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

fn hello_of(
    frame: &[u8],
    opening: &ManagerTerms,
    own_window: Option<Window>,
) -> Result<Greeted, DisconnectReason> {
    match Message::decode(frame) {
        Ok(Message::Hello(Hello {
            role: Role::Worker,
            window,
            frame_bytes_max,
            token,
            name,
            extensions,
            ..
        })) => {
            check_schema(opening.schema.as_deref(), extensions.schema(), name)?;
            if (frame_bytes_max as usize) < FRAME_BYTES_MIN {
                return Err(DisconnectReason::protocol(format!(
                    "the worker ({name}) takes frames of {frame_bytes_max} bytes, and a height \
                     alone may need {FRAME_BYTES_MIN}: raise its frame_bytes_max"
                )));
            }
            let (at_once, is_auto) = opening.window(own_window, window);
            Ok(Greeted {
                name: name.to_owned(),
                window: at_once,
                is_auto,
                concurrency: window,
                frame_bytes_max,
                token,
                keeps_millis: extensions.millis(GRACE_EXTENSION).unwrap_or(0),
                wanted: Wanted::of(extensions),
                #[cfg(feature = "tracing")]
                takes_traces: extensions.get(chargehand_core::message::TRACE_EXTENSION).is_some(),
            })
        }
        Ok(Message::Hello(Hello { role: Role::Manager, name, .. })) => {
            Err(DisconnectReason::Protocol {
                code: Code::WrongRole,
                text: format!("the peer ({name}) is a manager, too: connect managers to workers"),
            })
        }
        Ok(Message::Goodbye { code, text }) => Err(DisconnectReason::goodbye(code, text)),
        Ok(other) => Err(DisconnectReason::protocol(format!(
            "the peer opened with {} instead of Hello",
            other.kind()
        ))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use chargehand_core::message::HEAD_BYTES_MAX;

    use super::*;

    #[test]
    fn what_a_peer_says_of_itself_cannot_write_to_a_log_or_terminal() {
        let opening = ManagerTerms {
            name: "m".into(),
            schema: None,
            attempt_timeout_millis: 1,
            token: 1,
            heartbeat_millis: 1,
            grace_millis: 0,
            frame_bytes_max: 1024,
            in_flight: None,
            #[cfg(feature = "choice")]
            is_judging: false,
            window_max: 8,
        };
        let nasty = "bye\n\u{1b}[2Jroot: all is well";
        for message in [
            Message::Goodbye { code: Code::Stopped, text: nasty },
            Message::hello(Role::Manager, 0, 1, "evil\nmanager"),
            Message::hello(Role::Worker, 1, 1, "\u{1b}[31mworker"),
        ] {
            let error =
                hello_of(message.encode(&mut [0; HEAD_BYTES_MAX]), &opening, None).unwrap_err();
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
    }
}
