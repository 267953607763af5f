//! Ranges whose outcomes nobody takes, or not in time.

use super::pair::Socket;
use super::*;

const MEMORY_MAX: usize = 48 * MIB;

fn pool<P: Socket>() -> Pool {
    let builder = Pool::builder(Smol::new())
        .frame_bytes_max(u32::try_from(2 * MIB).unwrap())
        .memory_max(MEMORY_MAX);
    run(connect::<P>(connect::<P>(builder, serve::<P>(8)), serve::<P>(8)))
}

/// What the pool holds, what its workers do, and some more.
const MOST: usize = MEMORY_MAX + 40 * MIB;

#[test]
fn calls_go_on_beside_a_range_whose_long_answers_nobody_takes() {
    alone(here!(calls_go_on_beside_a_range_whose_long_answers_nobody_takes), || {
        let pool = pool::<Tcp>();
        let watch = Watch::start();
        smol::block_on(async {
            let mut range = pool.process::<Bytes>(2..=300);
            let mut seen = vec![in_time(range.next()).await.expect("the first").0];
            smol::Timer::after(Duration::from_millis(500)).await;
            let longest = calls(&pool, 200).await;
            assert!(longest < Duration::from_secs(2), "{longest:?}");
            assert!(watch.growth() < MOST, "{} MiB", watch.growth() / MIB);
            while let Some((height, outcome)) = in_time(range.next()).await {
                assert_eq!(outcome, Ok(answer(height)));
                seen.push(height);
            }
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(2..=300), "each height once");
            assert!(range.report().is_complete());
            assert!(watch.growth() < MOST, "{} MiB", watch.growth() / MIB);
            in_time(pool.stop()).await.expect("it runs");
        });
    });
}

#[test]
fn two_ranges_that_nobody_takes_leave_room_for_a_third_and_calls() {
    alone(here!(two_ranges_that_nobody_takes_leave_room_for_a_third_and_calls), || {
        let pool = pool::<Ws>();
        let watch = Watch::start();
        smol::block_on(async {
            let mut stuck = [pool.process::<Bytes>(2..=200), pool.process::<Bytes>(2..=200)];
            for range in &mut stuck {
                let _ = in_time(range.next()).await.expect("the first");
            }
            smol::Timer::after(Duration::from_millis(300)).await;
            let report = in_time(pool.for_each::<Bytes>(2..=60, |height, outcome| {
                assert_eq!(outcome, Ok(answer(height)));
            }));
            assert!(report.await.is_complete());
            calls(&pool, 20).await;
            assert!(watch.growth() < MOST, "{} MiB", watch.growth() / MIB);
            for range in stuck {
                assert!(in_time(range.each(|_, _| ())).await.is_complete());
            }
            in_time(pool.stop()).await.expect("it runs");
        });
    });
}

#[test]
fn a_range_in_order_goes_on_though_its_first_height_is_the_last_to_come() {
    alone(here!(a_range_in_order_goes_on_though_its_first_height_is_the_last_to_come), || {
        let pool = pool::<Tcp>();
        let watch = Watch::start();
        smol::block_on(async {
            let mut range = pool.process::<Bytes>(SLOW..=200).in_order(128);
            for height in SLOW..=200 {
                let (came, outcome) = in_time(range.next()).await.expect("all come");
                assert_eq!((came, outcome), (height, Ok(answer(height))));
                if height % 50 == 0 {
                    smol::Timer::after(Duration::from_millis(200)).await;
                }
            }
            assert!(in_time(range.next()).await.is_none());
            assert!(watch.growth() < MOST, "{} MiB", watch.growth() / MIB);
            in_time(pool.stop()).await.expect("it runs");
        });
    });
}
