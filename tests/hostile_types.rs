//! Bytes that would become too much of a type that holds itself, or is much larger than its encoding:
//! from a worker, from a manager, and within one process. Each is its own task's failure, and the
//! next task goes on.
//!
//! All of it runs in a thread with a stack as small as that of a thread for tasks may be.
#![expect(clippy::zero_sized_map_values, reason = "they are what is tested")]

use std::collections::{BTreeMap, HashMap};
use std::future::{Ready, ready};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use chargehand::testing::{Act, Script, World};
use chargehand::{DecodeLimits, Failure, Pool, TaskError, Worker};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Node {
    value: u64,
    next: Option<Box<Node>>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Map(BTreeMap<u8, Tree>),
    Pair { left: Box<Tree>, right: Box<Tree> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Sparse(Option<[u64; 32]>);

type Sparses = Vec<Sparse>;
type Boxes = Vec<Box<Sparse>>;
type Nothings = Vec<()>;
type Sets = HashMap<(), ()>;

const DEEP: &str = "nests deeper than 128 levels";
const LARGE: &str = "in memory";

fn in_a_small_thread(test: fn()) {
    let (sender, done) = mpsc::channel();
    let thread = thread::Builder::new().stack_size(512 * 1024);
    let running = thread.spawn(move || {
        test();
        sender.send(()).unwrap();
    });
    // A list without an end would be read for ever.
    let waited = done.recv_timeout(Duration::from_secs(60));
    assert!(waited != Err(RecvTimeoutError::Timeout), "it is read for a minute already");
    running.unwrap().join().unwrap();
}

/// Four million elements of one byte each.
fn many() -> Vec<u8> {
    let mut bytes = vec![0x80, 0x80, 0x80, 0x02];
    bytes.resize(4 + (4 << 20), 0);
    bytes
}

/// A varint of 2^64 - 1.
fn endless() -> Vec<u8> {
    [&[0xff; 9][..], &[1]].concat()
}

/// How much memory the process had at most, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Calls a worker that answers with these bytes first, and then as it should.
fn answer_of<A: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) -> String {
    let world = World::new(1);
    world.worker(Script::new().nth(1, Act::Bytes(bytes)));
    let pool = world.pool(|builder| builder);
    let Err(error) = world.run(pool.call::<A, u64>(&1)) else { panic!("that is no value") };
    assert!(matches!(error, TaskError::Answer(_)), "{error}");
    assert_eq!(world.run(pool.call::<u64, u64>(&2)), Ok(2), "the next one is answered");
    error.to_string()
}

/// As [`answer_of`], for a range of one height.
fn outcome_of<A: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) -> String {
    let world = World::new(1);
    world.worker(Script::new().always(Act::Bytes(bytes)));
    let pool = world.pool(|builder| builder);
    let report = world.run(pool.for_each::<A>(1..=1, |_, _| ()));
    report.first_failure.expect("that is no value").1.to_string()
}

type Fails = Ready<Result<(), &'static str>>;

fn never<Q>(_: Q) -> Fails {
    ready(Err("the handler was called"))
}

fn failure_of(world: &World, pool: &Pool, bytes: Vec<u8>) -> String {
    let answer = world.run(pool.call_raw(bytes));
    let Err(TaskError::Failed(text)) = answer else { panic!("{answer:?}") };
    assert!(text.text().contains("not of the type that this worker takes"), "{text}");
    text.to_string()
}

/// Sends these bytes to a worker whose handler takes a `Q`: elsewhere, and in this process.
fn requests_of<Q: DeserializeOwned + Send + 'static>(bytes: &[u8]) -> [String; 2] {
    let world = World::new(1);
    let timer = world.timer();
    world.host("typed", move || Worker::new(timer.clone(), never::<Q>));
    let pool = world.pool(|builder| builder);
    let elsewhere = failure_of(&world, &pool, bytes.to_vec());

    let world = World::new(1);
    let pool = world.local_pool(|builder| builder.in_process(1, never::<Q>));
    let answer = world.run(pool.call_raw(bytes.to_vec()));
    let Err(TaskError::Failed(here)) = answer else { panic!("{answer:?}") };
    [elsewhere, here.to_string()]
}

/// On the way to either side.
fn refused<T: DeserializeOwned + Send + 'static>(bytes: &[u8], why: &str) {
    let [elsewhere, here] = requests_of::<T>(bytes);
    for text in [answer_of::<T>(bytes.to_vec()), outcome_of::<T>(bytes.to_vec()), elsewhere, here] {
        assert!(text.contains(why), "{text}");
        assert!(text.contains("take the raw bytes"), "the remedy is not in {text}");
    }
}

#[test]
fn a_type_that_holds_itself_is_refused_before_the_stack_ends() {
    in_a_small_thread(|| {
        refused::<Node>(&[0, 1].repeat(100_000), DEEP);
        refused::<Tree>(&[1, 1].repeat(100_000), DEEP);
        refused::<Tree>(&[2, 1, 7].repeat(70_000), DEEP);
        refused::<Tree>(&[3].repeat(200_000), DEEP);
    });
}

#[test]
fn a_type_that_is_much_larger_than_its_encoding_is_refused_before_its_memory_is_taken() {
    in_a_small_thread(|| {
        refused::<Sparses>(&many(), LARGE);
        refused::<Boxes>(&many(), LARGE);
        refused::<Vec<(Sparse, Sparse)>>(&many(), LARGE);
        assert!(peak_mib() < 300, "{} MiB, where 4 Mi elements of 264 bytes are a GiB", peak_mib());
    });
}

