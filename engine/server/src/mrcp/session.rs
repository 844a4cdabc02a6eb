//! One session: a SIP dialog, its media, and the channels that steer both.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use antiphon_engine_call::Prompt;
use antiphon_engine_mrcp::control::{self, ControlAnswer};
use antiphon_engine_mrcp::{Ended, RecogniserOutput, Session as Terms, Speaker, SpeakerOutput};
use antiphon_media_frame::{Direction, MediaTime, SampleRate, Span};
use antiphon_media_plane::{ClipEnd, ClipId, LegCommand, LegEvent, LegHandle, ShardError, TapId};
use antiphon_media_sip::{Dialog, DialogEvent, IncomingCall, Peer, Responder, keys};
use antiphon_models_pool::StreamEvent;
use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::channel::{Channel, Machine};
use super::prompts::Prompts;
use super::{NEWS, News};
use crate::conversation::{Happening, inlet};
use crate::entrance::negotiate;
use crate::renegotiate::Media;
use crate::setup::{self, Door};
use crate::shared::{Shared, new_call_id};
use crate::trunks::Origin;

/// A session without a time-out of its own looks around this often.
const IDLE: Duration = Duration::from_secs(60);

/// Serves a session from its INVITE to its end.
pub(super) async fn serve(shared: &Arc<Shared>, mut incoming: IncomingCall, place: OwnedSemaphorePermit) {
    let origin = match incoming.peer() {
        Peer::Anonymous => Origin::Anonymous,
        Peer::Trunk(name) => Origin::Trunk(name.clone()),
        Peer::User(name) => Origin::User(name.clone()),
    };
    let profile = shared.profile(&origin);
    incoming.set_nat(profile.nat.into());
    let offer = incoming.offer().unwrap_or_default().to_owned();
    let (answer, agreed, local, pair) = match negotiate(shared, &incoming, &profile).await {
        Ok(terms) => terms,
        Err(refusal) => return refusal.tell_quietly(incoming),
    };
    let reject = |incoming: IncomingCall, status, why: &str| {
        if let Err(error) = incoming.reject(status, "", why) {
            tracing::debug!(%error, "a call could not be refused");
        }
    };
    let Some(agreed) = agreed else { return reject(incoming, 488, "an offer is needed") };
    let (leg_inlet, mut happenings) = inlet();
    let epoch = Instant::now();
    let door = Door { id: new_call_id(), epoch, nat: profile.nat.latches() };
    let (leg, rate) = match setup::open(shared, &door, &agreed, &local, pair, &leg_inlet) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "a session of MRCP could not be set up");
            return reject(incoming, error.cause().sip_status, "the session could not be set up");
        }
    };
    let (news, mut told) = mpsc::channel(NEWS);
    let prompts = Prompts::new(Arc::clone(&shared.mouth), leg.control(), rate, news.clone());
    // Keys that cannot come as events come as tones.
    if agreed.telephone_event.is_none()
        && let Err(error) = leg.send(LegCommand::InbandKeys(true))
    {
        tracing::warn!(%error, "keys of a session of MRCP are not listened for");
    }
    let media = Media::new(local, agreed, Arc::clone(&shared.identity));
    let name = format!("{:016x}", rand::rng().random::<u64>());
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut session = Session {
        shared: Arc::clone(shared),
        name,
        peer: incoming.source().ip(),
        epoch,
        unix,
        leg,
        rate,
        media,
        prompts,
        channels: BTreeMap::new(),
        news,
    };
    let answer = session.describe(&offer, &answer);
    if session.channels.is_empty() {
        return reject(incoming, 488, "none of these resources is served");
    }
    let dialog = match incoming.answer(&answer) {
        Ok(dialog) => dialog,
        Err(error) => return tracing::info!(%error, "a session of MRCP was given up"),
    };
    tracing::info!(session = session.name, channels = session.channels.len(), "a session of MRCP begins");
    let name = session.name.clone();
    match session.run(dialog, &mut happenings, &mut told).await {
        Ok(()) => tracing::info!(session = name, "a session of MRCP is over"),
        Err(error) => tracing::error!(session = name, %error, "a session of MRCP lost its media"),
    }
    drop(place);
}

/// Waits until all sessions are to end.
pub(super) async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = ending.wait_for(|ending| *ending).await;
}

struct Session {
    shared: Arc<Shared>,
    /// The part of the channels' identifiers before the resource.
    name: String,
    /// Where the client is.
    peer: IpAddr,
    epoch: Instant,
    /// The time of the day at the beginning.
    unix: Duration,
    leg: LegHandle,
    rate: SampleRate,
    media: Media,
    prompts: Prompts,
    /// By the `m=` line of the description.
    channels: BTreeMap<usize, Channel>,
    news: mpsc::Sender<News>,
}

impl Session {
    fn now(&self) -> MediaTime {
        MediaTime::ZERO + self.epoch.elapsed().into()
    }

