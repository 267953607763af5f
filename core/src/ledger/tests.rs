use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const NO_SPAN: Span = Span { first: 0, last: 0, mark: Mark::Done };

fn done(first: u64, last: u64) -> Span {
    Span { first, last, mark: Mark::Done }
}

#[test]
fn the_low_water_mark_is_right_at_every_edge() {
    let mut ledger = Ledger::new(5..=7, [NO_SPAN; 2]);
    assert_eq!(ledger.low_water(), None, "nothing is done");
    ledger.complete(6).unwrap();
    assert_eq!(ledger.low_water(), None, "the first one is missing");
    ledger.complete(5).unwrap();
    assert_eq!(ledger.low_water(), Some(6));
    assert!(!ledger.is_complete());
    ledger.complete(7).unwrap();
    assert_eq!(ledger.low_water(), Some(7), "all is done");
    assert!(ledger.is_complete());
    assert_eq!(ledger.gaps().next(), None);
    assert_eq!(ledger.next_open(0), None);
}

#[test]
fn a_failed_height_is_a_hole_until_it_is_done() {
    let mut ledger = Ledger::new(1..=5, [NO_SPAN; 5]);
    while let Some(height) = ledger.take_next().unwrap() {
        assert_eq!(ledger.mark(height), Some(Mark::InFlight));
        let noted = if height == 3 { ledger.fail(3) } else { ledger.complete(height) };
        assert_eq!(noted, Ok(true));
    }
    assert_eq!(ledger.low_water(), Some(2));
    assert_eq!(ledger.failed().collect::<Vec<_>>(), [3..=3]);
    assert_eq!(ledger.gaps().collect::<Vec<_>>(), [3..=3]);
    assert!(ledger.is_settled());
    assert!(!ledger.is_complete());
    assert_eq!(ledger.fail(3), Ok(false), "it is known");
    assert_eq!(ledger.fail(2), Ok(false), "done stays done");
    assert!(!ledger.give_back(3), "it is not in flight");

    ledger.reopen();
    assert_eq!(ledger.take_next(), Ok(Some(3)));
    ledger.complete(3).unwrap();
    assert_eq!(ledger.spans(), [done(1, 5)]);
}

#[test]
fn what_is_given_back_is_handed_out_again_before_anything_higher() {
    let mut ledger = Ledger::new(1..=100, [NO_SPAN; 10]);
    for height in 1..=5 {
        assert_eq!(ledger.take_next(), Ok(Some(height)));
    }
    assert!(ledger.give_back(3));
    assert!(!ledger.give_back(3));
    assert!(ledger.give_back(2));
    assert_eq!(ledger.in_flight().collect::<Vec<_>>(), [1..=1, 4..=5]);
    assert_eq!([(); 3].map(|()| ledger.take_next().unwrap()), [Some(2), Some(3), Some(6)]);
    assert_eq!(ledger.in_flight_count(), 6);
}

#[test]
fn the_ends_of_the_number_range_are_heights_like_others() {
    let mut ledger = Ledger::new(u64::MAX - 2..=u64::MAX, [NO_SPAN; 2]);
    assert_eq!(ledger.complete(u64::MAX), Ok(true));
    assert_eq!(ledger.complete(u64::MAX), Ok(false));
    assert_eq!(ledger.next_open(u64::MAX), None);
    assert_eq!(ledger.next_open(0), Some(u64::MAX - 2));
    assert_eq!(ledger.complete_range(u64::MAX - 2..=u64::MAX), Ok(2));
    assert_eq!(ledger.low_water(), Some(u64::MAX));
    assert_eq!(ledger.take_next(), Ok(None));

    let mut all = Ledger::new(0..=u64::MAX, [NO_SPAN; 2]);
    assert_eq!(all.missing_count(), u64::MAX);
    assert_eq!(all.complete(0), Ok(true));
    assert_eq!(all.low_water(), Some(0));
    assert_eq!(all.complete_range(2..=u64::MAX), Ok(u64::MAX - 1));
    assert_eq!(all.gaps().collect::<Vec<_>>(), [1..=1]);
    assert_eq!(all.missing_count(), 1);
    assert_eq!(all.complete_range(0..=u64::MAX), Ok(1));
    assert_eq!(all.completed_count(), u64::MAX);
    assert!(all.is_complete());
}