#[test]
fn elements_without_a_byte_are_refused_beyond_the_limit() {
    in_a_small_thread(|| {
        refused::<Nothings>(&endless(), LARGE);
        refused::<Sets>(&endless(), LARGE);
        refused::<Vec<Nothings>>(&[&[1][..], &endless()].concat(), LARGE);
        refused::<BTreeMap<(), [u8; 0]>>(&endless(), LARGE);
    });
}

/// A list of so many nodes, which nests twice as deep.
fn nodes(count: usize) -> Vec<u8> {
    [[0, 1].repeat(count - 1), vec![0, 0]].concat()
}

/// So many options without a value.
fn nones(count: u16) -> Vec<u8> {
    let mut bytes = vec![count.to_le_bytes()[0] | 0x80, (count >> 7).to_le_bytes()[0]];
    bytes.resize(2 + usize::from(count), 0);
    bytes
}

#[test]
fn a_pool_takes_answers_as_deep_and_as_large_as_it_is_set_to() {
    let limits = DecodeLimits::new().depth_max(500).growth_times(300);
    for (limits, is_taken) in [(DecodeLimits::new(), false), (limits, true)] {
        let world = World::new(1);
        let answers = Script::new().nth(1, Act::Bytes(nodes(300))).nth(3, Act::Bytes(nodes(300)));
        world.worker(answers.always(Act::Bytes(nones(9000))));
        let pool = world.pool(|builder| builder.decode_limits(limits));
        assert_eq!(world.run(pool.call::<Node, u64>(&1)).is_ok(), is_taken);
        assert_eq!(world.run(pool.call::<Sparses, u64>(&1)).is_ok(), is_taken);
        let task = world.run(pool.submit::<Node, u64>(&3)).unwrap();
        assert_eq!(world.run(task).is_ok(), is_taken);
        let report = world.run(pool.for_each::<Sparses>(1..=2, |_, _| ()));
        assert_eq!(report.is_complete(), is_taken);
        let report = world.run(pool.map::<Sparses, _>([4_u64, 5]).each(|_, _| ()));
        assert_eq!(report.is_complete(), is_taken);

        // A handler here whose answer is asked for as another type, and whose request is long.
        let pool = world.local_pool(|builder| {
            builder
                .decode_limits(limits)
                .in_process(1, |node: Option<Node>| async move { Ok::<_, String>(node) })
        });
        let node = [vec![1], nodes(300)].concat();
        assert_eq!(world.run(pool.call_raw(node)).is_ok(), is_taken);
    }
}

#[test]
fn a_worker_takes_requests_as_deep_and_as_large_as_it_is_set_to() {
    let limits = DecodeLimits::new().depth_max(500).growth_times(300);
    for (limits, is_taken) in [(DecodeLimits::new(), false), (limits, true)] {
        let world = World::new(1);
        let timer = world.timer();
        world.host("typed", move || {
            let handler = |(node, sparses): (Node, Sparses)| async move {
                drop((node, sparses));
                Ok::<_, String>(())
            };
            Worker::new(timer.clone(), handler).decode_limits(limits)
        });
        let pool = world.pool(|builder| builder);
        let deep = world.run(pool.call_raw([nodes(300), nones(1)].concat()));
        assert_eq!(deep.is_ok(), is_taken, "{deep:?}");
        let large = world.run(pool.call_raw([nodes(3), nones(9000)].concat()));
        assert_eq!(large.is_ok(), is_taken, "{large:?}");
    }
}

#[test]
fn details_of_a_failure_are_bounded_as_their_reader_says() {
    type Details = Option<Box<Node>>;

    let world = World::new(1);
    let timer = world.timer();
    world.host("fails", move || {
        Worker::new(timer.clone(), |_: u64| async move {
            let node = (0..100).fold(None, |next, value| Some(Box::new(Node { value, next })));
            Err::<(), _>(Failure::permanent("no").with_details(&node))
        })
    });
    let pool = world.pool(|builder| builder);
    let Err(TaskError::Failed(failure)) = world.run(pool.call::<(), u64>(&1)) else { panic!() };
    assert!(failure.details::<Details>().unwrap().is_ok());
    let why = failure.details_within::<Details>(&DecodeLimits::new().depth_max(50));
    assert!(why.unwrap().unwrap_err().contains("deeper than 50 levels"));
}

#[test]
fn a_handler_on_threads_of_its_own_is_not_harmed_either() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, far) = chargehand::memory::pair(8);
        let handler = |_: Node| Err::<(), _>("the handler was called");
        let timer = chargehand::tokio::Tokio::new();
        let worker = Worker::blocking(timer, 1, handler).unwrap();
        let (pool, driver) = Pool::builder(timer).connect(near).build().unwrap();
        tokio::spawn(driver);
        tokio::spawn(worker.serve(far));
        let answer = pool.call_raw([0, 1].repeat(100_000));
        let answer = tokio::time::timeout(Duration::from_secs(30), answer).await.unwrap();
        let Err(TaskError::Failed(text)) = answer else { panic!("{answer:?}") };
        assert!(text.text().contains(DEEP), "{text}");

        let (near, far) = chargehand::memory::pair(8);
        let worker = Worker::blocking(timer, 1, |_: Node| Ok::<_, String>(())).unwrap();
        let worker = worker.decode_limits(DecodeLimits::new().depth_max(500));
        let (pool, driver) = Pool::builder(timer).connect(near).build().unwrap();
        tokio::spawn(driver);
        tokio::spawn(worker.serve(far));
        let answer = pool.call_raw(nodes(300));
        let answer = tokio::time::timeout(Duration::from_secs(30), answer).await.unwrap();
        assert_eq!(answer, Ok(Vec::new()));
    });
}
