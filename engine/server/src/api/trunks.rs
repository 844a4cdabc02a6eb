//! Where the trunks stand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Api;
use super::problem::Problem;
use crate::trunks::TrunkStatus;

/// All trunks, in the order of the configuration.
#[derive(Serialize)]
pub(super) struct Trunks {
    trunks: Vec<TrunkStatus>,
}

/// `GET /v1/trunks`
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Trunks>, Problem> {
    Ok(Json(Trunks { trunks: api.shared()?.router.status() }))
}
