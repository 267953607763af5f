//! What a listener is made from.

use std::io;
use std::os::unix::net::UnixListener as StdListener;

use crate::address::{name, path_of};
use crate::file::claim;
use crate::transport::UnixListener;

/// A path to listen on, and who may connect to it.
#[derive(Clone, Debug)]
#[must_use = "it listens once `listen` is called"]
pub struct UnixSocket {
    address: Box<str>,
    mode: u32,
}

impl UnixSocket {
    /// Prepares to listen on `address`, which is `unix:///path`, or a path with a slash in it, of at most
    /// [`PATH_BYTES_MAX`](crate::PATH_BYTES_MAX) bytes. The directory must be there.
    pub fn new(address: &str) -> Self {
        Self { address: address.into(), mode: 0o600 }
    }

    /// Sets the file's permission bits, at most `0o777`. To connect takes the permission to write.
    /// Default `0o600`: nobody but this process's user. The umask does not change them, and nobody gets
    /// in before they are set.
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Listens. `from_std` makes a runtime's listener: `TokioUnixListener::from_std`, say.
    ///
    /// A socket file that is there is connected to. If a program answers, it keeps its place; it sees a
    /// connection that ends at once. If nobody does, the file is replaced. Of several processes that do
    /// this at the same time one gets the path: each holds a lock on the directory (`flock`) for that
    /// long, and waits at most 2 s for another. It blocks for as long.
    ///
    /// # Errors
    /// Names the path, and says what to do: where it cannot be meant or is too long (`InvalidInput`),
    /// somebody listens already (`AddrInUse`), something else than a socket is there (`AlreadyExists`),
    /// or the system refuses.
    pub fn listen<A>(
        self,
        from_std: impl FnOnce(StdListener) -> io::Result<A>,
    ) -> io::Result<UnixListener<A>> {
        let invalid = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let path = path_of(&self.address).map_err(|error| invalid(error.to_string()))?;
        let at_path = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", name(path)))
        };
        if self.mode > 0o777 {
            return Err(at_path(invalid(format!("the mode {:#o} is above 0o777", self.mode))));
        }
        let (listener, file) = claim(path, self.mode).map_err(at_path)?;
        let accept = from_std(listener).map_err(at_path)?;
        Ok(UnixListener::new(accept, file))
    }
}
