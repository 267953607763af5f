//! What is answered to whom, in every form.

mod support;

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get as routed;
use chargehand::core::BackoffPolicy;
use chargehand::tcp::TcpConnector;
use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool, QueueOptions, TaskOptions};
use chargehand_status::{ServeError, Status};
use support::{Outcome, events, get, send, serve, until, watch};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const TOKEN: &str = "a-token-of-32-bytes-for-the-test";

/// A pool with one worker, for which every hundredth height fails.
fn pool() -> Pool {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, |height: u64| async move {
            if height % 100 == 0 {
                Err(Failure::permanent(format!("no block {height}")))
            } else {
                Ok(height)
            }
        })
        .build()
        .unwrap();
    tokio::spawn(driver);
    pool
}

#[tokio::test]
async fn every_form_has_the_figures_of_the_pool() -> Outcome {
    let pool = pool();
    let address = serve(Status::new(&pool).name("blocks")).await;
    until(address, "/readyz", |answer| answer.status == 200).await;
    let report = pool.for_each::<u64>(1..=700, |_, _| {}).await;
    assert_eq!((report.done, report.failed), (693, 7));

    let overview =
        until(address, "/api/overview", |it| it.json()["tasks"]["submitted"] == 700).await.json();
    assert_eq!(overview["version"], 1);
    assert_eq!(overview["name"], "blocks");
    assert_eq!(overview["life"], "running");
    assert_eq!(overview["tasks"], serde_json::to_value(pool.stats().await?.tasks)?);
    assert_eq!(overview["has_actions"], false);
    let failure = &overview["failures"][0];
    assert_eq!((&failure["text"], &failure["count"]), (&"no block #".into(), &7.into()));
    assert!(failure["example"].as_str().unwrap().starts_with("no block "));
    assert_eq!(overview["workers"][0], serde_json::json!({ "state": "up", "count": 1 }));

    let metrics = get(address, "/metrics").await;
    assert_eq!(metrics.status, 200);
    let kind = metrics.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    for line in [
        "chargehand_up 1.0",
        "chargehand_tasks_total{outcome=\"done\"} 693",
        "chargehand_tasks_total{outcome=\"failed\"} 7",
        "chargehand_workers{state=\"up\"} 1.0",
        "chargehand_round_trip_seconds_count 700",
        "chargehand_round_trip_seconds_bucket{le=\"+Inf\"} 700",
        "chargehand_queue_wait_seconds_count 700",
        "chargehand_task_attempts_sum 700.0",
        "chargehand_worker_service_seconds_count{worker=\"in-process 1\",id=\"0.0\"} 700",
        "chargehand_worker_service_seconds_bucket{le=\"+Inf\",worker=\"in-process 1\",id=\"0.0\"} 700",
        "chargehand_worker_attempts_total{worker=\"in-process 1\",id=\"0.0\",how=\"done\"} 693",
        "chargehand_memory_limit_bytes 268435456.0",
        "# EOF",
    ] {
        assert!(metrics.body.lines().any(|it| it == line), "no {line} in\n{}", metrics.body);
    }

    let page = get(address, "/api/workers?find=PROCESS&state=up&sort=done&desc=true").await.json();
    assert_eq!((&page["total"], &page["matched"]), (&1.into(), &1.into()));
    assert_eq!(page["rows"][0]["done"], 693);
    assert_eq!(page["rows"][0]["failed"], 7);
    let service = page["rows"][0]["service"].as_array().unwrap();
    let count: u64 = service.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
    assert_eq!(count, 700, "each answer is in its histogram");
    assert!(
        service.windows(2).all(|pair| pair[0][0].as_u64() < pair[1][0].as_u64()),
        "{service:?}"
    );
    assert_eq!(get(address, "/api/workers?find=nobody").await.json()["matched"], 0);
    until(address, "/api/history", |it| !it.json()["points"].as_array().unwrap().is_empty()).await;

    assert_eq!(get(address, "/livez").await.status, 200);
    pool.stop().await?;
    let ended = until(address, "/livez", |answer| answer.status == 503).await;
    assert_eq!(ended.body, "the pool has ended\n");
    assert_eq!(get(address, "/readyz").await.status, 503);
    let last = get(address, "/api/overview").await.json();
    assert_eq!((&last["life"], &last["tasks"]["done"]), (&"ended".into(), &693.into()));
    assert!(get(address, "/metrics").await.body.contains("chargehand_up 0.0"));
    Ok(())
}

