//! Why a handler failed: what it says, and what its caller hears.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};
use core::time::Duration;

use chargehand_core::Useless;
use chargehand_core::message::clip;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::payload::decode::{DecodeLimits, decode};

/// The longest text of a failure, where a manager's limit does not cut it shorter.
pub(crate) const FAILURE_BYTES_MAX: usize = 16 * 1024;
/// The longest details of a failure, encoded.
const DETAILS_BYTES_MAX: usize = 16 * 1024;

/// The first byte of a failure that says more than its text. No text begins so: it is not UTF-8.
const EXPLAINED: u8 = 0xff;
const PERMANENT: u8 = 1;
const DELAYED: u8 = 2;
const THROTTLED: u8 = 4;
const OF_KEY: u8 = 8;
/// What stands before the text of a failure that says more.
const EXPLAINED_HEAD_BYTES: usize = 10;

/// Why a handler failed, as its worker said it.
///
/// A handler may return any error that is `Display`: its text is the failure's, and the task is tried
/// again where retries are left. One that returns a `Failure` can say more: that a retry is pointless
/// ([`permanent`](Failure::permanent)), or has to wait for some time
/// ([`retry_after`](Failure::retry_after)), that the worker cannot do it now ([`Throttled`]), and [details](Failure::with_details) of a type of its own.
/// The caller finds it in [`TaskError::Failed`](crate::TaskError::Failed), once the task has ended with it.
///
/// ```
/// use chargehand::Failure;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Trouble {
///     NoSuchBlock { height: u64 },
/// }
///
/// let failure = Failure::permanent("no such block")
///     .with_details(&Trouble::NoSuchBlock { height: 7 });
///
/// // At the caller, where it is in `TaskError::Failed(failure)`:
/// assert!(failure.is_permanent());
/// assert_eq!(failure.text(), "no such block");
/// let details = failure.details::<Trouble>();
/// assert_eq!(details, Some(Ok(Trouble::NoSuchBlock { height: 7 })));
/// ```
///
/// To a manager of the Go package it is its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    text: String,
    is_permanent: bool,
    retry_after: Option<Duration>,
    /// The delay is the worker's, and not the task's.
    is_throttled: bool,
    /// And its key's rather than the worker's.
    is_of_key: bool,
    details: Option<Vec<u8>>,
}

/// Says that a worker cannot do a task now: what it calls on wants no more of it for a time, as an HTTP server
/// says by status 429 and `Retry-After`.
///
/// Return it from a handler, as the error or as the source of a [`Failure`]. The task goes to another worker,
/// with no attempt and no retry counted; the worker gets no task until then, and half as many at once
/// afterwards, growing with each one done. It is not suspended for it. A task to which this happens as often as
/// [`resends_max`](chargehand_core::Config::resends_max) says ends as [`TaskError::Bounced`](crate::TaskError::Bounced).
///
/// Managers cut the time to [`Config::pause_max`](chargehand_core::Config::pause_max), 1 h by default. To one of
/// the Go package it is a failure.
///
/// ```
/// use std::time::Duration;
/// use chargehand::{Failure, Throttled};
///
/// # struct Response { status: u16, body: Vec<u8> }
/// # async fn ask(height: u64) -> Result<Response, String> { Ok(Response { status: 429, body: vec![] }) }
/// async fn fetch(height: u64) -> Result<Vec<u8>, Failure> {
///     let response = ask(height).await?;
///     if response.status == 429 {
///         return Err(Throttled::after(Duration::from_secs(2)).into());
///     }
///     Ok(response.body)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    pause: Duration,
    is_of_key: bool,
}

impl Throttled {
    /// Makes one that lets the worker have tasks again after `pause` (up to 49 days, in whole milliseconds).
    ///
    /// Where whoever refuses does not say for how long, take a pause of your own, of a second say: after none, the
    /// task may come back at once, and uses up its `resends_max` within milliseconds where no other worker serves.
    pub const fn after(pause: Duration) -> Self {
        Self { pause, is_of_key: false }
    }

    /// Says that it is not the worker that cannot, but the task's [key](crate::TaskKey) that is to wait: the
    /// account that is locked, the customer who has had his share. No task of that key is sent before the pause is
    /// over, to whichever worker, and this worker goes on with others as before. A task without a key waits alone.
    ///
    /// A manager of an older version holds it against the worker, as without this.
    #[must_use]
    pub const fn for_key(mut self) -> Self {
        self.is_of_key = true;
        self
    }
}

