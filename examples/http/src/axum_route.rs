//! A route of axum for managers that dial a worker, beside whatever else the server has.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use chargehand::ws::Upgrader;
use tokio::net::TcpListener;

use crate::{Stream, enter};

/// Makes a service with the route `/work`, and a page of its own.
pub fn router(upgrader: Upgrader<Stream>) -> Router {
    Router::new()
        .route("/health", get(async || "well\n"))
        .route("/work", get(work).with_state(upgrader))
}

async fn work(
    State(upgrader): State<Upgrader<Stream>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    match upgrader.admit(&request) {
        Ok(upgrade) => {
            let response = upgrade.response();
            enter(upgrade, request, peer);
            response
        }
        Err(refused) => refused.response(),
    }
}

/// Serves the router on a listener, until it is dropped.
///
/// # Errors
/// Says what the system said of the listener.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    // Messages are batched before they get here.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
}
