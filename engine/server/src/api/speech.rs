//! The pool as a service for others, in the languages of their clients: Deepgram, OpenAI, FunASR, vosk.

mod posted;
mod said;
mod socket;

pub(super) use posted::{listen as post_listen, transcriptions};
pub(super) use said::speech;
pub(super) use socket::{funasr, listen, realtime, vosk};

use std::sync::Arc;

use antiphon_engine_service::Query;
use antiphon_models_pool::{Ask, Class};
use axum::http::Uri;

use super::guard::Rights;
use crate::shared::Shared;

/// The largest recording, with the form around it.
pub(super) const LARGEST: u64 = posted::FILE + (1 << 20);

/// The parameters of a URL, decoded.
fn query(uri: &Uri) -> Query {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    Query::new(pairs.into_owned().collect())
}

/// Whose stream it is, and how urgent.
fn ask(shared: &Shared, rights: &Rights, class: Class) -> Ask {
    let token = rights.token();
    let tenant = shared.config.tokens.iter().find(|known| Some(&known.name) == token.as_ref());
    let tenant = tenant.and_then(|token| token.tenant.as_deref()).unwrap_or_default();
    Ask { class, tenant: Arc::from(tenant) }
}

/// A name for a request: a random UUID (RFC 9562, version 4).
fn request_id() -> String {
    let mut id: [u8; 16] = rand::random();
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let hex: String = id.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
