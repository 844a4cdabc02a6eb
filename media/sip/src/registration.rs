//! Registering with somebody else's registrar (RFC 3261 §10.2): refreshed in time, repeated after failures with
//! growing pauses, taken back at the end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Response, StatusCode, Uri};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::address::{NameAddr, list};
use crate::agent::{Core, SipError};
use crate::call_request::uri;
use crate::credentials::Credentials;
use crate::exchange::{Authorizer, Rounds, is_challenge, phrase, retry_after, transact};
use crate::flow::{SipTransport, flow};
use crate::request::{Draft, stack_hop};
use crate::targets::resolve;

/// The first pause after a failure, and the longest (RFC 5626 §4.5).
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1_800);
/// A registrar that wants longer registrations than this is not obeyed.
const LONGEST_EXPIRES: Duration = Duration::from_secs(86_400);
/// How long taking a registration back may delay the end.
const FAREWELL: Duration = Duration::from_secs(4);
/// How often a NAT in between is reminded of the way back (RFC 5626 §4.4.2 asks for 24 to 29 s).
pub(crate) const NAT_REMINDER: Duration = Duration::from_secs(25);

/// Where to register, as whom.
#[derive(Clone)]
pub struct RegistrationConfig {
    /// The registrar: `sip:host[:port]`.
    pub registrar: String,
    /// Who is registered: the user part of the address of record.
    pub user: String,
    /// User name of the password, where it differs from `user`.
    pub auth_user: Option<String>,
    /// The password.
    pub password: String,
    /// User part of the contact that calls come to, where it differs from `user`.
    pub contact_user: Option<String>,
    /// How long each registration is to last.
    pub expires: Duration,
    /// What carries it, and the calls that come of it.
    pub transport: SipTransport,
    /// Outbound proxy: `sip:host[:port]`.
    pub proxy: Option<String>,
}

impl RegistrationConfig {
    /// An hour at a time, over UDP, straight to the registrar.
    #[must_use]
    pub fn new(registrar: &str, user: &str, password: &str) -> Self {
        Self {
            registrar: registrar.to_owned(),
            user: user.to_owned(),
            auth_user: None,
            password: password.to_owned(),
            contact_user: None,
            expires: Duration::from_secs(3_600),
            transport: SipTransport::Udp,
            proxy: None,
        }
    }
}

impl fmt::Debug for RegistrationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationConfig")
            .field("registrar", &self.registrar)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// How a registration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// The registrar is being asked.
    Registering,
    /// Calls reach this side.
    Registered {
        /// Until then, if no refresh succeeds; one is tried before.
        until: Instant,
    },
    /// The registrar refused or was not reached.
    Failed {
        /// SIP status; 408 for no answer, 503 where it could not even be sent.
        status: u16,
        /// The registrar's phrase, or what went wrong.
        text: String,
        /// When it is tried again.
        retry_at: Instant,
    },
    /// It was taken back, or the agent stopped.
    Stopped,
}

/// A registration that is kept up until it is dropped or stopped. The registrar hears of the end only while the agent
/// still runs: it has to be stopped before [`Agent::shutdown`](crate::Agent::shutdown).
pub struct Registration {
    state: watch::Receiver<RegistrationState>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Registration {
    /// Its present state, and every later one.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<RegistrationState> {
        self.state.clone()
    }

