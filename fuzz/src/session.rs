//! What a worker holds of one link.

use std::collections::BTreeMap;

use chargehand_core::TaskId;
use chargehand_core::session::{RunId, Session, SessionError};

use crate::chunks::Choices;

const WINDOW: u16 = 4;

/// A session holds what it was given, in order, no more than its window, and each attempt ends once.
pub fn session(data: &[u8]) {
    let mut choices = Choices(data);
    let mut session = Session::with_window(WINDOW);
    let mut model: BTreeMap<(TaskId, u16), RunId> = BTreeMap::new();
    let mut all: Vec<RunId> = Vec::new();
    while !choices.is_over() {
        let what = choices.byte();
        let task = TaskId::from_parts(u32::from(choices.byte()) % 6, u32::from(choices.byte()) % 3);
        let attempt = u16::from(choices.byte()) % 3;
        match what % 4 {
            0 | 1 => request(&mut session, &mut model, &mut all, (task, attempt)),
            2 => {
                let expected = model.remove(&(task, attempt));
                assert_eq!(session.cancel(task, attempt), expected);
            }
            _ => {
                let Some(&run) = all.get(usize::from(what / 4) % all.len().max(1)) else {
                    continue;
                };
                let of = |(key, held): (&(TaskId, u16), &RunId)| (*held == run).then_some(*key);
                let expected = model.iter().find_map(of);
                assert_eq!(session.contains(run), expected.is_some());
                assert_eq!(session.complete(run), expected);
                if let Some(key) = expected {
                    model.remove(&key);
                }
            }
        }
        assert_eq!(session.running(), model.len());
    }
    session.drain();
    assert_eq!(session.is_drained(), model.is_empty());
}

fn request(
    session: &mut Session<Box<[chargehand_core::session::RunSlot]>>,
    model: &mut BTreeMap<(TaskId, u16), RunId>,
    all: &mut Vec<RunId>,
    (task, attempt): (TaskId, u16),
) {
    match session.request(task, attempt) {
        Ok(run) => {
            assert!(model.len() < usize::from(WINDOW), "more than the window");
            assert!(model.insert((task, attempt), run).is_none(), "one attempt runs twice");
            all.push(run);
        }
        Err(SessionError::Duplicate) => assert!(model.contains_key(&(task, attempt))),
        Err(error) => assert_eq!(model.len(), usize::from(WINDOW), "{error}"),
    }
}
