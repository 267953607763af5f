//! What can be done about a pool from outside, where a token was given for that.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chargehand::WorkerError;
use tokio::time::timeout;

use crate::collect::Shared;
use crate::guard::{check_origin, is_same};
use crate::workers::id_of;

/// How long a removal may take before it is said to be under way.
const SOON: Duration = Duration::from_secs(1);

/// Lets in who has the token, from nowhere but the page itself or a program that is no browser.
fn admit(shared: &Shared, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let refuse = |status: StatusCode, why: &'static str| Box::new((status, why).into_response());
    let Some(token) = &shared.settings.token else {
        let why = "it is read-only: its program has to allow more with Status::actions(token)\n";
        return Err(refuse(StatusCode::FORBIDDEN, why));
    };
    check_origin(headers).map_err(|why| refuse(StatusCode::FORBIDDEN, why))?;
    match bearer(headers) {
        Some(given) if is_same(given, &token.0) => Ok(()),
        _ => {
            let why = "send the token of Status::actions as `Authorization: Bearer TOKEN`\n";
            let mut response = refuse(StatusCode::UNAUTHORIZED, why);
            let scheme = axum::http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            Err(response)
        }
    }
}

/// Returns the one bearer token that a request shows. Of several nobody knows which one a server in front of this one
/// went by.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_ascii())
}

/// Drains the pool: it takes no new task, finishes those it has, and ends.
pub(crate) async fn drain(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Err(refused) = admit(&shared, &headers) {
        return *refused;
    }
    let pool = shared.pool.clone();
    tokio::spawn(async move {
        let _ = pool.stop().await;
    });
    (StatusCode::ACCEPTED, "the pool drains\n").into_response()
}

/// Pauses a queue, or lets it go on.
pub(crate) async fn set_queue(
    State(shared): State<Arc<Shared>>,
    Path((name, what)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = admit(&shared, &headers) {
        return *refused;
    }
    let queue = match shared.pool.queue(&name) {
        Ok(queue) => queue,
        Err(error) => return (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    };
    let done = match &*what {
        "pause" => shared.pool.pause(&queue).await.map(|()| "it is paused\n"),
        "resume" => shared.pool.resume(&queue).await.map(|()| "it goes on\n"),
        _ => return (StatusCode::NOT_FOUND, "pause or resume\n").into_response(),
    };
    match done {
        Ok(done) => (StatusCode::OK, done).into_response(),
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
    }
}

/// Removes a worker, once it has finished what it holds.
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = admit(&shared, &headers) {
        return *refused;
    }
    let unknown = (StatusCode::NOT_FOUND, "no such worker in this pool (any more)\n");
    let Some(worker) = id_of(&name) else { return unknown.into_response() };
    match timeout(SOON, shared.pool.remove(worker)).await {
        Ok(Ok(())) => (StatusCode::OK, "it is gone\n").into_response(),
        Ok(Err(WorkerError::Unknown)) => unknown.into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::ACCEPTED, "it finishes what it holds\n").into_response(),
    }
}
