//! Whether a transport on a runtime keeps the rules: one suite, for yours as for our own.
//!
//! Say what your pair is, by a [`Pair`], and make each [`Case`] a test of yours:
//!
//! ```
//! use std::future::Future;
//! use chargehand::tcp::{TcpConnector, TcpListener};
//! use chargehand::testing::conformance::Pair;
//! use chargehand::tokio::{Tokio, TokioListener};
//!
//! struct TcpOnTokio;
//!
//! impl Pair for TcpOnTokio {
//!     type Timer = Tokio;
//!     type Listener = TcpListener<TokioListener>;
//!     type Connector = TcpConnector<Tokio>;
//!
//!     fn timer() -> Tokio {
//!         Tokio::new()
//!     }
//!
//!     fn run<F: Future>(case: F) -> F::Output {
//!         let mut builder = tokio::runtime::Builder::new_multi_thread();
//!         let runtime = builder.worker_threads(2).enable_all().build().unwrap();
//!         let output = runtime.block_on(case);
//!         runtime.shutdown_background();
//!         output
//!     }
//!
//!     fn spawn(future: impl Future<Output = ()> + Send + 'static) {
//!         tokio::spawn(future);
//!     }
//!
//!     fn place() -> (Self::Listener, Self::Connector) {
//!         let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
//!         let address = socket.local_addr().unwrap().to_string();
//!         let listener = TcpListener::new(TokioListener::from_std(socket).unwrap());
//!         (listener, TcpConnector::new(Tokio::new(), &address).unwrap())
//!     }
//! }
//!
//! // In a file of `tests/`: a `#[test]` for each case, as `wires::messages_arrive_whole_...`.
//! chargehand::conformance_tests!(TcpOnTokio);
//! # let case = chargehand::testing::conformance::cases::<TcpOnTokio>().remove(0);
//! # case.check(chargehand::testing::conformance::PATIENCE).unwrap();
//! ```
//!
//! The cases are of five kinds:
//!
//! | module | asks |
//! |---|---|
//! | `timers` | of the runtime's clock: what [`Timer`] promises |
//! | `wires` | of the transport alone: what [`Connect`], [`Listen`] and [`Wire`] promise |
//! | `load` | of pools and workers on the pair: workers that come, go and fail, full queues, stops |
//! | `in_process` | the same with workers in the pool's own process beside them |
//! | `futures` | that every future of a pool can be dropped after any number of polls |
//!
//! They wait for conditions and not for times, so a busy machine makes them slow and not wrong. All of
//! them take some ten seconds on one thread. What a transport does with bytes that are none of its
//! protocol's is for its own tests.

mod futures;
mod in_process;
mod load;
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "it is for this project's own further cases")]
pub mod rig;
mod timers;
mod wires;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use crate::BoxError;
use crate::core::io::{Connect, Listen, Timer, Wire};

/// How long a case may take. Far more than it needs, for machines with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A transport on a runtime, as the cases need it. It is a type to name the pair by: nothing is made of it.
pub trait Pair: Sized + 'static {
    /// The runtime's clock.
    type Timer: Timer<Sleep: Send> + Clone + Send + Sync + 'static;
    /// The transport's listener.
    type Listener: Listen<Wire: Wire<Error: Into<BoxError>> + Send, Error: Into<BoxError>, Accepting: Send>
        + Send
        + 'static;
    /// The transport's connector. A clone leads to the same listener.
    type Connector: Connect<Wire: Wire<Error: Into<BoxError>> + Send, Error: Into<BoxError>, Connecting: Send>
        + Clone
        + Send
        + Sync
        + 'static;

    /// Returns the runtime's clock.
    fn timer() -> Self::Timer;

    /// Runs a case to its end on a runtime of its own, on this thread and others.
    fn run<F: Future>(case: F) -> F::Output;

    /// Lets a future go on by itself, until it or the case ends. Called within [`run`](Pair::run).
    fn spawn(future: impl Future<Output = ()> + Send + 'static);

    /// Returns a listener at a place of its own, and a connector that leads there. Called within
    /// [`run`](Pair::run), and several times by a case. Its limits should be the default ones.
    fn place() -> (Self::Listener, Self::Connector);
}

/// One of the rules, and the code that sees whether a pair keeps it.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn(),
}

impl Case {
    /// Returns its name, `module::rule`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on a thread of its own.
    ///
    /// # Errors
    /// Returns with what the case failed, or that it was not over by then. What hangs stays on its thread
    /// until the process ends.
    pub fn check(&self, patience: Duration) -> Result<(), String> {
        let run = self.run;
        let bounded = || rig::bounded_by(patience, run);
        std::panic::catch_unwind(bounded).map_err(|panic| self.told(&*panic))
    }

