//! The next connection of a listener.

use std::io;
use std::task::{Poll, ready};

use crate::explained;

/// Polls a listener for its next connection, whatever type that is of: `poll` is the system's or the
/// runtime's own `accept`.
///
/// A peer that left the queue before its turn, or a signal, is no failure, so it is polled again at once.
///
/// # Errors
/// What else the system says, with the remedy where the file descriptors have run out.
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
    fn peers_that_left_the_queue_are_passed_over_and_other_errors_are_told() {
        let mut queue = [
            Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            Poll::Ready(Ok(7)),
            Poll::Pending,
            Poll::Ready(Err(io::Error::from(io::ErrorKind::PermissionDenied))),
        ]
        .into_iter();
        let mut next = || poll_accepted(|| queue.next().expect("no more is asked for"));
        assert!(matches!(next(), Poll::Ready(Ok(7))));
        assert!(next().is_pending());
        let Poll::Ready(Err(error)) = next() else { panic!("it is told") };
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