    async fn run(
        mut self,
        mut dialog: Dialog,
        happenings: &mut mpsc::Receiver<Happening>,
        told: &mut mpsc::Receiver<News>,
    ) -> Result<(), ShardError> {
        let mut ending = self.shared.mrcp.ending.subscribe();
        let longest = tokio::time::sleep(self.shared.config.call.longest.0);
        tokio::pin!(longest);
        loop {
            let wait = self.timeout();
            tokio::select! {
                event = dialog.next() => match event {
                    DialogEvent::Bye { .. } | DialogEvent::Lost | DialogEvent::Expired => return Ok(()),
                    DialogEvent::ReInvite { sdp: Some(offer), responder } => self.renegotiate(&offer, responder).await?,
                    DialogEvent::Info { content_type, body } => {
                        if let Some((key, duration)) = keys::from_info(&content_type, &body) {
                            self.leg.send(LegCommand::KeyFromSignalling { key, duration: duration.into() })?;
                        }
                    }
                    // Dropped, what asks for an answer is refused.
                    _ => {}
                },
                Some(happening) = happenings.recv() => if let Happening::Leg(event) = happening
                    && self.heard_of_leg(&event)?
                {
                    return Ok(());
                },
                Some(news) = told.recv() => self.take(news)?,
                () = tokio::time::sleep(wait) => {
                    let now = self.now();
                    for line in self.lines() {
                        if let Some(Machine::Recogniser(recogniser)) = self.machine(line) {
                            recogniser.handle_timeout(now);
                        }
                        self.carry_out(line)?;
                    }
                }
                () = ended(&mut ending) => break,
                () = &mut longest => break,
            }
        }
        if let Err(error) = dialog.hang_up(None).await {
            tracing::debug!(%error, "a session of MRCP could not be ended");
        }
        Ok(())
    }

    /// How long nothing has to be done.
    fn timeout(&self) -> Duration {
        let due = self.channels.values().filter_map(|channel| match &channel.machine {
            Machine::Recogniser(recogniser) => recogniser.poll_timeout(),
            Machine::Speaker(_) => None,
        });
        let now = self.now();
        due.min().map_or(IDLE, |due| Duration::from_nanos(due.since(now).nanos()).min(IDLE))
    }

    fn lines(&self) -> Vec<usize> {
        self.channels.keys().copied().collect()
    }

    fn machine(&mut self, line: usize) -> Option<&mut Machine> {
        self.channels.get_mut(&line).map(|channel| &mut channel.machine)
    }

    /// Opens the channels of an offer, keeps those that stand, closes those that are switched off; `answer` is our
    /// description with all of them off.
    fn describe(&mut self, offer: &str, answer: &str) -> String {
        let port = self.shared.config.mrcp.listen.map_or(0, |listen| listen.port());
        let mut answers = Vec::new();
        for offered in control::offers(offer) {
            let Some(resource) = offered.resource.filter(|_| !offered.off && offered.active) else {
                self.channels.remove(&offered.index);
                continue;
            };
            let channel = format!("{}@{}", self.name, resource.name());
            let there = self.channels.get(&offered.index).is_some_and(|known| known.id == channel);
            // One resource of each kind: its identifier names it.
            if !there && self.channels.values().any(|known| known.id == channel) {
                continue;
            }
            if !there {
                let opened = Channel::open(&self.shared, resource, self.terms(&channel), &self.news);
                self.channels.insert(offered.index, opened);
            }
            answers.push(ControlAnswer {
                index: offered.index,
                port,
                // Answered as new, one that does not stand is opened.
                existing: offered.existing && self.shared.mrcp.connected(self.peer),
                channel,
                cmid: offered.cmid,
            });
        }
        control::answer(answer, &answers)
    }

    fn terms(&self, channel: &str) -> Terms {
        Terms {
            channel: channel.to_owned(),
            language: self.shared.language(),
            today: Some(jiff::Zoned::now().date().to_string()),
            unix: self.unix,
        }
    }

    async fn renegotiate(&mut self, offer: &str, responder: Responder) -> Result<(), ShardError> {
        let (answer, agreed) = match self.media.answer(offer) {
            Ok(answered) => answered,
            Err(error) => {
                tracing::info!(%error, "a re-INVITE is refused; the session goes on as it was");
                if let Err(error) = responder.reject(error.status()).await {
                    tracing::debug!(%error, "a re-INVITE could not be refused");
                }
                return Ok(());
            }
        };
        let answer = self.describe(offer, &answer);
        if let Err(error) = responder.answer(&answer).await {
            tracing::warn!(%error, "a re-INVITE could not be answered");
            return Ok(());
        }
        for command in self.media.settle(agreed).commands {
            self.leg.send(command)?;
        }
        Ok(())
    }

