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
//! # Another file without downtime
//!
//! [`Members::renew`] has a process go on by another join file of its member: call it once the file is there,
//! at a signal or now and then. Links that are up stay, unless what they were let in by is good no longer.
//!
//! # Another authority without downtime
//!
//! Make the new one, and new join files of the old one that [trust](Join::also_trust) both; once these are in
//! use everywhere, files of the new one that trust both; and then, or with the next renewal, files of the new
//! one alone.

mod authority;
mod file;
mod held;
mod judge;
mod revoked;
mod role;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::pki_types::UnixTime;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, CommonState, ServerConfig};

pub use self::authority::{Authority, DAYS_DEFAULT, Join};
use self::file::JoinFile;
pub use self::file::MembersError;
use self::held::{Held, SESSIONS_MAX};
use self::revoked::Revoked;
pub use self::role::Role;
use crate::configured::Configured;
use crate::day::{DAY_SECONDS, Day, days};
use crate::rules::Rules;
use crate::{BoxError, TlsAccept, TlsDial};

/// How many days before its end a certificate is said to expire.
pub const WARNING_DAYS: u64 = 7;

/// A member's end of all its links: who it is, and who may be at the others.
///
/// Clones are one: what is [renewed](Self::renew) or [revoked](Self::revoked) is for all of them, and for
/// all that was made of them.
#[derive(Clone)]
pub struct Members {
    name: Box<str>,
    manager: Option<Box<str>>,
    role: Role,
    held: Arc<RwLock<Arc<Held>>>,
}

impl Members {
    /// Reads the join file of a pool.
    ///
    /// # Errors
    /// The file cannot be read, others than its owner may (on Unix: any right of others or of the group, but for
    /// reading by the group where the file is of user 0), is no join file, is a worker's, or its
    /// certificate is not valid now: the text says which, and what to do.
    pub fn pool(path: impl AsRef<Path>) -> Result<Self, MembersError> {
        Self::of(path.as_ref(), Role::Pool, Arc::new(DefaultTimeProvider))
    }

    /// Reads the join file of a worker.
    ///
    /// # Errors
    /// As those of [`pool`](Self::pool), with the roles exchanged.
    pub fn worker(path: impl AsRef<Path>) -> Result<Self, MembersError> {
        Self::of(path.as_ref(), Role::Worker, Arc::new(DefaultTimeProvider))
    }

    fn of(path: &Path, role: Role, clock: Arc<dyn TimeProvider>) -> Result<Self, MembersError> {
        let join = JoinFile::read(path)?;
        let (name, held) = Held::new(path, &join, role, clock, None)?;
        let held = Arc::new(RwLock::new(Arc::new(held)));
        Ok(Self { name, manager: join.manager, role, held })
    }

