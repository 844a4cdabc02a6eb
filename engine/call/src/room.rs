//! Who hears whom where calls are joined: bridge, conference, supervision. Without I/O.
//!
//! A [`Room`] holds seats; from the parts people play follow the [`Wire`]s between their legs. A change of a seat gives
//! the wires to lay and to cut; whoever owns the legs carries that out.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_media_frame::CallId;

/// Members of a room at most: each hears all others, so wires grow with the square.
pub const ROOM_LIMIT: usize = 32;

/// Which voices of a supervised call a listener hears.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Hearing {
    /// Everybody.
    #[default]
    Both,
    /// Only the supervised call's far side.
    Caller,
    /// Everybody but the supervised call's far side: the agent, or the machine where there is none.
    Other,
}

/// What a member does in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Speaks to all and hears all; the room is there for its speakers.
    Speaker,
    /// Hears, unheard.
    Listener {
        /// The supervised call.
        of: CallId,
        /// Which voices.
        hearing: Hearing,
    },
    /// Hears everybody, is heard by one.
    Whisperer {
        /// Who hears the whisper.
        to: CallId,
    },
    /// Speaks to all and hears all, but the room does not last for its sake.
    Barger,
}

/// Which track of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WireTrack {
    /// What its far side says.
    Received,
    /// What its far side hears from us: prompts, where nobody else is in the room.
    Sent,
}

/// One leg's track that another leg's far side hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wire {
    /// Whose track.
    pub from: CallId,
    /// Which.
    pub track: WireTrack,
    /// Who hears it.
    pub to: CallId,
}

/// What a change of a room asks for; cuts come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewiring {
    /// Wires to cut.
    pub cut: Vec<Wire>,
    /// Wires to lay.
    pub lay: Vec<Wire>,
}

/// Why somebody cannot have a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// Every seat is taken.
    #[error("all {ROOM_LIMIT} seats of the room are taken")]
    Full,
    /// It has a seat already.
    #[error("the call is in the room already")]
    Seated,
    /// There is no such member.
    #[error("the call is not in the room")]
    Absent,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    part: Part,
    held: bool,
}

/// Calls that hear each other.
#[derive(Debug, Default)]
pub struct Room {
    seats: BTreeMap<CallId, Seat>,
    wires: BTreeSet<Wire>,
}

impl Room {
    /// Gives a seat.
    ///
    /// # Errors
    /// [`RoomError::Full`], [`RoomError::Seated`].
    pub fn join(&mut self, call: CallId, part: Part) -> Result<Rewiring, RoomError> {
        if self.seats.contains_key(&call) {
            return Err(RoomError::Seated);
        }
        if self.seats.len() >= ROOM_LIMIT {
            return Err(RoomError::Full);
        }
        self.seats.insert(call, Seat { part, held: false });
        Ok(self.rewire())
    }

    /// Takes a seat away; harmless for somebody who has none.
    pub fn leave(&mut self, call: CallId) -> Rewiring {
        self.seats.remove(&call);
        self.rewire()
    }

    /// Gives a member another part.
    ///
    /// # Errors
    /// [`RoomError::Absent`].
    pub fn assign(&mut self, call: CallId, part: Part) -> Result<Rewiring, RoomError> {
        self.seats.get_mut(&call).ok_or(RoomError::Absent)?.part = part;
        Ok(self.rewire())
    }

    /// Holds a member (it neither hears nor is heard) or takes it back.
    ///
    /// # Errors
    /// [`RoomError::Absent`].
    pub fn hold(&mut self, call: CallId, held: bool) -> Result<Rewiring, RoomError> {
        self.seats.get_mut(&call).ok_or(RoomError::Absent)?.held = held;
        Ok(self.rewire())
    }

    /// Its members and their parts.
    pub fn members(&self) -> impl Iterator<Item = (CallId, Part)> {
        self.seats.iter().map(|(call, seat)| (*call, seat.part))
    }

    /// Those for whom the room is there.
    pub fn speakers(&self) -> impl Iterator<Item = CallId> {
        self.members().filter(|(_, part)| *part == Part::Speaker).map(|(call, _)| call)
    }

