//! The three messages before all others.

use core::fmt;

use hmac::Mac;
use zeroize::Zeroize;

use super::channel::Channel;
use super::key::{HmacSha256, KeyId, SharedKey, finish, is_right, mac};
use super::name::Name;
use super::{EXCHANGE_BYTES_MAX, ExchangeError, KEYED_VERSION, Member, NONCE_BYTES, PROOF_BYTES};
use crate::message::{GOODBYE_KIND, HELLO_KIND, KEYED_KIND, Role, VERSION, check_name};

const OPEN: u8 = 0;
const CHALLENGE: u8 = 1;
const PROOF: u8 = 2;
const HEAD_BYTES: usize = 6;
const KEY_ID_BYTES: usize = size_of::<KeyId>();

/// Before what both sides said, so that a key used elsewhere proves nothing here.
const LABEL: &[u8] = b"chargehand keyed link";

/// The side that opened the link, between its first message and its last one.
pub struct Initiator {
    /// Has taken in the first message.
    heard: HmacSha256,
    role: Role,
    seals: bool,
}

impl Initiator {
    /// Begins an exchange; returns with it what to send first. `nonce` is as the module says.
    pub fn new<'o>(
        me: Member<'_>,
        key: &SharedKey,
        nonce: [u8; NONCE_BYTES],
        out: &'o mut [u8; EXCHANGE_BYTES_MAX],
    ) -> (Self, &'o [u8]) {
        let open = introduce(OPEN, me, &nonce, &key.id().0, out);
        let mut heard = key.begin();
        heard.update(LABEL);
        heard.update(open);
        (Self { heard, role: me.role, seals: me.seals }, open)
    }

    /// Takes the other side's answer in. Returns what all later messages go through, and what to send
    /// before them.
    ///
    /// # Errors
    /// Returns [`ExchangeError`] where the other side does not prove the key: say Goodbye.
    pub fn handle_challenge<'o>(
        self,
        message: &[u8],
        out: &'o mut [u8; EXCHANGE_BYTES_MAX],
    ) -> Result<(Channel, &'o [u8]), ExchangeError> {
        let (name, said, proof) =
            introduced::<PROOF_BYTES>(CHALLENGE, self.role, self.seals, message)?;
        let secret = Secret(finish(self.heard, &[said]));
        if !is_right(&secret.0, CHALLENGE_PROOF, proof) {
            return Err(ExchangeError::Unproven);
        }
        let channel = secret.channel(Name::new(name), self.seals, true);
        let [kind, step, place @ ..] = out;
        (*kind, *step) = (KEYED_KIND, PROOF);
        place[..PROOF_BYTES].copy_from_slice(&mac(&secret.0, &[INITIATOR_PROOF]));
        Ok((channel, &out[..2 + PROOF_BYTES]))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").field("role", &self.role).finish_non_exhaustive()
    }
}

/// The side that a link was opened to, between the other side's first message and its last one.
pub struct Responder {
    secret: Secret,
    peer: Name,
    seals: bool,
}

impl Responder {
    /// Answers the other side's first message; returns with it what to send. `nonce` is as the module says.
    ///
    /// `find` returns the key of that name and id. That name is what the other side says, and not proven
    /// yet.
    ///
    /// # Errors
    /// Returns [`ExchangeError`] where the other side is no such member: say Goodbye.
    pub fn new<'o>(
        me: Member<'_>,
        nonce: [u8; NONCE_BYTES],
        message: &[u8],
        find: impl FnOnce(&str, KeyId) -> Option<SharedKey>,
        out: &'o mut [u8; EXCHANGE_BYTES_MAX],
    ) -> Result<(Self, &'o [u8]), ExchangeError> {
        let (name, _, &id) = introduced::<KEY_ID_BYTES>(OPEN, me.role, me.seals, message)?;
        let key = find(name, KeyId(id)).ok_or(ExchangeError::UnknownKey)?;
        let said = introduce(CHALLENGE, me, &nonce, &[], out).len();
        let (head, place) = out.split_at_mut(said);
        let secret = Secret(finish(key.begin(), &[LABEL, message, head]));
        place[..PROOF_BYTES].copy_from_slice(&mac(&secret.0, &[CHALLENGE_PROOF]));
        let responder = Self { secret, peer: Name::new(name), seals: me.seals };
        Ok((responder, &out[..said + PROOF_BYTES]))
    }

    /// Returns the other side's name for itself, which is not proven yet.
    pub fn claimed(&self) -> &str {
        self.peer.as_str()
    }

    /// Takes the other side's proof in. Returns what all later messages go through.
    ///
    /// # Errors
    /// Returns [`ExchangeError`] where it does not prove the key: say Goodbye.
    pub fn handle_proof(self, message: &[u8]) -> Result<Channel, ExchangeError> {
        let proof = step(PROOF, message)?.try_into().map_err(|_| ExchangeError::Malformed)?;
        if !is_right(&self.secret.0, INITIATOR_PROOF, proof) {
            return Err(ExchangeError::Unproven);
        }
        Ok(self.secret.channel(self.peer, self.seals, false))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("claimed", &self.claimed()).finish_non_exhaustive()
    }
}