#[test]
fn an_empty_range_is_complete_and_takes_nothing() {
    let mut ledger = Ledger::new(RangeInclusive::new(7, 6), [NO_SPAN; 2]);
    assert!(ledger.is_complete());
    assert!(ledger.is_settled());
    assert_eq!(ledger.range(), None);
    assert_eq!(ledger.low_water(), None);
    assert_eq!(ledger.complete(6), Err(LedgerError::OutOfRange));
    assert_eq!(ledger.fail(7), Err(LedgerError::OutOfRange));
    assert_eq!(ledger.take_next(), Ok(None));
    assert_eq!(ledger.gaps().next(), None);
    ledger.reopen();
    let resumed = Ledger::resume(&ledger.snapshot(), [NO_SPAN; 1]).unwrap();
    assert!(resumed.is_complete());
}

#[test]
fn what_is_outside_the_range_is_refused() {
    let mut ledger = Ledger::new(10..=20, [NO_SPAN; 2]);
    for wrong in [9..=10, 20..=21, 0..=u64::MAX, RangeInclusive::new(15, 14)] {
        assert_eq!(ledger.complete_range(wrong), Err(LedgerError::OutOfRange));
    }
    assert_eq!(ledger.completed_count(), 0);
}

#[test]
fn a_full_ledger_still_takes_what_makes_no_new_span() {
    let mut ledger = Ledger::new(0..=20, [NO_SPAN; 2]);
    ledger.complete(5).unwrap();
    ledger.complete(10).unwrap();
    assert_eq!(ledger.complete(15), Err(LedgerError::Saturated));
    assert_eq!(ledger.completed_count(), 2);
    assert_eq!(ledger.complete(11), Ok(true));
    assert_eq!(ledger.complete_range(6..=9), Ok(4), "two spans become one");
    assert_eq!(ledger.complete(15), Ok(true));
    assert_eq!(ledger.spans(), [done(5, 11), done(15, 15)]);
    assert_eq!(Ledger::new(0..=1, []).complete(0), Err(LedgerError::Saturated));
    assert_eq!(Ledger::new(0..=1, []).take_next(), Err(LedgerError::Saturated));
}

#[test]
fn no_more_is_handed_out_than_can_be_noted_however_it_ends() {
    // Each of four may become a span of its own.
    let mut ledger = Ledger::new(1..=100, [NO_SPAN; 4]);
    for height in 1..=4 {
        assert_eq!(ledger.take_next(), Ok(Some(height)));
    }
    assert_eq!(ledger.take_next(), Err(LedgerError::Saturated));
    ledger.fail(2).unwrap();
    assert_eq!(ledger.take_next(), Err(LedgerError::Saturated), "one failed, three in flight");
    ledger.complete(1).unwrap();
    assert_eq!(ledger.take_next(), Err(LedgerError::Saturated));
    ledger.complete(3).unwrap();
    ledger.complete(4).unwrap();
    assert_eq!(ledger.take_next(), Ok(Some(5)), "3 and 4 are one span");
}

/// Knuth's MMIX generator.
fn random_below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    usize::try_from(*state >> 33).unwrap() % bound
}

#[test]
fn twenty_million_heights_cost_kilobytes() {
    // In batches of 1000, of which 64 are under way and end in any order.
    let mut ledger = Ledger::new(1..=20_000_000, vec![NO_SPAN; 64]);
    let mut batches = (0..20_000).map(|batch| 1000 * batch + 1);
    let mut held: Vec<u64> = batches.by_ref().take(64).collect();
    let mut random = 7;
    while !held.is_empty() {
        let at = random_below(&mut random, held.len());
        let first = held.swap_remove(at);
        assert_eq!(ledger.complete_range(first..=first + 999), Ok(1000));
        held.extend(batches.next());
    }
    assert!(ledger.is_complete());
    assert_eq!(ledger.spans(), [done(1, 20_000_000)]);
    assert_eq!(size_of_val(&ledger.buffer[..]), 1536);
}

