//! What a transport promises, without a pool on it.

use std::boxed::Box;
use std::future::{Future, poll_fn};
use std::string::ToString;
use std::task::{Context, Poll};
use std::vec::Vec;

use futures_util::future::{join, join_all};

use super::Pair;
use super::rig::{SOON, millis, pause, within};
use crate::BoxError;
use crate::core::io::{Connect, Listen, Wire};

/// Longer than what a system's buffers hold between two ends.
const MANY_BYTES: usize = 256 << 20;

type Near<P> = <<P as Pair>::Connector as Connect>::Wire;
type Far<P> = <<P as Pair>::Listener as Listen>::Wire;

/// Waits for something that should come soon.
async fn soon<P: Pair, F: Future>(what: &str, future: F) -> F::Output {
    let output = within::<P, _>(SOON, future).await;
    output.unwrap_or_else(|| panic!("it never came about: {what}"))
}

async fn connected<P: Pair>(at: &P::Connector) -> Near<P> {
    let connecting = at.clone().connect();
    match soon::<P, _>("a connection", connecting).await {
        Ok(wire) => wire,
        Err(error) => panic!("cannot connect: {}", error.into()),
    }
}

async fn accepted<P: Pair>(door: &mut P::Listener) -> Far<P> {
    let accepting = soon::<P, _>("a newcomer", poll_fn(|cx| door.poll_accept(cx))).await;
    let accepting = accepting.unwrap_or_else(|error| panic!("cannot accept: {}", error.into()));
    match soon::<P, _>("a handshake", accepting).await {
        Ok(wire) => wire,
        Err(error) => panic!("the handshake failed: {}", error.into()),
    }
}

/// Both ends of a connection, and the listener, which a transport may need to live on.
async fn link<P: Pair>() -> (Near<P>, Far<P>, P::Listener) {
    let (mut door, at) = P::place();
    let (near, far) = join(connected::<P>(&at), accepted::<P>(&mut door)).await;
    (near, far, door)
}

fn poll_send<W: Wire<Error: Into<BoxError>>>(
    wire: &mut W,
    cx: &mut Context<'_>,
    message: &[u8],
) -> Poll<Result<(), BoxError>> {
    // Anywhere: to the other end the two are one.
    let (head, body) = message.split_at(message.len() / 3);
    wire.poll_send(cx, head, body).map_err(Into::into)
}

fn poll_recv<W: Wire<Error: Into<BoxError>>>(
    wire: &mut W,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Vec<u8>>, BoxError>> {
    wire.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec)).map_err(Into::into)
}

async fn send<P: Pair>(wire: &mut impl Wire<Error: Into<BoxError>>, message: &[u8]) {
    let sent = soon::<P, _>("room to send", poll_fn(|cx| poll_send(wire, cx, message))).await;
    sent.expect("the message is sent");
    flush::<P>(wire).await;
}

async fn flush<P: Pair>(wire: &mut impl Wire<Error: Into<BoxError>>) {
    let flushed = poll_fn(|cx| wire.poll_flush(cx).map_err(Into::into));
    soon::<P, _>("a flush", flushed).await.expect("what was sent leaves");
}

async fn close<P: Pair>(wire: &mut impl Wire<Error: Into<BoxError>>) {
    let closed = poll_fn(|cx| wire.poll_close(cx).map_err(Into::into));
    soon::<P, _>("a close", closed).await.expect("an end in good order");
}

async fn receive<P: Pair>(wire: &mut impl Wire<Error: Into<BoxError>>) -> Option<Vec<u8>> {
    try_receive::<P>(wire).await.expect("the wire is well")
}

async fn try_receive<P: Pair>(
    wire: &mut impl Wire<Error: Into<BoxError>>,
) -> Result<Option<Vec<u8>>, BoxError> {
    soon::<P, _>("a message", poll_fn(|cx| poll_recv(wire, cx))).await
}

/// The message of a number: no two are alike, and their lengths are of every kind.
fn message(number: usize, longest: usize) -> Vec<u8> {
    let length = match number % 8 {
        0 => 1,
        1 => 2 + number % 120,
        2 => 120 + number % 10,
        3 => 250 + number % 12,
        4 => 1000 + number,
        5 => 4090 + number % 12,
        6 => 16_000 + number,
        _ => 65_530 + number % 12,
    };
    let byte = |at: usize| (at.wrapping_mul(31) ^ number ^ (at >> 8)).to_le_bytes()[0];
    (0..length.min(longest)).map(byte).collect()
}

