//! ICE for one component over one socket (RFC 8445) and the connections that the far side opens to us (RFC 6544, passive):
//! lite and full, controlled and controlling, with consent freshness (RFC 7675).
//!
//! Our own rather than a library's because a leg has exactly one socket: the checklist is then a list of remote
//! addresses, and every answer goes back by the way the question came.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};
use rand::Rng;

use crate::remote::Remote;
use crate::stun::{Claim, Class, Message, Transaction, Writer};

/// Most remote addresses checked.
const MOST_PAIRS: usize = 64;
/// Between two checks of any pairs (Ta, RFC 8445 §14.2).
const PACE: Span = Span::from_millis(50);
/// Until a check is repeated for the first time; doubles each time up to [`SLOWEST`].
const REPEAT: Span = Span::from_millis(250);
const SLOWEST: Span = Span::from_millis(2_000);
/// Checks of a pair before it is given up: 9 s.
const TRIES: u32 = 7;
/// A controlling agent waits this long for a better pair than the first that works.
const PATIENCE: Span = Span::from_millis(300);
/// Between two requests for consent (RFC 7675 §5.1), spread by a fifth.
const CONSENT: Span = Span::from_secs(5);
/// Without an answer for this long, nothing more may be sent.
const CONSENT_LASTS: Span = Span::from_secs(30);
/// The pair in use counts as alive when something came by it within this time.
const ALIVE: Span = Span::from_millis(500);
/// Answers that may wait to be sent.
const MOST_WAITING: usize = 32;
/// Open transactions remembered of a pair: the newest.
const MOST_OPEN: usize = 4;
/// Of a peer-reflexive candidate of ours (RFC 8445 §5.1.2): type preference 110, component 1.
const REFLEXIVE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
const HOST_PRIORITY: u32 = (126 << 24) | (65_535 << 8) | 255;

/// User fragment and password of one side; `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// User fragment.
    pub ufrag: String,
    /// Password: secret.
    pub password: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Where the far side may be reached over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteCandidate {
    /// Its address.
    pub address: SocketAddr,
    /// As its description says.
    pub priority: u32,
}

/// Who chooses the pair (RFC 8445 §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// This side: it made the offer, or the far side is lite and this one is not.
    Controlling,
    /// The far side.
    Controlled,
}

/// How ICE is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceConfig {
    /// Ours.
    pub local: IceCredentials,
    /// Theirs.
    pub remote: IceCredentials,
    /// Whether this side only answers checks.
    pub lite: bool,
    /// Whether they do.
    pub remote_lite: bool,
    /// The role by the descriptions; a conflict is resolved by the checks.
    pub role: IceRole,
    /// Their candidates for RTP over UDP. More may come by [`Link::candidates`](crate::Link::candidates).
    pub candidates: Vec<RemoteCandidate>,
}

/// What ICE counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceFigures {
    /// Requests that were answered.
    pub answered: u64,
    /// Messages that were no STUN, not for us, or not signed with the right password.
    pub refused: u64,
    /// Checks sent.
    pub checks: u64,
}

/// What came of a message or a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IceNews {
    /// Another pair is in use now.
    Selected,
    /// No pair works, or the far side no longer answers.
    Lost,
}

pub(crate) struct Ice {
    config: IceConfig,
    role: IceRole,
    tie: u64,
    pairs: Vec<Pair>,
    selected: Option<Remote>,
    started: MediaTime,
    next_check: MediaTime,
    first_success: Option<MediaTime>,
    consent: Consent,
    lost: bool,
    out: VecDeque<(Remote, Vec<u8>)>,
    figures: IceFigures,
}

struct Pair {
    remote: Remote,
    priority: u32,
    state: State,
    /// The far side, in control, chose it.
    nominated: bool,
    /// We, in control, ask with USE-CANDIDATE.
    nominating: bool,
    open: Vec<Transaction>,
    tries: u32,
    due: MediaTime,
    heard: MediaTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Checking,
    Succeeded,
    Failed,
}

struct Consent {
    open: Vec<Transaction>,
    due: MediaTime,
    granted: MediaTime,
}

impl Ice {
    pub(crate) fn new(config: IceConfig, now: MediaTime) -> Self {
        let mut ice = Self {
            // A lite side never controls a full one, and a full one always a lite one (RFC 8445 §6.1.1).
            role: match (config.lite, config.remote_lite) {
                (true, false) => IceRole::Controlled,
                (false, true) => IceRole::Controlling,
                _ => config.role,
            },
            tie: rand::rng().random(),
            pairs: Vec::new(),
            selected: None,
            started: now,
            next_check: now,
            first_success: None,
            consent: Consent { open: Vec::new(), due: now + CONSENT, granted: now },
            lost: false,
            out: VecDeque::new(),
            figures: IceFigures::default(),
            config,
        };
        for candidate in ice.config.candidates.clone() {
            ice.add(candidate, now);
        }
        // Two lite sides check nothing: the best addresses are used as they are (RFC 8445 §6.1.1).
        if ice.config.lite && ice.config.remote_lite {
            ice.selected = ice.pairs.iter().max_by_key(|pair| pair.priority).map(|pair| pair.remote);
        }
        ice
    }

