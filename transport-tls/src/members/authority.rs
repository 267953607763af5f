//! Who says who belongs to a pool.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;

use super::file::{MembersError, header, read_secret, write_new};
use super::judge::is_authority;
use super::role::{Role, is_name, uri};
use crate::day::DAY_SECONDS;

/// For how many days a member's certificate is good, where nothing else is said.
pub const DAYS_DEFAULT: u32 = 365;
/// For how long an authority's own is good. Nobody checks that of an authority that a join file names.
const AUTHORITY_DAYS: u32 = 3_650;
/// Clocks of members may be behind by this.
const BACKDATED: Duration = Duration::from_secs(DAY_SECONDS);

/// A pool's authority: its key signs the certificates of members. Its file is not for any of them.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// In PEM.
    certificate: String,
}

impl Authority {
    /// Makes a new authority, and writes it to a new file that nobody else can read (mode 0600 on Unix).
    ///
    /// # Errors
    /// There is a file already, which stays as it is, or the system refuses.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, MembersError> {
        let path = path.as_ref();
        let failed = |error: rcgen::Error| MembersError::new(path, error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        // Each has a name of its own, so that a certificate of another one is told as such.
        let public = key.der_bytes();
        let tail = hex(&public[public.len() - 4..]);
        let name = format!("chargehand authority {tail}");
        let params = params(&name);
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        let text = format!(
            "# The authority of a pool of chargehand: whoever has this file says who belongs to it.\n\
             Authority: {name}\n{certificate}{}",
            key.serialize_pem()
        );
        write_new(path, &text)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Reads an authority's file.
    ///
    /// # Errors
    /// The file cannot be read, others than its owner may (on Unix), or it is not of an authority.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MembersError> {
        let path = path.as_ref();
        let text = read_secret(path)?;
        let none = |what: &str| {
            MembersError::new(path, format!("it has no {what}: is it the file of an authority?"))
        };
        let name = header(&text, "Authority").ok_or_else(|| none("name of an authority"))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| none("key"))?;
        let key = KeyPair::try_from(&key).map_err(|_| none("key that can be used"))?;
        let certificate =
            CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| none("certificate"))?;
        let params = params(name);
        // What the certificate says is what members go by: it has to be this name and this key.
        let same =
            params.self_signed(&key).map_err(|error| MembersError::new(path, error.to_string()))?;
        if subject_and_key(same.der()) != subject_and_key(&certificate) {
            return Err(MembersError::new(
                path,
                "its name, key and certificate do not belong together",
            ));
        }
        let certificate = pem_of(&text).ok_or_else(|| none("certificate"))?.to_owned();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Returns its certificate in PEM, which is no secret: what [`Join::also_trust`] takes.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Makes a certificate with these URIs.
    #[cfg(test)]
    pub(super) fn certify(&self, uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = (SystemTime::now() + days(9)).into();
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    /// Begins a new member's join file.
    pub fn join<'a>(&'a self, role: Role, name: &'a str) -> Join<'a> {
        Join {
            authority: self,
            role,
            name,
            days: DAYS_DEFAULT,
            manager: None,
            hosts: Vec::new(),
            trusted: Vec::new(),
            made_at: SystemTime::now(),
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    (params.not_before, params.not_after) =
        ((now - BACKDATED).into(), (now + days(AUTHORITY_DAYS)).into());
    params
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn days(number: u32) -> Duration {
    Duration::from_secs(DAY_SECONDS) * number
}

fn subject_and_key(certificate: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let certificate = webpki::anchor_from_trusted_cert(certificate).ok()?;
    Some((certificate.subject.to_vec(), certificate.subject_public_key_info.to_vec()))
}

/// Returns the first certificate in a text, in PEM as it stands there.
fn pem_of(text: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let start = text.find("-----BEGIN CERTIFICATE-----")?;
    let end = start + text[start..].find(END)? + END.len();
    Some(&text[start..end])
}

impl fmt::Debug for Authority {
    // Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A join file that is still to be written.
#[derive(Debug)]
#[must_use = "nothing is made before `write`"]
pub struct Join<'a> {
    authority: &'a Authority,
    role: Role,
    name: &'a str,
    days: u32,
    manager: Option<&'a str>,
    hosts: Vec<&'a str>,
    trusted: Vec<&'a str>,
    made_at: SystemTime,
}

impl<'a> Join<'a> {
    /// Sets where the manager is, for [`Members::manager`](super::Members::manager). Default unsaid.
    pub fn manager(self, address: &'a str) -> Self {
        Self { manager: Some(address), ..self }
    }

    /// Sets for how many days from now the certificate is good. Default [`DAYS_DEFAULT`].
    pub fn days(self, days: u32) -> Self {
        Self { days, ..self }
    }

    /// Adds a name or an IP address under which the member may be dialled by others than ours: they check it,
    /// and members do not. Default none but the name, where it can be one of a host.
    pub fn host(mut self, host: &'a str) -> Self {
        self.hosts.push(host);
        self
    }

    /// Has the member trust another authority as well, given as [`Authority::certificate`] does, while one takes the
    /// other's place.
    pub fn also_trust(mut self, certificate: &'a str) -> Self {
        self.trusted.push(certificate);
        self
    }

    /// Makes it as at another time.
    #[cfg(test)]
    pub(super) fn made_at(self, made_at: SystemTime) -> Self {
        Self { made_at, ..self }
    }

    /// Makes the member's key and certificate, and writes them to a new file that nobody else can read (mode
    /// 0600 on Unix). Move it to the member; nobody else needs it.
    ///
    /// # Errors
    /// The name cannot be one (1 to 60 letters, digits, `-`, `_` and `.`, a letter or digit first), nor a host,
    /// nor an authority to trust; there is a file already, which stays as it is; or the system refuses.
    pub fn write(self, path: impl AsRef<Path>) -> Result<(), MembersError> {
        let path = path.as_ref();
        let failed = |error: rcgen::Error| MembersError::new(path, error.to_string());
        let (role, name) = (self.role, self.name);
        let params = self.params().map_err(|problem| MembersError::new(path, problem))?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.authority.issuer).map_err(failed)?;
        let serial = EndEntityCert::try_from(certificate.der())
            .map_err(|error| MembersError::new(path, error.to_string()))?
            .serial()
            .to_vec();
        let mut text = format!(
            "# A member of a pool of chargehand: whoever has this file is {role} \"{name}\".\n\
             Name: {name}\nRole: {role}\nSerial: {}\n",
            hex(&serial)
        );
        if let Some(manager) = self.manager {
            let _ = writeln!(text, "Manager: {manager}");
        }
        text.push_str(&certificate.pem());
        for trusted in [&*self.authority.certificate].iter().chain(&self.trusted) {
            text.push_str(pem_of(trusted).expect("it was looked at before"));
            text.push('\n');
        }
        text.push_str(&key.serialize_pem());
        write_new(path, &text)
    }

    fn params(&self) -> Result<CertificateParams, String> {
        let name = self.name;
        if !is_name(name) {
            return Err(format!(
                "\"{name}\" cannot be a member's name: 1 to 60 letters, digits, '-', '_' and '.', of which \
                 the first is a letter or digit"
            ));
        }
        if self.manager.is_some_and(|manager| manager.contains(['\n', '\r'])) {
            return Err("the manager's address is more than a line".to_owned());
        }
        if let Some(other) = self.trusted.iter().find(|trusted| !has_authority(trusted)) {
            return Err(format!("this is no authority's certificate to trust: {other:.40}"));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = uri(self.role, name);
        let uri = uri.as_str().try_into().map_err(|error: rcgen::Error| error.to_string())?;
        params.subject_alt_names.push(SanType::URI(uri));
        for host in [&name].into_iter().chain(&self.hosts) {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*host).try_into().map_err(|_| {
                    format!("\"{host}\" is neither a host's name nor an IP address")
                })?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Either end may be the one that dials.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = self.made_at;
        (params.not_before, params.not_after) =
            ((now - BACKDATED).into(), (now + days(self.days)).into());
        Ok(params)
    }
}

/// Whether the first certificate in a text is an authority's.
fn has_authority(pem: &str) -> bool {
    let certificate = pem_of(pem).map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
    certificate.is_some_and(|it| it.is_ok_and(|it| is_authority(&it)))
}
