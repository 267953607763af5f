use super::*;

#[test]
fn a_second_answer_is_stale() {
    let mut pool = Pool::new();
    pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.reply(sent, Verdict::Done).unwrap();
    assert_eq!(pool.reply(sent, Verdict::Failed), Err(EventError::Stale));
    pool.finish();
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    pool.submit();
    pool.sent();
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    assert_eq!(pool.scheduler.stats().stale, 3);
}

#[test]
fn a_task_has_its_outcome_from_the_last_reply_until_that_is_polled() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    pool.up(1);
    let task = pool.submit();
    assert!(!pool.scheduler.has_outcome(task));
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    assert!(!pool.scheduler.has_outcome(task), "it is tried again");
    pool.wait(SECOND);
    let again = pool.sent();
    pool.reply(again, Verdict::Failed).unwrap();
    assert!(pool.scheduler.has_outcome(task));
    let older = TaskId::from_parts(task.slot(), task.generation().wrapping_sub(1));
    assert!(!pool.scheduler.has_outcome(older));
    pool.finish();
    assert!(!pool.scheduler.has_outcome(task));
}

#[test]
fn an_answer_on_an_older_link_is_stale() {
    let mut pool = Pool::new();
    let worker = pool.add(Route::Await);
    let link = pool.accept(worker, 1).unwrap().link;
    pool.submit();
    let sent = pool.sent();
    pool.lose(link);
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    pool.wait(SECOND);
    pool.accept(worker, 1).unwrap();
    let again = pool.sent();
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    assert_eq!(pool.scheduler.stats().in_flight, 1);
    pool.done(again);
}

#[test]
fn an_answer_for_an_older_attempt_is_stale() {
    let mut pool = Pool::with(|config| config.attempt_timeout = SECOND);
    pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.wait(SECOND);
    pool.expect(withdraw(sent));
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    let again = pool.sent();
    assert_eq!(again.attempt, 2);
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    pool.done(again);
}

#[test]
fn an_answer_for_what_was_never_held_is_foreign() {
    let mut pool = Pool::new();
    let (mine, other) = (pool.up(1), pool.up(1));
    pool.submit();
    let sent = pool.sent();
    assert_eq!(sent.link, mine);
    let task = |slot, generation| TaskId::from_parts(slot, generation);
    let lies = [
        Sent { link: other, ..sent },
        Sent { attempt: 0, ..sent },
        Sent { attempt: 2, ..sent },
        Sent { task: task(16, 0), ..sent },
        Sent { task: task(u32::MAX, 0), ..sent },
        Sent { task: task(5, 0), ..sent },
        Sent { task: task(sent.task.slot(), 1), ..sent },
    ];
    for (count, lie) in (1..).zip(lies) {
        assert_eq!(pool.reply(lie, Verdict::Done), Err(EventError::Foreign), "{lie:?}");
        assert_eq!(pool.scheduler.stats().foreign, count);
        assert_eq!(pool.scheduler.stats().in_flight, 1);
    }
    pool.done(sent);
}

#[test]
fn of_two_generations_the_nearer_half_of_the_circle_is_ahead() {
    let mut pool = Pool::new();
    pool.up(1);
    pool.submit();
    let sent = pool.sent();
    let (now, slot) = (sent.task.generation(), sent.task.slot());
    for (distance, error) in [
        (1, EventError::Foreign),
        (u32::MAX / 2, EventError::Foreign),
        (u32::MAX / 2 + 1, EventError::Stale),
        (u32::MAX, EventError::Stale),
    ] {
        let task = TaskId::from_parts(slot, now.wrapping_add(distance));
        assert_eq!(pool.reply(Sent { task, ..sent }, Verdict::Done), Err(error), "{distance}");
    }
}

#[test]
fn a_task_that_waits_again_takes_no_answer() {
    let mut pool = Pool::with(|config| config.retries_max = 1);
    pool.up(1);
    pool.submit();
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
    assert_eq!(pool.reply(sent, Verdict::Done), Err(EventError::Stale));
    assert_eq!(pool.scheduler.stats().resting, 1);
}

#[test]
fn events_of_unknown_links_are_stale() {
    let mut pool = Pool::new();
    let link = pool.dialled(1);
    pool.remove(link.worker()).unwrap();
    assert_eq!(pool.polls().len(), 2);
    let mut other = Pool::new();
    for event in [
        Event::Connected { link, offer: Offer::new(1) },
        Event::Refused { link },
        Event::Lost { link, how: Loss::Broken },
        Event::Heard { link },
        Event::Draining { link },
    ] {
        assert_eq!(pool.event(event), Err(EventError::Stale), "{event:?}");
        assert_eq!(other.event(event), Err(EventError::Stale), "{event:?}");
    }
    assert_eq!(pool.scheduler.stats().stale, 5);
    pool.nothing();
}

#[test]
fn answers_may_come_in_any_order() {
    let mut pool = Pool::new();
    pool.up(4);
    for _ in 0..4 {
        pool.submit();
    }
    let sends = pool.sends();
    for at in [2, 0, 3, 1] {
        pool.done(sends[at]);
    }
    assert!(pool.scheduler.is_idle());
}
