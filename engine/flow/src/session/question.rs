//! A question: what the caller says and presses, and what follows from silence and from words nobody understands.

use std::sync::Arc;

use antiphon_engine_call::{Decision, Effect, EventBody, MediaTime};
use serde_json::Value;

use super::{Session, State};
use crate::entity::{Found, SlotKind, Tongue, all_digits};
use crate::model::{Action, Ask, KeyTarget, Piece, StepId};
use crate::template::{Part, Style, Template};
use crate::text::tokens;

/// A question under way.
#[derive(Debug)]
pub(super) struct Question {
    step: StepId,
    silences: u32,
    misses: u32,
    /// Keys collected so far.
    pressed: String,
    /// Digits spoken so far, too few yet.
    spoken: String,
    confirming: Option<Guess>,
    /// Words that came while something was said that must be heard.
    early: Option<(String, f32)>,
    /// Whether the prompt has been said again after a noise cut it.
    resumed: bool,
}

/// What the caller is asked to confirm.
#[derive(Clone, Debug)]
enum Guess {
    Intent { intent: usize, step: StepId, words: Vec<String> },
    Slot { value: Value },
}

/// What became of a sentence.
enum Understood {
    /// The flow goes on there.
    Step(Option<StepId>),
    /// The question is being asked on.
    Waiting,
    Nothing,
}

impl Session {
    pub(super) fn ask(&mut self, now: MediaTime, step: StepId) {
        let flow = Arc::clone(&self.flow);
        let Action::Ask(ask) = &flow.source.steps[step].action else { return };
        self.state = State::Asking(Box::new(Question {
            step,
            silences: 0,
            misses: 0,
            pressed: String::new(),
            spoken: String::new(),
            confirming: None,
            early: None,
            resumed: false,
        }));
        self.timer = None;
        self.listen(ask, false);
        self.last_said.extend(ask.prompt.iter().cloned());
        if ask.digits.is_none() && ask.keys.is_empty() {
            self.keys.clear();
        }
        // Who types ahead knows the prompt.
        if self.keys.is_empty() {
            self.say(&ask.prompt, ask.barge_in);
        }
        self.quieter(now);
    }

    /// Something was said to its end, or there was nothing to say: keys and words that waited have their turn, and
    /// then the caller.
    pub(super) fn quieter(&mut self, now: MediaTime) {
        if self.must_be_heard() {
            return;
        }
        if !self.keys.is_empty() {
            return self.keys_pressed(now);
        }
        let early = match &mut self.state {
            State::Asking(question) => question.early.take(),
            _ => None,
        };
        if let Some((text, confidence)) = early {
            return self.heard_early(now, &text, confidence);
        }
        self.wait(now);
    }

    /// Starts the clock of silence, if it is the caller's turn.
    fn wait(&mut self, now: MediaTime) {
        let Some((ask, _)) = self.asking() else { return };
        if !self.speaking.is_empty() || self.voice.active || self.timer.is_some() {
            return;
        }
        let State::Asking(question) = &self.state else { return };
        let collecting = !question.pressed.is_empty() || !question.spoken.is_empty();
        self.timer = Some(now + if collecting { ask.inter_digit } else { ask.no_input_after });
    }

    pub(super) fn speech_ended(&mut self, now: MediaTime, silent: bool) {
        let Some((ask, _)) = self.asking() else { return };
        let cut = self.voice.cut;
        if let State::Asking(question) = &mut self.state
            && silent
            && cut
            && !question.resumed
            && self.speaking.is_empty()
        {
            // A cough cut the question off: say it again, once.
            question.resumed = true;
            let pieces = self.last_said.clone();
            return self.say(&pieces, ask.barge_in);
        }
        self.wait(now);
    }

    pub(super) fn question_timeout(&mut self, now: MediaTime) {
        let Some((ask, _)) = self.asking() else { return };
        let State::Asking(question) = &mut self.state else { return };
        if !question.pressed.is_empty() {
            return self.collected(now, &ask);
        }
        if !std::mem::take(&mut question.spoken).is_empty() {
            return self.miss(now, &ask);
        }
        question.silences += 1;
        let count = question.silences;
        self.effects.push_back(Effect::Notify(EventBody::NoInput { count }));
        self.again(now, &ask, true);
    }

