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

/// A Unix domain stream of tokio with the `futures_io` traits.
pub type TokioUnixStream = TokioStream<UnixStream>;

/// Completes with the open stream.
pub type UnixDialling = Dialling<TokioUnixStream>;

/// Tokio's dialler of Unix domain sockets, by the path of a socket file. On Unix only.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioUnix {
    options: SocketOptions,
}

impl TokioUnix {
    /// Makes a dialler.
    pub const fn new() -> Self {
        Self { options: SocketOptions::new() }
    }

    /// Sets other options than the default ones. Of these, `descriptors_reserved` is meant for Unix
    /// domain sockets as well: their peers do not vanish.
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

/// A listener of tokio on a Unix domain socket, on Unix only. `UnixSocket` of
/// `chargehand-transport-unix` makes the one of `std` that it is made from.
#[derive(Debug)]
pub struct TokioUnixListener {
    inner: UnixListener,
    options: SocketOptions,
}

impl TokioUnixListener {
    /// Takes over a listener that is bound already.
    ///
    /// # Errors
    /// Says what the system said when it refused to make the socket non-blocking, or to watch it.
    pub fn from_std(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { inner: UnixListener::from_std(listener)?, options: SocketOptions::new() })
    }

    /// Sets other options than the default ones for what is accepted, as [`TokioUnix`] does.
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }
}

impl Accept for TokioUnixListener {
    type Stream = TokioUnixStream;
    /// Says which process of which user it is, where the system does. That is nothing to count on.
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

/// Names whoever opened a connection.
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
    async fn a_dialled_stream_reaches_the_listener_which_knows_the_process() {
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
