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

/// A Unix domain stream of smol.
pub type SmolUnixStream = SmolStream<UnixStream>;

/// Completes with the open stream.
pub type UnixDialling = Dialling<SmolUnixStream>;

/// Smol's dialler of Unix domain sockets, by the path of a socket file. On Unix only.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolUnix {
    options: SocketOptions,
}

impl SmolUnix {
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

/// A listener of smol on a Unix domain socket, on Unix only. `UnixSocket` of
/// `chargehand-transport-unix` makes the one of `std` that it is made from.
#[derive(Debug)]
pub struct SmolUnixListener {
    inner: Async<UnixListener>,
    options: SocketOptions,
}

impl SmolUnixListener {
    /// Takes over a listener that is bound already.
    ///
    /// # Errors
    /// Says what the system said when it refused to make the socket non-blocking, or to watch it.
    pub fn from_std(listener: UnixListener) -> io::Result<Self> {
        Ok(Self { inner: Async::new(listener)?, options: SocketOptions::new() })
    }

    /// Sets other options than the default ones for what is accepted, as [`SmolUnix`] does.
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }
}

impl Accept for SmolUnixListener {
    type Stream = SmolUnixStream;
    /// Says which process of which user it is, where the system does. That is nothing to count on.
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

/// Names whoever opened a connection.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn name(stream: &UnixStream) -> Box<str> {
    let Ok(credentials) = rustix::net::sockopt::socket_peercred(stream) else {
        return "a local process".into();
    };
    let (process, user) = (credentials.pid.as_raw_nonzero(), credentials.uid.as_raw());
    format!("local process {process} of user {user}").into()
}

/// The standard library does not tell.
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
    fn a_dialled_stream_reaches_the_listener_which_knows_the_process() {
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
