//! The proof of a shared key, and what is encrypted with it.

use chargehand_core::keyed::{
    Channel, EXCHANGE_BYTES_MAX, Initiator, Member, NONCE_BYTES, Responder, SharedKey,
};
use chargehand_core::message::Role;

use crate::chunks::Choices;

/// Somebody on the way who changes what two sides with the same key say is found out, and nothing that the
/// other side did not say comes out of a channel.
pub fn keyed(data: &[u8]) {
    let mut choices = Choices(data);
    let seals = choices.byte() & 1 == 0;
    let mut ours = [0; EXCHANGE_BYTES_MAX];
    let mut theirs = [0; EXCHANGE_BYTES_MAX];
    let key = SharedKey::new([7; 32]);
    let (worker, manager) =
        (member(Role::Worker, "w1", seals), member(Role::Manager, "pool", seals));
    let (initiator, open) = Initiator::new(worker, &key, [1; NONCE_BYTES], &mut ours);
    let (said, mut is_changed) = on_the_way(open, &mut choices);
    let find = |name: &str, id| (name == "w1" && id == key.id()).then(|| key.clone());
    let answered = Responder::new(manager, [2; NONCE_BYTES], &said, find, &mut theirs);
    let Ok((responder, challenge)) = answered else {
        return assert!(is_changed, "refused at once");
    };
    let (said, changed) = on_the_way(challenge, &mut choices);
    is_changed |= changed;
    let mut buffer = [0; EXCHANGE_BYTES_MAX];
    let Ok((near, proof)) = initiator.handle_challenge(&said, &mut buffer) else {
        return assert!(is_changed, "the challenge was refused");
    };
    assert!(!is_changed, "a changed challenge was taken");
    let (said, changed) = on_the_way(proof, &mut choices);
    let Ok(far) = responder.handle_proof(&said) else {
        return assert!(changed, "the proof was refused");
    };
    assert!(!changed, "a changed proof was taken");
    talk(near, far, seals, choices);
}

fn member(role: Role, name: &'static str, seals: bool) -> Member<'static> {
    let member = Member::new(role, name).expect("a name");
    if seals { member.sealed() } else { member }
}

/// Returns what arrives, and whether that is something else: a byte is changed, or other bytes come.
fn on_the_way(message: &[u8], choices: &mut Choices<'_>) -> (Vec<u8>, bool) {
    let mut said = message.to_vec();
    match choices.byte() {
        128..192 if !said.is_empty() => {
            let at = choices.below(said.len() as u64);
            said[usize::try_from(at).expect("an index")] ^= choices.byte();
        }
        0..192 => {}
        192..224 => said.truncate(usize::from(choices.byte())),
        _ => {
            let length = usize::from(choices.byte());
            said = choices.take(length).to_vec();
        }
    }
    let is_changed = said != message;
    (said, is_changed)
}

/// What is not changed on the way arrives as it was sent; what is changed ends the link.
fn talk(mut near: Channel, mut far: Channel, seals: bool, mut choices: Choices<'_>) {
    assert_eq!((near.peer(), far.peer()), ("pool", "w1"));
    let mut is_first = true;
    while !choices.is_over() {
        let length = usize::from(choices.byte());
        let message = choices.take(length).to_vec();
        let mut buffer = message.clone();
        buffer.resize(message.len() + near.added_bytes(), 0);
        let length = near.protect(&mut buffer, message.len()).expect("there is room");
        let (mut said, is_changed) = on_the_way(&buffer[..length], &mut choices);
        let got = far.open(&mut said).map(<[u8]>::to_vec);
        if is_changed {
            // Without encryption, only the first message has a proof.
            assert!(got.is_err() || !(seals || is_first), "a changed message was taken");
        } else {
            assert_eq!(got.as_deref(), Ok(&message[..]), "a message was changed");
        }
        if got.is_err() {
            return;
        }
        is_first = false;
    }
}
