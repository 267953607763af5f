//! A worker of a world, in the hands of a test.

use chargehand_core::Instant;
use chargehand_core::io::{Connect, Dialect};

use super::go::GoManager;
use super::wires::{Home, WorldConnector, WorldError};

/// A worker of a [`World`](super::World): what it was asked, and what may happen to it. Its clones
/// are the same worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle(pub(super) Home);

impl WorkerHandle {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0.site.name
    }

    /// Returns its address, for [`Pool::add`](crate::Pool::add) and for pools that the world did
    /// not make. The world's own pools dial all workers that were there before.
    pub fn connector(&self) -> WorldConnector {
        WorldConnector(self.0.clone())
    }

    /// Connects to it as a manager of the Go package `worker` does, and returns that manager. Make it
    /// for workers that the world [hosts](super::World::host).
    ///
    /// # Errors
    /// Returns [`WorldError::Refused`] while the worker's process does not run.
    pub async fn go_manager(&self) -> Result<GoManager, WorldError> {
        let home = Home { dialect: Dialect::Json, ..self.0.clone() };
        WorldConnector(home).connect().await.map(GoManager::new)
    }

    /// Returns how many requests were sent to it so far.
    pub fn asked(&self) -> u64 {
        self.0.site.asked()
    }

    /// Returns whether its process runs.
    pub fn is_alive(&self) -> bool {
        self.0.site.is_alive()
    }

    /// Its process dies: its links end, what it works on is lost, and whoever dials it is refused.
    /// What it has sent still arrives. Nothing happens where it is dead already.
    pub fn dies(&self) -> Change {
        self.change(What::Dies)
    }

    /// Its process is asked to stop: it wants nothing more, finishes what it holds, and ends when
    /// its managers have closed their links. Nothing happens where it is dead.
    pub fn stops(&self) -> Change {
        self.change(What::Stops)
    }

    /// Its process is started again, with nothing left of its life before. Nothing happens where
    /// it runs.
    pub fn revives(&self) -> Change {
        self.change(What::Revives)
    }

    /// Its links break, and both sides notice at once. What is on its way is lost. It lives and may
    /// be dialled again.
    pub fn loses_link(&self) -> Change {
        self.change(What::LosesLink)
    }

    /// Its network is away: nothing arrives any more, in either direction, and nobody notices but
    /// by the silence. Whoever dials it waits. It works on.
    pub fn loses_network(&self) -> Change {
        self.change(What::Network(false))
    }

    /// Its network is back, and what was on its way arrives.
    pub fn regains_network(&self) -> Change {
        self.change(What::Network(true))
    }

    /// The next message that it sends arrives as bytes that are no message.
    pub fn garbles(&self) -> Change {
        self.change(What::Garbles)
    }

    fn change(&self, what: What) -> Change {
        Change { home: self.0.clone(), what }
    }
}

/// Something that happens to a worker: now, or [at](super::World::at) some time.
#[derive(Clone, Debug)]
#[must_use = "it happens when it is given to `World::at`, or by `now`"]
pub struct Change {
    home: Home,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Dies,
    Stops,
    Revives,
    LosesLink,
    Network(bool),
    Garbles,
}

impl Change {
    /// Lets it happen now.
    pub fn now(self) {
        let Home { site, .. } = &self.home;
        match self.what {
            What::Dies => self.home.die(),
            What::Stops => site.stop(),
            What::Revives => site.revive(),
            What::LosesLink => site.lose_link(),
            What::Network(online) => site.set_online(online),
            What::Garbles => site.garble(),
        }
    }

    /// Waits until `at`, and lets it happen then.
    pub(super) async fn happen_at(self, at: Instant) {
        use chargehand_core::io::Timer;
        let sleep = self.home.site.timer.sleep_until(at);
        sleep.await;
        self.now();
    }
}
