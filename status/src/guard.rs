//! Who is answered, and what every response says to the browser that it comes to.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{HeaderName, StatusCode, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::collect::Shared;

/// Nothing but what lies beside the page, and no text that becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Refuses what was sent to a name that is none of ours, and adds headers to what is answered.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match check_host(&request, &shared.settings.hosts) {
        Ok(()) => next.run(request).await,
        Err(why) => (StatusCode::MISDIRECTED_REQUEST, why).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A browser that was led here by a name of somebody else's sends that name: DNS rebinding. It cannot be led
/// here by an address, nor by `localhost`.
fn check_host(request: &Request, hosts: &[String]) -> Result<(), String> {
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        None => request.uri().authority().cloned(),
    };
    let Some(host) = host.filter(|host| !host.as_str().contains('@')) else {
        return Err("a request needs one valid Host header\n".to_owned());
    };
    let name = host.host().to_ascii_lowercase();
    if is_ours(&name, hosts) {
        return Ok(());
    }
    Err(format!(
        "{name} is no name of this server: ask by its address, or have its program allow the name \
         with Status::host({name:?})\n"
    ))
}

fn is_ours(name: &str, hosts: &[String]) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok() || hosts.iter().any(|it| it == name)
}

/// Refuses what no page of ours would send: a request of another origin's page.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site")) {
        if site != "same-origin" {
            return Err("this is for the page's own origin only\n");
        }
    }
    let Some(origin) = text(&header::ORIGIN) else { return Ok(()) };
    let host = text(&header::HOST).unwrap_or_default();
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    if authority.is_empty() || !authority.eq_ignore_ascii_case(host) {
        return Err("this is for the page's own origin only\n");
    }
    Ok(())
}

/// Returns whether two texts are the same, in a time that does not tell how much of them is.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let differs = one.bytes().zip(other.bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_ours_and_no_other() {
        let hosts = ["status.example.org".to_owned()];
        for name in ["127.0.0.1", "[::1]", "10.1.2.3", "localhost", "status.example.org"] {
            assert!(is_ours(name, &hosts), "{name}");
        }
        for name in
            ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "x.localhost"]
        {
            assert!(!is_ours(name, &hosts), "{name}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_told_from_ours() {
        let check = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            check_origin(&headers)
        };
        let host = ("host", "127.0.0.1:9000");
        assert!(check(&[host]).is_ok(), "a program that is no browser");
        assert!(check(&[host, ("origin", "http://127.0.0.1:9000")]).is_ok());
        for origin in ["http://127.0.0.1:9001", "http://evil.example", "null", "?", "http://"] {
            assert!(check(&[host, ("origin", origin)]).is_err(), "{origin}");
        }
        for (site, is_ok) in [("same-origin", true), ("same-site", false), ("cross-site", false)] {
            assert_eq!(check(&[host, ("sec-fetch-site", site)]).is_ok(), is_ok, "{site}");
        }
    }

    #[test]
    fn texts_are_the_same_only_where_every_byte_is() {
        assert!(is_same("token", "token"));
        for other in ["", "toke", "tokem", "tokens"] {
            assert!(!is_same("token", other), "{other}");
        }
    }
}