const CHALLENGE_PROOF: &[u8] = b"responder proof";
const INITIATOR_PROOF: &[u8] = b"initiator proof";
const INITIATOR_KEY: &[u8] = b"initiator key";
const RESPONDER_KEY: &[u8] = b"responder key";

/// What both sides of one link know, and nobody else.
struct Secret([u8; 32]);

impl Secret {
    fn channel(&self, peer: Name, seals: bool, is_initiator: bool) -> Channel {
        let ours = mac(&self.0, &[if is_initiator { INITIATOR_KEY } else { RESPONDER_KEY }]);
        let theirs = mac(&self.0, &[if is_initiator { RESPONDER_KEY } else { INITIATOR_KEY }]);
        Channel::new(peer, seals, ours, theirs)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Writes what a side says of itself, and what else is known at once.
fn introduce<'o>(
    step: u8,
    me: Member<'_>,
    nonce: &[u8; NONCE_BYTES],
    rest: &[u8],
    out: &'o mut [u8; EXCHANGE_BYTES_MAX],
) -> &'o [u8] {
    let role = match me.role {
        Role::Manager => 0,
        Role::Worker => 1,
    };
    let name_bytes = u8::try_from(me.name.len()).expect("at most 64, it was checked");
    let head: [u8; HEAD_BYTES] =
        [KEYED_KIND, step, KEYED_VERSION, VERSION, role, u8::from(me.seals)];
    let mut length = 0;
    for part in [&head, &nonce[..], &[name_bytes], me.name.as_bytes(), rest] {
        out[length..][..part.len()].copy_from_slice(part);
        length += part.len();
    }
    &out[..length]
}

/// Reads what the other side says of itself: its name, the message without its end, and that.
fn introduced<const END: usize>(
    expected: u8,
    role: Role,
    seals: bool,
    message: &[u8],
) -> Result<(&str, &[u8], &[u8; END]), ExchangeError> {
    let [exchange, messages, rest @ ..] = step(expected, message)? else {
        return Err(ExchangeError::Malformed);
    };
    if (*exchange, *messages) != (KEYED_VERSION, VERSION) {
        return Err(ExchangeError::WrongVersion { exchange: *exchange, messages: *messages });
    }
    let [theirs, flags, rest @ ..] = rest else { return Err(ExchangeError::Malformed) };
    let (said, end) = message.split_last_chunk::<END>().ok_or(ExchangeError::Malformed)?;
    let (_, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(ExchangeError::Malformed)?;
    let (&name_bytes, rest) = rest.split_first().ok_or(ExchangeError::Malformed)?;
    let name_bytes = usize::from(name_bytes);
    if rest.len() != name_bytes + END {
        return Err(ExchangeError::Malformed);
    }
    match (role, theirs) {
        (Role::Manager, 1) | (Role::Worker, 0) => {}
        (Role::Manager, 0) | (Role::Worker, 1) => return Err(ExchangeError::WrongRole),
        _ => return Err(ExchangeError::Malformed),
    }
    match (seals, flags) {
        (false, 0) | (true, 1) => {}
        (false, 1) => return Err(ExchangeError::Sealed),
        (true, 0) => return Err(ExchangeError::NotSealed),
        _ => return Err(ExchangeError::Malformed),
    }
    let name = core::str::from_utf8(&rest[..name_bytes]).map_err(|_| ExchangeError::BadName)?;
    if name.is_empty() || check_name(name).is_err() {
        return Err(ExchangeError::BadName);
    }
    Ok((name, said, end))
}

/// Returns a message without its first two bytes, which say that it is that step's.
fn step(expected: u8, message: &[u8]) -> Result<&[u8], ExchangeError> {
    match message {
        [HELLO_KIND, ..] => Err(ExchangeError::Plain),
        [GOODBYE_KIND, ..] => Err(ExchangeError::Refused),
        [KEYED_KIND, step, rest @ ..] if *step == expected => Ok(rest),
        [KEYED_KIND, _, ..] => Err(ExchangeError::OutOfTurn),
        _ => Err(ExchangeError::Malformed),
    }
}
