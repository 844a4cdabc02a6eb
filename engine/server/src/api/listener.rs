//! Connections: how many, how long they may take, how they end.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::Limits;

/// Bytes of a request's head; eight times what a browser sends.
const HEAD: usize = 64 * 1024;
/// Where accepting fails (no file handle is left), until it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a request came from: the client, or the proxy in front of us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves until `shutdown`, tells `stop`, then waits for the requests under way within their limit.
pub(super) async fn run(
    router: Router,
    limits: Limits,
    listener: TcpListener,
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut shutdown = pin!(shutdown);
    loop {
        // The place is taken first: who finds none waits in the system's backlog, which is bounded too.
        let next = async { (Arc::clone(&places).acquire_owned().await, listener.accept().await) };
        let (place, stream) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
        };
        match stream {
            Ok((stream, from)) => {
                let (router, stopping) = (router.clone(), stop.subscribe());
                tokio::spawn(async move {
                    converse(stream, Peer(from), router, limits, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    // Each connection gives its place back within its own limit; the semaphore is never closed.
    let _ = places.acquire_many(all).await;
}

async fn converse(
    stream: TcpStream,
    from: Peer,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    // Events are small and wanted at once.
    let _ = stream.set_nodelay(true);
    // Ends a connection whose client takes no byte of an answer; the kernel's own patience is a quarter of an hour.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.send));
    let service = router.map_request(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(from);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.farewell, connection).await {
                Ok(result) => result,
                Err(_) => return tracing::debug!("a request was cut off at shutdown"),
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an API connection ended early");
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone stops no less.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
