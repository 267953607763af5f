//! What a recorded run would have come to under other policies, or with other windows: an estimate.
//!
//! The record says when tasks came and workers were there, and how long each worker took for what it did. That is
//! played once more against a scheduler with other policies: tasks come when they came, or where a range or map was
//! asked for more as there was room, as soon as there is; each attempt takes as long as one of the same worker did,
//! drawn at random, and ends as that did. So it is as good as this: that workers take as long under another load,
//! fail as often, and lose their links at the same times.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;
use std::{error, fmt, format};

use chargehand_core::{Choice, Config, Offer, Outcome, QueueOptions, TaskOptions};
use serde_json::Value;

use self::told::Told;
use super::replay::{Replay, ReplayError, check_sizes};
use crate::measure::Histogram;

mod play;
mod source;
mod told;

/// A record, and what it tells of tasks and workers.
///
/// ```no_run
/// use std::{fs::File, io::BufReader};
/// use chargehand::record::{Change, Recording};
///
/// let recording = Recording::read(BufReader::new(File::open("manager.record")?))?;
/// let fewer: Change = "retries_max=0".parse()?;
/// println!("{}\n{}", recording.observed(), recording.estimate(&[fewer])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recording {
    setup: Setup,
    told: Told,
}

/// What a pool was made with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Those of second attempts included.
    pub(super) slots: u32,
    pub(super) workers_max: u32,
    pub(super) queues: Option<Vec<QueueOptions>>,
    pub(super) config: Config,
    window: Window,
    /// The policies that tasks have of their own, and that are changed for all.
    overruled: Vec<String>,
}

/// How many attempts each worker holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Window {
    AsRecorded,
    Fixed(u32),
    Auto,
}

/// What became of all tasks. Displays as some lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Figures {
    /// From the first task to the last outcome.
    pub span: Duration,
    /// How many tasks there were.
    pub tasks: u64,
    /// Those that were done.
    pub done: u64,
    /// Those that failed, by their handler.
    pub failed: u64,
    /// Those that ended otherwise, and those that have no outcome.
    pub other: u64,
    /// Attempts sent.
    pub sent: u64,
    /// The time of each task from when it was submitted to its outcome.
    pub task_time: Histogram,
    /// The time of each task from when it was submitted to when it was first sent.
    pub queue_wait: Histogram,
}

/// A policy that is to be other than it was: `attempts_max=3`.
///
/// Any field of [`Config`] by its name, also where tasks have another one of their own; a field of a queue by its place, as `queue.0.in_flight_max=4`; and
/// `window=16` or `window=auto`, for all workers. `window=auto` and an `ejection` imply `choice=first_answer`, as no pool has
/// them without. Spans are written like `250ms`, `1.5s` or `2m`, other values as in
/// JSON, names of variants as they are or with underscores: `choice=least_loaded`, `ejection=null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    key: String,
    value: String,
}

/// A change of policy makes no sense. The text names it and what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeError(String);