    fn told(&self, panic: &(dyn Any + Send)) -> String {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("{}: {}", self.name, text.unwrap_or("it panicked"))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs one case by its name, within [`PATIENCE`], and panics where the pair fails it.
///
/// # Panics
/// Panics too where there is no such case.
#[doc(hidden)]
pub fn run_case<P: Pair>(name: &str) {
    let case = cases::<P>().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    rig::bounded(case.run);
}

/// Makes the list of the cases, and the macro that makes each a test. `$d` is a dollar sign.
macro_rules! suite {
    (($d:tt) $($module:ident: $($case:ident)+;)+) => {
        /// Returns all cases for a pair.
        pub fn cases<P: Pair>() -> Vec<Case> {
            Vec::from([$($(Case {
                name: concat!(stringify!($module), "::", stringify!($case)),
                run: || P::run($module::$case::<P>()),
            }),+),+])
        }

        /// Makes each case of [`testing::conformance`](crate::testing::conformance) a `#[test]` for the
        /// [`Pair`](crate::testing::conformance::Pair) that is named.
        #[macro_export]
        macro_rules! conformance_tests {
            ($d pair:ty) => {
                // Here, where the pair has its name.
                #[cfg(test)]
                fn run_conformance_case(name: &str) {
                    $crate::testing::conformance::run_case::<$d pair>(name);
                }

                $(mod $module {
                    $(#[test]
                    fn $case() {
                        super::run_conformance_case(
                            concat!(stringify!($module), "::", stringify!($case)),
                        );
                    })+
                })+
            };
        }
    };
}

suite! {
    ($)
    timers:
        a_sleep_ends_at_its_time_and_not_before
        of_many_sleeps_each_ends_at_its_time
        clones_of_a_clock_agree_and_never_go_back
        a_sleep_to_the_far_future_waits_and_one_to_the_past_does_not
        a_sleep_wakes_who_polled_it_last;
    wires:
        messages_arrive_whole_and_in_order_both_ways_at_once
        a_peer_that_waits_is_woken_by_what_was_flushed
        a_sender_waits_for_a_peer_that_does_not_read_and_then_goes_on
        what_was_sent_before_a_close_arrives_and_then_the_end
        the_end_of_a_wire_that_is_dropped_is_seen
        a_limit_that_is_raised_holds_for_what_is_there_already
        a_message_past_the_limit_is_never_given_out_in_part
        the_longest_message_is_carried
        progress_grows_with_what_is_carried
        connections_that_come_at_once_are_all_taken
        an_attempt_that_is_given_up_harms_no_other
        where_nobody_listens_to_connect_is_an_error
        both_ends_have_names;
    load:
        every_height_of_a_range_has_its_answer
        a_map_of_requests_comes_back_in_order_though_a_worker_goes
        a_handler_that_panics_fails_its_task_and_nothing_else
        a_failure_is_told_once_and_retried_only_on_request
        without_a_worker_tasks_wait_and_the_figures_say_why
        a_pool_without_any_worker_waits_for_one_to_be_added
        a_full_queue_hands_the_request_back_or_lets_it_wait
        a_pool_with_all_its_workers_takes_no_more
        when_a_cancel_races_the_answer_exactly_one_wins
        what_is_cancelled_stops_at_the_worker
        stop_waits_for_what_is_under_way
        at_the_deadline_of_a_stop_every_task_ends_aborted
        a_pool_that_everybody_has_let_go_of_drains_and_ends
        dropping_the_driver_answers_everybody_who_waits
        workers_come_and_go_under_load_and_nothing_is_lost
        a_removed_worker_finishes_what_it_holds
        a_worker_that_stops_cleanly_under_load_loses_nothing
        of_two_live_workers_of_one_name_the_older_one_stays
        a_worker_that_hangs_but_lives_loses_its_task_to_another
        a_worker_that_only_fails_is_suspended_but_never_the_last_one
        a_worker_is_never_sent_more_than_its_window;
    in_process:
        in_process_and_remote_workers_share_a_range
        what_an_in_process_worker_fails_or_hangs_at_is_told_or_done_elsewhere
        what_is_cancelled_or_let_go_of_stops_in_this_process;
    futures:
        futures_of_tasks_leak_nothing_wherever_they_are_dropped
        futures_of_control_leak_nothing_wherever_they_are_dropped
        a_stop_whose_future_is_dropped_still_ends_in_order;
}
