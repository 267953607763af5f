//! Callers of a pool and its driver, on the real mailbox. The driver is no more of one than the order in which it
//! looks and sets; whatever that takes from the mailbox is its own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chargehand_core::QueueId;
use loom::thread;

use crate::around::erased::Threads;
use crate::error::TaskError;
use crate::limits::Limits;
use crate::link::lock::Lock;
use crate::link::ready::{Entry, ReadySet};
use crate::mailbox::batches::{Item, Need, Taker};
use crate::mailbox::calls::{CallId, Submit};
use crate::mailbox::result::TaskResult;
use crate::mailbox::{Ends, Mailbox, NotQueued, Post, mailbox};
use crate::models::{Task, task};
use crate::payload::{Answer, Body, Check, DecodeLimits};

/// Runs a model in all orders with so few interruptions of threads that could go on.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// The driver's half, and what wakes it.
struct Driver {
    post: Arc<Post>,
    ready: ReadySet,
    doorbell: Entry,
    task: Arc<Task>,
    waker: Waker,
    /// It was rung for something else than tasks.
    is_rung: bool,
}

fn pool(queue_max: usize) -> (Arc<Mailbox>, Driver) {
    let ready = ReadySet::new();
    let doorbell = ready.entry(0);
    let queues = vec![()];
    let limits = Limits { frame_bytes_max: 16, queue_max, queues, decode: DecodeLimits };
    let (_, mailbox, Ends { post, .. }) = mailbox::<Threads>(doorbell.waker().clone(), &limits);
    let (task, waker) = task();
    (mailbox, Driver { post, ready, doorbell, task, waker, is_rung: true })
}

impl Driver {
    /// Sleeps until the doorbell has rung since the last time.
    fn sleep(&mut self) {
        loop {
            let mut batch = Vec::new();
            let is_more = self.ready.take(&self.waker, 8, &mut batch);
            if !batch.is_empty() {
                self.doorbell.clear();
                self.is_rung |= self.post.is_rung();
                return;
            }
            if !is_more {
                self.task.wait();
            }
        }
    }

    fn take(&self) -> Vec<CallId> {
        let mut batch = VecDeque::new();
        self.post.take_submits(QueueId::DEFAULT, usize::MAX, &mut batch, drop);
        batch.iter().filter_map(Submit::call).collect()
    }

    fn settle(&self, call: CallId, result: TaskResult) {
        let mut outcomes = vec![(call, result)];
        self.post.settle(&mut outcomes, &mut VecDeque::new(), &mut VecDeque::new());
    }

    fn close(&self) {
        self.post.close(&mut VecDeque::new(), &mut VecDeque::new());
    }
}

/// A caller that waits for one outcome.
struct Caller {
    task: Arc<Task>,
    waker: Waker,
}

impl Caller {
    fn new() -> Self {
        let (task, waker) = task();
        Self { task, waker }
    }

    fn submit(&self, mailbox: &Mailbox, byte: u8) -> Result<CallId, NotQueued> {
        mailbox.submit(&mut Body::of(vec![byte]), Check::RAW, Some(&self.waker), None)
    }

