use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const NO_SPAN: Span = Span { first: 0, last: 0 };

fn span(first: u64, last: u64) -> Span {
    Span { first, last }
}

#[test]
fn the_low_water_mark_is_right_at_every_edge() {
    let mut heights = Heights::new(5..=7, [NO_SPAN; 2]);
    assert_eq!(heights.low_water(), None, "nothing is done");
    heights.done(6).unwrap();
    assert_eq!(heights.low_water(), None, "the first one is missing");
    heights.done(5).unwrap();
    assert_eq!(heights.low_water(), Some(6));
    assert!(!heights.is_complete());
    heights.done(7).unwrap();
    assert_eq!(heights.low_water(), Some(7), "all is done");
    assert!(heights.is_complete());
    assert_eq!(heights.gaps().next(), None);
    assert_eq!(heights.next_missing(0), None);
}

#[test]
fn the_ends_of_the_number_range_are_heights_like_others() {
    let mut heights = Heights::new(u64::MAX - 2..=u64::MAX, [NO_SPAN; 2]);
    assert_eq!(heights.done(u64::MAX), Ok(true));
    assert_eq!(heights.done(u64::MAX), Ok(false));
    assert_eq!(heights.next_missing(u64::MAX), None);
    assert_eq!(heights.next_missing(0), Some(u64::MAX - 2));
    assert_eq!(heights.done_span(span(u64::MAX - 2, u64::MAX)), Ok(2));
    assert_eq!(heights.low_water(), Some(u64::MAX));

    let mut all = Heights::new(0..=u64::MAX, [NO_SPAN; 2]);
    assert_eq!(all.missing_count(), u64::MAX);
    assert_eq!(all.done(0), Ok(true));
    assert_eq!(all.low_water(), Some(0));
    assert_eq!(all.done_span(span(2, u64::MAX)), Ok(u64::MAX - 1));
    assert_eq!(all.gaps().collect::<Vec<_>>(), [1..=1]);
    assert_eq!(all.missing_count(), 1);
    assert_eq!(all.done_span(span(0, u64::MAX)), Ok(1));
    assert_eq!(all.done_count(), u64::MAX);
    assert!(all.is_complete());
}

#[test]
fn an_empty_range_is_complete_and_takes_nothing() {
    let mut heights = Heights::new(RangeInclusive::new(7, 6), [NO_SPAN; 2]);
    assert!(heights.is_complete());
    assert_eq!(heights.low_water(), None);
    assert_eq!(heights.done(6), Err(LedgerError::OutOfRange));
    assert_eq!(heights.gaps().next(), None);
    assert_eq!(heights.next_missing(0), None);
}

#[test]
fn what_is_outside_the_range_is_refused() {
    let mut heights = Heights::new(10..=20, [NO_SPAN; 2]);
    for wrong in [span(9, 10), span(20, 21), span(0, u64::MAX), span(15, 14)] {
        assert_eq!(heights.done_span(wrong), Err(LedgerError::OutOfRange));
    }
    assert_eq!(heights.done_count(), 0);
}

#[test]
fn a_full_ledger_still_takes_what_makes_no_new_span() {
    let mut heights = Heights::new(0..=20, [NO_SPAN; 2]);
    heights.done(5).unwrap();
    heights.done(10).unwrap();
    assert_eq!(heights.done(15), Err(LedgerError::Full));
    assert_eq!(heights.done_count(), 2);
    assert_eq!(heights.done(11), Ok(true));
    assert_eq!(heights.done_span(span(6, 9)), Ok(4), "two spans become one");
    assert_eq!(heights.done(15), Ok(true));
    assert_eq!(heights.spans(), [span(5, 11), span(15, 15)]);
    assert_eq!(Heights::new(0..=1, []).done(0), Err(LedgerError::Full));
}

#[test]
fn lent_storage_is_enough() {
    let mut storage = [NO_SPAN; 3];
    let mut heights = Heights::new(0..=9, &mut storage[..]);
    assert_eq!(heights.done(3), Ok(true));
    assert!(heights.is_done(3));
}

