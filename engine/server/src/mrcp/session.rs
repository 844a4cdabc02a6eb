//! One session: a SIP dialog, its media, and the channels that steer both.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use antiphon_engine_call::{Cause, Prompt};
use antiphon_engine_mrcp::control::{self, ControlAnswer};
use antiphon_engine_mrcp::{Ended, RecogniserOutput, Session as Terms, Speaker, SpeakerOutput};
use antiphon_media_frame::{Direction, MediaTime, SampleRate, Span};
use antiphon_media_plane::{ClipEnd, ClipId, LegCommand, LegEvent, LegHandle, ShardError, TapId};
use antiphon_media_sip::{Dialog, DialogEvent, IncomingCall, Peer, Responder, keys};
use antiphon_models_pool::StreamEvent;
use jiff::Timestamp;
use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::account::Account;
use super::channel::{Channel, Machine};
use super::prompts::Prompts;
use super::{NEWS, News, listener};
use crate::conversation::{Happening, inlet};
use crate::entrance::{Refusal, negotiate};
use crate::renegotiate::{Media, security_of};
use crate::setup::{self, Door};
use crate::shared::Shared;
use crate::trunks::Origin;

/// A session without a time-out of its own looks around this often.
const IDLE: Duration = Duration::from_secs(60);

/// How long media that are closed may take to say what they came to.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Serves a session from its INVITE to its end.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    incoming: IncomingCall,
    mut account: Account,
    place: OwnedSemaphorePermit,
) {
    let (session, dialog, mut happenings, mut told) = match open(shared, incoming, &mut account).await {
        Ok(opened) => opened,
        Err(cause) => return account.close(cause),
    };
    tracing::info!(
        session = session.name,
        call = %account.id,
        channels = session.channels.len(),
        "a session of MRCP begins"
    );
    let name = session.name.clone();
    let cause = match session.run(&mut account, dialog, &mut happenings, &mut told).await {
        Ok(cause) => cause,
        Err(error) => {
            tracing::error!(session = name, %error, "a session of MRCP lost its media");
            Cause::MEDIA_FAILED
        }
    };
    account.close(cause);
    // What was asked before the channels were gone is answered all the same.
    told.close();
    while let Some(news) = told.recv().await {
        if let News::Message { message, reply } = news {
            listener::refuse(&message, &reply);
        }
    }
    drop(place);
}

/// A session that is answered, its dialog, and what it is told of its media and channels.
type Opened = (Session, Dialog, mpsc::Receiver<Happening>, mpsc::Receiver<News>);