/// Sends so many messages, and takes as many, in one task as a driver does.
async fn exchange<P: Pair>(wire: &mut impl Wire<Error: Into<BoxError>>, count: usize) {
    let longest = wire.message_bytes_max();
    let (mut sent, mut taken, mut is_flushed) = (0, 0, false);
    let exchanged = poll_fn(|cx| {
        while taken < count {
            let Poll::Ready(received) = poll_recv(wire, cx) else { break };
            let received = received.expect("the wire is well");
            let received = received.unwrap_or_else(|| panic!("it ended after {taken} messages"));
            let is_right = received == message(taken, longest);
            assert!(is_right, "message {taken} came as {} other bytes", received.len());
            taken += 1;
        }
        while sent < count {
            let Poll::Ready(result) = poll_send(wire, cx, &message(sent, longest)) else { break };
            result.expect("the message is sent");
            (sent, is_flushed) = (sent + 1, false);
        }
        let flushed = if is_flushed { Poll::Pending } else { wire.poll_flush(cx) };
        if let Poll::Ready(flushed) = flushed {
            flushed.unwrap_or_else(|error| panic!("it does not flush: {}", error.into()));
            is_flushed = true;
            if sent < count {
                cx.waker().wake_by_ref();
            }
        }
        if sent == count && taken == count && is_flushed { Poll::Ready(()) } else { Poll::Pending }
    });
    soon::<P, _>("all messages", exchanged).await;
}

pub(super) async fn messages_arrive_whole_and_in_order_both_ways_at_once<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    join(exchange::<P>(&mut near, 400), exchange::<P>(&mut far, 400)).await;
}

pub(super) async fn a_peer_that_waits_is_woken_by_what_was_flushed<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    for round in 0..40 {
        let ask = async {
            // By then the other end waits.
            pause::<P>(millis(round % 3)).await;
            send::<P>(&mut near, &[7; 5]).await;
            receive::<P>(&mut near).await
        };
        let answer = async {
            let asked = receive::<P>(&mut far).await;
            pause::<P>(millis(round % 2)).await;
            send::<P>(&mut far, &[8; 6]).await;
            asked
        };
        let (answered, asked) = join(ask, answer).await;
        assert_eq!((asked, answered), (Some(vec![7; 5]), Some(vec![8; 6])));
    }
}

pub(super) async fn a_sender_waits_for_a_peer_that_does_not_read_and_then_goes_on<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    let length = near.message_bytes_max().min(64 << 10);
    let mut sent = 0_usize;
    let numbered = |number: usize| {
        let mut message = vec![5; length.max(8)];
        message[..8].copy_from_slice(&(number as u64).to_le_bytes());
        message
    };
    // Until there is no room, not even after a while.
    loop {
        let message = numbered(sent);
        let took = within::<P, _>(
            millis(200),
            poll_fn(|cx| {
                let taken = poll_send(&mut near, cx, &message);
                if taken.is_pending() {
                    let _ = near.poll_flush(cx);
                }
                taken
            }),
        );
        let Some(result) = took.await else { break };
        result.expect("the message is sent");
        sent += 1;
        assert!(sent * length < MANY_BYTES, "{sent} messages of {length} bytes and no end");
    }
    // What found no room was not taken.
    let all = sent + 20;
    let read = async {
        for number in 0..all {
            let received = receive::<P>(&mut far).await;
            assert!(received == Some(numbered(number)), "message {number} of {all} came otherwise");
        }
    };
    let write = async {
        for number in sent..all {
            send::<P>(&mut near, &numbered(number)).await;
        }
        flush::<P>(&mut near).await;
    };
    join(read, write).await;
}

pub(super) async fn what_was_sent_before_a_close_arrives_and_then_the_end<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    let longest = near.message_bytes_max();
    let write = async {
        for number in 0..30 {
            let message = message(number, longest);
            let sent = poll_fn(|cx| poll_send(&mut near, cx, &message));
            soon::<P, _>("room to send", sent).await.expect("the message is sent");
        }
        close::<P>(&mut near).await;
    };
    let read = async {
        for number in 0..30 {
            let received = receive::<P>(&mut far).await;
            assert!(received == Some(message(number, longest)), "message {number} is not there");
        }
        assert_eq!(receive::<P>(&mut far).await, None, "the end is in good order");
    };
    join(write, read).await;
}

pub(super) async fn the_end_of_a_wire_that_is_dropped_is_seen<P: Pair>() {
    for is_near in [true, false] {
        let (mut near, mut far, _door) = link::<P>().await;
        join(exchange::<P>(&mut near, 3), exchange::<P>(&mut far, 3)).await;
        // In whatever order: nothing comes any more, and somebody waits already.
        let seen = if is_near {
            let drops = async {
                pause::<P>(millis(5)).await;
                drop(near);
            };
            join(try_receive::<P>(&mut far), drops).await.0
        } else {
            let drops = async {
                pause::<P>(millis(5)).await;
                drop(far);
            };
            join(try_receive::<P>(&mut near), drops).await.0
        };
        assert!(!matches!(seen, Ok(Some(_))), "nobody sent {seen:?}");
    }
}

