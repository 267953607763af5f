//! How much stack the worker takes that proves a key: as in `stack_worker.rs`. What the manager says
//! is made before the stack is painted.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use chargehand_core::keyed::{
    Channel, EXCHANGE_BYTES_MAX, Initiator, Member, NONCE_BYTES, Responder, SharedKey,
};
use chargehand_core::message::Role;
use chargehand_core::serial::FrameKind;
use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;
use firmware::guard::Keyed;
use firmware::probe::echo;
use firmware::script::{MESSAGES, Said, Script, repaint, stack_bytes};
use firmware::worker::{Buffers, Handler, MESSAGE_BYTES_MAX, WIRE_BYTES_MAX, Worker};
use static_cell::{ConstStaticCell, StaticCell};

type Nonces = fn() -> [u8; NONCE_BYTES];
type Guarded = Worker<'static, Script, Handler, Keyed<'static, Nonces>>;
type Message = [u8; MESSAGE_BYTES_MAX];

/// Two of the messages open a link, which takes two more each.
const SAID: usize = MESSAGES.len() + 4;

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static GUARD: ConstStaticCell<Message> = ConstStaticCell::new([0; MESSAGE_BYTES_MAX]);
static WORKER: StaticCell<Guarded> = StaticCell::new();
static FRAME: ConstStaticCell<[u8; WIRE_BYTES_MAX]> = ConstStaticCell::new([0; WIRE_BYTES_MAX]);
static MEMORY: ConstStaticCell<[Message; SAID]> =
    ConstStaticCell::new([[0; MESSAGE_BYTES_MAX]; SAID]);
static SCRIPT: StaticCell<[Said; SAID]> = StaticCell::new();

const KEY: SharedKey = SharedKey::new([7; 32]);
const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];
/// How many bytes a worker that understands all of this has said at the end.
const SAID_BYTES: u32 = if cfg!(feature = "sealed") { 823 } else { 780 };

#[entry]
fn main() -> ! {
    let worker = start(script());
    repaint();
    worker.poll();
    let bytes = stack_bytes();
    let said = worker.uart().said();
    hprintln!("{} bytes of stack, {} bytes said", bytes, said);
    exit(if said == SAID_BYTES { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::nop();
    }
}

fn member(role: Role) -> Member<'static> {
    let member = Member::new(role, "w").expect("a good name");
    #[cfg(feature = "sealed")]
    let member = member.sealed();
    member
}

/// Makes the worker. Not in `main`, whose part of the stack is never given back.
#[inline(never)]
fn start(script: &'static [Said]) -> &'static mut Guarded {
    let script = Script::new(FRAME.take(), script);
    let nonces: Nonces = || NONCE;
    let guard = Keyed::new(member(Role::Worker), KEY, nonces, GUARD.take());
    WORKER.init_with(|| Worker::guarded(script, "w", echo, BUFFERS.take(), guard))
}

/// Makes the messages of a manager that has the key, and knows what the worker's nonces are.
#[inline(never)]
fn script() -> &'static [Said] {
    let mut places = MEMORY.take().iter_mut();
    let mut said = [MESSAGES[0]; SAID].map(|(_, bytes)| (FrameKind::Data, bytes));
    let mut list = said.iter_mut();
    let mut add = |kind, bytes: &[u8], channel: Option<&mut Channel>| {
        let place = places.next().expect("room for all");
        place[..bytes.len()].copy_from_slice(bytes);
        let length = channel.map_or(bytes.len(), |channel| {
            channel.protect(place, bytes.len()).expect("it has room")
        });
        *list.next().expect("room for all") = (kind, &place[..length]);
    };
    let mut channel = None;
    for (number, (kind, bytes)) in (1..).zip(MESSAGES) {
        if kind == FrameKind::Open {
            let (mut ours, mut theirs) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
            let nonce = [number; NONCE_BYTES];
            let (initiator, open) = Initiator::new(member(Role::Manager), &KEY, nonce, &mut ours);
            add(FrameKind::Open, open, None);
            let find = |_: &str, _| Some(KEY);
            let (_, challenge) =
                Responder::new(member(Role::Worker), NONCE, open, find, &mut theirs)
                    .expect("it knows the key");
            let (proven, proof) =
                initiator.handle_challenge(challenge, &mut ours).expect("it has the key");
            add(FrameKind::Data, proof, None);
            channel = Some(proven);
        }
        add(FrameKind::Data, bytes, channel.as_mut());
    }
    SCRIPT.init(said)
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    exit(EXIT_FAILURE);
    loop {
        cortex_m::asm::nop();
    }
}
