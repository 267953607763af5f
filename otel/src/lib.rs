//! Traces of [chargehand](https://docs.rs/chargehand)'s tasks in OpenTelemetry: from whoever submits a task, over each
//! of its attempts, to the handler that does it, on whichever machine.
//!
//! Give both ends an [`Otel`], record spans with `tracing-opentelemetry` as ever, and submit by
//! [`Pool::traced`](chargehand::Pool::traced):
//!
//! ```
//! # use chargehand::tokio::Tokio;
//! # use chargehand::tcp::TcpConnector;
//! use chargehand::{Pool, Worker};
//! use chargehand_otel::Otel;
//!
//! let worker = Worker::new(Tokio::new(), |height: u64| async move { Ok::<_, String>(height) }).propagate(Otel);
//! # let connector = TcpConnector::new(Tokio::new(), "127.0.0.1:9000")?;
//! let (pool, driver) = Pool::builder(Tokio::new()).connect(connector).propagate(Otel).build()?;
//! # let _ = async move {
//! let block: Result<u64, _> = pool.traced().call(&17_u64).await;
//! # };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `otel/examples/traces.rs` exports them by OTLP. Which spans there are, and their fields, is at
//! [`chargehand::traces`].

use chargehand::traces::{Propagate, TraceContext};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Spans that `tracing-opentelemetry` records, and contexts on the wire, as each other. Without its layer in the
/// subscriber there is no trace, and nothing goes over the wire.
///
/// Types of crates that are not yet 1.0 are behind it and not in its signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Otel;

impl Propagate for Otel {
    fn context_of(&self, span: &Span) -> Option<TraceContext> {
        let context = span.context();
        let spans = context.span();
        let it = spans.span_context();
        if !it.is_valid() {
            return None;
        }
        let (trace, parent) = (it.trace_id().to_bytes(), it.span_id().to_bytes());
        TraceContext::new(trace, parent, it.trace_flags().to_u8()).ok()
    }

    fn adopt(&self, span: &Span, parent: &TraceContext) {
        let context = SpanContext::new(
            TraceId::from_bytes(parent.trace_id()),
            SpanId::from_bytes(parent.parent_id()),
            TraceFlags::new(parent.flags()),
            true,
            TraceState::default(),
        );
        // Without the layer, or where the span is filtered out, there is nothing to belong to it.
        let _ = span.set_parent(Context::new().with_remote_span_context(context));
    }
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
