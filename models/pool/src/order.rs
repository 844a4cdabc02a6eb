//! What a stream wants of its recogniser, in the order in which it happened.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_models_speech::Hints;

/// Sound that is shared by those who hear it and those who may have to hear it again.
#[derive(Clone, Debug)]
pub(crate) struct Sound {
    pub(crate) pcm: Arc<[i16]>,
    pub(crate) rate: SampleRate,
    pub(crate) at: MediaTime,
    pub(crate) kind: FrameKind,
    pub(crate) active: bool,
}

impl Sound {
    pub(crate) fn of(frame: AudioFrame<'_>) -> Self {
        Self { pcm: frame.pcm.into(), rate: frame.rate, at: frame.at, kind: frame.kind, active: frame.active }
    }

    pub(crate) fn frame(&self) -> AudioFrame<'_> {
        AudioFrame {
            pcm: &self.pcm,
            rate: self.rate,
            at: self.at,
            kind: self.kind,
            active: self.active,
            retracted: false,
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.rate.span(self.pcm.len())
    }

    pub(crate) fn end(&self) -> MediaTime {
        self.at + self.span()
    }

    /// What of it lies after `time`; `None` where nothing does.
    pub(crate) fn after(&self, time: MediaTime) -> Option<Self> {
        let skip = self.rate.samples(time.since(self.at));
        match self.pcm.get(skip..) {
            _ if skip == 0 => Some(self.clone()),
            Some(rest) if !rest.is_empty() => {
                Some(Self { pcm: rest.into(), at: self.at + self.rate.span(skip), ..self.clone() })
            }
            _ => None,
        }
    }

    /// What of it lies before `time`; `None` where nothing does.
    pub(crate) fn before(&self, time: MediaTime) -> Option<Self> {
        let keep = self.rate.samples(time.since(self.at));
        match self.pcm.get(..keep) {
            _ if keep == 0 => None,
            Some(first) => Some(Self { pcm: first.into(), ..self.clone() }),
            None => Some(self.clone()),
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// The utterance begins: tell it.
    Begin(MediaTime),
    /// Hear this.
    Hear(Sound),
    /// The utterance is over: give its words, then tell that it has ended.
    End {
        at: MediaTime,
        decided_at: MediaTime,
    },
    /// What was heard in this utterance was no speech, but for what lies before `keep`: forget it.
    Retract {
        keep: Option<MediaTime>,
    },
    Hint(Hints),
    /// A flush that was asked for is done.
    Flushed,
    /// Sound came at a rate that the recogniser does not take.
    Misfit {
        expected: SampleRate,
        found: SampleRate,
    },
    /// Nothing follows.
    Close {
        until: MediaTime,
    },
}

/// Orders that wait.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    list: VecDeque<Order>,
    sound: Span,
    /// Orders that are more than sound.
    marks: usize,
}

impl Orders {
    pub(crate) fn push(&mut self, order: Order) {
        match &order {
            Order::Hear(sound) => self.sound += sound.span(),
            _ => self.marks += 1,
        }
        self.list.push_back(order);
    }

    pub(crate) fn push_front(&mut self, order: Order) {
        match &order {
            Order::Hear(sound) => self.sound += sound.span(),
            _ => self.marks += 1,
        }
        self.list.push_front(order);
    }

    pub(crate) fn pop(&mut self) -> Option<Order> {
        let order = self.list.pop_front()?;
        match &order {
            Order::Hear(sound) => self.sound = self.sound.saturating_sub(sound.span()),
            _ => self.marks -= 1,
        }
        Some(order)
    }

    pub(crate) fn front(&self) -> Option<&Order> {
        self.list.front()
    }

    /// How much sound waits.
    pub(crate) fn sound(&self) -> Span {
        self.sound
    }

    /// Whether anything but sound waits: it must not wait for a chunk to become full.
    pub(crate) fn marked(&self) -> bool {
        self.marks > 0
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
