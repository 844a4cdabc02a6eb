//! A voice elsewhere, asked as OpenAI's `/v1/audio/speech` is; what comes is played while it comes.

use std::io::Read;
use std::time::Duration;

use antiphon_media_frame::{AudioBuf, MediaTime, SampleRate, Span};
use antiphon_models_speech::{SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};
use serde_json::{Value, json};
use ureq::http::{Response, header};
use ureq::{Agent, Body};

use crate::settings::{RemoteFormat, RemoteVoiceSettings};
use crate::wav;

const NAME: &str = "remote";
/// The most sound one utterance may have, as for espeak.
const LONGEST: Span = Span::from_secs(30 * 60);
/// The most sound handed out at a time; less where less has come.
const CHUNK: Span = Span::from_millis(100);
/// How long until it is tried again; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// Octets that are read of what a service says against us.
const COMPLAINT: u64 = 16 << 10;
/// The most attempts after the first one.
const RETRIES: u32 = 10;

/// A service that speaks. Each utterance is a request of its own, and nothing waits longer than the settings say: for the
/// connection, for the first sound, for more of it.
pub struct RemoteVoice {
    settings: RemoteVoiceSettings,
    rate: SampleRate,
    agent: Agent,
}

impl RemoteVoice {
    /// Checks the settings. The service is not asked anything yet.
    ///
    /// # Errors
    /// An address that is none, an impossible rate, a key that cannot be found.
    pub fn open(settings: &RemoteVoiceSettings) -> Result<Self, SynthesizeError> {
        let mut settings = settings.clone();
        if !["http://", "https://"].iter().any(|scheme| settings.url.starts_with(scheme)) {
            return Err(failed(format!(
                "voice.remote.url is `{}`, but must begin with http:// or https://",
                settings.url.chars().take(80).collect::<String>().escape_debug()
            )));
        }
        let rate = SampleRate::new(settings.rate_hz).filter(|rate| (8_000..=48_000).contains(&rate.hz()));
        let rate = rate.ok_or_else(|| {
            failed(format!("voice.remote.rate_hz is {}: 8000 to 48000 are taken", settings.rate_hz))
        })?;
        if let Some(variable) = &settings.key_env {
            let key = std::env::var(variable)
                .map_err(|_| failed(format!("voice.remote.key_env names {variable}, which is not set")))?;
            settings.key = key.into();
        }
        let answer = Some(Duration::from(settings.answer()));
        let agent = Agent::config_builder()
            .timeout_resolve(Some(settings.connect().into()))
            .timeout_connect(Some(settings.connect().into()))
            .timeout_send_request(answer)
            .timeout_send_body(answer)
            .timeout_recv_response(answer)
            .timeout_per_read(answer)
            .http_status_as_error(false)
            // A key is for the place it was given for.
            .max_redirects(0)
            .build();
        Ok(Self { settings, rate, agent: agent.into() })
    }

