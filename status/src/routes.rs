//! The routes: the page's files, figures, probes and actions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::Serialize;

use crate::collect::{Frame, Life, Shared};
use crate::guard::guard;
use crate::{Status, actions, explain, openmetrics, view, workers};

const HTML: &str = include_str!("../page/index.html");
const SCRIPT: &str = include_str!("../page/page.js");
const STYLE: &str = include_str!("../page/page.css");
const ICON: &str = include_str!("../page/icon.svg");

/// How often a live view that has nothing new to say is told that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) fn router<S: Clone + Send + Sync + 'static>(status: Status, prefix: &str) -> Router<S> {
    let shared = Shared::start(status);
    let prefix = prefix.trim_end_matches('/');
    let at = |path: &str| format!("{prefix}/{path}");
    let mut router = Router::new();
    if !prefix.is_empty() {
        // What the page asks for is beside it, whatever the way to it was called.
        router = router.route(prefix, get(to_folder));
    }
    router
        .route(&at(""), get(async |headers: HeaderMap| file(&headers, "text/html", HTML)))
        .route(
            &at("page.js"),
            get(async |headers: HeaderMap| file(&headers, "text/javascript", SCRIPT)),
        )
        .route(&at("page.css"), get(async |headers: HeaderMap| file(&headers, "text/css", STYLE)))
        .route(
            &at("icon.svg"),
            get(async |headers: HeaderMap| file(&headers, "image/svg+xml", ICON)),
        )
        .route(&at("api/overview"), get(overview))
        .route(&at("api/live"), get(live))
        .route(&at("api/workers"), get(workers_page))
        .route(&at("api/history"), get(history))
        .route(&at("api/explain"), get(explain::explain))
        .route(&at("api/drain"), post(actions::drain))
        .route(&at("api/workers/{id}/remove"), post(actions::remove))
        .route(&at("api/queues/{name}/{what}"), post(actions::set_queue))
        .route(&at("metrics"), get(metrics))
        .route(&at("livez"), get(livez))
        .route(&at("readyz"), get(readyz))
        .route_layer(from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}

async fn to_folder(uri: Uri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, format!("{last}/"))]).into_response()
}

/// Returns one of the page's files, which change with the program only.
fn file(headers: &HeaderMap, kind: &str, text: &'static str) -> Response {
    let tag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), checksum(text));
    let about = [
        (CACHE_CONTROL, "no-cache".to_owned()),
        (ETAG, tag.clone()),
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
    ];
    let has_it = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    if has_it {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else {
        (about, text).into_response()
    }
}

/// FNV-1a.
fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub(crate) fn json(text: impl Into<String>) -> Response {
    ([(CONTENT_TYPE, "application/json")], text.into()).into_response()
}

async fn overview(State(shared): State<Arc<Shared>>) -> Response {
    json(&*shared.fresh().await.json)
}

/// A viewer holds no more than the frame that is on its way to it: those between are left out.
async fn live(State(shared): State<Arc<Shared>>) -> Response {
    // Kept until the stream is dropped.
    let Ok(place) = Place::take(&shared) else {
        let why = "as many watch live as may: see Status::viewers_max\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")], why).into_response();
    };
    let mut frames = shared.frames.subscribe();
    frames.mark_changed();
    let frames = stream::unfold((frames, place), async |(mut frames, place)| {
        frames.changed().await.ok()?;
        let frame: Arc<Frame> = Arc::clone(&frames.borrow_and_update());
        let event = Event::default().data(&*frame.json);
        Some((Ok::<_, Infallible>(event), (frames, place)))
    });
    Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// A place among those that watch live.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Result<Self, ()> {
        shared.viewers.try_acquire().map_err(drop)?.forget();
        Ok(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.viewers.add_permits(1);
    }
}

async fn workers_page(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<workers::Query>,
) -> Response {
    let frame = shared.latest();
    json(&*view::to_json(&workers::page(&frame, &query)))
}

#[derive(Serialize)]
struct HistoryView<'a> {
    interval_ms: u64,
    points: Vec<&'a crate::history::Point>,
}

async fn history(State(shared): State<Arc<Shared>>) -> Response {
    let interval_ms = view::millis(shared.settings.interval);
    let history = shared.history();
    let points = history.points().iter().collect();
    json(&*view::to_json(&HistoryView { interval_ms, points }))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let frame = shared.fresh().await;
    let text = openmetrics::text(&frame, &shared.settings);
    ([(CONTENT_TYPE, openmetrics::CONTENT_TYPE)], text).into_response()
}

async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    match shared.fresh().await.life {
        Life::Starting | Life::Running => "alive\n".into_response(),
        Life::Stuck => unavailable("the pool's driver has not answered for 10 s: is it polled?\n"),
        Life::Ended => unavailable("the pool has ended\n"),
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let frame = shared.fresh().await;
    let wanted = shared.settings.ready_workers;
    match (frame.life, &frame.measures) {
        (Life::Running, Some(measures)) => {
            let up = measures.stats.tasks.workers_up;
            let text = format!("{up} workers are up, of at least {wanted}\n");
            let status =
                if up >= wanted { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, text).into_response()
        }
        (Life::Ended, _) => unavailable("the pool has ended\n"),
        _ => unavailable("the pool's driver does not answer\n"),
    }
}

fn unavailable(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}
