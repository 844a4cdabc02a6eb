//! Who is at the other end of a line, and how he is reached: profiles of media, plans of calls, dialogs by name.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use antiphon_engine_call::{Cause, Hearing, Pii, TransferOutcome};
use antiphon_media_frame::CallId;
use antiphon_media_plane::IceListener;
use antiphon_media_sip::sdp::{
    Candidate, Codec, Fingerprint, IceCredentials, LocalIce, LocalMedia, Security,
};
use antiphon_media_sip::{
    Binding, CallRequest, Credentials, Dialog, DialogControl, IncomingCall, Peer, Replaces, SipTransport,
};
use rand::Rng;

use crate::begin::Joining;
use crate::cdr::LegRecord;
use crate::config::{Dtmf, Nat, Srtp, Trunk};
use crate::shared::Shared;
use crate::switch::Mode;
use crate::trunks::{Attempt, Caller, DialError, Dialling, Origin, Places, Target as Way};

/// Which media a line carries.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Codecs, best first.
    pub(crate) codecs: Vec<Codec>,
    pub(crate) protection: Protection,
    /// How keys travel.
    pub(crate) keys: Dtmf,
    /// Whether callers hear us before the answer.
    pub(crate) early: bool,
    /// Whether the far side may be elsewhere than it says.
    pub(crate) nat: Nat,
}

impl Profile {
    /// Of these codecs, the best first, protected like that, and nothing special besides.
    pub(crate) fn new(codecs: Vec<Codec>, protection: Protection) -> Self {
        Self { codecs, protection, keys: Dtmf::Rfc4733, early: true, nat: Nat::Auto }
    }
}

/// How the media of a line may be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Offers are plain; whatever is offered is answered.
    Any,
    /// Never.
    Plain,
    /// Keys in SDP where the far side can.
    Optional,
    /// Keys in SDP, or no call.
    Required,
    /// Keys by DTLS with ICE: a web page.
    Web,
}

/// Somebody who can be rung.
pub(crate) struct Target {
    pub(crate) request: CallRequest,
    pub(crate) profile: Profile,
    /// Where it is, for logs and for our own address towards it.
    pub(crate) host: String,
    pub(crate) peer: Option<SocketAddr>,
    /// Whom the far side is to us once it has answered.
    pub(crate) origin: Origin,
    pub(crate) ring_limit: Duration,
    /// How long it may say nothing at all.
    pub(crate) try_limit: Duration,
    /// What is limited by trunk and user; kept as long as the call lasts.
    pub(crate) _places: Option<Places>,
}

impl Target {
    /// Fills in what is known of its leg before it is rung.
    pub(crate) fn describe(&self, leg: &mut LegRecord) {
        match &self.origin {
            Origin::Trunk(name) => leg.trunk = Some(name.clone()),
            Origin::User(name) => leg.user = Some(name.clone()),
            Origin::Anonymous | Origin::Api => {}
        }
        leg.host = Some(self.peer.map_or_else(|| self.host.clone(), |peer| peer.to_string()));
        leg.transport = Some(self.request.transport.name().to_owned());
        user_of(self.request.from.expose()).clone_into(&mut leg.from);
        user_of(self.request.to_uri.expose()).clone_into(&mut leg.to);
    }
}

/// Fills in what an INVITE tells of its leg.
pub(crate) fn describe(incoming: &IncomingCall, leg: &mut LegRecord) {
    match incoming.peer() {
        Peer::Trunk(name) => leg.trunk = Some(name.clone()),
        Peer::User(name) => leg.user = Some(name.clone()),
        Peer::Anonymous => {}
    }
    leg.host = Some(incoming.source().to_string());
    leg.transport = Some(incoming.transport().name().to_owned());
    leg.sip_call_id = Some(incoming.call_id().to_owned());
    incoming.from().user.expose().clone_into(&mut leg.from);
}

