//! Debian's Prometheus scrapes a pool: every expression of the dashboard and of the rules finds something, and the
//! rules are taken. Needs `prometheus` and `promtool`, which `bash ci.sh status` installs.

mod support;

use std::collections::BTreeSet;
use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool, QueueOptions};
use chargehand_status::Status;
use serde_json::Value;
use support::{Outcome, get, serve, until};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A pool in which all happens that has a figure, over and over.
async fn busy_pool() -> Pool {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(8, |height: u64| async move {
            if height > 1_000_000 {
                pending::<()>().await;
            }
            sleep(Duration::from_millis(2)).await;
            if height % 10 == 0 { Err(Failure::permanent("no block")) } else { Ok(height) }
        })
        .in_process(8, |height: u64| async move { Ok::<_, String>(height) })
        .queue("tip", QueueOptions::new())
        .build()
        .unwrap();
    tokio::spawn(driver);
    let busy = pool.clone();
    tokio::spawn(async move {
        loop {
            busy.for_each::<u64>(1..=50, |_, _| {}).await;
            sleep(Duration::from_millis(50)).await;
        }
    });
    pool
}

/// Prometheus on a free port, which ends with this.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Prometheus {
    async fn start(target: SocketAddr) -> Self {
        let folder =
            std::env::temp_dir().join(format!("chargehand-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let rules = self::folder().join("alerts/chargehand.rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n- job_name: chargehand\n  static_configs: [{{ targets: ['{target}'] }}]\n",
            rules.display()
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is there: bash ci.sh status installs it");
        Self { child, address: free, folder }
    }

    /// Returns what an expression has now.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(self.address, &format!("/api/v1/query?query={escaped}")).await;
        let answer = answer.unchunked();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap().clone();
        let is_number = |it: &Value| it["value"][1].as_str().is_some_and(|value| value != "NaN");
        result.into_iter().filter(is_number).collect()
    }

    async fn end(mut self) {
        self.child.kill().await.unwrap();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Returns every expression of the dashboard, as Grafana asks it.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("dashboards/chargehand.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    expressions.map(|it| it.replace("$__rate_interval", "10s").replace("$job", ".*")).collect()
}

/// Returns every expression of the rules, with the outcome of what it compares in place of nothing.
fn rules() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("alerts/chargehand.rules.yml")).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.trim_start().strip_prefix("expr: ") else { continue };
        let mut expression = rest.to_owned();
        if rest == "|" {
            expression.clear();
            while let Some(more) = lines.next_if(|line| line.starts_with("          ")) {
                expression = expression + more.trim() + " ";
            }
        }
        for comparison in ["== ", "> "] {
            expression = expression.replace(comparison, &format!("{comparison}bool "));
        }
        found.push(expression.replace("[5m]", "[10s]").replace("[10m]", "[10s]"));
    }
    found
}

async fn promtool(arguments: &[&str]) {
    let ran = Command::new("promtool").args(arguments).current_dir(folder()).output().await;
    let output = ran.expect("promtool is there: bash ci.sh status installs it");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_of_dashboard_and_rules_finds_something() -> Outcome {
    let pool = busy_pool().await;
    let address = serve(Status::new(&pool)).await;
    let range = tokio::spawn(pool.process::<u64>(2_000_000..=3_000_000).ahead(4).each(|_, _| {}));
    until(address, "/metrics", |it| it.body.contains("chargehand_range_heights{")).await;
    let prometheus = Prometheus::start(address).await;
    let expressions = [dashboard(), rules()].concat();
    assert!(expressions.len() > 35, "{}", expressions.len());
    let all = async {
        while !Path::new(&prometheus.folder.join("data")).exists() {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(1)).await;
        for expression in &expressions {
            while prometheus.query(expression).await.is_empty() {
                sleep(Duration::from_millis(500)).await;
                println!("nothing yet: {expression}");
            }
        }
        // By way of Prometheus the figures are what they are here: at least what they were before, at most what
        // they are now.
        let before = pool.stats().await.unwrap().tasks.done;
        loop {
            let done = prometheus.query("chargehand_tasks_total{outcome=\"done\"}").await;
            let done: u64 = done[0]["value"][1].as_str().unwrap().parse().unwrap();
            let now = pool.stats().await.unwrap().tasks.done;
            assert!(done > 0 && done <= now, "{done} of {now}");
            if done >= before {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(60), all).await.expect("each expression finds something in time");
    prometheus.end().await;
    range.abort();
    Ok(())
}

#[tokio::test]
async fn promtool_takes_the_rules_and_the_metrics_and_each_alert_goes_off() -> Outcome {
    promtool(&["check", "rules", "alerts/chargehand.rules.yml"]).await;
    promtool(&["test", "rules", "tests/alerts.test.yml"]).await;
    let tested = std::fs::read_to_string(folder().join("tests/alerts.test.yml"))?;
    let rules = std::fs::read_to_string(folder().join("alerts/chargehand.rules.yml"))?;
    let operations = std::fs::read_to_string(folder().join("../docs/OPERATIONS.md"))?;
    let names: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(tested.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
        assert!(operations.contains(&format!("`{name}`")), "{name} is not in docs/OPERATIONS.md");
    }
    Ok(())
}
