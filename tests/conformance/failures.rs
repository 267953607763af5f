//! Failures that no worker of ours would send: in bytes that are no text, as long as a frame may be, with
//! advice and details that do not fit together.

use std::net::TcpListener;

use chargehand::core::message::{Code, Message};
use chargehand::core::{TaskId, Verdict};
use chargehand::{Failure, PoolEvent, TaskError};

use crate::pair::{Socket, any_port};
use crate::raw::{Raw, script};
use crate::rig::{Rig, quick, setup, works};

/// The longest frame by default.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// What is left of it for a body, whatever the head.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64;
/// The longest text and the longest details that workers send.
const LONGEST: usize = 16 << 10;

/// A failure that says more than its text, as it travels.
fn explained(flags: u8, length: u32, text: &[u8], details: &[u8]) -> Vec<u8> {
    [&[0xff, flags, 0, 0, 0, 0][..], &length.to_le_bytes(), text, details].concat()
}

fn long_details(length: usize) -> Vec<u8> {
    [vec![1], vec![7; length]].concat()
}

/// What ends the link that it comes on.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let invalid = |byte| vec![byte; BODY_BYTES_MAX];
    vec![
        ("Latin 1", b"caf\xe9".to_vec()),
        ("a frame of what continues", invalid(0x80)),
        ("a frame of what begins", invalid(0xf0)),
        ("a frame of what says more", invalid(0xff)),
        ("a text with its last character cut", "x€".as_bytes()[..3].to_vec()),
        ("a surrogate", b"\xed\xa0\x80".to_vec()),
        ("a flag alone", vec![0xff]),
        ("no flags' end", vec![0xff, 1, 0, 0]),
        ("a text longer than there is", explained(1, 3, b"no", b"")),
        ("a text longer than can be", explained(1, u32::MAX, b"no", b"")),
        ("a text that is none", explained(1, 2, b"\xc3\x28", b"")),
        ("details of an unknown kind", explained(1, 2, b"no", b"\x02abc")),
        ("a long text", explained(2, 16_385, &vec![b'x'; LONGEST + 1], b"")),
        ("long details", explained(0, 2, b"no", &long_details(LONGEST + 1))),
        ("a frame of details", explained(0, 0, b"", &long_details(BODY_BYTES_MAX - 16))),
    ]
}

fn fail(raw: &mut Raw, (task, attempt): (TaskId, u16), body: &[u8]) {
    let verdict = Verdict::Failed;
    raw.say_with(&Message::Response { task, attempt, verdict, body: &[] }, body);
}

pub(crate) async fn a_failure_in_no_form_ends_its_link_and_its_task_goes_elsewhere<P: Socket>() {
    for (what, body) in hostile() {
        let (door, at) = any_port();
        let bad = script(move || {
            let mut raw = Raw::server::<P>(&door);
            raw.greet_as_worker("bad", 1);
            let (task, attempt, _) = raw.request().expect("a request");
            fail(&mut raw, (task, attempt), &body);
            // It is told so, unless it was still writing.
            raw.goodbye()
        });
        let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
        let task = rig.pool.submit::<u64, u64>(&20).await.expect("it is queued");
        let is_refused = |event: &PoolEvent| {
            matches!(event, PoolEvent::Lost { reason, .. }
                if reason.to_string().contains("not UTF-8"))
        };
        rig.watch.until::<P>(&format!("refusal of {what}"), is_refused).await;
        if let Some((code, text)) = bad.end().await {
            assert_eq!(code, Code::BadMessage, "{what}: {text}");
        }
        let (door, at) = any_port();
        let _good = P::job(P::serve(quick::<P>("good"), door));
        P::add(&rig.pool, &at).await.expect("there is room");
        assert_eq!(task.await, Ok(41), "{what}");
        works(&rig.pool).await;
        let stats = rig.stop().await;
        assert_eq!((stats.failed, stats.exhausted, stats.lost), (0, 0, 1), "{what}");
    }
}

pub(crate) async fn a_failure_longer_than_a_frame_is_refused_from_its_header<P: Socket>() {
    let (door, at) = any_port();
    let bad = script(move || {
        let mut raw = Raw::server::<P>(&door);
        raw.greet_as_worker("bad", 1);
        raw.request().expect("a request");
        // Nothing of it ever comes.
        let header = raw.header(FRAME_BYTES_MAX + 1);
        raw.write(&header);
        raw.rest();
    });
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let task = rig.pool.submit::<u64, u64>(&20).await.expect("it is queued");
    let is_refused = |event: &PoolEvent| {
        matches!(event, PoolEvent::Lost { reason, .. }
            if reason.to_string().contains("16777217 bytes"))
    };
    rig.watch.until::<P>("refusal", is_refused).await;
    bad.end().await;
    drop(task);
    rig.stop().await;
}

fn odd_worker<P: Socket>(door: &TcpListener) {
    let mut raw = Raw::server::<P>(door);
    raw.greet_as_worker("odd", 1);
    while let Some((task, attempt, height)) = raw.request() {
        let body = match height {
            0 => vec![b'x'; BODY_BYTES_MAX],
            // Two bytes each, and not cut in the middle of one.
            1 => [b"x", "é".repeat(BODY_BYTES_MAX / 2 - 1).as_bytes()].concat(),
            2 => vec![],
            3 => explained(1, 2, b"no", b"\x01"),
            4 => explained(1, 2, b"no", b"\x01\xff\xff\xff"),
            5 => explained(1, 16_384, &vec![b'x'; LONGEST], &long_details(LONGEST)),
            // All flags, of which most are of another version.
            6 => explained(0xff, 2, b"no", b""),
            7 => vec![0; BODY_BYTES_MAX],
            _ => {
                raw.answer(task, attempt, crate::rig::answer_to(height));
                continue;
            }
        };
        fail(&mut raw, (task, attempt), &body);
    }
}

pub(crate) async fn an_odd_failure_is_its_own_tasks_and_is_cut_where_it_comes_in<P: Socket>() {
    let (door, at) = any_port();
    let odd = script(move || odd_worker::<P>(&door));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let failure = async |height: u64| -> Failure {
        match rig.pool.call::<u64, u64>(&height).await {
            Err(TaskError::Failed(failure)) => failure,
            other => panic!("{height}: {other:?}"),
        }
    };
    assert_eq!(failure(0).await.text(), "x".repeat(LONGEST));
    assert_eq!(failure(1).await.text(), "x".to_owned() + &"é".repeat(LONGEST / 2 - 1));
    assert_eq!(failure(2).await.text(), "");
    assert_eq!(failure(3).await.details::<()>(), Some(Ok(())));
    let failed = failure(4).await;
    assert!(failed.details::<Vec<u64>>().expect("there are some").is_err());
    assert!(failed.details::<u64>().expect("there are some").is_err());
    assert!(failed.details::<String>().expect("there are some").is_err());
    let failed = failure(5).await;
    assert_eq!((failed.text().len(), failed.is_permanent()), (LONGEST, true));
    let failed = failure(6).await;
    assert!(failed.is_permanent(), "permanent wins");
    assert_eq!(failure(7).await.text().len(), LONGEST);
    assert_eq!(rig.pool.call::<u64, u64>(&20).await, Ok(41), "the link lives");
    let stats = rig.stop().await;
    assert_eq!((stats.failed, stats.lost), (8, 0));
    odd.end().await;
}