#[tokio::test]
async fn the_page_loads_nothing_but_its_own_files_and_says_so() -> Outcome {
    let pool = pool();
    let address = serve(Status::new(&pool)).await;
    let page = get(address, "/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    assert_eq!(page.header("access-control-allow-origin"), None);
    for (path, kind) in
        [("page.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")]
    {
        assert!(page.body.contains(&format!("\"{path}\"")), "{path}");
        let file = get(address, &format!("/{path}")).await;
        assert_eq!(file.header("content-type"), Some(&*format!("{kind}; charset=utf-8")));
        let tag = file.header("etag").unwrap();
        let host = address.to_string();
        let again =
            send(address, &format!("GET /{path}"), &[("Host", &host), ("If-None-Match", tag)])
                .await;
        assert_eq!((again.status, &*again.body), (304, ""));
    }
    assert!(
        !page.body.contains("<style")
            && !page.body.contains(" style=")
            && !page.body.contains(" onclick=")
    );
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_made_to_lead_here_reads_nothing() -> Outcome {
    let pool = pool();
    let address = serve(Status::new(&pool).host("Status.Example.org").actions(TOKEN)).await;
    for path in ["/", "/api/overview", "/api/live", "/metrics", "/livez", "/page.js"] {
        let line = format!("GET {path}");
        for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "a@127.0.0.1", ""]
        {
            let answer = send(address, &line, &[("Host", host)]).await;
            assert!([421, 400].contains(&answer.status), "{path} for {host}: {}", answer.status);
            assert!(!answer.body.contains("chargehand_"), "{path} for {host}");
        }
        let none = send(address, &line, &[]).await;
        assert!([421, 400].contains(&none.status), "{path} without a host");
    }
    let refused = send(address, "GET /metrics", &[("Host", "manager-7:9090")]).await;
    assert!(refused.body.contains("Status::host(\"manager-7\")"), "{}", refused.body);
    let taken = send(address, "GET /metrics", &[("Host", "status.example.org:8443")]).await;
    assert_eq!(taken.status, 200);
    Ok(())
}

#[tokio::test]
async fn only_who_has_the_token_acts_and_only_from_the_pages_own_origin() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(1, |height: u64| async move { Ok::<_, String>(height) })
        .in_process(1, |height: u64| async move { Ok::<_, String>(height) })
        .build()?;
    let driver = tokio::spawn(driver);
    let read_only = serve(Status::new(&pool)).await;
    let address = serve(Status::new(&pool).actions(TOKEN)).await;
    let bearer = format!("Bearer {TOKEN}");
    let (host, ours) = (address.to_string(), format!("http://{address}"));
    let remove = "POST /api/workers/0.0/remove";

    let off = send(read_only, remove, &[("Host", "localhost"), ("Authorization", &bearer)]).await;
    assert_eq!(off.status, 403, "{}", off.body);
    for wrong in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic abc", TOKEN] {
        let answer = send(address, remove, &[("Host", &host), ("Authorization", wrong)]).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Bearer")),
            "{wrong}"
        );
    }
    // Which of two a proxy before it went by nobody knows.
    for other in [bearer.as_str(), "Bearer wrong", ""] {
        let headers = [("Host", &*host), ("Authorization", &bearer), ("Authorization", other)];
        assert_eq!(send(address, remove, &headers).await.status, 401, "and {other:?}");
    }
    // The place of a token is no URL, where histories and logs have it.
    for place in [format!("{remove}?token={TOKEN}"), format!("{remove}?access_token={TOKEN}")] {
        assert_eq!(send(address, &place, &[("Host", &host)]).await.status, 401, "{place}");
    }
    let with =
        |name, value| [("Host", host.as_str()), ("Authorization", bearer.as_str()), (name, value)];
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "none"),
    ] {
        assert_eq!(send(address, remove, &with(name, value)).await.status, 403, "{name}: {value}");
    }
    // What a page of another origin asks before it sends a header: nobody answers that it may.
    let asked = send(
        address,
        &remove.replace("POST", "OPTIONS"),
        &[
            ("Host", &host),
            ("Origin", "http://evil.example"),
            ("Access-Control-Request-Method", "POST"),
        ],
    )
    .await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (405, None));
    assert_eq!(send(address, "GET /api/drain", &with("Origin", &ours)).await.status, 405);
    assert_eq!(pool.stats().await?.tasks.workers, 2, "nothing was done so far");

    assert_eq!(send(address, remove, &with("Origin", &ours)).await.status, 200);
    assert_eq!(pool.stats().await?.tasks.workers, 1);
    assert_eq!(send(address, remove, &with("Origin", &ours)).await.status, 404);
    assert_eq!(
        send(address, "POST /api/workers/x/remove", &with("Origin", &ours)).await.status,
        404
    );
    assert_eq!(send(address, "POST /api/drain", &with("Origin", &ours)).await.status, 202);
    timeout(Duration::from_secs(10), driver).await.expect("it drains")?;
    Ok(())
}

