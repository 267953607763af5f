//! Shows what a [`chargehand`] pool does: a live page for people, metrics for Prometheus, probes for whatever
//! restarts it.
//!
//! [`Status`] has one task of tokio's ask the pool for its figures every second. Mount its routes in a router of
//! axum's that you have, or [`serve`](Status::serve) them on an address of their own:
//!
//! ```
//! use chargehand::{Pool, tokio::Tokio};
//! use chargehand_status::Status;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (pool, driver) = Pool::builder(Tokio::new())
//!     .in_process(4, |height: u64| async move { Ok::<_, String>(height * 2) })
//!     .build()?;
//! tokio::spawn(driver);
//!
//! let page = Status::new(&pool).router("/status");
//! let app: axum::Router = axum::Router::new().merge(page); // http://localhost/status
//! # drop(app);
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! tokio::spawn(Status::new(&pool).serve_on(listener)); // or a listener of its own
//! # pool.stop().await?;
//! # Ok(()) }
//! ```
//!
//! | path | what is there |
//! |---|---|
//! | `/` | the page: one static file each of HTML, CSS and JavaScript, in the program itself |
//! | `/metrics` | all figures for Prometheus, as `OpenMetrics` text |
//! | `/livez` | 200 while the pool's driver answers, 503 once it has not for 10 s, or has ended |
//! | `/readyz` | 200 while so many workers are up as [`ready_workers`](Status::ready_workers) says |
//! | `/api/overview` | what the page shows but for its workers, as JSON |
//! | `/api/live` | the same each second, as server-sent events |
//! | `/api/workers` | a part of the workers: `offset`, `limit` (at most 200), `sort`, `desc`, `state`, `find` |
//! | `/api/history` | throughput and latency of the last ten minutes |
//! | `/api/explain` | why tasks wait and workers get none: `task`, `queue` or `worker` select one |
//! | `POST /api/drain`, `/api/workers/ID/remove`, `/api/queues/NAME/pause` and `/resume` | what [`actions`](Status::actions) allows, with its token |
//!
//! # Who may see it
//!
//! - [`serve`](Status::serve) takes loopback addresses only, unless [`insecure`](Status::insecure) says that the
//!   network itself is trusted: whoever reaches the port sees everything, and nothing is encrypted.
//! - A request is answered only where its `Host` is an IP address, `localhost` or one of
//!   [`host`](Status::host): so a page of somebody else's, whose name is made to lead here, reads nothing.
//! - It is read-only, unless [`actions`](Status::actions) gives a token: then the page can drain the pool, remove
//!   workers and pause queues for whoever has it. The token travels in a header, which other origins cannot send.
//! - What is sent says that it is to load nothing from elsewhere, to run no script but its own and to be in no
//!   frame (`Content-Security-Policy`).
//!
//! # What it costs
//!
//! While there is a `Status` the pool [measures](chargehand::Pool::measure), which costs some percent of its
//! highest throughput. Asking for the figures takes about a millisecond of the driver's time a second with a
//! thousand workers. Memory is bounded: ten minutes of history, 256 events, and one frame for each of at most
//! [`viewers_max`](Status::viewers_max) viewers, however slowly they read.
//!
//! It holds a handle of the pool. So a pool that is to end by itself once its last handle is dropped does not:
//! [`stop`](chargehand::Pool::stop) it. Its last figures stay on the page for as long as that is served.
//!
//! # Features
//!
//! `metrics` records the same figures by the facade of the crate `metrics`, for programs that export by that.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod actions;
mod collect;
mod explain;
#[cfg(feature = "metrics")]
mod facade;
mod families;
mod guard;
mod history;
mod openmetrics;
mod routes;
mod serve;
mod view;
mod workers;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chargehand::Pool;

pub use self::serve::ServeError;

/// What is shown of a pool, to whom, and what can be done about it. See the [crate](self).
#[derive(Clone)]
#[must_use = "nothing is shown until it is served or its routes are"]
pub struct Status {
    pool: Pool,
    settings: Settings,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Arc<str>,
    pub(crate) interval: Duration,
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<Token>,
    pub(crate) is_insecure: bool,
    pub(crate) ready_workers: u32,
    pub(crate) worker_series: usize,
    pub(crate) viewers_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) numbers: Option<Arc<[RangeInclusive<u64>]>>,
}

