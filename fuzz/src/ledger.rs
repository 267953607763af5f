//! What is done of a range, against a map of every height, and snapshots from anywhere.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chargehand_core::ledger::{Height, Ledger, LedgerError, Mark, Snapshot, Span};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chunks::Choices;

/// How many heights a range has at most.
const HEIGHTS_MAX: u64 = 24;

/// A ledger knows of every height what a map would, at the ends of the number range as elsewhere, and
/// snapshots are taken back as they were or refused.
pub fn ledger(data: &[u8]) {
    let mut choices = Choices(data);
    match choices.byte() % 4 {
        0 => calls::<u64>(choices),
        1 => calls::<i64>(choices),
        2 => any_snapshot::<u64>(choices),
        _ => any_snapshot::<i64>(choices),
    }
}

fn calls<H: Height + Serialize + DeserializeOwned>(mut choices: Choices<'_>) {
    let first = [0, u64::MAX - 30, (1 << 63) - 9, 1_000][usize::from(choices.byte()) % 4];
    let first = first + u64::from(choices.byte()) % 8;
    let last = first.saturating_add(u64::from(choices.byte()) % HEIGHTS_MAX);
    let spans_max = usize::from(choices.byte()) % 12;
    let range = H::from_index(first)..=H::from_index(last);
    let mut ledger = Ledger::growing_of(range, spans_max);
    let mut model = BTreeMap::new();
    while !choices.is_over() {
        step(&mut ledger, &mut model, &mut choices, first..=last);
        compare(&ledger, &model, first..=last);
    }
    let kept = ledger.snapshot().into_owned();
    for again in [by_postcard(&kept), by_json(&kept)] {
        assert_eq!(again, kept, "a snapshot reads otherwise than it was written");
        let resumed = Ledger::resume_growing(&again, spans_max).expect("it had room before");
        // What was in flight is open again.
        model.retain(|_, mark| *mark != Mark::InFlight);
        compare(&resumed, &model, first..=last);
    }
}

type Model = BTreeMap<u64, Mark>;

fn step<H: Height>(
    ledger: &mut Ledger<Vec<Span<H>>, H>,
    model: &mut Model,
    choices: &mut Choices<'_>,
    range: RangeInclusive<u64>,
) {
    let what = choices.byte();
    let index = range.start().saturating_add(u64::from(choices.byte()) % (HEIGHTS_MAX + 1));
    let (height, is_within) = (H::from_index(index), range.contains(&index));
    let before = model.get(&index).copied();
    match what % 7 {
        0 | 1 => {
            let lowest = range.clone().find(|index| !model.contains_key(index));
            match ledger.take_next() {
                Ok(taken) => {
                    assert_eq!(taken.map(Height::to_index), lowest, "not the lowest open height");
                    model.extend(lowest.map(|index| (index, Mark::InFlight)));
                }
                Err(error) => assert_eq!(error, LedgerError::Saturated),
            }
        }
        2 => match ledger.complete(height) {
            Ok(is_new) => {
                assert!(is_within && is_new == (before != Some(Mark::Done)));
                model.insert(index, Mark::Done);
            }
            Err(error) => refused(error, is_within, before),
        },
        3 => match ledger.fail(height) {
            Ok(is_new) => {
                let was_open = !matches!(before, Some(Mark::Done | Mark::Failed));
                assert!(is_within && is_new == was_open);
                if is_new {
                    model.insert(index, Mark::Failed);
                }
            }
            Err(error) => refused(error, is_within, before),
        },
        4 => {
            let is_given_back = ledger.give_back(height);
            assert_eq!(is_given_back, before == Some(Mark::InFlight));
            if is_given_back {
                model.remove(&index);
            }
        }
        5 => {
            let end = index.saturating_add(u64::from(choices.byte()) % 6);
            let result = ledger.complete_range(height..=H::from_index(end));
            if let Ok(new) = result {
                assert!(is_within && range.contains(&end));
                let done = |index: &u64| model.get(index) != Some(&Mark::Done);
                assert_eq!(new, (index..=end).filter(done).count() as u64);
                model.extend((index..=end).map(|index| (index, Mark::Done)));
            } else {
                let is_within = is_within && range.contains(&end);
                assert!(is_within == (result == Err(LedgerError::Saturated)));
            }
        }
        _ => {
            ledger.reopen();
            model.retain(|_, mark| *mark == Mark::Done);
        }
    }
}

