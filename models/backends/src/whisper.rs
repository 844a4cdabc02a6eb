//! whisper.cpp with any ggml model. One loaded model serves all streams, each with a state of its own.
//!
//! Whisper hears whole utterances, so partials are made by decoding the growing utterance again and again, and only
//! the words on which two decodes in a row agree are told (local agreement, Macháček et al. 2023).

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::agree::{Agreement, Heard, gather, spoken};
use antiphon_models_speech::{
    Axis, Engine, Hints, Hypothesis, Language, Partials, Recognition, RecognizeError, Recognizer,
    StreamConfig, Utterance, Word,
};
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState, get_lang_id,
    get_lang_str, install_logging_hooks,
};

use crate::settings::WhisperSettings;

const NAME: &str = "whisper";
const RATE: SampleRate = SampleRate::HZ_16000;
/// New sound between two decodes of the growing utterance, and where interim words are thinned.
const PARTIAL: Span = Span::from_millis(500);
const THINNED: Span = Span::from_millis(1_500);
/// Speech without an end is cut here: the model hears 30 s at once.
const LONGEST: Span = Span::from_secs(28);
/// Whisper refuses less than a tenth of a second and is unsure below one: shorter utterances are padded with silence.
const SHORTEST: Span = Span::from_secs(1);
/// Silence wanted after the last sound: its training clips rarely end in mid-word.
const TAIL: Span = Span::from_millis(300);
/// Characters of hints given as a prompt; the model reads 224 tokens of it at most.
const PROMPT: usize = 600;
/// The fastest speech there is, in tokens a second, and a few for the beginning: what goes on beyond is made up.
const TOKENS_HZ: u64 = 12;
const TOKENS_FIRST: u64 = 16;
/// Samples in a hundredth of a second, the unit of whisper's times.
const SAMPLES_PER_TICK: i64 = 160;
/// A segment is dropped where the model thinks it silence and is unsure of its words (Radford et al. 2022, 4.5).
const NO_SPEECH: f32 = 0.6;
const UNSURE: f32 = -1.0;
/// Peak below which nothing was said, of 1: -46 dBFS. Decoding silence makes whisper invent.
const QUIET: f32 = 0.005;

/// The whisper engine.
pub struct Whisper {
    context: Arc<WhisperContext>,
    threads: i32,
}

impl Whisper {
    /// Loads a ggml model file.
    ///
    /// # Errors
    /// [`RecognizeError::MissingModel`] where the file is not there, [`RecognizeError::Engine`] where it is no model.
    pub fn open(settings: &WhisperSettings) -> Result<Self, RecognizeError> {
        install_logging_hooks();
        if !settings.model.is_file() {
            return Err(RecognizeError::MissingModel {
                engine: NAME,
                what: "ggml model",
                path: settings.model.display().to_string(),
                advice: "set its path; any whisper.cpp model file serves".to_owned(),
            });
        }
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(settings.gpu);
        let context = WhisperContext::new_with_params(&settings.model, parameters).map_err(|e| failed(&e))?;
        Ok(Self { context: Arc::new(context), threads: i32::from(settings.threads.clamp(1, 64)) })
    }
}

fn failed(error: &impl std::fmt::Display) -> RecognizeError {
    RecognizeError::Engine { engine: NAME, message: error.to_string() }
}

impl Engine for Whisper {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rate(&self, _source: SampleRate) -> SampleRate {
        RATE
    }

    fn identifies(&self) -> bool {
        self.context.is_multilingual()
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        let language = config.language.primary();
        let finds_out = config.language.is_undetermined() && self.identifies();
        let known = finds_out || get_lang_id(&language).is_some();
        if !known || language != "en" && !self.context.is_multilingual() {
            return Err(RecognizeError::Language {
                engine: NAME,
                language: config.language.tag().to_owned(),
                advice: if known {
                    "this model is English only; take a multilingual one"
                } else {
                    "no model has it"
                }
                .to_owned(),
            });
        }
        Ok(Box::new(Stream {
            state: self.context.create_state().map_err(|e| failed(&e))?,
            context: Arc::clone(&self.context),
            threads: self.threads,
            language: (!finds_out).then_some(language),
            identified: None,
            prompt: config.hints.prose(PROMPT),
            axis: Axis::new(RATE),
            pcm: Vec::new(),
            partials: Partials::Normal,
            looked: 0,
            agreement: Agreement::default(),
            revision: 0,
            failed: false,
            partial: None,
            finals: VecDeque::new(),
        }))
    }
}

struct Stream {
    state: WhisperState,
    context: Arc<WhisperContext>,
    threads: i32,
    /// `None` where it finds out.
    language: Option<String>,
    /// What was spoken in the utterance under way, as far as it found out.
    identified: Option<&'static str>,
    prompt: String,
    axis: Axis,
    /// The utterance under way, -1 to 1.
    pcm: Vec<f32>,
    partials: Partials,
    looked: usize,
    agreement: Agreement,
    revision: u32,
    failed: bool,
    partial: Option<Hypothesis>,
    finals: VecDeque<Utterance>,
}

