//! What asks for figures while somebody looks: a thread of its own, so that a page that is slow to answer holds up no
//! key.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::args::Sort;
use crate::failure::Failure;
use crate::look::{Client, Overview, Page, workers_query};

/// Not more often than this, and at least so often, whatever interval the page says.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Which workers somebody looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) sort: Sort,
    pub(super) desc: bool,
    pub(super) offset: u64,
}

/// The figures of one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) overview: Overview,
    pub(super) page: Page,
}

/// Asks for the figures once. Their texts are printable: the screen leaves out what moves the cursor, and not what turns
/// the text around it.
pub(super) fn look(client: &Client, wanted: Wanted) -> Result<Look, Failure> {
    // First: it has the pool asked, and the list of workers is of that moment then.
    let overview = client.read_printable("api/overview")?;
    let page = client.read_printable(&workers_query(wanted.sort, wanted.desc, wanted.offset))?;
    Ok(Look { overview, page })
}

/// Asks again and again, until it is dropped.
#[derive(Debug)]
pub(super) struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    wanted: Wanted,
    /// The latest answer that nobody has taken.
    news: Option<Result<Look, String>>,
    is_over: bool,
}

impl Feed {
    pub(super) fn start(client: Client, wanted: Wanted) -> Self {
        let state = State { wanted, news: None, is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let feed = Self(Arc::clone(&shared));
        thread::spawn(move || shared.run(&client));
        feed
    }

    /// Takes the latest answer, or why there is none, if that is new.
    pub(super) fn take(&self) -> Option<Result<Look, String>> {
        self.0.lock().news.take()
    }

    /// Says which workers are looked at. It asks at once where they are others.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut state = self.0.lock();
        if state.wanted != wanted {
            state.wanted = wanted;
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it")
    }

    fn run(&self, client: &Client) {
        let mut interval = INTERVAL.0;
        loop {
            let wanted = self.lock().wanted;
            let news = look(client, wanted);
            if let Ok(look) = &news {
                let said = Duration::from_millis(look.overview.interval_ms);
                interval = said.clamp(INTERVAL.0, INTERVAL.1);
            }
            let mut state = self.lock();
            state.news = Some(news.map_err(|failure| failure.text().to_owned()));
            let unchanged = |state: &mut State| !state.is_over && state.wanted == wanted;
            let (state, _) = self
                .changed
                .wait_timeout_while(state, interval, unchanged)
                .expect("nothing panics with it");
            if state.is_over {
                return;
            }
        }
    }
}
