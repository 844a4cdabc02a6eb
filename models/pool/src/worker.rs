//! A worker thread: hears all ready audio of its streams, a bounded stretch of each a turn.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media_frame::{Span, TrackReader};

use crate::engine::discard_payload;
use crate::figures::Counters;
use crate::inbox::{Command, Inbox};
use crate::slots::SlotId;
use crate::{Lane, StreamEvent};

/// Rings wake a worker; this only bounds what a lost one could cost.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// One stream on its worker.
pub(crate) struct Stream {
    slot: SlotId,
    lane: Lane,
    audio: TrackReader,
    /// `None` once it has panicked.
    sink: Option<Box<dyn FnMut(StreamEvent) + Send>>,
    /// Frames taken from the ring, ever.
    popped: u64,
    /// Commands, each with the count of frames to be heard before it.
    orders: VecDeque<(u64, Command)>,
    /// Refused frames already counted.
    refused: u64,
}

enum Turn {
    /// All ready audio has been heard.
    Idle,
    /// There is more.
    More,
    /// The stream has ended.
    Done,
}

impl Stream {
    pub(crate) fn new(
        slot: SlotId,
        lane: Lane,
        audio: TrackReader,
        sink: Box<dyn FnMut(StreamEvent) + Send>,
    ) -> Self {
        Self { slot, lane, audio, sink: Some(sink), popped: 0, orders: VecDeque::new(), refused: 0 }
    }

    fn order(&mut self, command: Command) {
        self.orders.push_back((self.popped + self.audio.ready() as u64, command));
    }

    /// Hears up to about `quantum` of audio.
    fn turn(&mut self, quantum: Span, counters: &Counters) -> Turn {
        let refused = self.audio.refused();
        counters.refused(refused - self.refused);
        self.refused = refused;
        let waiting = self.audio.ready() as u64;
        let mut heard = Span::ZERO;
        loop {
            while self.orders.front().is_some_and(|(due, _)| *due <= self.popped) {
                let Some((_, command)) = self.orders.pop_front() else { break };
                self.obey(command);
                self.deliver(counters);
            }
            if self.lane.closed() {
                return Turn::Done;
            }
            if heard >= quantum {
                return if self.audio.ready() > 0 { Turn::More } else { self.rest(counters) };
            }
            let lane = &mut self.lane;
            let Some(span) = self.audio.pop(|frame| {
                lane.push(frame);
                frame.span()
            }) else {
                return self.rest(counters);
            };
            if heard == Span::ZERO {
                counters.waited(span.saturating_mul(waiting));
            }
            self.popped += 1;
            heard += span;
            counters.heard(span);
            self.deliver(counters);
        }
    }

    /// The ring is empty: the stream sleeps, or ends with its track.
    fn rest(&mut self, counters: &Counters) -> Turn {
        if !self.audio.finished() {
            return Turn::Idle;
        }
        self.lane.finish();
        self.deliver(counters);
        Turn::Done
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Hint(hints) => self.lane.hint(&hints),
            Command::Endpoint(endpoint) => self.lane.set_endpoint(endpoint),
            Command::Listen(on) => self.lane.listen(on),
            Command::Flush => self.lane.flush(),
            Command::Close => self.lane.finish(),
        }
    }

    fn deliver(&mut self, counters: &Counters) {
        while let Some(event) = self.lane.poll() {
            if matches!(event, StreamEvent::Failed(_)) {
                counters.failed();
            }
            let Some(sink) = &mut self.sink else { continue };
            // The sink is not called again after a panic, so nobody can see it in a broken state.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| sink(event))) {
                discard_payload(payload);
                self.sink = None;
                self.lane.finish();
            }
        }
    }
}

/// Runs a worker until its inbox is stopped and its streams are closed, at most about `grace` after that.
pub(crate) fn run(inbox: &Arc<Inbox>, turn: Span, grace: Duration) {
    let mut streams: Vec<Stream> = Vec::new();
    let mut deadline = None;
    loop {
        let mail = inbox.collect();
        let began = Instant::now();
        streams.extend(mail.opened.into_iter().map(|(_, stream)| stream));
        for (slot, command) in mail.commands {
            // A command whose stream has ended finds nobody.
            if let Some(stream) = streams.iter_mut().find(|stream| stream.slot == slot) {
                stream.order(command);
            }
        }
        if mail.stopping && deadline.is_none() {
            deadline = Some(began + grace);
            streams.iter_mut().for_each(|stream| stream.order(Command::Close));
        }
        let mut more = false;
        streams.retain_mut(|stream| match stream.turn(turn, &inbox.counters) {
            Turn::Idle => true,
            Turn::More => {
                more = true;
                true
            }
            Turn::Done => {
                inbox.release(stream.slot);
                false
            }
        });
        inbox.counters.worked(began.elapsed());
        if let Some(deadline) = deadline {
            if streams.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                // What is still in the rings is not heard.
                for stream in &mut streams {
                    stream.lane.finish();
                    stream.deliver(&inbox.counters);
                    inbox.release(stream.slot);
                }
                return;
            }
        }
        if !more {
            inbox.bell.wait(LONGEST_SLEEP);
        }
    }
}
