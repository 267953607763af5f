//! Links without TLS between peers that share a key: over a serial line, plain TCP, or behind a proxy that
//! ends TLS.
//!
//! Each member has a key of 32 random bytes (`openssl rand -hex 32`), and so have those that it works with.
//! Wrap what dials in a [`KeyedConnector`], and what listens in a [`KeyedListener`]: before anything else
//! both sides prove their key and their name, and then everything is encrypted. A peer without the key is
//! told so and never taken, and nothing is ever sent in the clear instead.
//!
//! ```
//! # async fn f<T: chargehand::core::io::Timer + Clone>(timer: T) -> Result<(), chargehand::BoxError> {
//! use chargehand::keyed::{SharedKey, KeyedConnector, KeyedListener, Keys};
//! use chargehand::{Pool, Worker};
//!
//! let key = SharedKey::from_hex("8f0d5a1be0b1c2a06bd9b5d0f47c2d6a35f9c1e7408d2b3c6a5e4f7081920a3b")?;
//! # let (connector, listener) = chargehand::memory::pair(8);
//!
//! // The manager admits whoever has a key on its list, and knows it by that key's name.
//! let keys = Keys::new().with("w1", key.clone())?;
//! let listener = KeyedListener::manager(listener, "blocks", keys)?;
//! let (pool, driver) = Pool::local_builder(timer.clone()).name("blocks").accept(listener).build()?;
//!
//! // The worker talks only to a manager that has its key.
//! let connector = KeyedConnector::worker(connector, "w1", key)?;
//! let worker = Worker::new(timer, |n: u64| async move { Ok::<_, String>(n + 1) }).name("w1");
//! # let ask = async {
//! #     assert_eq!(pool.call::<u64, _>(&1_u64).await?, 2);
//! #     pool.stop().await?;
//! #     Ok(())
//! # };
//! # let work = async { let _ = futures_util::future::select(Box::pin(worker.dial(connector)), driver).await; };
//! # futures_util::future::join(work, ask).await.1
//! # }
//! # smol::block_on(f(chargehand::smol::Smol::new())).unwrap();
//! ```
//!
//! The bytes are on the page `docs/PROTOCOL.md` of the repository, and
//! [`core::keyed`](chargehand_core::keyed) does the same by hand where there is no heap.
//!
//! # Changing keys
//!
//! A name may have several keys at once in [`Keys`], and these can be changed while they are used: add the new
//! one, give it to the member, and remove the old one. Links that are up stay up until the key is removed that
//! they were let in by, and end within some five seconds then: so does that of whoever has stolen one.
//!
//! # What it does not do
//!
//! Whoever gets hold of a key can read what was recorded of that member's links before, and play both
//! sides of them. TLS forgets its keys with each link: prefer it where both ends have it. Names, and
//! how long messages are and when they leave, can be seen on the way.
//!
//! Without encryption ([`unsealed`](KeyedConnector::unsealed)) the proof covers names, roles, and both
//! Hellos with all that is in them. After that, anybody who can write to the line can inject messages.

mod error;
mod exchange;
mod keys;
mod me;
mod wire;

#[cfg(test)]
mod tests;

use core::task::{Context, Poll};

use chargehand_core::io::{Connect, Exposure, Listen, Wire};
use chargehand_core::keyed::{ExchangeError, NONCE_BYTES};
use chargehand_core::message::Role;

use self::exchange::{Side, Start};
use self::me::Me;
use crate::link::reason::BoxError;

pub use self::error::KeyedError;
pub use self::exchange::Exchanging;
#[cfg(feature = "std")]
pub use self::keys::read_key;
pub use self::keys::{Keys, KeysError};
pub use self::wire::KeyedWire;
#[doc(no_inline)]
pub use chargehand_core::keyed::{KeyError, KeyId, SharedKey};

/// A [`Connect`] whose wires lead to a peer that has the same key, and to nobody else.
#[derive(Clone, Debug)]
pub struct KeyedConnector<C> {
    inner: C,
    me: Me,
    key: SharedKey,
}

/// A [`Listen`] whose wires come from peers that have one of the [`Keys`], and from nobody else.
#[derive(Clone, Debug)]
pub struct KeyedListener<L> {
    inner: L,
    me: Me,
    keys: Keys,
}

