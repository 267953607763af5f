//! Unix domain sockets.

use std::future::{self, Ready};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::{Context, Poll, ready};

use chargehand_core::io::{Accept, Dial, Exposure};
use chargehand_core::net::SocketOptions;
use chargehand_sockets::{Dialling, check_reserve, explained};
use smol::Async;

use crate::stream::Socket;
use crate::{SmolStream, poll_accept};

/// A smol Unix domain stream.
pub type SmolUnixStream = SmolStream<UnixStream>;

/// Resolves to the connected stream.
pub type UnixDialling = Dialling<SmolUnixStream>;

/// Dials Unix domain sockets on smol, by the path of the socket file. On Unix only.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolUnix {
    options: SocketOptions,
}

impl SmolUnix {
    /// Returns a dialler with the default options.
    pub const fn new() -> Self {
        Self { options: SocketOptions::new() }
    }

    /// Sets the socket options. Only `descriptors_reserved` applies to Unix domain sockets: their peers are
    /// on the same machine, so there is nothing for keepalive probes to detect.
    #[must_use]
    pub const fn socket_options(self, options: SocketOptions) -> Self {
        Self { options }
    }
}

impl Dial for SmolUnix {
    type Stream = SmolUnixStream;
    type Error = io::Error;
    type Dialling = UnixDialling;

    fn dial(&self, path: &str) -> UnixDialling {
        let (path, options) = (path.to_owned(), self.options);
        Dialling::new(async move {
            let stream = Async::<UnixStream>::connect(path).await.map_err(explained)?;
            check_reserve(stream.get_ref(), &options)?;
            Ok(SmolStream::new(stream))
        })
    }

    fn exposure(&self, _path: &str) -> Exposure {
        Exposure::Local
    }
}

impl Socket for UnixStream {
    fn read_now(mut self: &Self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Listens on a Unix domain socket on smol. On Unix only. `UnixSocket` of `chargehand-transport-unix` creates
/// the `std` listener that it wraps.
#[derive(Debug)]
pub struct SmolUnixListener {
    inner: Async<UnixListener>,
    options: SocketOptions,
}

impl SmolUnixListener {
    /// Wraps a listener that is already bound.
    ///
    /// # Errors
    /// The system refused to make the socket non-blocking or to register it for events.
    pub fn from_std(listener: UnixListener) -> io::Result<Self> {
        Ok(Self { inner: Async::new(listener)?, options: SocketOptions::new() })
    }

    /// Sets the socket options of accepted connections: see [`SmolUnix::socket_options`].
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }
}

impl Accept for SmolUnixListener {
    type Stream = SmolUnixStream;
    /// Names the peer's process and user where the system tells. For information only: do not base
    /// decisions on it.
    type Peer = Box<str>;
    type Error = io::Error;
    type Opening = Ready<io::Result<Self::Stream>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Opening, Box<str>)>> {
        let (stream, _) = ready!(poll_accept(&self.inner, cx, UnixListener::accept))?;
        check_reserve(&stream, &self.options)?;
        let peer = name(&stream);
        let stream = SmolStream::new(Async::new(stream)?);
        Poll::Ready(Ok((future::ready(Ok(stream)), peer)))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// Describes the process that opened a connection.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn name(stream: &UnixStream) -> Box<str> {
    let Ok(credentials) = rustix::net::sockopt::socket_peercred(stream) else {
        return "a local process".into();
    };
    let (process, user) = (credentials.pid.as_raw_nonzero(), credentials.uid.as_raw());
    format!("local process {process} of user {user}").into()
}

/// The standard library does not say.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn name(_: &UnixStream) -> Box<str> {
    "a local process".into()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use smol::future::zip;
    use smol::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_dialled_stream_reaches_the_listener_which_names_the_process() {
        smol::block_on(async {
            let path = std::env::temp_dir().join(format!("chargehand-smol-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let mut listener =
                SmolUnixListener::from_std(UnixListener::bind(&path).unwrap()).unwrap();
            let path = path.to_str().unwrap();
            let dialling = SmolUnix::new().dial(path);
            let (dialled, accepted) = zip(dialling, poll_fn(|cx| listener.poll_accept(cx))).await;
            let mut dialled = dialled.unwrap();
            let (opening, peer) = accepted.unwrap();
            let mut accepted = opening.await.unwrap();
            if cfg!(any(target_os = "android", target_os = "linux")) {
                assert!(peer.contains(&std::process::id().to_string()), "{peer}");
            }
            dialled.write_all(b"hello").await.unwrap();
            dialled.close().await.unwrap();
            let mut read = Vec::new();
            accepted.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, b"hello");

            drop(listener);
            let error = SmolUnix::new().dial(path).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            std::fs::remove_file(path).unwrap();
        });
    }
}
