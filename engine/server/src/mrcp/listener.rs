//! Connections of clients: each carries the messages of any number of channels.

use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_mrcp::{Decoder, Message, RequestState, Start, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::session::ended;
use super::{News, Reply};
use crate::shared::Shared;

/// How long a new connection may take to its first message.
const FIRST: Duration = Duration::from_secs(30);
/// A connection on which nothing comes for so long is closed.
const IDLE: Duration = Duration::from_secs(3_600);
/// Messages that wait to be written.
const UNWRITTEN: usize = 256;
/// How long a client may take to take up a message.
const WRITE: Duration = Duration::from_secs(10);
/// How long to wait where no connection can be taken.
const TROUBLE: Duration = Duration::from_millis(100);

/// Takes connections as long as the server runs.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "mrcp.listen: a connection could not be taken");
                tokio::time::sleep(TROUBLE).await;
                continue;
            }
        };
        if !shared.config.mrcp.serves(peer.ip()) {
            tracing::info!(%peer, "mrcp.allow does not name this address");
            continue;
        }
        let Ok(place) = Arc::clone(&shared.mrcp.connections).try_acquire_owned() else {
            tracing::warn!(%peer, "there are as many connections as mrcp.connections allows");
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.mrcp.connect(peer.ip());
            serve(&shared, stream).await;
            shared.mrcp.disconnect(peer.ip());
            drop(place);
        });
    }
}

async fn serve(shared: &Shared, stream: TcpStream) {
    // Messages are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection of MRCP");
    }
    let (read, write) = stream.into_split();
    let (reply, unwritten) = mpsc::channel(UNWRITTEN);
    let writing = tokio::spawn(write_all(write, unwritten));
    let mut ending = shared.mrcp.ending.subscribe();
    tokio::select! {
        () = read_all(shared, read, &reply) => {}
        () = ended(&mut ending) => {}
    }
    drop(reply);
    // Sessions keep a way back until they end: it leads nowhere from here on.
    writing.abort();
}

async fn read_all(shared: &Shared, mut read: OwnedReadHalf, reply: &Reply) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut limit = FIRST;
    loop {
        let length = match tokio::time::timeout(limit, read.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => length,
            _ => return,
        };
        decoder.push(&buffer[..length]);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => {
                    limit = IDLE;
                    if !route(shared, message, reply) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(%error, "a connection of MRCP cannot be read on");
                    return;
                }
            }
        }
    }
}

/// Hands a message to its session; whether the connection may go on.
fn route(shared: &Shared, message: Message, reply: &Reply) -> bool {
    let session = shared.mrcp.channels().get(message.channel().unwrap_or_default()).cloned();
    let Some(session) = session else { return refuse(&message, reply) };
    let told = session.try_send(News::Message { message, reply: reply.clone() });
    !matches!(told, Err(mpsc::error::TrySendError::Full(_)))
}

/// Answers a request for a channel that is not there; whether the connection may go on.
pub(super) fn refuse(message: &Message, reply: &Reply) -> bool {
    let Start::Request { id, .. } = message.start else { return true };
    let channel = message.channel().unwrap_or_default();
    let status = if channel.is_empty() { Status::MissingHeader } else { Status::NoResource };
    let response = Message::response(id, status.code(), RequestState::Complete)
        .with("Channel-Identifier", channel)
        .with("Completion-Reason", "there is no such channel");
    reply.try_send(response.encode()).is_ok()
}

async fn write_all(mut write: OwnedWriteHalf, mut unwritten: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = unwritten.recv().await {
        let written = tokio::time::timeout(WRITE, write.write_all(&message)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}