    /// Takes it back, and waits until the registrar has heard of it, four seconds at most.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

/// Starts to register.
pub(crate) fn register(core: &Arc<Core>, config: RegistrationConfig) -> Result<Registration, SipError> {
    let keeper = Keeper::new(core, config)?;
    let (sender, state) = watch::channel(RegistrationState::Registering);
    let stop = core.stop.child_token();
    let task = tokio::spawn(keeper.run(sender, stop.clone()));
    Ok(Registration { state, stop, task: Some(task) })
}

/// What a registrar granted.
struct Granted {
    expires: Duration,
    address: SocketAddr,
}

struct Failure {
    status: u16,
    text: String,
    retry_after: Option<Duration>,
}

struct Keeper {
    core: Arc<Core>,
    config: RegistrationConfig,
    hop: Uri,
    draft: Draft,
    contact: String,
    auth: Authorizer,
    seq: u32,
    expires: Duration,
}

impl Keeper {
    fn new(core: &Arc<Core>, config: RegistrationConfig) -> Result<Self, SipError> {
        let invalid = |what| SipError::Invalid { what };
        let registrar =
            uri(&config.registrar).filter(|uri| uri.auth.is_none()).ok_or(invalid("registrar"))?;
        let hop = match &config.proxy {
            Some(proxy) => uri(proxy).ok_or(invalid("outbound proxy"))?,
            None => registrar.clone(),
        };
        let user = |name: &str| (!name.is_empty() && name.bytes().all(is_user)).then(|| name.to_owned());
        let named = user(&config.user).ok_or(invalid("registered user"))?;
        let reached =
            user(config.contact_user.as_deref().unwrap_or(&config.user)).ok_or(invalid("contact user"))?;
        let record = format!("sip:{named}@{}", registrar.host_with_port.host);
        let mut contact = core.contact(config.transport.stack())?;
        contact.auth = Some(rsipstack::sip::Auth { user: reached, password: None });
        let credentials = Credentials::new(
            config.auth_user.clone().unwrap_or_else(|| config.user.clone()),
            config.password.clone(),
        );
        Ok(Self {
            core: Arc::clone(core),
            hop,
            draft: Draft::new(Method::Register, registrar, &record, &record),
            contact: contact.to_string(),
            auth: Authorizer::new(Some(credentials)),
            seq: 0,
            expires: config.expires.max(Duration::from_secs(1)),
            config,
        })
    }

