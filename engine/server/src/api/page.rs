//! The page for people, the health of the server, the description of the API.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use serde_json::{Value, json};

use super::Api;
use super::listing::newest_first;
use super::problem::{Problem, catalogue};
use crate::calls::{CallState, CallSummary};

/// Calls on the page; the API lists all.
const SHOWN: usize = 200;
/// The page shows text and its own style, and nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5">
<title>Antiphon: calls</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; white-space: nowrap; }
.ended { color: #777; }
nav a { margin-right: 1rem; }
</style>
</head>
<body>
<h1>Calls</h1>
"#;
const FOOT: &str = r#"<nav><a href="/v1/calls">calls (JSON)</a><a href="/metrics">metrics</a><a href="/openapi.json">API description</a></nav>
</body>
</html>
"#;

/// `GET /`
pub(super) async fn index(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let calls = newest_first(api.calls.list());
    let mut page = HEAD.to_owned();
    // Writing to a `String` does not fail.
    let _ = writeln!(page, "<p>{} under way, {} listed.</p>", api.calls.active(), calls.len());
    if !calls.is_empty() {
        page.push_str("<table>\n<tr><th>started</th><th>from</th><th>to</th><th>state</th><th>codec</th>");
        page.push_str("<th>length</th><th>cause</th><th></th></tr>\n");
        for call in calls.iter().take(SHOWN) {
            page.push_str(&row(call));
        }
        page.push_str("</table>\n");
    }
    page.push_str(FOOT);
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page))
}

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the next call would be taken.
pub(super) async fn readiness(State(api): State<Arc<Api>>) -> Result<&'static str, Problem> {
    if api.calls.stopping() || *api.stopping.borrow() {
        return Err(Problem::of(catalogue::STOPPING));
    }
    let readings = (api.readings)();
    if api.calls.active() >= readings.calls || readings.pool.streams >= readings.pool.limit {
        return Err(Problem::of(catalogue::CALLS));
    }
    Ok("ready\n")
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], description().to_string())
}

/// The OpenAPI 3.1 document.
pub(super) fn description() -> Value {
    // The text is compiled in and a test reads it.
    let mut document: Value = serde_json::from_str(include_str!("openapi.json"))
        .expect("the compiled-in document is JSON, as tested");
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document
}

fn row(call: &CallSummary) -> String {
    let (state, class) = match call.state {
        CallState::Ringing => ("ringing", "ringing"),
        CallState::Answered => ("answered", "answered"),
        CallState::Ended => ("ended", "ended"),
    };
    let base = format!("/v1/calls/{}", call.id);
    let mut links = format!("<a href=\"{base}\">call</a> <a href=\"{base}/events\">events</a>");
    if call.recording.is_some() {
        let _ = write!(links, " <a href=\"{base}/recording\">recording</a>");
        if call.state == CallState::Ended {
            let _ = write!(links, " <a href=\"{base}/sidecar\">sidecar</a>");
        }
    }
    let length =
        call.duration_ms.map(|millis| format!("{:.1} s", millis as f64 / 1000.0)).unwrap_or_default();
    format!(
        "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td>{state}</td><td>{}</td><td>{length}</td><td>{}</td><td>{links}</td></tr>\n",
        escaped(call.started_at.get(..19).unwrap_or(&call.started_at)),
        escaped(&call.from),
        escaped(&call.to),
        escaped(call.codec.as_deref().unwrap_or_default()),
        escaped(call.cause.unwrap_or_default()),
    )
}

/// Text as HTML: whoever calls chooses the name he calls by.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
