use super::*;
use crate::{Choice, Ejection};

const MILLI: Duration = Duration::from_millis(1);

/// A pool of four workers, which are held against the others after each fourth answer.
fn four(change: impl FnOnce(&mut Ejection)) -> (Pool, [Link; 4]) {
    let mut ejection = Ejection::new();
    ejection.answers = 4;
    change(&mut ejection);
    let mut pool = Pool::with(|config| {
        config.choice = Choice::FirstAnswer;
        config.failures_max = u16::MAX;
        config.retries_max = 1000;
        config.retry_delay = Duration::ZERO;
        config.ejection = Some(ejection);
    });
    // So that slow ones are of use, and never wait.
    pool.scheduler.set_backlog(1 << 40);
    let links = [(); 4].map(|()| pool.up(1));
    (pool, links)
}

/// Has all workers do a task each, that takes so many milliseconds by worker; those that are to fail do.
/// Returns which of them got one.
fn round(pool: &mut Pool, links: &[Link; 4], millis: [u32; 4], fails: [bool; 4]) -> [bool; 4] {
    while pool.scheduler.stats().waiting < 4 {
        pool.submit();
    }
    let sends: Vec<Sent> = pool
        .polls()
        .into_iter()
        .filter_map(|action| match action {
            Action::Send { link, task, attempt } => Some(Sent { link, task, attempt }),
            _ => None,
        })
        .collect();
    let mut order: Vec<usize> = (0..4).collect();
    order.sort_by_key(|&at| millis[at]);
    let begun = pool.now;
    for at in order {
        let Some(sent) = sends.iter().find(|sent| sent.link == links[at]) else { continue };
        pool.now = begun.saturating_add(MILLI * millis[at]);
        let verdict = if fails[at] { Verdict::Failed } else { Verdict::Done };
        pool.reply(*sent, verdict).unwrap();
    }
    links.map(|link| sends.iter().any(|sent| sent.link == link))
}

const NONE: [bool; 4] = [false; 4];

fn rests(pool: &Pool, link: Link) -> bool {
    matches!(pool.state(link.worker()), WorkerState::Suspended { .. })
}

#[test]
fn a_worker_that_becomes_far_slower_than_the_others_rests_longer_each_time() {
    let (mut pool, links) = four(|_| ());
    let mut rested = Vec::new();
    for _ in 0..60 {
        round(&mut pool, &links, [40, 1, 1, 1], NONE);
        if let WorkerState::Suspended { until } = pool.state(links[0].worker()) {
            #[cfg(feature = "queues")]
            assert_eq!(
                pool.scheduler.idles(links[0].worker()),
                Some(crate::Idles::OffOthers { until })
            );
            rested.push(until.saturating_since(pool.now).as_secs().div_ceil(10) * 10);
            pool.wait(until.saturating_since(pool.now));
        }
        assert!(links[1..].iter().all(|&link| !rests(&pool, link)));
    }
    assert!(rested.starts_with(&[30, 60, 90]), "{rested:?}");
    assert!(rested.iter().all(|&secs| secs <= 300), "{rested:?}");
}

#[test]
fn a_worker_that_has_rested_gets_one_task_and_is_back_if_that_is_done_in_good_time() {
    let (mut pool, links) = four(|_| ());
    while !rests(&pool, links[0]) {
        round(&mut pool, &links, [40, 1, 1, 1], NONE);
    }
    let got = round(&mut pool, &links, [40, 1, 1, 1], NONE);
    assert!(!got[0], "it rests");
    pool.wait(30 * SECOND);
    let got = round(&mut pool, &links, [1, 1, 1, 1], NONE);
    assert!(got[0], "one task");
    assert!(!rests(&pool, links[0]));
    for _ in 0..20 {
        round(&mut pool, &links, [1, 1, 1, 1], NONE);
        assert!(!rests(&pool, links[0]));
    }
}

#[test]
fn a_worker_that_fails_far_more_often_than_the_others_rests() {
    let (mut pool, links) = four(|_| ());
    for _ in 0..40 {
        round(&mut pool, &links, [1, 1, 1, 1], [true, false, false, false]);
    }
    assert!(rests(&pool, links[0]));
}

#[test]
fn none_rests_where_all_become_slow_or_fail() {
    let (mut pool, links) = four(|_| ());
    for (millis, fails) in [([1; 4], NONE), ([90; 4], NONE), ([90; 4], [true; 4])] {
        for _ in 0..40 {
            round(&mut pool, &links, millis, fails);
            assert!(links.iter().all(|&link| !rests(&pool, link)));
        }
    }
}

#[test]
fn no_more_than_half_of_all_rest() {
    let (mut pool, links) = four(|ejection| {
        (ejection.others_min, ejection.deviations, ejection.rest) = (1, 0, 3000 * SECOND);
    });
    for _ in 0..40 {
        round(&mut pool, &links, [900, 300, 1, 1], NONE);
        round(&mut pool, &links, [900, 300, 60, 1], NONE);
    }
    let resting = links.iter().filter(|&&link| rests(&pool, link)).count();
    assert!((1..=2).contains(&resting), "{resting} rest");
}
