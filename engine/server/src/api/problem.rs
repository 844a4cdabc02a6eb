//! What the API says when it cannot do what was asked: stable codes, one catalogue.

use std::time::Duration;

use antiphon_engine_store::StoreError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A kind of failure.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) status: StatusCode,
    /// Stable; never changes its meaning.
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    /// What to do about it.
    pub(super) advice: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $message:literal, $advice:literal;)*) => {
        /// Every kind of failure there is.
        pub(super) mod catalogue {
            use super::{Kind, StatusCode};

            $(pub(in super::super) const $name: &Kind =
                &Kind { status: StatusCode::$status, code: $code, message: $message, advice: $advice };)*

            #[cfg(test)]
            pub(in super::super) const ALL: &[&Kind] = &[$($name),*];
        }
    };
}

kinds! {
    CALL_ID = BAD_REQUEST, "call.id", "The call id is not 32 hexadecimal digits.",
        "Take ids from GET /v1/calls or from the events.";
    CALL_UNKNOWN = NOT_FOUND, "call.unknown", "There is no such call.",
        "Calls that ended long ago leave the list; their files stay in the data folder.";
    CALL_NOT_ANSWERED = CONFLICT, "call.not_answered", "The call is not answered yet, or already over.",
        "Wait for the event call.answered.";
    NOT_JOINED = CONFLICT, "call.not_joined", "The calls cannot be joined like that.", "The detail says why.";
    TARGET_REFUSED = UNPROCESSABLE_ENTITY, "target.refused", "The target cannot be called.",
        "Look at routes, users and trunk.allow.";
    BODY_INVALID = BAD_REQUEST, "body.invalid", "The body of the request cannot be understood.",
        "Send JSON as /openapi.json describes it.";
    CALL_ENDED = CONFLICT, "call.ended", "The call has already ended.", "Nothing is left to do.";
    QUERY_INVALID = BAD_REQUEST, "query.invalid", "The query cannot be understood.",
        "Lists of calls take state (ringing, answered or ended), limit (1 to 1000) and after (a call id); calls of web pages take to.";
    PAGE_GONE = BAD_REQUEST, "page.gone", "The call named by `after` is no longer listed.",
        "Begin again without `after`.";
    RECORDING_UNFINISHED = CONFLICT, "recording.unfinished", "The call is still being recorded.",
        "Wait for the event call.ended.";
    RECORDING_NONE = NOT_FOUND, "recording.none", "The call has no recording.",
        "Calls that were never answered have none; for the others see call.record.";
    RECORDING_GONE = GONE, "recording.gone", "The file is no longer on disk.",
        "It was moved or deleted after the call.";
    ROUTE_UNKNOWN = NOT_FOUND, "route.unknown", "There is nothing at this path.", "See /openapi.json.";
    ROUTE_METHOD = METHOD_NOT_ALLOWED, "route.method", "The path does not answer this method.",
        "See the header Allow.";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "body.too_large", "The body of the request is too large.",
        "Bodies of this API are below 64 KiB.";
    TOKEN_MISSING = UNAUTHORIZED, "token.missing", "The request carries no token.",
        "Send the header `Authorization: Bearer TOKEN`; a browser's WebSocket sends the subprotocol bearer.TOKEN.";
    TOKEN_WRONG = UNAUTHORIZED, "token.wrong", "The token is not the configured one.", "Compare it with http.token.";
    SCOPE_MISSING = FORBIDDEN, "token.scope", "The token may not do this.",
        "Give it the scope named in the detail, or use another.";
    TOKEN_OVER = UNAUTHORIZED, "token.over", "The token of the page is over.", "Make another with POST /v1/webrtc/tokens.";
    TOKEN_SPENT = FORBIDDEN, "token.spent", "The token of the page has placed all its calls.",
        "Make another with POST /v1/webrtc/tokens.";
    TOKENS = SERVICE_UNAVAILABLE, "limit.tokens", "Too many tokens of pages are in force.",
        "Give them shorter lifetimes.";
    HOST_REFUSED = MISDIRECTED_REQUEST, "host.refused", "Without a token the API answers to loopback names only.",
        "Use localhost, 127.0.0.1 or [::1] as host, or configure http.token.";
    ORIGIN_REFUSED = FORBIDDEN, "origin.refused", "A web page from elsewhere may not do this.",
        "Configure http.token and let the page send it.";
    UPGRADE_REQUIRED = UPGRADE_REQUIRED, "upgrade.required", "This path speaks WebSocket only.",
        "Connect with ws://, or read one call's events from /v1/calls/{id}/events.";
    UPGRADE_INVALID = BAD_REQUEST, "upgrade.invalid", "The WebSocket handshake is not valid.", "See RFC 6455, section 4.";
    WATCHERS = SERVICE_UNAVAILABLE, "limit.watchers", "Too many WebSockets are open.",
        "Close some; one on /v1/events sees all calls.";
    BODY_TYPE = UNSUPPORTED_MEDIA_TYPE, "body.type", "The body of the request is of another type than is taken here.",
        "Send the header Content-Type that the detail names.";
    OFFER_INVALID = BAD_REQUEST, "offer.invalid", "The description of media cannot be read.",
        "Send the SDP as the browser made it.";
    OFFER_REFUSED = NOT_ACCEPTABLE, "offer.refused", "The offer holds nothing that could be agreed on.",
        "Offer one audio stream by Opus, G722, PCMU or PCMA over UDP/TLS/RTP/SAVPF, with ICE and rtcp-mux.";
    SESSION_UNKNOWN = NOT_FOUND, "session.unknown", "There is no such session.",
        "Its call is over; place another with POST /v1/webrtc.";
    TAG_MISSING = PRECONDITION_REQUIRED, "session.tag_missing", "The request does not say which ICE session it is for.",
        "Send the ETag of the answer as If-Match.";
    TAG_STALE = PRECONDITION_FAILED, "session.tag", "The request is for another ICE session.",
        "Send the ETag of the answer as If-Match.";
    ICE_RESTART = UNPROCESSABLE_ENTITY, "session.restart", "ICE cannot begin anew within a session.",
        "Place another call with POST /v1/webrtc.";
    SETUP_FAILED = INTERNAL_SERVER_ERROR, "call.setup", "The media of the call could not be set up.",
        "The server's log says why.";
    PORTS = SERVICE_UNAVAILABLE, "limit.rtp_ports", "No RTP port is free.", "Widen media.rtp_ports.";
    CALLS = SERVICE_UNAVAILABLE, "limit.calls", "The server is at its limit of concurrent calls.",
        "Raise call.concurrent or add a server.";
    RECOGNIZERS = SERVICE_UNAVAILABLE, "limit.recognizers", "The recognisers have no room for another call.",
        "Come back when Retry-After says, or look at GET /v1/pool.";
    CDR_QUERY = BAD_REQUEST, "cdr.query", "The query cannot be understood.",
        "Parameters are since, until (RFC 3339), direction, trunk, user, from, to, cause, answered, limit (1 to 1000) and after.";
    CDR_UNKNOWN = NOT_FOUND, "cdr.unknown", "There is no record of such a call.",
        "A record is there once the call has ended, as long as cdr.keep says.";
    DELIVERY_QUERY = BAD_REQUEST, "delivery.query", "The query cannot be understood.",
        "Parameters are state (pending or dead), webhook, limit (1 to 1000) and after.";
    DELIVERY_UNKNOWN = NOT_FOUND, "delivery.unknown", "There is no such delivery.",
        "Those that succeeded are not kept.";
    RECORDS_OFF = SERVICE_UNAVAILABLE, "records.off", "The server keeps no records yet.",
        "It is starting or stopping; ask again.";
    STORE_FAILED = INTERNAL_SERVER_ERROR, "store.failed", "The store did not answer.",
        "See the log for the database's own words.";
    QA_INVALID = UNPROCESSABLE_ENTITY, "qa.invalid", "The job cannot be taken in.", "The detail says what to mend.";
    QA_FORBIDDEN = FORBIDDEN, "qa.forbidden", "The job asks for something that the configuration does not let it.",
        "Look at qa.paths, qa.hosts and qa.callback_hosts.";
    QA_KEY = CONFLICT, "qa.key", "The idempotency key was used for another job.",
        "Send a key of its own for each job, and the same request with the same key.";
    QA_FULL = TOO_MANY_REQUESTS, "qa.full", "Too many files of this token wait.", "Send more when some are done.";
    QA_QUERY = BAD_REQUEST, "qa.query", "The query cannot be understood.",
        "Lists take limit (1 to 1000) and after, lists of files state too; a clip takes start and end.";
    QA_UNKNOWN = NOT_FOUND, "qa.unknown", "There is no such job or file.", "Take ids from GET /v1/qa/jobs.";
    QA_OVER = CONFLICT, "qa.over", "The job is over already.", "Nothing is left to cancel.";
    QA_RUNNING = CONFLICT, "qa.running", "The job is not over.", "Cancel it first.";
    QA_NOTHING = CONFLICT, "qa.nothing", "The job has no file that this could be done with.",
        "Only files that failed or were cancelled are tried again, and only those with a result are judged again.";
    QA_NO_RESULT = CONFLICT, "qa.no_result", "The file has no result yet, or none at all.",
        "Its state says which; GET the file.";
    QA_NO_HIT = NOT_FOUND, "qa.no_hit", "There is no such finding.", "Take scorecard and hit from the file's result.";
    QA_NO_SOUND = CONFLICT, "qa.no_sound", "The file has no sound here.",
        "It has none before it was heard, nor where only words were judged again.";
    QA_INSIGHT_QUERY = BAD_REQUEST, "qa.insight_query", "The question cannot be understood.",
        "The detail says which parameter is wrong; /openapi.json has them all.";
    QA_INSIGHT_LARGE = UNPROCESSABLE_ENTITY, "qa.insight_large", "The question is about too much.",
        "Ask for a shorter time, longer periods, or one agent, queue, product or scorecard.";
    ASSIST_QUERY = BAD_REQUEST, "assist.query", "The query cannot be understood.",
        "Lists take over, streams take after, searches take q, limit (1 to 50), assist, language, tags and floor (0 to 1).";
    ASSIST_UNKNOWN = NOT_FOUND, "assist.unknown", "There is no such call, or nothing that its agent is helped with.",
        "Look which entry of [[assist]] takes the call; GET /v1/assist lists those that are helped with.";
    ASSIST_FEEDBACK = UNPROCESSABLE_ENTITY, "assist.feedback", "What the agent says cannot be understood.",
        "Send suggestion and verdict (used or not_helpful), or disposition, as JSON.";
    ASSIST_OFF = NOT_FOUND, "assist.off", "There is no such knowledge.",
        "Name an entry of [[assist]], or configure one.";
    STOPPING = SERVICE_UNAVAILABLE, "server.stopping", "The server is being stopped.", "Send calls elsewhere.";
}

