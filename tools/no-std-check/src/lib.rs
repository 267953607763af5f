//! A program part for a machine without operating system or heap: it builds only if
//! chargehand-core, without features, needs neither std nor alloc.
#![no_std]
#![forbid(unsafe_code)]

use core::panic::PanicInfo;
use core::time::Duration;

#[cfg(feature = "sealed")]
use chargehand_core::keyed::{
    Channel, ChannelError, EXCHANGE_BYTES_MAX, ExchangeError, Member, NONCE_BYTES, Responder,
    SharedKey,
};
use chargehand_core::ledger::{Ledger, LedgerError, Span};
#[cfg(feature = "sealed")]
use chargehand_core::message::Role;
use chargehand_core::message::{Extensions, HEAD_BYTES_MAX, Message, MessageError};
use chargehand_core::prefix::{HEADER_BYTES, PrefixDecoder, TooLong, encode_header};
use chargehand_core::{
    Action, Backoff, BackoffPolicy, Config, ConfigError, Event, EventError, Inline, Instant, Route,
    Scheduler, SubmitError, TaskId,
};

/// With std linked there would be two of these, which is an error.
#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Makes a scheduler with one worker that is dialled.
pub fn scheduler() -> Result<Scheduler<Inline<16, 4>>, ConfigError> {
    let mut scheduler = Scheduler::new(Inline::new(), Config::new(7))?;
    // Four worker slots, and this is the first worker.
    let _ = scheduler.add_worker(Instant::EPOCH, Route::Dial);
    Ok(scheduler)
}

/// Turns the loop of the crate's first page once.
pub fn turn(
    scheduler: &mut Scheduler<Inline<16, 4>>,
    now: Instant,
    event: Event,
) -> Result<Option<Action>, EventError> {
    scheduler.handle_event(now, event)?;
    scheduler.handle_timeout(now);
    Ok(scheduler.poll_action())
}

/// Submits a task and says when to call again.
pub fn submit(
    scheduler: &mut Scheduler<Inline<16, 4>>,
    now: Instant,
) -> Result<(TaskId, Option<Instant>), SubmitError> {
    let task = scheduler.submit(now)?;
    Ok((task, scheduler.poll_timeout()))
}

/// Returns the delay after some attempts.
pub fn delay(attempts: u32) -> Duration {
    let mut backoff = Backoff::new(BackoffPolicy::new(), 7);
    for _ in 0..attempts {
        backoff.attempt();
    }
    backoff.delay()
}

/// Encodes a request, with its length before it, into a lent buffer of any length.
pub fn request(task: TaskId, body: &[u8], out: &mut [u8]) -> Result<Option<usize>, TooLong> {
    let mut head = [0; HEAD_BYTES_MAX];
    let head =
        Message::Request { task, attempt: 1, extensions: Extensions::NONE, body }.encode(&mut head);
    let length = encode_header(head.len() + body.len(), out.len().saturating_sub(HEADER_BYTES))?;
    let mut place = out.iter_mut();
    for byte in length.iter().chain(head).chain(body) {
        let Some(place) = place.next() else { return Ok(None) };
        *place = *byte;
    }
    Ok(Some(length.len() + head.len() + body.len()))
}

/// Returns the kind of the first message in a decoder over a lent buffer.
pub fn kind(decoder: &mut PrefixDecoder<&mut [u8]>) -> Result<Option<&'static str>, TooLong> {
    let Some(frame) = decoder.next_frame()? else { return Ok(None) };
    let decoded: Result<Message<'_>, MessageError> = Message::decode(frame);
    Ok(decoded.ok().map(|message| message.kind()))
}

/// Answers whoever opens a link, with a nonce of the board's own.
#[cfg(feature = "sealed")]
pub fn answer<'o>(
    key: &SharedKey,
    nonce: [u8; NONCE_BYTES],
    open: &[u8],
    out: &'o mut [u8; EXCHANGE_BYTES_MAX],
) -> Result<(Responder, &'o [u8]), ExchangeError> {
    let me = Member::new(Role::Worker, "board")?.sealed();
    Responder::new(me, nonce, open, |_, id| (key.id() == id).then(|| key.clone()), out)
}

/// Decrypts a message in place, once the link is proven.
#[cfg(feature = "sealed")]
pub fn open<'m>(channel: &mut Channel, message: &'m mut [u8]) -> Result<&'m [u8], ChannelError> {
    channel.open(message)
}

/// Notes a height and returns up to where all is done.
pub fn note(ledger: &mut Ledger<[Span; 32]>, height: u64) -> Result<Option<u64>, LedgerError> {
    ledger.complete(height)?;
    Ok(ledger.low_water())
}
