//! Six workers' processes, killed, stopped and continued at random while ranges and calls go on.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use chargehand::Pool;
use rustix::process::Signal;

use crate::children::{CONCURRENCY, Child};
use crate::pair::{Socket, any_port};
use crate::raw::{Script, script};
use crate::rig::{Rig, Tally, answer_to, impatient, millis, setup};
use crate::roles::dialler;

/// How long it lasts where `CHAOS_SECONDS` does not say.
const SECONDS: u64 = 10;
/// Half of them are dialled, the others dial.
const WORKERS: usize = 6;
/// How many heights each range has. None of them is a worker's poison.
const HEIGHTS: u64 = 2000;
/// The first height of a single call.
const CALLS: u64 = 1 << 40;

/// How long the chaos lasts.
pub(crate) fn span() -> Duration {
    Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(SECONDS))
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")))
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    /// From the environment, or another at every run. Says which.
    fn seeded() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = number("CHAOS_SEED")
            .unwrap_or_else(|| u64::from(since.expect("it is later").subsec_nanos()));
        println!("CHAOS_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn span(&mut self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).expect("a short span");
        Duration::from_millis(self.below(millis))
    }
}

/// One worker: its process, and what comes to pass for it next.
struct Victim {
    number: usize,
    manager: SocketAddr,
    /// Where it is dialled, if it is.
    at: SocketAddr,
    state: State,
    next: Instant,
}

enum State {
    Runs(Child),
    Stands(Child),
    /// It is killed.
    Dead,
}

/// What was done to all of them.
#[derive(Debug, Default)]
struct Done {
    kills: u32,
    stops: u32,
}

impl Victim {
    fn start<P: Socket>(number: usize, manager: SocketAddr) -> Self {
        let mut victim = Self {
            number,
            manager,
            at: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: State::Dead,
            next: Instant::now(),
        };
        victim.revive::<P>();
        victim
    }

    fn is_dialled(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    fn revive<P: Socket>(&mut self) {
        let child = if self.is_dialled() {
            Child::worker_at::<P>(&self.at.to_string(), CONCURRENCY)
        } else {
            dialler::<P>(self.manager, &format!("victim-{}", self.number))
        };
        self.at = child.at;
        self.state = State::Runs(child);
    }

    /// Lets something happen to it.
    fn suffer<P: Socket>(&mut self, random: &mut Random, done: &mut Done) {
        let pause = match std::mem::replace(&mut self.state, State::Dead) {
            State::Runs(mut child) => {
                if random.below(2) == 0 {
                    done.kills += 1;
                    child.signal(Signal::KILL);
                    child.wait();
                    random.span(millis(500))
                } else {
                    done.stops += 1;
                    child.signal(Signal::STOP);
                    self.state = State::Stands(child);
                    // Longer than silence is borne, or not.
                    random.span(millis(2500))
                }
            }
            State::Stands(child) => {
                child.signal(Signal::CONT);
                self.state = State::Runs(child);
                random.span(millis(1500))
            }
            State::Dead => {
                self.revive::<P>();
                random.span(millis(1500))
            }
        };
        self.next = Instant::now() + pause;
    }

    /// Lets it be well in the end.
    fn recover<P: Socket>(&mut self) {
        match &self.state {
            State::Runs(_) => {}
            State::Stands(child) => child.signal(Signal::CONT),
            State::Dead => self.revive::<P>(),
        }
    }
}

/// Rages until it is over, and returns the workers, which are well then.
fn rage<P: Socket>(mut victims: Vec<Victim>, over: Arc<AtomicBool>) -> Script<(Vec<Victim>, Done)> {
    let mut random = Random::seeded();
    script(move || {
        let mut done = Done::default();
        while !over.load(Ordering::SeqCst) {
            for victim in &mut victims {
                if victim.next <= Instant::now() {
                    victim.suffer::<P>(&mut random, &mut done);
                }
            }
            std::thread::sleep(millis(2));
        }
        victims.iter_mut().for_each(Victim::recover::<P>);
        (victims, done)
    })
}

/// Makes one call after the other until it is over. Returns how many.
pub(crate) async fn call_on(pool: Pool, over: Arc<AtomicBool>, first: u64) -> u64 {
    for count in 0.. {
        if over.load(Ordering::SeqCst) {
            return count;
        }
        let height = first + count;
        assert_eq!(pool.call::<u64, u64>(&height).await, Ok(answer_to(height)));
    }
    unreachable!("there is an end")
}

pub(crate) async fn six_workers_that_are_killed_and_stopped_lose_nothing<P: Socket>() {
    let (door, manager) = any_port();
    let victims: Vec<_> = (0..WORKERS).map(|number| Victim::start::<P>(number, manager)).collect();
    let mut setup = P::accept(impatient::<P>(setup::<P>()), door);
    for victim in victims.iter().filter(|victim| victim.is_dialled()) {
        setup = P::connect(setup, &victim.at);
    }
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(6).await;

    let over = Arc::new(AtomicBool::new(false));
    let raging = rage::<P>(victims, Arc::clone(&over));
    let (sender, counts) = async_channel::bounded(2);
    for first in [CALLS, 2 * CALLS] {
        let (calls, sender) = (call_on(rig.pool.clone(), Arc::clone(&over), first), sender.clone());
        P::spawn(async move { sender.send(calls.await).await.expect("it is waited for") });
    }
    drop(sender);
    let (started, mut ranges) = (Instant::now(), 0);
    while started.elapsed() < span() {
        ranges += 1;
        Tally::start(&rig.pool, 1000..=999 + HEIGHTS).all_done().await;
    }
    over.store(true, Ordering::SeqCst);
    let mut calls = 0;
    while let Ok(count) = counts.recv().await {
        calls += count;
    }
    let (_victims, done) = raging.end().await;
    // All are back, and well.
    rig.up::<P>(6).await;
    Tally::start(&rig.pool, 1000..=999 + HEIGHTS).all_done().await;
    let stats = rig.stop().await;
    println!("{ranges} ranges and {calls} calls, {done:?}, {stats:?}");
    assert_eq!(stats.done, (ranges + 1) * HEIGHTS + calls, "each once");
    assert_eq!((stats.failed, stats.exhausted, stats.foreign), (0, 0, 0), "{stats:?}");
    // Twice or thrice as many as a rule.
    let least = u32::try_from(span().as_secs()).expect("a short time") / 2;
    assert!(done.kills >= least && done.stops >= least, "{done:?}");
    assert!(calls > 100 && stats.lost > 10, "{calls} calls, {stats:?}");
}