impl Display for Throttled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not now: try again in {:?}", self.pause)
    }
}

impl core::error::Error for Throttled {}

impl From<Throttled> for Failure {
    fn from(throttled: Throttled) -> Self {
        let mut failure = Self::retry_after(throttled.pause, throttled);
        failure.0.is_throttled = true;
        failure.0.is_of_key = throttled.is_of_key;
        failure
    }
}

impl Failure {
    /// Makes one that is tried again like any other error.
    pub fn new(text: impl Display) -> Self {
        let text = text.to_string();
        Self::from(text)
    }

    /// Makes one that is not tried again, however many retries are left: the task ends with it. It is the
    /// task's own failure: a worker that gives many of them is not suspended for it.
    pub fn permanent(text: impl Display) -> Self {
        let mut failure = Self::new(text);
        failure.0.is_permanent = true;
        failure
    }

    /// Makes one that is tried again, where retries are left, no sooner than in `delay` (up to 49 days,
    /// in whole milliseconds): in place of the delay that the task's retries have, be that longer or
    /// shorter. It uses up a retry, and counts towards the worker's rest, like any other failure.
    pub fn retry_after(delay: Duration, text: impl Display) -> Self {
        let mut failure = Self::new(text);
        let millis = u32::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        failure.0.retry_after = Some(Duration::from_millis(millis.into()));
        failure
    }

    /// Adds a value for the caller, in postcard's encoding, of up to 16 KiB: see
    /// [`details`](Failure::details). Where it cannot be encoded or is longer, the text says so. A manager
    /// whose frames are too short for it gets none.
    #[must_use]
    pub fn with_details<E: Serialize + ?Sized>(mut self, details: &E) -> Self {
        let why = match postcard::to_allocvec(details) {
            Ok(bytes) if bytes.len() <= DETAILS_BYTES_MAX => {
                self.0.details = Some(bytes);
                return self;
            }
            Ok(bytes) => format!("have {} bytes, of at most {DETAILS_BYTES_MAX}", bytes.len()),
            Err(error) => format!("cannot be encoded: {error}"),
        };
        self.0.text = format!("{} (its details {why})", self.0.text);
        self
    }

    /// Returns the text. At the caller it has at most 16 KiB, and what was not UTF-8 in it is replaced.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns whether the handler said that a retry is pointless.
    pub fn is_permanent(&self) -> bool {
        self.0.is_permanent
    }

    /// Returns how long to wait before it is tried again, if the handler said so.
    pub fn delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns whether the worker could not do it then, and the delay was its own: see [`Throttled`]. No pool
    /// ends a task with such a failure; what runs handlers by itself may see one.
    pub fn is_throttled(&self) -> bool {
        self.0.is_throttled
    }

    /// Returns the details as a type, if there are any. They are bounded as answers are by default:
    /// see [`DecodeLimits`].
    ///
    /// # Errors
    /// Says why they are not of that type: the handler's side made them of another one.
    pub fn details<E: DeserializeOwned + 'static>(&self) -> Option<Result<E, String>> {
        self.details_within(&DecodeLimits::new())
    }

    /// Returns the [details](Failure::details), bounded in another way.
    ///
    /// # Errors
    /// Says why they are not of that type, or which limit they would pass.
    pub fn details_within<E: DeserializeOwned + 'static>(
        &self,
        limits: &DecodeLimits,
    ) -> Option<Result<E, String>> {
        self.0.details.as_deref().map(|bytes| decode(bytes, limits))
    }

    /// Puts it into `body` as it travels: the text alone where that is all.
    ///
    /// Else a byte that begins no text, flags, the delay in milliseconds, the text with its length before
    /// it, and the details.
    pub(crate) fn write(&self, text_bytes_max: usize, body: &mut Vec<u8>) {
        let text = clip(&self.0.text, text_bytes_max.min(FAILURE_BYTES_MAX));
        let Inner { is_permanent, retry_after, is_throttled, is_of_key, details, .. } = &*self.0;
        body.clear();
        if !is_permanent && retry_after.is_none() && details.is_none() {
            body.extend_from_slice(text.as_bytes());
            return;
        }
        let delay = retry_after.map_or(0, |delay| delay.as_millis().try_into().unwrap_or(u32::MAX));
        let mut flags = 0;
        flags |= if *is_permanent { PERMANENT } else { 0 };
        flags |= if retry_after.is_some() { DELAYED } else { 0 };
        flags |= if *is_throttled { THROTTLED } else { 0 };
        flags |= if *is_of_key { OF_KEY } else { 0 };
        body.extend([EXPLAINED, flags]);
        body.extend(delay.to_le_bytes());
        let length = u32::try_from(text.len()).expect("it is cut to 16 KiB");
        body.extend(length.to_le_bytes());
        body.extend_from_slice(text.as_bytes());
        if let Some(details) = details {
            body.push(1);
            body.extend_from_slice(details);
        }
    }
}

