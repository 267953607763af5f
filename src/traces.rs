//! Traces: spans of tasks, their attempts and their handlers, and the context of a trace on its way to a worker.
//!
//! [`Pool::traced`](crate::Pool::traced) begins a trace, or goes on with the one that is current. What is done by its
//! handle is one span, `submit`; each attempt of its tasks is a span `attempt` in that; and at the worker the handler
//! runs in a span `handle`. All of them are spans of the crate `tracing`, whose subscriber decides what becomes of them.
//!
//! That the span of a handler elsewhere belongs to the attempt here is said by W3C's
//! [trace context](https://www.w3.org/TR/trace-context/), which goes along with a request where the pool
//! ([`Builder::propagate`](crate::Builder::propagate)) and the worker
//! ([`Worker::propagate`](crate::Worker::propagate)) each have a [`Propagate`], and not otherwise. The crate
//! `chargehand-otel` has one for OpenTelemetry.
//!
//! | span | fields | kind |
//! |---|---|---|
//! | `submit` | `manager` | producer |
//! | `attempt` | `task`, `height`, `attempt`, `peer`, `outcome`, `error.type` | client |
//! | `handle` | `attempt`, `manager`, `worker`, `outcome`, `error.type` | server |
//!
//! The fields `otel.kind` and `otel.status_code` are what `tracing-opentelemetry` reads. `outcome` is `done`, or what
//! the attempt ended by; then `error.type` is the same, by OpenTelemetry's stable conventions. Those of RPC and
//! messaging are not stable in what concerns these, and left out.

use alloc::sync::Arc;
use core::fmt;

use chargehand_core::Verdict;
use tracing::field::Empty;
use tracing::{Span, info_span};

pub use chargehand_core::message::{NoTraceContext, TraceContext};

/// The one target of all spans and events.
const TARGET: &str = "chargehand";

/// How spans of `tracing` and contexts on the wire become each other.
///
/// Types of `tracing` are in its signatures though that is not yet 1.0: spans are what this is about, and whoever
/// records them has the same version.
pub trait Propagate: Send + Sync {
    /// Returns the context of a span, if it is recorded and belongs to a trace.
    fn context_of(&self, span: &Span) -> Option<TraceContext>;

    /// Makes a span that was not entered yet the child of one elsewhere.
    fn adopt(&self, span: &Span, parent: &TraceContext);
}

/// A [`Propagate`] of somebody's.
#[derive(Clone)]
pub(crate) struct Propagator(pub(crate) Arc<dyn Propagate>);

impl fmt::Debug for Propagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Propagator")
    }
}

/// What a handler's attempt has of a trace.
#[doc(hidden)]
#[derive(Debug)]
pub struct Traced {
    pub(crate) context: Option<TraceContext>,
    /// In which its handler runs.
    pub(crate) span: Span,
}

impl Traced {
    /// Makes that of an attempt elsewhere, whose context came with it.
    pub(crate) fn remote(
        propagator: &Propagator,
        context: TraceContext,
        attempt: u16,
        (manager, worker): (&str, &str),
    ) -> Self {
        let span = info_span!(
            target: TARGET,
            parent: None,
            "handle",
            otel.kind = "server",
            otel.status_code = Empty,
            error.r#type = Empty,
            attempt,
            manager,
            worker,
            outcome = Empty
        );
        propagator.0.adopt(&span, &context);
        Self { context: Some(context), span }
    }

    /// Makes that of an attempt in the pool's own process.
    pub(crate) fn local(parent: &Span, context: Option<TraceContext>, attempt: u16) -> Self {
        let span = info_span!(
            target: TARGET,
            parent: parent,
            "handle",
            otel.kind = "internal",
            otel.status_code = Empty,
            error.r#type = Empty,
            attempt,
            outcome = Empty
        );
        Self { context, span }
    }

    /// Notes how the handler ended.
    pub(crate) fn end(&self, verdict: Verdict) {
        end(
            &self.span,
            match verdict {
                Verdict::Done => "done",
                Verdict::Failed => "failed",
                Verdict::Returned => "returned",
            },
        );
    }
}

/// Notes how what a span is of ended.
pub(crate) fn end(span: &Span, outcome: &str) {
    span.record("outcome", outcome);
    if outcome == "done" {
        span.record("otel.status_code", "OK");
    } else {
        span.record("otel.status_code", "ERROR").record("error.type", outcome);
    }
}

/// Begins the span of what is submitted.
pub(crate) fn submit() -> Span {
    info_span!(target: TARGET, "submit", otel.kind = "producer")
}

/// Begins the span of an attempt.
pub(crate) fn attempt(
    parent: &Span,
    task: &str,
    height: Option<i128>,
    attempt: u16,
    peer: &str,
) -> Span {
    let height = height.map(|height| alloc::format!("{height}"));
    info_span!(
        target: TARGET,
        parent: parent,
        "attempt",
        otel.kind = "client",
        otel.status_code = Empty,
        error.r#type = Empty,
        task,
        height,
        attempt,
        peer,
        outcome = Empty
    )
}