/// There was no room, or the height is not in the range; one in flight always has room.
fn refused(error: LedgerError, is_within: bool, before: Option<Mark>) {
    assert_eq!(is_within, error == LedgerError::Saturated);
    assert_ne!(before, Some(Mark::InFlight), "a height in flight had no room");
}

fn compare<H: Height>(ledger: &Ledger<Vec<Span<H>>, H>, model: &Model, range: RangeInclusive<u64>) {
    let count = |mark| model.values().filter(|&&held| held == mark).count() as u64;
    assert_eq!(ledger.completed_count(), count(Mark::Done));
    assert_eq!(ledger.failed_count(), count(Mark::Failed));
    assert_eq!(ledger.in_flight_count(), count(Mark::InFlight));
    let heights = range.end() - range.start() + 1;
    assert_eq!(ledger.missing_count(), heights - count(Mark::Done));
    assert_eq!(ledger.is_complete(), count(Mark::Done) == heights);
    for index in range.clone() {
        assert_eq!(ledger.mark(H::from_index(index)), model.get(&index).copied(), "{index}");
    }
    let open = range.clone().find(|index| !model.contains_key(index));
    assert_eq!(ledger.next_open(H::from_index(0)).map(Height::to_index), open);
    let is_done = |index: &u64| model.get(index) == Some(&Mark::Done);
    let low_water = range.take_while(is_done).last();
    assert_eq!(ledger.low_water().map(Height::to_index), low_water);
    let mut above = None;
    for span in ledger.spans() {
        assert!(span.first <= span.last && above.is_none_or(|above| span.first > above));
        above = Some(span.last);
    }
}

/// A snapshot that anybody may have written becomes a ledger that holds together, or an error.
fn any_snapshot<H: Height + Serialize + DeserializeOwned>(mut choices: Choices<'_>) {
    let spans_max = usize::from(choices.byte());
    let is_json = choices.byte() & 1 == 0;
    let snapshot: Option<Snapshot<Vec<Span<H>>, H>> = if is_json {
        serde_json::from_slice(choices.0).ok()
    } else {
        postcard::from_bytes(choices.0).ok()
    };
    let Some(snapshot) = snapshot else { return };
    let Ok(mut ledger) = Ledger::resume_growing(&snapshot, spans_max) else { return };
    assert_eq!(ledger.range().is_some(), !snapshot.range().is_empty());
    let done = ledger.completed_count();
    let _ = (ledger.low_water(), ledger.missing_count(), ledger.gaps().count());
    if let Ok(Some(height)) = ledger.take_next() {
        assert_eq!(ledger.complete(height), Ok(true), "a height in flight had no room");
        assert_eq!(ledger.completed_count(), done.saturating_add(1));
    }
    ledger.reopen();
    assert_eq!(ledger.in_flight_count(), 0);
    let again = Ledger::resume_growing(&ledger.snapshot().into_owned(), spans_max);
    assert_eq!(again.expect("its own snapshot").spans(), ledger.spans());
}

fn by_postcard<H>(kept: &Snapshot<Vec<Span<H>>, H>) -> Snapshot<Vec<Span<H>>, H>
where
    H: Serialize + DeserializeOwned,
{
    let bytes = postcard::to_allocvec(kept).expect("it can be written");
    postcard::from_bytes(&bytes).expect("what is written can be read")
}

fn by_json<H>(kept: &Snapshot<Vec<Span<H>>, H>) -> Snapshot<Vec<Span<H>>, H>
where
    H: Serialize + DeserializeOwned,
{
    let text = serde_json::to_string(kept).expect("it can be written");
    serde_json::from_str(&text).expect("what is written can be read")
}
