//! One suite for every pair of a transport and a runtime: bad input, faults and load, over real
//! sockets, and with processes where the fault is one of a process.

#[path = "../support/cases.rs"]
#[macro_use]
mod cases;
#[path = "../support/children.rs"]
mod children;
#[path = "../support/pair.rs"]
mod plain;
#[path = "../support/raw.rs"]
mod raw;

mod answers;
mod failures;
mod go;
mod handshakes;
mod here;
mod members;
mod processes;
mod refusals;
mod rotation;
mod silence;
mod tls;
mod workers;

use chargehand::testing::conformance::rig::{self, bounded};

/// Every pair, by its name.
mod pair {
    pub(crate) use crate::plain::*;
    pub(crate) use crate::tls::{TlsSmol, TlsTokio, WssSmol, WssTokio};
}

/// Makes the suite that is there for everybody a module of tests for each pair.
macro_rules! conforms {
    ($($pair:ident = $kind:ident),+) => {
        $(mod $pair {
            use crate::pair::$kind;

            chargehand::conformance_tests!($kind);
        })+
    };
}

conforms! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol,
    unix_tokio = UnixTokio, unix_smol = UnixSmol, memory_tokio = MemoryTokio, memory_smol = MemorySmol
}

// What needs more of this package, or of its runtimes, than that suite may.
cases! {
    tcp_tokio_here = TcpTokio, tcp_smol_here = TcpSmol, ws_tokio_here = WsTokio,
    ws_smol_here = WsSmol, unix_tokio_here = UnixTokio, unix_smol_here = UnixSmol,
    memory_tokio_here = MemoryTokio, memory_smol_here = MemorySmol;
    {
        here:
            busy_in_process_handlers_keep_no_link_from_being_served
            a_blocking_handler_does_not_silence_the_heartbeat;
    }
}

// The other end is played by hand, byte by byte, over real sockets.
cases! {
    tcp_tokio_by_hand = TcpTokio, tcp_smol_by_hand = TcpSmol, ws_tokio_by_hand = WsTokio,
    ws_smol_by_hand = WsSmol;
    {
        answers:
            a_worker_by_hand_is_served_byte_by_byte
            a_second_answer_is_ignored
            an_answer_to_an_older_attempt_is_ignored
            an_answer_after_the_task_was_cancelled_is_ignored
            an_answer_for_another_workers_task_is_refused_and_harms_nobody
            an_answer_for_a_task_that_never_was_is_refused
            a_message_that_is_not_a_workers_to_send_is_refused
            bytes_behind_a_message_are_refused
            an_empty_message_is_refused
            a_flood_of_pongs_is_refused
            a_flood_of_old_answers_is_refused
            a_reset_in_the_middle_of_an_answer_loses_the_link_and_not_the_task
            an_end_in_the_middle_of_an_answer_loses_the_link_and_not_the_task
            an_end_with_tasks_held_sends_them_again
            a_worker_that_stops_reading_is_lost_and_holds_up_nobody
            a_worker_that_dribbles_its_answer_is_lost
            a_window_is_kept_to_the_letter
            a_worker_that_drains_gets_nothing_more_and_may_answer_what_it_holds
            a_thousand_idle_links_leave_a_busy_one_alone
            a_displaced_worker_is_told_so
            a_pool_that_stops_says_so_to_its_workers
            a_worker_keeps_to_its_own_rules_with_a_manager_by_hand
            a_worker_gives_up_a_manager_that_is_silent;
        refusals:
            another_magic_is_refused_with_a_word
            another_version_is_refused_with_a_word
            a_first_message_that_is_no_hello_is_refused
            a_peer_of_the_same_role_is_told_so
            a_manager_that_dials_a_manager_is_told_so
            a_worker_that_dials_a_worker_is_told_so
            a_length_past_the_limit_is_refused_from_its_header
            a_first_message_longer_than_a_hello_is_refused_from_its_header
            a_hello_that_is_cut_short_is_no_hello
            a_reset_in_the_middle_of_a_hello_is_an_end
            http_on_the_port_is_refused_by_name
            the_other_transport_on_the_port_is_refused
            tls_on_the_port_is_refused_by_name
            random_bytes_are_refused
            a_dialled_peer_that_is_no_worker_is_told_apart
            a_worker_without_a_name_cannot_dial_in
            a_full_pool_and_a_full_worker_say_that_they_are_busy;
        failures:
            a_failure_in_no_form_ends_its_link_and_its_task_goes_elsewhere
            a_failure_longer_than_a_frame_is_refused_from_its_header
            an_odd_failure_is_its_own_tasks_and_is_cut_where_it_comes_in;
        silence:
            a_peer_that_accepts_and_says_nothing_is_given_up_and_tried_again
            a_link_that_swallows_everything_is_lost_and_its_tasks_go_elsewhere
            a_link_that_swallows_requests_is_lost_and_its_tasks_go_elsewhere
            a_link_that_swallows_answers_is_lost_and_its_tasks_go_elsewhere
            a_worker_that_dials_comes_back_after_its_link_was_swallowed;
        handshakes:
            a_dribbled_handshake_ends_at_its_deadline
            a_crowd_of_dribblers_keeps_no_good_worker_out
            a_crowd_of_dribblers_keeps_no_good_manager_out;
        workers:
            a_long_request_may_take_its_time_and_a_dribble_may_not
            a_long_first_message_is_refused_before_it_is_there
            a_flood_of_what_is_no_work_ends_and_harms_nobody
            silent_managers_make_room_for_one_with_work
            what_waits_at_a_worker_that_stops_is_given_back_at_once;
    }
}

