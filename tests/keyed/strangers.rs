//! What somebody tries who has no key, and has heard all that was ever said.

use std::future::{Future, poll_fn};
use std::time::Duration;

use chargehand::BoxError;
use chargehand::core::io::{Connect, Listen, Timer, Wire};
use chargehand::core::keyed::{EXCHANGE_BYTES_MAX, Initiator, Member, PROOF_BYTES, Responder};
use chargehand::core::message::{Code, HEAD_BYTES_MAX, HELLO_BYTES_MAX, Message, Role};
use chargehand::keyed::{KeyedConnector, KeyedError, KeyedListener, KeyedWire};
use chargehand::testing::conformance::Pair;
use futures_util::future::{Either, join, select};

use super::{key, keys};

type Raw<P> = <<P as Pair>::Connector as Connect>::Wire;
type Accepted<P> = KeyedWire<<<P as Pair>::Listener as Listen>::Wire>;

/// A manager's door that asks for keys, and the way there for whoever has none.
fn door<P: Pair>() -> (KeyedListener<P::Listener>, P::Connector) {
    let (listener, connector) = P::place();
    (KeyedListener::manager(listener, "pool", keys()).unwrap(), connector)
}

async fn soon<P: Pair, T>(future: impl Future<Output = T>) -> T {
    let timer = P::timer();
    let deadline = timer.sleep_until(timer.now().saturating_add(Duration::from_secs(20)));
    match select(Box::pin(future), Box::pin(deadline)).await {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("it takes too long"),
    }
}

async fn accept<P: Pair>(door: &mut KeyedListener<P::Listener>) -> Result<Accepted<P>, KeyedError> {
    let accepting = poll_fn(|cx| door.poll_accept(cx)).await?;
    accepting.await
}

async fn dial<P: Pair>(at: &P::Connector) -> Raw<P> {
    at.clone().connect().await.map_err(Into::into).expect("it listens")
}

async fn send(wire: &mut impl Wire<Error: Into<BoxError>>, message: &[u8]) {
    // The other end may be gone already.
    let _ = poll_fn(|cx| wire.poll_send(cx, message, &[])).await;
    let _ = poll_fn(|cx| wire.poll_flush(cx)).await;
}

async fn receive(wire: &mut impl Wire<Error: Into<BoxError>>) -> Vec<u8> {
    let message = poll_fn(|cx| wire.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec)));
    message.await.map_err(Into::into).expect("the wire lives").expect("a message")
}

