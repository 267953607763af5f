//! Clocks that are wrong, and time that goes by.

use std::sync::atomic::AtomicU64;

use chargehand_core::io::Dial;
use rustls::time_provider::TimeProvider;

use super::*;

/// A clock that a test sets, in seconds since 1970.
#[derive(Clone, Debug)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    /// Makes one that many days ahead of the system's.
    fn ahead(days: i32) -> Self {
        Self(Arc::new(AtomicU64::new(seconds(day(days)))))
    }

    fn set(&self, time: SystemTime) {
        self.0.store(seconds(time), Ordering::Relaxed);
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl Dir {
    fn with_clock(
        &self,
        join: Join<'_>,
        role: Role,
        clock: &Clock,
    ) -> Result<Members, MembersError> {
        self.load(join, |path| Members::of(&path, role, Arc::new(clock.clone())))
    }
}

fn date(time: SystemTime) -> String {
    Day::of(UnixTime::since_unix_epoch(Duration::from_secs(seconds(time)))).to_string()
}

const TOLD: &str = "has expired or is not valid yet by the clock there";

#[test]
fn a_clock_that_is_a_year_off_at_either_end_is_told_to_the_day_whichever_dials() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        // Good for long, so that it is the other's certificate that looks wrong.
        let lasting = |role, name| authority.join(role, name).made_at(day(-500)).days(1_500);
        let ordinary = |role, name| authority.join(role, name).days(30);
        let expired = format!("expired on {}, 335 days ago", date(day(30)));
        let early = format!(
            "is not valid before {}, and by the clock here it is {}",
            date(day(-1)),
            date(day(-365))
        );
        for (days, said) in [(365, expired), (-365, early)] {
            let clock = Clock::ahead(days);
            for (wrong, right) in [(Role::Pool, Role::Worker), (Role::Worker, Role::Pool)] {
                let off = dir.with_clock(lasting(wrong, "off"), wrong, &clock).unwrap();
                let good =
                    dir.with_clock(ordinary(right, "good"), right, &Clock::ahead(0)).unwrap();
                let (near, far) = met(&off, &good).await;
                assert!(near.as_ref().unwrap_err().contains(&said), "{near:?} and not {said}");
                assert!(far.as_ref().unwrap_err().contains(TOLD), "{far:?}");
                let (near, far) = met(&good, &off).await;
                assert!(far.as_ref().unwrap_err().contains(&said), "{far:?} and not {said}");
                assert!(near.as_ref().unwrap_err().contains(TOLD), "{near:?}");
                for text in [&said, TOLD] {
                    assert!(!text.is_empty());
                }
            }
            // Nor is its own file taken, which would be no use to it.
            let own = dir.with_clock(ordinary(Role::Worker, "w1"), Role::Worker, &clock);
            let text = own.unwrap_err().to_string();
            assert!(text.contains(&said) && text.contains("clock"), "{text}");
        }
    });
}

#[test]
fn who_has_expired_says_so_itself_and_gets_in_at_once_by_a_new_file() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let clock = Clock::ahead(0);
        let pool = authority.join(Role::Pool, "m1").days(900);
        let pool = dir.with_clock(pool, Role::Pool, &clock).unwrap();
        let worker = authority.join(Role::Worker, "w1").days(30);
        let worker = dir.with_clock(worker, Role::Worker, &clock).unwrap();
        let dial = worker.dial(());
        let (near, far) = shake(Memory::pair(), &dial, &pool.accept(())).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        // With tickets to come back by, which have the certificate of before.
        far.write_all(b"x").await.unwrap();
        far.flush().await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
        assert_eq!((near.trust(), far.trust()), (Trust::Holds, Trust::Holds));

        clock.set(day(33));
        let Trust::Ended(text) = far.trust() else { panic!("it has expired") };
        assert!(text.contains(&format!("expired on {}, 3 days ago", date(day(30)))), "{text}");
        let text = worker.dial(Once::new(Memory::pair().0)).dial("m1:1").await.unwrap_err();
        let text = text.to_string();
        assert!(text.contains("this end's own certificate expired on"), "{text}");
        assert!(text.contains("3 days ago"), "{text}");

        let renewed = authority.join(Role::Worker, "w1").made_at(day(33)).days(30);
        dir.load(renewed, |path| worker.renew(path)).unwrap();
        assert_eq!(met_by(&dial, &pool).await, (known("m1"), known("w1")));
    });
}

/// A board that has no clock that runs.
#[derive(Debug)]
struct Stopped;

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        None
    }
}

#[test]
fn without_a_clock_nothing_is_taken_for_good() {
    let dir = Dir::new();
    let join = dir.authority();
    let path = dir.path("w1.join");
    join.join(Role::Worker, "w1").write(&path).unwrap();
    let text = Members::of(&path, Role::Worker, Arc::new(Stopped)).unwrap_err().to_string();
    assert!(text.contains("expired on"), "{text}");
}
