//! Traces by OTLP over HTTP, from a manager and a worker that are two processes, here one program:
//!
//! ```sh
//! cargo run -p chargehand-otel --example traces -- http://127.0.0.1:4318/v1/traces
//! ```

use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool, Worker};
use chargehand_otel::Otel;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;

/// One of the clients that there are for this; the crate has features for others.
#[derive(Debug)]
struct Ureq;

#[async_trait::async_trait]
impl HttpClient for Ureq {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = ureq::run(Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = answer.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).ok_or("give the URL of a receiver")?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Ureq)
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(endpoint)
        .build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("blocks"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    let listener = Tokio::bind("127.0.0.1:0").await?;
    let connector = TcpConnector::new(Tokio::new(), &listener.local_addr()?.to_string())?;
    let fetch = |height: u64| async move {
        if height == 13 { Err(Failure::permanent("no such block")) } else { Ok(height * 2) }
    };
    let worker = Worker::new(Tokio::new(), fetch).propagate(Otel);
    tokio::spawn(worker.serve(TcpListener::new(listener)));
    let (pool, driver) = Pool::builder(Tokio::new()).connect(connector).propagate(Otel).build()?;
    let driver = tokio::spawn(driver);
    for height in [12, 13_u64] {
        println!("{height}: {:?}", pool.traced().call::<u64, _>(&height).await);
    }
    pool.stop().await?;
    driver.await?;
    provider.shutdown()?;
    Ok(())
}
