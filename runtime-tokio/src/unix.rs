//! Unix domain sockets.

use std::future::{self, Ready};
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::task::{Context, Poll, ready};

use chargehand_core::io::{Accept, Dial, Exposure};
use chargehand_core::net::SocketOptions;
use chargehand_sockets::{Dialling, check_reserve, explained, poll_accepted};
use tokio::net::{UnixListener, UnixStream};

use crate::TokioStream;

/// A tokio Unix domain stream with the `futures_io` traits.
pub type TokioUnixStream = TokioStream<UnixStream>;

/// Resolves to the connected stream.
pub type UnixDialling = Dialling<TokioUnixStream>;

/// Dials Unix domain sockets on tokio, by the path of the socket file. On Unix only.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioUnix {
    options: SocketOptions,
}

impl TokioUnix {
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

impl Dial for TokioUnix {
    type Stream = TokioUnixStream;
    type Error = io::Error;
    type Dialling = UnixDialling;

    fn dial(&self, path: &str) -> UnixDialling {
        let (path, options) = (path.to_owned(), self.options);
        Dialling::new(async move {
            let stream = UnixStream::connect(path).await.map_err(explained)?;
            check_reserve(&stream, &options)?;
            Ok(TokioStream::new(stream))
        })
    }

    fn exposure(&self, _path: &str) -> Exposure {
        Exposure::Local
    }
}

/// Listens on a Unix domain socket on tokio. On Unix only. `UnixSocket` of `chargehand-transport-unix` creates
/// the `std` listener that it wraps.
#[derive(Debug)]
pub struct TokioUnixListener {
    inner: UnixListener,
    options: SocketOptions,
}

impl TokioUnixListener {
    /// Wraps a listener that is already bound.
    ///
    /// # Errors
    /// The system refused to make the socket non-blocking or to register it for events.
    pub fn from_std(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { inner: UnixListener::from_std(listener)?, options: SocketOptions::new() })
    }

    /// Sets the socket options of accepted connections: see [`TokioUnix::socket_options`].
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }
}

impl Accept for TokioUnixListener {
    type Stream = TokioUnixStream;
    /// Names the peer's process and user where the system tells. For information only: do not base
    /// decisions on it.
    type Peer = Box<str>;
    type Error = io::Error;
    type Opening = Ready<io::Result<Self::Stream>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Opening, Box<str>)>> {
        let (stream, _) = ready!(poll_accepted(|| self.inner.poll_accept(cx)))?;
        check_reserve(&stream, &self.options)?;
        let peer = name(&stream);
        Poll::Ready(Ok((future::ready(Ok(TokioStream::new(stream))), peer)))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// Describes the process that opened a connection.
fn name(stream: &UnixStream) -> Box<str> {
    let Ok(credentials) = stream.peer_cred() else { return "a local process".into() };
    let user = credentials.uid();
    match credentials.pid() {
        Some(process) => format!("local process {process} of user {user}").into(),
        None => format!("a local process of user {user}").into(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_dialled_stream_reaches_the_listener_which_names_the_process() {
        let path = std::env::temp_dir().join(format!("chargehand-tokio-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut listener = TokioUnixListener::from_std(StdListener::bind(&path).unwrap()).unwrap();
        let dialling = TokioUnix::new().dial(path.to_str().unwrap());
        let (dialled, accepted) = tokio::join!(dialling, poll_fn(|cx| listener.poll_accept(cx)));
        let mut dialled = dialled.unwrap().into_inner();
        let (opening, peer) = accepted.unwrap();
        let mut accepted = opening.await.unwrap().into_inner();
        if cfg!(any(target_os = "android", target_os = "linux")) {
            assert!(peer.contains(&std::process::id().to_string()), "{peer}");
        }
        dialled.write_all(b"hello").await.unwrap();
        dialled.shutdown().await.unwrap();
        let mut read = Vec::new();
        accepted.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"hello");

        drop(listener);
        let path = path.to_str().unwrap();
        let error = TokioUnix::new().dial(path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(path).unwrap();
    }
}