conforms! {
    tls_tokio = TlsTokio, tls_smol = TlsSmol, wss_tokio = WssTokio, wss_smol = WssSmol
}

// Strangers at a door that speaks TLS.
cases! {
    tls_tokio_by_hand = TlsTokio, tls_smol_by_hand = TlsSmol, wss_tokio_by_hand = WssTokio,
    wss_smol_by_hand = WssSmol;
    {
        tls:
            plain_bytes_on_a_tls_port_are_refused_by_name
            http_on_a_tls_port_is_refused_by_name
            a_certificate_of_another_authority_is_refused_by_name
            an_expired_or_early_certificate_is_refused_with_the_day
            a_certificate_of_another_name_is_refused_by_name
            a_member_that_is_revoked_is_refused_from_the_next_handshake_on
            no_certificate_is_refused_by_name
            a_plain_port_is_told_from_a_tls_one_at_both_ends;
        members:
            another_members_name_is_refused_whoever_dials
            a_worker_that_is_revoked_while_connected_loses_its_link
            a_manager_that_is_revoked_while_connected_loses_its_link
            certificates_that_expire_within_a_week_are_told_of_by_pool_and_worker
            five_thousand_unfinished_tls_handshakes_keep_no_good_worker_out
            whole_client_hellos_in_a_flood_keep_nobody_out_and_nobody_from_work;
        rotation:
            an_authority_takes_anothers_place_under_load_and_no_good_worker_is_locked_out
            a_link_ends_when_its_certificate_does_and_comes_back_by_a_new_file
            a_clock_that_is_a_year_off_at_either_end_is_told_with_the_day;
        handshakes:
            a_dribbled_handshake_ends_at_its_deadline
            a_crowd_of_dribblers_keeps_no_good_worker_out
            a_crowd_of_dribblers_keeps_no_good_manager_out;
    }
}

// The other end is a process.
cases! {
    tcp_tokio_with = TcpTokio, tcp_smol_with = TcpSmol, ws_tokio_with = WsTokio,
    ws_smol_with = WsSmol;
    {
        processes:
            a_killed_worker_loses_nothing_and_is_found_again_on_its_port
            a_stopped_worker_is_lost_and_rejoins_when_it_is_continued
            a_task_that_kills_every_worker_ends_exhausted_and_the_others_finish
            announced_lengths_take_no_memory
            a_worker_out_of_files_pauses_and_recovers
            a_manager_out_of_files_pauses_and_recovers
            a_crash_loop_backs_off_and_leaves_the_fleet_alone;
    }
}

// The rules of WebSocket, and peers that speak as the Go package does over it.
cases! {
    ws_tokio_go = WsTokio, ws_smol_go = WsSmol;
    {
        go:
            a_worker_of_the_go_package_does_a_range
            a_go_worker_that_ends_loses_no_height
            a_go_worker_that_answers_for_another_height_is_lost
            a_go_worker_that_hangs_is_lost_at_its_first_overdue_height
            a_go_worker_gets_nothing_while_it_is_at_what_was_cancelled
            a_go_worker_that_hangs_at_what_was_cancelled_is_lost
            a_manager_of_the_go_package_that_leaves_ends_what_runs_for_it
            a_manager_of_the_go_package_is_served
            a_manager_of_the_go_package_is_refused_where_it_is_not_wanted
            each_breach_of_the_websocket_protocol_has_its_close_code
            text_that_is_not_utf8_is_refused
            a_message_in_endless_fragments_is_refused
            pings_of_the_websocket_are_answered;
        workers:
            a_full_worker_sends_a_manager_of_the_go_package_away_before_it_asks;
    }
}
