//! A recogniser and what it is told: the part of a stream that computes, and that may fail.

use std::collections::VecDeque;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Hints, Hypothesis, Partials, Recognition, RecognizeError, Recognizer};

use crate::StreamEvent;
use crate::engine::{Fault, Guarded};
use crate::order::{Order, Orders, Sound};

/// An engine that has this much to say to one push is looping; the rest waits for the next push.
const POLLS: usize = 256;
/// Failures in a row after which a stream is given up.
const PATIENCE: u32 = 3;
/// How much sound lies between two partials of a stream whose partials are thinned.
const THIN: Span = Span::from_secs(1);

/// A recogniser with what it has been told since its last final words, and what it has said.
///
/// It computes nothing by itself: [`Ear::take`] gives it away with some orders as [`Work`], [`Ear::give_back`] takes in
/// what came of them.
pub(crate) struct Ear {
    engine: Guarded,
    /// Sound heard since words were last final: a successor has to hear it again.
    kept: Vec<Sound>,
    /// Up to when words are final within the utterance under way.
    told: Option<MediaTime>,
    /// What the stream may say, where that was changed since it was opened.
    hints: Option<Hints>,
    /// Its work is elsewhere.
    away: bool,
    /// It failed in this utterance and hears no more of it.
    deaf: bool,
    failures: u32,
    /// Successors tried in this utterance.
    tried: u32,
    /// How often a successor may be asked for in one utterance.
    successors: u32,
    wants: bool,
    dead: bool,
    closed: bool,
    thin: bool,
    /// Whether the owner wants partials at all.
    wanted: bool,
    /// What the recogniser was last told of it.
    partials: Partials,
    last_partial: Option<MediaTime>,
    /// The interim words that were told and that no final words have replaced: their revision and when they begin.
    shown: Option<(u32, MediaTime)>,
    pub(crate) events: VecDeque<StreamEvent>,
}

/// What came of giving work back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Well,
    /// It needs a successor, see [`Ear::succeed`].
    Wants,
    /// It is given up: the stream has to end.
    Lost,
}

impl Ear {
    /// A failing recogniser is succeeded up to `successors` times an utterance before the utterance is given up.
    pub(crate) fn new(recognizer: Box<dyn Recognizer>, successors: u32) -> Self {
        Self {
            engine: Guarded::new(recognizer),
            kept: Vec::new(),
            told: None,
            hints: None,
            away: false,
            deaf: false,
            failures: 0,
            tried: 0,
            successors,
            wants: false,
            dead: false,
            closed: false,
            thin: false,
            wanted: true,
            partials: Partials::Normal,
            last_partial: None,
            shown: None,
            events: VecDeque::new(),
        }
    }

    /// Tells what can be told without computing.
    pub(crate) fn tell(&mut self, orders: &mut Orders) {
        if self.away || (self.wants && !self.dead) {
            return;
        }
        while let Some(order) = orders.front() {
            let mute = self.deaf || self.dead;
            match order {
                Order::Begin(at) => {
                    self.deaf = false;
                    self.events.push_back(StreamEvent::SpeechStarted { at: *at });
                }
                Order::End { at, decided_at } if mute => {
                    self.ended(*at, *decided_at);
                }
                Order::Flushed => self.events.push_back(StreamEvent::Flushed),
                Order::Hear(_) | Order::Retract { .. } if mute => {}
                Order::Hint(_) | Order::Misfit { .. } if self.dead => {}
                Order::Close { until } => {
                    self.closed = true;
                    self.events.push_back(StreamEvent::Closed { until: *until });
                    self.engine.discard();
                    orders.clear();
                    return;
                }
                _ => return,
            }
            orders.pop();
        }
    }

    /// Whether there is work to take once its time has come.
    pub(crate) fn idle(&self) -> bool {
        !(self.away || self.wants || self.dead || self.closed)
    }

    /// Takes the recogniser away with up to about `most` of sound, never past the end of an utterance.
    pub(crate) fn take(&mut self, orders: &mut Orders, most: Span) -> Option<Work> {
        if !self.idle() {
            return None;
        }
        let (mut list, mut sound) = (VecDeque::new(), Span::ZERO);
        while sound < most {
            if matches!(orders.front(), None | Some(Order::Close { .. })) {
                break;
            }
            let Some(order) = orders.pop() else { break };
            if let Order::Hear(heard) = &order {
                sound += heard.span();
            }
            // What has to be heard again after a retraction comes before what waits.
            let ends = matches!(order, Order::End { .. } | Order::Retract { .. });
            list.push_back(order);
            if ends {
                break;
            }
        }
        if list.is_empty() {
            return None;
        }
        self.away = true;
        let partials = match (self.wanted, self.thin) {
            (false, _) => Partials::Off,
            (true, true) => Partials::Thinned,
            (true, false) => Partials::Normal,
        };
        let changed = std::mem::replace(&mut self.partials, partials) != partials;
        Some(Work {
            partials: changed.then_some(partials),
            engine: std::mem::take(&mut self.engine),
            orders: list,
            sound,
            heard: Vec::new(),
            said: Vec::new(),
            ending: None,
            fault: None,
        })
    }

