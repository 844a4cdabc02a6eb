//! The resource `speechsynth` (RFC 6787 section 8): a queue of things to say, one of them under way.

use std::collections::VecDeque;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, SpeechRequest};

use crate::body::parts;
use crate::message::{Message, RequestState, Start};
use crate::parameters::{Status, Wrong, flag, ids, list, read};
use crate::recogniser::Session;
use crate::ssml::{self, Piece};

/// SPEAKs that wait at most.
const QUEUE: usize = 16;
/// Pieces that are handed out ahead of the one that plays, so that there is no gap between them.
const AHEAD: usize = 3;

/// Why a SPEAK is over (RFC 6787 section 8.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeechCause {
    /// Said to its end.
    Normal,
    /// Cut by the caller.
    BargeIn,
    /// The SSML cannot be read.
    ParseFailure,
    /// The voice failed.
    Error,
    /// No voice speaks the language.
    LanguageUnsupported,
}

impl SpeechCause {
    /// As it is written.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "000 normal",
            Self::BargeIn => "001 barge-in",
            Self::ParseFailure => "002 parse-failure",
            Self::Error => "004 error",
            Self::LanguageUnsupported => "005 language-unsupported",
        }
    }
}

/// What is wanted of whoever plays.
#[derive(Clone, Debug, PartialEq)]
pub enum SpeakerOutput {
    /// A message for the client.
    Send(Message),
    /// Say this after what was asked for before.
    Say {
        /// Names it in [`Speaker::ended`], which is to follow once, whatever becomes of it.
        clip: u32,
        /// What is said.
        text: String,
        /// Its language.
        language: Language,
        /// The voice asked for.
        voice: Option<String>,
        /// How much of it has been said already.
        skip: Span,
    },
    /// Be silent for so long, after what was asked for before.
    Silence {
        /// Names it.
        clip: u32,
        /// How long.
        length: Span,
    },
    /// Stop at once, and forget what was asked for.
    Hush,
}

/// How a clip ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Played to its end.
    Played,
    /// Stopped, after so much of it.
    Cut {
        /// How much was played.
        played: Span,
    },
    /// It could not be said.
    Failed {
        /// Why.
        cause: SpeechCause,
        /// In words.
        reason: String,
    },
}

#[derive(Clone, Debug)]
struct Manner {
    language: Language,
    voice: Option<String>,
    kill: bool,
}

struct Speak {
    id: u32,
    pieces: Vec<Piece>,
    kill: bool,
}

/// A clip that was handed out.
#[derive(Clone, Copy)]
struct Out {
    clip: u32,
    piece: usize,
    skip: Span,
}

struct Active {
    speak: Speak,
    /// The piece that is handed out next.
    next: usize,
    /// Pieces before this one are over.
    passed: usize,
    out: VecDeque<Out>,
    paused: bool,
    /// Where it goes on, while the clips that were cut come back.
    resume: Option<(usize, Span)>,
}

/// The state machine.
pub struct Speaker {
    session: Session,
    manner: Manner,
    active: Option<Active>,
    queue: VecDeque<Speak>,
    outputs: VecDeque<SpeakerOutput>,
    clips: u32,
    last_id: Option<u32>,
    marker: Option<String>,
}

impl Speaker {
    /// A speaker that is silent.
    #[must_use]
    pub fn new(session: Session) -> Self {
        let manner = Manner { language: session.language.clone(), voice: None, kill: true };
        Self {
            session,
            manner,
            active: None,
            queue: VecDeque::new(),
            outputs: VecDeque::new(),
            clips: 0,
            last_id: None,
            marker: None,
        }
    }

    /// The next thing wanted.
    pub fn poll_output(&mut self) -> Option<SpeakerOutput> {
        self.outputs.pop_front()
    }