#[test]
#[cfg(feature = "alloc")]
fn a_growing_ledger_stops_at_its_limit() {
    let mut heights = Heights::growing(0..=1000, 100);
    for height in (0..200).step_by(2) {
        assert_eq!(heights.done(height), Ok(true));
    }
    assert_eq!(heights.done(300), Err(LedgerError::Full));
    assert_eq!(heights.buffer.len(), 100);
    assert_eq!(Heights::growing(0..=1, 0).done(0), Err(LedgerError::Full));
}

#[test]
#[cfg(all(feature = "serde", feature = "alloc"))]
fn spans_survive_being_stored() {
    let mut heights = Heights::growing(0..=100, 50);
    for height in [1, 2, 3, 50, 100] {
        heights.done(height).unwrap();
    }
    let stored = serde_json::to_string(heights.spans()).unwrap();
    let spans: Vec<Span> = serde_json::from_str(&stored).unwrap();
    let mut resumed = Heights::growing(0..=100, 50);
    for span in spans {
        resumed.done_span(span).unwrap();
    }
    assert_eq!(resumed.spans(), heights.spans());
    assert_eq!(resumed.done_count(), 5);
}

/// Checks everything that a ledger says against a plain set.
fn check(
    heights: &Heights<Vec<Span>>,
    range: RangeInclusive<u64>,
    set: &BTreeSet<u64>,
) -> Result<(), TestCaseError> {
    let missing: Vec<u64> = range.clone().filter(|height| !set.contains(height)).collect();
    let low_water = range.clone().take_while(|height| set.contains(height)).last();
    prop_assert_eq!(heights.low_water(), low_water);
    prop_assert_eq!(heights.done_count(), set.len() as u64);
    prop_assert_eq!(heights.missing_count(), missing.len() as u64);
    prop_assert_eq!(heights.is_complete(), missing.is_empty());
    prop_assert_eq!(&heights.gaps().flatten().collect::<Vec<_>>(), &missing);
    for height in range.start().saturating_sub(2)..=range.end().saturating_add(2) {
        prop_assert_eq!(heights.is_done(height), set.contains(&height));
        let next = missing.iter().copied().find(|missing| *missing >= height);
        prop_assert_eq!(heights.next_missing(height), next);
    }
    let apart = heights.spans().windows(2).all(|pair| pair[1].first - pair[0].last > 1);
    prop_assert!(apart, "two spans touch: {:?}", heights.spans());
    prop_assert!(heights.spans().iter().all(|span| span.first <= span.last));
    Ok(())
}

proptest! {
    #[test]
    fn it_agrees_with_a_plain_set(
        start in prop_oneof![Just(0), Just(1000), Just(u64::MAX - 40)],
        extra in 0..=40u64,
        steps in prop::collection::vec((0..=40u64, prop_oneof![3 => Just(0), 1 => 0..10u64]), 0..80),
        room in prop_oneof![Just(21usize), 0..8usize],
    ) {
        let range = start..=start + extra;
        let mut heights = Heights::new(range.clone(), vec![NO_SPAN; room]);
        let mut set = BTreeSet::new();
        for (offset, more) in steps {
            let first = start + offset;
            let last = first.saturating_add(more);
            let held = heights.spans().len();
            match heights.done_span(span(first, last)) {
                Ok(newly) => {
                    let added = (first..=last).filter(|height| set.insert(*height)).count();
                    prop_assert_eq!(newly, added as u64);
                }
                Err(LedgerError::OutOfRange) => prop_assert!(last > *range.end()),
                Err(LedgerError::Full) => {
                    prop_assert_eq!(held, room);
                    let near = first.saturating_sub(1)..=last.saturating_add(1);
                    prop_assert!(set.range(near).next().is_none(), "it needed no new span");
                }
            }
            check(&heights, range.clone(), &set)?;
        }
    }
}