/// In what order targets are rung.
pub(crate) enum Plan {
    /// All at once: the first who answers has the call.
    Together(Vec<Target>),
    /// One host of a trunk after another.
    Over(Box<Dialling>),
}

/// How long telephones and addresses without a trunk may say nothing at all.
const TRY: Duration = Duration::from_secs(8);
/// The longest that anybody rings.
const RING: Duration = Duration::from_secs(180);

impl Shared {
    /// Which media calls from there carry.
    pub(crate) fn profile(&self, origin: &Origin) -> Profile {
        match origin {
            Origin::Trunk(name) => match self.router.trunk(name) {
                Some(trunk) => self.profile_of(&trunk),
                None => self.profile_with(Protection::Any),
            },
            _ => self.profile_with(Protection::Any),
        }
    }

    /// What somebody from there hears on hold; ringing where there is nothing.
    pub(crate) fn hold_music(&self, origin: &Origin) -> Option<PathBuf> {
        let own = match origin {
            Origin::Trunk(name) => self.router.trunk(name).and_then(|trunk| trunk.hold_music.clone()),
            _ => None,
        };
        own.or_else(|| self.config.media.hold_music.clone())
    }

    /// Our side of a negotiation; the port is filled in where it is not known yet.
    pub(crate) fn media(&self, at: SocketAddr, profile: &Profile) -> LocalMedia {
        let session = rand::rng().random_range(1..=i64::MAX as u64);
        let mut local = LocalMedia::new(at.ip(), at.port(), session);
        local.codecs.clone_from(&profile.codecs);
        local.comfort_noise = true;
        local.rtcp_mux = true;
        let fingerprint = Fingerprint(self.identity.fingerprint().0);
        local.security = match profile.protection {
            Protection::Any => Security::any(fingerprint),
            Protection::Plain => Security::plain(),
            Protection::Optional => Security::sdes(false),
            Protection::Required => Security::sdes(true),
            Protection::Web => Security::dtls(fingerprint),
        };
        // Answers name it only to those who offer it.
        local.ice = matches!(profile.protection, Protection::Any | Protection::Web).then(|| LocalIce {
            credentials: IceCredentials::random(),
            lite: true,
            candidates: std::iter::once(Candidate::host(at, u16::MAX))
                .chain(self.connections(at.ip()))
                .collect(),
        });
        local
    }

    /// Where those connect that cannot use UDP: by the address that is told, and by the one listened on.
    fn connections(&self, told: IpAddr) -> impl Iterator<Item = Candidate> {
        let bound = self.ice_tcp.as_ref().map(IceListener::address);
        let fits = move |ip: &IpAddr| bound.is_some_and(|bound| ip.is_ipv4() == bound.is_ipv4());
        let inner = bound.map(|bound| bound.ip()).filter(|ip| !ip.is_unspecified() && *ip != told);
        let port = bound.map_or(0, |bound| bound.port());
        let all = std::iter::once(told).chain(inner).filter(fits).zip([8_191, 8_190]);
        all.map(move |(ip, preference)| Candidate::host_tcp(SocketAddr::new(ip, port), preference))
    }

    /// Our side of an offer: protection that the far side may not know is left out unless it is wanted.
    pub(crate) fn offer_media(&self, at: SocketAddr, profile: &Profile) -> LocalMedia {
        let mut local = self.media(at, profile);
        if profile.protection == Protection::Any {
            local.security = Security::plain();
            local.ice = None;
            // Old telephones take the attribute for an error.
            local.rtcp_mux = false;
        }
        local
    }

