//! What a worker's messages go through on their way to the line and from it.

use chargehand_core::message::Code;

#[cfg(feature = "keyed")]
pub use self::keyed::Keyed;

/// What stands between the line and the worker: nothing, or the proof of a key.
pub trait Guard {
    /// By how much it makes a message longer at most. The line takes so much less.
    const ADDED_BYTES: usize;

    /// Hears that a link begins. Returns whether it is the worker's at once.
    fn begin(&mut self) -> bool;

    /// Takes in what came.
    fn hear<'m>(&mut self, message: &'m mut [u8]) -> Heard<'m, '_>;

    /// Returns what to send in place of a message, as two parts; `None` where it cannot be sent.
    fn protect<'g>(&'g mut self, head: &'g [u8], body: &'g [u8]) -> Option<(&'g [u8], &'g [u8])>;
}

/// What came, as the worker is to take it.
#[derive(Debug)]
pub enum Heard<'m, 'g> {
    /// A message for the worker.
    Message(&'m [u8]),
    /// The guard's own business: send this.
    Answer(&'g [u8]),
    /// The link is the worker's from now on.
    Proven,
    /// The manager is refused.
    Refused(Code),
}

/// Nothing: whoever is at the line is the manager.
#[derive(Clone, Copy, Debug)]
pub struct Unguarded;

impl Guard for Unguarded {
    const ADDED_BYTES: usize = 0;

    fn begin(&mut self) -> bool {
        true
    }

    fn hear<'m>(&mut self, message: &'m mut [u8]) -> Heard<'m, '_> {
        Heard::Message(message)
    }

    fn protect<'g>(&'g mut self, head: &'g [u8], body: &'g [u8]) -> Option<(&'g [u8], &'g [u8])> {
        Some((head, body))
    }
}

#[cfg(feature = "keyed")]
mod keyed {
    use chargehand_core::keyed::{
        Channel, EXCHANGE_BYTES_MAX, ExchangeError, Member, NONCE_BYTES, PROOF_BYTES, Responder,
        SEAL_BYTES, SharedKey,
    };
    use chargehand_core::message::Code;

    use super::{Guard, Heard};
    use crate::worker::MESSAGE_BYTES_MAX;

    /// The proof of a key: only a manager that has it is served.
    #[derive(Debug)]
    pub struct Keyed<'b, N> {
        me: Member<'static>,
        key: SharedKey,
        nonces: N,
        phase: Phase,
        buffer: &'b mut [u8; MESSAGE_BYTES_MAX],
    }

    #[derive(Debug)]
    enum Phase {
        /// The manager begins.
        Waiting,
        /// The manager's proof is next.
        Challenged(Responder),
        Proven(Channel),
    }

    impl<'b, N: FnMut() -> [u8; NONCE_BYTES]> Keyed<'b, N> {
        /// Makes a guard for a worker with this key. `nonces` never returns the same twice, as far as the
        /// board can: see `chargehand_core::keyed`.
        pub fn new(
            me: Member<'static>,
            key: SharedKey,
            nonces: N,
            buffer: &'b mut [u8; MESSAGE_BYTES_MAX],
        ) -> Self {
            Self { me, key, nonces, phase: Phase::Waiting, buffer }
        }

        /// Answers the manager's first message, or takes its proof in.
        // Its part of the stack is given back before the handler runs.
        #[inline(never)]
        fn exchange(&mut self, message: &[u8]) -> Result<usize, Code> {
            let room: &mut [u8; EXCHANGE_BYTES_MAX] =
                self.buffer.first_chunk_mut().expect("a message is longer");
            if let Phase::Challenged(responder) =
                core::mem::replace(&mut self.phase, Phase::Waiting)
            {
                let channel = responder.handle_proof(message).map_err(ExchangeError::code)?;
                self.phase = Phase::Proven(channel.losing());
                return Ok(0);
            }
            let key = &self.key;
            // Whatever the manager is called: it has the key.
            let find = |_: &str, id| (key.id() == id).then(|| key.clone());
            let (responder, answer) = Responder::new(self.me, (self.nonces)(), message, find, room)
                .map_err(ExchangeError::code)?;
            let length = answer.len();
            self.phase = Phase::Challenged(responder);
            Ok(length)
        }
    }

    impl<N: FnMut() -> [u8; NONCE_BYTES]> Guard for Keyed<'_, N> {
        const ADDED_BYTES: usize = if PROOF_BYTES > SEAL_BYTES { PROOF_BYTES } else { SEAL_BYTES };

        fn begin(&mut self) -> bool {
            self.phase = Phase::Waiting;
            false
        }

        fn hear<'m>(&mut self, message: &'m mut [u8]) -> Heard<'m, '_> {
            if let Phase::Proven(channel) = &mut self.phase {
                return match channel.open(message) {
                    Ok(message) => Heard::Message(message),
                    Err(_) => Heard::Refused(Code::BadMessage),
                };
            }
            match self.exchange(message) {
                Ok(0) => Heard::Proven,
                Ok(length) => Heard::Answer(&self.buffer[..length]),
                Err(code) => Heard::Refused(code),
            }
        }

        fn protect<'g>(
            &'g mut self,
            head: &'g [u8],
            body: &'g [u8],
        ) -> Option<(&'g [u8], &'g [u8])> {
            let Phase::Proven(channel) = &mut self.phase else { return Some((head, body)) };
            let length = head.len() + body.len();
            let (place, rest) = self.buffer.split_at_mut_checked(head.len())?;
            place.copy_from_slice(head);
            rest.get_mut(..body.len())?.copy_from_slice(body);
            let length = channel.protect(self.buffer, length).ok()?;
            Some((&self.buffer[..length], &[]))
        }
    }
}
