//! Sets up the media of a call, whichever side placed it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_engine_call::Cause;
use antiphon_media_frame::{CallId, Direction, MediaTime, SampleRate, Span, TrackWriter, track_ring};
use antiphon_media_link::Link;
use antiphon_media_plane::{
    Leg, LegCommand, LegHandle, ShardError, SocketPair, Tap, TapId, Taps, WriterError,
};
use antiphon_media_sip::sdp::{LocalMedia, Negotiated};
use antiphon_models_pool::{Ask, OpenStream, PoolError, Reservation, StreamHandle};
use antiphon_models_speech::{Engine, Hints, Language, RecognizeError, StreamConfig};

use crate::conversation::{Happening, Inlet, inlet};
use crate::renegotiate::{Media, format_of};
use crate::ringing::EarlyLeg;
use crate::secure::link_config;
use crate::shared::{Shared, endpointing};
use tokio::sync::mpsc;

/// What a recogniser may be behind before it loses sound: five seconds.
const EARS_DEPTH: usize = 250;
/// A frame of 20 ms, and what a resampler may owe from the one before.
const EARS_FRAME: Span = Span::from_millis(25);

/// Which call a leg is for.
#[derive(Clone, Copy)]
pub(crate) struct Door {
    pub(crate) id: CallId,
    pub(crate) epoch: Instant,
    /// Whether media may come from elsewhere than was described: the far side may be behind address translation.
    pub(crate) nat: bool,
}

/// What a call needs to be set up.
pub(crate) struct Place {
    pub(crate) id: CallId,
    pub(crate) agreed: Negotiated,
    /// Our side of what was agreed.
    pub(crate) local: LocalMedia,
    pub(crate) language: Language,
    pub(crate) recording: Option<PathBuf>,
    /// Somebody who hears the far side.
    pub(crate) listener: Option<TrackWriter>,
    /// Whether media may come from elsewhere than was described.
    pub(crate) nat: bool,
    /// Whose streams of the recogniser pool it takes.
    pub(crate) ears: Ask,
    /// One that was kept for it.
    pub(crate) kept: Option<Reservation>,
}

/// The running media of a call.
pub(crate) struct Setup {
    pub(crate) leg: LegHandle,
    pub(crate) ears: Option<StreamHandle>,
    pub(crate) rate: SampleRate,
    pub(crate) inlet: Inlet,
    pub(crate) happenings: mpsc::Receiver<Happening>,
}

/// Why the media of a call could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Recognizer(#[from] RecognizeError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error("{0}")]
    Other(String),
}

impl SetupError {
    /// When there may be room again, where that is what is missing.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Pool(error) => retry_after(error),
            _ => None,
        }
    }

    pub(crate) fn cause(&self) -> &'static Cause {
        match self {
            Self::Shard(_) | Self::Pool(PoolError::Refused(_)) => Cause::BUSY,
            Self::Pool(_) | Self::Recognizer(_) | Self::Other(_) => Cause::ENGINE_FAILED,
            Self::Writer(_) => Cause::DISK_FAILED,
        }
    }
}

/// When the recogniser pool may have room again.
pub(crate) fn retry_after(error: &PoolError) -> Option<Duration> {
    match error {
        PoolError::Refused(refusal) => Some(Duration::from_millis(refusal.retry_after.millis())),
        _ => None,
    }
}

/// Opens ears and recording, puts the leg on the shard. The leg runs when this returns.
pub(crate) async fn set_up(
    shared: &Arc<Shared>,
    place: Place,
    pair: SocketPair,
    epoch: Instant,
) -> Result<Setup, SetupError> {
    let rate = rate_of(&place.agreed)?;
    let (inlet, happenings) = inlet();
    let door = Door { id: place.id, epoch, nat: place.nat };
    let (agreed, local) = (place.agreed.clone(), place.local.clone());
    let (consumers, ears) = consumers(shared, place, rate, &inlet).await?;
    let mut taps = Taps::default();
    for (track, writer) in consumers {
        match track {
            Direction::Received => taps.received.push(Tap::new(rate, writer)),
            Direction::Sent => taps.sent.push(Tap::new(rate, writer)),
        }
    }
    let leg = open_with(shared, &door, &agreed, &local, pair, &inlet, taps)?;
    Ok(Setup { leg, ears, rate, inlet, happenings })
}

/// Puts a leg on a shard that nobody listens to yet.
pub(crate) fn open(
    shared: &Arc<Shared>,
    door: &Door,
    agreed: &Negotiated,
    local: &LocalMedia,
    pair: SocketPair,
    inlet: &Inlet,
) -> Result<(LegHandle, SampleRate), SetupError> {
    let leg = open_with(shared, door, agreed, local, pair, inlet, Taps::default())?;
    Ok((leg, rate_of(agreed)?))
}

