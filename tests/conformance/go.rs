//! Peers that speak as the Go package `worker` does.

use chargehand::TaskError;

use crate::pair::{Go, any_port};
use crate::raw::{Raw, script};
use crate::rig::{Rig, quick, setup, works};

pub(crate) async fn a_go_worker_does_a_range_and_its_errors_are_failures<P: Go>() {
    let (door, at) = any_port();
    let worker = script(move || {
        let mut raw = Raw::go_server(&door);
        let mut seen = Vec::new();
        while let Some(request) = raw.receive().map(<[u8]>::to_vec) {
            let request = String::from_utf8(request).expect("JSON is text");
            let height =
                request.strip_prefix("{\"Height\":").and_then(|rest| rest.strip_suffix('}'));
            let height = height.expect("what Go writes").to_owned();
            let (success, error) = if height == "13" { (false, "unlucky") } else { (true, "") };
            raw.send_text(&format!(
                "{{\"Height\":{height},\"Success\":{success},\"Error\":\"{error}\"}}"
            ));
            seen.push(height);
        }
        seen
    });
    let rig = Rig::start::<P>(P::connect_json(setup::<P>(), at));
    for height in 1..=20_u64 {
        let expected = if height == 13 { Err(TaskError::Failed("unlucky".into())) } else { Ok(()) };
        assert_eq!(rig.pool.call::<u64, ()>(&height).await, expected);
    }
    let text = "not a height";
    let refused = rig.pool.call::<str, ()>(text).await;
    assert!(matches!(&refused, Err(TaskError::Failed(why)) if why.contains("heights only")));
    assert_eq!(rig.pool.call::<u64, ()>(&21).await, Ok(()));
    rig.stop().await;
    assert_eq!(worker.end().await.len(), 21);
}

pub(crate) async fn a_go_worker_that_answers_for_another_height_is_refused<P: Go>() {
    let (door, at) = any_port();
    let worker = script(move || {
        let mut raw = Raw::go_server(&door);
        raw.receive().expect("a request");
        raw.send_text("{\"Height\":999,\"Success\":true,\"Error\":\"\"}");
        drop(raw.rest());
        let mut raw = Raw::go_server(&door);
        raw.receive().expect("the request again");
        raw.send_text("{\"Height\":5,\"Success\":true,\"Error\":\"\"}");
        drop(raw.rest());
    });
    let mut rig = Rig::start::<P>(P::connect_json(setup::<P>(), at));
    assert_eq!(rig.pool.call::<u64, ()>(&5).await, Ok(()));
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("answered height 999 when asked for 5"), "{why}");
    rig.stop().await;
    worker.end().await;
}

pub(crate) async fn a_go_manager_is_served_one_height_at_a_time<P: Go>() {
    let (door, at) = any_port();
    let _worker = P::spawn(P::serve_json(quick::<P>("go"), door));
    let manager = script(move || {
        let mut raw = Raw::go_client(at);
        for height in [1, 42] {
            raw.send_text(&format!("{{\"Height\":{height}}}"));
            let answer = String::from_utf8(raw.receive().expect("an answer").to_vec());
            let expected = format!("{{\"Height\":{height},\"Success\":true,\"Error\":\"\"}}");
            assert_eq!(answer.expect("text"), expected);
        }
        raw.send_text("{\"Height\":-1}");
        let answer = String::from_utf8(raw.receive().expect("an answer").to_vec());
        assert!(answer.expect("text").contains("\"Success\":false"));
        raw.send_text("{\"Height\":");
        drop(raw.rest());
    });
    manager.end().await;
    // Native managers are served beside it.
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    works(&rig.pool).await;
    rig.stop().await;
}
