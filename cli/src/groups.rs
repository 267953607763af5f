//! Process groups: each task's processes are one, and end together.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// How long those that are being started are waited for at the end. It takes milliseconds, unless the system is in
/// trouble: then this process is not to stay for it.
const STARTS_MAX: Duration = Duration::from_millis(500);

/// The groups that run now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Running>,
    /// None is being started any more.
    started: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    ids: BTreeSet<i32>,
    /// How many are being started: they are no children yet, or not known yet to be.
    starting: usize,
    /// All were killed, and nothing comes after them: this process ends.
    is_over: bool,
}

/// One group. It is killed when this is dropped, unless it has [ended](Group::end).
#[derive(Debug)]
pub(crate) struct Group {
    id: Option<Pid>,
    groups: Groups,
}

impl Groups {
    /// Starts a process that leads a group of its own. None is started any more once all were killed.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<(Child, Group)> {
        {
            let mut running = self.lock();
            if running.is_over {
                return Err(io::Error::other("nothing is started any more"));
            }
            running.starting += 1;
        }
        let spawned = command.spawn();
        let mut running = self.lock();
        running.starting -= 1;
        if running.starting == 0 {
            self.0.started.notify_all();
        }
        let child = spawned?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            running.ids.insert(id.as_raw_nonzero().get());
            if running.is_over {
                kill(id);
            }
        }
        Ok((child, Group { id, groups: self.clone() }))
    }

    /// Kills all that run, and returns once that is so of those that are being started as well. Call it before
    /// this process ends, for whatever reason: nobody else would end them.
    pub(crate) fn kill_all(&self) {
        let mut running = self.lock();
        running.is_over = true;
        for id in running.ids.iter().filter_map(|id| Pid::from_raw(*id)) {
            kill(id);
        }
        let starts = |running: &mut Running| running.starting > 0;
        drop(self.0.started.wait_timeout_while(running, STARTS_MAX, starts));
    }

    /// Never completes once all were killed: how they ended is nobody's failure then, and is not to be told.
    pub(crate) async fn unless_killed(&self) {
        let is_over = self.lock().is_over;
        if is_over {
            pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
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
