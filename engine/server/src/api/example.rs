//! The example pages, where `http.examples` lets them be served.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::Api;
use super::problem::{Problem, catalogue};

/// Its own files and this server, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page's files: name, type and text.
type Files = &'static [(&'static str, &'static str, &'static str)];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Calls from a browser.
const CALL: Files = &[
    ("index.html", HTML, include_str!("../../../../examples/browser-call/index.html")),
    ("style.css", CSS, include_str!("../../../../examples/browser-call/style.css")),
    ("page.js", SCRIPT, include_str!("../../../../examples/browser-call/page.js")),
    ("call.js", SCRIPT, include_str!("../../../../examples/browser-call/call.js")),
    ("words.js", SCRIPT, include_str!("../../../../examples/browser-call/words.js")),
];

/// Shows an agent what helps.
const DESK: Files = &[
    ("index.html", HTML, include_str!("../../../../examples/agent-desk/index.html")),
    ("style.css", CSS, include_str!("../../../../examples/agent-desk/style.css")),
    ("page.js", SCRIPT, include_str!("../../../../examples/agent-desk/page.js")),
    ("desk.js", SCRIPT, include_str!("../../../../examples/agent-desk/desk.js")),
    ("words.js", SCRIPT, include_str!("../../../../examples/agent-desk/words.js")),
];

/// `GET /browser-call`
pub(super) async fn bare(State(api): State<Arc<Api>>) -> Result<Redirect, Problem> {
    // Its files stand beside the page.
    if api.examples() {
        Ok(Redirect::temporary("/browser-call/"))
    } else {
        Err(Problem::of(catalogue::ROUTE_UNKNOWN))
    }
}

/// `GET /browser-call/`
pub(super) async fn index(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    send(&api, CALL, "index.html")
}

/// `GET /browser-call/{file}`
pub(super) async fn file(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, Problem> {
    send(&api, CALL, &name)
}

/// `GET /agent-desk`
pub(super) async fn bare_desk(State(api): State<Arc<Api>>) -> Result<Redirect, Problem> {
    if api.examples() {
        Ok(Redirect::temporary("/agent-desk/"))
    } else {
        Err(Problem::of(catalogue::ROUTE_UNKNOWN))
    }
}

/// `GET /agent-desk/`
pub(super) async fn desk(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    send(&api, DESK, "index.html")
}

/// `GET /agent-desk/{file}`
pub(super) async fn desk_file(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    send(&api, DESK, &name)
}

fn send(api: &Api, files: Files, wanted: &str) -> Result<Response, Problem> {
    let found = files.iter().find(|(name, _, _)| *name == wanted && api.examples());
    let (_, kind, text) = found.ok_or_else(|| Problem::of(catalogue::ROUTE_UNKNOWN))?;
    let mut response = (*text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
