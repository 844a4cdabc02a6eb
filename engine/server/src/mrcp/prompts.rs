//! What a session says: prompts and pauses, made at the same time and played one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::Prompt;
use antiphon_engine_mrcp::SpeechCause;
use antiphon_media_frame::{SampleRate, Span};
use antiphon_media_plane::{Clip, ClipId, LegCommand, LegControl, ShardError, Sound};
use tokio::sync::mpsc;

use super::News;
use crate::mouth::{Mouth, MouthError};

/// How long a voice may take to its first sound.
const PREPARE: Duration = Duration::from_secs(10);

/// Clips on their way to the leg, in order.
pub(super) struct Prompts {
    mouth: Arc<Mouth>,
    leg: LegControl,
    rate: SampleRate,
    news: mpsc::Sender<News>,
    waiting: VecDeque<(u32, Option<Sound>)>,
}

impl Prompts {
    pub(super) fn new(
        mouth: Arc<Mouth>,
        leg: LegControl,
        rate: SampleRate,
        news: mpsc::Sender<News>,
    ) -> Self {
        Self { mouth, leg, rate, news, waiting: VecDeque::new() }
    }

    /// Has a prompt made; [`News::Prepared`] follows.
    pub(super) fn say(&mut self, clip: u32, prompt: Prompt, skip: Span) {
        self.waiting.push_back((clip, None));
        let (mouth, news, rate) = (Arc::clone(&self.mouth), self.news.clone(), self.rate);
        tokio::spawn(async move {
            let making = tokio::task::spawn_blocking(move || make(&mouth, prompt, rate, skip));
            let late = || (SpeechCause::Error, "the voice takes too long".to_owned());
            let made = match tokio::time::timeout(PREPARE, making).await {
                Ok(Ok(made)) => made.map_err(|error| (cause_of(&error), error.to_string())),
                Ok(Err(_)) | Err(_) => Err(late()),
            };
            // The session may be over.
            let _ = news.send(News::Prepared { clip, made }).await;
        });
    }

    /// Is silent for a while.
    pub(super) fn pause(&mut self, clip: u32, length: Span) -> Result<(), ShardError> {
        let silence = vec![0; self.rate.samples(length)];
        self.waiting.push_back((clip, Some(Sound::Whole(silence.into(), self.rate))));
        self.play()
    }

    /// A prompt is made; one that nobody wants any more is dropped.
    pub(super) fn made(&mut self, clip: u32, sound: Sound) -> Result<(), ShardError> {
        if let Some((_, slot)) = self.waiting.iter_mut().find(|(waiting, _)| *waiting == clip) {
            *slot = Some(sound);
        }
        self.play()
    }

    /// A prompt could not be made; whether anybody still wants to know.
    pub(super) fn failed(&mut self, clip: u32) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != clip);
        self.waiting.len() < before
    }

    /// Stops; the clips that were never handed to the leg.
    pub(super) fn hush(&mut self) -> Result<Vec<u32>, ShardError> {
        self.leg.send(LegCommand::Stop)?;
        Ok(self.waiting.drain(..).map(|(clip, _)| clip).collect())
    }

    /// Hands over what is ready, in order.
    fn play(&mut self) -> Result<(), ShardError> {
        while self.waiting.front().is_some_and(|(_, sound)| sound.is_some()) {
            let Some((clip, Some(sound))) = self.waiting.pop_front() else { break };
            let clip = Clip { id: ClipId(clip), sound, interruptible: false, repeat: false };
            self.leg.send(LegCommand::Play(clip))?;
        }
        Ok(())
    }
}

/// Makes a prompt, but for what has been heard of it already. Blocks.
fn make(mouth: &Arc<Mouth>, prompt: Prompt, rate: SampleRate, skip: Span) -> Result<Sound, MouthError> {
    let prompts = [prompt];
    if skip == Span::ZERO {
        return Ok(mouth.prepare(&prompts, rate)?.sound);
    }
    let whole = mouth.whole(&prompts, rate)?;
    let rest = whole.get(rate.samples(skip)..).unwrap_or_default();
    Ok(Sound::Whole(rest.into(), rate))
}

fn cause_of(error: &MouthError) -> SpeechCause {
    match error {
        MouthError::NoVoice { .. } => SpeechCause::LanguageUnsupported,
        _ => SpeechCause::Error,
    }
}
