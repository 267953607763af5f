//! When a state is saved: about once a second, on a thread of its own.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::file::is_out_of_files;
use super::{State, StateFile};
use crate::shared::failure::Failure;

/// How long after the begin of one save the next one begins, at the earliest.
const INTERVAL: Duration = Duration::from_secs(1);
/// Where saves take long, they may take one part in so many of the time.
const SHARE: u32 = 10;
/// How long a save is tried again while there is no file descriptor for it, and how often.
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_DELAY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Saver<S> {
    path: PathBuf,
    file: Arc<Mutex<StateFile<S>>>,
    under_way: Option<JoinHandle<io::Result<()>>>,
    begun: Instant,
    due: Instant,
}

impl<S: State> Saver<S> {
    pub(crate) fn new(file: StateFile<S>) -> Self {
        let now = Instant::now();
        let path = file.path().to_owned();
        Self { path, file: Arc::new(Mutex::new(file)), under_way: None, begun: now, due: now }
    }

    /// Returns when it is time to save again, and fails if the last save did. Dropping the future
    /// changes nothing.
    pub(crate) async fn due(&mut self) -> Result<(), Failure> {
        self.settle().await?;
        sleep_until(self.due).await;
        Ok(())
    }

    /// Begins to save a state, once the data of `output` is on the disk. None may be under way.
    pub(crate) fn begin(&mut self, state: S, output: Option<Arc<File>>) {
        assert!(self.under_way.is_none(), "one save at a time");
        let file = Arc::clone(&self.file);
        self.begun = Instant::now();
        self.under_way = Some(spawn_blocking(move || {
            if let Some(output) = output {
                output.sync_data()?;
            }
            replace(&mut file.lock().expect("nothing panics with it"), &state)
        }));
    }

    /// Waits for the next time instead: there is nothing new to save.
    pub(crate) fn skip(&mut self) {
        self.due = Instant::now() + INTERVAL;
    }

    /// Waits until nothing is being saved any more.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        let saved = self.wait().await;
        saved.map_err(|error| {
            Failure::run(format!("--state {}: it cannot be saved: {error}", self.path.display()))
        })
    }

    async fn wait(&mut self) -> io::Result<()> {
        let Some(save) = &mut self.under_way else { return Ok(()) };
        let result = save.await;
        self.under_way = None;
        self.due = self.begun + INTERVAL.max(self.begun.elapsed() * SHARE);
        result?
    }
}

/// Saves a state. Where there is no descriptor, links may end meanwhile and leave theirs.
fn replace<S: State>(file: &mut StateFile<S>, state: &S) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match file.replace(state) {
            Err(error) if is_out_of_files(&error) && begun.elapsed() < RETRY_FOR => {
                thread::sleep(RETRY_DELAY);
            }
            result => return result,
        }
    }
}
