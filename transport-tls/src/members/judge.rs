//! Whether the other end belongs to the pool, by its certificate.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, HandshakeKind,
    OtherError, PeerIncompatible, RootCertStore, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};

use super::revoked::Revoked;
use super::role::{Role, member};
use crate::error::expired;
use crate::{BoxError, TlsError};

/// The last second of the year 9999, after which no certificate is good.
const LATE: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(253_402_300_799));

/// Judges certificates for one end.
pub(super) struct Judge {
    roots: RootCertStore,
    /// Who may be at the other end.
    role: Role,
    revoked: RwLock<Arc<Revoked>>,
    /// How many judges there were before.
    renewals: u64,
    clock: Arc<dyn TimeProvider>,
    provider: Arc<CryptoProvider>,
}

impl Judge {
    pub(super) fn new(
        authorities: &[CertificateDer<'_>],
        role: Role,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone().into_owned())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self { roots, role, revoked: RwLock::default(), renewals: 0, clock, provider })
    }

    /// Has this one take another's place: it refuses whom that one did, and judges anew whom that one took.
    pub(super) fn in_place_of(self, before: &Self) -> Self {
        Self { revoked: RwLock::new(before.revoked()), renewals: before.renewals + 1, ..self }
    }

    pub(super) const fn renewals(&self) -> u64 {
        self.renewals
    }

    pub(super) const fn clock(&self) -> &Arc<dyn TimeProvider> {
        &self.clock
    }

    /// Returns the time. Without any, nothing is good.
    pub(super) fn now(&self) -> UnixTime {
        self.clock.current_time().unwrap_or(LATE)
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    pub(super) fn revoked(&self) -> Arc<Revoked> {
        Arc::clone(&self.revoked.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_revoked(&self, revoked: Revoked) {
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(revoked);
    }

    /// Returns who this end itself is, if the authorities say so now.
    pub(super) fn own(&self, own: &CertificateDer<'_>) -> Result<(Role, Box<str>), TlsError> {
        self.verify(own, self.now()).map_err(TlsError::of)
    }

    /// Returns when a certificate expires.
    pub(super) fn not_after(&self, certificate: &CertificateDer<'_>) -> UnixTime {
        match self.verify(certificate, LATE) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => not_after,
            _ => LATE,
        }
    }

    /// Returns whom a session has proven. Its certificate is judged anew where it may have been another judge that
    /// took it: that of a resumed session, or of one whose handshake began before a [renewal](super::Members::renew).
    pub(super) fn identify(&self, session: &CommonState) -> Result<Box<str>, BoxError> {
        let certificates = session.peer_certificates().unwrap_or_default();
        let own = certificates.first().ok_or("it has shown no certificate")?;
        if self.renewals > 0 || session.handshake_kind() == Some(HandshakeKind::Resumed) {
            return Ok(self.judge(own, self.now()).map_err(TlsError::of)?);
        }
        let (_, name) = named(own)?;
        Ok(name)
    }

    /// Returns who is at the other end of a session that is up and until when its certificate is good, or
    /// why it goes on no longer. Nothing is verified anew but what may have changed: `verified` is how many
    /// judges there were when all was.
    pub(super) fn look(
        &self,
        session: &CommonState,
        verified: &mut u64,
        now: UnixTime,
    ) -> Result<(Box<str>, UnixTime), BoxError> {
        let certificates = session.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().ok_or("it has shown no certificate")?;
        let not_after = self.not_after(certificate);
        if not_after < now {
            return Err(expired("its", not_after, now).into());
        }
        let (_, name) = named(certificate)?;
        let serial = EndEntityCert::try_from(certificate)?.serial().to_vec();
        if self.revoked().has_lately(&name, &serial) {
            return Err(TlsError::of(CertificateError::Revoked.into()).into());
        }
        if *verified < self.renewals {
            self.judge(certificate, now).map_err(TlsError::of)?;
            *verified = self.renewals;
        }
        Ok((name, not_after))
    }

    /// Returns the name of whoever may be at the other end.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Box<str>, rustls::Error> {
        let (role, name) = self.verify(certificate, now)?;
        if role != self.role {
            let error =
                Other(format!("it is a {role}, \"{name}\", where a {} is to be", self.role));
            return Err(CertificateError::Other(OtherError(Arc::new(error))).into());
        }
        let serial = EndEntityCert::try_from(certificate).map(|it| it.serial().to_vec()).ok();
        if self.revoked().has(&name, serial.as_deref()) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(name)
    }

    /// Returns who the authorities say that a certificate is, and until when.
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(Role, Box<str>), rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        // For a client as well: the certificates of members are for both. Between a member's and its authority's
        // there is none: what else a peer shows is not looked at, however much it is.
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, &[], now, algorithms)?;
        named(certificate)
            .map_err(|error| CertificateError::Other(OtherError(Arc::new(error))).into())
    }
}

/// Returns whether a certificate is an authority's, be it good now or not. Nothing else may be trusted to say who
/// is a member: whoever has a member's key could make more members by it.
pub(super) fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let (Ok(own), Ok(anchor)) =
        (EndEntityCert::try_from(certificate), webpki::anchor_from_trusted_cert(certificate))
    else {
        return false;
    };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let (anchors, usage) = ([anchor], KeyUsage::server_auth());
    // That of an authority cannot be a peer's, which is said once its dates are right.
    let problem = |now| {
        own.verify_for_usage(algorithms, &anchors, &[], now, usage, None, None).map(drop).err()
    };
    match problem(UnixTime::since_unix_epoch(Duration::ZERO)) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => problem(not_before),
        problem => problem,
    }
    .is_some_and(|problem| matches!(problem, webpki::Error::CaUsedAsEndEntity))
}

/// Returns the one member that a certificate names.
fn named(certificate: &CertificateDer<'_>) -> Result<(Role, Box<str>), Other> {
    let none = || Other("it does not say which member it is: is it of a join file?".to_owned());
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| none())?;
    let mut members = certificate.valid_uri_names().filter_map(member);
    match (members.next(), members.next()) {
        (Some((role, name)), None) => Ok((role, name.into())),
        _ => Err(none()),
    }
}

#[derive(Debug)]
struct Other(String);

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Other {}

// A member is judged alike whichever end it is, but rustls asks each end by a trait of its own: what says the
// same in both is written in the first.
impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        // Its name is a member's, wherever it was dialled.
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(certificate, now).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Judge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A member has one certificate to show, and strangers need not know whose pool this is.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(certificate, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("role", &self.role).finish_non_exhaustive()
    }
}
