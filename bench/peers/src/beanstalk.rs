//! beanstalkd: a tube of jobs and a tube of results. Its protocol is text, see `doc/protocol.txt`
//! of its sources. No client on crates.io is kept up, so these are the few commands by hand.
//!
//! A connection that waits in `reserve` takes no other command, so whoever reserves puts over a
//! second connection.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use chargehand_bench::measure::{Job, Meter};

use crate::lines::Connection;
use crate::slots::Slots;

const JOBS: &str = "jobs";
const RESULTS: &str = "results";

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
    let mut jobs = Reserve::open(&job.address, JOBS, job.window);
    let mut results = Put::open(&job.address, RESULTS);
    loop {
        jobs.each(|body| results.put(body));
        results.flush();
    }
}

pub(crate) fn manage(job: &Job, meter: &Arc<Meter>) {
    let mut slots = Slots::new(job);
    let mut jobs = Put::open(&job.address, JOBS);
    let mut results = Reserve::open(&job.address, RESULTS, job.links * job.window);
    for number in slots.numbers() {
        jobs.put(slots.send(number, meter));
    }
    jobs.flush();
    loop {
        results.each(|body| {
            let number = slots.came(body, meter);
            jobs.put(slots.send(number, meter));
        });
        jobs.flush();
    }
}

/// Puts into a tube.
struct Put(Connection);

impl Put {
    fn open(address: &str, tube: &str) -> Self {
        let mut connection = Connection::open(address);
        connection.out.extend_from_slice(format!("use {tube}\r\n").as_bytes());
        let mut answers = connection.stream.try_clone().expect("a socket");
        // Answers must be read, lest the broker waits with the next command.
        thread::spawn(
            move || while answers.read(&mut [0; 16 << 10]).is_ok_and(|bytes| bytes > 0) {},
        );
        Self(connection)
    }

    fn put(&mut self, body: &[u8]) {
        let out = &mut self.0.out;
        out.extend_from_slice(format!("put 0 0 60 {}\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) {
        self.0.flush();
    }
}

/// Takes out of a tube, with as many requests under way as there may be jobs.
struct Reserve(Connection);

impl Reserve {
    fn open(address: &str, tube: &str, window: usize) -> Self {
        let mut connection = Connection::open(address);
        let watch = format!("watch {tube}\r\nignore default\r\n");
        connection.out.extend_from_slice(watch.as_bytes());
        connection.out.extend_from_slice("reserve\r\n".repeat(window).as_bytes());
        connection.flush();
        Self(connection)
    }

    /// Waits for some, passes on each one's body and deletes it.
    fn each(&mut self, mut pass_on: impl FnMut(&[u8])) {
        let connection = &mut self.0;
        connection.read();
        while let Some(end) = connection.input().windows(2).position(|two| two == b"\r\n") {
            let line = std::str::from_utf8(&connection.input()[..end]).expect("text");
            let mut words = line.split(' ');
            let (word, id, bytes) = (words.next(), words.next(), words.next());
            let mut whole = end + 2;
            if word == Some("RESERVED") {
                let bytes: usize = bytes.and_then(|bytes| bytes.parse().ok()).expect("a length");
                let body = whole..whole + bytes;
                whole += bytes + 2;
                if connection.input().len() < whole {
                    break;
                }
                let again = format!("delete {}\r\nreserve\r\n", id.expect("an id"));
                pass_on(&connection.input()[body]);
                connection.out.extend_from_slice(again.as_bytes());
            } else {
                assert!(matches!(word, Some("DELETED" | "WATCHING")), "beanstalkd said {line}");
            }
            connection.take(whole);
        }
        connection.flush();
    }
}
