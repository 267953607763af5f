use super::*;
use crate::Waits;
use crate::queue::Rate;

impl Pool {
    fn rated(&mut self, window: u32, rate: Rate) -> Link {
        let worker = self.add(Route::Await);
        self.accept_rated(worker, window, rate)
    }

    fn accept_rated(&mut self, worker: WorkerId, window: u32, rate: Rate) -> Link {
        let offer = Offer::new(window).rate(rate).trusted();
        let accepted = self.scheduler.accept(self.now, worker, offer, Instant::EPOCH).unwrap();
        self.scheduler.check();
        accepted.link
    }

    /// How many are sent in so many steps of a tenth of a second, each done at once; with at most 16 that wait.
    fn sends_in(&mut self, steps: u32) -> Vec<usize> {
        let step = |pool: &mut Self| {
            while pool.scheduler.room() > 0 {
                pool.submit();
            }
            let mut sends = 0;
            while let Some(action) = pool.poll() {
                let Action::Send { link, task, attempt } = action else { continue };
                sends += 1;
                pool.reply(Sent { link, task, attempt }, Verdict::Done).unwrap();
                pool.finish();
                pool.submit();
            }
            pool.wait(SECOND / 10);
            sends
        };
        (0..steps).map(|_| step(self)).collect()
    }
}

#[test]
fn a_worker_is_sent_no_more_than_its_rate_allows_and_no_less_where_there_is_more() {
    let mut pool = Pool::new();
    pool.rated(16, Rate::per_second(20).burst(5));
    let sends = pool.sends_in(100);
    assert_eq!(sends[0], 5, "its burst, at once");
    assert!(sends[1..].iter().all(|&count| count == 2), "{sends:?}");
}

#[test]
fn a_worker_at_its_rate_is_passed_over_and_the_pool_says_when_it_is_not() {
    let mut pool = Pool::new();
    let slow = pool.rated(16, Rate::per_second(2));
    let task = pool.submit();
    assert_eq!(pool.sent().link, slow);
    let second = pool.submit();
    pool.nothing();
    assert_eq!(pool.scheduler.waits(second), Some(Waits::NoRoom));
    let until = pool.seconds(0).saturating_add(SECOND / 2);
    assert_eq!(pool.scheduler.idles(slow.worker()), Some(crate::Idles::Rate { until }));
    let at = pool.now.saturating_add(SECOND / 2);
    assert_eq!(pool.scheduler.poll_timeout(), Some(at));
    let free = pool.up(1);
    assert_eq!(pool.sent().link, free, "another one has it meanwhile");
    pool.submit();
    pool.nothing();
    pool.wait(SECOND / 2);
    assert_eq!(pool.sent().link, slow);
    assert_eq!(pool.in_flight(slow), 2);
    let _ = task;
}

#[test]
fn a_new_link_does_not_fill_the_bucket_again() {
    let mut pool = Pool::new();
    let rate = Rate::per_second(1).burst(2);
    let first = pool.rated(16, rate);
    for _ in 0..4 {
        pool.submit();
    }
    assert_eq!(pool.sends().len(), 2);
    let second = pool.accept_rated(first.worker(), 16, rate);
    pool.nothing();
    pool.wait(SECOND);
    assert_eq!(pool.sent().link, second);
    pool.nothing();
}

#[test]
fn a_worker_with_a_new_rate_owes_no_more_than_the_whole_burst_of_that_one() {
    let mut pool = Pool::new();
    let first = pool.rated(16, Rate::per(1, 60 * SECOND).burst(10));
    for _ in 0..11 {
        pool.submit();
    }
    assert_eq!(pool.sends().len(), 10);
    let second = pool.accept_rated(first.worker(), 16, Rate::per_second(100).burst(3));
    pool.nothing();
    pool.wait(SECOND / 100);
    assert_eq!(pool.sent().link, second);
    pool.nothing();
    pool.wait(SECOND / 100);
    assert_eq!(pool.sent().link, second);
}

#[test]
fn a_burst_of_centuries_is_cut_and_the_rate_holds() {
    for (span, burst, count) in [(Duration::MAX, 10, 1), (SECOND * (3 << 30), 4, 2)] {
        let rate = Rate::per(1, span).burst(burst);
        assert_eq!(rate.burst_max(), count);
        let mut pool = Pool::new();
        pool.rated(16, rate);
        for _ in 0..16 {
            pool.submit();
        }
        assert_eq!(pool.sends().len(), count as usize);
        pool.wait(50 * SECOND);
        pool.nothing();
    }
    let often = Rate::per_second(1).burst(u32::MAX);
    assert_eq!(often.burst_max(), u32::MAX, "136 years");
    assert_eq!(Rate::per(1, Duration::ZERO).burst(u32::MAX).burst_max(), u32::MAX);
}

#[cfg(feature = "serde")]
#[test]
fn a_rate_that_is_read_is_held_to_the_same_limits() {
    let read = |text: &str| serde_json::from_str::<Rate>(text).unwrap();
    let rate = Rate::per_second(10).burst(3);
    let text = serde_json::to_string(&rate).unwrap();
    assert_eq!(text, r#"{"interval":100000000,"burst":3}"#);
    assert_eq!(read(&text), rate);
    assert_eq!(read(r#"{"interval":100000000,"burst":0}"#), rate.burst(1));
    let endless = Rate::per(1, Duration::MAX);
    assert_eq!(read(r#"{"interval":18446744073709551615,"burst":10}"#), endless);
}

#[cfg(feature = "task-times")]
#[test]
fn not_now_halves_a_workers_rate_once_and_success_lets_it_grow_again() {
    let mut pool = Pool::new();
    let link = pool.rated(4, Rate::per_second(40).burst(4));
    for _ in 0..4 {
        pool.submit();
    }
    let interval = |pool: &Pool| {
        let stats = pool.scheduler.worker_stats(link.worker()).unwrap();
        stats.rate.unwrap().interval().as_millis()
    };
    assert_eq!(interval(&pool), 25);
    let sends = pool.sends();
    for &sent in &sends {
        pool.useless(sent, Useless::Throttled(SECOND)).unwrap();
    }
    assert_eq!(interval(&pool), 50, "all four were on their way when the limit was hit");
    pool.wait(SECOND);
    let sends = pool.sends_in(80);
    assert_eq!(interval(&pool), 25, "{sends:?}");
    let early: usize = sends[1..6].iter().sum();
    let late: usize = sends[70..75].iter().sum();
    assert!(early <= 11 && late == 20, "{sends:?}");
}

#[test]
fn a_worker_without_a_rate_is_as_plain_as_any() {
    let mut pool = Pool::new();
    pool.up(4);
    pool.submit();
    pool.sent();
    let (_, workers) = crate::storage::Storage::slots(&pool.scheduler.storage);
    assert!(workers[0].is_plain);
}