#[test]
fn heights_that_end_in_any_order_need_a_span_for_each_in_flight_and_one_for_each_gap() {
    const IN_FLIGHT: usize = 64;
    let mut ledger = Ledger::new(1..=200_000, vec![NO_SPAN; 2 * IN_FLIGHT]);
    let mut held = Vec::new();
    let mut random = 7;
    loop {
        while held.len() < IN_FLIGHT {
            let Some(height) = ledger.take_next().unwrap() else { break };
            held.push(height);
        }
        if held.is_empty() {
            break;
        }
        let at = random_below(&mut random, held.len());
        assert_eq!(ledger.complete(held.swap_remove(at)), Ok(true));
    }
    assert!(ledger.is_complete());
}

#[test]
fn lent_storage_is_enough() {
    let mut storage = [NO_SPAN; 3];
    let mut ledger = Ledger::new(0..=9, &mut storage[..]);
    assert_eq!(ledger.complete(3), Ok(true));
    assert!(ledger.is_done(3));
}

#[test]
#[cfg(feature = "alloc")]
fn a_growing_ledger_stops_at_its_limit() {
    let mut ledger = Ledger::growing(0..=1000, 100);
    for height in (0..200).step_by(2) {
        assert_eq!(ledger.complete(height), Ok(true));
    }
    assert_eq!(ledger.complete(300), Err(LedgerError::Saturated));
    assert_eq!(ledger.buffer.len(), 100);
    assert_eq!(Ledger::growing(0..=1, 0).complete(0), Err(LedgerError::Saturated));
}

#[test]
#[cfg(all(feature = "serde", feature = "alloc"))]
fn a_snapshot_survives_being_stored() {
    let mut ledger = Ledger::growing(0..=100, 50);
    for height in [1, 2, 3, 50, 100] {
        ledger.complete(height).unwrap();
    }
    ledger.fail(51).unwrap();
    assert_eq!(ledger.take_next(), Ok(Some(0)));
    let stored = serde_json::to_string(&ledger.snapshot()).unwrap();
    let snapshot: Snapshot<Vec<Span>> = serde_json::from_str(&stored).unwrap();
    assert_eq!(snapshot, ledger.snapshot().into_owned());
    let resumed = Ledger::resume_growing(&snapshot, 50).unwrap();
    assert!(ledger.give_back(0), "what was in flight is open");
    assert_eq!(resumed.spans(), ledger.spans());
    assert_eq!((resumed.completed_count(), resumed.failed_count()), (5, 1));
}

#[test]
fn a_snapshot_that_no_ledger_made_is_refused() {
    let refused = |range, spans: &[Span]| {
        Ledger::resume(&Snapshot::new(range, spans), [NO_SPAN; 2]).unwrap_err()
    };
    let range = Some((10, 20));
    assert_eq!(refused(Some((20, 10)), &[]), ResumeError::Corrupt);
    for spans in [
        [done(12, 13), done(11, 11)],
        [done(12, 13), done(13, 14)],
        [done(9, 9), done(11, 12)],
        [done(11, 12), done(20, 21)],
        [done(15, 14), done(16, 17)],
    ] {
        assert_eq!(refused(range, &spans), ResumeError::Corrupt, "{spans:?}");
    }
    assert_eq!(refused(None, &[done(1, 1)]), ResumeError::Corrupt);
    let many = [done(10, 10), done(12, 12), done(14, 14)];
    assert_eq!(refused(range, &many), ResumeError::Saturated);
}

/// What a ledger is held against: the mark of each height.
type Model = BTreeMap<u64, Mark>;