    /// Takes another join file of this member in place of the one that it has, or the same file once that is
    /// another: its key, its certificate and the authorities that it trusts. Nothing has to be built again.
    ///
    /// Handshakes from now on go by it, without sessions of before. Links that are up stay as long as their certificates
    /// are of authorities that it trusts, and end within some five seconds where they are not.
    ///
    /// # Errors
    /// As those of [`pool`](Self::pool), or the file is another member's. What there was goes on.
    pub fn renew(&self, path: impl AsRef<Path>) -> Result<(), MembersError> {
        let path = path.as_ref();
        let join = JoinFile::read(path)?;
        // Not before it is in its place: another thread may do the same.
        let mut place = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let clock = Arc::clone(place.judge.clock());
        let (name, held) = Held::new(path, &join, self.role, clock, Some(&place.judge))?;
        if name != self.name {
            return Err(MembersError::new(
                path,
                format!("this is the join file of \"{name}\", and not of \"{}\"", self.name),
            ));
        }
        *place = Arc::new(held);
        Ok(())
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses the members that a file lists: one on each line, by name, or as `serial` and the number in
    /// hexadecimal digits, of which [`Join::write`] puts it into a join file. What follows `#` is a remark. The file is
    /// looked at with each handshake, and read again when it has changed.
    ///
    /// While it cannot be read, or a line is neither, or anybody may write to it, who was refused before stays so. Whom
    /// it has no longer is let in once it has stood unchanged for two seconds: somebody may be at it until then, so
    /// best move a whole one into its place.
    ///
    /// # Errors
    /// The file cannot be read now, a line is neither, or anybody may write to it (on Unix).
    pub fn revoked(self, path: impl AsRef<Path>) -> Result<Self, MembersError> {
        let path = path.as_ref();
        self.held().judge.set_revoked(Revoked::read(path)?);
        Ok(self)
    }

    /// Makes a dialler over another: for the connectors of any transport, and `tls://` or `wss://`. Make one for
    /// each: it keeps the sessions that its connector resumes, while those of others, on the same host perhaps,
    /// are of no use to it.
    pub fn dial<D>(&self, dial: D) -> TlsDial<D> {
        let members = self.clone();
        let latest: Mutex<Option<(u64, Arc<ClientConfig>)>> = Mutex::new(None);
        let config = Configured::Asked(Arc::new(move || {
            let held = members.held();
            held.check_own()?;
            let renewals = held.judge.renewals();
            let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, config)) = latest.as_ref().filter(|(of, _)| *of == renewals) {
                return Ok(Arc::clone(config));
            }
            let mut config = ClientConfig::clone(&held.client);
            config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
            let config = Arc::new(config);
            *latest = Some((renewals, Arc::clone(&config)));
            Ok(config)
        }));
        TlsDial::of_member(dial, config, self.rules())
    }

    /// Makes a listener over another: for those of any transport.
    pub fn accept<A>(&self, accept: A) -> TlsAccept<A> {
        let members = self.clone();
        let config = Configured::Asked(Arc::new(move || Ok(members.server_config())));
        TlsAccept::of_member(accept, config, self.rules())
    }

    fn rules(&self) -> Rules {
        let (at_first, later) = (self.clone(), self.clone());
        Rules::new(move |session| at_first.identify(session))
            .watched(move |session, verified| later.look(session, verified))
    }

    /// Returns the configuration that [`dial`](Self::dial) takes at the moment. Have each session judged by
    /// [`identify`](Self::identify) where it is used otherwise: rustls does not look at the certificates of
    /// those that are resumed.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.held().client)
    }

    /// Returns the configuration that [`accept`](Self::accept) takes: see
    /// [`client_config`](Self::client_config).
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.held().server)
    }

    /// Returns which member is at the other end of a session.
    ///
    /// # Errors
    /// The session is resumed, and its member is not let in any more: its certificate has expired, or was
    /// revoked.
    pub fn identify(&self, session: &CommonState) -> Result<Option<Box<str>>, BoxError> {
        self.held().judge.identify(session).map(Some)
    }

    /// Returns what to tell of a session that is up: what expires soon, a line each.
    ///
    /// # Errors
    /// The other end's certificate has expired, its member was revoked, or its authority is trusted no longer.
    pub fn watch(&self, session: &CommonState) -> Result<Option<Box<str>>, BoxError> {
        self.look(session, &mut 0)
    }

    /// The same, of a session that was verified when there had been so many [renewals](Self::renew).
    fn look(
        &self,
        session: &CommonState,
        verified: &mut u64,
    ) -> Result<Option<Box<str>>, BoxError> {
        let held = self.held();
        let now = held.judge.now();
        let (name, not_after) = held.judge.look(session, verified, now)?;
        let own = expiring(&self.name, held.not_after, now);
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
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.held().not_after.as_secs())
    }

    /// Returns what to tell of the certificate at the time `now`, from [`WARNING_DAYS`] before its end on.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        expiring(&self.name, self.held().not_after, UnixTime::since_unix_epoch(now))
    }

    /// Returns whether the name of a link's other end (`Wire::identity`, with an instance or without) is on
    /// the list of [`revoked`](Self::revoked) by now. Serial numbers are judged by handshakes only.
    pub fn is_revoked(&self, identity: &str) -> bool {
        let name = identity.split('/').next().unwrap_or(identity);
        self.held().judge.revoked().has(name, None)
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

impl fmt::Debug for Members {
    // Without the configurations, which have the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("name", &self.name)
            .field("manager", &self.manager)
            .field("expires", &format_args!("{}", Day::of(self.held().not_after)))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