    pub(super) fn keys_pressed(&mut self, now: MediaTime) {
        while !self.keys.is_empty() && !self.must_be_heard() {
            let Some((ask, step)) = self.asking() else { return };
            let Some(key) = self.keys.pop_front() else { return };
            self.steps = 0;
            self.stop_speaking();
            self.speaking.clear();
            self.timer = None;
            let State::Asking(question) = &mut self.state else { return };
            if question.confirming.is_some() {
                match key {
                    '1' => self.confirmed(now, &ask, true),
                    '2' => self.confirmed(now, &ask, false),
                    _ => self.miss(now, &ask),
                }
                continue;
            }
            match ask.digits {
                Some(collect) if Some(key) == collect.finish => self.collected(now, &ask),
                Some(collect) if key.is_ascii_digit() => {
                    question.pressed.push(key);
                    if question.pressed.len() >= collect.max {
                        self.complete(now, &ask, collect.finish);
                    } else {
                        self.timer = Some(now + ask.inter_digit);
                    }
                }
                _ => match ask.keys.get(&key) {
                    Some(KeyTarget::Step(target)) => {
                        let target = *target;
                        self.go(now, Some(target));
                    }
                    Some(KeyTarget::Value(value)) => {
                        let value = value.clone();
                        self.slot_filled(now, &ask, step, value, 1.0, true);
                    }
                    None => self.miss(now, &ask),
                },
            }
        }
    }

    /// The last digit there can be was pressed. Many callers press the finish key all the same: it is no answer to the
    /// next question.
    fn complete(&mut self, now: MediaTime, ask: &Ask, finish: Option<char>) {
        match (finish, self.keys.front()) {
            (Some(finish), Some(next)) if *next == finish => {
                self.keys.pop_front();
            }
            (Some(finish), None) => self.spare_finish = Some((finish, now + ask.inter_digit)),
            _ => {}
        }
        self.collected(now, ask);
    }

    /// The keys pressed are all there will be.
    fn collected(&mut self, now: MediaTime, ask: &Ask) {
        let State::Asking(question) = &mut self.state else { return };
        let (pressed, step) = (std::mem::take(&mut question.pressed), question.step);
        let enough = ask.digits.is_some_and(|collect| pressed.len() >= collect.min);
        let kind = ask.slot.as_ref().and_then(|target| self.flow.source.slots.get(&target.slot));
        match kind.filter(|_| enough).and_then(|slot| slot.kind.pressed(&pressed)) {
            Some(value) => self.slot_filled(now, ask, step, value, 1.0, true),
            None => self.miss(now, ask),
        }
    }

    pub(super) fn heard(&mut self, now: MediaTime, text: &str, confidence: f32) {
        if self.must_be_heard() {
            if let State::Asking(question) = &mut self.state {
                question.early = Some((text.to_owned(), confidence));
            }
            return;
        }
        let Some((ask, _)) = self.asking() else { return };
        match self.understand(now, text, confidence, true) {
            Understood::Step(step) => self.go(now, step),
            Understood::Waiting => {}
            Understood::Nothing => {
                self.miss(now, &ask);
            }
        }
    }

    /// Words spoken over something that had to be heard count only if they make sense.
    fn heard_early(&mut self, now: MediaTime, text: &str, confidence: f32) {
        match self.understand(now, text, confidence, false) {
            Understood::Step(step) => self.go(now, step),
            Understood::Waiting => {}
            Understood::Nothing => self.wait(now),
        }
    }

    /// Leaves the question.
    fn go(&mut self, now: MediaTime, step: Option<StepId>) {
        self.stop_speaking();
        self.speaking.clear();
        self.timer = None;
        self.last_said.clear();
        self.run(now, step);
    }

