//! What sessions come to: counts of all of them, and the record of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use antiphon_engine_call::Cause;
use antiphon_engine_mrcp::{Message, Resource, Start};
use antiphon_media_frame::CallId;
use antiphon_media_plane::LegFigures;
use antiphon_media_sip::{IncomingCall, Peer};
use jiff::Timestamp;

use crate::cdr::{CallRecord, Direction, MrcpUse};
use crate::conversation::{received, sent};
use crate::inbound::called;
use crate::line;
use crate::shared::{Shared, new_call_id};

/// What sessions have come to since the start.
#[derive(Default)]
pub(crate) struct Figures(Mutex<Counts>);

/// A reading of [`Figures`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sessions that are over, by the code of their cause.
    pub(crate) ended: BTreeMap<&'static str, u64>,
    /// RECOGNIZE requests that are complete, by completion cause.
    pub(crate) recognitions: BTreeMap<String, u64>,
    /// SPEAK requests that are complete, by completion cause.
    pub(crate) speeches: BTreeMap<String, u64>,
    /// Requests answered with an error, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
}

impl Figures {
    pub(crate) fn read(&self) -> Counts {
        self.change(|counts| counts.clone())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        // A count is one addition: nothing is half done where a panic was.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A session is over, or never began.
    fn ended(&self, cause: &'static Cause) {
        self.change(|counts| *counts.ended.entry(cause.code).or_default() += 1);
    }

    /// Counts what a message of ours tells, and returns what it completes.
    fn sent(&self, message: &Message) -> Option<Completed> {
        let cause = || message.headers.value("Completion-Cause").unwrap_or_default();
        match &message.start {
            Start::Event { name, .. } if name == "RECOGNITION-COMPLETE" => {
                self.change(|counts| *counts.recognitions.entry(label(cause())).or_default() += 1);
                // 008: understood, when the time was over.
                Some(Completed::Recognition { understood: matches!(&cause().get(..3), Some("000" | "008")) })
            }
            Start::Event { name, .. } if name == "SPEAK-COMPLETE" => {
                self.change(|counts| *counts.speeches.entry(label(cause())).or_default() += 1);
                Some(Completed::Speech)
            }
            Start::Response { status, .. } if *status >= 400 => {
                self.change(|counts| *counts.refused.entry(*status).or_default() += 1);
                None
            }
            _ => None,
        }
    }
}

/// A completion cause without its number: `no-match`.
fn label(cause: &str) -> String {
    cause.split_once(' ').map_or("unknown", |(_, name)| name).to_owned()
}

enum Completed {
    Recognition { understood: bool },
    Speech,
}

/// The account of one session, from its INVITE to its end.
pub(super) struct Account {
    shared: Arc<Shared>,
    pub(super) id: CallId,
    record: CallRecord,
}

impl Account {
    pub(super) fn open(shared: &Arc<Shared>, incoming: &IncomingCall) -> Self {
        let id = new_call_id();
        let mut record = CallRecord::new(id.to_string(), Direction::Inbound, Timestamp::now());
        match incoming.peer() {
            Peer::Trunk(name) => record.trunk = Some(name.clone()),
            Peer::User(name) => record.user = Some(name.clone()),
            Peer::Anonymous => {}
        }
        record.to = called(incoming);
        record.mrcp = Some(MrcpUse::default());
        let to = record.to.clone();
        let leg = record.leg();
        line::describe(incoming, leg);
        leg.to = to;
        record.from = leg.from.clone();
        Self { shared: Arc::clone(shared), id, record }
    }

    /// The record, for what the session tells of its leg.
    pub(super) fn record(&mut self) -> &mut CallRecord {
        &mut self.record
    }

    /// A channel was opened.
    pub(super) fn channel(&mut self, resource: Resource) {
        let used = self.used();
        if !used.resources.iter().any(|known| known == resource.name()) {
            used.resources.push(resource.name().to_owned());
        }
    }

    /// A message goes to the client.
    pub(super) fn sent(&mut self, message: &Message) {
        let completed = self.shared.mrcp.figures.sent(message);
        let used = self.used();
        match completed {
            Some(Completed::Recognition { understood }) => {
                used.recognitions += 1;
                used.understood += u64::from(understood);
            }
            Some(Completed::Speech) => used.speeches += 1,
            None => {}
        }
    }

    /// How the media are doing.
    pub(super) fn heard_of_media(&mut self, figures: &LegFigures) {
        let leg = self.record.leg();
        leg.received.take(&received(figures));
        leg.sent.take(&sent(figures));
    }

    /// The session is over: its record goes where those of calls go.
    pub(super) fn close(mut self, cause: &'static Cause) {
        tracing::info!(call = self.record.id, cause = cause.code, "a session of MRCP is over");
        self.shared.mrcp.figures.ended(cause);
        self.record.end(Timestamp::now(), cause);
        if let Some(records) = self.shared.calls.records() {
            records.submit(self.record);
        }
    }

    fn used(&mut self) -> &mut MrcpUse {
        self.record.mrcp.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use antiphon_engine_mrcp::RequestState;

    use super::*;

    #[test]
    fn what_is_told_to_clients_is_counted_once() {
        let figures = Figures::default();
        let event = |name: &str, cause: &str| {
            Message::event(name, 1, RequestState::Complete).with("Completion-Cause", cause)
        };
        let told = [
            event("RECOGNITION-COMPLETE", "000 success"),
            event("RECOGNITION-COMPLETE", "001 no-match"),
            event("RECOGNITION-COMPLETE", "008 success-maxtime"),
            event("START-OF-INPUT", ""),
            event("SPEAK-COMPLETE", "001 barge-in"),
            Message::response(1, 407, RequestState::Complete),
            Message::response(2, 200, RequestState::InProgress),
        ];
        let understood = told
            .iter()
            .filter_map(|message| figures.sent(message))
            .filter(|completed| matches!(completed, Completed::Recognition { understood: true }));
        assert_eq!(understood.count(), 2);
        let counts = figures.read();
        let one = |label: &str| (label.to_owned(), 1);
        let recognitions = [one("no-match"), one("success"), one("success-maxtime")].into();
        assert_eq!(counts.recognitions, recognitions);
        assert_eq!(counts.speeches, [one("barge-in")].into());
        assert_eq!(counts.refused, [(407, 1)].into());
    }
}
