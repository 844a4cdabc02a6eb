//! Handing the caller on, and having him back.

use antiphon_engine_call::{
    ActionId, Cause, Effect, MediaTime, TransferKind, TransferOutcome, TransferRequest,
};

use super::{Session, State};
use crate::model::{Action, StepId, Transfer};
use crate::template::Style;

impl Session {
    pub(super) fn transfer(&mut self, step: StepId, transfer: &Transfer) {
        self.actions += 1;
        let id = ActionId(self.actions);
        let request = TransferRequest {
            to: self.fill(&transfer.to, Style::Raw).trim().to_owned(),
            kind: transfer.kind,
            ring: transfer.ring,
            caller_id: transfer.caller_id.as_ref().map(|id| self.fill(id, Style::Raw)),
            music: transfer.music.iter().filter_map(|piece| self.prompt(piece)).collect(),
            announce: transfer.announce.iter().filter_map(|piece| self.prompt(piece)).collect(),
            screen: transfer.screen,
        };
        self.timer = None;
        self.state = State::Transferring { id, step };
        self.effects.push_back(Effect::Transfer { id, request });
    }

    pub(super) fn transfer_done(&mut self, now: MediaTime, done: ActionId, outcome: &TransferOutcome) {
        let State::Transferring { id, step } = self.state else { return };
        if id != done {
            return;
        }
        let flow = std::sync::Arc::clone(&self.flow);
        let step = &flow.source.steps[step];
        let Action::Transfer(transfer) = &step.action else { return };
        self.assign("transfer_outcome", outcome.name().into());
        // What was said and pressed meanwhile was meant for somebody else.
        self.keys.clear();
        self.last_said.clear();
        if *outcome == TransferOutcome::Completed {
            return match (transfer.kind, step.next) {
                (TransferKind::Bridge, Some(next)) => self.run(now, Some(next)),
                _ => self.hang_up(Cause::TRANSFERRED),
            };
        }
        let way =
            |name: &str| transfer.on.iter().find(|(outcome, _)| *outcome == name).map(|(_, step)| *step);
        self.run(now, way(outcome.name()).or_else(|| way("failed")).or(step.next));
    }
}
