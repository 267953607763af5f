//! Requests that wait for somebody to do them: a main loop between two polls, or a task.

use chargehand_core::Verdict;
use heapless::{Deque, Vec};

use crate::uart::Uart;
use crate::worker::{Handle, Job, MESSAGE_BYTES_MAX, WINDOW, Worker, fill};

/// A request, whoever does it.
#[derive(Debug)]
pub struct Request {
    /// What its answer goes to.
    pub job: Job,
    /// What is asked for.
    pub body: Vec<u8, MESSAGE_BYTES_MAX>,
}

/// Keeps requests until they are taken; there are at most as many as the window.
#[derive(Debug, Default)]
pub struct Waiting(Deque<Request, { WINDOW as usize }>);

impl Waiting {
    /// Makes an empty queue.
    pub const fn new() -> Self {
        Self(Deque::new())
    }
}

impl Handle for Waiting {
    fn start(&mut self, job: Job, body: &[u8], answer: &mut [u8]) -> Option<(Verdict, usize)> {
        // Those of a link that is over are wanted no longer, and the window counts without them.
        self.0.retain(|request| request.job.shares_link(job));
        let Ok(body) = Vec::from_slice(body) else {
            return Some((Verdict::Failed, fill(answer, b"the request is too long")));
        };
        self.0.push_back(Request { job, body }).expect("the session keeps to the window");
        None
    }

    fn cancel(&mut self, job: Job) {
        self.0.retain(|request| request.job != job);
    }
}

impl<U: Uart> Worker<'_, U, Waiting> {
    /// Returns the request that has waited longest. Answer it with [`finish`](Worker::finish).
    pub fn next_request(&mut self) -> Option<Request> {
        while let Some(request) = self.handler().0.pop_front() {
            if self.wants(request.job) {
                return Some(request);
            }
        }
        None
    }
}
