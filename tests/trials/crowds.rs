//! Crowds that open connections and never finish a handshake, at the door of a process whose memory
//! is watched.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chargehand::core::message::{Message, Role};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::children::{CONCURRENCY, Child};
use crate::pair::Socket;
use crate::raw::{OFFER, Script, dial_plain, encoded, script, upgrade};
use crate::rig::{Rig, Tally, millis, quick, setup, until, within};
use crate::roles::{busy_manager, peak_bytes};

/// How many half-open handshakes there are.
const CROWD: usize = 5000;
/// How many threads open them, and how long each of them waits after one. Faster than the other end
/// takes them in, and the system's queue for it is full: then each would wait for a second.
const THREADS: usize = 10;
const PAUSE: Duration = millis(3);
/// How many of them are at the door before anybody good comes.
const FIRST: usize = 1000;
/// How much memory all of them may take. One that is let be has a buffer or two of some kilobytes; a
/// process grows by some of that for other reasons.
const BYTES_MAX: u64 = 24 << 20;
/// How long the good ones may take to join and to work.
const SOON: Duration = Duration::from_secs(15);

/// Lets this process have many open files, and returns how many.
pub(crate) fn raise_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(16_384);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        setrlimit(Resource::Nofile, limit).expect("up to the maximum is allowed");
    }
    usize::try_from(most).expect("a small number")
}

/// What a handshake is begun with, before it is left alone.
fn beginnings<P: Socket>(role: Role) -> Vec<Vec<u8>> {
    let hello = encoded(&Message::hello(role, 1, 1, "half of a name"), &[]);
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    if P::WEBSOCKET {
        let request = upgrade(OFFER).into_bytes();
        // A masked frame: its mask of zeros changes nothing.
        let length = u8::try_from(hello.len()).expect("a short Hello");
        let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], &hello[..]].concat();
        vec![vec![], half(&request), request.clone(), [request, half(&frame)].concat()]
    } else {
        let length = u32::try_from(hello.len()).expect("a short Hello").to_le_bytes();
        vec![vec![], length[..3].to_vec(), length.to_vec(), half(&[&length[..], &hello].concat())]
    }
}

/// Connections that begin a handshake, and no more.
struct Crowd {
    opened: Arc<AtomicUsize>,
    scripts: Vec<Script<Vec<TcpStream>>>,
}

impl Crowd {
    /// Comes to the door of a manager or a worker, as one of the other role. As many stay at once as
    /// this process may have open; before that, the first ones leave.
    fn at<P: Socket>(at: SocketAddr, role: Role) -> Self {
        let at_once = (raise_files() / 4).min(CROWD) / THREADS;
        let opened = Arc::new(AtomicUsize::new(0));
        let scripts = (0..THREADS).map(|_| {
            let count = Arc::clone(&opened);
            script(move || {
                let beginnings = beginnings::<P>(role);
                let mut crowd = Vec::new();
                for number in 0..CROWD / THREADS {
                    if crowd.len() == at_once {
                        crowd.drain(..at_once / 2);
                    }
                    let mut raw = dial_plain(at);
                    // It may be thrown out by now.
                    let _ = raw.stream.write_all(&beginnings[number % beginnings.len()]);
                    crowd.push(raw.stream);
                    count.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(PAUSE);
                }
                crowd
            })
        });
        Self { scripts: scripts.collect(), opened }
    }

    /// Waits for the last one of them, and lets them go.
    async fn leaves(self) {
        for script in self.scripts {
            drop(script.end().await);
        }
    }

    async fn has_come<P: Socket>(&self, count: usize) {
        until::<P>("the crowd comes", || self.opened.load(Ordering::SeqCst) >= count).await;
    }
}

fn assert_small(child: &Child, before: u64) {
    let grown = peak_bytes(child).saturating_sub(before);
    println!("{CROWD} half-open handshakes took at most {} KiB", grown >> 10);
    assert!(grown < BYTES_MAX, "{CROWD} half-open handshakes took {grown} bytes");
}

pub(crate) async fn five_thousand_half_open_handshakes_keep_no_good_worker_out<P: Socket>() {
    let child = busy_manager::<P>();
    let (at, before) = (child.at, peak_bytes(&child));
    let crowd = Crowd::at::<P>(at, Role::Worker);
    crowd.has_come::<P>(FIRST).await;
    let started = Instant::now();
    let names = ["good-1", "good-2", "good-3"];
    let _good = names.map(|name| P::job(P::dial(quick::<P>(name), &at)));
    let watch = script(move || {
        // In whichever order they come.
        let mut up = 0;
        while up < names.len() {
            up += usize::from(child.next_line().starts_with("up good-"));
        }
        (0..3).for_each(|_| child.wait_for("range"));
        child
    });
    let watched = within::<P, _>(SOON, watch.end()).await;
    let child = watched.expect("the good ones join and work");
    println!("the good ones had joined and worked after {:?}", started.elapsed());
    crowd.has_come::<P>(CROWD).await;
    assert_small(&child, before);
    // The whole crowd is still there, as far as it was not thrown out.
    let _late = P::job(P::dial(quick::<P>("late"), &at));
    let watch = script(move || child.wait_for("up late"));
    within::<P, _>(SOON, watch.end()).await.expect("a late one joins");
    crowd.leaves().await;
}

pub(crate) async fn five_thousand_half_open_handshakes_keep_no_good_manager_out<P: Socket>() {
    let child = Child::worker::<P>(CONCURRENCY);
    let before = peak_bytes(&child);
    let first = Rig::start::<P>(P::connect(setup::<P>(), &child.at));
    first.up::<P>(1).await;
    let crowd = Crowd::at::<P>(child.at, Role::Manager);
    crowd.has_come::<P>(FIRST).await;
    let second = Rig::start::<P>(P::connect(setup::<P>(), &child.at));
    for rig in [&first, &second] {
        let range = Tally::start(&rig.pool, 1000..=1500).all_done();
        within::<P, _>(SOON, range).await.expect("it works, whether it was there before or not");
    }
    crowd.has_come::<P>(CROWD).await;
    assert_small(&child, before);
    let late = Rig::start::<P>(P::connect(setup::<P>(), &child.at));
    let range = Tally::start(&late.pool, 1000..=1500).all_done();
    within::<P, _>(SOON, range).await.expect("a late one works, too");
    crowd.leaves().await;
    for rig in [first, second, late] {
        let stats = rig.stop().await;
        assert_eq!((stats.done, stats.lost), (501, 0), "{stats:?}");
    }
}
