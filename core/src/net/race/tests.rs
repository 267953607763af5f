use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::string::{String, ToString};
use std::task::Waker;
use std::vec;

use super::*;

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn families_take_turns_and_the_order_within_each_stays() {
    for (given, ordered) in [
        (&[][..], &[][..]),
        (&["1.0.0.1:1"], &["1.0.0.1:1"]),
        (&["[::1]:1", "[::2]:1", "1.0.0.1:1"], &["[::1]:1", "1.0.0.1:1", "[::2]:1"]),
        (
            &["1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:1", "[::1]:1", "[::2]:1"],
            &["1.0.0.1:1", "[::1]:1", "1.0.0.2:1", "[::2]:1", "1.0.0.3:1"],
        ),
        (&["1.0.0.1:1", "1.0.0.1:1", "1.0.0.2:1"], &["1.0.0.1:1", "1.0.0.2:1"]),
    ] {
        assert_eq!(alternating(addresses(given)), addresses(ordered));
    }
}

/// A world in which time passes by hand, and each address has its fate.
#[derive(Clone, Default)]
struct World {
    now: Rc<Cell<Duration>>,
    log: Rc<RefCell<Vec<(SocketAddr, Duration)>>>,
    dropped: Rc<Cell<usize>>,
}

struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl World {
    /// Runs a race in steps of 10 ms: `fate` says after how long an address answers, and what.
    fn run(
        &self,
        name: &str,
        given: &[&str],
        fate: impl Fn(SocketAddr) -> Option<(u64, Result<(), &'static str>)>,
    ) -> (Duration, Option<Result<SocketAddr, Unreachable<&'static str>>>) {
        let until = |at: Duration| {
            let now = self.now.clone();
            poll_fn(move |_| if now.get() >= at { Poll::Ready(()) } else { Poll::Pending })
        };
        let connect = |address| {
            self.log.borrow_mut().push((address, self.now.get()));
            let (fate, from) = (fate(address), self.now.get());
            let on_drop = Dropped(self.dropped.clone());
            async move {
                let _on_drop = on_drop;
                let Some((after, result)) = fate else { return pending().await };
                until(from + Duration::from_millis(after)).await;
                result.map(|()| address)
            }
        };
        let sleep = |span| until(self.now.get() + span);
        let address = Address::to_dial(name).unwrap();
        let mut race = Box::pin(race(&address, addresses(given), connect, sleep));
        for _ in 0..1_000 {
            match race.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => return (self.now.get(), Some(result)),
                Poll::Pending => self.now.set(self.now.get() + Duration::from_millis(10)),
            }
        }
        (self.now.get(), None)
    }
}

const A: &str = "10.0.0.1:1";
const B: &str = "10.0.0.2:1";
const C: &str = "[::1]:1";

fn is(address: SocketAddr, text: &str) -> bool {
    address.to_string() == text
}

#[test]
fn an_address_that_swallows_everything_costs_one_stagger() {
    let world = World::default();
    let (at, result) =
        world.run("name:1", &[A, B], |address| is(address, B).then_some((30, Ok(()))));
    assert!(is(result.unwrap().unwrap(), B));
    assert_eq!(at, STAGGER + Duration::from_millis(30));
    assert_eq!(world.dropped.get(), 2, "the loser is given up");
}

#[test]
fn an_address_that_refuses_costs_nothing_and_the_next_has_a_stagger_of_its_own() {
    let world = World::default();
    let (at, result) = world.run("name:1", &[A, B, C], |address| match address {
        address if is(address, A) => Some((20, Err("refused"))),
        address if is(address, B) => Some((100, Ok(()))),
        _ => None,
    });
    // C is of the other family, and comes second.
    assert!(is(result.unwrap().unwrap(), B));
    assert_eq!(at, Duration::from_millis(20) + STAGGER + Duration::from_millis(100));
}

#[test]
fn one_that_refuses_beside_one_that_swallows_makes_room_for_the_next_at_once() {
    let world = World::default();
    let (at, result) = world.run("name:1", &[A, B, "10.0.0.3:1"], |address| match address {
        address if is(address, A) => None,
        address if is(address, B) => Some((10, Err("refused"))),
        _ => Some((10, Ok(()))),
    });
    assert!(result.unwrap().is_ok());
    assert_eq!(at, STAGGER + Duration::from_millis(20));
}

#[test]
fn one_that_is_slow_wins_still_where_it_answers_first() {
    let world = World::default();
    let (at, result) = world.run("name:1", &[A, B], |address| {
        is(address, A).then_some((400, Ok(()))).or(Some((500, Ok(()))))
    });
    assert!(is(result.unwrap().unwrap(), A));
    assert_eq!(at, Duration::from_millis(400));
    assert_eq!(world.log.borrow().len(), 2);
}

#[test]
fn where_all_fail_each_is_named_with_its_reason() {
    let world = World::default();
    let (at, result) = world.run("name:1", &[A, B], |address| {
        Some(if is(address, A) { (500, Err("unreachable")) } else { (10, Err("refused")) })
    });
    assert_eq!(at, Duration::from_millis(500));
    let text = result.unwrap().unwrap_err().to_string();
    assert_eq!(
        text,
        "none of its 2 addresses can be reached: 10.0.0.2:1: refused; 10.0.0.1:1: unreachable"
    );
}

#[test]
fn an_address_is_not_told_twice_and_a_name_with_one_tells_which() {
    for (name, expected) in [("10.0.0.1:1", "refused"), ("name:1", "at 10.0.0.1:1: refused")] {
        let (_, result) = World::default().run(name, &[A], |_| Some((0, Err("refused"))));
        assert_eq!(result.unwrap().unwrap_err().to_string(), expected);
    }
    let (_, result) = World::default().run("name:1", &[], |_| None);
    assert_eq!(result.unwrap().unwrap_err().to_string(), "the name has no address");
}

#[test]
fn a_name_with_a_thousand_dead_addresses_has_a_short_error() {
    let many: Vec<String> =
        (0..1_000).map(|n| std::format!("10.0.{}.{}:1", n / 250, n % 250)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, result) = World::default().run("name:1", &many, |_| Some((0, Err("refused"))));
    let error = result.unwrap().unwrap_err();
    assert_eq!(error.reasons().len(), 1_000);
    assert!(error.to_string().len() < 500);
}

#[test]
fn a_race_that_nobody_answers_does_not_end_by_itself() {
    let world = World::default();
    assert!(world.run("name:1", &[A, B, C], |_| None).1.is_none());
    let begun: Vec<Duration> = world.log.borrow().iter().map(|(_, at)| *at).collect();
    assert_eq!(begun, vec![Duration::ZERO, STAGGER, 2 * STAGGER]);
    assert_eq!(world.dropped.get(), 3);
}

#[test]
#[cfg(feature = "std")]
fn an_io_error_keeps_a_kind_that_all_share() {
    use std::io::{Error, ErrorKind};

    let kind_of = |kinds: &[ErrorKind]| {
        let failed = kinds.iter().map(|kind| (addresses(&[A])[0], Error::from(*kind))).collect();
        Error::from(Unreachable { is_literal: false, failed }).kind()
    };
    assert_eq!(kind_of(&[ErrorKind::ConnectionRefused; 2]), ErrorKind::ConnectionRefused);
    assert_eq!(kind_of(&[ErrorKind::ConnectionRefused, ErrorKind::TimedOut]), ErrorKind::Other);
    assert_eq!(kind_of(&[]), ErrorKind::NotFound);
}
