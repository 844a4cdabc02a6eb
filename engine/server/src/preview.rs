//! Two legs that hear each other beside any room: somebody who waits, and the called side before it answers.

use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_media_frame::{Direction, SampleRate};
use antiphon_media_plane::{HearId, LegCommand, LegControl, ShardError, TapId, bridge_ring};

use crate::config::Dtmf;
use crate::ringing::EarlySound;

/// Names of their own: the switch counts its wires from 1, a leg's own consumers downwards from the highest.
static NEXT: AtomicU64 = AtomicU64::new(1 << 62);

/// What joins somebody who waits with a called side that sounds already: an announcement is heard, and machines that ask
/// before they answer are spoken to (RFC 3960). Over when dropped.
pub(crate) struct Preview {
    _wires: [Wire; 2],
    called: LegControl,
    /// How keys travel to the called side.
    keys: Dtmf,
}

impl Preview {
    /// Joins the leg of whoever waits, which has this rate, with the called side.
    pub(crate) fn lay(sound: &EarlySound, leg: &LegControl, rate: SampleRate) -> Result<Self, ShardError> {
        let heard = Wire::lay(&sound.control, sound.rate, leg)?;
        let said = Wire::lay(leg, rate, &sound.control)?;
        Ok(Self { _wires: [heard, said], called: sound.control.clone(), keys: sound.keys })
    }

    /// Passes a key on to the called side. One that `sounded` is in the sound already.
    pub(crate) fn press(&self, key: char, sounded: bool) {
        let command = match self.keys {
            Dtmf::Inband if sounded => return,
            Dtmf::Inband => LegCommand::KeysInband(vec![key]),
            // INFO waits for an answered dialog.
            Dtmf::Rfc4733 | Dtmf::Info => LegCommand::Keys(vec![key]),
        };
        if let Err(error) = self.called.send(command) {
            tracing::warn!(%error, "a key cannot be passed on before the answer");
        }
    }
}

/// One leg's sound in another's ear, until dropped.
struct Wire {
    from: LegControl,
    to: LegControl,
    number: u64,
}

impl Wire {
    fn lay(from: &LegControl, rate: SampleRate, to: &LegControl) -> Result<Self, ShardError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (writer, reader) = bridge_ring(rate);
        from.send(LegCommand::Tap { id: TapId(number), track: Direction::Received, writer })?;
        let wire = Self { from: from.clone(), to: to.clone(), number };
        to.send(LegCommand::Hear { source: HearId(number), reader, gain: 1.0 })?;
        Ok(wire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A leg that is gone has cut its wires, and one whose shard is overrun ends with its call.
        let _ = self.to.send(LegCommand::Unhear { source: HearId(self.number) });
        let _ = self.from.send(LegCommand::Untap { id: TapId(self.number) });
    }
}
