//! Panics of runs, which are findings and not the end of the program.

use std::any::Any;
use std::cell::RefCell;
use std::panic;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics noted, in place of being printed.
pub(crate) fn keep_quiet() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PLACE.with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.is_empty() {
                *kept = place;
            }
        });
    }));
}

/// Returns what a panic said, and where the first one since the last call was.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let place = PLACE.with(|kept| std::mem::take(&mut *kept.borrow_mut()));
    format!("{} ({place})", text.as_deref().unwrap_or("a panic without a text"))
}
