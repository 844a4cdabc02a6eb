//! The HTTP API.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::shared::Shared;

/// Serves the API until `shutdown` is ready.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let _ = (shared, listener);
    shutdown.await;
    Ok(())
}