    /// Whether something is being said, or is on hold.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.active.is_some()
    }

    /// A request came; anything else is left alone.
    pub fn request(&mut self, now: MediaTime, message: &Message) {
        let Start::Request { method, id } = &message.start else { return };
        if self.last_id.is_some_and(|last| *id <= last) {
            return self.refuse(*id, Status::OutOfOrder, "the number of a request is above the one before");
        }
        self.last_id = Some(*id);
        let done = match method.as_str() {
            "SPEAK" => self.speak(now, *id, message),
            "STOP" => self.stop(now, *id, message),
            "PAUSE" => self.pause(*id),
            "RESUME" => self.resume(*id),
            "BARGE-IN-OCCURRED" => {
                let stopped = self.cut(|speak| speak.kill);
                self.stopped(now, *id, &stopped);
                Ok(())
            }
            "SET-PARAMS" => self.set(*id, message),
            "GET-PARAMS" => {
                self.tell_parameters(*id, message);
                Ok(())
            }
            other => {
                let other: String = other.chars().take(64).collect();
                self.refuse(*id, Status::NotAllowed, &format!("{other} is not served"));
                Ok(())
            }
        };
        if let Err(wrong) = done {
            let value = message.headers.value(wrong.header).unwrap_or_default().to_owned();
            let response = self.response(*id, wrong.status, RequestState::Complete).with(wrong.header, value);
            self.send(response);
        }
    }

    /// A clip has begun to be played: marks in front of it are passed.
    pub fn began(&mut self, now: MediaTime, clip: u32) {
        if let Some(active) = &self.active
            && let Some(out) = active.out.iter().find(|out| out.clip == clip)
        {
            let piece = out.piece;
            self.pass(now, piece);
        }
    }

    /// A clip is over.
    pub fn ended(&mut self, now: MediaTime, clip: u32, how: Ended) {
        let Some(active) = &mut self.active else { return };
        let Some(at) = active.out.iter().position(|out| out.clip == clip) else { return };
        let Some(out) = active.out.remove(at) else { return };
        match how {
            Ended::Failed { cause, reason } => {
                let id = active.speak.id;
                self.active = None;
                self.outputs.push_back(SpeakerOutput::Hush);
                self.complete(now, id, cause, Some(&reason));
                self.next(now);
            }
            Ended::Cut { played } => {
                let from = (out.piece, out.skip + played);
                if active.resume.is_none_or(|before| from.0 < before.0) {
                    active.resume = Some(from);
                }
                self.go_on(now);
            }
            Ended::Played => {
                self.pass(now, out.piece + 1);
                self.go_on(now);
            }
        }
    }

    /// The caller speaks or presses a key, as this server has heard itself: what may be cut is cut.
    pub fn barge_in(&mut self, now: MediaTime) {
        let stopped = self.cut(|speak| speak.kill);
        for id in &stopped {
            self.complete(now, *id, SpeechCause::BargeIn, None);
        }
        self.next(now);
    }

    fn speak(&mut self, now: MediaTime, id: u32, message: &Message) -> Result<(), Wrong> {
        let manner = self.manner(message)?;
        let pieces = match pieces(message, &manner) {
            Ok(pieces) => pieces,
            Err((status, reason)) => {
                let response = self
                    .response(id, status, RequestState::Complete)
                    .with("Completion-Cause", SpeechCause::ParseFailure.text())
                    .with("Completion-Reason", reason);
                self.send(response);
                return Ok(());
            }
        };
        if self.queue.len() == QUEUE {
            self.refuse(id, Status::Failed, "16 requests wait already");
            return Ok(());
        }
        let waits = self.active.is_some() || !self.queue.is_empty();
        self.queue.push_back(Speak { id, pieces, kill: manner.kill });
        if waits {
            let response = self.response(id, Status::Success, RequestState::Pending);
            self.send(response);
            return Ok(());
        }
        self.marker = Some(self.timestamp(now));
        let response = self.marked(self.response(id, Status::Success, RequestState::InProgress));
        self.send(response);
        self.begin(now);
        Ok(())
    }

    /// Begins with the first that waits.
    fn begin(&mut self, now: MediaTime) {
        let Some(speak) = self.queue.pop_front() else { return };
        self.active =
            Some(Active { speak, next: 0, passed: 0, out: VecDeque::new(), paused: false, resume: None });
        self.go_on(now);
    }

    /// One that waited has its turn.
    fn next(&mut self, now: MediaTime) {
        while self.active.is_none()
            && let Some(id) = self.queue.front().map(|speak| speak.id)
        {
            self.marker = Some(self.timestamp(now));
            let event = Message::event("SPEECH-MARKER", id, RequestState::InProgress)
                .with("Channel-Identifier", self.session.channel.clone());
            let event = self.marked(event);
            self.send(event);
            self.begin(now);
        }
    }

    /// Hands pieces out, or ends.
    fn go_on(&mut self, now: MediaTime) {
        let Some(active) = &mut self.active else { return };
        if active.paused {
            return;
        }
        let mut skip = Span::ZERO;
        if let Some((piece, played)) = active.resume {
            // All that was cut has to be back before it is known where it goes on.
            if !active.out.is_empty() {
                return;
            }
            (active.next, skip, active.resume) = (piece, played, None);
        }
        while active.out.len() < AHEAD
            && let Some(piece) = active.speak.pieces.get(active.next)
        {
            let clip = self.clips;
            let output = match piece {
                Piece::Mark(_) => None,
                Piece::Say { text, language, voice } => Some(SpeakerOutput::Say {
                    clip,
                    text: text.clone(),
                    language: language.clone(),
                    voice: voice.clone(),
                    skip,
                }),
                Piece::Pause(length) => {
                    Some(SpeakerOutput::Silence { clip, length: length.saturating_sub(skip) })
                }
            };
            if let Some(output) = output {
                self.clips = self.clips.wrapping_add(1);
                active.out.push_back(Out { clip, piece: active.next, skip });
                self.outputs.push_back(output);
                skip = Span::ZERO;
            }
            active.next += 1;
        }
        if active.out.is_empty() {
            let (id, end) = (active.speak.id, active.speak.pieces.len());
            self.pass(now, end);
            self.active = None;
            self.complete(now, id, SpeechCause::Normal, None);
            self.next(now);
        }
    }

    /// Tells the marks before piece `to`.
    fn pass(&mut self, now: MediaTime, to: usize) {
        let Some(active) = &mut self.active else { return };
        let (id, from) = (active.speak.id, active.passed);
        // Marks behind the last word are told with its end, those between when the next is heard.
        let pieces = &active.speak.pieces;
        let to = pieces[to.min(pieces.len())..]
            .iter()
            .position(|piece| !matches!(piece, Piece::Mark(_)))
            .map_or(pieces.len(), |more| if more == 0 { to } else { to + more });
        active.passed = active.passed.max(to);
        let marks: Vec<String> = active.speak.pieces[from.min(to)..to]
            .iter()
            .filter_map(|piece| match piece {
                Piece::Mark(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        for name in marks {
            self.marker = Some(format!("{};{name}", self.timestamp(now)));
            let event = Message::event("SPEECH-MARKER", id, RequestState::InProgress)
                .with("Channel-Identifier", self.session.channel.clone());
            let event = self.marked(event);
            self.send(event);
        }
    }

    fn stop(&mut self, now: MediaTime, id: u32, message: &Message) -> Result<(), Wrong> {
        let only = read(message, "Active-Request-Id-List", ids)?;
        let stopped = self.cut(|speak| only.as_ref().is_none_or(|only| only.contains(&speak.id)));
        self.stopped(now, id, &stopped);
        Ok(())
    }

    fn stopped(&mut self, now: MediaTime, id: u32, stopped: &[u32]) {
        let mut response = self.response(id, Status::Success, RequestState::Complete);
        if !stopped.is_empty() {
            response = self.marked(response.with("Active-Request-Id-List", list(stopped)));
        }
        self.send(response);
        self.next(now);
    }

    /// Ends what `which` says, without a word about it.
    fn cut(&mut self, which: impl Fn(&Speak) -> bool) -> Vec<u32> {
        let mut stopped = Vec::new();
        if let Some(active) = self.active.take_if(|active| which(&active.speak)) {
            stopped.push(active.speak.id);
            self.outputs.push_back(SpeakerOutput::Hush);
        }
        self.queue.retain(|speak| {
            let ends = which(speak);
            if ends {
                stopped.push(speak.id);
            }
            !ends
        });
        stopped
    }

    fn pause(&mut self, id: u32) -> Result<(), Wrong> {
        let Some(active) = &mut self.active else {
            self.refuse(id, Status::NotValidInState, "nothing is being said");
            return Ok(());
        };
        let speaking = active.speak.id;
        if !std::mem::replace(&mut active.paused, true) {
            self.outputs.push_back(SpeakerOutput::Hush);
        }
        self.listed(id, speaking);
        Ok(())
    }

    fn resume(&mut self, id: u32) -> Result<(), Wrong> {
        let Some(active) = &mut self.active else {
            self.refuse(id, Status::NotValidInState, "nothing is being said");
            return Ok(());
        };
        let (speaking, paused) = (active.speak.id, std::mem::replace(&mut active.paused, false));
        self.listed(id, speaking);
        if paused {
            // The time is that of no event: nothing ends by going on.
            self.go_on(MediaTime::ZERO);
        }
        Ok(())
    }

    fn listed(&mut self, id: u32, speaking: u32) {
        let response = self.response(id, Status::Success, RequestState::Complete);
        self.send(response.with("Active-Request-Id-List", list(&[speaking])));
    }

    fn set(&mut self, id: u32, message: &Message) -> Result<(), Wrong> {
        let unknown = message
            .headers
            .iter()
            .find(|(name, _)| !ALWAYS.iter().chain(PARAMETERS).any(|known| known.eq_ignore_ascii_case(name)));
        if let Some((name, value)) = unknown {
            let response = self.response(id, Status::UnsupportedHeader, RequestState::Complete);
            let response = response.with(name, value);
            self.send(response);
            return Ok(());
        }
        self.manner = self.manner(message)?;
        let response = self.response(id, Status::Success, RequestState::Complete);
        self.send(response);
        Ok(())
    }

    fn tell_parameters(&mut self, id: u32, message: &Message) {
        let asked = |name: &str| message.headers.value(name).is_some();
        let all = !PARAMETERS.iter().any(|name| asked(name));
        let mut response = self.response(id, Status::Success, RequestState::Complete);
        for name in PARAMETERS.iter().filter(|name| all || asked(name)) {
            let value = match *name {
                "Kill-On-Barge-In" => self.manner.kill.to_string(),
                "Speech-Language" => self.manner.language.tag().to_owned(),
                _ => self.manner.voice.clone().unwrap_or_default(),
            };
            response = response.with(name, value);
        }
        self.send(response);
    }

    fn manner(&self, message: &Message) -> Result<Manner, Wrong> {
        let language = read(message, "Speech-Language", Language::parse)?;
        let voice = read(message, "Voice-Name", |name| (name.len() <= 128).then(|| name.to_owned()))?;
        let kill = read(message, "Kill-On-Barge-In", flag)?;
        Ok(Manner {
            language: language.unwrap_or_else(|| self.manner.language.clone()),
            voice: voice.filter(|name| !name.is_empty()).or_else(|| self.manner.voice.clone()),
            kill: kill.unwrap_or(self.manner.kill),
        })
    }

    fn complete(&mut self, now: MediaTime, id: u32, cause: SpeechCause, reason: Option<&str>) {
        if self.marker.is_none() {
            self.marker = Some(self.timestamp(now));
        }
        let mut event = Message::event("SPEAK-COMPLETE", id, RequestState::Complete)
            .with("Channel-Identifier", self.session.channel.clone())
            .with("Completion-Cause", cause.text());
        if let Some(reason) = reason {
            event = event.with("Completion-Reason", reason);
        }
        let event = self.marked(event);
        self.send(event);
    }

    fn timestamp(&self, now: MediaTime) -> String {
        format!("timestamp={}", self.session.ntp(now))
    }

    fn marked(&self, message: Message) -> Message {
        match &self.marker {
            Some(marker) => message.with("Speech-Marker", marker.clone()),
            None => message,
        }
    }

    fn response(&self, id: u32, status: Status, state: RequestState) -> Message {
        Message::response(id, status.code(), state).with("Channel-Identifier", self.session.channel.clone())
    }

    fn refuse(&mut self, id: u32, status: Status, reason: &str) {
        let response = self.response(id, status, RequestState::Complete).with("Completion-Reason", reason);
        self.send(response);
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(SpeakerOutput::Send(message));
    }
}

/// Headers of any request.
const ALWAYS: &[&str] = &["Channel-Identifier", "Content-Type", "Vendor-Specific-Parameters", "Logging-Tag"];
const PARAMETERS: &[&str] = &["Kill-On-Barge-In", "Speech-Language", "Voice-Name"];

/// What a SPEAK is to say.
fn pieces(message: &Message, manner: &Manner) -> Result<Vec<Piece>, (Status, String)> {
    let entity = |error: String| (Status::UnsupportedEntity, error);
    let found = parts(message.headers.value("Content-Type"), None, &message.body)
        .map_err(|error| entity(error.to_string()))?;
    let mut pieces = Vec::new();
    for part in found {
        match part.kind.as_str() {
            "application/ssml+xml" | "application/synthesis+ssml" => {
                let read = ssml::read(&part.text, &manner.language, manner.voice.as_deref());
                pieces.extend(read.map_err(|error| (Status::Failed, error.to_string()))?);
            }
            "text/plain" => {
                if part.text.chars().count() > SpeechRequest::LONGEST {
                    return Err((Status::Failed, "a text of more than 10000 characters".to_owned()));
                }
                if part.text.chars().any(char::is_alphanumeric) {
                    let (language, voice) = (manner.language.clone(), manner.voice.clone());
                    pieces.push(Piece::Say { text: part.text, language, voice });
                }
            }
            other => {
                let other: String = other.chars().take(64).collect();
                return Err(entity(format!(
                    "{other} is not spoken; text/plain and application/ssml+xml are"
                )));
            }
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests;