    /// Takes a changed description: `false` if it restarts ICE, which needs a new agent.
    pub(crate) fn update(&mut self, config: &IceConfig, now: MediaTime) -> bool {
        if config.local != self.config.local || config.remote != self.config.remote {
            return false;
        }
        for candidate in &config.candidates {
            self.add(*candidate, now);
        }
        true
    }

    /// Goes on sending by the way of an agent that is being replaced, until there is a better one.
    pub(crate) fn keep(&mut self, selected: Option<Remote>) {
        self.selected = selected;
    }

    pub(crate) fn add(&mut self, candidate: RemoteCandidate, now: MediaTime) {
        if candidate.address.port() == 0 || candidate.address.ip().is_unspecified() {
            return;
        }
        self.pair(Remote::Udp(candidate.address), candidate.priority, now);
    }

    /// The pair with `remote`; made if there is room for it.
    fn pair(&mut self, remote: Remote, priority: u32, now: MediaTime) -> Option<&mut Pair> {
        let at = match self.pairs.iter().position(|pair| pair.remote == remote) {
            Some(at) => at,
            None if self.pairs.len() == MOST_PAIRS => {
                let failed = self.pairs.iter().position(|pair| pair.state == State::Failed)?;
                self.pairs.remove(failed);
                self.pairs.len()
            }
            None => self.pairs.len(),
        };
        if at == self.pairs.len() {
            self.pairs.push(Pair {
                remote,
                priority,
                state: State::Checking,
                nominated: false,
                nominating: false,
                open: Vec::new(),
                tries: 0,
                due: now,
                heard: now,
            });
            // Best first: pacing serves them in this order.
            self.pairs.sort_by_key(|pair| std::cmp::Reverse(pair.priority));
        }
        self.pairs.iter_mut().find(|pair| pair.remote == remote)
    }

    pub(crate) fn selected(&self) -> Option<Remote> {
        self.selected.filter(|_| !self.lost)
    }

    pub(crate) fn figures(&self) -> IceFigures {
        self.figures
    }

    /// Whether `from` proved by a signed message that it is the far side.
    pub(crate) fn knows(&self, from: Remote) -> bool {
        self.selected == Some(from)
            || self
                .pairs
                .iter()
                .any(|pair| pair.remote == from && (pair.state == State::Succeeded || pair.nominated))
    }

    /// Forgets a way that is no more. The one in use stays until there is another.
    pub(crate) fn gone(&mut self, remote: Remote, now: MediaTime) -> Option<IceNews> {
        self.pairs.retain(|pair| pair.remote != remote);
        if self.selected != Some(remote) {
            return None;
        }
        // Best first, so the first that was chosen before or would be.
        let controlling = self.role == IceRole::Controlling;
        let works = |pair: &&Pair| pair.state == State::Succeeded && (pair.nominated || controlling);
        let next = self.pairs.iter().find(works)?.remote;
        self.choose(next, now)
    }

