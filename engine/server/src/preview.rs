//! One leg's sound let into the ear of another beside any room: what a called side says before it answers.

use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_media_frame::{Direction, SampleRate};
use antiphon_media_plane::{HearId, LegCommand, LegControl, ShardError, TapId, bridge_ring};

/// Names of their own: the switch counts its wires from 1, a leg's own consumers downwards from the highest.
static NEXT: AtomicU64 = AtomicU64::new(1 << 62);

/// A wire from one leg to another, cut when dropped.
pub(crate) struct Preview {
    from: LegControl,
    to: LegControl,
    number: u64,
}

impl Preview {
    /// Lets `to` hear what comes on `from`, whose rate this is.
    pub(crate) fn lay(from: &LegControl, rate: SampleRate, to: &LegControl) -> Result<Self, ShardError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (writer, reader) = bridge_ring(rate);
        from.send(LegCommand::Tap { id: TapId(number), track: Direction::Received, writer })?;
        let preview = Self { from: from.clone(), to: to.clone(), number };
        to.send(LegCommand::Hear { source: HearId(number), reader, gain: 1.0 })?;
        Ok(preview)
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        // A leg that is gone has cut its wires, and one whose shard is overrun ends with its call.
        let _ = self.to.send(LegCommand::Unhear { source: HearId(self.number) });
        let _ = self.from.send(LegCommand::Untap { id: TapId(self.number) });
    }
}
