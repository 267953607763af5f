use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn overdue(task: u32, runs: Option<u32>) -> Overdue {
    let task = TaskId::from_parts(task, 0);
    let (attempt_timeout, heartbeat_interval) = (60 * SECOND, 10 * SECOND);
    Overdue {
        task,
        held: 4,
        runs,
        is_strike: true,
        left: None,
        attempt_timeout,
        heartbeat_interval,
    }
}

/// A link by hand.
struct Link {
    life: Life,
    at: Looked,
    overdue: Overdue,
}

impl Link {
    fn new() -> Self {
        let at = Looked {
            now: Instant::from_millis(50_000),
            progress: BytesMoved::default(),
            messages: 0,
            requests: 0,
            is_backed_up: false,
            answers: 1,
            heartbeat_timeout: 60 * SECOND,
            rate_min: 1000,
        };
        Self { life: Life::new(at.now, at.progress), at, overdue: overdue(0, None) }
    }

    fn waits(&mut self, span: Duration) {
        self.at.now = self.at.now.saturating_add(span);
    }

    /// Parts of one message come.
    fn receives(&mut self, bytes: u64) {
        for part in [bytes / 2, bytes - bytes / 2] {
            self.at.progress.received += part;
            self.life.on_quiet(self.at.progress.received, self.at.messages);
        }
    }

    fn look(&mut self) -> bool {
        self.life.look(&self.at)
    }

    fn put_off(&mut self) -> Option<Duration> {
        self.life.look(&self.at);
        let until = self.life.put_off(&self.at, self.overdue)?;
        Some(until.saturating_since(self.at.now))
    }
}

#[test]
fn bytes_are_life_above_the_least_rate_however_often_somebody_looks() {
    for (rate, is_life) in [(1100, true), (900, false)] {
        for span in [100, 500, 3000, 10_000].map(Duration::from_millis) {
            let mut link = Link::new();
            for _ in 0..40 {
                link.waits(span);
                link.receives(u64::try_from(rate * span.as_millis() / 1000).unwrap());
                assert_eq!(link.look(), is_life, "{rate} bytes a second, each {span:?}");
            }
        }
    }
}

#[test]
fn a_link_that_was_fast_may_stand_still_for_ten_seconds_and_no_longer() {
    let mut link = Link::new();
    link.waits(SECOND);
    link.receives(1 << 40);
    assert!(link.look());
    link.waits(9 * SECOND);
    assert!(link.look());
    link.waits(SECOND);
    assert!(!link.look());
}

#[test]
fn a_short_heartbeat_finds_a_worker_that_stopped_in_the_middle_of_an_answer() {
    let mut link = Link::new();
    link.at.heartbeat_timeout = SECOND / 2;
    link.waits(SECOND);
    link.receives(1 << 20);
    assert!(link.look());
    link.waits(SECOND / 2);
    assert!(!link.look());
}

#[test]
fn whole_messages_pay_for_no_silence_after_them() {
    let mut link = Link::new();
    for whole in [1000, 1] {
        link.waits(SECOND);
        link.receives(1 << 30);
        link.at.messages += whole;
        assert!(!link.look());
    }
    assert!(!link.look());
}

#[test]
fn what_leaves_counts_while_there_is_more_to_leave() {
    let mut link = Link::new();
    link.waits(SECOND);
    link.at.progress.sent += 5000;
    assert!(!link.look());
    link.at.is_backed_up = true;
    link.waits(SECOND);
    link.at.progress.sent += 5000;
    assert!(link.look());
}

#[test]
fn an_attempt_waits_for_a_message_that_arrives_in_parts_and_for_no_other() {
    let mut link = Link::new();
    link.waits(SECOND);
    // Whole ones.
    link.at.progress.received += 50_000;
    link.at.messages += 100;
    link.life.on_quiet(link.at.progress.received, link.at.messages);
    assert_eq!(link.put_off(), None);
    link.waits(SECOND);
    link.receives(5000);
    assert!(link.put_off().is_some());
}

#[test]
fn a_hung_attempt_waits_for_as_many_messages_as_there_may_be_before_its_own() {
    let mut link = Link::new();
    let mut put_off = 0;
    for _ in 0..12 {
        link.waits(SECOND);
        link.receives(5000);
        put_off += u32::from(link.put_off().is_some());
        link.at.messages += 1;
    }
    // Each fifth look is a verdict.
    assert_eq!(put_off, 10);
}

#[test]
fn a_request_that_took_long_to_leave_has_its_time_from_then_on_once() {
    let mut link = Link::new();
    link.at.is_backed_up = true;
    for _ in 0..10 {
        link.waits(SECOND);
        link.at.progress.sent += 5000;
        assert!(link.put_off().is_some_and(|span| span <= AHEAD_MAX));
    }
    // What has left since the last look has left by then.
    link.at.is_backed_up = false;
    link.waits(10 * SECOND);
    link.at.progress.sent += 50_000;
    assert_eq!(link.put_off(), Some(60 * SECOND));
    link.waits(60 * SECOND);
    assert_eq!(link.put_off(), None);
    // On a link that never gets it all out, too.
    link.at.is_backed_up = true;
    let mut given = 0;
    for _ in 0..24 {
        link.waits(SECOND);
        link.at.progress.sent += 5000;
        link.at.requests += 1;
        given += u32::from(link.put_off() == Some(60 * SECOND));
    }
    assert_eq!(given, 4);
}

