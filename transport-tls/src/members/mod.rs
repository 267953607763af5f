//! Who belongs to a pool: an authority of its own, and one *join file* for each member.
//!
//! A join file has all that a member needs: its key, its certificate, and which authority the others'
//! certificates are of; and, if wanted, where the manager is. Nothing runs beside the pool, nothing is looked
//! up, and no other authority is trusted, those of the web least of all.
//!
//! ```
//! use chargehand_transport_tls::members::{Authority, Members, Role};
//! # let dir = std::env::temp_dir().join(format!("chargehand-members-{}", std::process::id()));
//! # std::fs::create_dir(&dir)?;
//!
//! // Once, where the pool is looked after. The authority's own file stays there.
//! let authority = Authority::create(dir.join("authority.pem"))?;
//! authority.join(Role::Pool, "m1").write(dir.join("m1.join"))?;
//! authority.join(Role::Worker, "w1").manager("tls://m1.example.org:9000").write(dir.join("w1.join"))?;
//!
//! // On each machine, with its own file.
//! let members = Members::worker(dir.join("w1.join"))?;
//! assert_eq!((members.name(), members.manager()), ("w1", Some("tls://m1.example.org:9000")));
//! // members.dial(a runtime's `Dial`) and members.accept(a runtime's `Accept`) go below any transport.
//! # let members = members.dial(());
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who gets in
//!
//! - Both ends show certificates of the authority (mutual TLS 1.3), whichever dials.
//! - A certificate is for one [`Role`]. A pool talks to workers only and a worker to pools, so that one
//!   worker's file opens no other worker.
//! - Whom it proves is the member's name, which the transport hands on (`Wire::identity`). The address that
//!   was dialled is not checked: members move, and their names do not.
//! - Names and serial numbers on the list of [`Members::revoked`] are refused from the next handshake on,
//!   and within some five seconds on links that are up.
//!
//! # What expires
//!
//! A certificate that does ends its links as well. From [`WARNING_DAYS`] before that on, pools and workers tell
//! so in an event when a link comes up, and once a day: of their own and of the others'.
//!
//! # Another authority without downtime
//!
//! Make the new one, and new join files of the old one that [trust](Join::also_trust) both; once these are in
//! use everywhere, files of the new one that trust both; and then, or with the next renewal, files of the new
//! one alone.

mod authority;
mod file;
mod judge;
mod revoked;
mod role;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::UnixTime;
use rustls::{ClientConfig, CommonState, ServerConfig};

pub use self::authority::{Authority, DAYS_DEFAULT, Join};
use self::file::JoinFile;
pub use self::file::MembersError;
use self::judge::Judge;
use self::revoked::Revoked;
pub use self::role::Role;
use crate::day::{DAY_SECONDS, Day, days};
use crate::rules::Rules;
use crate::{BoxError, TlsAccept, TlsDial};

/// How many days before its end a certificate is said to expire.
pub const WARNING_DAYS: u64 = 7;
/// How many hosts a dialler keeps sessions of, to resume them: a connector has one.
const SESSIONS_MAX: usize = 8;

