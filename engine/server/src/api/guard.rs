//! Who may come in, and what every answer carries.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rand::Rng;
use subtle::ConstantTimeEq;

use super::listing::parse;
use super::pass::Pass;
use super::problem::{Problem, catalogue};
use super::{Api, ice, qa, speech};
use crate::calls::CallState;
use crate::config::{Scope, Token};

/// The subprotocol by which a browser's WebSocket brings the token: it can set no header of its own.
pub(super) const BEARER: &str = "bearer.";
/// The largest body that is read.
pub(super) const BODY: u64 = 64 * 1024;

/// Lets a request through, or answers in its place.
pub(super) async fn guard(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let origin = allowed_origin(&api, request.headers());
    let mut response = match check(&api, &request) {
        rights if *request.method() == Method::OPTIONS && request.uri().path().starts_with("/v1/") => {
            let mut response = options(request.uri().path(), origin.is_some());
            if rights.is_ok_and(|rights| rights.calls_from_pages()) && asks_for_servers(&request) {
                let who = format!("{:016x}", rand::rng().random::<u64>());
                ice::tell(response.headers_mut(), api.ice_servers(), &who, SystemTime::now());
            }
            response
        }
        Ok(rights) => {
            request.extensions_mut().insert(rights);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    // Answers hold personal data: no cache keeps them, no other site embeds them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if !api.origins().is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("location, etag, accept-patch, link"),
        );
    }
    response
}

/// The origin of a page that the configuration names.
fn allowed_origin(api: &Api, headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(header::ORIGIN)?;
    api.origins().iter().any(|origin| given.as_bytes() == origin.as_bytes()).then(|| given.clone())
}

