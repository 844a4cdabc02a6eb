//! Handing a caller on to somebody else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Prompt;

/// How a caller is handed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// We call the target and join the two; both stay on our line, recorded and recognised.
    #[default]
    Bridge,
    /// The caller's own side is asked to call the target (REFER, RFC 3515); we are out once that has worked.
    Refer,
}

/// Whom to hand a caller on to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// A number, a user (`user:1001`) or a SIP address, as routes know it.
    pub to: String,
    /// How.
    pub kind: TransferKind,
    /// How long the target may ring.
    pub ring: Duration,
    /// The number shown to the target; the line's own where there is none.
    pub caller_id: Option<String>,
    /// What the caller hears meanwhile, over and over; ringback where there is nothing.
    pub music: Vec<Prompt>,
    /// Said to the target before the two are joined.
    pub announce: Vec<Prompt>,
    /// Whether to find out that a machine answered, and not to join the caller with it.
    pub screen: bool,
}

/// What became of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// The caller and the target spoke (bridge: one of them has hung up since).
    Completed,
    /// The target is busy.
    Busy,
    /// The target declined.
    Declined,
    /// Nobody answered in time.
    NoAnswer,
    /// A machine answered.
    Voicemail,
    /// The target may not be called from here.
    Forbidden,
    /// Nothing could be reached, or something refused for another reason.
    Failed {
        /// The SIP status; 0 where there was none.
        status: u16,
        /// Its phrase, or what went wrong.
        reason: String,
    },
}

impl TransferOutcome {
    /// What a final SIP status (RFC 3261 section 21) says of a transfer.
    #[must_use]
    pub fn of_status(status: u16, reason: &str) -> Self {
        match status {
            200..=299 => Self::Completed,
            486 | 600 => Self::Busy,
            603 | 607 => Self::Declined,
            408 | 480 | 487 => Self::NoAnswer,
            _ => Self::Failed { status, reason: reason.to_owned() },
        }
    }

    /// Its stable name, as in events, flows and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::NoAnswer => "no_answer",
            Self::Voicemail => "voicemail",
            Self::Forbidden => "forbidden",
            Self::Failed { .. } => "failed",
        }
    }

    /// The SIP status behind it, where there was one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Failed { status, .. } if *status != 0 => Some(*status),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_statuses_have_a_meaning_for_people() {
        let names: Vec<_> = [200, 486, 600, 603, 408, 480, 404, 503]
            .into_iter()
            .map(|status| TransferOutcome::of_status(status, "").name())
            .collect();
        let expected =
            ["completed", "busy", "busy", "declined", "no_answer", "no_answer", "failed", "failed"];
        assert_eq!(names, expected);
        assert_eq!(TransferOutcome::of_status(404, "Not Found").status(), Some(404));
        assert_eq!(TransferOutcome::Busy.status(), None);
    }
}
