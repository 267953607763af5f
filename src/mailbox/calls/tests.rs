use super::*;
use crate::counting::Count;
use crate::payload::Answer;

fn body(byte: u8) -> Body {
    Body::from(&[byte][..])
}

fn answer(byte: u8) -> Answer {
    Answer::Bytes(body(byte))
}

fn poll(calls: &mut Calls, call: CallId, waker: &Waker) -> Option<TaskResult> {
    match calls.poll(call, &mut Context::from_waker(waker), &mut None) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn taken(calls: &mut Calls, count: usize) -> Vec<Option<CallId>> {
    let mut batch = VecDeque::new();
    calls.take(QueueId::DEFAULT, count, &mut batch);
    batch.iter().map(Submit::call).collect()
}

fn is_answer(result: Option<TaskResult>, byte: u8) -> bool {
    matches!(result, Some(Ok(Answer::Bytes(bytes))) if bytes == body(byte))
}

#[test]
fn whoever_waits_is_woken_once_by_the_waker_of_the_latest_poll() {
    let mut calls = Calls::new(1);
    let (counts, [first, second]) = Count::two();
    let call = calls.push(&mut body(1), Check::RAW, Some(first.clone()), None);
    assert!(poll(&mut calls, call, &first).is_none());
    assert!(poll(&mut calls, call, &second).is_none());
    assert_eq!(taken(&mut calls, 9), [Some(call)]);
    calls.settle(call, Ok(answer(7))).unwrap().unwrap().wake();
    assert_eq!(counts.each_ref().map(|count| count.woken()), [0, 1]);
    assert!(is_answer(poll(&mut calls, call, &first), 7));
}

#[test]
fn tasks_come_out_in_their_order_and_places_are_used_again() {
    let mut calls = Calls::new(1);
    // As after very many: the numbers wrap in the midst.
    (calls.serial, calls.lines[0].front) = (u32::MAX - 4, u32::MAX - 4);
    for round in 0..5 {
        let pushed: Vec<_> =
            (0..3).map(|at| Some(calls.push(&mut body(at), Check::RAW, None, None))).collect();
        assert_eq!(taken(&mut calls, 2), pushed[..2], "round {round}");
        assert_eq!(taken(&mut calls, 2), pushed[2..], "round {round}");
        for (at, call) in (0..).zip(pushed.into_iter().flatten()) {
            assert!(calls.settle(call, Ok(answer(at))).unwrap().is_none());
            assert!(is_answer(poll(&mut calls, call, Waker::noop()), at));
        }
        assert_eq!(calls.places.len(), 3);
    }
    assert!(calls.serial < 20 && calls.lines[0].front < 20);
}

#[test]
fn each_queue_has_a_line_of_its_own_and_a_cancel_finds_its_call_there() {
    let mut calls = Calls::new(2);
    let other = Arc::new(TaskOptions::in_queue(QueueId::new(1)));
    let push =
        |calls: &mut Calls, byte, options| calls.push(&mut body(byte), Check::RAW, None, options);
    let [first, second] = [1, 2].map(|byte| push(&mut calls, byte, None));
    let [third, fourth] = [3, 4].map(|byte| push(&mut calls, byte, Some(&other)));
    assert_eq!((calls.queued(), calls.queued_in(QueueId::new(1))), (4, 2));
    assert_eq!(calls.cancel(third).left.1, body(3));
    assert_eq!(taken(&mut calls, 1), [Some(first)]);
    let mut batch = VecDeque::new();
    calls.take(QueueId::new(1), 9, &mut batch);
    assert_eq!(batch.iter().map(Submit::call).collect::<Vec<_>>(), [None, Some(fourth)]);
    let special = calls.take_special(QueueId::new(1)).map(|special| special.call);
    assert_eq!(special, Some(fourth), "the one that was cancelled is special no more");
    assert!(calls.take_special(QueueId::new(1)).is_none());
    assert_eq!(calls.cancel(second).left.1, body(2));
}

#[test]
fn a_task_that_is_cancelled_in_the_queue_has_ended_and_is_nobodys_there() {
    let mut calls = Calls::new(1);
    let pushed = [1, 2, 3]
        .map(|byte| calls.push(&mut body(byte), Check::RAW, Some(Waker::noop().clone()), None));
    let rest = calls.cancel(pushed[1]);
    assert_eq!((rest.tell, rest.wake.is_some(), rest.left.1), (false, true, body(2)));
    let rest = calls.leave(pushed[2], true);
    assert_eq!((rest.tell, rest.left.1), (false, body(3)));
    assert_eq!(calls.queued(), 1, "they hold no room");
    assert_eq!(taken(&mut calls, 3), [Some(pushed[0])]);
    let result = poll(&mut calls, pushed[1], Waker::noop());
    assert!(matches!(result, Some(Err(error)) if *error == TaskError::Cancelled));
}

#[test]
fn calls_are_found_wherever_others_have_left_the_queue() {
    let mut calls = Calls::new(1);
    let options = Arc::new(TaskOptions::new());
    // As after very many: the positions wrap in the midst.
    calls.lines[0].front = u32::MAX - 3;
    let pushed: Vec<_> = (0..9)
        .map(|at| {
            let options = (at % 2 == 0).then_some(&options);
            calls.push(&mut body(at), Check::RAW, None, options)
        })
        .collect();
    // Not before the fifth do the others close up.
    for (left, at) in [(8, 0_u8), (7, 3), (6, 4), (5, 5), (4, 7)] {
        assert_eq!(calls.cancel(pushed[usize::from(at)]).left.1, body(at));
        assert_eq!(calls.queued(), left);
    }
    assert_eq!(calls.lines[0].queue.len(), 4);
    assert_eq!(calls.cancel(pushed[6]).left.1, body(6));
    assert!(!calls.cancel(pushed[6]).tell, "it is over");
    assert_eq!(taken(&mut calls, 2), [Some(pushed[1]), Some(pushed[2])]);
    let special = |calls: &mut Calls| calls.take_special(QueueId::DEFAULT).map(|it| it.call);
    assert_eq!(special(&mut calls), Some(pushed[2]));
    assert_eq!(special(&mut calls), None, "the other is still in the queue");
    assert_eq!(taken(&mut calls, 2), [None, Some(pushed[8])]);
    assert_eq!(special(&mut calls), Some(pushed[8]));
    assert_eq!(calls.queued(), 0);
}

#[test]
fn the_driver_is_told_once_of_a_task_that_it_has() {
    let mut calls = Calls::new(1);
    let pushed = [1, 2].map(|byte| calls.push(&mut body(byte), Check::RAW, None, None));
    assert_eq!(taken(&mut calls, 2), pushed.map(Some));
    let told = [calls.cancel(pushed[0]), calls.cancel(pushed[0]), calls.leave(pushed[0], true)];
    assert_eq!(told.map(|rest| rest.tell), [true, false, false]);
    assert!(!calls.leave(pushed[1], false).tell, "it is let run on");
    for call in pushed {
        assert!(calls.settle(call, Ok(answer(1))).is_err(), "nobody wants it");
    }
    // Their places are free, and another's serial number tells it from them.
    let next = calls.push(&mut body(3), Check::RAW, None, None);
    assert_eq!((calls.places.len(), next.index), (2, pushed[1].index));
    assert!(next != pushed[1]);
}

#[test]
fn a_cancel_hits_no_other_once_the_serial_numbers_came_round() {
    let mut calls = Calls::new(1);
    let old = calls.push(&mut body(1), Check::RAW, None, None);
    assert_eq!(taken(&mut calls, 1), [Some(old)]);
    // As after 2^32 more.
    (calls.serial, calls.lines[0].front) = (old.serial, 0);
    let new = calls.push(&mut body(2), Check::RAW, None, None);
    assert_eq!(new.serial, old.serial);
    assert!(calls.cancel(old).tell, "the driver has it");
    calls.leave(old, true);
    assert_eq!(taken(&mut calls, 1), [Some(new)], "it is still its caller's");
}

#[test]
fn a_late_cancel_changes_nothing() {
    let mut calls = Calls::new(1);
    let call = calls.push(&mut body(1), Check::RAW, None, None);
    taken(&mut calls, 1);
    assert!(calls.settle(call, Ok(answer(5))).is_ok());
    assert!(!calls.cancel(call).tell);
    assert!(is_answer(poll(&mut calls, call, Waker::noop()), 5));
    let call = calls.push(&mut body(1), Check::RAW, None, None);
    taken(&mut calls, 1);
    assert!(calls.settle(call, Ok(answer(6))).is_ok());
    let rest = calls.leave(call, true);
    assert!(!rest.tell && matches!(rest.left.0, CallState::Ended(Ok(_))));
}

#[test]
fn at_the_end_every_call_has_an_outcome() {
    let mut calls = Calls::new(1);
    let pushed =
        [(); 4].map(|()| calls.push(&mut body(1), Check::RAW, Some(Waker::noop().clone()), None));
    taken(&mut calls, 3);
    assert!(calls.settle(pushed[0], Ok(answer(9))).is_ok());
    assert!(calls.leave(pushed[1], true).tell);
    let mut wakers = VecDeque::new();
    assert_eq!(calls.close(&mut wakers, &mut VecDeque::new()).len(), 1);
    assert_eq!(wakers.len(), 2);
    assert!(is_answer(poll(&mut calls, pushed[0], Waker::noop()), 9));
    for call in [pushed[2], pushed[3]] {
        let result = poll(&mut calls, call, Waker::noop());
        assert!(matches!(result, Some(Err(error)) if *error == TaskError::Closed));
    }
}
