//! What people and other calls ask of a call under way.

use antiphon_engine_call::{Cause, TransferOutcome, TransferRequest};
use antiphon_media_frame::CallId;
use antiphon_media_sip::{IncomingCall, NotifySender};

use crate::ringing::News;
use crate::trunks::Origin;

/// Something to be done to a call.
pub(crate) enum Command {
    /// Hand the far side on.
    Transfer {
        request: TransferRequest,
        /// On whose behalf the target is dialled.
        origin: Origin,
        /// Who asked, and is told how it goes: the far side of another call, by REFER.
        notify: Option<NotifySender>,
    },
    /// Join the far side with another call of ours (an attended transfer), leave others behind, tell who asked.
    Join { with: CallId, instead_of: Vec<CallId>, notify: Option<NotifySender> },
    /// Hand the far side on to another call's far side by REFER with Replaces: both leave us.
    ReferTo { other: CallId },
    /// Keep the far side waiting with music, or take it back.
    Hold(bool),
    /// The far side of the call we are joined to has stopped sending, or sends again.
    PartnerSilent(bool),
    /// Press keys.
    Keys(Vec<char>),
    /// The far side of the call we are joined to pressed a key; `sounded` where it is heard as a tone anyway.
    Passed { key: char, sounded: bool },
    /// Another call takes this one's place (INVITE with Replaces, RFC 3891).
    Replace(Box<IncomingCall>),
    /// Hang up.
    End(&'static Cause),
}

/// What became of something that ran beside the call's task.
pub(crate) enum Done {
    /// The sound for somebody who waits.
    Music(std::sync::Arc<[i16]>),
    /// What is heard of a transfer's target before it answers.
    News(News),
    /// A call to a transfer's target.
    Dialled(Result<CallId, TransferOutcome>),
    /// A REFER.
    Referred(TransferOutcome),
}