/// Answers an INVITE, or refuses it for a cause.
async fn open(
    shared: &Arc<Shared>,
    mut incoming: IncomingCall,
    account: &mut Account,
) -> Result<Opened, &'static Cause> {
    let origin = match incoming.peer() {
        Peer::Anonymous => Origin::Anonymous,
        Peer::Trunk(name) => Origin::Trunk(name.clone()),
        Peer::User(name) => Origin::User(name.clone()),
    };
    let profile = shared.profile(&origin);
    incoming.set_nat(profile.nat.into());
    let offer = incoming.offer().unwrap_or_default().to_owned();
    let refuse = |incoming: IncomingCall, account: &mut Account, refusal: &Refusal| {
        refusal.tell(incoming, account.record().leg());
        Err(refusal.cause())
    };
    let (answer, agreed, local, pair) = match negotiate(shared, &incoming, &profile).await {
        Ok(terms) => terms,
        Err(refusal) => return refuse(incoming, account, &refusal),
    };
    let Some(agreed) = agreed else { return refuse(incoming, account, &Refusal::of(Cause::SDP_MISSING)) };
    let (leg_inlet, happenings) = inlet();
    let epoch = Instant::now();
    let door = Door { id: account.id, epoch, nat: profile.nat.latches() };
    let (leg, rate) = match setup::open(shared, &door, &agreed, &local, pair, &leg_inlet) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "a session of MRCP could not be set up");
            return refuse(incoming, account, &Refusal::of(error.cause()));
        }
    };
    let (news, told) = mpsc::channel(NEWS);
    let prompts = Prompts::new(Arc::clone(&shared.mouth), leg.control(), rate, news.clone());
    // Keys that cannot come as events come as tones.
    if agreed.telephone_event.is_none()
        && let Err(error) = leg.send(LegCommand::InbandKeys(true))
    {
        tracing::warn!(%error, "keys of a session of MRCP are not listened for");
    }
    let codec = agreed.codec.name();
    let security = security_of(&agreed);
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
    let answer = session.describe(account, &offer, &answer);
    if session.channels.is_empty() {
        return refuse(incoming, account, &Refusal::of(Cause::SDP_UNSUPPORTED));
    }
    let dialog = incoming.answer(&answer).map_err(|error| {
        tracing::info!(%error, "a session of MRCP was given up");
        Cause::CALLER_CANCELLED
    })?;
    let leg = account.record().leg();
    let now = Timestamp::now();
    leg.answer(now);
    leg.codec(codec, now);
    leg.secure(security);
    Ok((session, dialog, happenings, told))
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
        account: &mut Account,
        mut dialog: Dialog,
        happenings: &mut mpsc::Receiver<Happening>,
        told: &mut mpsc::Receiver<News>,
    ) -> Result<&'static Cause, ShardError> {
        let mut ending = self.shared.mrcp.ending.subscribe();
        let longest = tokio::time::sleep(self.shared.config.call.longest.0);
        tokio::pin!(longest);
        let cause = loop {
            let wait = self.timeout();
            tokio::select! {
                event = dialog.next() => match event {
                    DialogEvent::Bye { .. } => return self.close(account, happenings, Cause::CALLER_HUNG_UP).await,
                    DialogEvent::Lost => return self.close(account, happenings, Cause::SIGNALLING_LOST).await,
                    DialogEvent::Expired => return self.close(account, happenings, Cause::SESSION_EXPIRED).await,
                    DialogEvent::ReInvite { sdp: Some(offer), responder } => {
                        self.renegotiate(account, &offer, responder).await?;
                    }
                    DialogEvent::Info { content_type, body } => {
                        if let Some((key, duration)) = keys::from_info(&content_type, &body) {
                            self.leg.send(LegCommand::KeyFromSignalling { key, duration: duration.into() })?;
                        }
                    }
                    // Dropped, what asks for an answer is refused.
                    _ => {}
                },
                Some(happening) = happenings.recv() => if let Happening::Leg(event) = happening
                    && self.heard_of_leg(account, &event)?
                {
                    break Cause::MEDIA_FAILED;
                },
                Some(news) = told.recv() => self.take(account, news)?,
                () = tokio::time::sleep(wait) => {
                    let now = self.now();
                    for line in self.lines() {
                        if let Some(Machine::Recogniser(recogniser)) = self.machine(line) {
                            recogniser.handle_timeout(now);
                        }
                        self.carry_out(account, line)?;
                    }
                }
                () = ended(&mut ending) => break Cause::SHUTDOWN,
                () = &mut longest => break Cause::LONGEST_CALL,
            }
        };
        if let Err(error) = dialog.hang_up(None).await {
            tracing::debug!(%error, "a session of MRCP could not be ended");
        }
        self.close(account, happenings, cause).await
    }

    /// Closes the media, whose last word is what they came to.
    async fn close(
        mut self,
        account: &mut Account,
        happenings: &mut mpsc::Receiver<Happening>,
        cause: &'static Cause,
    ) -> Result<&'static Cause, ShardError> {
        self.channels.clear();
        // Where it is closed already there is nothing more to hear.
        if self.leg.send(LegCommand::Close).is_ok() {
            let last = async {
                while let Some(happening) = happenings.recv().await {
                    if let Happening::Leg(LegEvent::Closed { figures, .. }) = happening {
                        return account.heard_of_media(&figures);
                    }
                }
            };
            // A server that is overloaded has a record without its last figures.
            let _ = tokio::time::timeout(LAST_WORD, last).await;
        }
        Ok(cause)
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
    fn describe(&mut self, account: &mut Account, offer: &str, answer: &str) -> String {
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
                account.channel(resource);
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
            language: self.shared.language(self.shared.config.mrcp.tenant.as_deref().unwrap_or_default()),
            today: Some(jiff::Zoned::now().date().to_string()),
            unix: self.unix,
        }
    }

    async fn renegotiate(
        &mut self,
        account: &mut Account,
        offer: &str,
        responder: Responder,
    ) -> Result<(), ShardError> {
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
        let answer = self.describe(account, offer, &answer);
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
    fn heard_of_leg(&mut self, account: &mut Account, event: &LegEvent) -> Result<bool, ShardError> {
        let now = self.now();
        match event {
            LegEvent::Key { key, .. } => {
                for line in self.lines() {
                    if let Some(Machine::Recogniser(recogniser)) = self.machine(line) {
                        recogniser.key(now, *key);
                    }
                    self.carry_out(account, line)?;
                }
            }
            LegEvent::PlayStarted { id, .. } => self.played(account, |speaker| speaker.began(now, id.0))?,
            LegEvent::PlayStopped { id: ClipId(clip), played, end, .. } => {
                let (clip, played) = (*clip, *played);
                let how = match end {
                    ClipEnd::Completed => Ended::Played,
                    _ => Ended::Cut { played },
                };
                self.played(account, |speaker| speaker.ended(now, clip, how.clone()))?;
            }
            LegEvent::Quality { figures, .. } => account.heard_of_media(figures),
            LegEvent::Closed { figures, .. } => {
                account.heard_of_media(figures);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    /// Tells the speaker.
    fn played(&mut self, account: &mut Account, tell: impl Fn(&mut Speaker)) -> Result<(), ShardError> {
        for line in self.lines() {
            if let Some(Machine::Speaker(speaker)) = self.machine(line) {
                tell(speaker);
                self.carry_out(account, line)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, account: &mut Account, news: News) -> Result<(), ShardError> {
        let now = self.now();
        match news {
            News::Message { message, reply } => {
                let id = message.channel().unwrap_or_default().to_owned();
                let found = self.channels.iter_mut().find(|(_, channel)| channel.id == id);
                let Some((line, channel)) = found else {
                    listener::refuse(&message, &reply);
                    return Ok(());
                };
                let line = *line;
                channel.reply = Some(reply);
                match &mut channel.machine {
                    Machine::Recogniser(recogniser) => recogniser.request(now, &message),
                    Machine::Speaker(speaker) => speaker.request(now, &message),
                }
                self.carry_out(account, line)
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
                self.carry_out(account, line)
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
                self.carry_out(account, line)
            }
            News::Prepared { clip, made: Ok(sound) } => self.prompts.made(clip, sound),
            News::Prepared { clip, made: Err((cause, reason)) } => {
                if !self.prompts.failed(clip) {
                    return Ok(());
                }
                tracing::warn!(reason, "a prompt of a session of MRCP cannot be said");
                let how = Ended::Failed { cause, reason };
                self.played(account, |speaker| speaker.ended(now, clip, how.clone()))
            }
        }
    }

    /// Does what a channel wants.
    fn carry_out(&mut self, account: &mut Account, line: usize) -> Result<(), ShardError> {
        let mut started = false;
        loop {
            let now = self.now();
            let Some(channel) = self.channels.get_mut(&line) else { break };
            match &mut channel.machine {
                Machine::Recogniser(recogniser) => {
                    let Some(output) = recogniser.poll_output() else { break };
                    match output {
                        RecogniserOutput::Send(message) => {
                            account.sent(&message);
                            channel.send(&message);
                        }
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
                        SpeakerOutput::Send(message) => {
                            account.sent(&message);
                            channel.send(&message);
                        }
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
            self.played(account, |speaker| speaker.barge_in(now))?;
        }
        Ok(())
    }
}
