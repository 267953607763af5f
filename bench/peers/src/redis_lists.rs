//! Redis: a list of jobs and a list of results. As many are taken at a time as are there, and what
//! came of them is pushed in the same round trip.

use std::sync::Arc;
use std::thread;

use chargehand_bench::measure::{Job, Meter};
use redis::{Connection, Pipeline};

use crate::slots::Slots;

const JOBS: &str = "jobs";
const RESULTS: &str = "results";

/// A list's name and what was taken from it.
type Taken = (String, Vec<Vec<u8>>);

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
    let mut connection = open(job);
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    loop {
        bodies = exchange(&mut connection, RESULTS, &bodies, JOBS, job.window);
    }
}

pub(crate) fn manage(job: &Job, meter: &Arc<Meter>) {
    let mut slots = Slots::new(job);
    let mut connection = open(job);
    let count = slots.numbers().len();
    let mut bodies: Vec<Vec<u8>> =
        slots.numbers().map(|number| slots.send(number, meter).to_vec()).collect();
    loop {
        bodies = exchange(&mut connection, JOBS, &bodies, RESULTS, count);
        for body in &bodies {
            let number = slots.came(body, meter);
            slots.send(number, meter);
        }
    }
}

/// Pushes some and waits for others, in one round trip.
fn exchange(
    connection: &mut Connection,
    to: &str,
    bodies: &[Vec<u8>],
    from: &str,
    count: usize,
) -> Vec<Vec<u8>> {
    let mut pipeline = Pipeline::new();
    if !bodies.is_empty() {
        pipeline.cmd("RPUSH").arg(to).arg(bodies).ignore();
    }
    pipeline.cmd("BLMPOP").arg(0).arg(1).arg(from).arg("LEFT").arg("COUNT").arg(count);
    let (taken,): (Taken,) = pipeline.query(connection).expect("the broker stays");
    taken.1
}

fn open(job: &Job) -> Connection {
    let client = redis::Client::open(format!("redis://{}/", job.address)).expect("a URL");
    client.get_connection().expect("the broker listens")
}
