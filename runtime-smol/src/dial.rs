//! From a name to an open stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use chargehand_core::net::{Address, AddressError, SocketOptions, race};
use smol::{Async, Timer};

use crate::{SmolStream, sockets};

/// Completes with the open stream.
pub struct Dialling(Pin<Box<dyn Future<Output = io::Result<SmolStream>> + Send>>);

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
) -> io::Result<SmolStream> {
    let connect =
        async |address| Async::<TcpStream>::connect(address).await.map_err(sockets::explained);
    let stream = race(address, resolved, connect, Timer::after).await?;
    sockets::prepare(stream.get_ref(), &options)?;
    Ok(SmolStream::new(stream))
}

/// Returns all addresses of a name, or the one that is given.
pub(crate) async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    let resolved = smol::net::resolve((address.host(), address.port())).await;
    resolved.map_err(|error| address.unresolved(&error))
}

pub(crate) fn invalid(error: AddressError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl Future for Dialling {
    type Output = io::Result<SmolStream>;

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