#[test]
fn a_request_that_stands_still_is_not_waited_for() {
    let mut link = Link::new();
    link.at.is_backed_up = true;
    link.waits(SECOND);
    link.at.progress.sent += 5000;
    assert!(link.put_off().is_some());
    link.waits(10 * SECOND);
    assert_eq!(link.put_off(), None);
}

#[test]
fn each_attempt_that_may_have_waited_has_its_time_once_it_is_the_oldest() {
    let mut link = Link::new();
    for task in 0..5 {
        link.overdue = overdue(task, Some(1));
        assert_eq!(link.put_off(), Some(60 * SECOND));
        link.waits(60 * SECOND);
        link.at.answers += 1;
    }
    // This one hangs.
    link.overdue = overdue(5, Some(1));
    assert_eq!(link.put_off(), Some(60 * SECOND));
    link.waits(60 * SECOND);
    assert_eq!(link.put_off(), None);
    // What waits behind it does not begin.
    link.overdue = overdue(6, Some(1));
    assert_eq!(link.put_off(), None);
    link.at.answers += 1;
    assert_eq!(link.put_off(), Some(60 * SECOND));
}

#[test]
fn what_ends_by_a_time_of_its_own_takes_no_place_from_what_waits_behind_it() {
    let mut link = Link::new();
    for task in 0..5 {
        link.overdue = Overdue { is_strike: false, ..overdue(task, Some(1)) };
        assert_eq!(link.put_off(), Some(60 * SECOND));
        link.waits(60 * SECOND);
        assert_eq!(link.put_off(), None);
    }
}

#[test]
fn a_ping_is_due_an_interval_after_the_latest() {
    let mut link = Link::new();
    for (span, is_due) in [(9, false), (1, true), (0, false), (10, true)] {
        link.waits(span * SECOND);
        assert_eq!(link.life.take_due_ping(link.at.now, 10 * SECOND), is_due);
    }
}

#[test]
fn where_nothing_waits_at_the_worker_an_attempt_has_its_time_from_when_it_was_sent() {
    let mut link = Link::new();
    assert_eq!(link.put_off(), None);
}

#[test]
fn an_attempt_waits_while_the_worker_says_that_something_arrives_and_then_has_its_time_once() {
    let mut link = Link::new();
    link.at.progress.sent = 500_000;
    for _ in 0..20 {
        link.life.on_told(link.at.now);
        link.waits(5 * SECOND);
        assert_eq!(link.put_off(), Some(5 * SECOND));
    }
    link.waits(5 * SECOND);
    assert_eq!(link.put_off(), Some(60 * SECOND), "it is there");
    link.waits(60 * SECOND);
    assert_eq!(link.put_off(), None);
}

#[test]
fn an_attempt_waits_on_where_what_arrives_stood_still_for_longer_than_the_worker_says() {
    let mut link = Link::new();
    link.at.progress.sent = 500_000;
    // Between two messages, or because the line did.
    for _ in 0..20 {
        link.life.on_told(link.at.now);
        link.waits(5 * SECOND);
        assert_eq!(link.put_off(), Some(5 * SECOND));
        link.waits(5 * SECOND);
        assert_eq!(link.put_off(), Some(60 * SECOND));
        link.waits(11 * SECOND);
    }
    // As long in all as the bytes pay, whatever stands still between.
    link.waits(100 * SECOND);
    link.life.on_told(link.at.now);
    assert_eq!(link.put_off(), None);
}

#[test]
fn a_request_that_took_long_to_leave_may_take_long_to_arrive() {
    let mut link = Link::new();
    link.at.is_backed_up = true;
    link.waits(SECOND);
    link.at.progress.sent += 100_000;
    assert!(link.put_off().is_some_and(|span| span <= AHEAD_MAX));
    link.at.is_backed_up = false;
    link.waits(SECOND);
    assert_eq!(link.put_off(), Some(60 * SECOND));
    link.waits(55 * SECOND);
    link.life.on_told(link.at.now);
    link.waits(5 * SECOND);
    assert_eq!(link.put_off(), Some(5 * SECOND));
}

#[test]
fn what_a_worker_says_of_arrivals_is_believed_for_as_long_as_the_bytes_pay() {
    // 5 s each, at 1000 bytes in a second.
    for (sent, rounds) in [(100_000, 20), (1 << 40, 839)] {
        let mut link = Link::new();
        link.at.progress.sent = sent;
        let put_off = (0..).take_while(|_| {
            link.life.on_told(link.at.now);
            link.waits(5 * SECOND);
            link.put_off().is_some()
        });
        let count = put_off.count();
        assert_eq!(count, rounds, "{sent}");
    }
}

#[test]
fn a_hung_attempt_does_not_wait_for_all_that_arrives_after_it() {
    let mut link = Link::new();
    link.at.progress.sent = 1 << 40;
    let mut put_off = 0;
    for _ in 0..10 {
        link.life.on_told(link.at.now);
        link.waits(5 * SECOND);
        put_off += u32::from(link.put_off().is_some());
        link.at.answers += 1;
    }
    assert_eq!(put_off, 8, "each fifth is a verdict");
}