    /// Takes in what came of work; what was left undone goes back to `orders`.
    pub(crate) fn give_back(&mut self, work: Work, orders: &mut Orders) -> Fate {
        self.away = false;
        let Work { engine, orders: mut left, heard, said, ending, fault, .. } = work;
        self.engine = engine;
        self.kept.extend(heard);
        let mut again = Vec::new();
        for said in said {
            match said {
                Said::Words(Recognition::Partial(hypothesis)) => self.partial(hypothesis),
                Said::Words(Recognition::Final(utterance)) => {
                    self.told = Some(utterance.end);
                    self.shown = None;
                    self.events.push_back(StreamEvent::Final(utterance));
                }
                Said::Event(StreamEvent::SpeechEnded { at, decided_at }) => {
                    self.failures = 0;
                    self.ended(at, decided_at);
                }
                Said::Event(event) => self.events.push_back(event),
                Said::Retracted { keep } => again = self.retract(keep),
                Said::Hinted(hints) => self.hints = Some(hints),
            }
        }
        if let Some((at, decided_at)) = ending {
            left.push_front(Order::End { at, decided_at });
        }
        while let Some(order) = left.pop_back() {
            orders.push_front(order);
        }
        again.into_iter().rev().for_each(|sound| orders.push_front(Order::Hear(sound)));
        match fault {
            None => Fate::Well,
            Some(fault) => self.fail(fault),
        }
    }

    /// Its work will not come back: the engine hangs. `orders` gets back what it had been told.
    pub(crate) fn bereave(&mut self, told: Vec<Order>, orders: &mut Orders, error: RecognizeError) -> Fate {
        self.away = false;
        for order in told.into_iter().rev() {
            orders.push_front(order);
        }
        self.fail(Fault::Panic(error))
    }

    /// Puts another recogniser in its place, which hears again what has not become final words.
    pub(crate) fn succeed(
        &mut self,
        mut successor: Box<dyn Recognizer>,
        name: &'static str,
        orders: &mut Orders,
    ) {
        if let Some(hints) = &self.hints {
            // Its own hints are a help; a successor without them is better than none.
            let _ = successor.hint(hints);
        }
        self.engine = Guarded::new(successor);
        self.partials = Partials::Normal;
        self.wants = false;
        for sound in self.kept.drain(..).rev() {
            match self.told {
                None => orders.push_front(Order::Hear(sound)),
                Some(told) => {
                    if let Some(rest) = sound.after(told) {
                        orders.push_front(Order::Hear(rest));
                    }
                }
            }
        }
        self.events.push_back(StreamEvent::TakenOver { engine: name });
    }

    /// The successor that was wanted could not be had: the next one is wanted, or it is given up.
    pub(crate) fn retry(&mut self, error: RecognizeError) -> Fate {
        self.wants = false;
        self.fail(Fault::Panic(error))
    }

    /// Ends it where it stands; work that is away is not waited for.
    pub(crate) fn kill(&mut self) {
        self.away = false;
        self.die();
    }

    /// Told that another recogniser is wanted: which attempt of this utterance it is, from 0.
    pub(crate) fn attempt(&self) -> u32 {
        self.tried.saturating_sub(1)
    }

    /// Thins partials out, or no longer.
    pub(crate) fn set_thin(&mut self, thin: bool) {
        if self.thin != thin {
            self.thin = thin;
            self.events.push_back(StreamEvent::Thinned { on: thin });
        }
    }

