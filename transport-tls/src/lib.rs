//! TLS below any transport of chargehand, by [rustls], over any byte stream with the `futures_io` traits.
//!
//! [`TlsDial`] makes a [`Dial`] of any other, and [`TlsAccept`] an [`Accept`]: so TCP and WebSocket, tokio,
//! smol and a runtime of your own have TLS alike. The transport above takes `tls://` for TCP and `wss://` for
//! WebSocket then, and nothing else, as it takes neither over a plain stream: TLS is never left out by
//! mistake, and nothing falls back to plain bytes.
//!
//! The configurations are rustls' own, and go in as they are. No crypto provider is installed for the
//! process.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use chargehand_runtime_smol::Smol;
//! use chargehand_transport_tcp::TcpConnector;
//! use chargehand_transport_tls::TlsDial;
//! use rustls::{ClientConfig, RootCertStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut roots = RootCertStore::empty();
//! // roots.add(..)?, or take a platform's own.
//! let provider = Arc::new(rustls::crypto::ring::default_provider());
//! let config = ClientConfig::builder_with_provider(provider)
//!     .with_protocol_versions(&[&rustls::version::TLS13])?
//!     .with_root_certificates(roots)
//!     .with_no_client_auth();
//! let dial = TlsDial::new(Smol::new(), Arc::new(config));
//! let connector = TcpConnector::new(dial, "tls://worker-1.example.org:9000")?;
//! # Ok(())
//! # }
//! ```
//!
//! # A pool's own members
//!
//! With the feature `members`, the module of that name makes an authority for a pool, and one *join file* for
//! each member: all that this needs to prove who it is and to know the others. There is no other
//! infrastructure to run.
//!
//! # What holds in the handshake
//!
//! - It has no deadline of its own: the caller who polls it does, and drops it. A transport awaits it beside others.
//! - The name that was dialled is the one that a certificate is checked for, and that goes to the server
//!   (SNI), unless [`TlsDial::server_name`] sets another.
//! - Sessions are resumed as the configurations say, which by default they are. Keep one configuration for
//!   all that dials: the tickets are in it.
//! - Who is refused hears why, where TLS has a word for it.
//!
//! # What holds afterwards
//!
//! The end of a connection is told from its truncation ([`TlsError::Truncated`]). Data sent before the
//! handshake is done (0-RTT) is never sent nor read, and TLS 1.3 knows no renegotiation.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod configured;
mod day;
mod dial;
mod error;
mod handshake;
mod names;
mod opening;
mod rules;
mod stream;

#[cfg(feature = "members")]
pub mod members;

pub use rustls;

pub use crate::accept::TlsAccept;
pub use crate::dial::TlsDial;
pub use crate::error::TlsError;
pub use crate::names::certificate_name;
pub use crate::opening::Opening;
pub use crate::stream::TlsStream;

/// Any error that a runtime's `Dial` or `Accept` gives.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(doc)]
use chargehand_core::io::{Accept, Dial};

#[cfg(test)]
mod testing;
