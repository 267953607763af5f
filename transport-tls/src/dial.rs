//! The dialling end.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use chargehand_core::io::{Dial, Exposure, Trust};
use chargehand_core::net::Address;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState};

use crate::configured::Configured;
use crate::opening::{Opening, Start};
use crate::rules::Rules;
use crate::{BoxError, TlsError, TlsStream};

/// Opens streams over TLS: a [`Dial`] over any other.
#[derive(Clone)]
pub struct TlsDial<D> {
    dial: D,
    config: Configured<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    rules: Rules,
    /// Whether certificates are those of members, who are known by their names wherever they are dialled.
    knows_members: bool,
}

impl<D> TlsDial<D> {
    /// Makes a dialler over another. Share one `config` among all: it keeps the tickets that make
    /// reconnects cheap.
    pub fn new(dial: D, config: Arc<ClientConfig>) -> Self {
        let config = Configured::Fixed(config);
        Self { dial, config, server_name: None, rules: Rules::default(), knows_members: false }
    }

    /// Sets the name that the server's certificate has to have, whatever host is dialled. Default the host
    /// of the address, be it a name or an IP address.
    #[must_use]
    pub fn server_name(self, name: ServerName<'static>) -> Self {
        Self { server_name: Some(name), ..self }
    }

    /// Sets what to make of the server's certificate once the handshake is done, of a resumed session's
    /// too: whom it proves ([`Wire::identity`]), or why the connection is refused all the same. It is asked
    /// again every few seconds as long as the connection is up, and an error ends that.
    ///
    /// Default nobody: the certificate was checked for the name that was dialled, which is no member's
    /// name. [`certificate_name`](crate::certificate_name) is one to take.
    ///
    /// [`Wire::identity`]: chargehand_core::io::Wire::identity
    #[must_use]
    pub fn identify<F>(self, identify: F) -> Self
    where
        F: Fn(&CommonState) -> Result<Option<Box<str>>, BoxError> + Send + Sync + 'static,
    {
        Self { rules: Rules::new(identify), ..self }
    }

    #[cfg(feature = "members")]
    pub(crate) fn of_member(dial: D, config: Configured<ClientConfig>, rules: Rules) -> Self {
        Self { dial, config, server_name: None, rules, knows_members: true }
    }

    /// Makes the same over another.
    #[cfg(test)]
    pub(crate) fn over<O>(&self, dial: O) -> TlsDial<O> {
        TlsDial {
            dial,
            config: self.config.clone(),
            server_name: self.server_name.clone(),
            rules: self.rules.clone(),
            knows_members: self.knows_members,
        }
    }

    /// Returns whose certificate the server is to show. Of a member that is no matter: where the address has no
    /// host, as the path of a Unix domain socket has none, it is one that is not sent either.
    fn name_at(&self, address: &str) -> Option<ServerName<'static>> {
        let given = self.server_name.clone().or_else(|| server_name(address));
        given.or_else(|| self.knows_members.then(|| IpAddr::from(Ipv4Addr::LOCALHOST).into()))
    }
}

/// Returns what a certificate is checked for: the host, without a zone.
fn server_name(address: &str) -> Option<ServerName<'static>> {
    let address = Address::to_listen(address).ok()?;
    let host = address.host().split('%').next()?;
    ServerName::try_from(host.to_owned()).ok()
}

impl<D> Dial for TlsDial<D>
where
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Stream = TlsStream<D::Stream>;
    type Error = TlsError;
    type Dialling = Opening<D::Dialling, D::Stream>;

    fn dial(&self, address: &str) -> Self::Dialling {
        let Some(name) = self.name_at(address) else {
            return Opening::failed(TlsError::Name { address: address.into() });
        };
        match self.config.get() {
            Ok(config) => {
                let start = Start::Client(config, name);
                Opening::new(self.dial.dial(address), start, self.rules.clone())
            }
            Err(error) => Opening::failed(error),
        }
    }

    fn identity(stream: &Self::Stream) -> Option<&str> {
        stream.identity()
    }

    fn trust(stream: &mut Self::Stream) -> Trust<'_> {
        stream.trust()
    }

    fn exposure(&self, _: &str) -> Exposure {
        Exposure::Protected
    }
}

impl<D: fmt::Debug> fmt::Debug for TlsDial<D> {
    // Without the configuration, which has the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDial")
            .field("dial", &self.dial)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_checked_for_the_host_that_is_dialled() {
        for (address, name) in [
            ("worker-1.example.org:9000", Some("worker-1.example.org")),
            ("docker_name:1", Some("docker_name")),
            ("10.0.0.7:9000", Some("10.0.0.7")),
            ("[::1]:9000", Some("::1")),
            ("[fe80::1%eth0]:9000", Some("fe80::1")),
            ("-:9000", None),
            ("/run/a.sock", None),
        ] {
            let found = server_name(address);
            assert_eq!(found.as_ref().map(ServerName::to_str).as_deref(), name, "{address}");
        }
    }
}