    /// Notes that media or DTLS came from `from`.
    pub(crate) fn heard(&mut self, from: Remote, authentic: bool, now: MediaTime) {
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.remote == from) {
            pair.heard = now;
        }
        // A lite side asks for no consent; what is authentic and comes in shows that the far side is there.
        if authentic && self.config.lite {
            self.consent.granted = now;
        }
    }

    pub(crate) fn handle(&mut self, now: MediaTime, from: Remote, datagram: &[u8]) -> Option<IceNews> {
        let Some(message) = Message::parse(datagram) else {
            self.figures.refused += 1;
            return None;
        };
        match message.class {
            Class::Request => self.request(now, from, &message, datagram.len()),
            Class::Success | Class::Error => self.response(now, from, &message),
            // A keep-alive: unsigned, and so worth nothing more.
            Class::Indication => None,
        }
    }

    fn request(
        &mut self,
        now: MediaTime,
        from: Remote,
        message: &Message<'_>,
        len: usize,
    ) -> Option<IceNews> {
        let ours = message.username.and_then(|name| name.strip_prefix(self.config.local.ufrag.as_bytes()));
        let ours = ours.is_some_and(|rest| rest.first() == Some(&b':'));
        // Whoever cannot sign gets no answer at all, not even an error: nothing to reflect, nothing to probe.
        if !ours || message.unknown || !message.is_signed_with(self.config.local.password.as_bytes()) {
            self.figures.refused += 1;
            return None;
        }
        if self.conflict(message) {
            let reply = Writer::new(Class::Error, message.transaction).error(487, "Role Conflict");
            self.reply(from, reply.signed(self.config.local.password.as_bytes()), len);
            return None;
        }
        let reply = Writer::new(Class::Success, message.transaction).mapped(from.address());
        self.reply(from, reply.signed(self.config.local.password.as_bytes()), len);
        self.figures.answered += 1;
        if self.config.lite {
            self.consent.granted = now;
            self.lost = false;
        }
        let (lite, lost, controlled) = (self.config.lite, self.lost, self.role == IceRole::Controlled);
        let pair = self.pair(from, message.priority.unwrap_or(0), now)?;
        pair.heard = now;
        if lite {
            // What came here and was answered is all the proof that a lite side gets.
            pair.state = State::Succeeded;
        } else if pair.state != State::Succeeded || lost {
            // A triggered check (RFC 8445 §7.3.1.4).
            pair.state = State::Checking;
            (pair.tries, pair.due) = (0, now);
            self.next_check = self.next_check.min(now);
        }
        // Where the connection in use has ended, the one that comes after it takes its place, chosen or not.
        let orphaned = |selected| !self.pairs.iter().any(|pair| pair.remote == selected);
        if lite && self.selected.is_some_and(orphaned) {
            return self.choose(from, now);
        }
        if !(message.use_candidate && controlled) {
            return None;
        }
        let pair = self.pairs.iter_mut().find(|pair| pair.remote == from)?;
        pair.nominated = true;
        if pair.state == State::Succeeded { self.choose(from, now) } else { None }
    }

    /// Settles who is in control (RFC 8445 §7.3.1.1); `true` if the far side has to give in.
    fn conflict(&mut self, message: &Message<'_>) -> bool {
        if self.config.lite {
            return false;
        }
        match (self.role, message.claim) {
            (IceRole::Controlling, Some(Claim::Controlling(theirs))) => {
                if self.tie >= theirs {
                    return true;
                }
                self.role = IceRole::Controlled;
            }
            (IceRole::Controlled, Some(Claim::Controlled(theirs))) => {
                if self.tie < theirs {
                    return true;
                }
                self.role = IceRole::Controlling;
            }
            _ => {}
        }
        false
    }

    fn response(&mut self, now: MediaTime, from: Remote, message: &Message<'_>) -> Option<IceNews> {
        if !message.is_signed_with(self.config.remote.password.as_bytes()) {
            self.figures.refused += 1;
            return None;
        }
        let transaction = message.transaction;
        if self.selected == Some(from) && self.consent.open.contains(&transaction) {
            if message.class == Class::Success {
                self.consent.open.clear();
                self.consent.granted = now;
                self.lost = false;
            }
            return None;
        }
        // An answer from elsewhere than it was asked proves nothing (RFC 8445 §7.2.5.2.1).
        let Some(pair) =
            self.pairs.iter_mut().find(|pair| pair.remote == from && pair.open.contains(&transaction))
        else {
            self.figures.refused += 1;
            return None;
        };
        pair.heard = now;
        if message.class == Class::Error {
            if message.error == Some(487) {
                self.role = match self.role {
                    IceRole::Controlling => IceRole::Controlled,
                    IceRole::Controlled => IceRole::Controlling,
                };
                (pair.tries, pair.due) = (0, now);
                pair.nominating = false;
                self.next_check = self.next_check.min(now);
            } else {
                pair.state = State::Failed;
            }
            return None;
        }
        pair.state = State::Succeeded;
        pair.open.clear();
        if self.selected == Some(from) {
            self.consent.granted = now;
            self.lost = false;
        }
        self.first_success.get_or_insert(now);
        if pair.nominated || pair.nominating {
            pair.nominating = false;
            return self.choose(from, now);
        }
        None
    }

    /// Uses the pair with `remote`, unless a better one is in use and alive.
    fn choose(&mut self, remote: Remote, now: MediaTime) -> Option<IceNews> {
        let of = |remote| self.pairs.iter().find(|pair| pair.remote == remote);
        if self.selected == Some(remote) {
            return None;
        }
        if let (Some(old), Some(new)) = (self.selected.and_then(of), of(remote))
            && old.priority > new.priority
            && now.since(old.heard) < ALIVE
        {
            return None;
        }
        self.selected = Some(remote);
        self.lost = false;
        self.consent = Consent { open: Vec::new(), due: now + CONSENT, granted: now };
        Some(IceNews::Selected)
    }

    pub(crate) fn poll_timeout(&self) -> Option<MediaTime> {
        let mut next = None;
        let mut at = |time: MediaTime| next = Some(next.map_or(time, |next: MediaTime| next.min(time)));
        if !self.config.lite {
            let due = self.pairs.iter().filter(|pair| pair.wants_check()).map(|pair| pair.due).min();
            if let Some(due) = due {
                at(due.max(self.next_check));
            }
            if let (IceRole::Controlling, None, Some(first)) = (self.role, self.selected, self.first_success)
                && !self.pairs.iter().any(|pair| pair.nominating)
            {
                at(first + PATIENCE);
            }
            if self.selected.is_some() && !self.lost {
                at(self.consent.due);
            }
        }
        if !self.lost {
            if self.selected.is_some() {
                at(self.consent.granted + CONSENT_LASTS);
            } else {
                at(self.started + CONSENT_LASTS);
            }
        }
        next
    }

    pub(crate) fn handle_timeout(&mut self, now: MediaTime) -> Option<IceNews> {
        let since = if self.selected.is_some() { self.consent.granted } else { self.started };
        // Two lite sides never ask each other anything.
        let unasked = self.config.lite && self.config.remote_lite;
        if !self.lost && now >= since + CONSENT_LASTS {
            if unasked {
                self.consent.granted = now;
            } else {
                self.lost = true;
                return Some(IceNews::Lost);
            }
        }
        if self.config.lite {
            return None;
        }
        self.nominate(now);
        if let Some(remote) = self.selected
            && !self.lost
            && now >= self.consent.due
        {
            self.consent.due = now + spread(CONSENT);
            let transaction = rand::rng().random();
            remember(&mut self.consent.open, transaction);
            let request = self.check(transaction, false);
            self.send(remote, request);
        }
        if now >= self.next_check {
            let due = |pair: &Pair| pair.wants_check() && now >= pair.due;
            if let Some(at) = self.pairs.iter().position(due) {
                self.next_check = now + PACE;
                self.check_pair(at, now);
            }
        }
        None
    }

    /// In control, settles on the best pair that works once there was time for better ones (regular nomination).
    fn nominate(&mut self, now: MediaTime) {
        let Some(first) = self.first_success else { return };
        if self.role != IceRole::Controlling
            || self.selected.is_some()
            || self.pairs.iter().any(|pair| pair.nominating)
        {
            return;
        }
        let working = |pair: &&mut Pair| pair.state == State::Succeeded;
        let best = self.pairs.first().is_some_and(|pair| pair.state == State::Succeeded);
        if !best && now < first + PATIENCE {
            return;
        }
        if let Some(pair) = self.pairs.iter_mut().find(working) {
            pair.nominating = true;
            (pair.tries, pair.due) = (0, now);
            self.next_check = self.next_check.min(now);
        }
    }

    fn check_pair(&mut self, at: usize, now: MediaTime) {
        let transaction: Transaction = rand::rng().random();
        let pair = &mut self.pairs[at];
        if pair.tries == TRIES {
            pair.state = State::Failed;
            pair.nominating = false;
            return;
        }
        let wait = REPEAT.saturating_mul(1 << pair.tries).min(SLOWEST);
        pair.tries += 1;
        pair.due = now + wait;
        remember(&mut pair.open, transaction);
        let (remote, nominate) = (pair.remote, pair.nominating);
        let request = self.check(transaction, nominate);
        self.send(remote, request);
    }

    fn check(&mut self, transaction: Transaction, nominate: bool) -> Vec<u8> {
        self.figures.checks += 1;
        let claim = match self.role {
            IceRole::Controlling => Claim::Controlling(self.tie),
            IceRole::Controlled => Claim::Controlled(self.tie),
        };
        let name = format!("{}:{}", self.config.remote.ufrag, self.config.local.ufrag);
        let mut request = Writer::new(Class::Request, transaction)
            .username(&name)
            .priority(REFLEXIVE_PRIORITY.min(HOST_PRIORITY))
            .claim(claim);
        if nominate {
            request = request.use_candidate();
        }
        request.signed(self.config.remote.password.as_bytes())
    }

    /// Answers a request, never with more octets than it had.
    fn reply(&mut self, to: Remote, answer: Vec<u8>, len: usize) {
        if answer.len() <= len {
            self.send(to, answer);
        }
    }

    fn send(&mut self, to: Remote, datagram: Vec<u8>) {
        if self.out.len() < MOST_WAITING {
            self.out.push_back((to, datagram));
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<(Remote, Vec<u8>)> {
        self.out.pop_front()
    }
}

impl Pair {
    fn wants_check(&self) -> bool {
        self.state == State::Checking || (self.state == State::Succeeded && self.nominating)
    }
}

fn remember(open: &mut Vec<Transaction>, transaction: Transaction) {
    if open.len() == MOST_OPEN {
        open.remove(0);
    }
    open.push(transaction);
}

/// `span`, more or less by up to a fifth (RFC 7675 §5.1).
fn spread(span: Span) -> Span {
    Span::from_nanos(rand::rng().random_range(span.nanos() / 5 * 4..=span.nanos() / 5 * 6))
}