/// What browsers ask before a page from elsewhere may ask (the Fetch standard's preflight), and what clients of RFC 9725
/// may ask. It tells nothing that this page does not, so that no token is needed.
fn options(path: &str, known: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if path == "/v1/webrtc" {
        headers.insert("accept-post", HeaderValue::from_static("application/sdp"));
    }
    if known {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, OPTIONS, POST, PATCH, DELETE"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, if-match"),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Whether a page wants to know its STUN and TURN servers before it makes an offer. A preflight is sent by the browser,
/// which has no use for them (RFC 9725 section 4.6).
fn asks_for_servers(request: &Request) -> bool {
    request.uri().path() == "/v1/webrtc"
        && !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the client asks for a WebSocket (RFC 6455, section 4.1).
pub(super) fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What the client of a request may do.
#[derive(Clone, Debug)]
pub(super) enum Rights {
    /// What a token of the configuration says.
    Token {
        scopes: Arc<[Scope]>,
        /// `None` where no token is configured.
        name: Option<Arc<str>>,
    },
    /// What a page's token says.
    Page(Arc<Pass>),
}

impl Rights {
    fn nothing() -> Self {
        Self::Token { scopes: Arc::new([]), name: None }
    }

    fn everything() -> Self {
        Self::Token { scopes: Arc::new([Scope::Admin]), name: None }
    }

    /// The name of the client's token, for records; of a page's token, the name of the one that made it.
    pub(super) fn token(&self) -> Option<String> {
        match self {
            Self::Token { name, .. } => name.as_deref().map(str::to_owned),
            Self::Page(pass) => pass.issuer().map(str::to_owned),
        }
    }

    /// # Errors
    /// If the token does not have the scope.
    pub(super) fn need(&self, scope: Scope) -> Result<(), Problem> {
        if let Self::Token { scopes, .. } = self
            && (scopes.contains(&Scope::Admin) || scopes.contains(&scope))
        {
            return Ok(());
        }
        let name = serde_json::to_value(scope).ok().and_then(|name| name.as_str().map(str::to_owned));
        Err(Problem::because(catalogue::SCOPE_MISSING, name.unwrap_or_default()))
    }

    /// The page's token, where it is one.
    pub(super) fn pass(&self) -> Option<&Arc<Pass>> {
        match self {
            Self::Token { .. } => None,
            Self::Page(pass) => Some(pass),
        }
    }

    fn calls_from_pages(&self) -> bool {
        match self {
            Self::Token { .. } => self.need(Scope::CallsWrite).is_ok(),
            Self::Page(pass) => !pass.is_over(Instant::now()),
        }
    }
}

/// Where the pool serves others.
const SPEECH: [&str; 5] = ["/v1/listen", "/v1/audio", "/v1/realtime", "/v1/funasr", "/v1/vosk"];

/// What a request needs, besides what its own handler asks for; `None` for what everybody with a token may see.
fn needed(method: &Method, path: &str) -> Option<Scope> {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let under =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if under("/v1/cdr") || under("/v1/webhooks") {
        return Some(if reads { Scope::CdrRead } else { Scope::Admin });
    }
    if under("/v1/assist") || under("/v1/knowledge") || assists(path) {
        return Some(if reads { Scope::AssistRead } else { Scope::AssistWrite });
    }
    if under("/v1/calls") || under("/v1/events") || under("/v1/conferences") || under("/v1/webrtc") {
        // How a call may be supervised, and who may end it, its handler asks.
        let ends = *method == Method::DELETE && under("/v1/calls");
        return match (reads, ends || path.ends_with("/supervise")) {
            (true, _) => Some(Scope::CallsRead),
            (false, true) => None,
            (false, false) => Some(Scope::CallsWrite),
        };
    }
    if SPEECH.into_iter().any(under) {
        return Some(Scope::Speech);
    }
    if under("/v1/qa") {
        return Some(if reads { Scope::QaRead } else { Scope::QaWrite });
    }
    under("/v1").then_some(if reads { Scope::CallsRead } else { Scope::Admin })
}

/// Whether it is about what a call's agent is helped with.
fn assists(path: &str) -> bool {
    let call = path.strip_prefix("/v1/calls/").and_then(|rest| rest.split_once('/'));
    call.is_some_and(|(_, rest)| rest == "assist" || rest.starts_with("assist/"))
}

fn check(api: &Api, request: &Request) -> Result<Rights, Problem> {
    let headers = request.headers();
    let path = request.uri().path();
    let pass = tokens(headers).find_map(|token| api.passes.find(token));
    let rights = match &api.tokens[..] {
        [] => {
            check_site(request, api)?;
            // Who brings a page's token is content with what it says.
            pass.map_or_else(Rights::everything, Rights::Page)
        }
        _ if path == "/healthz" => Rights::nothing(),
        // Files that everybody has.
        _ if api.examples() && ["/browser-call", "/agent-desk"].iter().any(|page| path.starts_with(page)) => {
            Rights::nothing()
        }
        known => pass.map_or_else(|| check_token(headers, known), |pass| Ok(Rights::Page(pass)))?,
    };
    match &rights {
        Rights::Page(pass) => check_page(api, pass, request.method(), path)?,
        Rights::Token { .. } => needed(request.method(), path).map_or(Ok(()), |scope| rights.need(scope))?,
    }
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > largest(path)) {
        return Err(Problem::of(catalogue::BODY_TOO_LARGE));
    }
    Ok(rights)
}

/// The largest body of a path: recordings are larger than requests.
fn largest(path: &str) -> u64 {
    match path {
        "/v1/listen" | "/v1/audio/transcriptions" => speech::LARGEST,
        "/v1/qa/jobs" => qa::LARGEST,
        path if path.starts_with("/v1/qa/jobs/") && path.ends_with("/rescore") => qa::CARDS,
        _ => BODY,
    }
}

/// A page's token places calls, which its handler judges, and has to do with none but those.
fn check_page(api: &Api, pass: &Pass, method: &Method, path: &str) -> Result<(), Problem> {
    let refused = || Problem::because(catalogue::SCOPE_MISSING, "it is for the calls of one web page");
    let call = match (method.as_str(), path.strip_prefix("/v1/").unwrap_or_default()) {
        ("POST" | "OPTIONS", "webrtc") => return Ok(()),
        ("PATCH" | "DELETE", rest) => rest.strip_prefix("webrtc/"),
        ("GET", rest) => rest.strip_prefix("calls/").and_then(|rest| rest.strip_suffix("/events")),
        _ => None,
    };
    let call = parse(call.ok_or_else(refused)?).map_err(|_| refused())?;
    if !pass.owns(call) {
        return Err(refused());
    }
    let goes_on = || api.calls.find(call).is_some_and(|call| call.state != CallState::Ended);
    if pass.is_over(Instant::now()) && !goes_on() {
        return Err(Problem::of(catalogue::TOKEN_OVER));
    }
    Ok(())
}

fn check_token(headers: &HeaderMap, known: &[Token]) -> Result<Rights, Problem> {
    let mut found = false;
    for given in tokens(headers) {
        found = true;
        let mut rights = None;
        for token in known {
            let secret = token.secret.as_ref().map_or("", |secret| secret.expose());
            // In constant time, and all of them, so that the time of the answer tells nothing about how much of a guess
            // was right.
            if !secret.is_empty() && bool::from(given.as_bytes().ct_eq(secret.as_bytes())) {
                rights = Some(Rights::Token {
                    scopes: token.scopes.clone().into(),
                    name: Some(token.name.as_str().into()),
                });
            }
        }
        if let Some(rights) = rights {
            return Ok(rights);
        }
    }
    Err(Problem::of(if found { catalogue::TOKEN_WRONG } else { catalogue::TOKEN_MISSING }))
}

/// What a request brings as tokens, wherever clients put them.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    bearer(headers).chain(subprotocols(headers))
}

/// The token of the header Authorization (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        // Clients of Deepgram call the scheme Token.
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
        known.then(|| token.trim())
    })
}

/// Tokens among the subprotocols of a WebSocket.
fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = wants_websocket(headers).then(|| headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter());
    offered
        .into_iter()
        .flatten()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().strip_prefix(BEARER))
}

/// Without a token only this machine may ask, and no web page that a browser on it happens to show: not under a name
/// of its own that resolves to loopback (DNS rebinding), and not from another origin where the browser would let it.
fn check_site(request: &Request, api: &Api) -> Result<(), Problem> {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|value| value.to_str().ok());
    let plain = hosts.next().is_none() && host.is_some_and(is_loopback);
    // The absolute form of a request's target names a host as well (RFC 9112, section 3.2.2).
    if !plain || request.uri().authority().is_some_and(|authority| !is_loopback(authority.as_str())) {
        return Err(Problem::of(catalogue::HOST_REFUSED));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) && !wants_websocket(headers);
    let local = headers.get_all(header::ORIGIN).iter().all(|origin| {
        let text = origin.to_str().unwrap_or_default();
        text.split_once("://").is_some_and(|(_, authority)| is_loopback(authority))
            || api.origins().iter().any(|known| known == text)
    });
    if !reads && !local {
        return Err(Problem::of(catalogue::ORIGIN_REFUSED));
    }
    Ok(())
}

/// Whether `HOST[:PORT]` is this machine by a name that nobody else can give to it.
fn is_loopback(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "null",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        for host in ["localhost@evil.example", "evil@localhost", "localhost/", "[::1", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