    /// How `to` is reached on behalf of `origin`: a number as routes know it, `user:NAME` or a SIP address.
    pub(crate) fn plan(
        &self,
        origin: &Origin,
        to: &str,
        caller: Option<&str>,
    ) -> Result<Plan, TransferOutcome> {
        if let Some(user) = to.strip_prefix("user:") {
            return self.telephones(user, caller);
        }
        let number = match (to.strip_prefix("sip:"), origin) {
            // What flows and operators write down is theirs to answer for.
            (Some(_), Origin::Api) => return Ok(Plan::Together(vec![self.direct(to, caller)])),
            // What anybody else sends us is dialled as a number, by the routes that are his.
            (Some(address), _) => address.split(['@', ';', '?']).next().unwrap_or_default(),
            (None, _) => to,
        };
        match self.router.inbound(origin, number, caller.unwrap_or_default()) {
            Way::User(name) => self.telephones(&name, caller),
            Way::Trunk(outlet) => {
                let caller = Caller { number: caller.unwrap_or_default(), ..Caller::default() };
                let dialling =
                    self.router.outbound(&outlet, &caller, Instant::now()).map_err(|e| forbidden(&e))?;
                Ok(Plan::Over(Box::new(dialling)))
            }
            Way::Reject { status: 403 } => Err(TransferOutcome::Forbidden),
            Way::Reject { status } => {
                let reason = "a route refuses the number".to_owned();
                Err(TransferOutcome::Failed { status, reason })
            }
            Way::Flow(_) | Way::DefaultFlow | Way::Conference(_) => {
                let reason = "no route leads to a telephone".to_owned();
                Err(TransferOutcome::Failed { status: 404, reason })
            }
        }
    }

    /// How a number is reached over a trunk that an operator names.
    pub(crate) fn plan_over(
        &self,
        trunk: &str,
        number: &str,
        caller: Option<&str>,
    ) -> Result<Plan, TransferOutcome> {
        let Some(outlet) = self.router.over(trunk, number) else {
            let reason = "there is no such trunk".to_owned();
            return Err(TransferOutcome::Failed { status: 404, reason });
        };
        let caller = Caller { number: caller.unwrap_or_default(), ..Caller::default() };
        let dialling = self.router.outbound(&outlet, &caller, Instant::now()).map_err(|e| forbidden(&e))?;
        Ok(Plan::Over(Box::new(dialling)))
    }

    /// What a trunk's host is rung with.
    pub(crate) fn target_of(&self, attempt: Attempt) -> Target {
        let Attempt { trunk, host, request_uri, from, display_name, asserted, headers, login, places } =
            attempt;
        let mut request = CallRequest::new(request_uri.expose(), from.expose(), String::new());
        request.display_name = display_name;
        request.asserted_identity = asserted;
        request.headers = headers.into_iter().map(|(name, value)| (name, value.into_inner())).collect();
        request.transport = host.transport;
        request.credentials =
            login.map(|login| Credentials::new(login.user, login.password.expose().to_owned()));
        request.nat = trunk.nat.into();
        let port = host.port.unwrap_or_else(|| host.transport.default_port());
        Target {
            request,
            profile: self.profile_of(&trunk),
            peer: host.ip().map(|ip| SocketAddr::new(ip, port)),
            host: host.authority(),
            origin: Origin::Trunk(trunk.name.clone()),
            ring_limit: trunk.ring_limit.0,
            try_limit: trunk.try_limit.0,
            _places: Some(places),
        }
    }

    /// Whether a call may send its partner elsewhere by REFER: users may, and trunks that are trusted. Where to, the
    /// routes decide.
    pub(crate) fn may_refer(&self, origin: &Origin) -> bool {
        match origin {
            Origin::User(_) => true,
            Origin::Trunk(name) => self.router.trunk(name).is_some_and(|trunk| trunk.trusted),
            Origin::Anonymous | Origin::Api => false,
        }
    }

