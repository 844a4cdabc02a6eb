//! The example page that calls from a browser, where `http.examples` lets it be served.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::Api;
use super::problem::{Problem, catalogue};

/// Its own files and this server, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: [(&str, &str, &str); 5] = [
    ("index.html", "text/html; charset=utf-8", include_str!("../../../../examples/browser-call/index.html")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../../../examples/browser-call/style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../../../examples/browser-call/page.js")),
    ("call.js", "text/javascript; charset=utf-8", include_str!("../../../../examples/browser-call/call.js")),
    (
        "words.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../../examples/browser-call/words.js"),
    ),
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
    send(&api, "index.html")
}

/// `GET /browser-call/{file}`
pub(super) async fn file(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, Problem> {
    send(&api, &name)
}

fn send(api: &Api, wanted: &str) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(name, _, _)| *name == wanted && api.examples());
    let (_, kind, text) = found.ok_or_else(|| Problem::of(catalogue::ROUTE_UNKNOWN))?;
    let mut response = (*text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