    /// Something happened to the media; whether they are gone.
    fn heard_of_leg(&mut self, event: &LegEvent) -> Result<bool, ShardError> {
        let now = self.now();
        match event {
            LegEvent::Key { key, .. } => {
                for line in self.lines() {
                    if let Some(Machine::Recogniser(recogniser)) = self.machine(line) {
                        recogniser.key(now, *key);
                    }
                    self.carry_out(line)?;
                }
            }
            LegEvent::PlayStarted { id, .. } => self.played(|speaker| speaker.began(now, id.0))?,
            LegEvent::PlayStopped { id: ClipId(clip), played, end, .. } => {
                let (clip, played) = (*clip, *played);
                let how = match end {
                    ClipEnd::Completed => Ended::Played,
                    _ => Ended::Cut { played },
                };
                self.played(|speaker| speaker.ended(now, clip, how.clone()))?;
            }
            LegEvent::Closed { .. } => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// Tells the speaker.
    fn played(&mut self, tell: impl Fn(&mut Speaker)) -> Result<(), ShardError> {
        for line in self.lines() {
            if let Some(Machine::Speaker(speaker)) = self.machine(line) {
                tell(speaker);
                self.carry_out(line)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, news: News) -> Result<(), ShardError> {
        let now = self.now();
        match news {
            News::Message { message, reply } => {
                let id = message.channel().unwrap_or_default().to_owned();
                let found = self.channels.iter_mut().find(|(_, channel)| channel.id == id);
                let Some((line, channel)) = found else { return Ok(()) };
                let line = *line;
                channel.reply = Some(reply);
                match &mut channel.machine {
                    Machine::Recogniser(recogniser) => recogniser.request(now, &message),
                    Machine::Speaker(speaker) => speaker.request(now, &message),
                }
                self.carry_out(line)
            }
            News::Opened { line, generation, ear } => {
                let Some(channel) = self.channels.get_mut(&line) else { return Ok(()) };
                let Machine::Recogniser(recogniser) = &mut channel.machine else { return Ok(()) };
                if channel.generation != generation {
                    return Ok(());
                }
                match ear {
                    Ok((writer, handle)) => {
                        channel.ear = Some(handle);
                        let (id, track) = (TapId(line as u64), Direction::Received);
                        self.leg.send(LegCommand::Tap { id, track, writer })?;
                        recogniser.opened(now);
                    }
                    Err((cause, why)) => recogniser.refused(now, cause, &why),
                }
                self.carry_out(line)
            }
            News::Speech { line, generation, event } => {
                let Some(channel) = self.channels.get_mut(&line) else { return Ok(()) };
                let Machine::Recogniser(recogniser) = &mut channel.machine else { return Ok(()) };
                if channel.generation != generation {
                    return Ok(());
                }
                match event {
                    StreamEvent::SpeechStarted { .. } => recogniser.speech_started(now),
                    StreamEvent::Final(utterance) => {
                        recogniser.heard(&utterance.text, utterance.confidence);
                    }
                    StreamEvent::SpeechEnded { .. } => recogniser.speech_ended(now),
                    StreamEvent::Flushed => recogniser.flushed(now),
                    StreamEvent::Failed(error) => {
                        tracing::warn!(%error, "a recogniser failed in a session of MRCP");
                    }
                    StreamEvent::Closed { .. } => recogniser.failed(now, "the recogniser has ended"),
                    _ => {}
                }
                self.carry_out(line)
            }
            News::Prepared { clip, made: Ok(sound) } => self.prompts.made(clip, sound),
            News::Prepared { clip, made: Err((cause, reason)) } => {
                if !self.prompts.failed(clip) {
                    return Ok(());
                }
                tracing::warn!(reason, "a prompt of a session of MRCP cannot be said");
                let how = Ended::Failed { cause, reason };
                self.played(|speaker| speaker.ended(now, clip, how.clone()))
            }
        }
    }

    /// Does what a channel wants.
    fn carry_out(&mut self, line: usize) -> Result<(), ShardError> {
        let mut started = false;
        loop {
            let now = self.now();
            let Some(channel) = self.channels.get_mut(&line) else { break };
            match &mut channel.machine {
                Machine::Recogniser(recogniser) => {
                    let Some(output) = recogniser.poll_output() else { break };
                    match output {
                        RecogniserOutput::Send(message) => channel.send(&message),
                        RecogniserOutput::Listen(listening) => {
                            channel.listen(line, self.rate, *listening, &self.news);
                        }
                        RecogniserOutput::Flush => match &channel.ear {
                            Some(ear) => ear.flush(),
                            None => recogniser.flushed(now),
                        },
                        RecogniserOutput::Close => {
                            channel.generation += 1;
                            if channel.ear.take().is_some() {
                                self.leg.send(LegCommand::Untap { id: TapId(line as u64) })?;
                            }
                        }
                        RecogniserOutput::InputStarted => started = true,
                    }
                }
                Machine::Speaker(speaker) => {
                    let Some(output) = speaker.poll_output() else { break };
                    match output {
                        SpeakerOutput::Send(message) => channel.send(&message),
                        SpeakerOutput::Say { clip, text, language, voice, skip } => {
                            self.prompts.say(clip, Prompt::Text { text, language, voice }, skip);
                        }
                        SpeakerOutput::Silence { clip, length } => self.prompts.pause(clip, length)?,
                        SpeakerOutput::Hush => {
                            for clip in self.prompts.hush()? {
                                speaker.ended(now, clip, Ended::Cut { played: Span::ZERO });
                            }
                        }
                    }
                }
            }
        }
        // Whoever speaks is listened to at once: the client's own word of it would come later.
        if started {
            let now = self.now();
            self.played(|speaker| speaker.barge_in(now))?;
        }
        Ok(())
    }
}
