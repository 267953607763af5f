//! What callers and a driver leave for each other, in every order in which threads can run: where there are many,
//! in all with so few interruptions as is said.

use chargehand_loom as loom;

#[test]
fn every_caller_that_waits_has_its_own_outcome() {
    loom::submitted(1, 4);
    loom::submitted(2, 2);
}

#[test]
fn a_call_that_is_cancelled_ends_once_wherever_it_is() {
    loom::cancelled(3);
}

#[test]
fn a_call_that_nobody_waits_for_leaves_nothing_behind() {
    loom::left(3);
}

#[test]
fn a_driver_hears_of_whoever_asks_for_what_it_holds_back() {
    loom::asked_while_held_back(4);
}

#[test]
fn a_driver_hears_when_the_last_outcome_is_taken() {
    loom::taken(2);
}

#[test]
fn a_caller_beside_a_driver_that_ends_is_refused_or_told() {
    loom::closed(4);
}

#[test]
fn callers_that_share_the_last_place_of_a_queue_all_get_in() {
    loom::room(2);
}

#[test]
fn a_stream_has_all_outcomes_in_order_and_its_end() {
    loom::batches(4);
}
