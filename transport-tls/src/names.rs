//! The names in certificates.

use rustls::CommonState;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::BoxError;

/// Takes the first DNS name in the other end's certificate for who it is, and where there is none the first
/// URI. For [`TlsAccept::identify`](crate::TlsAccept::identify), where clients show certificates: each is
/// then whom the authority says it is.
///
/// A session without a certificate proves nobody: `None`.
///
/// # Errors
/// The certificate cannot be read, or has neither.
pub fn certificate_name(session: &CommonState) -> Result<Option<Box<str>>, BoxError> {
    let Some(certificate) = session.peer_certificates().and_then(<[CertificateDer<'_>]>::first)
    else {
        return Ok(None);
    };
    let certificate = EndEntityCert::try_from(certificate)?;
    let name =
        certificate.valid_dns_names().next().or_else(|| certificate.valid_uri_names().next());
    match name {
        Some(name) => Ok(Some(name.into())),
        None => Err("its certificate has neither a DNS name nor a URI".into()),
    }
}