/// A member's end of all its links: who it is, and who may be at the others.
///
#[derive(Clone)]
pub struct Members {
    name: Box<str>,
    manager: Option<Box<str>>,
    not_after: UnixTime,
    judge: Arc<Judge>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Members {
    /// Reads the join file of a pool.
    ///
    /// # Errors
    /// The file cannot be read, is no join file, is a worker's, or its certificate is not valid now: the text
    /// says which, and what to do.
    pub fn pool(path: impl AsRef<Path>) -> Result<Self, MembersError> {
        Self::of(path.as_ref(), Role::Pool, Revoked::default())
    }

    /// Reads the join file of a worker.
    ///
    /// # Errors
    /// As those of [`pool`](Self::pool), with the roles exchanged.
    pub fn worker(path: impl AsRef<Path>) -> Result<Self, MembersError> {
        Self::of(path.as_ref(), Role::Worker, Revoked::default())
    }

    fn of(path: &Path, role: Role, revoked: Revoked) -> Result<Self, MembersError> {
        let join = JoinFile::read(path)?;
        let wrong = |problem: &dyn fmt::Display| MembersError::new(path, format!("{problem}"));
        let judge = Judge::new(&join.authorities, role.other(), revoked);
        let judge = Arc::new(judge.map_err(|error| wrong(&error))?);
        let (own_role, name) = judge.own(&join.certificate).map_err(|error| wrong(&error))?;
        if own_role != role {
            return Err(wrong(&format_args!(
                "this is the join file of a {own_role}, \"{name}\": give the one of a {role}, or load it as \
                 a {own_role}"
            )));
        }
        let not_after = judge.not_after(&join.certificate);
        let (client, server) = configure(&join, &judge).map_err(|error| wrong(&error))?;
        Ok(Self {
            name,
            manager: join.manager,
            not_after,
            judge,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    /// Refuses the members that a file lists: one on each line, by name, or as `serial` and the number in
    /// hexadecimal digits, of which [`Join::write`] puts it into a join file. What follows `#` is a remark. The file is
    /// looked at with each handshake, and read again when it has changed.
    ///
    /// While it cannot be read, or a line is neither, who was refused before stays so.
    ///
    /// # Errors
    /// The file cannot be read now, or a line is neither.
    pub fn revoked(self, path: impl AsRef<Path>) -> Result<Self, MembersError> {
        let path = path.as_ref();
        self.judge.set_revoked(Revoked::read(path)?);
        Ok(self)
    }

    /// Makes a dialler over another: for the connectors of any transport, and `tls://` or `wss://`. Make one for
    /// each: it keeps the sessions that its connector resumes, while those of others, on the same host perhaps,
    /// are of no use to it.
    pub fn dial<D>(&self, dial: D) -> TlsDial<D> {
        let mut client = ClientConfig::clone(&self.client);
        client.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        TlsDial::new(dial, Arc::new(client)).ruled(self.rules(), self.not_after)
    }

    /// Makes a listener over another: for those of any transport.
    pub fn accept<A>(&self, accept: A) -> TlsAccept<A> {
        TlsAccept::new(accept, self.server_config()).ruled(self.rules())
    }

    fn rules(&self) -> Rules {
        let (at_first, later) = (self.clone(), self.clone());
        Rules::new(move |session| at_first.identify(session))
            .watched(move |session| later.watch(session))
    }

    /// Returns the configuration that [`dial`](Self::dial) takes. Have each session judged by
    /// [`identify`](Self::identify) where it is used otherwise: rustls does not look at the certificates of
    /// those that are resumed.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// Returns the configuration that [`accept`](Self::accept) takes: see
    /// [`client_config`](Self::client_config).
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Returns which member is at the other end of a session.
    ///
    /// # Errors
    /// The session is resumed, and its member is not let in any more: its certificate has expired, or was
    /// revoked.
    pub fn identify(&self, session: &CommonState) -> Result<Option<Box<str>>, BoxError> {
        self.judge.identify(session).map(Some)
    }

    /// Returns what to tell of a session that is up: what expires soon, a line each.
    ///
    /// # Errors
    /// The other end's certificate has expired, or its member was revoked.
    pub fn watch(&self, session: &CommonState) -> Result<Option<Box<str>>, BoxError> {
        let now = UnixTime::now();
        let (name, not_after) = self.judge.look(session, now)?;
        let own = expiring(&self.name, self.not_after, now);
        let others = expiring(&name, not_after, now);
        let lines: Vec<String> = own.into_iter().chain(others).collect();
        Ok((!lines.is_empty()).then(|| lines.join("\n").into()))
    }

    /// Returns the name that the certificate has, by which the others know this end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the manager is, if the join file says so.
    pub fn manager(&self) -> Option<&str> {
        self.manager.as_deref()
    }

    /// Returns when the certificate expires.
    pub fn expires(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.not_after.as_secs())
    }

    /// Returns what to tell of the certificate at the time `now`, from [`WARNING_DAYS`] before its end on.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        expiring(&self.name, self.not_after, UnixTime::since_unix_epoch(now))
    }

    /// Returns whether the name of a link's other end (`Wire::identity`, with an instance or without) is on
    /// the list of [`revoked`](Self::revoked) by now. Serial numbers are judged by handshakes only.
    pub fn is_revoked(&self, identity: &str) -> bool {
        let name = identity.split('/').next().unwrap_or(identity);
        self.judge.revoked().has(name, None)
    }
}

/// Returns what to tell of a member's certificate, if it expires soon or has expired.
fn expiring(name: &str, not_after: UnixTime, now: UnixTime) -> Option<String> {
    if now > not_after {
        return Some(crate::error::expired(&format!("\"{name}\": its"), not_after, now));
    }
    let left = not_after.as_secs() - now.as_secs();
    (left <= WARNING_DAYS * DAY_SECONDS).then(|| {
        let day = Day::of(not_after);
        format!(
            "the certificate of \"{name}\" expires on {day}, {}: make a new join file",
            match day.since(Day::of(now)) {
                0 => "today".to_owned(),
                number => format!("in {}", days(number)),
            }
        )
    })
}

fn configure(
    join: &JoinFile,
    judge: &Arc<Judge>,
) -> Result<(ClientConfig, ServerConfig), rustls::Error> {
    let provider = judge.provider();
    let tls13 = &[&rustls::version::TLS13];
    let chain = || vec![join.certificate.clone()];
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(tls13)?
        .dangerous() // It does everything that rustls' own does, but for the name.
        .with_custom_certificate_verifier(Arc::clone(judge) as _)
        .with_client_auth_cert(chain(), join.key.clone_key())?;
    client.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(tls13)?
        .with_client_cert_verifier(Arc::clone(judge) as _)
        .with_single_cert(chain(), join.key.clone_key())?;
    // So that any number of members may come back, and none takes memory until then.
    server.ticketer = ring::Ticketer::new()?;
    Ok((client, server))
}

impl fmt::Debug for Members {
    // Without the configurations, which have the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("name", &self.name)
            .field("manager", &self.manager)
            .field("expires", &format_args!("{}", Day::of(self.not_after)))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
