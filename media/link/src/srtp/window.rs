//! Which packets came already (RFC 3711 §3.3.1 and §3.3.2).

/// Packets behind the newest whose coming is remembered: 2.5 s of 20 ms packets.
const REMEMBERED: u32 = 128;
/// Largest index: 32 bits of roll-over counter and 16 of sequence number.
const LAST: u64 = (1 << 48) - 1;

/// The newest index and which of those before it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    top: u64,
    /// Bit n: `top - n` came.
    seen: u128,
}

impl Window {
    /// Of a source of which `index` came first.
    pub(super) const fn new(index: u64) -> Self {
        Self { top: index, seen: 1 }
    }

    pub(super) const fn top(&self) -> u64 {
        self.top
    }

    /// Whether `index` has not come yet, as far as is remembered.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.top.checked_sub(index) {
            None => true,
            Some(back) => back < u64::from(REMEMBERED) && self.seen >> back & 1 == 0,
        }
    }

    pub(super) fn mark(&mut self, index: u64) {
        match self.top.checked_sub(index) {
            None => {
                let forward = index - self.top;
                self.seen =
                    u32::try_from(forward).ok().and_then(|n| self.seen.checked_shl(n)).unwrap_or(0) | 1;
                self.top = index;
            }
            Some(back) if back < u64::from(REMEMBERED) => self.seen |= 1 << back,
            Some(_) => {}
        }
    }
}

/// The index with this sequence number that lies nearest to `top`; `None` before the first and after the last.
pub(super) fn nearest(top: u64, sequence: u16) -> Option<u64> {
    let ahead = sequence.wrapping_sub(top as u16);
    let index = if ahead < 0x8000 {
        top.checked_add(u64::from(ahead))?
    } else {
        top.checked_sub(0x1_0000 - u64::from(ahead))?
    };
    (index <= LAST).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_index_crosses_roll_overs_both_ways() {
        assert_eq!(nearest(0xFFFF, 0), Some(0x1_0000));
        assert_eq!(nearest(0x1_0000, 0xFFFF), Some(0xFFFF));
        assert_eq!(nearest(5, 0xFFFF), None);
        assert_eq!(nearest(0x2_0005, 0x8004), Some(0x2_8004));
        assert_eq!(nearest(0x2_0005, 0x8006), Some(0x1_8006));
        assert_eq!(nearest(LAST, 0), None);
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice_and_nothing_near_is_refused(steps in prop::collection::vec(-130i64..200, 1..300)) {
            let mut window = Window::new(1_000);
            let mut came = std::collections::BTreeSet::from([1_000u64]);
            for step in steps {
                let index = window.top().saturating_add_signed(step);
                let expected = !came.contains(&index) && index + u64::from(REMEMBERED) > window.top();
                prop_assert_eq!(window.is_new(index), expected);
                if expected {
                    window.mark(index);
                    came.insert(index);
                }
            }
        }
    }
}
