//! Bodies that are bytes: requests and answers of every type of them, and long answers, which are decoded
//! once.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};

use chargehand::testing::World;
use chargehand::{Pool, TaskError, Worker};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

const LENGTHS: [usize; 8] = [0, 1, 22, 31, 32, 1_024, 1_025, 70_000];

/// Pools whose handlers take a `Q` and give it back: with a worker elsewhere, and with one in this
/// process.
fn both<Q: Serialize + DeserializeOwned + Send + 'static>(test: impl Fn(&World, &Pool)) {
    let echo = |body: Q| ready(Ok::<_, Infallible>(body));
    let world = World::new(1);
    let timer = world.timer();
    world.host("echo", move || Worker::new(timer.clone(), echo));
    test(&world, &world.pool(|builder| builder));
    let world = World::new(1);
    test(&world, &world.pool(|builder| builder.in_process(1, echo)));
}

fn comes_back<Q, A>(request: &Q, answer: &A)
where
    Q: Serialize + ?Sized,
    A: Serialize + DeserializeOwned + Send + PartialEq + Debug + 'static,
{
    both::<A>(|world, pool| {
        let came = world.run(pool.call::<A, Q>(request)).expect("nothing fails");
        assert!(came == *answer);
        // On the wire it is as postcard has it.
        let encoded = postcard::to_stdvec(request).expect("bytes");
        assert!(world.run(pool.call_raw(encoded.clone())).expect("nothing fails") == encoded);
    });
}

#[test]
fn bytes_and_text_of_every_type_come_back_as_they_were() {
    for length in LENGTHS {
        let bytes: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
        let boxed = bytes.clone().into_boxed_slice();
        comes_back(&bytes, &bytes);
        comes_back(bytes.as_slice(), &boxed);
        comes_back(&bytes.as_slice(), &bytes);
        comes_back(&boxed, &bytes);
        let text = "x".repeat(length);
        comes_back(text.as_str(), &text);
    }
}

/// Counts how often it is decoded.
#[derive(Debug, PartialEq, Serialize)]
struct Counted(Vec<u8>);

static DECODED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        Ok(Self(String::deserialize(deserializer)?.into_bytes()))
    }
}

#[test]
fn a_long_answer_is_decoded_once_where_it_takes_no_more_memory_than_its_bytes() {
    let world = World::new(1);
    let timer = world.timer();
    let long = |_: u64| ready(Ok::<_, Infallible>("x".repeat(70_000)));
    world.host("long", move || Worker::new(timer.clone(), long));
    let pool = world.pool(|builder| builder);
    let answer = world.run(pool.call::<Counted, u64>(&1)).expect("nothing fails");
    assert!(answer.0 == vec![b'x'; 70_000]);
    assert_eq!(DECODED.load(Ordering::Relaxed), 1);
    let report = world.run(pool.for_each::<Counted>(1..=9, |_, outcome| {
        assert_eq!(outcome.expect("nothing fails").0.len(), 70_000);
    }));
    assert_eq!((report.done, DECODED.load(Ordering::Relaxed)), (9, 10));
    // And one of another type is still the task's error.
    let error = world.run(pool.call::<Vec<String>, u64>(&1)).unwrap_err();
    assert!(matches!(error, TaskError::Answer(_)), "{error}");
}
