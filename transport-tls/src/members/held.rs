//! What a member has of its join file, until another takes its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};

use super::file::{JoinFile, MembersError, several};
use super::judge::{Judge, is_authority};
use super::role::Role;
use crate::TlsError;

/// How many hosts a dialler keeps sessions of, to resume them: a connector has one.
pub(super) const SESSIONS_MAX: usize = 8;

pub(super) struct Held {
    /// Until when its own certificate is good.
    pub(super) not_after: UnixTime,
    pub(super) judge: Arc<Judge>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Held {
    /// Makes it of a file, with the member's name.
    pub(super) fn new(
        path: &Path,
        join: &JoinFile,
        role: Role,
        clock: Arc<dyn TimeProvider>,
        before: Option<&Judge>,
    ) -> Result<(Box<str>, Self), MembersError> {
        let wrong = |problem: &dyn fmt::Display| MembersError::new(path, format!("{problem}"));
        let judge = Judge::new(&join.authorities, role.other(), clock);
        let mut judge = judge.map_err(|error| wrong(&error))?;
        if let Some(before) = before {
            judge = judge.in_place_of(before);
        }
        let judge = Arc::new(judge);
        let (own_role, name) = judge.own(&join.certificate).map_err(|error| wrong(&error))?;
        if own_role != role {
            return Err(wrong(&format_args!(
                "this is the join file of a {own_role}, \"{name}\": give the one of a {role}, or load it as \
                 a {own_role}"
            )));
        }
        if !join.authorities.iter().all(is_authority) {
            return Err(several(path, "a certificate to trust that is no authority's"));
        }
        let not_after = judge.not_after(&join.certificate);
        let (client, server) = configure(join, &judge).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                wrong(&"its key is not the one of its certificate: make a new join file")
            }
            error => wrong(&error),
        })?;
        Ok((name, Self { not_after, judge, client: client.into(), server: server.into() }))
    }

    /// Returns whether this end's own certificate is good still.
    pub(super) fn check_own(&self) -> Result<(), TlsError> {
        let now = self.judge.now();
        if self.not_after < now {
            // The other end could only say that it has expired, and not when.
            return Err(TlsError::Expired { not_after: self.not_after, now });
        }
        Ok(())
    }
}

fn configure(
    join: &JoinFile,
    judge: &Arc<Judge>,
) -> Result<(ClientConfig, ServerConfig), rustls::Error> {
    let provider = judge.provider();
    let tls13 = &[&rustls::version::TLS13];
    let chain = || vec![join.certificate.clone()];
    let (clock, verifier) = (|| Arc::clone(judge.clock()), Arc::clone(judge));
    let mut client = ClientConfig::builder_with_details(Arc::clone(provider), clock())
        .with_protocol_versions(tls13)?
        .dangerous() // It does everything that rustls' own does, but for the name.
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain(), join.key.clone_key())?;
    client.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    let mut server = ServerConfig::builder_with_details(Arc::clone(provider), clock())
        .with_protocol_versions(tls13)?
        .with_client_cert_verifier(Arc::clone(judge) as _)
        .with_single_cert(chain(), join.key.clone_key())?;
    // So that any number of members may come back, and none takes memory until then.
    server.ticketer = ring::Ticketer::new()?;
    Ok((client, server))
}