    fn wait(&self, mailbox: &Mailbox, call: CallId) -> TaskResult {
        loop {
            match mailbox.poll(call, &mut Context::from_waker(&self.waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => self.task.wait(),
            }
        }
    }
}

fn answer(byte: u8) -> TaskResult {
    Ok(Answer(vec![byte]))
}

/// So many callers submit and wait. The driver answers each, and every answer comes to the one that asked.
pub fn submitted(callers: u8, preemptions: usize) {
    check(preemptions, move || {
        let (mailbox, mut driver) = pool(8);
        let answered = Arc::new(Lock::new(Vec::new()));
        let calling = (0..callers).map(|byte| {
            let (mailbox, answered) = (Arc::clone(&mailbox), Arc::clone(&answered));
            thread::spawn(move || {
                let caller = Caller::new();
                let call = caller.submit(&mailbox, byte).expect("there is room");
                answered.with(|answered| answered.push((call, byte)));
                let result = caller.wait(&mailbox, call);
                assert!(matches!(result, Ok(Answer(bytes)) if bytes == [byte]), "another's answer");
            })
        });
        let calling: Vec<_> = calling.collect();
        let mut left = callers;
        while left > 0 {
            driver.sleep();
            let mut batch = VecDeque::new();
            driver.post.take_submits(QueueId::DEFAULT, usize::MAX, &mut batch, drop);
            for submit in batch {
                left -= 1;
                let call = submit.call().expect("nobody cancels");
                driver.settle(call, answer(submit.body.as_slice()[0]));
            }
        }
        calling.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        assert!(driver.post.are_all_taken());
    });
}

/// What a caller does instead of waiting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    Cancels,
    LeavesIt,
    LeavesAndCancels,
}

fn not_waited_for(instead: Instead, preemptions: usize) {
    check(preemptions, move || {
        let (mailbox, mut driver) = pool(8);
        let other = Arc::clone(&mailbox);
        let calling = thread::spawn(move || {
            let caller = Caller::new();
            let call = caller.submit(&other, 7).expect("there is room");
            match instead {
                Instead::Cancels => {
                    other.cancel(call);
                    let result = caller.wait(&other, call);
                    let is_it = match &result {
                        Ok(answer) => answer.0 == [7],
                        Err(error) => **error == TaskError::Cancelled,
                    };
                    assert!(is_it, "{result:?}");
                }
                Instead::LeavesIt => other.leave(call, false),
                Instead::LeavesAndCancels => other.leave(call, true),
            }
        });
        // The task is under way until its cancel has come, if one does.
        let mut under_way = Vec::new();
        drop(mailbox);
        loop {
            driver.sleep();
            under_way.append(&mut driver.take());
            if std::mem::take(&mut driver.is_rung) {
                let mail = driver.post.take();
                assert!(mail.cancels.len() <= 1, "told once");
                for call in mail.cancels {
                    let at = under_way.iter().position(|known| *known == call);
                    under_way.remove(at.expect("it was taken before"));
                    driver.settle(call, Err(TaskError::Cancelled.into()));
                }
            }
            if instead == Instead::LeavesIt {
                under_way.drain(..).for_each(|call| driver.settle(call, answer(7)));
            }
            if under_way.is_empty() && driver.post.is_abandoned() && driver.post.queued() == 0 {
                break;
            }
        }
        calling.join().expect("it does not panic");
        assert!(driver.post.are_all_taken(), "its place is free again");
    });
}

/// A caller cancels its call, queued or under way, and waits for the end, which comes.
pub fn cancelled(preemptions: usize) {
    not_waited_for(Instead::Cancels, preemptions);
}

/// A caller lets go of its call, which runs on or is cancelled. Nothing of it is left, and the driver hears of the
/// last handle's end.
pub fn left(preemptions: usize) {
    not_waited_for(Instead::LeavesIt, preemptions);
    not_waited_for(Instead::LeavesAndCancels, preemptions);
}

/// A driver holds a call back until somebody asks for its outcome: it hears of that. `sets_first` is the right
/// order.
fn held_back(sets_first: bool, preemptions: usize) {
    check(preemptions, move || {
        let (mailbox, mut driver) = pool(8);
        let call = mailbox.submit(&mut Body::default(), Check::RAW, None, None).expect("room");
        driver.sleep();
        assert_eq!(driver.take(), [call]);
        let asking = thread::spawn(move || {
            let caller = Caller::new();
            drop(caller.wait(&mailbox, call));
        });
        if sets_first {
            driver.post.hold_back(true);
        }
        while !driver.post.is_awaited(call) {
            driver.post.hold_back(true);
            driver.sleep();
        }
        driver.settle(call, answer(1));
        asking.join().expect("it does not panic");
    });
}

