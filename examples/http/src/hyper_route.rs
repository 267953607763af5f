//! A route of hyper's for workers that dial in to a manager.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use chargehand::ws::Upgrader;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::{Stream, enter};

/// Responds to a request for `/join`, and to any other.
fn respond(
    upgrader: &Upgrader<Stream>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.uri().path() != "/join" {
        let mut response = Response::new(Full::from("workers join at /join\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    match upgrader.admit(&request) {
        Ok(upgrade) => {
            let response = upgrade.response();
            enter(upgrade, request, peer);
            response
        }
        Err(refused) => refused.response(),
    }
}

async fn serve_one(stream: TcpStream, peer: SocketAddr, upgrader: Upgrader<Stream>) {
    // Messages are batched before they get here.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let response = respond(&upgrader, peer, request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        eprintln!("{peer}: {error}");
    }
}

/// Serves the route on a listener, until it is dropped.
///
/// # Errors
/// Says what the system said of the listener.
pub async fn serve(listener: TcpListener, upgrader: Upgrader<Stream>) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(serve_one(stream, peer, upgrader.clone()));
    }
}
