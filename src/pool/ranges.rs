//! Ranges and maps: many tasks by one call.

use alloc::sync::Arc;
use alloc::vec::Vec;

use chargehand_core::ledger::Height;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Pool;
#[cfg(doc)]
use super::from_stream;
use super::outcomes::requests::{Mapped, encode};
use super::outcomes::{
    Heights, IntoRequests, Ledger, Outcomes, RawRequests, Report, Requests, SignedLedger,
};
use crate::error::TaskError;
use crate::link::erased::Kind;
use crate::mailbox::range::LedgerOf;
#[cfg(doc)]
use crate::options::TaskOptions;
use crate::payload::{Body, Check};

impl<K: Kind> Pool<K> {
    /// Returns a stream of every height of a range with its outcome. The request is the height as a
    /// postcard `u64`. [`Outcomes`] has the options: in order, stop at a failure.
    ///
    /// A height whose handler failed is tried once more, elsewhere if another worker serves:
    /// [`TaskOptions::retries`] changes that. Answers are bounded as those of [`call`](Pool::call).
    ///
    /// Takes a range such as `1..=20_000_000`, or a ledger of which some is done already: what is
    /// not done is, what failed the last time included. The range starts when the stream is first
    /// polled.
    pub fn process<A>(&self, heights: impl Into<Ledger>) -> Outcomes<A>
    where
        A: DeserializeOwned + Send + 'static,
    {
        self.ranged(heights.into(), Check::of::<A>())
    }

    /// Returns a stream as [`process`](Pool::process) does, of heights of type `i64`, as peers of the
    /// Go package `worker` have them. The request is the height as a postcard `i64`, so handlers
    /// take that type.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) {
    /// let report = pool
    ///     .process_signed::<()>(-10..=10)
    ///     .each(|height, outcome| println!("{height}: {outcome:?}"))
    ///     .await;
    /// assert!(report.is_complete());
    /// # }
    /// ```
    pub fn process_signed<A>(&self, heights: impl Into<SignedLedger>) -> Outcomes<A, Heights<i64>>
    where
        A: DeserializeOwned + Send + 'static,
    {
        self.ranged(heights.into(), Check::of::<A>())
    }

    /// Returns a stream of every request with its outcome: of whatever can be iterated over, or of a stream
    /// by way of [`from_stream`]. It has the options of a range, and is a range otherwise:
    /// [`process`](Pool::process) is the case of heights.
    ///
    /// Requests are taken out of their source while fewer than [`ahead`](Outcomes::ahead) says are under
    /// way or untaken, and whenever the stream is polled. One whose encoder fails or panics, or
    /// that is too long, has [`TaskError::Request`] for its outcome, and the map goes on. Each is kept until its outcome is
    /// returned with it.
    ///
    /// If the source panics, so does the poll; after that the map goes on with the requests that it has,
    /// and ends.
    ///
    /// ```
    /// # #[derive(Debug, serde::Deserialize)]
    /// # struct Page;
    /// #[derive(serde::Serialize)]
    /// struct Fetch { url: String, depth: u8 }
    ///
    /// # async fn f(pool: chargehand::Pool, urls: Vec<String>) {
    /// let requests = urls.into_iter().map(|url| Fetch { url, depth: 1 });
    /// let mut pages = pool.map::<Page, _>(requests).in_order(64);
    /// while let Some((fetch, page)) = pages.next().await {
    ///     match page {
    ///         Ok(page) => println!("{}: {page:?}", fetch.url),
    ///         Err(error) => eprintln!("{} at depth {}: {error}", fetch.url, fetch.depth),
    ///     }
    /// }
    /// assert!(pages.report().is_complete());
    /// # }
    /// ```
    pub fn map<A, R>(&self, requests: R) -> Outcomes<A, Requests<R::Pull>>
    where
        A: DeserializeOwned + Send + 'static,
        R: IntoRequests<Request: Serialize>,
    {
        self.mapped(requests, encode, Check::of::<A>())
    }

    /// Returns a stream as [`map`](Pool::map) does, of requests that are bytes, with answers as they are.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool, files: Vec<Vec<u8>>) {
    /// let mut packed = pool.map_raw(files);
    /// while let Some((file, outcome)) = packed.next().await {
    ///     println!("{} bytes became {:?}", file.len(), outcome.map(|bytes| bytes.len()));
    /// }
    /// # }
    /// ```
    pub fn map_raw<R>(&self, requests: R) -> Outcomes<Vec<u8>, RawRequests<R::Pull>>
    where
        R: IntoRequests<Request: AsRef<[u8]>>,
    {
        self.mapped(requests, |request| Ok(Body::from(request.as_ref())), Check::RAW)
    }

    fn mapped<A, R: IntoRequests, E>(
        &self,
        requests: R,
        encode: fn(&R::Request) -> Result<Body, TaskError>,
        check: Check,
    ) -> Outcomes<A, Mapped<R::Pull, E>> {
        let pull = requests.into_pull();
        let source = Mapped::new(pull, encode, self.request_bytes_max, self.mailbox.ahead_max());
        Outcomes::new(source, Arc::clone(&self.mailbox), self.options.clone(), check)
    }

    fn ranged<A, H: Height>(&self, heights: LedgerOf<H>, check: Check) -> Outcomes<A, Heights<H>> {
        Outcomes::of_heights(heights, Arc::clone(&self.mailbox), self.options.clone(), check)
    }

    /// Does a range of heights as [`process`](Pool::process) does, calls `on_outcome` for each
    /// height in the order in which outcomes come, and returns what became of the range.
    ///
    /// Outcomes are not taken faster than `on_outcome` returns, so it holds the workers up if it is
    /// slow. Dropping the future cancels what is in flight; if `on_outcome` panics, so does that.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) {
    /// let report = pool
    ///     .for_each::<Vec<u8>>(1..=1000, |height, outcome| match outcome {
    ///         Ok(block) => println!("{height}: {} bytes", block.len()),
    ///         Err(error) => println!("{height}: {error}"),
    ///     })
    ///     .await;
    /// assert!(report.is_complete());
    /// # }
    /// ```
    pub async fn for_each<A: DeserializeOwned + Send + 'static>(
        &self,
        heights: impl Into<Ledger>,
        on_outcome: impl FnMut(u64, Result<A, TaskError>),
    ) -> Report {
        self.process(heights).each(on_outcome).await
    }
}
