//! What a driver is woken by, in every order in which threads can run: where there are many, in all with
//! so few interruptions as is said.

#[test]
fn no_wake_of_a_source_is_lost() {
    chargehand_loom::sources(1, 2, 1, 9);
    chargehand_loom::sources(1, 3, 48, 4);
}

#[test]
fn no_wake_of_two_sources_at_once_is_lost() {
    chargehand_loom::sources(2, 1, 48, 2);
}

#[test]
fn no_wake_is_lost_where_one_poll_serves_some_only() {
    chargehand_loom::sources(2, 1, 1, 2);
}

#[test]
fn no_alarm_is_lost() {
    chargehand_loom::alarms();
}
