//! Joins calls: bridges, conferences, supervision. It owns the rooms; legs and conversations do what it tells them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use antiphon_engine_call::{Cause, Hearing, Part, Rewiring, Room, RoomError, Wire, WireTrack};
use antiphon_media_frame::{CallId, Direction, SampleRate};
use antiphon_media_plane::{HearId, LegCommand, LegControl, TapId, bridge_ring};

use crate::conversation::{Command, Happening, Inlet};
use crate::trunks::Origin;

/// What a call is told of its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Another speaker is there.
    Joined { with: CallId },
    /// A speaker is gone; `alone` says that nobody else is left to speak with.
    Left { with: CallId, alone: bool },
    /// The call is in a conference from here on.
    Conference { name: String },
    /// Somebody supervises this call, or does so in another way.
    Supervised { by: CallId, mode: Mode },
    /// A supervisor has left.
    Unsupervised { by: CallId },
    /// The call has lost its place to a supervisor.
    Displaced { by: CallId },
}

/// How a supervisor takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Listen,
    Whisper,
    Barge,
    TakeOver,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Whisper => "whisper",
            Self::Barge => "barge",
            Self::TakeOver => "take_over",
        }
    }
}

/// Why calls cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SwitchError {
    #[error("the call {0} is not answered or already over")]
    Absent(CallId),
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("a call cannot be joined to itself")]
    Itself,
    #[error("there is nobody to whisper to: the call is with the machine")]
    NoAgent,
}

/// A call that can be joined to others.
pub(crate) struct Station {
    pub(crate) control: LegControl,
    pub(crate) rate: SampleRate,
    pub(crate) inlet: Inlet,
    pub(crate) origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RoomId(u64);

struct Hall {
    room: Room,
    /// Conferences last while anybody is in; others end for the last speaker.
    name: Option<String>,
}

#[derive(Default)]
struct State {
    stations: BTreeMap<CallId, Station>,
    places: BTreeMap<CallId, RoomId>,
    halls: BTreeMap<RoomId, Hall>,
    wires: BTreeMap<Wire, u64>,
    next_room: u64,
    next_wire: u64,
}

/// Every room of the process.
#[derive(Default)]
pub(crate) struct Switch {
    state: Mutex<State>,
}

impl Switch {
    /// An answered call can be joined from here on.
    pub(crate) fn enter(&self, call: CallId, station: Station) {
        self.lock().stations.insert(call, station);
    }

    /// The call is over: it leaves its room, and whoever is left hears of it.
    pub(crate) fn leave(&self, call: CallId) {
        let mut state = self.lock();
        state.vacate(call);
        state.stations.remove(&call);
    }

    /// Takes a call out of its room; it stays answered, and is told that it is alone.
    pub(crate) fn part(&self, call: CallId) {
        let with = self.partners(call).first().copied();
        let mut state = self.lock();
        state.vacate(call);
        if let Some(with) = with {
            state.tell(call, Notice::Left { with, alone: true });
        }
    }

    /// Lets two calls hear each other. Whoever was with either stays with it.
    pub(crate) fn bridge(&self, one: CallId, other: CallId) -> Result<(), SwitchError> {
        if one == other {
            return Err(SwitchError::Itself);
        }
        let mut state = self.lock();
        let hall = state.hall_of(one)?;
        state.hall_of(other)?;
        state.move_into(other, hall)
    }

    /// Brings a call into the conference of this name, and makes it where there is none.
    pub(crate) fn confer(&self, call: CallId, name: &str) -> Result<(), SwitchError> {
        let mut state = self.lock();
        let existing =
            state.halls.iter().find(|(_, hall)| hall.name.as_deref() == Some(name)).map(|(id, _)| *id);
        let hall = existing.unwrap_or_else(|| state.new_hall(Some(name.to_owned())));
        if !state.stations.contains_key(&call) {
            state.close_if_empty(hall);
            return Err(SwitchError::Absent(call));
        }
        if state.places.get(&call) == Some(&hall) {
            return Err(RoomError::Seated.into());
        }
        state.vacate(call);
        state.seat(call, hall, Part::Speaker)?;
        state.tell(call, Notice::Conference { name: name.to_owned() });
        Ok(())
    }

