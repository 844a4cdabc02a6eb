//! Keys that we press: as events or tones on the media, or by SIP INFO, as the line wants them.

use std::time::Duration;

use antiphon_engine_call::Dialogue;
use antiphon_media_plane::LegCommand;
use antiphon_media_sip::{DialogControl, DialogId, keys};
use tokio::sync::mpsc;

use super::{Command, Conversation, Happening};
use crate::config::Dtmf;

/// Keys waiting to be told by INFO.
const WAITING: usize = 256;
/// How long a key told by INFO is said to be held.
const HELD: Duration = Duration::from_millis(100);

/// Presses keys by INFO, each once the far side has confirmed the one before.
pub(super) struct Presser {
    dialog: DialogId,
    keys: mpsc::Sender<char>,
}

impl Presser {
    fn start(control: DialogControl) -> Self {
        let (keys, mut waiting) = mpsc::channel(WAITING);
        let dialog = control.id();
        tokio::spawn(async move {
            while let Some(key) = waiting.recv().await {
                let Some(body) = keys::to_info(key, HELD) else { continue };
                if let Err(error) = control.info(keys::RELAY, body.as_bytes()).await {
                    tracing::warn!(%error, "a key could not be told by INFO");
                }
            }
        });
        Self { dialog, keys }
    }
}

impl<D: Dialogue> Conversation<D> {
    /// Presses keys towards the far side.
    pub(super) fn press(&mut self, pressed: Vec<char>) {
        let control = self.parts.dialog.as_ref().map(antiphon_media_sip::Dialog::control);
        match (self.parts.keys, control) {
            (Dtmf::Info, Some(control)) => {
                // Another call may have taken this one's place.
                if self.presser.as_ref().is_none_or(|presser| presser.dialog != control.id()) {
                    self.presser = Some(Presser::start(control));
                }
                let Some(presser) = &self.presser else { return };
                if pressed.into_iter().any(|key| presser.keys.try_send(key).is_err()) {
                    tracing::warn!("keys are left out: {WAITING} wait already");
                }
            }
            (Dtmf::Inband, _) => self.send(LegCommand::KeysInband(pressed)),
            (Dtmf::Rfc4733 | Dtmf::Info, _) => self.send(LegCommand::Keys(pressed)),
        }
    }

    /// Passes a key of the far side on to the one it is joined with; in a conference it means nobody in particular. A tone is
    /// in the sound already: who wants tones too is reached by that.
    pub(super) fn pass_key(&self, key: char) {
        if let Some(preview) = &self.preview {
            return preview.press(key, self.parts.keys == Dtmf::Inband);
        }
        let Some(partner) = self.with.first().filter(|_| self.with.len() == 1) else { return };
        if let Some(inlet) = self.parts.shared.switch.inlet(*partner) {
            let sounded = self.parts.keys == Dtmf::Inband;
            inlet.tell(Happening::Command(Command::Passed { key, sounded }));
        }
    }
}