    async fn run(mut self, state: watch::Sender<RegistrationState>, stop: CancellationToken) {
        let mut failures = 0;
        let mut registered = None;
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => break,
                outcome = self.ask(self.expires) => outcome,
            };
            match outcome {
                Ok(granted) => {
                    failures = 0;
                    registered = Some(granted.address);
                    state.send_replace(RegistrationState::Registered {
                        until: Instant::now() + granted.expires,
                    });
                    if !self.rest(&granted, &stop).await {
                        break;
                    }
                }
                Err(failure) => {
                    failures += 1;
                    let pause = failure.retry_after.unwrap_or_else(|| pause(failures));
                    state.send_replace(RegistrationState::Failed {
                        status: failure.status,
                        text: failure.text,
                        retry_at: Instant::now() + pause,
                    });
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = sleep(pause) => {}
                    }
                    state.send_replace(RegistrationState::Registering);
                }
            }
        }
        if registered.is_some() {
            timeout(FAREWELL, self.ask(Duration::ZERO)).await.ok();
        }
        state.send_replace(RegistrationState::Stopped);
    }

    /// Waits until it is time to refresh, or the connection breaks. False at the end.
    async fn rest(&self, granted: &Granted, stop: &CancellationToken) -> bool {
        let transport = self.config.transport;
        let due = Instant::now() + granted.expires.mul_f64(0.8);
        let broken = async {
            match self.core.guard.flows.token(transport, granted.address) {
                Some(token) => token.cancelled().await,
                None if transport.is_stream() => {}
                None => loop {
                    sleep(NAT_REMINDER).await;
                    self.core.guard.remind(granted.address).await;
                },
            }
            // All who lost the same server do not come back at the same moment.
            let spread = rand::rng().random_range(100..1_500);
            sleep(Duration::from_millis(spread)).await;
        };
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep_until(due) => true,
            () = broken => true,
        }
    }

    /// Asks each of the registrar's addresses until one answers.
    async fn ask(&mut self, expires: Duration) -> Result<Granted, Failure> {
        let unsent = |error: &SipError| Failure { status: 503, text: error.to_string(), retry_after: None };
        let transport = self.config.transport;
        let host = self.hop.host_with_port.host.to_string();
        let addresses = resolve(&self.core, &self.hop, transport).await.map_err(|error| unsent(&error))?;
        let mut failure = None;
        for address in addresses {
            if let Err(error) = flow(&self.core, transport, address, &host).await {
                failure = Some(unsent(&error));
                continue;
            }
            match self.ask_at(address, expires).await {
                Ok(granted) => return Ok(granted),
                // It is there and means it.
                Err(refused) if refused.status != 408 && refused.status < 500 => return Err(refused),
                Err(other) => failure = Some(other),
            }
        }
        Err(failure.unwrap_or_else(|| unsent(&SipError::Unresolved)))
    }

    async fn ask_at(&mut self, address: SocketAddr, mut expires: Duration) -> Result<Granted, Failure> {
        let mut rounds = Rounds::default();
        let mut stretched = false;
        loop {
            let response = self.send(address, expires).await.map_err(|error| Failure {
                status: 503,
                text: error.to_string(),
                retry_after: None,
            })?;
            if is_challenge(&response) && self.auth.challenged(&response, &mut rounds) {
                continue;
            }
            match response.status_code {
                StatusCode::OK => return Ok(Granted { expires: self.granted(&response, expires), address }),
                StatusCode::IntervalTooBrief if !stretched => {
                    let least =
                        response.header_value("Min-Expires").and_then(|text| text.trim().parse().ok());
                    let least =
                        least.map(Duration::from_secs).filter(|l| *l > expires && *l <= LONGEST_EXPIRES);
                    let Some(least) = least else { return Err(failure(&response)) };
                    stretched = true;
                    expires = least;
                    self.expires = least;
                }
                _ => return Err(failure(&response)),
            }
        }
    }

    async fn send(&mut self, address: SocketAddr, expires: Duration) -> Result<Response, SipError> {
        let transport = self.config.transport;
        self.seq = (self.seq + 1) & 0x7fff_ffff;
        let seconds = expires.as_secs();
        let mut extra = vec![
            Header::Contact(format!("<{}>;expires={seconds}", self.contact).into()),
            Header::Expires(u32::try_from(seconds).unwrap_or(u32::MAX).into()),
        ];
        if let Some(proxy) = &self.config.proxy {
            extra.push(Header::Route(format!("<{proxy};lr>").into()));
        }
        extra.extend(self.auth.headers(Method::Register, &self.draft.uri()));
        let request = self.draft.request(&self.core, transport, self.seq, extra)?;
        transact(&self.core, request, None, Some(stack_hop(transport, address))).await
    }

    /// How long this contact is registered for: what stands beside it, else beside nothing, else what was asked for.
    fn granted(&self, response: &Response, asked: Duration) -> Duration {
        let ours = |contact: &NameAddr<'_>| contact.uri.eq_ignore_ascii_case(&self.contact);
        let contacts = response.headers.iter().filter_map(|header| match header {
            Header::Contact(contact) => list(contact.value()),
            _ => None,
        });
        let contact = contacts.flatten().filter_map(NameAddr::parse).find(ours);
        let text = contact
            .and_then(|contact| contact.param("expires").map(str::to_owned))
            .or_else(|| response.header_value("Expires"));
        let seconds = text.and_then(|text| text.trim().parse().ok()).filter(|seconds| *seconds > 0);
        seconds.map_or(asked, Duration::from_secs).min(LONGEST_EXPIRES)
    }
}

fn failure(response: &Response) -> Failure {
    Failure {
        status: response.status_code.code(),
        text: phrase(response),
        retry_after: retry_after(response).map(|wait| wait.max(Duration::from_secs(1))),
    }
}

/// Doubles with each failure, and is spread so that many do not come back together.
fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// What may stand in a user part as it is (RFC 3261 §25.1, `unreserved` and `user-unreserved`).
fn is_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_an_hour() {
        assert!((15..=30).contains(&pause(1).as_secs()));
        assert!((30..=60).contains(&pause(2).as_secs()));
        assert!((900..=1_800).contains(&pause(7).as_secs()));
        assert!(pause(u32::MAX) <= LONGEST_PAUSE);
    }

    #[test]
    fn a_password_shows_nowhere() {
        let config = RegistrationConfig::new("sip:pbx.test", "bob", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
