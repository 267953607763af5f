use std::collections::HashMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn task(slot: u32) -> TaskId {
    TaskId::from_parts(slot, 0)
}

#[test]
fn the_window_is_kept_and_room_comes_back_with_each_end() {
    let mut session = Session::new([RunSlot::EMPTY; 2]);
    let first = session.request(task(1), 1).unwrap();
    session.request(task(2), 1).unwrap();
    assert_eq!(session.request(task(3), 1), Err(SessionError::OverWindow));
    assert_eq!(session.complete(first), Some((task(1), 1)));
    let third = session.request(task(3), 1).unwrap();
    assert_eq!(third.index(), first.index());
    assert_eq!((session.running(), session.window()), (2, 2));
}

#[test]
fn an_answer_after_the_cancel_is_not_sent_even_if_its_room_is_taken_again() {
    let mut session = Session::new([RunSlot::EMPTY; 1]);
    let first = session.request(task(1), 1).unwrap();
    assert_eq!(session.cancel(task(1), 1), Some(first));
    let second = session.request(task(2), 1).unwrap();
    assert_eq!(session.complete(first), None);
    assert_eq!(session.complete(second), Some((task(2), 1)));
    assert_eq!(session.cancel(task(2), 1), None, "the answer crossed the cancel");
}

#[test]
fn the_same_attempt_twice_is_refused_but_a_newer_attempt_is_its_own() {
    let mut session = Session::new([RunSlot::EMPTY; 3]);
    let first = session.request(task(1), 1).unwrap();
    assert_eq!(session.request(task(1), 1), Err(SessionError::Duplicate));
    let second = session.request(task(1), 2).unwrap();
    assert_eq!(session.cancel(task(1), 1), Some(first));
    assert_eq!(session.complete(second), Some((task(1), 2)));
}

#[test]
fn a_drained_session_holds_nothing_and_a_request_that_crossed_the_drain_runs() {
    let mut session = Session::new([RunSlot::EMPTY; 2]);
    assert!(!session.is_drained());
    let first = session.request(task(1), 1).unwrap();
    session.drain();
    assert!(session.is_draining());
    let second = session.request(task(2), 1).unwrap();
    session.complete(first);
    assert!(!session.is_drained());
    session.complete(second);
    assert!(session.is_drained());
}

#[test]
fn a_session_without_room_refuses_everything() {
    let mut session = Session::new([RunSlot::EMPTY; 0]);
    assert_eq!(session.request(task(1), 1), Err(SessionError::OverWindow));
    assert_eq!(session.cancel(task(1), 1), None);
}

#[test]
fn lent_entries_and_the_heap_behave_alike() {
    let mut entries = [RunSlot::EMPTY; 2];
    let mut lent = Session::new(&mut entries[..]);
    let mut heap = Session::with_window(2);
    for number in 0..3 {
        assert_eq!(lent.request(task(number), 1), heap.request(task(number), 1));
    }
    assert_eq!(lent.running(), 2);
}

const WINDOW: usize = 5;

proptest! {
    /// A map is the model. Few tasks and attempts, so that duplicates and collisions are common.
    #[test]
    fn it_equals_a_map(steps in prop::collection::vec((0_u8..3, 0_u32..6, 0_u32..2, 1_u16..3), 0..200)) {
        let mut session = Session::new([RunSlot::EMPTY; WINDOW]);
        let mut model: HashMap<(TaskId, u16), RunId> = HashMap::new();
        let mut ended: Vec<RunId> = Vec::new();
        for (what, slot, generation, attempt) in steps {
            let key = (TaskId::from_parts(slot, generation), attempt);
            match what {
                0 => match session.request(key.0, key.1) {
                    Ok(slot) => {
                        prop_assert!(model.values().all(|other| other.index() != slot.index()));
                        prop_assert!(slot.index() < WINDOW);
                        prop_assert_eq!(model.insert(key, slot), None);
                    }
                    Err(SessionError::OverWindow) => prop_assert_eq!(model.len(), WINDOW),
                    Err(SessionError::Duplicate) => prop_assert!(model.contains_key(&key)),
                },
                1 => {
                    let expected = model.remove(&key);
                    prop_assert_eq!(session.cancel(key.0, key.1), expected);
                    ended.extend(expected);
                }
                _ => {
                    if let Some(slot) = model.remove(&key) {
                        prop_assert_eq!(session.complete(slot), Some(key));
                        ended.push(slot);
                    }
                }
            }
            for slot in model.values() {
                prop_assert!(session.contains(*slot));
            }
            for slot in &ended {
                prop_assert!(!session.contains(*slot));
                prop_assert_eq!(session.clone().complete(*slot), None);
            }
            prop_assert_eq!(session.running(), model.len());
        }
    }
}