    /// Lets a call supervise another, or do so in another way than before.
    pub(crate) fn supervise(
        &self,
        supervisor: CallId,
        target: CallId,
        mode: Mode,
        hearing: Hearing,
    ) -> Result<(), SwitchError> {
        if supervisor == target {
            return Err(SwitchError::Itself);
        }
        let mut state = self.lock();
        let hall = state.hall_of(target)?;
        let others: Vec<_> = state.halls[&hall]
            .room
            .speakers()
            .filter(|call| *call != target && *call != supervisor)
            .collect();
        let part = match mode {
            Mode::Listen => Part::Listener { of: target, hearing },
            Mode::Whisper => Part::Whisperer { to: *others.first().ok_or(SwitchError::NoAgent)? },
            Mode::Barge => Part::Barger,
            Mode::TakeOver => Part::Speaker,
        };
        if state.places.get(&supervisor) == Some(&hall) {
            let rewiring = state.room(hall).assign(supervisor, part)?;
            state.rewire(&rewiring);
        } else {
            if !state.stations.contains_key(&supervisor) {
                state.close_if_empty(hall);
                return Err(SwitchError::Absent(supervisor));
            }
            state.vacate(supervisor);
            state.seat(supervisor, hall, part)?;
        }
        if mode == Mode::TakeOver {
            for other in others {
                let rewiring = state.room(hall).leave(other);
                state.rewire(&rewiring);
                state.places.remove(&other);
                state.tell(other, Notice::Displaced { by: supervisor });
                state.tell(target, Notice::Left { with: other, alone: false });
            }
            state.tell(target, Notice::Joined { with: supervisor });
        }
        for call in [target, supervisor] {
            state.tell(call, Notice::Supervised { by: supervisor, mode });
        }
        Ok(())
    }

    /// Holds a call or takes it back; harmless for one that is in no room.
    pub(crate) fn hold(&self, call: CallId, held: bool) {
        let mut state = self.lock();
        let Some(hall) = state.places.get(&call).copied() else { return };
        if let Ok(rewiring) = state.room(hall).hold(call, held) {
            state.rewire(&rewiring);
        }
    }

    /// The way into a call's task.
    pub(crate) fn inlet(&self, call: CallId) -> Option<Inlet> {
        self.lock().stations.get(&call).map(|station| station.inlet.clone())
    }

    /// The call of this user, or of whatever else it is; the latest, where there are several.
    pub(crate) fn call_of(&self, origin: &Origin) -> Option<CallId> {
        let state = self.lock();
        let theirs = state.stations.iter().filter(|(_, station)| station.origin == *origin);
        // Calls in a room before calls with the machine: those are what is supervised.
        theirs.map(|(call, _)| *call).max_by_key(|call| state.places.contains_key(call))
    }

    /// Who is in a room with this call and speaks there.
    pub(crate) fn partners(&self, call: CallId) -> Vec<CallId> {
        let state = self.lock();
        let hall = state.places.get(&call).and_then(|hall| state.halls.get(hall));
        hall.map(|hall| hall.room.speakers().filter(|other| *other != call).collect()).unwrap_or_default()
    }

