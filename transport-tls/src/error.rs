//! Why a stream is not opened, or broke.

use std::error::Error;
use std::fmt::{self, Write};
use std::io;

use rustls::AlertDescription as Alert;
use rustls::CertificateError as Certificate;
use rustls::pki_types::UnixTime;

use crate::BoxError;
use crate::day::{Day, days};

/// How many names of a certificate an error shows.
const NAMES_SHOWN: usize = 4;

/// Why a stream could not be opened, or broke. The text says what to do about it; that of the transport
/// above has the name of the other end before it.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The stream below could not be opened, or none be taken in.
    Stream {
        /// What the runtime says.
        error: BoxError,
    },
    /// The address has no host that a certificate could be checked for.
    Name {
        /// The address.
        address: Box<str>,
    },
    /// The certificate of this end has expired. Nobody was dialled.
    Expired {
        /// Until when it was good.
        not_after: UnixTime,
        /// The time by the clock here.
        now: UnixTime,
    },
    /// rustls does not go on: the other end broke the protocol or did not show what it should, or it says
    /// that this end did.
    Tls {
        /// What rustls says.
        error: rustls::Error,
    },
    /// The other end does not speak TLS.
    Plain {
        /// What it speaks.
        protocol: &'static str,
    },
    /// The other end closed the connection within the handshake.
    Ended {
        /// Whether it did so without a word.
        is_mute: bool,
    },
    /// The connection was cut off: it ended without the words that TLS has for that (`close_notify`), perhaps
    /// in the middle of a message.
    Truncated,
    /// The handshake went well, but this end's own rule refuses whom it has proven
    /// ([`TlsDial::identify`](crate::TlsDial::identify)).
    Refused {
        /// What the rule says.
        error: BoxError,
    },
    /// Reading or writing the stream below failed within the handshake.
    Io {
        /// What the stream says.
        error: io::Error,
    },
}

impl TlsError {
    pub(crate) const fn of(error: rustls::Error) -> Self {
        Self::Tls { error }
    }

    /// Judges an error of the handshake by the first bytes that came.
    pub(crate) fn beginning_with(self, first: &[u8]) -> Self {
        match self {
            Self::Tls { error: rustls::Error::InvalidMessage(_) } if !is_record(first) => {
                Self::Plain { protocol: protocol(first) }
            }
            Self::Ended { .. } => Self::Ended { is_mute: first.is_empty() },
            // What this end had sent was not read, or more is to be.
            Self::Io { error } if is_hang_up(error.kind()) => {
                Self::Ended { is_mute: first.is_empty() }
            }
            other => other,
        }
    }
}