/// What has to be known to do more than look. Not shown in logs.
#[derive(Clone)]
pub(crate) struct Token(pub(crate) Arc<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Settings {
    /// Returns what is shown as the height of a task, or as its place in its map.
    pub(crate) fn number_of(&self, height: i128) -> i128 {
        let Some(numbers) = &self.numbers else { return height };
        let mut left = height;
        for range in numbers.iter() {
            let (first, last) = (i128::from(*range.start()), i128::from(*range.end()));
            if left <= last - first {
                return first + left;
            }
            left -= last - first + 1;
        }
        height
    }

    /// Returns which height is shown as that.
    pub(crate) fn height_of(&self, number: i128) -> Option<i128> {
        let Some(numbers) = &self.numbers else { return Some(number) };
        let mut before = 0;
        for range in numbers.iter() {
            let (first, last) = (i128::from(*range.start()), i128::from(*range.end()));
            if (first..=last).contains(&number) {
                return Some(before + number - first);
            }
            before += last - first + 1;
        }
        None
    }
}

impl Status {
    /// Shows a pool, read-only.
    pub fn new(pool: &Pool) -> Self {
        let settings = Settings {
            name: "chargehand".into(),
            interval: Duration::from_secs(1),
            hosts: Vec::new(),
            token: None,
            is_insecure: false,
            ready_workers: 1,
            worker_series: 100,
            viewers_max: 64,
            connections_max: 256,
            numbers: None,
        };
        Self { pool: pool.clone(), settings }
    }

    /// Sets what the page is headed with, to tell one pool from another. Default `chargehand`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into().into();
        self
    }

    /// Sets how often the pool is asked for its figures. At least 100 ms; default 1 s. The history has 600
    /// such intervals.
    pub fn interval(mut self, span: Duration) -> Self {
        self.settings.interval = span.max(Duration::from_millis(100));
        self
    }

    /// Also answers requests whose `Host` has this name, such as `status.example.org`. Without the port, which
    /// may be any. Call it again for further names.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.settings.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// Lets whoever has `token` drain the pool, remove workers and pause queues, by the page or with the header
    /// `Authorization: Bearer TOKEN`: `POST` to `api/drain`, `api/workers/ID/remove`, `api/queues/NAME/pause` and
    /// `resume`. Draw it at random, 16 bytes or more, and keep it as you keep a password:
    /// without TLS before it, whoever listens in has it. Default: nobody can.
    ///
    /// # Panics
    /// If it has fewer than 16 bytes, or any that does not belong into a header.
    pub fn actions(mut self, token: impl Into<String>) -> Self {
        let token = token.into();
        assert!(token.len() >= 16, "a token has at least 16 bytes: draw it at random");
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "a token is printable ASCII");
        self.settings.token = Some(Token(token.into()));
        self
    }

    /// Lets [`serve`](Status::serve) take addresses that are not loopback: whoever reaches them sees the pool.
    /// For networks that are trusted themselves. Default: it fails instead.
    pub fn insecure(mut self) -> Self {
        self.settings.is_insecure = true;
        self
    }

    /// Sets how many workers have to be up for `/readyz` to say so. Default 1; with 0 a pool is ready as long
    /// as its driver answers.
    pub fn ready_workers(mut self, count: u32) -> Self {
        self.settings.ready_workers = count;
        self
    }

    /// Sets how many workers have metrics of their own: eighteen series each. Those above, in the order of their
    /// ids, count in the sums only. Default 100.
    pub fn worker_series(mut self, count: usize) -> Self {
        self.settings.worker_series = count;
        self
    }

    /// Sets how many may watch live at once: one more is told to try later, and its page asks now and then
    /// instead. Default 64.
    pub fn viewers_max(mut self, count: usize) -> Self {
        self.settings.viewers_max = count;
        self
    }

    /// Sets how many connections [`serve`](Status::serve) has at once: one more waits. Default 256. One on
    /// which nothing moves for 60 s is closed.
    pub fn connections_max(mut self, count: usize) -> Self {
        self.settings.connections_max = count.max(1);
        self
    }

    /// Sets which numbers the requests of a map have, in their order, where they are not counted from 0 on: what
    /// failed, and whatever is explained, is called by these. For a pool that does one map and no range.
    pub fn numbers(mut self, numbers: impl IntoIterator<Item = RangeInclusive<u64>>) -> Self {
        self.settings.numbers = Some(numbers.into_iter().collect());
        self
    }

    /// Makes the routes, below `prefix`: `/status`, or `/` for all of a server. To be
    /// [merged](Router::merge) with others; that needs a runtime of tokio's, on which one task is spawned,
    /// which ends with the routes.
    ///
    /// # Panics
    /// If there is no runtime, or `prefix` is no path.
    pub fn router<S: Clone + Send + Sync + 'static>(self, prefix: &str) -> Router<S> {
        routes::router(self, prefix)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_of_a_map_are_shown_by_the_numbers_of_its_requests_and_found_by_them() {
        let (pool, _driver) =
            Pool::builder(chargehand::tokio::Tokio::new()).build().expect("by default");
        let settings = Status::new(&pool).numbers([3..=4, 9..=9, 20..=u64::MAX]).settings;
        for (place, number) in [(0, 3), (1, 4), (2, 9), (3, 20), (4, 21)] {
            assert_eq!(settings.number_of(place), number);
            assert_eq!(settings.height_of(number), Some(place));
        }
        assert_eq!(settings.height_of(5), None, "it was done before");
        let plain = Status::new(&pool).settings;
        assert_eq!((plain.number_of(7), plain.height_of(-7)), (7, Some(-7)));
    }
}
