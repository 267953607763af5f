//! The page in Chromium, from outside: `browser/page.mjs` looks at it, and asks this for what is to happen in the
//! pool. Needs `chromium` and `node` with `playwright-core`, which `bash ci.sh status` installs.

mod support;

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get as routed;
use chargehand::core::BackoffPolicy;
use chargehand::tcp::TcpConnector;
use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool, QueueOptions};
use chargehand_status::Status;
use serde_json::{Value, json};
use support::{Outcome, serve, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const TOKEN: &str = "a-token-of-32-bytes-for-the-test";
/// What a page must not take for more than text.
const MARKUP: &str =
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
/// Shorter than by default, so that less is waited for.
const INTERVAL: Duration = Duration::from_millis(250);
const IN_TIME: Duration = Duration::from_secs(120);

/// Where the screenshots are left, and where `playwright-core` is.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

/// Answers, fails every seventh height, and keeps those above 5000 for ever.
async fn work(height: u64) -> Result<u64, Failure> {
    if height > 5000 {
        pending::<()>().await;
    }
    sleep(Duration::from_millis(1)).await;
    if height % 7 == 0 {
        return Err(Failure::permanent(format!("no block {height} {MARKUP}")));
    }
    Ok(height)
}

async fn busy_pool() -> Pool {
    let unreachable = TcpConnector::new(Tokio::new(), "127.0.0.1:1").unwrap();
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, work)
        .in_process(8, work)
        .in_process(4, work)
        .connect(unreachable)
        .queue("tip", QueueOptions::new())
        .queue("backfill", QueueOptions::new().paused())
        .configure(|config| config.attempt_timeout = Duration::from_secs(3600))
        .build()
        .unwrap();
    tokio::spawn(driver);
    pool
}

/// 10,000 workers of which one can be reached.
async fn large_pool() -> Pool {
    let hour = Duration::from_secs(3600);
    let mut builder = Pool::builder(Tokio::new())
        .workers_max(10_000)
        .in_process(4, work)
        // Each of them is tried once, and nobody listens.
        .configure(|config| config.backoff = BackoffPolicy::new().base(hour).cap(hour));
    for port in 1..10_000 {
        let connector = TcpConnector::new(Tokio::new(), &format!("127.9.9.9:{port}")).unwrap();
        builder = builder.connect(connector);
    }
    let (pool, driver) = builder.build().unwrap();
    tokio::spawn(driver);
    pool
}

/// Somebody else's page, which does what it can.
async fn hostile(victim: SocketAddr) -> SocketAddr {
    let page = include_str!("browser/hostile.html").replace("VICTIM", &format!("http://{victim}"));
    let app = Router::new().route("/", routed(async move || Html(page.replace("TOKEN", TOKEN))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Site {
    pool: Pool,
    address: SocketAddr,
    next: u64,
}

impl Site {
    /// Does what the script asks for, and returns what the pool says of itself then.
    async fn act(&mut self, what: &str) -> Value {
        match what {
            "figures" => {}
            "work" => {
                let report = self.pool.for_each::<u64>(self.next..=self.next + 99, |_, _| {}).await;
                assert_eq!(report.done + report.failed, 100);
                self.next += 100;
            }
            "stop" => drop(self.pool.stop_within(Duration::ZERO).await.unwrap()),
            other => panic!("the script asks for {other:?}"),
        }
        if what == "stop" {
            return Value::Null;
        }
        json!(self.pool.stats().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_does_what_it_says_in_a_browser() -> Outcome {
    let pool = busy_pool().await;
    let address = serve(Status::new(&pool).name("blocks").interval(INTERVAL).actions(TOKEN)).await;
    let large = large_pool().await;
    let large_address = serve(Status::new(&large).name("many")).await;
    let hostile_address = hostile(address).await;
    until(address, "/readyz", |answer| answer.status == 200).await;
    // A range that stays under way: heights above 5000 never end. The first four fifths are done.
    let mut ledger = chargehand::Ledger::from(1..=1_000_000_000);
    ledger.complete_range(5001..=800_000_000)?;
    ledger.complete_range(1..=4900)?;
    let range = tokio::spawn(pool.process::<u64>(ledger).ahead(16).each(|_, _| {}));
    let done_by_then = |it: &support::Answer| it.json()["tasks"]["done"].as_u64() >= Some(86);
    until(address, "/api/overview", done_by_then).await;

    let out = target().join("status-screenshots");
    std::fs::create_dir_all(&out)?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.mjs");
    let about = json!({
        "url": format!("http://{address}/"),
        "large": format!("http://{large_address}/"),
        "hostile": format!("http://localhost:{}/", hostile_address.port()),
        "token": TOKEN,
        "markup": MARKUP,
        "out": out,
        "playwright": target().join("playwright/node_modules/playwright-core/index.mjs"),
    });
    let mut child = Command::new("node")
        .arg(script)
        .arg(about.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is there: bash ci.sh status installs it");
    let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(from).lines();
    let mut site = Site { pool, address, next: 1 };
    let conversation = async {
        while let Some(line) = lines.next_line().await? {
            match line.strip_prefix("DO ") {
                None => println!("{line}"),
                Some(what) => {
                    let figures = site.act(what).await;
                    to.write_all(format!("{figures}\n").as_bytes()).await?;
                }
            }
        }
        child.wait().await
    };
    let ended = timeout(IN_TIME, conversation).await.expect("the script ends in time")?;
    assert!(ended.success(), "the script says what is wrong");
    println!("{}", site.address);
    range.abort();
    Ok(())
}
