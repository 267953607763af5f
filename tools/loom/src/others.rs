//! In the place of two crates that the library's files use: no model has to do with what is in their own queues.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::link::lock::Lock;

/// As `event_listener`'s, with loom's lock.
#[derive(Debug, Default)]
pub struct Event(Arc<Lock<Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    id: u64,
    is_told: bool,
    waker: Option<Waker>,
}

/// As `event_listener`'s.
#[derive(Debug)]
pub struct EventListener {
    event: Arc<Lock<Vec<Waiting>>>,
    id: u64,
    has_returned: bool,
}

impl Event {
    /// Makes one that nobody listens to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens from now on.
    pub fn listen(&self) -> EventListener {
        let id = self.0.with(|waiting| {
            let id = waiting.last().map_or(0, |last| last.id + 1);
            waiting.push(Waiting { id, is_told: false, waker: None });
            id
        });
        EventListener { event: Arc::clone(&self.0), id, has_returned: false }
    }

    /// Sees to it that so many of those who listen are told.
    pub fn notify(&self, count: usize) {
        let told = self.0.with(|waiting| waiting.iter().filter(|one| one.is_told).count());
        self.notify_additional(count.saturating_sub(told));
    }

    /// Tells so many more of those who listen.
    pub fn notify_additional(&self, count: usize) {
        let wakers: Vec<Waker> = self.0.with(|waiting| {
            let untold = waiting.iter_mut().filter(|one| !one.is_told).take(count);
            untold
                .filter_map(|one| {
                    one.is_told = true;
                    one.waker.take()
                })
                .collect()
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Future for EventListener {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.event.with(|waiting| {
            let at = waiting.iter().position(|one| one.id == self.id).expect("it listens");
            if waiting[at].is_told {
                return Poll::Ready(());
            }
            waiting[at].waker = Some(cx.waker().clone());
            Poll::Pending
        });
        self.has_returned |= polled.is_ready();
        polled
    }
}

/// What it was told and did not return is another's.
impl Drop for EventListener {
    fn drop(&mut self) {
        let waker = self.event.with(|waiting| {
            let at = waiting.iter().position(|one| one.id == self.id).expect("it listens");
            let next = if waiting.remove(at).is_told && !self.has_returned {
                waiting.iter_mut().find(|one| !one.is_told)
            } else {
                None
            };
            next.and_then(|next| {
                next.is_told = true;
                next.waker.take()
            })
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

/// As `async_channel`'s; nothing is sent.
#[derive(Debug)]
pub struct Sender<T>(PhantomData<T>);

impl<T> Sender<T> {
    /// Gives it back.
    ///
    /// # Errors
    /// Always: nobody receives.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        Err(message)
    }
}

/// As `async_channel`'s; nothing is sent.
#[derive(Debug)]
pub struct Receiver<T>(PhantomData<T>);

/// Makes both ends.
pub fn bounded<T>(_capacity: usize) -> (Sender<T>, Receiver<T>) {
    (Sender(PhantomData), Receiver(PhantomData))
}
