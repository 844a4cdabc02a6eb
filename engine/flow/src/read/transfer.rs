//! The step that hands the caller on.

use std::time::Duration;

use antiphon_engine_call::TransferKind;

use super::{Fields, Reader, text};
use crate::model::Transfer;
use crate::problem::nearest;
use crate::yaml::Node;

/// What a transfer may come to besides success, as the keys `on_…` have it.
const OUTCOMES: [&str; 6] = ["busy", "declined", "no_answer", "voicemail", "forbidden", "failed"];
const HOW: [&str; 2] = ["bridge", "refer"];

impl Reader<'_> {
    pub(super) fn transfer(&mut self, node: &Node, outer: &Fields<'_>) -> Option<Transfer> {
        let keys = ["to", "how", "ring", "caller_id", "music", "announce", "voicemail"];
        let fields = Fields::read(self.problems, node, "transfer", &keys)?;
        let Some(to) = fields.get("to") else {
            self.problems.error(node.at, "`transfer` wants `to`: a number, `user:NAME` or a SIP address");
            return None;
        };
        let to = self.template(to, false)?;
        let kind = match fields.text(self.problems, "how").as_deref() {
            None | Some("bridge") => TransferKind::Bridge,
            Some("refer") => TransferKind::Refer,
            Some(other) => {
                let at = fields.get("how").map_or(node.at, |node| node.at);
                self.problems.error_meant(
                    at,
                    format!("`{other}` is no way to transfer"),
                    nearest(other, HOW),
                );
                TransferKind::Bridge
            }
        };
        if kind == TransferKind::Refer {
            for key in ["caller_id", "music", "announce", "voicemail"] {
                if let Some(node) = fields.get(key) {
                    self.problems
                        .error(node.at, format!("`{key}` needs `how: bridge`: a referred call is not ours"));
                }
            }
        }
        let screen = match fields.get("voicemail") {
            None => false,
            Some(node) => match text(node) {
                Some("detect") => true,
                Some("accept") => false,
                _ => {
                    self.problems.error(node.at, "`voicemail` wants `detect` or `accept`");
                    false
                }
            },
        };
        let mut on = Vec::new();
        for outcome in OUTCOMES {
            on.extend(self.step_field(outer, &format!("on_{outcome}")).map(|step| (outcome, step)));
        }
        let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(180));
        Some(Transfer {
            to,
            kind,
            ring: fields
                .duration(self.problems, "ring", shortest, longest)
                .unwrap_or(Duration::from_secs(25)),
            caller_id: fields.get("caller_id").and_then(|node| self.template(node, false)),
            music: fields.get("music").map(|node| self.pieces(node)).unwrap_or_default(),
            announce: fields.get("announce").map(|node| self.pieces(node)).unwrap_or_default(),
            screen,
            on,
        })
    }
}
