//! Calls whose outcome nobody has asked for yet, where there is no room to keep it.
//!
//! A caller may submit many tasks and then take their outcomes in any order. Even when outcomes that it
//! takes last fill the budget, the one it waits for must still arrive. So while untaken outcomes use more
//! than their share, a call is sent only once somebody asks for its outcome; an answer that nobody has
//! asked for is dropped, and its call is sent again.

use alloc::sync::Arc;
use core::mem;

use chargehand_core::io::Timer;

use super::Driver;
use crate::error::TaskError;
use crate::link::erased::Kind;
use crate::mailbox::calls::{CallId, Submit};
use crate::mailbox::result::TaskResult;
use crate::payload::Answer;
use crate::planted::planted;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns whether a call has to wait for room because nobody has asked for its outcome, `bytes` of
    /// which are here already.
    pub(super) fn is_to_wait(&self, call: CallId, bytes: usize) -> bool {
        let answers = &self.answers.arrivals.answers;
        // One is kept in any case.
        let is_full = || answers.used() > bytes && answers.is_full();
        if !is_full() || self.is_stopping() {
            return false;
        }
        // The doorbell rings for either: so look at both once more.
        answers.budget.await_more();
        self.ends.post.hold_back(true);
        is_full() && !self.ends.post.is_awaited(call)
    }

    /// Keeps a call until it may be sent. `bytes` is the length of its answer.
    pub(super) fn hold_back(&mut self, submit: Submit, bytes: usize) {
        if !planted("a call that is held back is forgotten") {
            self.held_back.push_back((submit, bytes));
        }
    }

    /// Sends those that were held back and somebody asks for, and one more if there is room. Returns
    /// whether there was any.
    pub(super) fn admit_held_back(&mut self) -> bool {
        let mut any = false;
        let answers = Arc::clone(&self.answers.arrivals.answers);
        let mut has_room = !answers.is_full();
        for (mut submit, bytes) in mem::take(&mut self.held_back) {
            let Some(call) = submit.call() else { continue };
            // Once the pool stops all are admitted, to be told so.
            let is_free = self.is_stopping() || self.has_room_for(call);
            // One at a time, since the length of its answer is unknown.
            let fits = has_room && (answers.used() == 0 || answers.has_room_for(bytes));
            let is_next = self.ends.post.is_awaited(call) || fits && mem::take(&mut has_room);
            if is_free && is_next {
                any |= self.admit_one(&mut submit);
            } else {
                self.held_back.push_back((submit, bytes));
            }
        }
        if self.held_back.is_empty() {
            self.ends.post.hold_back(false);
        } else {
            self.answers.arrivals.budget().await_more();
        }
        any
    }

    /// Returns whether a call is held back.
    #[cfg(feature = "std")]
    pub(super) fn is_held_back(&self, call: CallId) -> bool {
        self.held_back.iter().any(|(submit, _)| submit.call() == Some(call))
    }

    /// Ends a call that is cancelled while it is held back. Returns whether it was.
    pub(super) fn drop_held_back(&mut self, call: CallId) -> bool {
        let Some(at) = self.held_back.iter().position(|(submit, _)| submit.call() == Some(call))
        else {
            return false;
        };
        self.held_back.remove(at);
        self.end_call(call, Err(TaskError::Cancelled.into()));
        true
    }
}

/// Returns how many bytes of an outcome are held against the budget.
#[inline]
pub(super) fn charged_bytes(result: &TaskResult) -> usize {
    result.as_ref().map_or(0, Answer::charged_bytes)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::future::Future;
    use core::pin::{Pin, pin};
    use core::task::{Context, Waker};

    use crate::testing::ManualTimer;
    use crate::{Outcomes, Pool, Task, Worker, memory};

    /// Draws numbers, the same ones in each run.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = crate::seed::mixed(self.0);
            self.0 % bound
        }

        fn index(&mut self, length: usize) -> usize {
            usize::try_from(self.below(length as u64)).expect("it is below a usize")
        }
    }

    #[test]
    fn whatever_callers_take_drop_and_cancel_all_memory_comes_back() {
        for seed in 0..12 {
            let mut draw = Draw(seed);
            let (connector, listener) = memory::pair(4);
            // How long an answer is, the first byte says.
            let worker = Worker::raw(ManualTimer::new(), |body: Vec<u8>| async move {
                let answer = vec![1_u8; usize::from(body[0]) * 300];
                Ok::<_, String>(postcard::to_stdvec(&answer).expect("bytes"))
            });
            let mut worker = pin!(worker.concurrency(8).serve(listener));
            let builder = Pool::builder(ManualTimer::new()).frame_bytes_max(100_000);
            let (pool, mut driver) =
                builder.memory_max(500_000).connect(connector).build().expect("in range");
            let budget = alloc::sync::Arc::clone(driver.answers.arrivals.budget());
            let cx = &mut Context::from_waker(Waker::noop());
            let mut tasks: Vec<Task<Vec<u8>>> = Vec::new();
            let mut ranges: Vec<Pin<Box<Outcomes<Vec<u8>>>>> = Vec::new();
            let mut most = 0;
            for _ in 0..600 {
                match draw.below(12) {
                    0..=4 => {
                        let request = (draw.below(250), vec![0_u8; draw.index(20_000)]);
                        tasks.extend(pool.try_submit(request).ok());
                    }
                    5 if !tasks.is_empty() => {
                        let at = draw.index(tasks.len());
                        tasks[at].cancel();
                    }
                    6 if !tasks.is_empty() => {
                        let at = draw.index(tasks.len());
                        drop(tasks.swap_remove(at));
                    }
                    7 if !tasks.is_empty() => {
                        let at = draw.index(tasks.len());
                        if Pin::new(&mut tasks[at]).poll(cx).is_ready() {
                            drop(tasks.swap_remove(at));
                        }
                    }
                    8 if ranges.len() < 3 => ranges.push(Box::pin(pool.process(100..=120))),
                    9 => drop(ranges.pop()),
                    _ => {}
                }
                assert!(driver.poll_once(cx).is_pending());
                assert!(worker.as_mut().poll(cx).is_pending());
                most = most.max(budget.used());
            }
            assert!(most > 50_000, "{most}");
            ranges.clear();
            // Whoever is left takes what there is, one after the other.
            for mut task in tasks {
                let mut polls = 0;
                while Pin::new(&mut task).poll(cx).is_pending() {
                    assert!(driver.poll_once(cx).is_pending());
                    assert!(worker.as_mut().poll(cx).is_pending());
                    polls += 1;
                    assert!(polls < 1000, "seed {seed}: it waits for ever");
                }
            }
            for _ in 0..20 {
                assert!(driver.poll_once(cx).is_pending());
                assert!(worker.as_mut().poll(cx).is_pending());
            }
            assert_eq!(budget.used(), 0, "seed {seed}");
            assert!(driver.held_back.is_empty());
        }
    }
}
