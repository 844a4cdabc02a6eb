//! The far side with somebody else: transfers, bridges, hold, supervision.

use std::sync::Arc;

use antiphon_engine_call::{
    ActionId, CallInput, Cause, Dialogue, EventBody, Pii, Prompt, TransferKind, TransferOutcome,
    TransferRequest,
};
use antiphon_media_codec::tone::{Ringback, ringback};
use antiphon_media_frame::{CallId, SampleRate, Span};
use antiphon_media_plane::{Clip, ClipId, LegCommand, Sound};
use antiphon_media_sip::{NotifySender, ReferResponder, ReferResult, Replaces};
use tokio::sync::oneshot;

use super::command::{Command, Done};
use super::{Conversation, Happening, Leaving};
use crate::config::Dtmf;
use crate::dial;
use crate::line::refer_target;
use crate::preview::Preview;
use crate::ringing::News;
use crate::switch::{Notice, SwitchError};
use crate::trunks::Origin;

/// Whoever waits hears this clip; no prompt of a call has this number.
const WAITING: ClipId = ClipId(u32::MAX);
/// How long somebody who sent his partner away may take to hang up.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(3);
/// Actions that no dialogue asked for.
const FROM_OUTSIDE: u32 = 1 << 31;

/// A transfer under way: it is over when the target has answered or will not.
pub(super) struct Transfer {
    id: ActionId,
    /// Dropped, it gives the target up.
    _dialling: Option<oneshot::Sender<()>>,
    notify: Option<NotifySender>,
    /// Whom the far side is with until then, and leaves behind.
    behind: Vec<CallId>,
}

impl<D: Dialogue> Conversation<D> {
    /// Begins what a flow asks for.
    pub(super) fn transfer(&mut self, id: ActionId, request: TransferRequest) {
        // What a flow may dial is for the routes of operators to say, whoever calls.
        self.begin_transfer(id, request, Origin::Api, None);
    }

