//! Why the pool does what it does, as it says itself: for a task, a queue, a worker, or all of it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chargehand::core::TaskId;
use chargehand::explain::{
    Explanation, Find, IdleWorker, Outside, TaskExplanation, TaskName, TaskNow, Waiting,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::Settings;
use crate::collect::{Shared, now_ms};
use crate::routes::json;
use crate::view::{millis, to_json};
use crate::workers::name_of;

/// How long the pool may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many workers are told of at once, at most.
const WORKERS_MAX: usize = 200;

/// What somebody wants to know of. All of it, where nothing is said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    /// A height, or a task's id as `SLOT.GENERATION`.
    task: String,
    /// A queue's name.
    queue: String,
    /// A worker's id, or a part of its name or identity.
    worker: String,
}

#[derive(Serialize)]
struct View<'a> {
    version: u32,
    at_ms: u64,
    in_flight: u32,
    is_stopping: bool,
    waiting: Vec<WaitingView<'a>>,
    outside: Vec<OutsideView>,
    workers: Vec<WorkerView<'a>>,
    /// Those that are not among them.
    workers_more: usize,
    /// Those that were asked for.
    tasks: Vec<TaskView<'a>>,
}

#[derive(Serialize)]
struct WaitingView<'a> {
    queue: &'a str,
    why: &'static str,
    count: u32,
    example: String,
    keeper: Option<String>,
    left_ms: Option<u64>,
    /// All of it for people, with what would change it.
    text: String,
}

#[derive(Serialize)]
struct OutsideView {
    of: String,
    why: &'static str,
    count: Option<u64>,
    text: String,
}

#[derive(Serialize)]
struct WorkerView<'a> {
    id: String,
    peer: &'a str,
    why: &'static str,
    left_ms: Option<u64>,
    in_flight: u32,
    allowance: u32,
    window: u32,
    text: String,
}

#[derive(Serialize)]
struct TaskView<'a> {
    name: String,
    queue: Option<&'a str>,
    /// `with`, `over`, or why it waits.
    why: &'static str,
    worker: Option<String>,
    left_ms: Option<u64>,
    attempts: u16,
    failures: u16,
    losses: u16,
    text: String,
}

pub(crate) async fn explain(State(shared): State<Arc<Shared>>, Query(ask): Query<Ask>) -> Response {
    let find = match find_of(&ask.task) {
        Ok(Some(Find::Height(number))) => match shared.settings.height_of(number) {
            Some(height) => Some(Find::Height(height)),
            None => return (StatusCode::NOT_FOUND, "it was done before\n").into_response(),
        },
        Ok(find) => find,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    // One at a time, whoever asks: it costs the driver as much as the figures do.
    let _turn = shared.explaining.lock().await;
    let pool = &shared.pool;
    let answer = async {
        let explanation = pool.explain().await?;
        let tasks = match find {
            Some(find) => pool.explain_task(find).await?,
            None => Vec::new(),
        };
        Ok::<_, chargehand::Closed>((explanation, tasks))
    };
    let (mut explanation, mut tasks) = match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return unavailable("the pool has ended\n"),
        Err(_) => return unavailable("the pool's driver does not answer\n"),
    };
    if !ask.queue.is_empty() && pool.queue(&ask.queue).is_err() {
        let why = pool.queue(&ask.queue).err().map_or_else(String::new, |error| error.to_string());
        return (StatusCode::NOT_FOUND, format!("{why}\n")).into_response();
    }
    for waiting in &mut explanation.waiting {
        renumber(&shared.settings, [Some(&mut waiting.example), waiting.keeper.as_mut()]);
    }
    for task in &mut tasks {
        let keeper = match &mut task.now {
            TaskNow::Waits { keeper, .. } => keeper.as_mut(),
            _ => None,
        };
        renumber(&shared.settings, [Some(&mut task.name), keeper]);
    }
    json(&*to_json(&view(&explanation, &tasks, &ask)))
}

/// Calls tasks what they are called here.
fn renumber(settings: &Settings, names: [Option<&mut TaskName>; 2]) {
    for name in names.into_iter().flatten() {
        name.height = name.height.map(|height| settings.number_of(height));
    }
}

fn unavailable(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

fn find_of(task: &str) -> Result<Option<Find>, &'static str> {
    if task.is_empty() {
        return Ok(None);
    }
    let id = task.split_once('.').and_then(|(slot, generation)| {
        Some(Find::Id(TaskId::from_parts(slot.parse().ok()?, generation.parse().ok()?)))
    });
    let height = || task.parse().ok().map(Find::Height);
    let found = id.or_else(height);
    found.map(Some).ok_or("a task is named by its height, or its id: as 17, or 3.1\n")
}

fn view<'a>(all: &'a Explanation, tasks: &'a [TaskExplanation], ask: &Ask) -> View<'a> {
    let is_all = ask.task.is_empty() && ask.queue.is_empty() && ask.worker.is_empty();
    let shows_queues = is_all || !ask.queue.is_empty();
    let waiting = all
        .waiting
        .iter()
        .filter(|it| shows_queues && (ask.queue.is_empty() || *it.queue == *ask.queue));
    let find = ask.worker.to_lowercase();
    let shows_workers = is_all || !ask.worker.is_empty();
    let workers: Vec<_> = all
        .workers
        .iter()
        .filter(|it| {
            let is_named = name_of(it.id) == ask.worker || it.peer.to_lowercase().contains(&find);
            shows_workers && is_named
        })
        .collect();
    View {
        version: 1,
        at_ms: now_ms(),
        in_flight: all.in_flight,
        is_stopping: all.is_stopping,
        waiting: waiting.map(waiting_view).collect(),
        outside: all.outside.iter().filter(|_| shows_queues).map(outside_view).collect(),
        workers_more: workers.len().saturating_sub(WORKERS_MAX),
        workers: workers
            .into_iter()
            .take(WORKERS_MAX)
            .map(|it| worker_view(it, all.nearest()))
            .collect(),
        tasks: tasks.iter().map(task_view).collect(),
    }
}

fn waiting_view(it: &Waiting) -> WaitingView<'_> {
    WaitingView {
        queue: &it.queue,
        why: it.why.name(),
        count: it.count,
        example: it.example.to_string(),
        keeper: it.keeper.map(|keeper| keeper.to_string()),
        left_ms: it.left.map(millis),
        text: it.to_string(),
    }
}

fn outside_view(it: &Outside) -> OutsideView {
    OutsideView { of: it.of.to_string(), why: it.why.name(), count: it.count, text: it.to_string() }
}

fn worker_view<'a>(it: &'a IdleWorker, nearest: Option<&Waiting>) -> WorkerView<'a> {
    WorkerView {
        id: name_of(it.id),
        peer: &it.peer,
        why: it.why.name(),
        left_ms: it.left.map(millis),
        in_flight: it.in_flight,
        allowance: it.allowance,
        window: it.window,
        text: it.why(nearest),
    }
}

fn task_view(it: &TaskExplanation) -> TaskView<'_> {
    let (why, worker, left) = match &it.now {
        TaskNow::Waits { why, left, .. } => (why.name(), None, *left),
        TaskNow::With { peer, .. } => ("with", Some(peer.to_string()), None),
        TaskNow::Outside(why) => (why.name(), None, None),
        _ => ("over", None, None),
    };
    TaskView {
        name: it.name.to_string(),
        queue: it.queue.as_deref(),
        why,
        worker,
        left_ms: left.map(millis),
        attempts: it.stats.attempts,
        failures: it.stats.failures,
        losses: it.stats.losses,
        text: it.to_string(),
    }
}