/// Returns what the heights' marks make as spans.
fn spans_of(model: &Model) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (&height, &mark) in model {
        match spans.last_mut() {
            Some(last) if last.mark == mark && last.last + 1 == height => last.last = height,
            _ => spans.push(Span { first: height, last: height, mark }),
        }
    }
    spans
}

/// Returns how many spans are needed in the end, at most.
fn needed(model: &Model) -> usize {
    let in_flight = |mark: Mark| mark == Mark::InFlight;
    spans_of(model).iter().filter(|span| !in_flight(span.mark)).count()
        + model.values().filter(|mark| in_flight(**mark)).count()
}

/// Checks everything that a ledger says against the model.
fn check(
    ledger: &Ledger<Vec<Span>>,
    range: &RangeInclusive<u64>,
    model: &Model,
) -> Result<(), TestCaseError> {
    let of = |mark| model.iter().filter(move |(_, held)| **held == mark).map(|(height, _)| *height);
    let is_done = |height: &u64| model.get(height) == Some(&Mark::Done);
    let missing: Vec<u64> = range.clone().filter(|height| !is_done(height)).collect();
    prop_assert_eq!(ledger.low_water(), range.clone().take_while(is_done).last());
    prop_assert_eq!(ledger.completed_count(), of(Mark::Done).count() as u64);
    prop_assert_eq!(ledger.failed_count(), of(Mark::Failed).count() as u64);
    prop_assert_eq!(ledger.in_flight_count(), of(Mark::InFlight).count() as u64);
    prop_assert_eq!(ledger.missing_count(), missing.len() as u64);
    prop_assert_eq!(ledger.is_complete(), missing.is_empty());
    let is_settled = missing.iter().all(|height| model.get(height) == Some(&Mark::Failed));
    prop_assert_eq!(ledger.is_settled(), is_settled);
    prop_assert_eq!(ledger.gaps().flatten().collect::<Vec<_>>(), missing);
    prop_assert!(ledger.failed().flatten().eq(of(Mark::Failed)));
    prop_assert!(ledger.in_flight().flatten().eq(of(Mark::InFlight)));
    prop_assert!(ledger.completed().flatten().eq(of(Mark::Done)));
    prop_assert_eq!(ledger.spans(), spans_of(model));
    for height in range.start().saturating_sub(2)..=range.end().saturating_add(2) {
        prop_assert_eq!(ledger.mark(height), model.get(&height).copied());
        let next = range.clone().find(|open| *open >= height && !model.contains_key(open));
        prop_assert_eq!(ledger.next_open(height), next);
        let open_there = range.clone().skip_while(|open| Some(*open) != next);
        let last = open_there.take_while(|open| !model.contains_key(open)).last();
        let run = next.zip(last).map(|(next, last)| next..=last);
        prop_assert_eq!(ledger.next_open_run(height), run);
    }
    let resumed = Ledger::resume_growing(&ledger.snapshot(), 100).unwrap();
    let kept: Model = model.clone().into_iter().filter(|(_, m)| *m != Mark::InFlight).collect();
    prop_assert_eq!(resumed.spans(), spans_of(&kept));
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum LedgerCall {
    Take,
    Complete(u64),
    CompleteRange(u64, u64),
    Fail(u64),
    GiveBack(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = LedgerCall> {
    let offset = 0..=40u64;
    prop_oneof![
        12 => Just(LedgerCall::Take),
        6 => offset.clone().prop_map(LedgerCall::Complete),
        2 => (offset.clone(), 0..10u64).prop_map(|(first, more)| LedgerCall::CompleteRange(first, more)),
        4 => offset.clone().prop_map(LedgerCall::Fail),
        3 => offset.prop_map(LedgerCall::GiveBack),
        1 => Just(LedgerCall::Reopen),
    ]
}

/// Takes a step in the ledger and in the model.
fn take(
    step: LedgerCall,
    ledger: &mut Ledger<Vec<Span>>,
    model: &mut Model,
    range: &RangeInclusive<u64>,
    room: usize,
) -> Result<(), TestCaseError> {
    let start = *range.start();
    let mut after = model.clone();
    let result = match step {
        LedgerCall::Take => {
            let open = range.clone().find(|height| !model.contains_key(height));
            after.extend(open.map(|height| (height, Mark::InFlight)));
            ledger.take_next().map(|taken| taken == open)
        }
        LedgerCall::Complete(offset) => {
            let newly = after.insert(start + offset, Mark::Done) != Some(Mark::Done);
            ledger.complete(start + offset).map(|said| said == newly)
        }
        LedgerCall::CompleteRange(offset, more) => {
            let first = start + offset;
            let last = first.saturating_add(more);
            let all = (first..=last).filter(|at| after.insert(*at, Mark::Done) != Some(Mark::Done));
            let newly = all.count() as u64;
            ledger.complete_range(first..=last).map(|said| said == newly)
        }
        LedgerCall::Fail(offset) => {
            let is_new = !matches!(model.get(&(start + offset)), Some(Mark::Done | Mark::Failed));
            if is_new {
                after.insert(start + offset, Mark::Failed);
            }
            ledger.fail(start + offset).map(|said| said == is_new)
        }
        LedgerCall::GiveBack(offset) => {
            let is_in_flight = model.get(&(start + offset)) == Some(&Mark::InFlight);
            if is_in_flight {
                after.remove(&(start + offset));
            }
            Ok(ledger.give_back(start + offset) == is_in_flight)
        }
        LedgerCall::Reopen => {
            after.retain(|_, mark| *mark == Mark::Done);
            ledger.reopen();
            Ok(true)
        }
    };
    match result {
        Ok(is_right) => {
            prop_assert!(is_right, "{step:?}");
            *model = after;
        }
        Err(LedgerError::OutOfRange) => {
            prop_assert!(after.keys().any(|height| !range.contains(height)), "{step:?}");
        }
        Err(LedgerError::Saturated) => {
            prop_assert!(needed(&after) > room, "{step:?}: there was room");
            let was_in_flight = matches!(step, LedgerCall::Complete(at) | LedgerCall::Fail(at)
                if model.get(&(start + at)) == Some(&Mark::InFlight));
            prop_assert!(!was_in_flight, "{step:?}: room is kept for these");
        }
    }
    prop_assert!(needed(model) <= room);
    Ok(())
}

proptest! {
    #[test]
    fn it_agrees_with_a_plain_map(
        start in prop_oneof![Just(0), Just(1000), Just(u64::MAX - 40)],
        extra in 0..=40u64,
        steps in prop::collection::vec(step(), 0..120),
        room in prop_oneof![Just(41usize), 0..12usize],
    ) {
        let range = start..=start + extra;
        let mut ledger = Ledger::new(range.clone(), vec![NO_SPAN; room]);
        let mut model = Model::new();
        for step in steps {
            take(step, &mut ledger, &mut model, &range, room)?;
            check(&ledger, &range, &model)?;
        }
    }
}

fn signed(first: i64, last: i64, mark: Mark) -> Span<i64> {
    Span { first, last, mark }
}

#[test]
fn heights_below_zero_are_in_order_with_those_above() {
    let mut ledger = Ledger::of(-3..=3, [Span::<i64>::default(); 8]);
    let mut taken = Vec::new();
    while let Some(height) = ledger.take_next().unwrap() {
        taken.push(height);
        if height == -1 { ledger.fail(-1) } else { ledger.complete(height) }.unwrap();
    }
    assert_eq!(taken, [-3, -2, -1, 0, 1, 2, 3]);
    assert_eq!(ledger.low_water(), Some(-2));
    assert_eq!(ledger.failed().collect::<Vec<_>>(), [-1..=-1]);
    assert_eq!(ledger.completed().collect::<Vec<_>>(), [-3..=-2, 0..=3]);
    assert_eq!(ledger.missing_count(), 1);
    assert_eq!(ledger.complete_range(-1..=-1), Ok(1));
    assert_eq!(ledger.spans(), [signed(-3, 3, Mark::Done)]);
    assert_eq!(ledger.complete(-4), Err(LedgerError::OutOfRange));
}

#[test]
fn the_ends_of_the_signed_numbers_are_heights_like_others() {
    let mut ledger = Ledger::of(i64::MIN..=i64::MAX, [Span::<i64>::default(); 8]);
    assert_eq!(ledger.take_next(), Ok(Some(i64::MIN)));
    assert_eq!(ledger.complete(i64::MAX), Ok(true));
    assert_eq!(ledger.complete(i64::MIN), Ok(true));
    assert_eq!(ledger.complete_range(-1..=0), Ok(2));
    assert_eq!(ledger.low_water(), Some(i64::MIN));
    let gaps: Vec<_> = ledger.gaps().collect();
    assert_eq!(gaps, [i64::MIN + 1..=-2, 1..=i64::MAX - 1]);
    assert_eq!(ledger.next_open(i64::MAX), None);
    assert_eq!(ledger.next_open(i64::MAX - 1), Some(i64::MAX - 1));
    assert_eq!(ledger.missing_count(), u64::MAX - 3);
    assert_eq!(ledger.complete_range(i64::MIN + 1..=-2), Ok((1 << 63) - 2));
    assert_eq!(ledger.complete_range(1..=i64::MAX - 1), Ok((1 << 63) - 2));
    assert!(ledger.is_complete());
    assert_eq!(ledger.completed_count(), u64::MAX, "one less than there are: it saturates");
}

#[cfg(all(feature = "serde", feature = "alloc"))]
#[test]
fn a_snapshot_of_signed_heights_has_them_as_they_are() {
    let mut ledger = Ledger::from(-100..=100_i64);
    ledger.complete_range(-100..=-50).unwrap();
    ledger.take_next().unwrap();
    ledger.fail(-40).unwrap();
    let kept = serde_json::to_string(&ledger.snapshot()).unwrap();
    assert!(kept.contains("[-100,100]") && kept.contains(r#""first":-40"#), "{kept}");
    let snapshot: Snapshot<Vec<Span<i64>>, i64> = serde_json::from_str(&kept).unwrap();
    let mut resumed = Ledger::resume_growing(&snapshot, 100).unwrap();
    assert_eq!(resumed.take_next(), Ok(Some(-49)), "what was in flight is open");
    assert_eq!(resumed.mark(-40), Some(Mark::Failed));
    // As heights without a sign they are none at all.
    assert!(serde_json::from_str::<Snapshot<Vec<Span>>>(&kept).is_err());
}

#[test]
fn a_ledger_by_index_knows_the_same() {
    let ends = [i64::MIN, i64::MIN + 9, -5, 5, i64::MAX - 9, i64::MAX];
    for ends in ends.windows(2) {
        let mut ledger = Ledger::from(ends[0]..=ends[1]);
        ledger.complete(ends[1]).unwrap();
        ledger.take_next().unwrap();
        ledger.fail(ends[0] + 3).unwrap();
        let mut by_index = ledger.by_index();
        let same = |index: RangeInclusive<u64>| {
            i64::from_index(*index.start())..=i64::from_index(*index.end())
        };
        assert_eq!(
            by_index.gaps().map(same).collect::<Vec<_>>(),
            ledger.gaps().collect::<Vec<_>>()
        );
        assert_eq!(by_index.range().map(same), ledger.range());
        assert_eq!(by_index.missing_count(), ledger.missing_count());
        for _ in 0..4 {
            let next = ledger.take_next().unwrap();
            assert_eq!(by_index.take_next().unwrap().map(i64::from_index), next);
        }
    }
    assert!(Ledger::from(RangeInclusive::new(1_i64, 0)).by_index().is_complete());
}