    /// The part of a member.
    #[must_use]
    pub fn part(&self, call: CallId) -> Option<Part> {
        self.seats.get(&call).map(|seat| seat.part)
    }

    /// Whether a member is on hold.
    #[must_use]
    pub fn is_held(&self, call: CallId) -> bool {
        self.seats.get(&call).is_some_and(|seat| seat.held)
    }

    /// The wires that stand.
    #[must_use]
    pub fn wires(&self) -> &BTreeSet<Wire> {
        &self.wires
    }

    fn rewire(&mut self) -> Rewiring {
        let wanted = self.wanted();
        let cut = self.wires.difference(&wanted).copied().collect();
        let lay = wanted.difference(&self.wires).copied().collect();
        self.wires = wanted;
        Rewiring { cut, lay }
    }

    fn wanted(&self) -> BTreeSet<Wire> {
        let present =
            || self.seats.iter().filter(|(_, seat)| !seat.held).map(|(call, seat)| (*call, seat.part));
        let mut wires = BTreeSet::new();
        for (to, hearer) in present() {
            for (from, speaker) in present().filter(|(from, _)| *from != to) {
                if is_heard((from, speaker), (to, hearer)) {
                    wires.insert(Wire { from, track: WireTrack::Received, to });
                }
            }
        }
        self.wire_machine(&mut wires);
        wires
    }

    /// Where one speaker is alone with the machine, the machine's voice is on no leg but in what the speaker is sent.
    /// Whoever speaks to that speaker is in it too, and must not hear himself.
    fn wire_machine(&self, wires: &mut BTreeSet<Wire>) {
        let mut speakers = self.speakers();
        let (Some(alone), None) = (speakers.next(), speakers.next()) else { return };
        if self.is_held(alone) {
            return;
        }
        for (to, seat) in self.seats.iter().filter(|(to, seat)| **to != alone && !seat.held) {
            let listens = match seat.part {
                Part::Listener { hearing, .. } => hearing != Hearing::Caller,
                Part::Whisperer { to } => to != alone,
                Part::Speaker | Part::Barger => false,
            };
            if listens {
                wires.insert(Wire { from: alone, track: WireTrack::Sent, to: *to });
            }
        }
    }
}