    /// What supervises by dialling a code: the code, then the user whose call it is.
    pub(crate) fn supervision(
        &self,
        origin: &Origin,
        called: &str,
    ) -> Option<Result<Joining, &'static Cause>> {
        let codes = &self.config.supervision;
        let (mode, user) = [
            (&codes.listen, Some(Mode::Listen)),
            (&codes.whisper, Some(Mode::Whisper)),
            (&codes.barge, Some(Mode::Barge)),
            (&codes.take_over, Some(Mode::TakeOver)),
            (&codes.hang_up, None),
        ]
        .into_iter()
        .filter(|(code, _)| !code.is_empty())
        .find_map(|(code, mode)| Some((mode, called.strip_prefix(code.as_str())?)))
        .filter(|(_, user)| !user.is_empty())?;
        let allowed = match origin {
            Origin::User(name) => self.router.user(name).is_some_and(|user| user.supervise),
            _ => false,
        };
        if !allowed {
            return Some(Err(Cause::FORBIDDEN));
        }
        // What is supervised is the call of the one the user speaks with: the user is who hears a whisper, and whose place is
        // taken. A user alone with the machine has nobody at the other end.
        let Some(theirs) = self.switch.call_of(&Origin::User(user.to_owned())) else {
            return Some(Err(Cause::NO_ROUTE));
        };
        let partners = self.switch.partners(theirs);
        let target = partners.first().copied().unwrap_or(theirs);
        Some(Ok(match mode {
            Some(mode) => Joining::Supervise { target, mode, hearing: Hearing::Both },
            // Of several the user speaks with, the others go on.
            None if partners.len() > 1 => Joining::End(vec![theirs]),
            None => Joining::End(std::iter::once(theirs).chain(partners).collect()),
        }))
    }

    fn profile_of(&self, trunk: &Trunk) -> Profile {
        let protection = match trunk.srtp {
            Srtp::Off => Protection::Plain,
            Srtp::Optional => Protection::Optional,
            Srtp::Required => Protection::Required,
        };
        let mut profile = self.profile_with(protection);
        if !trunk.codecs.is_empty() {
            profile.codecs = trunk.codecs.iter().filter_map(|name| Codec::from_name(name)).collect();
        }
        profile.keys = trunk.dtmf;
        profile.early = trunk.early_media;
        profile.nat = trunk.nat;
        profile
    }

    fn profile_with(&self, protection: Protection) -> Profile {
        let codecs = self.config.media.codecs.iter().filter_map(|name| Codec::from_name(name)).collect();
        Profile::new(codecs, protection)
    }

    /// How a user's telephones are reached.
    pub(crate) fn telephones(&self, user: &str, caller: Option<&str>) -> Result<Plan, TransferOutcome> {
        if self.router.user(user).is_none() {
            let reason = "there is no such user".to_owned();
            return Err(TransferOutcome::Failed { status: 404, reason });
        }
        let bindings = self.registrar.as_ref().map(|registrar| registrar.lookup(user)).unwrap_or_default();
        if bindings.is_empty() {
            return Err(TransferOutcome::NoAnswer);
        }
        let targets = bindings.iter().map(|binding| self.telephone(user, binding, caller)).collect();
        Ok(Plan::Together(targets))
    }

    fn telephone(&self, user: &str, binding: &Binding, caller: Option<&str>) -> Target {
        let mut request =
            CallRequest::new(binding.contact.expose(), &self.own_address(caller), String::new());
        request.transport = binding.transport;
        request.destination = Some(binding.destination);
        let web = matches!(binding.transport, SipTransport::Ws | SipTransport::Wss);
        Target {
            request,
            profile: self.profile_with(if web { Protection::Web } else { Protection::Any }),
            host: binding.destination.ip().to_string(),
            peer: Some(binding.destination),
            origin: Origin::User(user.to_owned()),
            ring_limit: RING,
            try_limit: TRY,
            _places: None,
        }
    }

    fn direct(&self, to: &str, caller: Option<&str>) -> Target {
        let request = CallRequest::new(to, &self.own_address(caller), String::new());
        Target {
            request,
            profile: self.profile_with(Protection::Any),
            host: host_of(to).to_owned(),
            peer: None,
            origin: Origin::Anonymous,
            ring_limit: RING,
            try_limit: TRY,
            _places: None,
        }
    }

    /// The From address of calls that are no trunk's.
    fn own_address(&self, caller: Option<&str>) -> String {
        let host = self.config.sip.advertise.unwrap_or_else(|| self.config.sip.listen.ip());
        let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
        match caller.filter(|caller| crate::trunks::normal(caller).is_ok()) {
            Some(caller) => format!("sip:{caller}@{host}"),
            None => format!("sip:antiphon@{host}"),
        }
    }
}

