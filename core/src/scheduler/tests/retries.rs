use super::*;
use crate::RetryBudget;

/// A pool of one worker, whose tasks may be tried again very often, and a budget of four tokens.
fn pool(per_done: u16) -> Pool {
    let mut pool = Pool::with(|config| {
        config.retries_max = 1000;
        config.retry_delay = Duration::ZERO;
        config.failures_max = u16::MAX;
        let mut budget = RetryBudget::new();
        (budget.tokens, budget.per_done) = (4, per_done);
        config.retry_budget = Some(budget);
    });
    pool.up(1);
    pool
}

fn fail(pool: &mut Pool) {
    let sent = pool.sent();
    pool.reply(sent, Verdict::Failed).unwrap();
}

#[test]
fn with_half_of_the_budget_spent_a_task_that_fails_is_not_tried_again() {
    let mut pool = pool(0);
    pool.submit();
    fail(&mut pool);
    fail(&mut pool);
    assert_eq!(pool.finish().1, Outcome::Failed, "the second failure left two of four");
    pool.submit();
    fail(&mut pool);
    assert_eq!(pool.finish().2, 1, "nor is the next one, though it has retries of its own");
}

#[test]
fn tasks_that_are_done_give_some_of_the_budget_back_and_never_more_than_all() {
    let mut pool = pool(500);
    for _ in 0..100 {
        pool.submit();
        let sent = pool.sent();
        pool.done(sent);
    }
    pool.submit();
    fail(&mut pool);
    fail(&mut pool);
    assert_eq!(pool.finish().1, Outcome::Failed);
    for _ in 0..4 {
        pool.submit();
        let sent = pool.sent();
        pool.done(sent);
    }
    pool.submit();
    fail(&mut pool);
    let sent = pool.sent();
    assert_eq!(sent.attempt, 2, "two were given back, and one of four is spent");
    pool.done(sent);
}