pub(super) async fn a_limit_that_is_raised_holds_for_what_is_there_already<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    let long = vec![3; near.message_bytes_max().min(100_000)];
    far.limit_incoming(64);
    let write = async {
        send::<P>(&mut near, &[1; 64]).await;
        send::<P>(&mut near, &long).await;
    };
    let read = async {
        assert_eq!(receive::<P>(&mut far).await, Some(vec![1; 64]), "that is within the limit");
        far.limit_incoming(usize::MAX);
        pause::<P>(millis(5)).await;
        assert!(receive::<P>(&mut far).await == Some(long.clone()), "the limit was raised before");
    };
    join(write, read).await;
}

pub(super) async fn a_message_past_the_limit_is_never_given_out_in_part<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    let long = vec![3; near.message_bytes_max().min(5000)];
    far.limit_incoming(64);
    send::<P>(&mut near, &long).await;
    // A transport without such a limit gives it out, whole.
    match try_receive::<P>(&mut far).await {
        Err(error) => assert!(!format!("{error}").is_empty(), "an error says what is wrong"),
        Ok(received) => assert!(received == Some(long), "neither an error nor the message"),
    }
}

pub(super) async fn the_longest_message_is_carried<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    let longest = near.message_bytes_max().min(16 << 20);
    let long = vec![9; longest];
    let ((), received) = join(send::<P>(&mut near, &long), receive::<P>(&mut far)).await;
    assert!(received == Some(long), "{longest} bytes are not more than message_bytes_max");
}

pub(super) async fn progress_grows_with_what_is_carried<P: Pair>() {
    let (mut near, mut far, _door) = link::<P>().await;
    let (mut sent, mut received) = (near.progress().sent, far.progress().received);
    for round in 1..=5_u64 {
        let length = near.message_bytes_max().min(20_000);
        join(send::<P>(&mut near, &vec![1; length]), receive::<P>(&mut far)).await;
        let now = (near.progress().sent, far.progress().received);
        // A transport may say nothing, and then says so for good.
        for (was, is, what) in [(sent, now.0, "sent"), (received, now.1, "received")] {
            assert!(is > was || (is, was) == (0, 0), "round {round}: {what} was {was}, is {is}");
        }
        (sent, received) = now;
    }
}

pub(super) async fn connections_that_come_at_once_are_all_taken<P: Pair>() {
    const COUNT: usize = 24;
    let (mut door, at) = P::place();
    let newcomers = join_all((0..COUNT).map(|number| {
        let at = &at;
        async move {
            let mut near = connected::<P>(at).await;
            send::<P>(&mut near, &[u8::try_from(number).expect("it is small")]).await;
            receive::<P>(&mut near).await
        }
    }));
    let host = async {
        let mut seen = Vec::new();
        let mut kept: Vec<Box<Far<P>>> = Vec::new();
        for _ in 0..COUNT {
            let mut far = Box::new(accepted::<P>(&mut door).await);
            let number = receive::<P>(&mut *far).await.expect("a number");
            send::<P>(&mut *far, &number).await;
            seen.push(usize::from(number[0]));
            kept.push(far);
        }
        seen.sort_unstable();
        (seen, kept)
    };
    let (answers, (seen, _kept)) = join(newcomers, host).await;
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.map(|bytes| usize::from(bytes[0])), Some(number), "each has its own");
    }
}

pub(super) async fn an_attempt_that_is_given_up_harms_no_other<P: Pair>() {
    let (mut door, at) = P::place();
    for _ in 0..5 {
        let mut connecting = Box::pin(at.clone().connect());
        // Polled once, or not at all.
        let _ = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).is_ready())).await;
        drop(at.clone().connect());
    }
    let dial = async {
        let mut near = connected::<P>(&at).await;
        send::<P>(&mut near, b"here").await;
        near
    };
    let host = async {
        loop {
            // Those that were given up may be among them, in any state.
            let accepting = soon::<P, _>("a newcomer", poll_fn(|cx| door.poll_accept(cx))).await;
            let Ok(accepting) = accepting else { continue };
            let Some(Ok(mut far)) = within::<P, _>(millis(500), accepting).await else { continue };
            if let Some(Ok(Some(said))) =
                within::<P, _>(millis(500), poll_fn(|cx| poll_recv(&mut far, cx))).await
            {
                break said;
            }
        }
    };
    let (_near, said) = join(dial, host).await;
    assert_eq!(said, b"here");
}

pub(super) async fn where_nobody_listens_to_connect_is_an_error<P: Pair>() {
    let (door, at) = P::place();
    drop(door);
    let connecting = at.clone().connect();
    match soon::<P, _>("an error", connecting).await {
        Ok(_) => panic!("somebody is there, whose listener was dropped"),
        Err(error) => assert!(!error.into().to_string().is_empty(), "an error says what is wrong"),
    }
}

pub(super) async fn both_ends_have_names<P: Pair>() {
    let (near, far, _door) = link::<P>().await;
    let (_other, at) = P::place();
    for name in [near.peer(), far.peer(), at.peer()] {
        assert!(!name.is_empty(), "an end without a name");
        assert!(!name.contains(char::is_control), "{name:?} does not fit into a line");
    }
}