/// The address a REFER names: what the flow wrote, or a number at the far side's own host.
pub(crate) fn refer_target(peer: &Pii<String>, to: &str) -> Pii<String> {
    if to.starts_with("sip:") {
        return Pii::new(to.to_owned());
    }
    let number = to.strip_prefix("user:").unwrap_or(to);
    Pii::new(format!("sip:{number}@{}", host_of(peer.expose())))
}

/// The host of a SIP address.
pub(crate) fn host_of(address: &str) -> &str {
    let rest = address.strip_prefix("sip:").or_else(|| address.strip_prefix("sips:")).unwrap_or(address);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    rest.split([';', '?', '>']).next().unwrap_or(rest)
}

/// The user of a SIP address; the host where it has none.
pub(crate) fn user_of(address: &str) -> &str {
    let rest = address.strip_prefix("sip:").or_else(|| address.strip_prefix("sips:")).unwrap_or(address);
    match rest.split_once('@') {
        Some((user, _)) => user.split([';', ':']).next().unwrap_or(user),
        None => host_of(address),
    }
}

fn forbidden(error: &DialError) -> TransferOutcome {
    match error {
        DialError::Forbidden { .. } => TransferOutcome::Forbidden,
        other => TransferOutcome::Failed { status: other.status(), reason: other.to_string() },
    }
}

/// Calls by their SIP dialogs.
#[derive(Default)]
pub(crate) struct Dialogs {
    known: Mutex<BTreeMap<CallId, (DialogControl, Pii<String>)>>,
}

impl Dialogs {
    pub(crate) fn enter(&self, call: CallId, dialog: &Dialog, peer: Pii<String>) {
        self.lock().insert(call, (dialog.control(), peer));
    }

    pub(crate) fn leave(&self, call: CallId) {
        self.lock().remove(&call);
    }

    /// The call that a Replaces header means, whichever side wrote it.
    pub(crate) fn find(&self, replaces: &Replaces) -> Option<CallId> {
        let known = self.lock();
        let same = |own: &Replaces| {
            own.call_id == replaces.call_id
                && ((own.to_tag == replaces.to_tag && own.from_tag == replaces.from_tag)
                    || (own.to_tag == replaces.from_tag && own.from_tag == replaces.to_tag))
        };
        known.iter().find(|(_, (control, _))| same(&control.replaces())).map(|(call, _)| *call)
    }

    /// What a third side is told so that it can take our place in a call: the far side's address, and the dialog.
    pub(crate) fn target(&self, call: CallId) -> Option<(Pii<String>, Replaces)> {
        self.lock().get(&call).map(|(control, peer)| (peer.clone(), control.replaces()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CallId, (DialogControl, Pii<String>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_referred_to_at_the_far_sides_host() {
        let peer = Pii::new("sip:1001@pbx.example:5070;transport=tcp".to_owned());
        assert_eq!(refer_target(&peer, "2002").expose(), "sip:2002@pbx.example:5070");
        assert_eq!(refer_target(&peer, "user:bob").expose(), "sip:bob@pbx.example:5070");
        assert_eq!(refer_target(&peer, "sip:desk@other.example").expose(), "sip:desk@other.example");
        assert_eq!(host_of("sip:pbx.example"), "pbx.example");
        assert_eq!(user_of("sip:2002;phone-context=x@pbx.example"), "2002");
        assert_eq!(user_of("sip:pbx.example;transport=tcp"), "pbx.example");
    }
}
