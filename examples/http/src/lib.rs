//! Workers and managers behind a route of another HTTP server.
//!
//! `axum_route` has a worker's route in axum, `hyper_route` a manager's in hyper alone; the programs of
//! the same names run them, do some work and end.

pub mod axum_route;
pub mod hyper_route;

use std::fmt::Display;

use chargehand::ws::Upgrade;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// An upgraded connection of hyper's with the traits of `futures_io`. It gives first what came with the
/// request.
pub type Stream = Compat<TokioIo<Upgraded>>;

/// Hands the connection of `request` on, once the response has left.
pub fn enter<B: Send + 'static>(
    upgrade: Upgrade<Stream>,
    request: hyper::Request<B>,
    peer: impl Display + Send + 'static,
) {
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(stream) => upgrade.enter(TokioIo::new(stream).compat(), peer),
            Err(error) => eprintln!("{peer} was not upgraded: {error}"),
        }
    });
}