    /// One attempt: the answer, or why there is none and whether another attempt may do better.
    fn ask(&self, request: &SpeechRequest) -> Result<Response<Body>, (SynthesizeError, bool)> {
        let format = match self.settings.format {
            RemoteFormat::Pcm => "pcm",
            RemoteFormat::Wav => "wav",
        };
        let body = json!({
            "model": self.settings.model,
            "input": request.text,
            "voice": request.voice.as_deref().unwrap_or(&self.settings.voice),
            "response_format": format,
        });
        let mut post = self.agent.post(&self.settings.url).header(header::CONTENT_TYPE, "application/json");
        let key = self.settings.key.expose();
        if !key.is_empty() {
            post = post.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let mut answer = post.send(body.to_string()).map_err(|error| match error {
            ureq::Error::Timeout(which) => (failed(format!("no answer in time ({which})")), false),
            error => (failed(error.to_string()), true),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().with_config().limit(COMPLAINT).read_to_string().unwrap_or_default();
        let said: Option<Value> = serde_json::from_str(&text).ok();
        let said = said.as_ref().and_then(|said| said["error"]["message"].as_str()).unwrap_or_default();
        let said: String = said.chars().take(200).collect();
        let error = match status.as_u16() {
            400 | 404 | 422 if said.to_lowercase().contains("voice") => SynthesizeError::Voice {
                engine: NAME,
                voice: format!("{:?}", request.voice.as_deref().unwrap_or(&self.settings.voice)),
                advice: format!("the service answers {status} {said}"),
            },
            _ => failed(format!("the service answers {status} {said}")),
        };
        Err((error, status.is_server_error() || status.as_u16() == 429))
    }
}

impl Synthesizer for RemoteVoice {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Returns with the first sound.
    #[expect(clippy::disallowed_methods, reason = "a request that failed waits before it is made again")]
    fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
        let refuse = |reason: &str| SynthesizeError::Text { engine: NAME, reason: reason.to_owned() };
        if !request.text.chars().any(char::is_alphanumeric) {
            return Err(refuse("it has no letters or digits"));
        }
        if request.text.chars().count() > SpeechRequest::LONGEST {
            return Err(refuse("it is too long"));
        }
        let mut pause = PAUSE;
        let mut left = self.settings.retries.min(RETRIES);
        loop {
            match self.ask(request) {
                Ok(answer) => return Ok(Box::new(Stream::begin(answer, self.settings.format, self.rate)?)),
                Err((error, again)) if !again || left == 0 => return Err(error),
                Err((error, _)) => tracing::debug!(%error, "a service that speaks is asked again"),
            }
            left -= 1;
            std::thread::sleep(pause);
            pause *= 2;
        }
    }
}

fn failed(message: String) -> SynthesizeError {
    SynthesizeError::Engine { engine: NAME, message }
}

/// The body of an answer.
struct Stream<R> {
    body: R,
    rate: SampleRate,
    /// Octets that were read and not handed out: those of the beginning, or half a sample.
    rest: Vec<u8>,
    /// Octets of sound that are still to come, where the header says so.
    left: Option<usize>,
    at: MediaTime,
    ended: bool,
}

impl Stream<ureq::BodyReader<'static>> {
    fn begin(answer: Response<Body>, asked: RemoteFormat, rate: SampleRate) -> Result<Self, SynthesizeError> {
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let wrong =
            ["application/json", "text/", "audio/mpeg", "audio/ogg", "audio/opus", "audio/aac", "audio/flac"];
        if wrong.iter().any(|wrong| kind.starts_with(wrong)) {
            let kind: String = kind.chars().take(60).collect();
            return Err(failed(format!("the service answers with {kind:?}, which was not asked for")));
        }
        Self::over(answer.into_body().into_reader(), asked, rate)
    }
}

impl<R: Read> Stream<R> {
    /// Waits for the first octets; whatever was asked for, a header is read as one.
    fn over(mut body: R, asked: RemoteFormat, rate: SampleRate) -> Result<Self, SynthesizeError> {
        let mut first = [0; 4];
        let mut filled = 0;
        while filled < first.len() {
            match read(&mut body, &mut first[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            return Err(failed("the service answers with no sound".to_owned()));
        }
        let mut stream = Self {
            body,
            rate,
            rest: first[..filled].to_vec(),
            left: None,
            at: MediaTime::ZERO,
            ended: false,
        };
        if first == *b"RIFF" {
            let format = wav::read_header(&mut first.chain(&mut stream.body))
                .map_err(|e| failed(format!("the service answers with a WAV that is not taken: {e}")))?;
            stream.rest.clear();
            stream.rate = format.rate;
            // Who writes before the length is known puts a number here that means nothing.
            stream.left = Some(format.bytes as usize).filter(|bytes| (1..0x7fff_f000).contains(bytes));
        } else if asked == RemoteFormat::Wav {
            return Err(failed("the service answers with something that is no WAV".to_owned()));
        }
        Ok(stream)
    }
}

fn read(body: &mut impl Read, into: &mut [u8]) -> Result<usize, SynthesizeError> {
    loop {
        match body.read(into) {
            Ok(count) => return Ok(count),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(format!("the sound broke off: {e}"))),
        }
    }
}

impl<R: Read + Send> SpeechStream for Stream<R> {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
        while !self.ended {
            if self.at.since(MediaTime::ZERO) > LONGEST {
                self.ended = true;
                return Err(failed("the speech does not end".to_owned()));
            }
            let begun = self.rest.len();
            let room = self.rate.samples(CHUNK).max(4) * 2;
            let room = self.left.map_or(room, |left| room.min(left.saturating_sub(begun)));
            self.rest.resize(begun + room, 0);
            let count = if room == 0 { 0 } else { read(&mut self.body, &mut self.rest[begun..])? };
            self.rest.truncate(begun + count);
            self.ended = count == 0;
            let whole = self.rest.len() / 2 * 2;
            if whole == 0 {
                continue;
            }
            let pcm = self.rest[..whole].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            self.rest.drain(..whole);
            self.left = self.left.map(|left| left.saturating_sub(whole));
            let mut chunk = AudioBuf::voice(pcm, self.rate);
            chunk.at = self.at;
            self.at += chunk.span();
            return Ok(Some(chunk));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