fn told(goodbye: &[u8]) -> Code {
    match Message::decode(goodbye) {
        Ok(Message::Goodbye { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn refused<T>(result: Result<T, KeyedError>, text: &str) {
    let error = result.err().expect("a stranger got in").to_string();
    assert!(error.contains(text), "{error}");
}

/// What a worker that has the key says, as somebody on the way hears it.
async fn recorded<P: Pair>(
    door: &mut KeyedListener<P::Listener>,
    at: &P::Connector,
) -> [Vec<u8>; 3] {
    let worker = async {
        let mut wire = dial::<P>(at).await;
        let (mut out, mut last) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
        let me = Member::new(Role::Worker, "w1").unwrap().sealed();
        let (initiator, open) = Initiator::new(me, &key(), [1; 32], &mut out);
        send(&mut wire, open).await;
        let challenge = receive(&mut wire).await;
        let (_, proof) = initiator.handle_challenge(&challenge, &mut last).expect("it has the key");
        send(&mut wire, proof).await;
        ([open.to_vec(), challenge, proof.to_vec()], wire)
    };
    let ((said, _wire), accepted) = join(worker, accept::<P>(door)).await;
    assert_eq!(accepted.expect("it has the key").identity(), Some("w1"));
    said
}

/// Says these to the door, each after an answer, and returns the last answer with how it ended there.
async fn say<P: Pair>(
    door: &mut KeyedListener<P::Listener>,
    at: &P::Connector,
    open: &[u8],
    then: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> (Vec<u8>, Result<Accepted<P>, KeyedError>) {
    let stranger = async {
        let mut wire = dial::<P>(at).await;
        send(&mut wire, open).await;
        let challenge = receive(&mut wire).await;
        send(&mut wire, &then(challenge)).await;
        receive(&mut wire).await
    };
    join(stranger, accept::<P>(door)).await
}

/// Says one message to the door, and returns the answer with how it ended there.
async fn say_only<P: Pair>(
    door: &mut KeyedListener<P::Listener>,
    at: &P::Connector,
    message: &[u8],
) -> (Vec<u8>, Result<Accepted<P>, KeyedError>) {
    let stranger = async {
        let mut wire = dial::<P>(at).await;
        send(&mut wire, message).await;
        receive(&mut wire).await
    };
    join(stranger, accept::<P>(door)).await
}

/// Lets a worker dial somebody in the manager's place, who answers its Open with what `reply` makes of that,
/// and returns the worker's last word with how it ended there.
async fn in_the_managers_place<P: Pair>(
    reply: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> (Vec<u8>, Result<KeyedWire<Raw<P>>, KeyedError>) {
    let (mut place, at) = P::place();
    let mut worker = KeyedConnector::worker(at, "w1", key()).unwrap();
    let stranger = async {
        let accepting = poll_fn(|cx| place.poll_accept(cx)).await.map_err(Into::into).unwrap();
        let mut wire = accepting.await.map_err(Into::into).unwrap();
        let open = receive(&mut wire).await;
        send(&mut wire, &reply(open)).await;
        receive(&mut wire).await
    };
    join(stranger, worker.connect()).await
}

pub(super) fn played_again<P: Pair>() {
    P::run(soon::<P, _>(async {
        let (mut door, at) = door::<P>();
        let [open, challenge, proof] = recorded::<P>(&mut door, &at).await;
        let (answer, ended) = say::<P>(&mut door, &at, &open, |_| proof).await;
        refused(ended, "proof is wrong");
        assert_eq!(told(&answer), Code::Unproven);

        // To a worker that dials, by somebody in the manager's place.
        let (answer, connected) = in_the_managers_place::<P>(|_| challenge).await;
        refused(connected, "proof is wrong");
        assert_eq!(told(&answer), Code::Unproven);
    }));
}

pub(super) fn mirrored<P: Pair>() {
    P::run(soon::<P, _>(async {
        // The door's own proof, as the stranger's.
        let (mut door, at) = door::<P>();
        let [open, ..] = recorded::<P>(&mut door, &at).await;
        let mirror =
            |challenge: Vec<u8>| [&[9, 2], &challenge[challenge.len() - PROOF_BYTES..]].concat();
        let (answer, ended) = say::<P>(&mut door, &at, &open, mirror).await;
        refused(ended, "proof is wrong");
        assert_eq!(told(&answer), Code::Unproven);

        // All that a worker says, back to it.
        let (answer, connected) = in_the_managers_place::<P>(|open| open).await;
        refused(connected, "out of turn");
        assert_eq!(told(&answer), Code::BadMessage);
    }));
}

pub(super) fn cut_off<P: Pair>() {
    P::run(soon::<P, _>(async {
        let (mut door, at) = door::<P>();
        let [open, _, proof] = recorded::<P>(&mut door, &at).await;
        // An empty message is none on some transports.
        for length in 1..open.len() {
            let (answer, ended) = say_only::<P>(&mut door, &at, &open[..length]).await;
            refused(ended, "no message of a key exchange");
            assert_eq!(told(&answer), Code::BadMessage, "{length} bytes");
        }
        for length in 1..proof.len() {
            let cut = |_| proof[..length].to_vec();
            let (answer, ended) = say::<P>(&mut door, &at, &open, cut).await;
            refused(ended, "no message of a key exchange");
            assert_eq!(told(&answer), Code::BadMessage, "{length} bytes");
        }
        // Or hangs up in place of it.
        let stranger = async {
            let mut wire = dial::<P>(&at).await;
            send(&mut wire, &open).await;
            receive(&mut wire).await;
            let _ = poll_fn(|cx| wire.poll_close(cx)).await;
        };
        let ((), ended) = join(stranger, accept::<P>(&mut door)).await;
        refused(ended, "");
    }));
}

pub(super) fn oversized<P: Pair>() {
    P::run(soon::<P, _>(async {
        let (mut door, at) = door::<P>();
        // With the very key, so that nothing else is wrong.
        assert!(insist::<P>(&mut door, &at, 0, 0).await, "who says no more is let in");
        assert!(insist_as_manager::<P>(0).await, "who says no more is let in");
        for extra in [1, 2, HELLO_BYTES_MAX, 60_000] {
            let gets_in = [
                insist::<P>(&mut door, &at, extra, 0).await,
                insist::<P>(&mut door, &at, 0, extra).await,
                insist_as_manager::<P>(extra).await,
            ];
            assert_eq!(gets_in, [false; 3], "{extra} bytes more");
        }
        // Nobody is kept out by that.
        recorded::<P>(&mut door, &at).await;
    }));
}

/// Returns whether somebody is let in who does this and hangs up. A transport may take what is too long for noise,
/// and wait on.
async fn lets_in<P: Pair, W>(
    stranger: impl Future<Output = ()>,
    opening: impl Future<Output = Result<KeyedWire<W>, KeyedError>>,
) -> bool {
    let timer = P::timer();
    let late =
        |millis| timer.sleep_until(timer.now().saturating_add(Duration::from_millis(millis)));
    let waited = async {
        select(Box::pin(stranger), Box::pin(late(3_000))).await;
        late(300).await;
    };
    match select(Box::pin(opening), Box::pin(waited)).await {
        Either::Left((result, _)) => result.is_ok(),
        Either::Right(_) => false,
    }
}

fn longer(message: &[u8], extra: usize) -> Vec<u8> {
    [message, &vec![0; extra]].concat()
}

/// Returns the next message, if there is one still.
async fn may_receive(wire: &mut impl Wire<Error: Into<BoxError>>) -> Option<Vec<u8>> {
    let message = poll_fn(|cx| wire.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec)));
    message.await.ok().flatten()
}

/// Opens a link as a worker that has the key, with so many bytes more in its Open and its proof, and hangs up.
async fn insist<P: Pair>(
    door: &mut KeyedListener<P::Listener>,
    at: &P::Connector,
    after_open: usize,
    after_proof: usize,
) -> bool {
    let stranger = async {
        let mut wire = dial::<P>(at).await;
        let (mut out, mut last) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
        let me = Member::new(Role::Worker, "w1").unwrap().sealed();
        let (initiator, open) = Initiator::new(me, &key(), [3; 32], &mut out);
        send(&mut wire, &longer(open, after_open)).await;
        let challenge = may_receive(&mut wire).await.unwrap_or_default();
        if let Ok((_, proof)) = initiator.handle_challenge(&challenge, &mut last) {
            send(&mut wire, &longer(proof, after_proof)).await;
        }
        let _ = poll_fn(|cx| wire.poll_close(cx)).await;
    };
    lets_in::<P, _>(stranger, accept::<P>(door)).await
}

/// The same as a manager that has the key, with so many bytes more in its challenge.
async fn insist_as_manager<P: Pair>(extra: usize) -> bool {
    let (mut place, at) = P::place();
    let mut worker = KeyedConnector::worker(at, "w1", key()).unwrap();
    let stranger = async {
        let accepting = poll_fn(|cx| place.poll_accept(cx)).await.map_err(Into::into).unwrap();
        let mut wire = accepting.await.map_err(Into::into).unwrap();
        let open = receive(&mut wire).await;
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let me = Member::new(Role::Manager, "pool").unwrap().sealed();
        let find = |name: &str, _| (name == "w1").then(key);
        let (_, challenge) = Responder::new(me, [4; 32], &open, find, &mut out).expect("a worker");
        send(&mut wire, &longer(challenge, extra)).await;
        may_receive(&mut wire).await;
        let _ = poll_fn(|cx| wire.poll_close(cx)).await;
    };
    lets_in::<P, _>(stranger, worker.connect()).await
}

pub(super) fn one_has_no_key<P: Pair>() {
    P::run(soon::<P, _>(async {
        let (mut door, at) = door::<P>();
        let mut head = [0; HEAD_BYTES_MAX];
        let hello = Message::hello(Role::Worker, 1, 1, "w1").encode(&mut head).to_vec();
        let (answer, ended) = say_only::<P>(&mut door, &at, &hello).await;
        refused(ended, "has no key");
        assert_eq!(told(&answer), Code::Unproven);

        let (mut place, at) = P::place();
        let mut worker = KeyedConnector::worker(at, "w1", key()).unwrap();
        let stranger = async {
            let accepting = poll_fn(|cx| place.poll_accept(cx)).await.map_err(Into::into).unwrap();
            let mut wire = accepting.await.map_err(Into::into).unwrap();
            let mut head = [0; HEAD_BYTES_MAX];
            send(&mut wire, Message::hello(Role::Manager, 0, 1, "pool").encode(&mut head)).await;
            receive(&mut wire).await;
            receive(&mut wire).await
        };
        let (answer, connected) = join(stranger, worker.connect()).await;
        refused(connected, "has no key");
        assert_eq!(told(&answer), Code::Unproven);
    }));
}
