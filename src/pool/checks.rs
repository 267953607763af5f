//! What a pool is not built with, and what is said then.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::error::Error;
use core::fmt::{self, Display};

use chargehand_core::message::{check_name, check_schema};
use chargehand_core::queue::QUEUES_MAX;
use chargehand_core::{Config, ConfigError, Hedge, QueueOptions};

use crate::driver::Setup;
use crate::error::NO_WINDOW;
use crate::limits::{FRAMES_MIN, Limits};
use crate::link::erased::{AnyConnector, AnyListener, Kind, Reach};
use crate::link::exposure;
use crate::link::identity::check_shown;
use crate::options::Window;
use crate::seed::NO_SEED;

/// A limit or policy out of its range, or a link that nothing protects. The text names it and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(String);

impl BuildError {
    /// That no seed was given, and none can be drawn.
    pub(super) fn no_seed() -> Self {
        Self(NO_SEED.to_owned())
    }
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

impl Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BuildError {}

/// Refuses limits that are out of their range, and links that nothing protects.
pub(super) fn check<T, K: Kind>(setup: &Setup<T, K>) -> Result<(), BuildError> {
    let limits = &setup.limits;
    let in_u32 = 1..=1 << 28;
    for (what, count) in [
        ("tasks_max", limits.tasks_max as usize),
        ("workers_max", limits.workers_max as usize),
        ("queue_max", limits.queue_max),
        ("ahead_max", limits.ahead_max()),
        ("handshakes_max", limits.handshakes_max),
        ("handshakes_per_identity", limits.handshakes_per_identity),
        ("handshakes_per_host", limits.handshakes_per_host.unwrap_or(1)),
        ("links_per_identity", limits.links_per_identity),
        ("links_per_host", limits.links_per_host.unwrap_or(1)),
    ] {
        if !in_u32.contains(&count) {
            return Err(BuildError(format!("{what} is {count}; it must be 1 to 2^28")));
        }
    }
    check_name(&limits.name).map_err(|error| BuildError(error.to_string()))?;
    if check_shown(&limits.name).is_err() {
        let why = "name must have no character that nobody sees or that turns others";
        return Err(BuildError(why.to_owned()));
    }
    if let Some(schema) = &limits.schema {
        check_schema(schema).map_err(|error| BuildError(error.to_string()))?;
    }
    check_queues(limits)?;
    check_hedges(setup)?;
    if limits.in_flight == Some(Window::Fixed(0)) {
        return Err(BuildError("in_flight must be at least 1".to_owned()));
    }
    if (limits.frame_bytes_max as usize) < 1024 {
        return Err(BuildError("frame_bytes_max must be at least 1024".to_owned()));
    }
    let (memory_max, memory_min) = (limits.memory_max(), limits.memory_min());
    if memory_max < memory_min {
        return Err(BuildError(format!(
            "memory_max is {memory_max}; it must be at least {memory_min}, which is \
                 {FRAMES_MIN} times frame_bytes_max: raise the one or lower the other"
        )));
    }
    if setup.workers.len() > limits.workers_max as usize {
        return Err(BuildError(format!(
            "{} workers are dialled or in-process; workers_max is {}",
            setup.workers.len(),
            limits.workers_max
        )));
    }
    if setup.workers.iter().any(|(_, options)| options.is_idle()) {
        return Err(BuildError(NO_WINDOW.to_owned()));
    }
    #[cfg(feature = "choice")]
    check_choice(setup)?;
    check_grace(setup)?;
    check_exposure(setup)
}

/// Refuses a grace that ends early, since whoever dials in is forgotten before. Who is dialled never is.
fn check_grace<T, K: Kind>(setup: &Setup<T, K>) -> Result<(), BuildError> {
    let Config { grace, absent_max, .. } = setup.config;
    if setup.listeners.is_empty() || grace <= absent_max {
        return Ok(());
    }
    Err(BuildError(format!(
        "the grace is {grace:?}, and a worker that dials in is forgotten after absent_max, {absent_max:?}: \
             raise absent_max or lower the grace"
    )))
}

/// Refuses what would do nothing, since workers are not judged by their answers.
#[cfg(feature = "choice")]
fn check_choice<T, K: Kind>(setup: &Setup<T, K>) -> Result<(), BuildError> {
    if setup.config.choice == chargehand_core::Choice::FirstAnswer {
        return Ok(());
    }
    let is_auto = |window: Option<Window>| window == Some(Window::Auto);
    let what = if setup.config.ejection.is_some() {
        "Config::ejection"
    } else if is_auto(setup.limits.in_flight) {
        "Builder::auto_windows"
    } else if setup.workers.iter().any(|(_, options)| is_auto(options.window)) {
        "WorkerOptions::auto_window"
    } else {
        return Ok(());
    };
    Err(BuildError(format!(
        "{what} does nothing unless workers are chosen by their answers: set \
         `.choice(Choice::FirstAnswer)`, or leave it out"
    )))
}

/// Refuses queues that there is no room for, or whose options are out of their range.
fn check_queues(limits: &Limits) -> Result<(), BuildError> {
    let count = limits.queues.len();
    if count > QUEUES_MAX {
        return Err(BuildError(format!("there are {count} queues; there may be {QUEUES_MAX}")));
    }
    if count > 1 && (limits.tasks_max as usize) < 2 * count {
        return Err(BuildError(format!(
            "tasks_max is {}, and {count} queues need twice as many: raise it",
            limits.tasks_max
        )));
    }
    for (name, options) in &limits.queues {
        options.checked().map_err(|error| BuildError(format!("queue `{name}`: {error}")))?;
    }
    Ok(())
}

/// Refuses second attempts that there is no room for.
fn check_hedges<T, K: Kind>(setup: &Setup<T, K>) -> Result<(), BuildError> {
    let hedged =
        |options: &QueueOptions| options.hedge.is_some_and(|hedge| hedge != Hedge::never());
    match setup.limits.queues.iter().find(|(_, options)| hedged(options)) {
        Some((name, _)) if setup.config.hedges_max == 0 => Err(BuildError(format!(
            "queue `{name}` asks for second attempts, and hedges_max is 0: raise it, or leave them out"
        ))),
        _ => Ok(()),
    }
}

/// Refuses what leaves the machine unprotected, unless the user has said that it may.
fn check_exposure<T, K: Kind>(setup: &Setup<T, K>) -> Result<(), BuildError> {
    let is_taken = |exposure| exposure::is_taken(exposure, setup.limits.is_insecure);
    for (reach, _) in &setup.workers {
        match reach {
            Reach::Dial(connector) if !is_taken(reach.exposure()) => {
                return Err(BuildError(exposure::dialled(connector.peer())));
            }
            _ => {}
        }
    }
    if !setup.listeners.iter().all(|listener| is_taken(listener.exposure())) {
        return Err(BuildError(exposure::LISTENED.to_owned()));
    }
    Ok(())
}