/// A failure as it travels.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    is_permanent: bool,
    retry_after: Option<Duration>,
    is_throttled: bool,
    is_of_key: bool,
    text: &'a str,
    details: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Takes a body apart. `None` where it is none that [`Failure::write`] makes.
    fn read(body: &'a [u8]) -> Option<Self> {
        if body.first() != Some(&EXPLAINED) {
            let text = core::str::from_utf8(body).ok()?;
            return Some(Self {
                is_permanent: false,
                retry_after: None,
                is_throttled: false,
                is_of_key: false,
                text,
                details: None,
            });
        }
        let (&[_, flags], body) = body.split_first_chunk()?;
        let (delay, body) = body.split_first_chunk()?;
        let (length, body) = body.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (text, rest) = body.split_at_checked(length)?;
        let details = match rest.split_first() {
            None => None,
            Some((&1, details)) => Some(details),
            Some(_) => return None,
        };
        let delay = Duration::from_millis(u32::from_le_bytes(*delay).into());
        Some(Self {
            is_permanent: flags & PERMANENT != 0,
            retry_after: (flags & DELAYED != 0).then_some(delay),
            is_throttled: flags & THROTTLED != 0,
            is_of_key: flags & (THROTTLED | OF_KEY) == THROTTLED | OF_KEY,
            text: core::str::from_utf8(text).ok()?,
            details,
        })
    }

    fn to_failure(self) -> Failure {
        let Self { is_permanent, retry_after, is_throttled, is_of_key, text, details } = self;
        let (text, details) = (text.into(), details.map(<[u8]>::to_vec));
        let inner = Inner { text, is_permanent, retry_after, is_throttled, is_of_key, details };
        Failure(Box::new(inner))
    }
}

/// Checks a failure that a worker sent, and cuts it where it is a mere text. `None` where it is neither
/// that nor one that says more, or has a longer text or longer details than workers send.
pub(crate) fn received(body: &[u8]) -> Option<&[u8]> {
    let parts = Parts::read(body)?;
    if body.first() != Some(&EXPLAINED) {
        return Some(clip(parts.text, FAILURE_BYTES_MAX).as_bytes());
    }
    let is_short = parts.text.len() <= FAILURE_BYTES_MAX
        && parts.details.is_none_or(|details| details.len() <= DETAILS_BYTES_MAX);
    is_short.then_some(body)
}

/// Returns a failure of a handler of ours in at most `bytes_max` bytes: without its details, or as a text
/// that is cut, where it has to be.
pub(crate) fn within(body: &[u8], bytes_max: usize) -> Cow<'_, [u8]> {
    // A handler's text was a `String`, so nothing is lost but what is cut.
    let Some(parts) = Parts::read(body) else {
        return Cow::Borrowed(clip("a failure without a valid text", bytes_max).as_bytes());
    };
    if body.first() != Some(&EXPLAINED) {
        return Cow::Borrowed(clip(parts.text, bytes_max.min(FAILURE_BYTES_MAX)).as_bytes());
    }
    if body.len() <= bytes_max {
        return Cow::Borrowed(body);
    }
    let Some(text_bytes_max) = bytes_max.checked_sub(EXPLAINED_HEAD_BYTES) else {
        return Cow::Borrowed(clip(parts.text, bytes_max).as_bytes());
    };
    let mut body = Vec::new();
    Parts { details: None, ..parts }.to_failure().write(text_bytes_max, &mut body);
    Cow::Owned(body)
}

/// Returns what a failure says of trying again. One that says both is permanent.
#[inline]
pub(crate) fn advice(body: &[u8]) -> Option<Useless> {
    if body.first() == Some(&EXPLAINED) { explained_advice(body) } else { None }
}