/// Whether the first hears what the second says.
fn is_heard((from, speaker): (CallId, Part), (to, hearer): (CallId, Part)) -> bool {
    let spoken_to = match speaker {
        Part::Speaker | Part::Barger => true,
        Part::Whisperer { to: target } => target == to,
        Part::Listener { .. } => false,
    };
    let wants = match hearer {
        Part::Listener { of, hearing } => match hearing {
            Hearing::Both => true,
            Hearing::Caller => from == of,
            Hearing::Other => from != of,
        },
        Part::Speaker | Part::Whisperer { .. } | Part::Barger => true,
    };
    spoken_to && wants
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: CallId = CallId(1);
    const AGENT: CallId = CallId(2);
    const BOSS: CallId = CallId(3);

    fn room(seats: &[(CallId, Part)]) -> Room {
        let mut room = Room::default();
        for (call, part) in seats {
            room.join(*call, *part).expect("a free seat");
        }
        room
    }

    fn heard_by(room: &Room, to: CallId) -> Vec<(u128, WireTrack)> {
        room.wires().iter().filter(|wire| wire.to == to).map(|wire| (wire.from.0, wire.track)).collect()
    }

    #[test]
    fn two_speakers_hear_each_other_and_nobody_hears_himself() {
        let room = room(&[(CALLER, Part::Speaker), (AGENT, Part::Speaker)]);
        assert_eq!(heard_by(&room, CALLER), [(2, WireTrack::Received)]);
        assert_eq!(heard_by(&room, AGENT), [(1, WireTrack::Received)]);
    }

    #[test]
    fn a_listener_hears_the_sides_asked_for_and_is_heard_by_nobody() {
        for (hearing, expected) in [
            (Hearing::Both, vec![(1, WireTrack::Received), (2, WireTrack::Received)]),
            (Hearing::Caller, vec![(1, WireTrack::Received)]),
            (Hearing::Other, vec![(2, WireTrack::Received)]),
        ] {
            let listener = Part::Listener { of: CALLER, hearing };
            let room = room(&[(CALLER, Part::Speaker), (AGENT, Part::Speaker), (BOSS, listener)]);
            assert_eq!(heard_by(&room, BOSS), expected, "{hearing:?}");
            assert_eq!(heard_by(&room, CALLER), [(2, WireTrack::Received)]);
            assert_eq!(heard_by(&room, AGENT), [(1, WireTrack::Received)]);
        }
    }

    #[test]
    fn a_whisper_reaches_the_agent_and_not_the_customer() {
        let whisper = Part::Whisperer { to: AGENT };
        let room = room(&[(CALLER, Part::Speaker), (AGENT, Part::Speaker), (BOSS, whisper)]);
        assert_eq!(heard_by(&room, AGENT), [(1, WireTrack::Received), (3, WireTrack::Received)]);
        assert_eq!(heard_by(&room, CALLER), [(2, WireTrack::Received)]);
        assert_eq!(heard_by(&room, BOSS), [(1, WireTrack::Received), (2, WireTrack::Received)]);
    }

    #[test]
    fn barging_in_makes_three_hear_each_other() {
        let mut room = room(&[(CALLER, Part::Speaker), (AGENT, Part::Speaker)]);
        room.join(BOSS, Part::Listener { of: CALLER, hearing: Hearing::Both }).expect("a free seat");
        let changes = room.assign(BOSS, Part::Barger).expect("a member");
        let both = [CALLER, AGENT].map(|to| Wire { from: BOSS, track: WireTrack::Received, to });
        assert_eq!(changes, Rewiring { cut: vec![], lay: both.to_vec() });
        assert_eq!(room.speakers().count(), 2, "the room is not there for the one who barged in");
    }

    #[test]
    fn a_listener_of_a_call_with_the_machine_hears_the_machine_too() {
        let of = |hearing| Part::Listener { of: CALLER, hearing };
        let both = room(&[(CALLER, Part::Speaker), (BOSS, of(Hearing::Both))]);
        assert_eq!(heard_by(&both, BOSS), [(1, WireTrack::Received), (1, WireTrack::Sent)]);
        let machine = room(&[(CALLER, Part::Speaker), (BOSS, of(Hearing::Other))]);
        assert_eq!(heard_by(&machine, BOSS), [(1, WireTrack::Sent)]);
        let mut barged = both;
        barged.assign(BOSS, Part::Barger).expect("a member");
        assert_eq!(heard_by(&barged, BOSS), [(1, WireTrack::Received)], "he would hear himself");
    }

    #[test]
    fn a_held_member_is_cut_off_both_ways_and_comes_back() {
        let mut room = room(&[(CALLER, Part::Speaker), (AGENT, Part::Speaker), (BOSS, Part::Speaker)]);
        let all = room.wires().clone();
        let held = room.hold(CALLER, true).expect("a member");
        assert_eq!((held.cut.len(), held.lay.len()), (4, 0));
        assert_eq!(room.wires().len(), 2);
        room.hold(CALLER, false).expect("a member");
        assert_eq!(room.wires(), &all);
    }

    #[test]
    fn leaving_cuts_every_wire_of_the_one_who_leaves() {
        let mut room = room(&[(CALLER, Part::Speaker), (AGENT, Part::Speaker), (BOSS, Part::Speaker)]);
        let changes = room.leave(AGENT);
        assert_eq!(changes.cut.len(), 4);
        assert!(changes.cut.iter().all(|wire| wire.from == AGENT || wire.to == AGENT));
        assert_eq!(room.leave(AGENT), Rewiring::default());
        assert_eq!(room.assign(AGENT, Part::Barger), Err(RoomError::Absent));
    }

    #[test]
    fn a_full_room_and_a_second_seat_are_refused() {
        let mut room = Room::default();
        for n in 0..ROOM_LIMIT {
            room.join(CallId(n as u128), Part::Speaker).expect("a free seat");
        }
        assert_eq!(room.join(CallId(99), Part::Speaker), Err(RoomError::Full));
        assert_eq!(room.join(CallId(0), Part::Speaker), Err(RoomError::Seated));
    }
}
