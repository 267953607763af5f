//! Handlers that block, on threads of their own.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::future::Future;
use core::pin::Pin;
use core::task::Poll;
use std::io;
use std::sync::{Mutex, PoisonError};

use chargehand_core::Verdict;
use chargehand_core::copy::copied;
use futures_util::task::AtomicWaker;
use rayon_core::{ThreadPool, ThreadPoolBuilder};

use super::{BlockingFn, Context, Handler, Origin, encode, fail, sealed};
use crate::payload::{DecodeLimits, decode_request};
use crate::unwind::caught;

type Answered = (Verdict, Vec<u8>);
type Function = dyn Fn(&[u8], &DecodeLimits, Option<Context>) -> Answered + Send + Sync;

/// A handler that runs on a pool of threads.
pub struct Threads {
    pool: ThreadPool,
    function: Arc<Function>,
    takes_context: bool,
}

impl Threads {
    pub(crate) fn new<F, Args>(threads: u16, function: F) -> io::Result<Self>
    where
        F: BlockingFn<Args> + Send + Sync + 'static,
    {
        if threads == 0 {
            let text = "a blocking worker needs at least one thread";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(usize::from(threads))
            .thread_name(|index| format!("chargehand-{index}"))
            .build()
            .map_err(io::Error::other)?;
        let function = Arc::new(move |request: &[u8], limits: &DecodeLimits, context| {
            let mut body = Vec::new();
            let verdict = match decode_request(request, limits) {
                Ok(request) => encode(function.call(request, context), &mut body),
                Err(text) => fail(&text, &mut body),
            };
            (verdict, body)
        });
        Ok(Self { pool, function, takes_context: F::TAKES_CONTEXT })
    }
}

impl Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl sealed::Sealed for Threads {}

impl Handler for Threads {
    type Future = OnThread;

    // A thread cannot be stopped. Were its room given away, a manager that cancels all it sends
    // could fill the pool's queue without end.
    const ENDS_WHEN_DROPPED: bool = false;

    fn start(
        &self,
        body: &[u8],
        limits: &DecodeLimits,
        origin: &mut Origin<'_>,
    ) -> Result<OnThread, String> {
        let context = self.takes_context.then(|| origin.context());
        let limits = *limits;
        let shared = Arc::new(Shared::default());
        let (function, body, result) =
            (Arc::clone(&self.function), copied(body), Arc::clone(&shared));
        #[cfg(feature = "tracing")]
        let span = tracing::Span::current();
        self.pool.spawn(move || {
            #[cfg(feature = "tracing")]
            let _entered = span.enter();
            let answer = caught(|| function(&body, &limits, context))
                .unwrap_or_else(|text| (Verdict::Failed, text.into()));
            *result.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            result.waker.wake();
        });
        Ok(OnThread(shared))
    }

    fn finish(&self, (verdict, answer): Answered, body: &mut Vec<u8>) -> Verdict {
        *body = answer;
        verdict
    }
}

#[derive(Debug, Default)]
struct Shared {
    answer: Mutex<Option<Answered>>,
    waker: AtomicWaker,
}

/// Completes with what the thread left.
#[derive(Debug)]
pub struct OnThread(Arc<Shared>);

impl Future for OnThread {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut core::task::Context<'_>) -> Poll<Answered> {
        self.0.waker.register(cx.waker());
        match self.0.answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}
