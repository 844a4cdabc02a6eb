//! What somebody hears who waits for a called side: ringing, or what that side sends before it answers.

use antiphon_media_codec::tone::{Ringback, ringback};
use antiphon_media_frame::{SampleRate, Span};
use antiphon_media_plane::{Clip, ClipId, LegCommand, LegControl, Sound};

use crate::preview::Preview;
use crate::ringing::{EarlySound, News};

/// Our ringing; no prompt has this number.
const RINGING: ClipId = ClipId(u32::MAX);

/// The ear of one who waits.
#[derive(Default)]
pub(crate) struct Patience {
    preview: Option<Preview>,
    /// Our own ringing is played.
    rings: bool,
}

impl Patience {
    /// Whether anything is heard.
    pub(crate) fn is_heard(&self) -> bool {
        self.preview.is_some() || self.rings
    }

    /// Lets the called side be heard, and hear, in the place of whatever was.
    pub(crate) fn sound(&mut self, sound: &EarlySound, leg: &LegControl, rate: SampleRate) {
        self.silence(leg);
        self.preview = Preview::lay(sound, leg, rate)
            .inspect_err(|error| tracing::warn!(%error, "early media cannot be passed on"))
            .ok();
    }

    /// The called side has fallen silent: whoever has heard it does not ring by himself any more.
    pub(crate) fn quiet(&mut self, leg: &LegControl) {
        if self.preview.take().is_some() {
            self.ring(leg);
        }
    }

    /// Follows a called side on behalf of one who hears us all along.
    pub(crate) fn follow(&mut self, news: &News, leg: &LegControl, rate: SampleRate) {
        match news {
            News::Early(sound) => self.sound(sound, leg, rate),
            News::Quiet => self.quiet(leg),
            News::Ringing if !self.is_heard() => self.ring(leg),
            _ => {}
        }
    }

    /// Passes a key on to a called side that is heard. One that `sounded` is in the sound already.
    pub(crate) fn press(&self, key: char, sounded: bool) {
        if let Some(preview) = &self.preview {
            preview.press(key, sounded);
        }
    }

    /// The called side has answered, and is heard otherwise.
    pub(crate) fn end(mut self, leg: &LegControl) {
        self.silence(leg);
    }

    fn ring(&mut self, leg: &LegControl) {
        let rate = SampleRate::HZ_8000;
        let sound = Sound::Whole(ringback(Ringback::Europe, rate, Span::from_secs(5)).into(), rate);
        let clip = Clip { id: RINGING, sound, interruptible: false, repeat: true };
        let played = leg.send(LegCommand::Play(clip));
        self.rings = played.inspect_err(|error| tracing::warn!(%error, "ringing cannot be played")).is_ok();
    }

    fn silence(&mut self, leg: &LegControl) {
        self.preview = None;
        if std::mem::take(&mut self.rings)
            && let Err(error) = leg.send(LegCommand::Stop)
        {
            tracing::warn!(%error, "ringing cannot be stopped");
        }
    }
}