    fn understand(&mut self, now: MediaTime, text: &str, confidence: f32, report: bool) -> Understood {
        let Some((ask, step)) = self.asking() else { return Understood::Waiting };
        let words = tokens(text);
        if words.is_empty() {
            self.timer = None;
            self.wait(now);
            return Understood::Waiting;
        }
        self.steps = 0;
        self.timer = None;
        let flow = Arc::clone(&self.flow);
        let State::Asking(question) = &mut self.state else { return Understood::Waiting };
        if let Some(guess) = question.confirming.clone()
            && let Some(answer) = SlotKind::YesNo.find(&words, flow.source.tongue, None)
        {
            let yes = answer.value == Value::Bool(true);
            // "No, three hundred": the correction comes along.
            let better = match guess {
                Guess::Slot { .. } if !yes => self.slot_in(&ask, &words),
                _ => None,
            };
            match better {
                Some(found) => self.answered(now, &ask, step, found, &words, confidence),
                None => self.confirmed(now, &ask, yes),
            }
            return Understood::Waiting;
        }
        let found = self.slot_in(&ask, &words);
        let (intent, score, decision, target) = self.classify(&ask, &words);
        // A value that makes up most of the sentence is the answer; else a clear intent is.
        let mostly = found.as_ref().is_some_and(|found| (found.end - found.start) * 2 >= words.len());
        let clear = decision == Decision::Accept && (found.is_none() || (!mostly && score > 0.8));
        if let Some(found) = found.filter(|_| !clear) {
            self.answered(now, &ask, step, found, &words, confidence);
            return Understood::Waiting;
        }
        let partial = decision != Decision::Accept && self.digits_so_far(now, &ask, &words, confidence);
        if partial {
            return Understood::Waiting;
        }
        if report || decision == Decision::Accept {
            let name = intent.map(|n| flow.source.intents[n].name.clone());
            self.effects.push_back(Effect::Notify(EventBody::Intent { name, confidence: score, decision }));
        }
        let (Some(intent), Some(target)) = (intent, target) else { return Understood::Nothing };
        match (decision, target) {
            (Decision::Accept, Route::Repeat) => {
                self.stop_speaking();
                self.speaking.clear();
                let pieces = self.last_said.clone();
                self.say(&pieces, ask.barge_in);
                Understood::Waiting
            }
            (Decision::Accept, Route::Step(target)) => {
                self.fill_intent(intent, &words);
                Understood::Step(Some(target))
            }
            (Decision::Confirm, Route::Step(target)) if report => {
                let pieces = match &ask.confirm {
                    Some(confirm) if ask.slot.is_none() => confirm.pieces.clone(),
                    _ => vec![default_confirm(flow.source.tongue)],
                };
                self.assign("title", flow.source.intents[intent].title.clone().into());
                self.confirm(now, &ask, &pieces, Guess::Intent { intent, step: target, words });
                Understood::Waiting
            }
            _ => Understood::Nothing,
        }
    }

    /// The value of the question's slot in the sentence.
    fn slot_in(&self, ask: &Ask, words: &[String]) -> Option<Found<Value>> {
        let target = ask.slot.as_ref()?;
        let source = &self.flow.source;
        source.slots.get(&target.slot)?.kind.find(words, source.tongue, self.today())
    }

    /// Takes the answer to one slot of an intent; more of them may come in the same breath ("two hundred, tomorrow").
    fn answered(
        &mut self,
        now: MediaTime,
        ask: &Ask,
        step: StepId,
        found: Found<Value>,
        words: &[String],
        sure: f32,
    ) {
        if let Some(target) = ask.slot.as_ref().filter(|target| self.open_slots.contains(&target.slot)) {
            let mut rest = words.to_vec();
            rest.splice(found.start..found.end, ["<>".to_owned()]);
            self.fill_open(&rest, Some(&target.slot));
        }
        self.slot_filled(now, ask, step, found.value, sure, false);
    }

