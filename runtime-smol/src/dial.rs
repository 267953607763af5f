//! Resolving a name and connecting to it.

use std::io;
use std::net::{SocketAddr, TcpStream};

use chargehand_core::net::{Address, SocketOptions, race};
use chargehand_sockets::{explained, prepare};
use smol::{Async, Timer};

use crate::SmolStream;

pub(crate) async fn connect(
    address: &Address,
    resolved: Vec<SocketAddr>,
    options: SocketOptions,
) -> io::Result<SmolStream> {
    let connect = async |address| Async::<TcpStream>::connect(address).await.map_err(explained);
    let stream = race(address, resolved, connect, Timer::after).await?;
    prepare(stream.get_ref(), &options)?;
    Ok(SmolStream::new(stream))
}

/// Returns all addresses of a host name, or the address itself if one is given.
pub(crate) async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    let resolved = smol::net::resolve((address.host(), address.port())).await;
    resolved.map_err(|error| address.unresolved(&error))
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