/// One failure, ready to be told.
#[derive(Debug)]
pub(super) struct Problem {
    kind: &'static Kind,
    /// More than the kind's own message knows.
    detail: Option<String>,
    /// When to come back, seconds, where that is known.
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn of(kind: &'static Kind) -> Self {
        Self { kind, detail: None, retry_after: None }
    }

    /// It may go well after this time.
    pub(super) fn retry(self, after: Duration) -> Self {
        Self { retry_after: Some(whole_seconds(after)), ..self }
    }

    /// With what exactly was wrong.
    pub(super) fn because(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: Some(detail.into()), retry_after: None }
    }
}

/// A time as Retry-After tells it (RFC 9110 §10.2.3): whole seconds, at least one.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}

/// What went wrong there is for the log alone.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store did not answer the API");
        Self::of(catalogue::STORE_FAILED)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { kind, detail, retry_after } = self;
        let message = match detail {
            Some(detail) => format!("{} ({detail})", kind.message),
            None => kind.message.to_owned(),
        };
        let body = json!({ "error": { "code": kind.code, "message": message, "advice": kind.advice } });
        let mut response = (kind.status, axum::Json(body)).into_response();
        let extra = match kind.status {
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer realm=\"antiphon\""),
            StatusCode::UPGRADE_REQUIRED => (header::UPGRADE, "websocket"),
            StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "5"),
            _ => return response,
        };
        response.headers_mut().insert(extra.0, HeaderValue::from_static(extra.1));
        if let Some(after) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::catalogue::ALL;

    #[test]
    fn codes_are_unique_and_documented() {
        let manual = include_str!("../../../../docs/API.md");
        for (n, kind) in ALL.iter().enumerate() {
            assert!(ALL[..n].iter().all(|other| other.code != kind.code), "{} twice", kind.code);
            assert!(kind.status.is_client_error() || kind.status.is_server_error());
            let row = format!(
                "| `{}` | {} | {} | {} |",
                kind.code,
                kind.status.as_u16(),
                kind.message,
                kind.advice
            );
            assert!(manual.contains(&row), "docs/API.md lacks the row\n{row}");
        }
    }
}