    /// Whether partials are wanted; without being told otherwise they are.
    pub(crate) fn want_partials(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// The recogniser has forgotten the utterance: takes interim words back and returns what is to be heard again.
    fn retract(&mut self, keep: Option<MediaTime>) -> Vec<Sound> {
        if let Some((revision, start)) = self.shown.take() {
            let revision = revision.saturating_add(1);
            self.tell_partial(Hypothesis { revision, text: String::new(), start });
        }
        let kept = std::mem::take(&mut self.kept);
        let Some(keep) = keep else { return Vec::new() };
        let untold = kept.iter().filter_map(|sound| match self.told {
            None => Some(sound.clone()),
            Some(told) => sound.after(told),
        });
        untold.filter_map(|sound| sound.before(keep)).collect()
    }

    fn partial(&mut self, hypothesis: Hypothesis) {
        if !self.wanted {
            return;
        }
        if self.thin {
            let heard = self.kept.last().map_or(hypothesis.start, Sound::end);
            if self.last_partial.is_some_and(|last| heard.since(last) < THIN && last <= heard) {
                return;
            }
            self.last_partial = Some(heard);
        }
        if !hypothesis.text.is_empty() {
            self.shown = Some((hypothesis.revision, hypothesis.start));
        }
        self.tell_partial(hypothesis);
    }

    fn tell_partial(&mut self, hypothesis: Hypothesis) {
        if let Some(StreamEvent::Partial(_)) = self.events.back() {
            self.events.pop_back();
        }
        self.events.push_back(StreamEvent::Partial(hypothesis));
    }

    fn ended(&mut self, at: MediaTime, decided_at: MediaTime) {
        self.deaf = false;
        self.tried = 0;
        self.told = None;
        self.shown = None;
        self.kept.clear();
        self.events.push_back(StreamEvent::SpeechEnded { at, decided_at });
    }

    fn fail(&mut self, fault: Fault) -> Fate {
        let (error, fatal) = match fault {
            Fault::Error(error) => (error, false),
            Fault::Panic(error) => (error, true),
        };
        self.events.push_back(StreamEvent::Failed(error));
        if self.tried < self.successors {
            self.tried += 1;
            self.wants = true;
            self.engine.discard();
            return Fate::Wants;
        }
        self.failures += 1;
        if fatal || self.failures >= PATIENCE {
            return self.die();
        }
        self.deaf = true;
        self.kept.clear();
        match self.engine.reset() {
            Ok(()) => Fate::Well,
            Err(fault) => self.fail(fault),
        }
    }

    fn die(&mut self) -> Fate {
        self.dead = true;
        self.kept.clear();
        self.engine.discard();
        Fate::Lost
    }
}

enum Said {
    Words(Recognition),
    Event(StreamEvent),
    Hinted(Hints),
    Retracted { keep: Option<MediaTime> },
}

/// A recogniser on its way through some orders, away from its stream.
pub(crate) struct Work {
    engine: Guarded,
    /// What it has to be told about partials first.
    partials: Option<Partials>,
    orders: VecDeque<Order>,
    /// How much sound it was given.
    pub(crate) sound: Span,
    heard: Vec<Sound>,
    said: Vec<Said>,
    /// The end of an utterance whose last words are still being made.
    ending: Option<(MediaTime, MediaTime)>,
    fault: Option<Fault>,
}

impl Work {
    /// What it was given, for the case that it never comes back.
    pub(crate) fn orders(&self) -> Vec<Order> {
        self.orders.iter().cloned().collect()
    }

    /// Goes on until the recogniser owes a step or everything is done; returns whether it owes one.
    pub(crate) fn advance(&mut self) -> bool {
        if let Some(wanted) = self.partials.take()
            && let Err(fault) = self.engine.partials(wanted)
        {
            self.fault = Some(fault);
        }
        while self.fault.is_none() {
            match self.engine.owed() {
                Ok(0) => {}
                Ok(_) => return true,
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
            self.collect();
            if self.fault.is_some() {
                break;
            }
            if let Some((at, decided_at)) = self.ending.take() {
                self.said.push(Said::Event(StreamEvent::SpeechEnded { at, decided_at }));
                self.heard.clear();
            }
            let Some(order) = self.orders.pop_front() else { break };
            self.obey(order);
        }
        false
    }

    /// The recogniser as a row of a step; `None` where it is gone.
    pub(crate) fn row(&mut self) -> Option<&mut dyn Recognizer> {
        self.engine.row()
    }

    /// Computes one owed step alone.
    pub(crate) fn step(&mut self) {
        if let Err(fault) = self.engine.step() {
            self.fault = Some(fault);
        }
    }

    /// The step it was a row of went wrong and left nothing to go on with.
    pub(crate) fn broke(&mut self, fault: Fault) {
        self.engine.discard();
        self.fault = Some(fault);
    }

    /// Does everything, alone.
    pub(crate) fn run(&mut self) {
        while self.advance() {
            self.step();
        }
    }

    fn obey(&mut self, order: Order) {
        let outcome = match order {
            Order::Begin(at) => {
                self.said.push(Said::Event(StreamEvent::SpeechStarted { at }));
                Ok(())
            }
            Order::Hear(sound) => {
                let outcome = self.engine.push(sound.frame());
                self.heard.push(sound);
                outcome
            }
            Order::End { at, decided_at } => {
                self.ending = Some((at, decided_at));
                self.engine.flush()
            }
            Order::Retract { keep } => {
                let outcome = self.engine.reset();
                self.said.push(Said::Retracted { keep });
                outcome
            }
            Order::Hint(hints) => match self.engine.hint(&hints) {
                Ok(()) => {
                    self.said.push(Said::Hinted(hints));
                    Ok(())
                }
                Err(Fault::Error(error)) => {
                    self.said.push(Said::Event(StreamEvent::Failed(error)));
                    Ok(())
                }
                panic => panic,
            },
            Order::Misfit { expected, found } => Err(Fault::Error(RecognizeError::Rate { expected, found })),
            Order::Flushed => {
                self.said.push(Said::Event(StreamEvent::Flushed));
                Ok(())
            }
            Order::Close { .. } => Ok(()),
        };
        if let Err(fault) = outcome {
            self.fault = Some(fault);
        }
    }

    /// Takes down what the recogniser has to say. Partials coalesce to the newest.
    fn collect(&mut self) {
        for _ in 0..POLLS {
            match self.engine.poll() {
                Ok(Some(words)) => {
                    if let (Recognition::Partial(_), Some(Said::Words(Recognition::Partial(_)))) =
                        (&words, self.said.last())
                    {
                        self.said.pop();
                    }
                    self.said.push(Said::Words(words));
                }
                Ok(None) => return,
                Err(fault) => {
                    self.fault = Some(fault);
                    return;
                }
            }
        }
    }
}
