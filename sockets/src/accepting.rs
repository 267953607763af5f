//! Accepting connections.

use std::io;
use std::task::{Poll, ready};

use crate::explained;

/// Polls a listener for its next connection, of any type. `poll` is the `accept` of the system or the runtime.
///
/// Errors that concern only a peer that has left the queue (`ECONNABORTED`), or a signal (`EINTR`), are
/// skipped, and the listener is polled again at once.
///
/// # Errors
/// Any other error of the system. If the file descriptors have run out, the text says what to do.
pub fn poll_accepted<T>(mut poll: impl FnMut() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    loop {
        match ready!(poll()) {
            Err(error) if is_passing(error.kind()) => {}
            result => return Poll::Ready(result.map_err(explained)),
        }
    }
}

fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_left_the_queue_are_skipped_and_other_errors_are_reported() {
        let mut queue = [
            Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            Poll::Ready(Ok(7)),
            Poll::Pending,
            Poll::Ready(Err(io::Error::from(io::ErrorKind::PermissionDenied))),
        ]
        .into_iter();
        let mut next = || poll_accepted(|| queue.next().expect("it is polled no more often"));
        assert!(matches!(next(), Poll::Ready(Ok(7))));
        assert!(next().is_pending());
        let Poll::Ready(Err(error)) = next() else { panic!("the error is reported") };
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
