//! What a worker keeps for managers whose link broke: whose goes where there is too much, and how it is said.

use core::future::pending;
use core::sync::atomic::Ordering;
use core::task::Poll;

use chargehand_core::message::{Aside, ExtensionsWriter, GRACE_EXTENSION};

use super::meddled::{Meddle, MeddledListener};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: u16 = 3;

/// Comes as the worker `worker` of the process `token`, and waits a minute when its link breaks. Returns what the worker
/// still has.
async fn come(connector: &MemoryConnector, token: u64, worker: u8) -> (Manager, Vec<u32>) {
    let (mut manager, _) = Manager::knock(connector).await;
    manager.send(&Message::hello(Role::Manager, 0, token, "m"), &[]).await;
    let mut value = [worker; 12];
    value[..4].copy_from_slice(&60_000_u32.to_le_bytes());
    let mut buffer = [0; 16];
    let mut extensions = ExtensionsWriter::new(&mut buffer);
    extensions.add(GRACE_EXTENSION, &value).unwrap();
    let extensions = extensions.finish();
    manager
        .send(&Message::Welcome { heartbeat_millis: 60_000, window: WINDOW, extensions }, &[])
        .await;
    // Its link may break before that.
    let held = manager.recv_if_any().await.map_or(Vec::new(), |frame| named(&frame));
    (manager, held)
}

fn named(frame: &[u8]) -> Vec<u32> {
    match Aside::decode(frame) {
        Ok(Aside::Holding(holding)) => holding.iter().map(|(task, _)| task.slot()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Counts its drops.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_manager_that_leaves_much_behind_ends_nothing_that_runs_for_another() {
    for hosts in [["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.1"]] {
        let (connector, listener) = pair(8);
        let (good, greedy) =
            (connector.clone().on_host(hosts[0]), connector.clone().on_host(hosts[1]));
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let timer = ManualTimer::new();
        let worker = Worker::new(timer.clone(), move |hangs: bool| {
            let guard = hangs.then(|| Guard(Arc::clone(&count)));
            async move {
                if hangs {
                    pending::<()>().await;
                }
                drop(guard);
                Ok::<_, String>(hangs)
            }
        });
        let worker = worker.concurrency(2).links_max(4).grace(60 * SECOND);
        beside(worker.serve(listener), async {
            let (mut first, held) = come(&good, 7, 0).await;
            assert!(held.is_empty());
            first.request(1, &[1]).await;
            settle().await;
            drop(first);
            settle().await;
            for number in 1..20 {
                let (mut other, _) = come(&greedy, 8, number).await;
                other.request(2, &[0]).await;
                assert_eq!(other.answer().await.0, 2);
                drop(other);
                settle().await;
                timer.advance(SECOND);
            }
            assert_eq!(ended.load(Ordering::SeqCst), 0, "{hosts:?}");
            let (_first, held) = come(&good, 7, 0).await;
            assert_eq!(held, [1]);
            // The latest of its own are there.
            assert_eq!(come(&greedy, 8, 19).await.1, [2]);
            assert!(come(&greedy, 8, 1).await.1.is_empty());
        });
    }
}

/// Breaks when it is to take the last of so many messages.
struct Breaks(usize);

impl Meddle for Breaks {
    fn poll_take(&mut self, _: usize) -> Poll<Result<(), MemoryError>> {
        self.0 -= 1;
        Poll::Ready(if self.0 == 0 { Err(MemoryError::Closed) } else { Ok(()) })
    }
}

#[test]
fn answers_outlive_a_link_that_breaks_while_they_are_said_again() {
    // With its list, or with any of the answers.
    for last in 2..=6 {
        let (connector, inner) = pair(64);
        let mut lasts = alloc::vec![usize::MAX, last, usize::MAX].into_iter();
        let listener = MeddledListener::new(inner, move || Breaks(lasts.next().unwrap()));
        let timer = ManualTimer::new();
        let begun = Arc::new(AtomicUsize::new(0));
        let (own, count) = (timer.clone(), Arc::clone(&begun));
        let worker = Worker::new(timer.clone(), move |seconds: u8| {
            count.fetch_add(1, Ordering::SeqCst);
            let sleep = own.sleep(SECOND * seconds.into());
            async move {
                sleep.await;
                Ok::<_, String>(seconds)
            }
        });
        let worker = worker.concurrency(WINDOW).grace(60 * SECOND);
        beside(worker.serve(listener), async {
            let (mut first, _) = come(&connector, 7, 0).await;
            first.request(9, &[0]).await;
            // For all that the worker knows it may not have arrived.
            assert_eq!(first.answer().await.0, 9);
            for number in 1..=3 {
                first.request(number, &[5]).await;
            }
            settle().await;
            drop(first);
            settle().await;
            timer.advance(6 * SECOND);
            settle().await;
            drop(come(&connector, 7, 0).await);
            settle().await;
            let (mut third, mut held) = come(&connector, 7, 0).await;
            held.retain(|&number| number != 9);
            held.sort_unstable();
            assert_eq!(held, [1, 2, 3], "it broke at message {last}");
            let mut answers = Vec::new();
            while let Some(answer) = smol::future::poll_once(third.answer()).await {
                answers.push(answer.0);
            }
            answers.retain(|&number| number != 9);
            answers.sort_unstable();
            assert_eq!(answers, [1, 2, 3]);
            assert_eq!(begun.load(Ordering::SeqCst), 4);
        });
    }
}