    /// Keeps digits that are too few, so that a caller may pause while reading a number out.
    fn digits_so_far(&mut self, now: MediaTime, ask: &Ask, words: &[String], confidence: f32) -> bool {
        let flow = Arc::clone(&self.flow);
        let Some(SlotKind::Digits { min, max }) =
            ask.slot.as_ref().and_then(|target| flow.source.slots.get(&target.slot)).map(|slot| &slot.kind)
        else {
            return false;
        };
        let State::Asking(question) = &mut self.state else { return false };
        let digits = all_digits(words, flow.source.tongue);
        let so_far = question.spoken.len() + digits.len();
        // One digit among other words is more likely a word misheard.
        if digits.is_empty()
            || so_far > *max
            || (digits.len() * 3 < words.len() && question.spoken.is_empty())
        {
            return false;
        }
        question.spoken.push_str(&digits);
        if so_far < *min {
            self.timer = Some(now + ask.inter_digit);
            return true;
        }
        let (value, step) = (std::mem::take(&mut question.spoken), question.step);
        self.slot_filled(now, ask, step, value.into(), confidence, false);
        true
    }

    fn classify(&self, ask: &Ask, words: &[String]) -> (Option<usize>, f32, Decision, Option<Route>) {
        let source = &self.flow.source;
        let scores = self.flow.classifier.classify(words, &source.intents, self.today());
        let routes = self.routes(ask);
        let best = routes.iter().max_by(|a, b| scores[a.0].total_cmp(&scores[b.0]).then(b.0.cmp(&a.0)));
        let Some((intent, route)) = best.copied() else { return (None, 0.0, Decision::NoMatch, None) };
        let score = scores[intent];
        let second = scores
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != intent)
            .map(|(_, score)| *score)
            .fold(0.0, f32::max);
        let settings = &source.settings;
        let decision = if score >= settings.accept && score - second >= settings.margin {
            Decision::Accept
        } else if score >= settings.confirm && score >= second {
            Decision::Confirm
        } else {
            Decision::NoMatch
        };
        if decision == Decision::NoMatch {
            return (None, score, decision, None);
        }
        (Some(intent), score, decision, Some(route))
    }

    /// Where each intent leads from here: the question's own first, then the flow's, then the built-in repeat.
    pub(super) fn routes(&self, ask: &Ask) -> Vec<(usize, Route)> {
        let source = &self.flow.source;
        let mut routes: Vec<(usize, Route)> =
            ask.intents.iter().map(|(intent, step)| (*intent, Route::Step(*step))).collect();
        let mut add = |intent: usize, route: Route| {
            if routes.iter().all(|(known, _)| *known != intent) {
                routes.push((intent, route));
            }
        };
        if ask.globals {
            source.globals.iter().for_each(|(intent, step)| add(*intent, Route::Step(*step)));
        }
        if let Some(repeat) = source.intents.iter().position(|intent| intent.name == "repeat") {
            add(repeat, Route::Repeat);
        }
        routes
    }

    /// Fills the slots of an accepted intent anew from the sentence it came in.
    fn fill_intent(&mut self, intent: usize, words: &[String]) {
        let flow = Arc::clone(&self.flow);
        let slots = &flow.source.intents[intent].slots;
        for slot in slots {
            self.assign(slot, Value::Null);
        }
        self.open_slots.clone_from(slots);
        self.fill_open(words, None);
    }

    /// Fills the open slots that hold nothing yet from what the sentence has left.
    fn fill_open(&mut self, words: &[String], except: Option<&str>) {
        let flow = Arc::clone(&self.flow);
        let mut open: Vec<String> = self.open_slots.clone();
        open.retain(|name| flow.source.slots.contains_key(name));
        open.sort_by_key(|name| flow.source.slots[name].kind.precedence());
        let mut words = words.to_vec();
        for name in open {
            let kind = &flow.source.slots[&name].kind;
            if matches!(kind, SlotKind::YesNo) {
                continue;
            }
            let Some(found) = kind.find(&words, flow.source.tongue, self.today()) else { continue };
            words.splice(found.start..found.end, ["<>".to_owned()]);
            let empty = self.variables.get(&name).is_none_or(Value::is_null);
            if empty && except != Some(name.as_str()) {
                self.fill_slot(&name, found.value);
            }
        }
    }

    fn slot_filled(
        &mut self,
        now: MediaTime,
        ask: &Ask,
        step: StepId,
        value: Value,
        confidence: f32,
        keyed: bool,
    ) {
        let Some(target) = &ask.slot else { return };
        self.fill_slot(&target.variable, value.clone());
        let next = self.flow.source.steps[step].next;
        match &ask.confirm {
            // Keys are what they are.
            Some(confirm) if !keyed && (confirm.always || confidence < self.flow.source.settings.sure) => {
                let pieces = confirm.pieces.clone();
                self.confirm(now, ask, &pieces, Guess::Slot { value });
            }
            _ => self.go(now, next),
        }
    }

    fn confirm(&mut self, now: MediaTime, ask: &Ask, pieces: &[Piece], guess: Guess) {
        self.stop_speaking();
        self.speaking.clear();
        if let State::Asking(question) = &mut self.state {
            question.confirming = Some(guess);
            question.spoken.clear();
        }
        self.listen(ask, true);
        self.last_said = pieces.to_vec();
        self.say(pieces, ask.barge_in);
        self.wait(now);
    }

    fn confirmed(&mut self, now: MediaTime, ask: &Ask, yes: bool) {
        let State::Asking(question) = &mut self.state else { return };
        let step = question.step;
        match (question.confirming.take(), yes) {
            (Some(Guess::Intent { intent, step, words }), true) => {
                self.fill_intent(intent, &words);
                self.go(now, Some(step));
            }
            (Some(Guess::Slot { value }), true) => {
                debug_assert!(!value.is_null(), "only values are confirmed");
                let next = self.flow.source.steps[step].next;
                self.go(now, next);
            }
            (guess, false) => {
                question.misses += 1;
                if let (Some(Guess::Slot { .. }), Some(target)) = (guess, &ask.slot) {
                    self.assign(&target.variable, Value::Null);
                }
                self.listen(ask, false);
                if self.exhausted(ask) {
                    return self.give_up(now, ask);
                }
                self.last_said.clone_from(&ask.prompt);
                self.stop_speaking();
                self.speaking.clear();
                self.say(&ask.prompt, ask.barge_in);
                self.wait(now);
            }
            (None, true) => {}
        }
    }

    fn miss(&mut self, now: MediaTime, ask: &Ask) {
        let State::Asking(question) = &mut self.state else { return };
        question.misses += 1;
        let count = question.misses;
        self.effects.push_back(Effect::Notify(EventBody::NoMatch { count }));
        self.again(now, ask, false);
    }

    /// Asks again, in other words each time, until the attempts are used up.
    fn again(&mut self, now: MediaTime, ask: &Ask, silent: bool) {
        self.stop_speaking();
        self.speaking.clear();
        self.timer = None;
        if self.exhausted(ask) {
            return self.give_up(now, ask);
        }
        let State::Asking(question) = &mut self.state else { return };
        question.resumed = false;
        let pieces = if question.confirming.is_some() {
            self.last_said.clone()
        } else {
            let (ladder, count) =
                if silent { (&ask.no_input, question.silences) } else { (&ask.no_match, question.misses) };
            match ladder.get(count as usize - 1).or(ladder.last()) {
                Some(pieces) => pieces.clone(),
                None => ask.prompt.clone(),
            }
        };
        self.last_said.clone_from(&pieces);
        self.say(&pieces, ask.barge_in);
        self.wait(now);
    }

    fn exhausted(&self, ask: &Ask) -> bool {
        matches!(&self.state, State::Asking(question) if question.silences + question.misses >= ask.attempts)
    }

    fn give_up(&mut self, now: MediaTime, ask: &Ask) {
        match ask.then {
            Some(step) => self.go(now, Some(step)),
            None => self.hang_up(antiphon_engine_call::Cause::FLOW_HUNG_UP),
        }
    }

    fn asking(&self) -> Option<(Ask, StepId)> {
        let State::Asking(question) = &self.state else { return None };
        match &self.flow.source.steps[question.step].action {
            Action::Ask(ask) => Some(((**ask).clone(), question.step)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Route {
    Step(StepId),
    Repeat,
}

fn default_confirm(tongue: Tongue) -> Piece {
    let title = Part::Variable { name: "title".to_owned(), style: Style::Raw };
    let (before, after) = match tongue {
        Tongue::English => ("Did you mean ", "?"),
        Tongue::Chinese => ("您是说", "，对吗？"),
    };
    Piece::Text(Template { parts: vec![Part::Text(before.to_owned()), title, Part::Text(after.to_owned())] })
}