/// Opens ears and recording for a leg that runs already.
pub(crate) async fn furnish(
    shared: &Arc<Shared>,
    place: Place,
    early: EarlyLeg,
) -> Result<(Setup, Media), SetupError> {
    let EarlyLeg { leg, rate, inlet, happenings, media, .. } = early;
    let (consumers, ears) = consumers(shared, place, rate, &inlet).await?;
    for (n, (track, writer)) in consumers.into_iter().enumerate() {
        leg.send(LegCommand::Tap { id: TapId(u64::MAX - n as u64), track, writer })?;
    }
    Ok((Setup { leg, ears, rate, inlet, happenings }, media))
}

fn rate_of(agreed: &Negotiated) -> Result<SampleRate, SetupError> {
    let format = format_of(agreed);
    let unknown = || SetupError::Other(format!("{} was agreed on but cannot be coded", agreed.codec.name()));
    Ok(format.ok_or_else(unknown)?.codec.sample_rate())
}

fn open_with(
    shared: &Arc<Shared>,
    door: &Door,
    agreed: &Negotiated,
    local: &LocalMedia,
    pair: SocketPair,
    inlet: &Inlet,
    taps: Taps,
) -> Result<LegHandle, SetupError> {
    let config =
        shared.leg_config(agreed, local, door).map_err(|error| SetupError::Other(error.to_string()))?;
    let now = MediaTime::ZERO + door.epoch.elapsed().into();
    let link = link_config(agreed, local, &shared.identity)
        .map_err(|error| error.to_string())
        .and_then(|link| Link::new(link, now).map_err(|error| error.to_string()))
        .map_err(SetupError::Other)?;
    let leg = Leg::new(config, taps, now).over(link);
    let tell = inlet.clone();
    let tell = Box::new(move |event| tell.tell(Happening::Leg(event)));
    let mut leg = shared.shards.add(pair, leg, door.epoch, tell)?;
    if let (Some(listener), Some(_), Some(ice)) = (&shared.ice_tcp, &agreed.ice, &local.ice) {
        leg.expect(listener, &ice.credentials.ufrag);
    }
    Ok(leg)
}

/// Whoever listens to a leg from its answer on, and the recogniser among them.
async fn consumers(
    shared: &Arc<Shared>,
    place: Place,
    rate: SampleRate,
    inlet: &Inlet,
) -> Result<(Vec<(Direction, TrackWriter)>, Option<StreamHandle>), SetupError> {
    let mut consumers = Vec::new();
    let engines = shared.recognizers.of(&place.ears.tenant);
    let ears = match engines.first() {
        Some(engine) => {
            let slot = match place.kept {
                Some(kept) => kept,
                None => shared.pool.reserve(&place.ears)?,
            };
            let (writer, ears) =
                open_ears(shared, engine, engines, slot, rate, place.language, inlet).await?;
            consumers.push((Direction::Received, writer));
            Some(ears)
        }
        None => None,
    };
    if let Some(path) = place.recording {
        let tell = inlet.clone();
        let done = Box::new(move |result| tell.tell(Happening::Recorded(result)));
        let record = shared.writer.record(path, rate, done)?;
        consumers.push((Direction::Received, record.received));
        consumers.push((Direction::Sent, record.sent));
    }
    consumers.extend(place.listener.map(|listener| (Direction::Received, listener)));
    Ok((consumers, ears))
}

async fn open_ears(
    shared: &Arc<Shared>,
    engine: &Arc<dyn Engine>,
    engines: &[Arc<dyn Engine>],
    place: Reservation,
    native: SampleRate,
    language: Language,
    inlet: &Inlet,
) -> Result<(TrackWriter, StreamHandle), SetupError> {
    let config = StreamConfig { language, hints: Hints::default(), source_rate: native };
    let engines = engines.to_vec();
    let (engine, opening) = (Arc::clone(engine), config.clone());
    // Opening may load a model: not on a thread that other calls wait for.
    let opened = tokio::task::spawn_blocking(move || engine.open(&opening)).await;
    let recognizer = opened.map_err(|error| SetupError::Other(error.to_string()))??;
    let (writer, audio) = track_ring(recognizer.rate(), EARS_DEPTH, EARS_FRAME, place.bell());
    let tell = inlet.clone();
    let sink = Box::new(move |event| tell.tell(Happening::Speech(event)));
    let endpointing = endpointing(&shared.config);
    let open = OpenStream { recognizer, engines, config, audio, endpointing, sink };
    Ok((writer, place.open(open)?))
}