/// Makes the constructors and setters of both wrappers, which differ in what they know of keys.
macro_rules! wrapper {
    ($type:ident, $inner:ident, $keys:ident: $Keys:ty) => {
        impl<$inner> $type<$inner> {
            /// Wraps what a worker has: it is `name` to its managers, which [`Worker::name`](crate::Worker::name)
            /// should say, too.
            ///
            /// # Errors
            /// Returns [`ExchangeError::BadName`] for a name that is not of 1 to 64 bytes or has a control
            /// character: choose another.
            #[cfg(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown"))))]
            pub fn worker(inner: $inner, name: &str, $keys: $Keys) -> Result<Self, ExchangeError> {
                Self::new(inner, Role::Worker, name, $keys, system_nonce)
            }

            /// Wraps what a manager has: it is `name` to its workers, which [`Builder::name`](crate::Builder::name)
            /// should say, too.
            ///
            /// # Errors
            /// As [`worker`](Self::worker).
            #[cfg(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown"))))]
            pub fn manager(inner: $inner, name: &str, $keys: $Keys) -> Result<Self, ExchangeError> {
                Self::new(inner, Role::Manager, name, $keys, system_nonce)
            }

            /// Wraps what either has, with a source of nonces of your own: for targets where the system has
            /// none. It is asked once for each link, and must never return the same twice: see
            /// [`core::keyed`](chargehand_core::keyed#nonces).
            ///
            /// # Errors
            /// Returns [`ExchangeError::BadName`] for a name that is not of 1 to 64 bytes or has a control
            /// character: choose another.
            pub fn new(
                inner: $inner,
                role: Role,
                name: &str,
                $keys: $Keys,
                nonces: impl Fn() -> Result<[u8; NONCE_BYTES], BoxError> + Send + Sync + 'static,
            ) -> Result<Self, ExchangeError> {
                Ok(Self { inner, me: Me::new(role, name, nonces)?, $keys })
            }

            /// Proves names and keys and encrypts nothing: for a peer that cannot. Both sides must be set
            /// up alike. Whoever sits in between can read, and change, what is sent, so this alone is no
            /// protection for links that leave the machine. Default: everything is encrypted.
            #[must_use]
            pub fn unsealed(mut self) -> Self {
                self.me.seals = false;
                self
            }
        }
    };
}

wrapper!(KeyedConnector, C, key: SharedKey);
wrapper!(KeyedListener, L, keys: Keys);

#[cfg(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown"))))]
fn system_nonce() -> Result<[u8; NONCE_BYTES], BoxError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)
        .map_err(|error| format!("the system has no random numbers: {error}"))?;
    Ok(nonce)
}

impl<C> Connect for KeyedConnector<C>
where
    C: Connect<Wire: Wire<Error: Into<BoxError>>, Error: Into<BoxError>>,
{
    type Wire = KeyedWire<C::Wire>;
    type Error = KeyedError;
    type Connecting = Exchanging<C::Connecting, C::Wire>;

    fn connect(&mut self) -> Self::Connecting {
        Exchanging::new(self.inner.connect(), Start::new(&self.me, Side::Opens(self.key.clone())))
    }

    fn peer(&self) -> &str {
        self.inner.peer()
    }

    fn exposure(&self) -> Exposure {
        self.me.exposure(self.inner.exposure())
    }
}

impl<L> Listen for KeyedListener<L>
where
    L: Listen<Wire: Wire<Error: Into<BoxError>>, Error: Into<BoxError>>,
{
    type Wire = KeyedWire<L::Wire>;
    type Error = KeyedError;
    type Accepting = Exchanging<L::Accepting, L::Wire>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, KeyedError>> {
        self.inner.poll_accept(cx).map(|accepted| match accepted {
            Ok(accepting) => {
                let start = Start::new(&self.me, Side::Answers(self.keys.clone()));
                Ok(Exchanging::new(accepting, start))
            }
            Err(error) => Err(KeyedError::Transport(error.into())),
        })
    }

    fn set_full(&mut self, is_full: bool) {
        self.inner.set_full(is_full);
    }

    fn connections_max(&self) -> Option<usize> {
        self.inner.connections_max()
    }

    fn accepted_host(&self) -> Option<&str> {
        self.inner.accepted_host()
    }

    fn exposure(&self) -> Exposure {
        self.me.exposure(self.inner.exposure())
    }
}
