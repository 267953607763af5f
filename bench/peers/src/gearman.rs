//! gearmand: foreground jobs. Its protocol is binary, see `PROTOCOL` of its sources. These are the
//! few packets by hand.

use std::sync::Arc;
use std::thread;

use chargehand_bench::measure::{Job, Meter};

use crate::lines::Connection;
use crate::slots::Slots;

const FUNCTION: &[u8] = b"nothing";
const HEADER_BYTES: usize = 12;

const CAN_DO: u32 = 1;
const PRE_SLEEP: u32 = 4;
const NOOP: u32 = 6;
const SUBMIT_JOB: u32 = 7;
const JOB_CREATED: u32 = 8;
const GRAB_JOB: u32 = 9;
const NO_JOB: u32 = 10;
const JOB_ASSIGN: u32 = 11;
const WORK_COMPLETE: u32 = 13;

pub(crate) fn work(job: &Job) {
    let links: Vec<_> = (0..job.links)
        .map(|_| {
            let job = job.clone();
            thread::spawn(move || work_alone(&job))
        })
        .collect();
    for link in links {
        link.join().expect("a worker");
    }
}

fn work_alone(job: &Job) {
    let mut connection = Connection::open(&job.address);
    put(&mut connection.out, CAN_DO, &[FUNCTION]);
    put(&mut connection.out, GRAB_JOB, &[]);
    loop {
        connection.flush();
        connection.read();
        each(&mut connection, |kind, data, out| match kind {
            JOB_ASSIGN => {
                let mut parts = data.splitn(3, |byte| *byte == 0);
                let (handle, body) = (parts.next().expect("a handle"), parts.nth(1));
                put(out, WORK_COMPLETE, &[handle, body.expect("a body")]);
                put(out, GRAB_JOB, &[]);
            }
            NO_JOB => put(out, PRE_SLEEP, &[]),
            NOOP => put(out, GRAB_JOB, &[]),
            other => panic!("gearmand sent a packet of kind {other}"),
        });
    }
}

pub(crate) fn manage(job: &Job, meter: &Arc<Meter>) {
    let mut slots = Slots::new(job);
    let mut connection = Connection::open(&job.address);
    for number in slots.numbers() {
        put(&mut connection.out, SUBMIT_JOB, &[FUNCTION, &[], slots.send(number, meter)]);
    }
    loop {
        connection.flush();
        connection.read();
        each(&mut connection, |kind, data, out| match kind {
            JOB_CREATED => {}
            WORK_COMPLETE => {
                let body = data.splitn(2, |byte| *byte == 0).nth(1).expect("a body");
                let number = slots.came(body, meter);
                put(out, SUBMIT_JOB, &[FUNCTION, &[], slots.send(number, meter)]);
            }
            other => panic!("gearmand sent a packet of kind {other}"),
        });
    }
}

/// Appends a packet, its parts with a zero between them.
fn put(out: &mut Vec<u8>, kind: u32, parts: &[&[u8]]) {
    let data = parts.join(&0);
    out.extend_from_slice(b"\0REQ");
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&u32::try_from(data.len()).expect("short").to_be_bytes());
    out.extend_from_slice(&data);
}

/// Passes on the packets that have come.
fn each(connection: &mut Connection, mut pass_on: impl FnMut(u32, &[u8], &mut Vec<u8>)) {
    let mut out = std::mem::take(&mut connection.out);
    while let Some(header) = connection.input().first_chunk::<HEADER_BYTES>() {
        let word = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().expect("12 bytes"));
        let whole = HEADER_BYTES + word(8) as usize;
        if connection.input().len() < whole {
            break;
        }
        pass_on(word(4), &connection.input()[HEADER_BYTES..whole], &mut out);
        connection.take(whole);
    }
    connection.out = out;
}
