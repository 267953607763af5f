//! The last look at a link before it is judged, and what puts the verdict off.

use super::*;

impl Pool {
    /// Polls until there is nothing more to do, looks included.
    fn all(&mut self) -> Vec<Action> {
        core::iter::from_fn(|| self.poll_once()).collect()
    }
}

fn pool() -> Pool {
    Pool::with(|config| {
        config.attempt_timeout = 10 * SECOND;
        config.strikes_max = 100;
        config.resends_max = 100;
    })
}

#[test]
fn each_verdict_on_a_silent_link_comes_after_a_look() {
    let mut pool = Pool::with(|config| {
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 3 * SECOND;
    });
    let link = pool.up(1);
    let look = Action::Look { link, overdue: None };
    assert_eq!(pool.all(), []);
    pool.wait(10 * SECOND);
    assert_eq!(pool.all(), [look, Action::Ping { link }]);
    pool.wait(3 * SECOND);
    assert_eq!(pool.all(), [look, Action::Disconnect { link, reason: Reason::Silent }]);
}

#[test]
fn what_is_heard_at_the_last_look_saves_the_link() {
    let mut pool = Pool::with(|config| {
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 3 * SECOND;
    });
    let link = pool.up(1);
    let look = Action::Look { link, overdue: None };
    for _ in 0..5 {
        pool.wait(10 * SECOND);
        assert_eq!(pool.poll_once(), Some(look));
        pool.event(Event::Heard { link }).unwrap();
        assert_eq!(pool.all(), [], "no ping");
    }
    pool.wait(10 * SECOND);
    assert_eq!(pool.all(), [look, Action::Ping { link }]);
    pool.wait(3 * SECOND);
    assert_eq!(pool.poll_once(), Some(look));
    pool.event(Event::Heard { link }).unwrap();
    assert_eq!(pool.all(), []);
}

#[test]
fn an_answer_found_at_the_last_look_is_in_time() {
    let mut pool = pool();
    let link = pool.up(2);
    let (task, late) = (pool.submit(), pool.submit());
    let sent = [pool.sent(), pool.sent()];
    pool.wait(60 * SECOND);
    let look = Action::Look { link, overdue: Some(sent[0].task) };
    assert_eq!(pool.poll_once(), Some(look));
    pool.done(sent[0]);
    // The other one gets no second look: it was due at the same time.
    let withdraw = Action::Withdraw { link, task: late, attempt: 1 };
    assert_eq!(pool.all()[0], withdraw);
    assert_eq!(task, sent[0].task);
}

#[test]
fn each_attempt_that_is_late_is_looked_at_by_itself() {
    let mut pool = pool();
    let link = pool.up(3);
    let tasks = [pool.submit(), pool.submit(), pool.submit()];
    for _ in tasks {
        pool.sent();
    }
    pool.wait(10 * SECOND);
    let actions = pool.all();
    let looks = actions.iter().filter(|action| matches!(action, Action::Look { .. })).count();
    assert_eq!(looks, 3, "{actions:?}");
    assert_eq!(actions[0], Action::Look { link, overdue: Some(tasks[0]) });
}

#[test]
fn a_look_at_an_attempt_that_is_put_off_is_none_at_the_silence_of_the_same_moment() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = 13 * SECOND;
        config.heartbeat_interval = 10 * SECOND;
        config.heartbeat_timeout = 3 * SECOND;
    });
    let link = pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.wait(10 * SECOND);
    let silence = Action::Look { link, overdue: None };
    assert_eq!(pool.all(), [silence, Action::Ping { link }]);
    pool.wait(3 * SECOND);
    assert_eq!(pool.poll_once(), Some(Action::Look { link, overdue: Some(sent.task) }));
    let until = pool.seconds(20);
    pool.event(Event::Moving { link, until }).unwrap();
    let lost = Action::Disconnect { link, reason: Reason::Silent };
    assert_eq!(pool.all()[..2], [silence, lost]);
}

#[test]
fn what_moves_puts_the_attempts_of_its_link_off_and_nothing_else() {
    let mut pool = pool();
    let (slow, hung) = (pool.up(1), pool.up(1));
    let (first, second) = (pool.submit(), pool.submit());
    let sent = [pool.sent(), pool.sent()];
    let of = |link| sent.iter().find(|sent| sent.link == link).unwrap().task;
    pool.wait(9 * SECOND);
    let until = pool.seconds(5);
    pool.event(Event::Moving { link: slow, until }).unwrap();
    // An earlier time brings nothing nearer.
    pool.event(Event::Moving { link: slow, until: pool.seconds(2) }).unwrap();
    pool.wait(SECOND);
    let withdraw = Action::Withdraw { link: hung, task: of(hung), attempt: 1 };
    let actions = pool.all();
    assert_eq!(actions[..2], [Action::Look { link: hung, overdue: Some(of(hung)) }, withdraw]);
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Withdraw { link, .. } if *link == slow))
    );
    pool.wait(4 * SECOND);
    let withdraw = Action::Withdraw { link: slow, task: of(slow), attempt: 1 };
    assert_eq!(pool.all()[..2], [Action::Look { link: slow, overdue: Some(of(slow)) }, withdraw]);
    assert!([first, second].contains(&of(slow)));
}

#[test]
fn what_moves_is_no_sign_of_life_by_itself_and_nothing_on_the_next_link() {
    let mut pool = Pool::with(|config| {
        config.attempt_timeout = 10 * SECOND;
        config.heartbeat_interval = 20 * SECOND;
        config.heartbeat_timeout = 3 * SECOND;
    });
    let link = pool.up(1);
    let until = pool.seconds(3600);
    pool.event(Event::Moving { link, until }).unwrap();
    pool.wait(20 * SECOND);
    assert_eq!(pool.polls(), [Action::Ping { link }]);
    let next = pool.accept(link.worker(), 1).unwrap().link;
    assert_eq!(pool.event(Event::Moving { link, until }), Err(EventError::Stale));
    pool.submit();
    let sent = pool.sent();
    pool.wait(10 * SECOND);
    let withdraw = Action::Withdraw { link: next, task: sent.task, attempt: 1 };
    assert_eq!(pool.all()[..2], [Action::Look { link: next, overdue: Some(sent.task) }, withdraw]);
}