    /// Every conference with its members.
    pub(crate) fn conferences(&self) -> Vec<(String, Vec<(CallId, Part)>)> {
        let state = self.lock();
        let named = state.halls.values().filter_map(|hall| Some((hall.name.clone()?, hall)));
        named.map(|(name, hall)| (name, hall.room.members().collect())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in here would leave wires that nobody cuts, which their legs survive.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The hall a call is in; one of its own where it is in none.
    fn hall_of(&mut self, call: CallId) -> Result<RoomId, SwitchError> {
        if let Some(hall) = self.places.get(&call) {
            return Ok(*hall);
        }
        if !self.stations.contains_key(&call) {
            return Err(SwitchError::Absent(call));
        }
        let hall = self.new_hall(None);
        self.seat(call, hall, Part::Speaker)?;
        Ok(hall)
    }

    fn new_hall(&mut self, name: Option<String>) -> RoomId {
        self.next_room += 1;
        let id = RoomId(self.next_room);
        self.halls.insert(id, Hall { room: Room::default(), name });
        id
    }

    fn room(&mut self, hall: RoomId) -> &mut Room {
        &mut self.halls.entry(hall).or_insert_with(|| Hall { room: Room::default(), name: None }).room
    }

    fn seat(&mut self, call: CallId, hall: RoomId, part: Part) -> Result<(), SwitchError> {
        let speakers: Vec<_> = self.room(hall).speakers().collect();
        let rewiring = match self.room(hall).join(call, part) {
            Ok(rewiring) => rewiring,
            Err(error) => {
                self.close_if_empty(hall);
                return Err(error.into());
            }
        };
        self.places.insert(call, hall);
        self.rewire(&rewiring);
        if part == Part::Speaker {
            for other in speakers {
                self.tell(other, Notice::Joined { with: call });
                self.tell(call, Notice::Joined { with: other });
            }
        }
        Ok(())
    }

    /// Moves a call, and whoever is with it, into a hall.
    fn move_into(&mut self, call: CallId, hall: RoomId) -> Result<(), SwitchError> {
        let Some(from) = self.places.get(&call).copied() else { return Err(SwitchError::Absent(call)) };
        if from == hall {
            return Err(RoomError::Seated.into());
        }
        let members: Vec<_> = self.room(from).members().collect();
        if self.room(hall).members().count() + members.len() > antiphon_engine_call::ROOM_LIMIT {
            return Err(RoomError::Full.into());
        }
        for (member, _) in &members {
            let rewiring = self.room(from).leave(*member);
            self.rewire(&rewiring);
            self.places.remove(member);
        }
        self.halls.remove(&from);
        for (member, part) in members {
            self.seat(member, hall, part)?;
        }
        Ok(())
    }

    /// Takes a call out of its room and tells those who are left.
    fn vacate(&mut self, call: CallId) {
        let Some(hall) = self.places.remove(&call) else { return };
        let part = self.room(hall).part(call);
        let rewiring = self.room(hall).leave(call);
        self.rewire(&rewiring);
        let members: Vec<_> = self.room(hall).members().collect();
        let speakers = members.iter().filter(|(_, part)| *part == Part::Speaker).count();
        let is_conference = self.halls[&hall].name.is_some();
        for (member, _) in &members {
            if part == Some(Part::Speaker) {
                // A conference of one waits for others.
                let alone = !is_conference && (speakers < 2);
                self.tell(*member, Notice::Left { with: call, alone });
            } else {
                self.tell(*member, Notice::Unsupervised { by: call });
            }
        }
        self.close_if_empty(hall);
    }

    fn close_if_empty(&mut self, hall: RoomId) {
        let Some(open) = self.halls.get(&hall) else { return };
        let members: Vec<_> = open.room.members().map(|(call, _)| call).collect();
        // One speaker with nobody else needs no room.
        let idle = open.name.is_none() && members.len() == 1 && open.room.speakers().count() == 1;
        if members.is_empty() || idle {
            self.halls.remove(&hall);
            for call in members {
                self.places.remove(&call);
            }
        }
    }

    fn rewire(&mut self, rewiring: &Rewiring) {
        for wire in &rewiring.cut {
            let Some(number) = self.wires.remove(wire) else { continue };
            self.send(wire.to, LegCommand::Unhear { source: HearId(number) });
            self.send(wire.from, LegCommand::Untap { id: TapId(number) });
        }
        for wire in &rewiring.lay {
            let Some(rate) = self.stations.get(&wire.from).map(|station| station.rate) else { continue };
            self.next_wire += 1;
            let number = self.next_wire;
            let (writer, reader) = bridge_ring(rate);
            let track = match wire.track {
                WireTrack::Received => Direction::Received,
                WireTrack::Sent => Direction::Sent,
            };
            self.send(wire.from, LegCommand::Tap { id: TapId(number), track, writer });
            self.send(wire.to, LegCommand::Hear { source: HearId(number), reader, gain: 1.0 });
            self.wires.insert(*wire, number);
        }
    }

    fn send(&self, call: CallId, command: LegCommand) {
        let Some(station) = self.stations.get(&call) else { return };
        if let Err(error) = station.control.send(command) {
            // A wire that is missing would leave somebody in silence for the rest of the call.
            tracing::error!(%call, %error, "a leg could not be rewired; its call ends");
            station.inlet.tell(Happening::Command(Command::End(Cause::OVERRUN)));
        }
    }

    fn tell(&self, call: CallId, notice: Notice) {
        if let Some(station) = self.stations.get(&call) {
            station.inlet.tell(Happening::Room(notice));
        }
    }
}
