//! From a name to an open stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use chargehand_core::net::{Address, AddressError, SocketOptions, race};
use tokio::net::TcpStream;

use crate::{TokioStream, sockets};

/// Completes with the open stream.
pub struct Dialling(Pin<Box<dyn Future<Output = io::Result<TokioStream>> + Send>>);

pub(crate) fn dial(address: &str, options: SocketOptions) -> Dialling {
    let address = Address::to_dial(address);
    Dialling(Box::pin(async move {
        let address = address.map_err(invalid)?;
        let resolved = resolve(&address).await?;
        connect(&address, resolved, options).await
    }))
}

async fn connect(
    address: &Address,
    resolved: Vec<SocketAddr>,
    options: SocketOptions,
) -> io::Result<TokioStream> {
    let connect = async |address| TcpStream::connect(address).await.map_err(sockets::explained);
    let stream = race(address, resolved, connect, tokio::time::sleep).await?;
    sockets::prepare(&stream, &options)?;
    Ok(TokioStream::new(stream))
}

/// Returns all addresses of a name, or the one that is given.
pub(crate) async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    match tokio::net::lookup_host((address.host(), address.port())).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(address.unresolved(&error)),
    }
}

pub(crate) fn invalid(error: AddressError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl Future for Dialling {
    type Output = io::Result<TokioStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Dialling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialling").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
