//! Process groups: each task's processes are one, and end together.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The groups that run now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    ids: BTreeSet<i32>,
    /// All were killed, and so is whatever comes after them: this process ends.
    is_over: bool,
}

/// One group. It is killed when this is dropped, unless it has [ended](Group::end).
#[derive(Debug)]
pub(crate) struct Group {
    id: Option<Pid>,
    groups: Groups,
}

impl Groups {
    /// Takes in the group that a child leads. It must not have been waited for.
    pub(crate) fn add(&self, child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let mut running = self.lock();
            running.ids.insert(id.as_raw_nonzero().get());
            if running.is_over {
                kill(id);
            }
        }
        Group { id, groups: self.clone() }
    }

    /// Kills all that run, and whatever is started after that.
    pub(crate) fn kill_all(&self) {
        let mut running = self.lock();
        running.is_over = true;
        for id in running.ids.iter().filter_map(|id| Pid::from_raw(*id)) {
            kill(id);
        }
    }

    /// Never completes once all were killed: how they ended is nobody's failure then, and is not to be told.
    pub(crate) async fn unless_killed(&self) {
        let is_over = self.lock().is_over;
        if is_over {
            pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Kills all its processes.
    pub(crate) fn kill(&self) {
        if let Some(id) = self.id {
            kill(id);
        }
    }

    /// Its leader has just been waited for. Until then the group's number was its own, and now it is not: whatever
    /// the leader has left in it goes on.
    pub(crate) fn end(mut self) {
        self.forget();
    }

    fn forget(&mut self) -> Option<Pid> {
        let id = self.id.take()?;
        self.groups.lock().ids.remove(&id.as_raw_nonzero().get());
        Some(id)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.forget() {
            kill(id);
        }
    }
}

fn kill(id: Pid) {
    // It fails where all of them are gone, which is what is wanted.
    let _ = kill_process_group(id, Signal::KILL);
}
