//! The no-op job of chargehand-bench by other job systems: `chargehand-bench-peers ROLE JOB`, where
//! the role is `manager` or `worker` and the job is JSON. chargehand-bench starts it.
//!
//! Each does the job as that system's users would, and batches where the system can: bodies go from
//! a manager to a worker and come back as they were, with as many on their way as the job says. A
//! manager keeps one thread busy, and so does each connection of a worker where its client blocks.

mod beanstalk;
mod gearman;
mod lines;
mod nats;
mod redis_lists;
mod slots;
mod tarpc_tcp;
mod zmq_router;

use std::sync::Arc;
use std::thread;

use chargehand_bench::measure::{Job, Meter, Peer, end_with_standard_input, measure_and_exit};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(role), Some(job)) = (arguments.next(), arguments.next()) else {
        panic!("usage: chargehand-bench-peers ROLE JOB; chargehand-bench does so");
    };
    let job: Job = serde_json::from_str(&job).expect("a job");
    job.place.take();
    match &*role {
        "worker" => {
            end_with_standard_input();
            work(&job);
        }
        "manager" => {
            let meter = Arc::new(Meter::new(job.timed));
            let load = (job.clone(), Arc::clone(&meter));
            thread::spawn(move || manage(&load.0, &load.1));
            measure_and_exit(&meter, &job.processes, job.seconds);
        }
        other => panic!("no such role: {other}"),
    }
}

fn work(job: &Job) {
    match job.peer {
        Peer::Nats => nats::work(job),
        Peer::Gearman => gearman::work(job),
        Peer::Beanstalk => beanstalk::work(job),
        Peer::Redis => redis_lists::work(job),
        Peer::Tarpc => tarpc_tcp::work(job),
        Peer::Zmq => zmq_router::work(job),
    }
}

fn manage(job: &Job, meter: &Arc<Meter>) {
    match job.peer {
        Peer::Nats => nats::manage(job, meter),
        Peer::Gearman => gearman::manage(job, meter),
        Peer::Beanstalk => beanstalk::manage(job, meter),
        Peer::Redis => redis_lists::manage(job, meter),
        Peer::Tarpc => tarpc_tcp::manage(job, meter),
        Peer::Zmq => zmq_router::manage(job, meter),
    }
}