impl Stream {
    fn decode(&mut self) -> Result<Vec<Heard>, RecognizeError> {
        if self.pcm.iter().all(|s| s.abs() < QUIET) {
            return Ok(Vec::new());
        }
        let mut padded = Vec::new();
        let pcm = if self.pcm.len() < RATE.samples(SHORTEST) {
            padded.extend_from_slice(&self.pcm);
            padded.resize(RATE.samples(SHORTEST), 0.0);
            &padded
        } else {
            &self.pcm
        };
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        parameters.set_n_threads(self.threads);
        // Interim words keep to what the first of them found: to find out costs as much as to hear.
        parameters.set_language(self.language.as_deref().or(self.identified));
        parameters.set_translate(false);
        parameters.set_no_context(true);
        parameters.set_token_timestamps(true);
        parameters.set_suppress_blank(true);
        parameters.set_suppress_nst(true);
        // One pass: a decode that is begun again at other temperatures has no bound a call could wait for.
        parameters.set_temperature(0.0);
        parameters.set_temperature_inc(0.0);
        parameters.set_no_speech_thold(NO_SPEECH);
        let tokens = TOKENS_FIRST + TOKENS_HZ * RATE.span(pcm.len()).millis() / 1_000;
        parameters.set_max_tokens(i32::try_from(tokens).unwrap_or(i32::MAX));
        parameters.set_print_special(false);
        parameters.set_print_progress(false);
        parameters.set_print_realtime(false);
        parameters.set_print_timestamps(false);
        if !self.prompt.is_empty() {
            parameters.set_initial_prompt(&self.prompt);
        }
        self.state.full(parameters, pcm).map_err(|e| failed(&e))?;
        if self.language.is_none() {
            self.identified = get_lang_str(self.state.full_lang_id_from_state());
        }
        self.words()
    }

    fn words(&self) -> Result<Vec<Heard>, RecognizeError> {
        let end_of_text = self.context.token_eot();
        let mut out = Vec::new();
        for segment in self.state.as_iter() {
            let mut tokens = Vec::new();
            let mut surety = 0.0;
            for n in 0..segment.n_tokens() {
                let Some(token) = segment.get_token(n) else { continue };
                // Everything from the end-of-text token on is a mark, not text.
                if token.token_id() >= end_of_text {
                    continue;
                }
                let data = token.token_data();
                let bytes = token.to_bytes().map_err(|e| failed(&e))?;
                surety += data.p.max(1e-9).ln();
                tokens.push((bytes.to_vec(), data.t0, data.t1, data.p));
            }
            let sure = !tokens.is_empty() && surety / tokens.len() as f32 > UNSURE;
            if sure || segment.no_speech_probability() < NO_SPEECH {
                out.extend(gather(&tokens));
            }
        }
        Ok(spoken(out))
    }

    fn push_inner(&mut self, frame: &AudioFrame<'_>) -> Result<(), RecognizeError> {
        self.axis.push(frame);
        self.pcm.extend(frame.pcm.iter().map(|s| f32::from(*s) / 32_768.0));
        let every = self.partials.every(PARTIAL, THINNED);
        if every > Span::ZERO && self.axis.samples() - self.looked >= RATE.samples(every) {
            self.looked = self.axis.samples();
            let heard = self.decode()?;
            if let Some(text) = self.agreement.add(&heard) {
                self.revision += 1;
                self.partial = Some(Hypothesis { revision: self.revision, text, start: self.axis.start() });
            }
        }
        if self.axis.samples() >= RATE.samples(LONGEST) {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RecognizeError> {
        // Of the whole utterance it knows best.
        self.identified = None;
        let heard = self.decode()?;
        self.finals.extend(self.utterance(&heard));
        self.clear();
        Ok(())
    }

    fn utterance(&self, heard: &[Heard]) -> Option<Utterance> {
        let sample = |tick: i64| usize::try_from(tick.saturating_mul(SAMPLES_PER_TICK)).unwrap_or(0);
        let mut last = self.axis.start();
        let mut words = Vec::new();
        for word in heard {
            let start = self.axis.at(sample(word.first)).max(last);
            let end = self.axis.until(sample(word.last)).max(start);
            last = end;
            words.push(Word { text: word.text.clone(), start, end, confidence: word.confidence });
        }
        Utterance::of(words, self.identified.and_then(Language::parse))
    }

    fn clear(&mut self) {
        self.axis.clear();
        self.pcm.clear();
        self.looked = 0;
        self.identified = None;
        self.agreement = Agreement::default();
        self.revision = 0;
        self.partial = None;
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        RATE
    }

    fn tail(&self) -> Span {
        TAIL
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        if frame.rate != RATE {
            return Err(RecognizeError::Rate { expected: RATE, found: frame.rate });
        }
        if self.failed {
            return Err(failed(&"it failed before; reset the stream"));
        }
        let result = self.push_inner(&frame);
        self.failed = result.is_err();
        result
    }

    fn poll(&mut self) -> Option<Recognition> {
        if let Some(utterance) = self.finals.pop_front() {
            return Some(Recognition::Final(utterance));
        }
        self.partial.take().map(Recognition::Partial)
    }

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        self.prompt = hints.prose(PROMPT);
        Ok(())
    }

    fn partials(&mut self, wanted: Partials) {
        self.partials = wanted;
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        if self.failed {
            return Err(failed(&"it failed before; reset the stream"));
        }
        let result = self.finish();
        self.failed = result.is_err();
        result
    }

    fn reset(&mut self) {
        self.failed = false;
        self.finals.clear();
        self.clear();
    }
}

#[cfg(test)]
mod tests;