fn explained_advice(body: &[u8]) -> Option<Useless> {
    let parts = Parts::read(body)?;
    let permanent = parts.is_permanent.then_some(Useless::Permanent);
    let advice = match (parts.is_throttled, parts.is_of_key) {
        (false, _) => Useless::RetryAfter,
        (true, false) => Useless::Throttled,
        (true, true) => Useless::KeyThrottled,
    };
    permanent.or(parts.retry_after.map(advice))
}

/// Returns the text of a failure, for peers that know no more.
pub(crate) fn text_of(body: &[u8]) -> &str {
    Parts::read(body).map_or("a failure without a valid text", |parts| parts.text)
}

/// Makes a failure of what came or was kept. What is no text becomes one.
pub(crate) fn failure_of(body: &[u8]) -> Failure {
    match Parts::read(body) {
        Some(parts) if body.first() == Some(&EXPLAINED) => parts.to_failure(),
        _ => Failure::from(lossy(body)),
    }
}

/// Makes a text of bytes. It is cut before anything else is done with it: each byte that is not UTF-8
/// would become three.
fn lossy(bytes: &[u8]) -> String {
    let mut end = bytes.len().min(FAILURE_BYTES_MAX);
    if end < bytes.len() {
        // Not in the midst of a character, of which there are up to three bytes in front.
        let is_inside = |&at: &usize| bytes[at] & 0xc0 == 0x80;
        end = (end.saturating_sub(3)..=end).rev().find(|at| !is_inside(at)).unwrap_or(end);
    }
    match String::from_utf8_lossy(&bytes[..end]) {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => clip(&text, FAILURE_BYTES_MAX).into(),
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(Box::new(Inner {
            text,
            is_permanent: false,
            retry_after: None,
            is_throttled: false,
            is_of_key: false,
            details: None,
        }))
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::from(String::from(text))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { text, is_permanent, retry_after, is_throttled, is_of_key, details } = &*self.0;
        let mut debug = f.debug_struct("Failure");
        debug.field("text", text);
        if *is_throttled {
            debug.field("is_throttled", is_throttled);
        }
        if *is_of_key {
            debug.field("is_of_key", is_of_key);
        }
        if *is_permanent {
            debug.field("is_permanent", is_permanent);
        }
        if let Some(delay) = retry_after {
            debug.field("delay", delay);
        }
        if let Some(details) = details {
            debug.field("details", &format_args!("{} bytes", details.len()));
        }
        debug.finish()
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    #[test]
    fn a_failure_of_any_bytes_becomes_a_short_text() {
        let text = |bytes: Vec<u8>| failure_of(&bytes).text().to_owned();
        assert_eq!(text("out of gas: ü".into()), "out of gas: ü");
        assert_eq!(text(b"no \xff".to_vec()), "no \u{fffd}");
        for len in FAILURE_BYTES_MAX - 5..FAILURE_BYTES_MAX + 5 {
            let whole = "x".repeat(len) + "\u{10348}ü€";
            let cut = text(whole.clone().into_bytes());
            assert!(whole.starts_with(&cut));
            assert!(cut.len() <= FAILURE_BYTES_MAX && cut.len() > FAILURE_BYTES_MAX - 6);
        }
        // A worker's 16 MiB of what is no text.
        for byte in [0xff, 0x80, 0xc3, 0xf0] {
            let text = text(vec![byte; 16 << 20]);
            assert!(text.len() <= FAILURE_BYTES_MAX && !text.is_empty());
        }
    }

    /// What a handler's failure looks like to its caller, through a manager with room for `bytes`.
    fn travelled(failure: &Failure, bytes_max: usize) -> Failure {
        let mut body = b"left over".to_vec();
        failure.write(FAILURE_BYTES_MAX, &mut body);
        let sent = within(&body, bytes_max);
        assert!(sent.len() <= bytes_max, "{} of {bytes_max}", sent.len());
        failure_of(received(&sent).expect("ours is well formed"))
    }

    #[test]
    fn all_that_a_failure_says_reaches_its_caller() {
        for failure in [
            Failure::new("plain"),
            Failure::new(""),
            Failure::permanent("ü"),
            Failure::retry_after(Duration::from_micros(1500), "busy"),
            Throttled::after(Duration::from_secs(2)).into(),
            Throttled::after(Duration::from_secs(2)).for_key().into(),
            Failure::permanent("").with_details(&()),
            Failure::new("typed").with_details(&(7_u64, "seven")),
            Failure::new("x".repeat(FAILURE_BYTES_MAX)).with_details(&vec![7_u8; 16_000]),
        ] {
            assert_eq!(travelled(&failure, 1 << 20), failure);
        }
        let delay = Failure::retry_after(Duration::from_micros(1500), "busy").delay();
        assert_eq!(delay, Some(Duration::from_millis(2)));
        let delay = Failure::retry_after(Duration::MAX, "never").delay();
        assert_eq!(delay, Some(Duration::from_millis(u32::MAX.into())));
    }

    #[test]
    fn where_there_is_little_room_the_text_is_cut_and_the_details_go_first() {
        let failure = Failure::permanent("no such block").with_details(&"x".repeat(100));
        let cut = travelled(&failure, 40);
        assert_eq!((cut.text(), cut.is_permanent()), ("no such block", true));
        assert_eq!(cut.details::<String>(), None);
        let cut = travelled(&failure, 12);
        assert_eq!((cut.text(), cut.is_permanent()), ("no", true));
        let cut = travelled(&failure, 5);
        assert_eq!((cut.text(), cut.is_permanent()), ("no su", false));
        assert_eq!(travelled(&failure, 0).text(), "");
    }

    #[test]
    fn advice_is_read_from_failures_that_give_some_and_permanent_wins() {
        let of = |failure: Failure| {
            let mut body = Vec::new();
            failure.write(FAILURE_BYTES_MAX, &mut body);
            advice(&body)
        };
        assert_eq!(of(Failure::new("no")), None);
        assert_eq!(of(Failure::new("no").with_details(&1_u8)), None);
        assert_eq!(of(Failure::permanent("no")), Some(Useless::Permanent));
        let second = Duration::from_secs(1);
        let later = Failure::retry_after(second, "no");
        assert_eq!(of(later.clone()), Some(Useless::RetryAfter(second)));
        let throttled = Failure::from(Throttled::after(second));
        assert!(throttled.is_throttled() && !later.is_throttled());
        assert_eq!(of(throttled.clone()), Some(Useless::Throttled(second)));
        let of_key = Failure::from(Throttled::after(second).for_key());
        assert_eq!(of(of_key), Some(Useless::KeyThrottled(second)));
        // What older managers see: not now, and the flag that they do not know.
        assert_eq!(advice(b"\xff\x0a\xe8\x03\0\0\0\0\0\0"), Some(Useless::RetryAfter(second)));
        for mut both in [later, throttled] {
            both.0.is_permanent = true;
            assert_eq!(of(both), Some(Useless::Permanent));
        }
    }

    #[test]
    fn details_that_are_too_long_or_cannot_be_encoded_are_left_out_and_the_text_says_so() {
        let failure = Failure::new("trouble").with_details(&vec![0_u8; 20_000]);
        assert_eq!(failure.details::<Vec<u8>>(), None);
        assert!(failure.text().starts_with("trouble (its details have 20003 bytes"), "{failure}");
        let failure = Failure::new("trouble").with_details(&3_u64);
        assert!(failure.details::<String>().expect("there are some").is_err());
    }

    #[test]
    fn no_bytes_of_a_workers_make_a_failure_panic_or_grow() {
        let mut body = Vec::new();
        Failure::permanent("text").with_details(&5_u8).write(99, &mut body);
        for end in 0..body.len() {
            let _ = received(&body[..end]).map(failure_of);
        }
        for (at, byte) in (0..body.len()).flat_map(|at| [0, 1, 0x7f, 0xff].map(|byte| (at, byte))) {
            let mut body = body.clone();
            body[at] = byte;
            assert!(failure_of(&body).text().len() <= FAILURE_BYTES_MAX);
            let _ = (received(&body), within(&body, 7), text_of(&body));
        }
        let mut long = vec![EXPLAINED, 0, 0, 0, 0, 0];
        long.extend(20_000_u32.to_le_bytes());
        long.resize(long.len() + 20_000, b'x');
        assert_eq!(received(&long), None, "no worker of ours sends that");
        assert_eq!(received(&[EXPLAINED; 3]), None);
    }
}
