use super::*;

fn share(pool: &Pool, link: Link) -> u64 {
    pool.scheduler.worker_stats(link.worker()).unwrap().done
}

#[test]
fn equal_workers_get_equal_shares() {
    let mut pool = Pool::new();
    let links = [(); 4].map(|()| pool.up(2));
    for _ in 0..100 {
        for _ in 0..4 {
            pool.submit();
        }
        for sent in pool.sends() {
            pool.done(sent);
        }
    }
    assert_eq!(links.map(|link| share(&pool, link)), [100; 4]);
}

#[test]
fn one_task_at_a_time_goes_round() {
    let mut pool = Pool::new();
    let links = [pool.up(4), pool.up(1), pool.up(2)];
    let mut turns = Vec::new();
    for _ in 0..6 {
        pool.submit();
        let sent = pool.sent();
        turns.push(sent.link);
        pool.done(sent);
    }
    assert_eq!(turns, [links, links].concat());
}

#[test]
fn a_slow_worker_gets_less() {
    let mut pool = Pool::new();
    let (fast, slow) = (pool.up(4), pool.up(4));
    let mut held = Vec::new();
    for turn in 1..=400 {
        pool.submit();
        held.extend(pool.sends());
        // The slow one answers a tenth as often.
        for link in [Some(fast), (turn % 10 == 0).then_some(slow)].into_iter().flatten() {
            if let Some(at) = held.iter().position(|sent| sent.link == link) {
                pool.done(held.remove(at));
            }
        }
    }
    assert!(share(&pool, slow) >= 40, "{}", share(&pool, slow));
    assert!(share(&pool, fast) >= 8 * share(&pool, slow), "{}", share(&pool, fast));
}

#[test]
fn the_least_loaded_worker_is_next_whatever_the_windows() {
    let mut pool = Pool::new();
    let links = [pool.up(1), pool.up(3), pool.up(8), pool.up(2)];
    for _ in 0..14 {
        pool.submit();
    }
    let order: Vec<_> = pool.sends().iter().map(|sent| sent.link).collect();
    let [a, b, c, d] = links;
    assert_eq!(order, [a, b, c, d, b, c, d, b, c, c, c, c, c, c]);
}

#[test]
fn a_worker_that_was_full_takes_its_place_by_load() {
    let mut pool = Pool::new();
    let [a, b, c, d] = [pool.up(2), pool.up(3), pool.up(4), pool.up(5)];
    for _ in 0..14 {
        pool.submit();
    }
    let sends = pool.sends();
    let answer = |pool: &mut Pool, link: Link, count: usize| {
        let mut of_link = sends.iter().filter(|sent| sent.link == link);
        for _ in 0..count {
            let sent = *of_link.next().unwrap();
            pool.done(sent);
        }
    };
    // Loads 2, 3, 4, 5 at first; then 1, 1, 3, 2, entered from the highest on.
    answer(&mut pool, c, 1);
    answer(&mut pool, d, 3);
    answer(&mut pool, a, 1);
    answer(&mut pool, b, 2);
    for _ in 0..6 {
        pool.submit();
    }
    let order: Vec<_> = pool.sends().iter().map(|sent| sent.link).collect();
    assert_eq!(order, [a, b, d, b, c, d]);
}

#[test]
fn a_worker_that_was_full_joins_the_last_of_its_load() {
    let mut pool = Pool::new();
    let [a, b, c] = [pool.up(2), pool.up(3), pool.up(3)];
    for _ in 0..8 {
        pool.submit();
    }
    let sends = pool.sends();
    for link in [a, c, b] {
        let sent = *sends.iter().find(|sent| sent.link == link).unwrap();
        pool.done(sent);
    }
    for _ in 0..3 {
        pool.submit();
    }
    let order: Vec<_> = pool.sends().iter().map(|sent| sent.link).collect();
    assert_eq!(order, [a, c, b]);
}

#[test]
fn with_a_window_of_one_a_task_waits_in_the_pool_until_a_worker_is_idle() {
    let mut pool = Pool::new();
    pool.up(1);
    pool.up(1);
    let submitted = [pool.submit(), pool.submit(), pool.submit(), pool.submit()];
    let sends = pool.sends();
    assert_eq!(tasks(&sends), submitted[..2]);
    pool.done(sends[1]);
    let third = pool.sent();
    assert_eq!((third.link, third.task), (sends[1].link, submitted[2]));
    pool.nothing();
    pool.done(sends[0]);
    let fourth = pool.sent();
    assert_eq!((fourth.link, fourth.task), (sends[0].link, submitted[3]));
}

#[test]
fn a_worker_that_joins_under_load_catches_up() {
    let mut pool = Pool::new();
    let first = pool.up(16);
    for _ in 0..4 {
        pool.submit();
    }
    pool.sends();
    let second = pool.up(16);
    for _ in 0..6 {
        pool.submit();
    }
    let sends = pool.sends();
    assert!(sends[..4].iter().all(|sent| sent.link == second));
    assert_eq!((pool.in_flight(first), pool.in_flight(second)), (5, 5));
}
