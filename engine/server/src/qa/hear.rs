//! From a recording to the conversation in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_engine_measure::{Conversation, Role, Stretch, Track, Turn};
use antiphon_engine_service::{Coding, Format, Identify, Settings};
use antiphon_media_frame::Span;
use antiphon_models_pool::{Ask, PoolError, StreamEvent};
use antiphon_models_speech::{Hints, Language, RecognizeError};
use antiphon_models_text::Style;

use super::sound::{Sound, SoundError};
use crate::ahead::read_ahead;
use crate::hearing::{Hearing, HearingError, Means};

/// Warnings beyond this are left out.
const MOST_WARNINGS: usize = 20;
/// A pool that has no place is asked again this often.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of a recording before it is heard.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// What results call it.
    pub(crate) name: String,
    /// One file, or one a side.
    pub(crate) files: Vec<PathBuf>,
    /// Who is on each channel, in the order of the files; by default the customer first, as Antiphon records.
    pub(crate) roles: Option<Vec<Role>>,
    /// What is spoken.
    pub(crate) language: Language,
    /// What is likely to be said.
    pub(crate) hints: Hints,
    /// What is known besides.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) conversation: Conversation,
    pub(crate) warnings: Vec<String>,
}

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HearError {
    /// The recording cannot be read.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// The roles do not fit.
    #[error("the recording has {channels} channels and {roles} roles were given")]
    Roles {
        /// Channels there are.
        channels: usize,
        /// Roles that were given.
        roles: usize,
    },
    /// The recogniser does not hear it.
    #[error(transparent)]
    Hearing(#[from] HearingError),
    /// The recogniser failed in the midst of it.
    #[error("the recogniser failed: {0}")]
    Recognizer(RecognizeError),
}

impl HearError {
    /// Stable.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Sound(SoundError::Empty { .. }) => "audio.empty",
            Self::Sound(SoundError::Channels { .. }) => "audio.channels",
            Self::Sound(SoundError::Read(_)) => "audio.unreadable",
            Self::Roles { .. } => "audio.roles",
            Self::Hearing(HearingError::Deaf) => "recognizer.none",
            Self::Hearing(_) | Self::Recognizer(_) => "recognizer.failed",
        }
    }
}

/// Hears a recording as batch work: it waits for a place in the pool as long as it takes. `progress` is told how much was
/// taken in and how long the recording says it is.
///
/// # Errors
/// [`HearError`].
pub(crate) async fn hear(
    means: Means<'_>,
    ask: &Ask,
    subject: &Subject,
    progress: &mut (dyn FnMut(Span, Option<Span>) + Send),
) -> Result<Heard, HearError> {
    let files = subject.files.clone();
    let open = tokio::task::spawn_blocking(move || Sound::open(&files)).await;
    let sound = open.map_err(|_| HearingError::Stuck)??;
    let (rate, channels) = (sound.rate(), sound.channels());
    let mut warnings = Vec::new();
    let roles = roles(subject, channels, &mut warnings)?;
    let settings = Settings {
        format: Format { coding: Coding::Linear16, rate, channels },
        language: Some(subject.language.clone()),
        identify: Identify::No,
        hints: subject.hints.clone(),
        endpoint: None,
        style: Style::default(),
        idle: None,
    };
    let (mut hearing, mut told) = loop {
        match Hearing::open(means, subject.language.clone(), ask, &settings).await {
            Err(HearingError::Pool(PoolError::Refused(refusal))) => {
                // Live calls go first; recordings wait.
                let after = Duration::from_millis(refusal.retry_after.millis());
                tokio::time::sleep(after.clamp(AGAIN, AGAIN * 20)).await;
            }
            opened => break opened?,
        }
    };
    hearing.want_partials(false);
    hearing.note_voices();
    let length = sound.duration();
    let (mut blocks, reading) = read_ahead(sound, Sound::next_block);
    let mut turns: Vec<Turn> = Vec::new();
    let mut failure = None;
    let mut take = |(track, event): (usize, StreamEvent), warnings: &mut Vec<String>| match event {
        StreamEvent::Final(said) => turns.push(Turn { track, said, tone: None }),
        StreamEvent::Failed(error) => {
            if warnings.len() < MOST_WARNINGS {
                warnings.push(format!("channel {}: an utterance was lost: {error}", track + 1));
            }
            failure = Some(error);
        }
        StreamEvent::TakenOver { .. } => failure = None,
        _ => {}
    };
    while let Some(block) = blocks.recv().await {
        hearing.push_pcm(&block?).await?;
        progress(hearing.duration(), length);
        while let Some(event) = told.try_recv() {
            take(event, &mut warnings);
        }
    }
    if let Ok(sound) = reading.await {
        warnings.extend(sound.warnings());
    }
    let heard = hearing.duration();
    let voices = hearing.finish().await?;
    while let Some(event) = told.recv().await {
        take(event, &mut warnings);
    }
    if let Some(error) = failure.filter(|_| turns.is_empty()) {
        return Err(HearError::Recognizer(error));
    }
    turns.sort_by_key(|turn| (turn.said.start, turn.track));
    for turn in &mut turns {
        let at = Stretch { start: turn.said.start, end: turn.said.end };
        turn.tone = voices.get(turn.track).and_then(|voice| voice.tone.tone(at));
    }
    let tracks = roles.into_iter().zip(voices).map(|(role, voice)| Track { role, speech: voice.speech });
    let conversation = Conversation {
        id: subject.name.clone(),
        language: subject.language.clone(),
        tracks: tracks.collect(),
        turns,
        holds: Vec::new(),
        heard,
        finished: true,
        metadata: subject.metadata.clone(),
    };
    Ok(Heard { conversation, warnings })
}

/// Who is on which channel.
fn roles(subject: &Subject, channels: usize, warnings: &mut Vec<String>) -> Result<Vec<Role>, HearError> {
    if let Some(roles) = &subject.roles {
        if roles.len() != channels {
            return Err(HearError::Roles { channels, roles: roles.len() });
        }
        return Ok(roles.clone());
    }
    if channels == 1 {
        warnings.push(
            "one channel: who speaks cannot be told, so rules about the agent or the customer find nothing; send two \
             channels, one file a side, or name the channel's role"
                .to_owned(),
        );
        return Ok(vec![Role::Other]);
    }
    let mut roles = vec![Role::Other; channels];
    roles[0] = Role::Customer;
    roles[1] = Role::Agent;
    Ok(roles)
}