    /// Does what somebody asks of this call.
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Transfer { request, origin, notify } => {
                let id = ActionId(FROM_OUTSIDE + self.outside);
                self.outside = (self.outside + 1) % FROM_OUTSIDE;
                let (kind, to) = (request.kind, Pii::new(request.to.clone()));
                self.publish(EventBody::TransferStarted { id, kind, to });
                self.cancel_waiting(false);
                self.send(LegCommand::Stop);
                self.begin_transfer(id, request, origin, notify);
            }
            Command::Join { with, instead_of, notify } => {
                let switch = &self.parts.shared.switch;
                let joined = switch.bridge(self.parts.id, with);
                match &joined {
                    Ok(()) => instead_of.into_iter().for_each(|call| switch.part(call)),
                    Err(error) => {
                        tracing::warn!(call = %self.parts.id, %error, "two calls could not be joined");
                    }
                }
                if let Some(notify) = notify {
                    notify.done(if joined.is_ok() { 200 } else { 500 });
                }
            }
            Command::ReferTo { other } => self.refer_to(other),
            Command::Hold(held) => self.hold(held),
            Command::PartnerSilent(silent) => self.wait(silent.then(|| self.hold_music()), !silent),
            Command::Keys(keys) => self.press(keys),
            Command::Passed { key, sounded } => {
                if !(sounded && self.parts.keys == Dtmf::Inband) {
                    self.press(vec![key]);
                }
            }
            Command::Replace(incoming) => self.replace(*incoming).await,
            Command::End(cause) => self.tell(CallInput::End(cause)),
        }
    }

    /// Takes what ran beside the call's task.
    pub(super) fn done(&mut self, id: ActionId, done: Done) {
        match done {
            Done::Music(pcm) => self.play_waiting(pcm),
            Done::News(news) => self.preview(id, &news),
            Done::Referred(outcome) => self.refer_done(id, outcome),
            Done::Dialled(result) => self.dialled(id, result),
        }
    }

    /// Takes what the room says.
    pub(super) fn room(&mut self, notice: Notice) {
        match notice {
            Notice::Joined { with } => {
                let clock_ms = self.parts.shared.calls.clock_ms(self.parts.id, with);
                self.publish(EventBody::BridgeStarted { with, clock_ms });
                self.with.insert(with);
                self.tell(CallInput::Away(true));
            }
            Notice::Left { with, alone } => {
                self.with.remove(&with);
                self.publish(EventBody::BridgeEnded { with });
                if alone {
                    self.left_alone();
                }
            }
            Notice::Conference { name } => self.log.record().leg().conference = Some(name),
            Notice::Supervised { by, mode } => {
                self.publish(EventBody::SupervisionStarted { by, mode: mode.name() });
            }
            Notice::Unsupervised { by } => self.publish(EventBody::SupervisionEnded { by }),
            Notice::Displaced { .. } => self.tell(CallInput::End(Cause::SUPERVISOR_HUNG_UP)),
        }
    }

    /// The far side wants the one it speaks with to be handed on (REFER, RFC 3515).
    pub(super) fn referred(
        &mut self,
        target: &Pii<String>,
        replaces: Option<&Replaces>,
        responder: ReferResponder,
    ) {
        let shared = &self.parts.shared;
        let partner = shared.switch.partners(self.parts.id).first().copied();
        let inlet = partner.and_then(|partner| shared.switch.inlet(partner));
        let allowed = shared.may_refer(&self.parts.origin);
        let Some(inlet) = inlet.filter(|_| allowed) else {
            // Nobody is handed on by somebody who merely reached our machine.
            tracing::info!(call = %self.parts.id, "a REFER is declined");
            responder.reject(603).ok();
            return;
        };
        let attended = match replaces.map(|replaces| shared.dialogs.find(replaces)) {
            Some(None) => {
                responder.reject(481).ok();
                return;
            }
            Some(Some(other)) => Some(other),
            None => None,
        };
        let Ok(notify) = responder.accept() else { return };
        let command = match attended {
            // Our other call with the same person: whoever is at its other end is whom the partner is to have.
            Some(other) => match shared.switch.partners(other).first() {
                Some(with) => {
                    let instead_of = vec![self.parts.id, other];
                    Command::Join { with: *with, instead_of, notify: Some(notify) }
                }
                None => {
                    notify.done(481);
                    return;
                }
            },
            None => {
                let request = TransferRequest {
                    to: target.expose().clone(),
                    kind: TransferKind::Bridge,
                    ring: shared.config.call.ringing_limit.0,
                    caller_id: None,
                    music: Vec::new(),
                    announce: Vec::new(),
                    screen: false,
                };
                Command::Transfer { request, origin: self.parts.origin.clone(), notify: Some(notify) }
            }
        };
        self.referring = true;
        inlet.tell(Happening::Command(command));
    }

    /// Where a call ends, its transfer does.
    pub(super) fn abandon_transfer(&mut self) {
        self.transfer = None;
        self.preview = None;
    }

    fn begin_transfer(
        &mut self,
        id: ActionId,
        request: TransferRequest,
        origin: Origin,
        notify: Option<NotifySender>,
    ) {
        self.tell(CallInput::Away(true));
        if self.transfer.is_some() {
            if let Some(notify) = notify {
                notify.done(491);
            }
            let reason = "another transfer is under way".to_owned();
            self.tell(CallInput::TransferDone {
                id,
                outcome: TransferOutcome::Failed { status: 491, reason },
            });
            return;
        }
        let kind = request.kind;
        let behind = self.with.iter().copied().collect();
        let mut transfer = Transfer { id, _dialling: None, notify, behind };
        match kind {
            TransferKind::Refer => self.refer(id, &request.to, None),
            TransferKind::Bridge => {
                let (cancel, cancelled) = oneshot::channel();
                transfer._dialling = Some(cancel);
                self.wait(Some(request.music.clone()), false);
                let (inlet, shared) = (self.parts.inlet.clone(), Arc::clone(&self.parts.shared));
                let tell = inlet.clone();
                // Who is played music hears that until somebody answers.
                let tell = request.music.is_empty().then(|| -> dial::Teller {
                    Arc::new(move |news| tell.tell(Happening::Done(id, Done::News(news))))
                });
                let asked = dial::Asked {
                    origin,
                    parent: self.parts.id,
                    language: self.parts.language.clone(),
                    request,
                    tell,
                };
                tokio::spawn(async move {
                    let result = dial::leg(shared, asked, cancelled).await;
                    inlet.tell(Happening::Done(id, Done::Dialled(result)));
                });
            }
        }
        self.transfer = Some(transfer);
    }

    /// Lets the far side hear a transfer's target before it answers, instead of our ringing.
    fn preview(&mut self, id: ActionId, news: &News) {
        if self.transfer.as_ref().is_none_or(|transfer| transfer.id != id) {
            return;
        }
        match news {
            News::Early(sound) => {
                let Some(leg) = &self.parts.leg else { return };
                let preview = Preview::lay(sound, &leg.control(), self.parts.rate);
                match preview {
                    Ok(preview) => {
                        self.preview = Some(preview);
                        self.wait(None, true);
                    }
                    Err(error) => tracing::warn!(%error, "early media cannot be passed on"),
                }
            }
            News::Quiet if self.preview.take().is_some() => self.wait(Some(Vec::new()), false),
            _ => {}
        }
    }

    fn dialled(&mut self, id: ActionId, result: Result<CallId, TransferOutcome>) {
        if self.transfer.as_ref().is_none_or(|transfer| transfer.id != id) {
            // Nobody waits for the target any more.
            if let Ok(target) = result {
                self.hang_up_other(target);
            }
            return;
        }
        let target = match result {
            Ok(target) => target,
            Err(outcome) => return self.transfer_failed(outcome),
        };
        self.preview = None;
        self.wait(None, true);
        let switch = &self.parts.shared.switch;
        if let Err(error) = switch.bridge(self.parts.id, target) {
            self.hang_up_other(target);
            let reason = match error {
                // It hung up in the moment between.
                SwitchError::Absent(_) => "the target hung up".to_owned(),
                other => other.to_string(),
            };
            return self.transfer_failed(TransferOutcome::Failed { status: 0, reason });
        }
        let Some(transfer) = self.transfer.take() else { return };
        if let Some(notify) = transfer.notify {
            notify.done(200);
        }
        transfer.behind.into_iter().for_each(|call| switch.part(call));
        self.bridged_by.get_or_insert(id);
    }

    fn hang_up_other(&self, call: CallId) {
        if let Some(inlet) = self.parts.shared.switch.inlet(call) {
            inlet.tell(Happening::Command(Command::End(Cause::PARTNER_HUNG_UP)));
        }
    }

    /// The last of those the far side was with is gone.
    fn left_alone(&mut self) {
        if self.transfer.is_some() {
            // On the way to somebody else: the one who sent it there has hung up.
            return;
        }
        if self.referring {
            // It sent its partner away, is told so, and hangs up itself.
            let inlet = self.parts.inlet.clone();
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                inlet.tell(Happening::Command(Command::End(Cause::PARTNER_HUNG_UP)));
            });
            return;
        }
        match (self.parts.leaving, self.bridged_by.take()) {
            (Leaving::ByItself, Some(id)) => {
                self.tell(CallInput::Away(false));
                self.tell(CallInput::TransferDone { id, outcome: TransferOutcome::Completed });
                if id.0 >= FROM_OUTSIDE {
                    self.tell(CallInput::End(Cause::PARTNER_HUNG_UP));
                }
            }
            _ => self.tell(CallInput::End(Cause::PARTNER_HUNG_UP)),
        }
    }

    /// The far side is where it was before.
    fn transfer_failed(&mut self, outcome: TransferOutcome) {
        let Some(transfer) = self.transfer.take() else { return };
        self.preview = None;
        self.wait(None, true);
        if let Some(notify) = transfer.notify {
            notify.done(status_of(&outcome));
        }
        let still_joined = !self.with.is_empty();
        // Still with somebody: a transfer out of a bridge that failed leaves the bridge as it was.
        if !still_joined {
            self.tell(CallInput::Away(false));
        }
        self.tell(CallInput::TransferDone { id: transfer.id, outcome });
        if !still_joined && (self.bridged_by.is_some() || self.parts.leaving == Leaving::WithPartner) {
            // The one it was with has gone meanwhile.
            self.left_alone();
        }
    }

    fn refer(&mut self, id: ActionId, to: &str, replaces: Option<Replaces>) {
        let control = self.parts.dialog.as_ref().map(antiphon_media_sip::Dialog::control);
        let target = refer_target(&self.parts.peer, to);
        let inlet = self.parts.inlet.clone();
        tokio::spawn(async move {
            let outcome = match control {
                None => {
                    let reason = "a call from a web page cannot be referred".to_owned();
                    TransferOutcome::Failed { status: 0, reason }
                }
                Some(control) => match control.refer(&target, replaces.as_ref(), None) {
                    Ok(progress) => outcome_of(progress.result().await),
                    Err(error) => TransferOutcome::Failed { status: 0, reason: error.to_string() },
                },
            };
            inlet.tell(Happening::Done(id, Done::Referred(outcome)));
        });
    }

    fn refer_done(&mut self, id: ActionId, outcome: TransferOutcome) {
        if self.transfer.as_ref().is_none_or(|transfer| transfer.id != id) {
            return;
        }
        if outcome != TransferOutcome::Completed {
            return self.transfer_failed(outcome);
        }
        self.transfer = None;
        self.tell(CallInput::Away(false));
        self.tell(CallInput::TransferDone { id, outcome });
        self.tell(CallInput::End(Cause::TRANSFERRED));
    }

    /// Hands the far side on to the far side of another call of ours: both are out of our hands afterwards.
    fn refer_to(&mut self, other: CallId) {
        let id = ActionId(FROM_OUTSIDE + self.outside);
        self.outside = (self.outside + 1) % FROM_OUTSIDE;
        let target = self.parts.shared.dialogs.target(other);
        let to = target.as_ref().map_or_else(String::new, |(uri, _)| uri.expose().clone());
        let kind = TransferKind::Refer;
        self.publish(EventBody::TransferStarted { id, kind, to: Pii::new(to.clone()) });
        self.tell(CallInput::Away(true));
        self.transfer = Some(Transfer { id, _dialling: None, notify: None, behind: Vec::new() });
        match target {
            Some((_, replaces)) => self.refer(id, &to, Some(replaces)),
            None => {
                let reason = "the other call is not a SIP call under way".to_owned();
                self.transfer_failed(TransferOutcome::Failed { status: 0, reason });
            }
        }
    }

    fn hold(&mut self, held: bool) {
        if std::mem::replace(&mut self.held, held) == held {
            return;
        }
        self.parts.shared.switch.hold(self.parts.id, held);
        self.wait(held.then(|| self.hold_music()), !held);
        self.publish(if held {
            EventBody::HoldStarted { by_far_side: false }
        } else {
            EventBody::HoldEnded { by_far_side: false }
        });
    }

    /// What is heard on hold; nothing where it is to be ringing.
    fn hold_music(&self) -> Vec<Prompt> {
        let music = self.parts.shared.hold_music(&self.parts.origin);
        music.map(|path| Prompt::Recording { path, text: String::new() }).into_iter().collect()
    }

    /// Plays something over and over to somebody who waits (ringback where there is nothing), or stops that.
    fn wait(&mut self, music: Option<Vec<Prompt>>, stop: bool) {
        if stop {
            self.music_wanted = false;
            if std::mem::take(&mut self.music_plays) {
                self.send(LegCommand::Stop);
            }
        }
        let Some(prompts) = music else { return };
        self.music_wanted = true;
        let (mouth, rate) = (Arc::clone(&self.parts.shared.mouth), self.parts.rate);
        let inlet = self.parts.inlet.clone();
        tokio::task::spawn_blocking(move || {
            let pcm = match prompts.is_empty() {
                true => ringing(rate),
                false => mouth.whole(&prompts, rate).unwrap_or_else(|error| {
                    tracing::warn!(%error, "the music on hold cannot be played; the caller hears ringing");
                    ringing(rate)
                }),
            };
            inlet.tell(Happening::Done(ActionId(0), Done::Music(pcm)));
        });
    }

    fn play_waiting(&mut self, pcm: Arc<[i16]>) {
        if !self.music_wanted || self.music_plays || pcm.is_empty() {
            return;
        }
        self.music_plays = true;
        let sound = Sound::Whole(pcm, self.parts.rate);
        self.send(LegCommand::Play(Clip { id: WAITING, sound, interruptible: false, repeat: true }));
    }
}