impl Recording {
    /// Reads a record, and does all of it again to see that it is what it was. One that breaks off is good up to
    /// there.
    ///
    /// # Errors
    /// As [`Replay::new`] and [`Replay::step`]; [`BeginsLate`](ReplayError::BeginsLate) for a flight record that has
    /// been written over.
    pub fn read(reader: impl BufRead) -> Result<Self, ReplayError> {
        let mut replay = Replay::new(reader)?;
        if replay.calls_before() > 0 {
            return Err(ReplayError::BeginsLate { line: replay.calls_before() + 1 });
        }
        let head = replay.head().clone();
        // A flight record's checkpoint has as many slots as it has, and an estimate makes those of its first line.
        check_sizes(&head)?;
        let setup = Setup {
            slots: head.slots,
            workers_max: head.workers_max,
            queues: head.queues,
            config: head.config,
            window: Window::AsRecorded,
            overruled: Vec::new(),
        };
        let mut told = Told::new();
        loop {
            match replay.advance() {
                Ok(Some(step)) => told.take(step.now(), step.entry()),
                Ok(None) | Err(ReplayError::BreaksOff { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        told.end();
        Ok(Self { setup, told })
    }

    /// Returns what became of the tasks then.
    pub fn observed(&self) -> Figures {
        self.told.figures()
    }

    /// Returns what becomes of them with these changes. Without any it tells how far such an estimate is off: the
    /// difference to what was [observed](Self::observed). The same changes give the same figures.
    ///
    /// # Errors
    /// Returns [`ChangeError`] where there is no such policy, or its value is none of it.
    pub fn estimate(&self, changes: &[Change]) -> Result<Figures, ChangeError> {
        let mut setup = self.setup.clone();
        for change in changes {
            setup.apply(change)?;
        }
        setup.judge_where_needed()?;
        play::play(&setup, &self.told).map_err(|error| ChangeError(error.to_string()))
    }
}

impl Setup {
    fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        let Change { key, value } = change;
        let refused = |why: String| ChangeError(format!("{key}={value}: {why}"));
        if key == "window" {
            self.window = match value.parse() {
                Ok(count) if count > 0 => Window::Fixed(count),
                _ if value == "auto" => Window::Auto,
                _ => return Err(refused("a window is `auto`, or a number from 1 on".into())),
            };
            return Ok(());
        }
        let Some(rest) = key.strip_prefix("queue.") else {
            self.config = changed(&self.config, key, value).map_err(refused)?;
            self.overruled.push(key.clone());
            return self.config.checked().map(drop).map_err(|why| refused(why.to_string()));
        };
        let queues = self.queues.get_or_insert_with(|| [QueueOptions::new()].into());
        let (place, field) = rest.split_once('.').unwrap_or_default();
        let queue = place.parse().ok().and_then(|place: usize| queues.get_mut(place));
        let queue = queue.ok_or_else(|| refused("there is no such queue".into()))?;
        *queue = changed(queue, field, value).map_err(refused)?;
        queue.checked().map(drop).map_err(|why| refused(why.to_string()))
    }

    /// Has workers be judged where a change needs that: no pool is built that does not, and it would change nothing.
    fn judge_where_needed(&mut self) -> Result<(), ChangeError> {
        let is_overruled =
            |policy: &str| self.overruled.iter().any(|overruled| overruled == policy);
        let (says_choice, says_ejection) = (is_overruled("choice"), is_overruled("ejection"));
        let (is_auto, ejects) = (self.window == Window::Auto, self.config.ejection.is_some());
        if self.config.choice == Choice::FirstAnswer || !(is_auto || ejects) {
            return Ok(());
        }
        if says_choice {
            let what = if is_auto { "window=auto" } else { "an ejection" };
            return Err(ChangeError(format!("choice: {what} does nothing without first_answer")));
        }
        if is_auto || says_ejection {
            self.config.choice = Choice::FirstAnswer;
        }
        Ok(())
    }

    /// Returns the options of a task, less those that are to be other for all.
    pub(super) fn options(&self, mut options: TaskOptions) -> TaskOptions {
        for policy in &self.overruled {
            match policy.as_str() {
                "retries_max" => options.retries_max = None,
                "retry_delay" => options.retry_delay = None,
                "attempt_timeout" => options.attempt_timeout = None,
                _ => {}
            }
        }
        options
    }

    /// Returns what a worker offers.
    pub(super) fn offer(&self, offer: Offer) -> Offer {
        match self.window {
            Window::AsRecorded => offer,
            Window::Fixed(count) => Offer { window: count, is_auto: false, ..offer },
            Window::Auto => offer.auto(self.config.window_max),
        }
    }
}

/// Returns something with one field changed.
fn changed<T>(it: &T, field: &str, value: &str) -> Result<T, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let Ok(Value::Object(mut fields)) = serde_json::to_value(it) else {
        return Err("it cannot be changed".into());
    };
    if field.starts_with("hedge") {
        // And the slots for second attempts are memory.
        return Err("an estimate knows no second attempts".into());
    }
    let known: Vec<_> = fields.keys().cloned().collect();
    let Some(place) = fields.get_mut(field) else {
        return Err(format!("there is no such policy; there are {}, and window", known.join(", ")));
    };
    *place = match (&*place, span(value)) {
        // Of what has two fields, seconds and nanoseconds, as a span has.
        (Value::Object(of), Some(span)) if of.contains_key("nanos") => serde_json::json!({
            "secs": span.as_secs(), "nanos": span.subsec_nanos()
        }),
        _ => serde_json::from_str(value).unwrap_or_else(|_| Value::String(variant(value))),
    };
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

fn span(text: &str) -> Option<Duration> {
    let at = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// Returns the name of a variant, from one with underscores.
fn variant(text: &str) -> String {
    let mut name = String::new();
    for part in text.split('_') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

impl std::str::FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, value)| !key.is_empty() && !value.is_empty())
            .ok_or_else(|| ChangeError(format!("{text}: it is written like attempts_max=3")))?;
        Ok(Self { key: key.trim().into(), value: value.trim().into() })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for ChangeError {}

impl Figures {
    fn new() -> Self {
        let (task_time, queue_wait) = (Histogram::new(), Histogram::new());
        let (span, tasks, done, failed, other, sent) = (Duration::ZERO, 0, 0, 0, 0, 0);
        Self { span, tasks, done, failed, other, sent, task_time, queue_wait }
    }

    /// Counts how tasks ended.
    fn count(&mut self, outcomes: &BTreeMap<u8, u64>) {
        let of = |outcome: Outcome| outcomes.get(&(outcome as u8)).copied().unwrap_or(0);
        (self.done, self.failed) = (of(Outcome::Done), of(Outcome::Failed));
        self.other = self.tasks - self.done - self.failed;
    }

    /// Returns each figure with its name, as both are shown.
    pub fn rows(&self) -> [(&'static str, String); 10] {
        let time = |times: &Histogram, share| {
            times.quantile(share).map_or_else(|| "-".into(), |time| format!("{time:.1?}"))
        };
        [
            ("took", format!("{:.1?}", self.span)),
            ("tasks", self.tasks.to_string()),
            ("done", self.done.to_string()),
            ("failed", self.failed.to_string()),
            ("ended otherwise", self.other.to_string()),
            ("attempts sent", self.sent.to_string()),
            ("task time p50", time(&self.task_time, 0.5)),
            ("task time p99", time(&self.task_time, 0.99)),
            ("queue wait p50", time(&self.queue_wait, 0.5)),
            ("queue wait p99", time(&self.queue_wait, 0.99)),
        ]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, figure)) in self.rows().iter().enumerate() {
            let end = if at > 0 { "\n" } else { "" };
            write!(f, "{end}{name:<16} {figure}")?;
        }
        Ok(())
    }
}
