//! A name may have several addresses, and any of them may be dead.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::Address;

/// How long an address has for itself before the next one is tried beside it (RFC 8305, section 5).
pub const STAGGER: Duration = Duration::from_millis(250);

/// How many reasons an error tells.
const REASONS_MAX: usize = 8;

/// Returns the addresses in the order in which to try them, each once: in the resolver's, but with the
/// two families in turn, beginning with that of its first (RFC 8305, section 4).
pub fn alternating(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut rest: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !rest.contains(&address) {
            rest.push(address);
        }
    }
    let mut ordered: Vec<SocketAddr> = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let last_is_v4 = ordered.last().map(SocketAddr::is_ipv4);
        let other = rest.iter().position(|address| last_is_v4 != Some(address.is_ipv4()));
        ordered.push(rest.remove(other.unwrap_or(0)));
    }
    ordered
}

/// Returns the first connection to any of the addresses that `address` was resolved to.
///
/// They are tried in the order of [`alternating`]: each as soon as the one before has failed, and
/// beside it [`STAGGER`] after it was begun. The first that succeeds wins, and the others are dropped.
/// There is no deadline: whoever polls this has one. `sleep` is the runtime's.
///
/// # Errors
/// Says for each address why it cannot be reached, once none is left.
pub async fn race<T, E, F: Future<Output = Result<T, E>>, S: Future>(
    address: &Address,
    resolved: impl IntoIterator<Item = SocketAddr>,
    mut connect: impl FnMut(SocketAddr) -> F,
    mut sleep: impl FnMut(Duration) -> S,
) -> Result<T, Unreachable<E>> {
    let mut waiting = alternating(resolved).into_iter().peekable();
    let mut under_way: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut failed = Vec::new();
    let mut pause: Option<Pin<Box<S>>> = None;
    let winner = poll_fn(|cx| {
        loop {
            let failed_before = failed.len();
            if let Some(won) = poll_all(cx, &mut under_way, &mut failed) {
                return Poll::Ready(Some(won));
            }
            let is_over = pause.as_mut().is_none_or(|pause| pause.as_mut().poll(cx).is_ready());
            let is_next_due = is_over || failed.len() > failed_before || under_way.is_empty();
            match waiting.next_if(|_| is_next_due) {
                Some(next) => {
                    under_way.push((next, Box::pin(connect(next))));
                    pause = waiting.peek().is_some().then(|| Box::pin(sleep(STAGGER)));
                }
                None if under_way.is_empty() => return Poll::Ready(None),
                None => return Poll::Pending,
            }
        }
    });
    let won = winner.await;
    won.ok_or_else(|| Unreachable { is_literal: address.is_literal(), failed })
}

/// Polls what is under way, and moves what has failed; returns the first success.
fn poll_all<T, E, F: Future<Output = Result<T, E>>>(
    cx: &mut Context<'_>,
    under_way: &mut Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: &mut Vec<(SocketAddr, E)>,
) -> Option<T> {
    let mut index = 0;
    while let Some((address, attempt)) = under_way.get_mut(index) {
        match attempt.as_mut().poll(cx) {
            Poll::Ready(Ok(won)) => return Some(won),
            Poll::Ready(Err(error)) => {
                failed.push((*address, error));
                under_way.remove(index);
            }
            Poll::Pending => index += 1,
        }
    }
    None
}

/// None of the addresses of a name can be reached. The text has each with its reason.
#[derive(Debug)]
pub struct Unreachable<E> {
    /// Whether the address was given as such, so that its name is told by whoever gave it.
    is_literal: bool,
    failed: Vec<(SocketAddr, E)>,
}

impl<E> Unreachable<E> {
    /// Returns each address, in the order in which they failed, with its reason.
    pub fn reasons(&self) -> &[(SocketAddr, E)] {
        &self.failed
    }
}

impl<E: fmt::Display> fmt::Display for Unreachable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failed[..] {
            [] => return f.write_str("the name has no address"),
            [(_, reason)] if self.is_literal => return reason.fmt(f),
            [(address, reason)] => return write!(f, "at {address}: {reason}"),
            all => write!(f, "none of its {} addresses can be reached", all.len())?,
        }
        for (index, (address, reason)) in self.failed.iter().take(REASONS_MAX).enumerate() {
            write!(f, "{} {address}: {reason}", if index == 0 { ":" } else { ";" })?;
        }
        if self.failed.len() > REASONS_MAX { f.write_str("; and so on") } else { Ok(()) }
    }
}

impl<E: core::error::Error> core::error::Error for Unreachable<E> {}

#[cfg(feature = "std")]
impl From<Unreachable<std::io::Error>> for std::io::Error {
    /// Keeps the kind where all reasons are of one.
    fn from(unreachable: Unreachable<std::io::Error>) -> Self {
        use std::io::ErrorKind;

        let mut kinds = unreachable.failed.iter().map(|(_, reason)| reason.kind());
        let kind = match kinds.next() {
            None => ErrorKind::NotFound,
            Some(first) if kinds.all(|kind| kind == first) => first,
            Some(_) => ErrorKind::Other,
        };
        Self::new(kind, unreachable)
    }
}

#[cfg(test)]
mod tests;