fn is_hang_up(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

/// Whether a TLS record begins so.
fn is_record(first: &[u8]) -> bool {
    matches!(first, [0x14..=0x17, 0x03, ..] | [0x14..=0x17] | [])
}

fn protocol(first: &[u8]) -> &'static str {
    const HTTP: [&[u8]; 8] =
        [b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"PRI ", b"CONN", b"HTTP"];
    if HTTP.iter().any(|start| first.starts_with(start)) { "HTTP without TLS" } else { "no TLS" }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { error } => error.fmt(f),
            Self::Name { address } => write!(
                f,
                "TLS checks a certificate for the host of the address, and \"{address}\" has none: write \
                 host:port, or set the name (TlsDial::server_name)"
            ),
            Self::Expired { not_after, now } => {
                f.write_str(&expired("this end's own", *not_after, *now))
            }
            Self::Tls { error } => f.write_str(&explained(error)),
            Self::Plain { protocol } => write!(
                f,
                "it speaks {protocol} where this end speaks TLS: have both ends speak it (tls:// or wss:// \
                 to dial, TlsAccept to listen), or neither"
            ),
            Self::Ended { is_mute: true } => f.write_str(
                "it closed the connection when the TLS handshake began: does it speak TLS at all, and has \
                 it room?",
            ),
            Self::Ended { is_mute: false } => {
                f.write_str("it closed the connection in the middle of the TLS handshake")
            }
            Self::Truncated => f.write_str(
                "the TLS connection was cut off: it ended without close_notify, as one does when the other \
                 end refuses or dies, or somebody between the two interferes",
            ),
            Self::Refused { error } => write!(f, "refused after the TLS handshake: {error}"),
            Self::Io { error } => write!(f, "within the TLS handshake: {error}"),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stream { error } | Self::Refused { error } => Some(&**error),
            Self::Tls { error } => Some(error),
            Self::Io { error } => Some(error),
            Self::Name { .. }
            | Self::Expired { .. }
            | Self::Plain { .. }
            | Self::Ended { .. }
            | Self::Truncated => None,
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error {
            TlsError::Io { error } => return error,
            TlsError::Truncated | TlsError::Ended { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Says what rustls means, and what to do.
fn explained(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::NoCertificatesPresented => {
            "it has shown no certificate, and this end asks for one: \
             give whoever dials a certificate (with members, its own join file)"
                .to_owned()
        }
        rustls::Error::AlertReceived(alert) => alerted(*alert),
        rustls::Error::PeerIncompatible(why) => {
            format!(
                "it and this end have no way to speak TLS in common ({why:?}): bring both up to TLS 1.3"
            )
        }
        error => format!("TLS: {error}"),
    }
}

/// Says what is wrong with the other end's certificate.
fn certificate(error: &Certificate) -> String {
    match error {
        Certificate::ExpiredContext { time, not_after } => expired("its", *not_after, *time),
        Certificate::NotValidYetContext { time, not_before } => format!(
            "its certificate is not valid before {}, and by the clock here it is {}: set the clock of either \
             machine, or wait",
            Day::of(*not_before),
            Day::of(*time)
        ),
        Certificate::NotValidForNameContext { expected, presented } => {
            format!(
                "its certificate is for {}, and not for {}, which was dialled: dial it by a name \
                 that is in the certificate, or give it one for this name",
                names(presented),
                expected.to_str()
            )
        }
        // Two authorities of one name have different keys.
        Certificate::UnknownIssuer | Certificate::BadSignature => "its certificate is not of an authority that \
             this end trusts: give both ends certificates of one authority (with members, join files of the \
             same one)"
            .to_owned(),
        Certificate::Revoked => "its certificate has been revoked: if that was a mistake, take it off the \
             list"
            .to_owned(),
        Certificate::Other(error) => format!("its certificate is refused: {error}"),
        error => format!("its certificate is not accepted: {error}"),
    }
}

/// Says which names a certificate has: not all of them, since there may be thousands.
fn names(presented: &[String]) -> String {
    let mut text = match presented {
        [] => return "no name".to_owned(),
        [..] => presented[..presented.len().min(NAMES_SHOWN)].join(", "),
    };
    if let more @ 1.. = presented.len().saturating_sub(NAMES_SHOWN) {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Says to the day when a certificate expired.
pub(crate) fn expired(whose: &str, not_after: UnixTime, now: UnixTime) -> String {
    let (not_after, now) = (Day::of(not_after), Day::of(now));
    let ago = match now.since(not_after) {
        0 => "today".to_owned(),
        number => format!("{} ago", days(number)),
    };
    format!(
        "{whose} certificate expired on {not_after}, {ago}: make a new one (with members, a new join file), \
         or set the clock here if it is wrong"
    )
}

/// Says why the other end refuses.
fn alerted(alert: Alert) -> String {
    let why = match alert {
        Alert::CertificateRequired => {
            "it asks for a certificate, and this end has shown none: give this end one (with members, its own \
             join file)"
        }
        Alert::CertificateExpired => {
            "it refuses the certificate of this end, which has expired or is not valid yet by the clock there: \
             make a new one, or set the clock"
        }
        Alert::CertificateRevoked => {
            "it refuses the certificate of this end, which has been revoked: make a new one"
        }
        Alert::UnknownCA | Alert::DecryptError => {
            "it does not trust the authority that the certificate of this end is of: give both ends \
             certificates of one authority"
        }
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "it refuses the certificate of this end (its own error says why: another role, or another name)"
        }
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "it and this end have no way to speak TLS in common: bring both up to TLS 1.3"
        }
        Alert::UnrecognisedName => "it has no certificate for the name that was dialled",
        Alert::AccessDenied => "it does not let this end in, whose certificate is good",
        alert => return format!("it has given up the TLS connection: {alert:?}"),
    };
    why.to_owned()
}