/// A driver that holds a call back hears of whoever asks for its outcome.
pub fn asked_while_held_back(preemptions: usize) {
    held_back(true, preemptions);
}

/// The same, by a driver that looks before it says that it is to be told, as it must not.
pub fn looked_at_too_soon(preemptions: usize) {
    held_back(false, preemptions);
}

/// A driver that waits until all outcomes are taken hears of the last.
pub fn taken(preemptions: usize) {
    check(preemptions, || {
        let (mailbox, mut driver) = pool(8);
        let calls: Vec<CallId> = (0..2)
            .map(|_| mailbox.submit(&mut Body::default(), Check::RAW, None, None).expect("room"))
            .collect();
        driver.sleep();
        assert_eq!(driver.take(), calls);
        calls.iter().for_each(|&call| driver.settle(call, answer(1)));
        let other = Arc::clone(&mailbox);
        let (first, second) = (calls[0], calls[1]);
        let taking = thread::spawn(move || drop(Caller::new().wait(&other, first)));
        let leaving = thread::spawn(move || mailbox.leave(second, false));
        driver.post.await_taken(true);
        while !driver.post.are_all_taken() {
            driver.sleep();
        }
        taking.join().expect("it does not panic");
        leaving.join().expect("it does not panic");
    });
}

/// A driver ends while a caller submits: it is refused, or its call ends as closed.
pub fn closed(preemptions: usize) {
    check(preemptions, || {
        let (mailbox, driver) = pool(8);
        let calling = thread::spawn(move || {
            let caller = Caller::new();
            match caller.submit(&mailbox, 1) {
                Ok(call) => {
                    let error = caller.wait(&mailbox, call).expect_err("nobody answers");
                    assert_eq!(*error, TaskError::Closed);
                }
                Err(why) => assert_eq!(why, NotQueued::Closed),
            }
        });
        driver.close();
        calling.join().expect("it does not panic");
        assert!(driver.post.are_all_taken());
    });
}

/// Two callers share the one place of a queue: each gets it, and none waits for ever.
pub fn room(preemptions: usize) {
    check(preemptions, || {
        let (mailbox, mut driver) = pool(1);
        let calling: Vec<_> = (0..2)
            .map(|byte| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || {
                    let caller = Caller::new();
                    let cx = &mut Context::from_waker(&caller.waker);
                    let call = loop {
                        let mut listener = mailbox.listen_for_place(QueueId::DEFAULT);
                        match caller.submit(&mailbox, byte) {
                            Ok(call) => break call,
                            Err(why) => assert_eq!(why, NotQueued::Full),
                        }
                        while Pin::new(&mut listener).poll(cx).is_pending() {
                            caller.task.wait();
                        }
                    };
                    mailbox.leave(call, false);
                })
            })
            .collect();
        let mut left = 2;
        while left > 0 {
            driver.sleep();
            for call in driver.take() {
                left -= 1;
                driver.settle(call, answer(1));
            }
        }
        calling.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        assert!(driver.post.are_all_taken());
    });
}

/// A driver leaves outcomes for a stream in batches, and ends it: the stream has all of them, in order, and its end.
pub fn batches(preemptions: usize) {
    check(preemptions, || {
        let mut taker = Taker::new(8);
        let mut giver = taker.giver();
        let giving = thread::spawn(move || {
            for height in 0..2 {
                let mut batch = vec![Item { height, result: answer(1) }];
                giver.give(&mut batch, |_, _| Need::Nothing);
            }
            giver.end();
        });
        let caller = Caller::new();
        let cx = &mut Context::from_waker(&caller.waker);
        let mut heights = Vec::new();
        loop {
            let mut batch = Vec::new();
            match taker.take(cx, &mut batch, true) {
                Poll::Ready(Some(_)) => heights.extend(batch.iter().map(|item| item.height)),
                Poll::Ready(None) => break,
                Poll::Pending => caller.task.wait(),
            }
        }
        assert_eq!(heights, [0, 1]);
        giving.join().expect("it does not panic");
    });
}