#[tokio::test]
async fn what_leaves_the_machine_is_refused_unless_that_is_meant() -> Outcome {
    let pool = pool();
    let refused = Status::new(&pool).serve("0.0.0.0:0").await.unwrap_err();
    assert!(matches!(refused, ServeError::Exposed));
    assert!(refused.to_string().contains("insecure()"), "{refused}");
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(Status::new(&pool).insecure().serve_on(listener));
    assert_eq!(get(([127, 0, 0, 1], port).into(), "/livez").await.status, 200);
    Ok(())
}

#[tokio::test]
async fn it_is_mounted_beside_the_routes_of_others() -> Outcome {
    let pool = pool();
    let app = Router::new()
        .route("/", routed(async || "the application"))
        .merge(Status::new(&pool).router("/ops/status"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(get(address, "/").await.body, "the application");
    assert_eq!(get(address, "/").await.header("content-security-policy"), None, "that is theirs");
    let sent_on = get(address, "/ops/status").await;
    assert_eq!((sent_on.status, sent_on.header("location")), (308, Some("status/")));
    assert!(get(address, "/ops/status/").await.body.contains("<!doctype html>"));
    assert_eq!(get(address, "/ops/status/livez").await.status, 200);
    assert_eq!(get(address, "/livez").await.status, 404);
    Ok(())
}

#[tokio::test]
async fn viewers_hear_of_each_interval_and_no_more_of_them_than_may() -> Outcome {
    let pool = pool();
    let status = Status::new(&pool).interval(Duration::from_millis(100)).viewers_max(2);
    let address = serve(status).await;
    let (mut one, mut other) = (watch(address).await, watch(address).await);
    events(&mut one, 3).await;
    events(&mut other, 1).await;
    let refused = get(address, "/api/live").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert_eq!(get(address, "/api/overview").await.status, 200);
    drop(one);
    for _ in 0..100 {
        let mut next = watch(address).await;
        if events(&mut next, 1).await.contains("text/event-stream") {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the place of a viewer that left is not free");
}

/// A pool of so many workers, none of which can be reached.
fn large_pool(workers: u16) -> Pool {
    let hour = Duration::from_secs(3600);
    let mut builder = Pool::builder(Tokio::new())
        .workers_max(workers.into())
        .configure(|config| config.backoff = BackoffPolicy::new().base(hour).cap(hour));
    for port in 1..=workers {
        builder =
            builder.connect(TcpConnector::new(Tokio::new(), &format!("127.9.9.9:{port}")).unwrap());
    }
    let (pool, driver) = builder.build().unwrap();
    tokio::spawn(driver);
    pool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_workers_are_shown_in_parts_of_bounded_size() -> Outcome {
    let pool = large_pool(10_000);
    let address = serve(Status::new(&pool).worker_series(20)).await;
    until(address, "/api/overview", |it| it.json()["workers"][5]["count"] == 10_000).await;
    let overview = get(address, "/api/overview").await;
    assert!(overview.body.len() < 32 << 10, "{}", overview.body.len());
    for query in ["", "?limit=1000000", "?sort=peer&desc=true&offset=5000", "?sort=p99&find=127.9"]
    {
        let began = Instant::now();
        let page = get(address, &format!("/api/workers{query}")).await;
        println!("{query}: {:?}, {} bytes", began.elapsed(), page.body.len());
        let rows = page.json()["rows"].as_array().unwrap().len();
        assert!((50..=200).contains(&rows) && page.body.len() < 128 << 10, "{query}: {rows}");
        assert!(began.elapsed() < Duration::from_secs(2), "{query}: {:?}", began.elapsed());
    }
    // Those that are by themselves are in order, and the parts are the whole.
    let page = get(address, "/api/workers?sort=peer&offset=9990&limit=50").await.json();
    assert_eq!(page["rows"].as_array().unwrap().len(), 10);
    assert_eq!(page["rows"][9]["peer"], "127.9.9.9:9999");
    assert!(page["rows"][9]["why"].as_str().unwrap().contains("tried again in"), "{page}");
    assert_eq!(
        get(address, "/api/workers?offset=18446744073709551615&limit=200").await.json()["rows"],
        serde_json::json!([])
    );
    assert_eq!(get(address, "/api/workers?sort=nonsense").await.status, 400);
    let metrics = get(address, "/metrics").await.body;
    assert!(metrics.lines().count() < 400, "{}", metrics.lines().count());
    assert!(metrics.contains("chargehand_worker_series_omitted 9980.0"));
    Ok(())
}

#[tokio::test]
async fn queues_are_shown_where_there_are_any_and_paused_by_who_has_the_token() -> Outcome {
    let rate = chargehand::Rate::per_second(10).burst(3);
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(1, |height: u64| async move { Ok::<_, String>(height) })
        .queue("tip", QueueOptions::new())
        .queue("back/fill", QueueOptions::new().paused().in_flight_max(4).rate(rate))
        .build()?;
    tokio::spawn(driver);
    let address = serve(Status::new(&pool).actions(TOKEN)).await;
    let held = pool.with(TaskOptions::new().queue(pool.queue("back/fill")?));
    let waiting = held.try_submit::<u64, u64>(7)?;
    let is_waiting = |it: &support::Answer| it.json()["queues"][2]["waiting"] == 1;
    let overview = until(address, "/api/overview", is_waiting).await.json();
    let queue = &overview["queues"][2];
    assert_eq!((&queue["name"], &queue["is_paused"]), (&"back/fill".into(), &true.into()));
    let limits = ["in_flight_max", "rate_max", "burst"].map(|name| queue[name].as_f64());
    assert_eq!(limits, [Some(4.0), Some(10.0), Some(3.0)], "{queue}");
    assert!(overview["queues"][1]["in_flight_max"].is_null(), "one without any has none");
    assert_eq!(overview["notices"][0], "Queue back/fill is paused: 1 tasks wait.");
    let metrics = get(address, "/metrics").await.body;
    for line in [
        "chargehand_queue_tasks{queue=\"back/fill\",state=\"waiting\"} 1.0",
        "chargehand_queue_paused{queue=\"back/fill\"} 1.0",
        "chargehand_queue_attempts_sent_total{queue=\"tip\"} 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line} in\n{metrics}");
    }
    // Each metric has its row.
    let pages = include_str!("../../docs/OPERATIONS.md");
    for family in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').unwrap();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(pages.contains(&format!("`{name}")), "{name} is not in docs/OPERATIONS.md");
    }

    let (host, bearer) = (address.to_string(), format!("Bearer {TOKEN}"));
    let with = [("Host", host.as_str()), ("Authorization", bearer.as_str())];
    let act = async |path: &str| send(address, &format!("POST /api/queues/{path}"), &with).await;
    let refused = send(address, "POST /api/queues/tip/pause", &with[..1]).await;
    assert_eq!(refused.status, 401);
    // A scheme's name is one whatever its case (RFC 9110 section 11.1).
    let lower = bearer.replace("Bearer", "bearer");
    let headers = [with[0], ("Authorization", &*lower)];
    assert_eq!(send(address, "POST /api/queues/tip/resume", &headers).await.status, 200);
    let unknown = act("none/pause").await;
    assert!(unknown.status == 404 && unknown.body.contains("back/fill"), "{}", unknown.body);
    assert_eq!(act("tip/stop").await.status, 404);
    assert_eq!(act("tip/pause").await.body, "it is paused\n");
    assert_eq!(act("back%2Ffill/resume").await.body, "it goes on\n");
    assert_eq!(waiting.await, Ok(7));
    let paused: Vec<_> = pool.stats().await?.queues.iter().map(|it| it.stats.is_paused).collect();
    assert_eq!(paused, [false, true, false]);
    Ok(())
}

#[tokio::test]
async fn a_pool_with_but_its_default_queue_shows_none() -> Outcome {
    let pool = pool();
    let address = serve(Status::new(&pool)).await;
    until(address, "/readyz", |answer| answer.status == 200).await;
    assert_eq!(get(address, "/api/overview").await.json()["queues"], serde_json::json!([]));
    assert!(!get(address, "/metrics").await.body.contains("chargehand_queue_tasks"));
    Ok(())
}

#[tokio::test]
async fn it_says_why_a_task_a_queue_and_a_worker_wait() -> Outcome {
    let slow = QueueOptions::new().rate(chargehand::Rate::per(1, Duration::from_secs(3600)));
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(2, |number: u64| async move { Ok::<_, Failure>(number) })
        .queue("slow", slow)
        .queue("still", QueueOptions::new().paused())
        .build()?;
    tokio::spawn(driver);
    let address = serve(Status::new(&pool)).await;
    let slow = pool.with(TaskOptions::new().queue(pool.queue("slow")?));
    slow.call::<u64, _>(&0_u64).await?;
    let mut task = slow.submit::<u64, _>(&1_u64).await?;
    let still = pool.with(TaskOptions::new().queue(pool.queue("still")?));
    for number in 0..2_u64 {
        still.submit::<u64, _>(&number).await?.detach();
    }

    let all = get(address, "/api/explain").await.json();
    assert_eq!((&all["version"], &all["in_flight"]), (&1.into(), &0.into()));
    let of = |place: usize, name: &str| all["waiting"][place][name].clone();
    assert_eq!((of(0, "queue"), of(0, "why")), ("slow".into(), "queue_rate".into()));
    let left = of(0, "left_ms").as_u64().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    assert!(of(0, "text").as_str().unwrap().contains("a higher `rate`"));
    assert_eq!(
        (of(1, "queue"), of(1, "why"), of(1, "count")),
        ("still".into(), "paused".into(), 2.into())
    );
    let worker = &all["workers"][0];
    assert_eq!(worker["why"], "room");
    assert!(worker["text"].as_str().unwrap().contains("waits for its queue's rate"), "{worker}");

    let one = get(address, "/api/explain?queue=still").await.json();
    assert_eq!(one["waiting"].as_array().unwrap().len(), 1);
    assert_eq!(one["workers"].as_array().unwrap().len(), 0);
    let name = task.explain().await.unwrap().name.to_string();
    let asked = get(address, &format!("/api/explain?task={name}")).await.json();
    let told = &asked["tasks"][0];
    assert_eq!((&told["why"], &told["queue"]), (&"queue_rate".into(), &"slow".into()));
    let none = get(address, "/api/explain?worker=nobody").await.json();
    assert_eq!(none["workers"].as_array().unwrap().len(), 0);
    assert_eq!(get(address, "/api/explain?task=x").await.status, 400);
    let unknown = get(address, "/api/explain?queue=stil").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("slow"), "it names those there are: {}", unknown.body);

    // The page's notice says the same.
    let overview = until(address, "/api/overview", |it| {
        it.json()["notices"].to_string().contains("waits for its queue's rate")
    })
    .await
    .json();
    assert_eq!(overview["life"], "running");
    Ok(())
}
