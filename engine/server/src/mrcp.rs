//! MRCPv2 (RFC 6787) for existing IVRs: sessions come by SIP, their control channels by TCP, sound by RTP.

mod account;
mod channel;
mod listener;
mod prompts;
mod session;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_engine_call::Cause as CallCause;
use antiphon_engine_mrcp::{Cause, Message, SpeechCause, control};
use antiphon_media_frame::TrackWriter;
use antiphon_media_plane::Sound;
use antiphon_media_sip::{IncomingCall, Peer};
use antiphon_models_pool::{StreamEvent, StreamHandle};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::MrcpSection;
use crate::entrance::Refusal;
use crate::shared::Shared;
use account::{Account, Figures};

pub(crate) use account::Counts;
pub(crate) use listener::accept;

/// News that wait for a session. A connection that fills it is closed.
const NEWS: usize = 1_024;

/// The way back to a client: whole messages. A client that reads none of many is left.
type Reply = mpsc::Sender<Vec<u8>>;

/// What a session is told.
enum News {
    /// A message for one of its channels.
    Message { message: Message, reply: Reply },
    /// An ear is open, or is not.
    Opened { line: usize, generation: u64, ear: Result<(TrackWriter, StreamHandle), (Cause, String)> },
    /// What an ear hears.
    Speech { line: usize, generation: u64, event: StreamEvent },
    /// Something can be played, or cannot.
    Prepared { clip: u32, made: Result<Sound, (SpeechCause, String)> },
}

/// The sessions of a server.
pub(crate) struct Mrcp {
    places: Arc<Semaphore>,
    most: usize,
    connections: Arc<Semaphore>,
    most_connections: usize,
    figures: Figures,
    /// Where messages for a channel go.
    channels: Mutex<HashMap<String, mpsc::Sender<News>>>,
    /// From where how many connections stand.
    peers: Mutex<HashMap<IpAddr, usize>>,
    ending: watch::Sender<bool>,
}

impl Mrcp {
    pub(crate) fn new(config: &MrcpSection) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.sessions)),
            most: config.sessions,
            connections: Arc::new(Semaphore::new(config.connections)),
            most_connections: config.connections,
            figures: Figures::default(),
            channels: Mutex::default(),
            peers: Mutex::default(),
            ending: watch::Sender::new(false),
        }
    }

    /// Sessions under way.
    pub(crate) fn active(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    /// Sessions that there is room for.
    pub(crate) fn limit(&self) -> usize {
        self.most
    }

    /// Connections that stand.
    pub(crate) fn connections(&self) -> usize {
        self.most_connections.saturating_sub(self.connections.available_permits())
    }

    /// What sessions have come to.
    pub(crate) fn counts(&self) -> Counts {
        self.figures.read()
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        self.ending.send_replace(true);
    }

    /// Whether a connection from there stands, which new channels can use.
    fn connected(&self, peer: IpAddr) -> bool {
        self.peers().contains_key(&peer)
    }

    fn connect(&self, peer: IpAddr) {
        *self.peers().entry(peer).or_default() += 1;
    }

    fn disconnect(&self, peer: IpAddr) {
        let mut peers = self.peers();
        if let Some(count) = peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&peer);
            }
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Every state of the map is valid, whoever panicked.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<News>>> {
        // Every state of the map is valid, whoever panicked.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a call that offers control channels; hands back one that does not.
pub(crate) async fn take(shared: &Arc<Shared>, incoming: IncomingCall) -> Option<IncomingCall> {
    let config = &shared.config;
    if config.mrcp.listen.is_none() {
        return Some(incoming);
    }
    let refuse = |incoming: IncomingCall, status, why: &str| {
        tracing::info!(status, why, "a session of MRCP was refused");
        if let Err(error) = incoming.reject(status, "", why) {
            tracing::debug!(%error, "a call could not be refused");
        }
    };
    if !incoming.offer().is_some_and(control::is_session) {
        let stranger = *incoming.peer() == Peer::Anonymous && !config.security.anonymous;
        if !stranger {
            return Some(incoming);
        }
        refuse(incoming, 403, "only MRCP is served here");
        return None;
    }
    if !config.mrcp.serves(incoming.source().ip()) {
        refuse(incoming, 403, "mrcp.allow does not name this address");
        return None;
    }
    // Whoever is named is on record from here on, as callers are.
    let mut account = Account::open(shared, &incoming);
    let place = Arc::clone(&shared.mrcp.places).try_acquire_owned();
    let place = match place {
        _ if *shared.mrcp.ending.borrow() => Err(Refusal::of(CallCause::SHUTDOWN)),
        Ok(place) => Ok(place),
        Err(_) => Err(Refusal::of(CallCause::BUSY)),
    };
    match place {
        Ok(place) => session::serve(shared, incoming, account, place).await,
        Err(refusal) => {
            refusal.tell(incoming, account.record().leg());
            account.close(refusal.cause());
        }
    }
    None
}
