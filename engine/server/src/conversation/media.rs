//! Changes to the media of an established call, and to who is at its other end.

use antiphon_engine_call::{Dialogue, EventBody};
use antiphon_media_sip::{IncomingCall, Responder};

use super::{Command, Conversation, Happening};
use crate::cdr::{Direction, LegRecord};
use crate::line;
use crate::renegotiate::Change;

impl<D: Dialogue> Conversation<D> {
    /// The far side offers something else, or asks what we would offer.
    pub(super) async fn renegotiate(&mut self, offer: Option<&str>, responder: Responder) {
        let change = self.parts.media.renegotiate(offer, responder).await;
        self.apply(change);
    }

    /// The far side answers an offer that went in a response of ours.
    pub(super) fn late_answer(&mut self, sdp: &str) {
        if sdp.is_empty() {
            return;
        }
        match self.parts.media.accept(sdp) {
            Ok(change) => self.apply(change),
            Err(error) => tracing::info!(%error, "a late answer cannot be used; the call goes on as it was"),
        }
    }

    /// Somebody else takes the far side's place (RFC 3891): the same leg, recording and dialogue go on with him.
    pub(super) async fn replace(&mut self, incoming: IncomingCall) {
        let from = incoming.from();
        let answer = match incoming.offer().map(|offer| self.parts.media.answer(offer)) {
            Some(Ok(answer)) => answer,
            other => {
                let (status, why) = match other {
                    Some(Err(error)) => (error.status(), error.to_string()),
                    _ => (488, "a call that replaces another has to bring an offer".to_owned()),
                };
                if let Err(error) = incoming.reject(status, "", &why) {
                    tracing::debug!(%error, "a call could not be refused");
                }
                return;
            }
        };
        let (text, agreed) = answer;
        let now = self.now();
        let at = self.log.record().wall(now);
        let mut leg = LegRecord::new(String::new(), Direction::Inbound, at);
        line::describe(&incoming, &mut leg);
        let dialog = match incoming.answer(&text) {
            Ok(dialog) => dialog,
            Err(error) => {
                tracing::info!(%error, "a call that was to replace another is gone");
                return;
            }
        };
        self.log.record().replace(at, leg);
        let change = self.parts.media.settle(agreed);
        self.apply(change);
        let peer = antiphon_engine_call::Pii::new(format!("sip:{}@{}", from.user.expose(), from.host));
        self.parts.shared.dialogs.enter(self.parts.id, &dialog, peer.clone());
        self.parts.peer = peer;
        if let Some(old) = self.parts.dialog.replace(dialog) {
            tokio::spawn(async move {
                if let Err(error) = old.hang_up(Some((200, "Call completed elsewhere"))).await {
                    tracing::debug!(%error, "the BYE could not be sent");
                }
            });
        }
    }

    fn apply(&mut self, change: Change) {
        let Change { commands, codec, held, sends } = change;
        for command in commands {
            self.send(command);
        }
        if let Some(codec) = codec {
            self.publish(EventBody::CodecChanged { codec: codec.to_owned() });
        }
        if let Some(held) = held {
            self.publish(if held {
                EventBody::HoldStarted { by_far_side: true }
            } else {
                EventBody::HoldEnded { by_far_side: true }
            });
        }
        // Who holds and sends his own music is heard; who sends nothing leaves his partner to ours.
        if let Some(sends) = sends {
            let switch = &self.parts.shared.switch;
            for partner in switch.partners(self.parts.id) {
                if let Some(inlet) = switch.inlet(partner) {
                    inlet.tell(Happening::Command(Command::PartnerSilent(!sends)));
                }
            }
        }
    }
}
