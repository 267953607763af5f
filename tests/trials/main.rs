//! Trials by fire, over real sockets and with real processes: crowds, storms, kills and cuts, while
//! work goes on. Each asserts what must hold throughout: nothing lost, nothing doubled, answers that
//! are right, and memory and time within their bounds.
//!
//! `CHAOS_SECONDS` sets how long `chaos` rages, and `CHAOS_SEED` repeats what it drew. `KILLS` sets how many
//! processes `kills` kills, `STORM_WORKERS` and `STORM_SECONDS` how many workers `storms` cuts off for how long.

#[path = "../support/cases.rs"]
#[macro_use]
mod cases;
#[path = "../support/children.rs"]
mod children;
#[path = "../support/pair.rs"]
mod pair;
#[path = "../support/raw.rs"]
mod raw;

mod chaos;
mod crowds;
mod drops;
mod echoes;
mod files;
mod kills;
mod limits;
mod moves;
mod proxy;
mod reach;
mod roles;
mod slow;
mod storms;

use chargehand::testing::conformance::{PATIENCE, rig};

/// Ends a trial that takes too long, for what it is told to do.
fn bounded(trial: impl FnOnce() + Send + 'static) {
    rig::bounded_by(PATIENCE + chaos::span() + kills::span() + storms::span(), trial);
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        chaos:
            six_workers_that_are_killed_and_stopped_lose_nothing;
        crowds:
            five_thousand_half_open_handshakes_keep_no_good_worker_out
            five_thousand_half_open_handshakes_keep_no_good_manager_out;
        drops:
            a_driver_that_is_dropped_under_load_stops_what_runs_for_it
            a_worker_that_is_dropped_under_load_stops_what_it_runs;
        echoes:
            eight_mebibytes_go_both_ways_and_hold_up_no_small_call;
        files:
            a_manager_out_of_files_goes_on_with_the_links_it_has
            a_worker_out_of_files_goes_on_with_the_links_it_has;
        kills:
            workers_that_are_killed_one_after_the_other_lose_nothing;
        limits:
            a_worker_with_little_memory_outlives_managers_that_read_nothing
            a_manager_with_little_memory_outlives_outcomes_that_nobody_takes;
        moves:
            a_worker_that_moves_is_found_behind_its_name;
        slow:
            a_manager_that_reads_nothing_takes_no_memory_and_holds_up_nobody
            a_slow_line_loses_nothing
            a_line_that_is_stuck_towards_the_worker_is_given_up
            a_line_that_is_stuck_towards_the_manager_is_given_up;
        storms:
            workers_that_are_cut_off_at_once_are_all_back_in_time;
    }
}