/// One cadence, to be repeated.
fn ringing(rate: SampleRate) -> Arc<[i16]> {
    ringback(Ringback::Europe, rate, Span::from_secs(5)).into()
}

fn outcome_of(result: ReferResult) -> TransferOutcome {
    match result {
        ReferResult::Connected => TransferOutcome::Completed,
        ReferResult::Busy { .. } => TransferOutcome::Busy,
        ReferResult::Declined { .. } => TransferOutcome::Declined,
        ReferResult::NoAnswer { .. } | ReferResult::TimedOut => TransferOutcome::NoAnswer,
        ReferResult::Failed { status } => {
            TransferOutcome::Failed { status, reason: "the target could not be reached".to_owned() }
        }
        ReferResult::Refused { status } => {
            TransferOutcome::Failed { status, reason: "the far side does not transfer calls".to_owned() }
        }
        ReferResult::Unknown | ReferResult::Ended => {
            TransferOutcome::Failed { status: 0, reason: "no result was told".to_owned() }
        }
    }
}

fn status_of(outcome: &TransferOutcome) -> u16 {
    match outcome {
        TransferOutcome::Completed => 200,
        TransferOutcome::Busy => 486,
        TransferOutcome::Declined => 603,
        TransferOutcome::NoAnswer | TransferOutcome::Voicemail => 480,
        TransferOutcome::Forbidden => 403,
        TransferOutcome::Failed { status, .. } if *status >= 300 => *status,
        TransferOutcome::Failed { .. } => 500,
    }
}
