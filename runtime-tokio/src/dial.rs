//! Resolving a name and connecting to it.

use std::io;
use std::net::SocketAddr;

use chargehand_core::net::{Address, SocketOptions, race};
use chargehand_sockets::{explained, prepare};
use tokio::net::TcpStream;

use crate::TokioStream;

pub(crate) async fn connect(
    address: &Address,
    resolved: Vec<SocketAddr>,
    options: SocketOptions,
) -> io::Result<TokioStream> {
    let connect = async |address| TcpStream::connect(address).await.map_err(explained);
    let stream = race(address, resolved, connect, tokio::time::sleep).await?;
    prepare(&stream, &options)?;
    Ok(TokioStream::new(stream))
}

/// Returns all addresses of a host name, or the address itself if one is given.
pub(crate) async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    match tokio::net::lookup_host((address.host(), address.port())).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(address.unresolved(&error)),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
