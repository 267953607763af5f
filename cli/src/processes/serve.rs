//! A process that lives, and does many tasks: the side of those who have tasks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chargehand::Failure;
use tokio::sync::{mpsc, oneshot};

use super::Bounds;
use super::dialogue::{self, Style};
use super::keeper::{Job, Keeper, Message};
use super::words::Words;
use crate::console::Console;
use crate::groups::Groups;

/// A process that is kept alive. It is asked to end when [`stop`](Server::stop) is called, and killed when its
/// keeper is dropped. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// As many tasks as the worker does at once are on their way, and as many cancels.
    keeper: mpsc::UnboundedSender<Message>,
    next_id: Arc<AtomicU64>,
    json: bool,
}

impl Server {
    /// Starts the process, and whoever keeps it.
    pub(super) fn start(
        words: Words,
        bounds: Bounds,
        json: bool,
        concurrency: u16,
        groups: &Groups,
        console: &Console,
    ) -> Self {
        let (keeper, messages) = mpsc::unbounded_channel();
        let style = Style { json, output_max: bounds.output_max };
        let kept = Keeper::new(words, bounds, style, concurrency, groups.clone(), console.clone());
        tokio::spawn(kept.run(messages));
        Self { keeper, next_id: Arc::new(AtomicU64::new(1)), json }
    }

    /// Does one task. Dropping the future cancels it.
    pub(super) async fn run(self, task: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line = dialogue::asked(id, &task, self.json)?;
        let (reply, answer) = oneshot::channel();
        let job = Message::Job(Job::new(id, line, reply));
        if self.keeper.send(job).is_err() {
            return Err(ended());
        }
        let mut asked = Asked { keeper: &self.keeper, id, is_answered: false };
        let answer = answer.await;
        asked.is_answered = true;
        answer.unwrap_or_else(|_| Err(ended()))
    }

    /// Ends the process: its standard input ends, and it is killed where it does not go within 2 seconds.
    pub(crate) async fn stop(&self) {
        let (stopped, ends) = oneshot::channel();
        if self.keeper.send(Message::Stop(stopped)).is_ok() {
            // The keeper drops its end when all is over.
            let _ = ends.await;
        }
    }
}

fn ended() -> Failure {
    Failure::new("the command of --serve is being stopped")
}

/// Tells the keeper where nobody waits for a task any more.
struct Asked<'a> {
    keeper: &'a mpsc::UnboundedSender<Message>,
    id: u64,
    is_answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            // Without a keeper there is nothing to cancel.
            let _ = self.keeper.send(Message::Cancel(self.id));
        }
    }
}
