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
    /// Returns a stream of every height of a range with its outcome. The request is the height, encoded as a postcard
    /// `u64`. [`Outcomes`] has options such as returning outcomes in order or stopping at a failure.
    ///
    /// A height whose handler failed is retried once, on another worker if one serves; [`TaskOptions::retries`]
    /// changes that. Answers are bounded like those of [`call`](Pool::call).
    ///
    /// Takes a range such as `1..=20_000_000`, or a ledger in which some heights are done already: then the others
    /// are done, including those that failed before. The range starts when the stream is first polled.
    pub fn process<A>(&self, heights: impl Into<Ledger>) -> Outcomes<A>
    where
        A: DeserializeOwned + Send + 'static,
    {
        self.ranged(heights.into(), Check::of::<A>())
    }

    /// Returns a stream like [`process`](Pool::process), of heights of type `i64`, which peers of the Go package
    /// `worker` use. The request is the height, encoded as a postcard `i64`, so handlers take that type.
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

    /// Returns a stream of every request with its outcome. Takes anything that can be iterated over, or a stream
    /// wrapped in [`from_stream`]. It has the same options as a range; [`process`](Pool::process) is the special case
    /// of heights.
    ///
    /// Whenever the stream is polled, requests are taken from the source while fewer than [`ahead`](Outcomes::ahead)
    /// are under way or untaken. Each request is kept until it is returned with its outcome. If encoding a request
    /// fails or panics, or the request is too long, its outcome is [`TaskError::Request`], and the map goes on.
    ///
    /// If the source panics, the poll panics too. The map then finishes the requests that it already has, and ends.
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

    /// Returns a stream like [`map`](Pool::map) whose requests and answers are bytes, which are not encoded.
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

    /// Processes a range of heights like [`process`](Pool::process), calls `on_outcome` for each height in the order
    /// in which outcomes come, and returns a report.
    ///
    /// Outcomes are taken no faster than `on_outcome` returns, so a slow one holds up the workers. Dropping the
    /// future cancels the tasks in flight, and so does a panic in `on_outcome`.
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
