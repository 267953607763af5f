//! What is said of a driver that nobody polls, on tokio's paused time.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use chargehand::Pool;
use chargehand::tokio::Tokio;
use chargehand_status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, Instant, sleep};
use tower::ServiceExt;

async fn get(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).header("Host", "localhost").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_not_polled_is_told_from_one_that_is_and_from_one_that_ended() {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(1, |height: u64| async move { Ok::<_, String>(height) })
        .build()
        .unwrap();
    let router: Router = Status::new(&pool).ready_workers(2).router("/");
    let (status, why) = get(&router, "/readyz").await;
    assert_eq!(
        (status, &*why),
        (StatusCode::SERVICE_UNAVAILABLE, "the pool's driver does not answer\n")
    );
    assert_eq!(get(&router, "/livez").await.0, StatusCode::OK, "it may only be slow to start");
    sleep(Duration::from_secs(11)).await;
    let (status, why) = get(&router, "/livez").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("has not answered for 10 s"), "{why}");
    let (_, overview) = get(&router, "/api/overview").await;
    assert!(
        overview.contains("\"life\":\"stuck\"") && overview.contains("is its future still polled")
    );
    assert!(get(&router, "/metrics").await.1.contains("chargehand_up 0.0"));

    let driver = tokio::spawn(driver);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(get(&router, "/livez").await.0, StatusCode::OK, "it goes on");
    let (status, why) = get(&router, "/readyz").await;
    assert_eq!(
        (status, &*why),
        (StatusCode::SERVICE_UNAVAILABLE, "1 workers are up, of at least 2\n")
    );
    driver.abort();
    sleep(Duration::from_secs(2)).await;
    let (status, why) = get(&router, "/livez").await;
    assert_eq!((status, &*why), (StatusCode::SERVICE_UNAVAILABLE, "the pool has ended\n"));
}

#[tokio::test(start_paused = true)]
async fn the_task_that_asks_ends_with_the_routes() {
    let (pool, driver) = Pool::builder(Tokio::new()).build().unwrap();
    let driver = tokio::spawn(driver);
    let router: Router = Status::new(&pool).router("/");
    get(&router, "/livez").await;
    drop(pool);
    sleep(Duration::from_secs(5)).await;
    assert!(!driver.is_finished(), "it holds a handle");
    drop(router);
    sleep(Duration::from_secs(60)).await;
    assert!(driver.is_finished(), "the last handle is gone, so the driver has ended");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_moves_has_its_place_for_a_minute() {
    let (pool, driver) = Pool::builder(Tokio::new()).build().unwrap();
    tokio::spawn(driver);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Status::new(&pool).connections_max(2).serve_on(listener));
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.unwrap();
        silent.push(stream);
    }
    // There is no place for one more before one of them has gone.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let waited = began.elapsed();
    assert!((60..90).contains(&waited.as_secs()), "{waited:?}");
    let mut nothing = String::new();
    silent[0].read_to_string(&mut nothing).await.unwrap_or_default();
    assert!(!nothing.contains("200"), "{nothing}");
}
