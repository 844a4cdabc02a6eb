//! Tries whether a relay takes the credentials that pages are given: a wrong secret is otherwise first noticed by a caller
//! whose firewall lets nothing else through.

use std::net::SocketAddr;
use std::time::Duration;

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::RelayLogin;

/// How long all of it may take, the lookup of the name included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until a question over UDP is repeated (RFC 8489 section 6.2.1).
const REPEAT: Duration = Duration::from_millis(500);
/// The longest answer read.
const LONGEST: usize = 1_024;
const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_A442;

const ALLOCATE: u16 = 0x0003;
const REFRESH: u16 = 0x0004;
const SUCCESS: u16 = 0x0100;
const ERROR: u16 = 0x0110;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const LIFETIME: u16 = 0x000D;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const REQUESTED_TRANSPORT: u16 = 0x0019;
/// UDP.
const RELAYED: [u8; 4] = [17, 0, 0, 0];

/// What is wrong with a relay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    /// It knows another secret than we do.
    #[error("it does not take the credentials made of our secret (401)")]
    Credentials,
    /// It relays nothing for another reason.
    #[error("it refuses with {status}")]
    Refused {
        /// Of RFC 8489 and RFC 8656: 486 a quota, 508 no port left.
        status: u16,
    },
    /// Nothing came in time.
    #[error("it does not answer")]
    Silent,
    /// Something came that is no answer.
    #[error("it answers what is no TURN")]
    Strange,
    /// The system's.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// Asks the relay of a `turn:` address for a port, and gives it back. `None` where that is not tried: over TLS.
pub(super) async fn attempt(url: &str, login: &RelayLogin) -> Option<Result<(), TrialError>> {
    let (place, way) = url.strip_prefix("turn:").map(|rest| rest.split_once('?').unwrap_or((rest, "")))?;
    let place = match place.parse::<crate::config::Host>().ok()? {
        host if host.port.is_some() => host.authority(),
        host => format!("{}:3478", host.authority()),
    };
    let tried = timeout(PATIENCE, async {
        let at = tokio::net::lookup_host(place).await?.next().ok_or(TrialError::Silent)?;
        let mut way = if way == "transport=tcp" { Way::tcp(at).await? } else { Way::udp(at).await? };
        allocate(&mut way, login).await
    });
    Some(tried.await.unwrap_or(Err(TrialError::Silent)))
}

async fn allocate(way: &mut Way, login: &RelayLogin) -> Result<(), TrialError> {
    let transport: Attribute<'_> = (REQUESTED_TRANSPORT, &RELAYED);
    let challenge = way.ask(ALLOCATE, &[transport], None).await?;
    let (realm, nonce) = match challenge.error {
        // Whoever relays for everybody has no use for credentials.
        None => return Ok(()),
        Some(401) => (challenge.realm, challenge.nonce),
        Some(status) => return Err(TrialError::Refused { status }),
    };
    let mut key = Md5::new();
    // RFC 8489 section 9.2.2.
    for part in [login.name.as_bytes(), b":", &realm, b":", login.password.expose().as_bytes()] {
        key.update(part);
    }
    let key = key.finalize();
    let signed = |first| [first, (USERNAME, login.name.as_bytes()), (REALM, &realm[..]), (NONCE, &nonce[..])];
    match way.ask(ALLOCATE, &signed(transport), Some(&key)).await?.error {
        None => {
            // Given back at once; where that gets lost it ends by itself.
            way.tell(&message(REFRESH, rand::random(), &signed((LIFETIME, &[0; 4])), Some(&key))).await?;
            Ok(())
        }
        Some(401) => Err(TrialError::Credentials),
        Some(status) => Err(TrialError::Refused { status }),
    }
}

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Way {
    async fn udp(at: SocketAddr) -> std::io::Result<Self> {
        let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(at).await?;
        Ok(Self::Udp(socket))
    }

    async fn tcp(at: SocketAddr) -> std::io::Result<Self> {
        Ok(Self::Tcp(TcpStream::connect(at).await?))
    }

    async fn tell(&mut self, message: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Tcp(stream) => stream.write_all(message).await,
        }
    }

    /// Asks until there is an answer.
    async fn ask(
        &mut self,
        method: u16,
        attributes: &[Attribute<'_>],
        key: Option<&[u8]>,
    ) -> Result<Reply, TrialError> {
        let transaction = rand::random();
        let question = message(method, transaction, attributes, key);
        loop {
            self.tell(&question).await?;
            match self {
                Self::Udp(socket) => {
                    let mut buffer = [0; LONGEST];
                    let Ok(came) = timeout(REPEAT, socket.recv(&mut buffer)).await else { continue };
                    if let Some(reply) = Reply::parse(&buffer[..came?], method, transaction) {
                        return Ok(reply);
                    }
                }
                Self::Tcp(stream) => {
                    let mut octets = vec![0; HEADER];
                    stream.read_exact(&mut octets).await?;
                    let length = usize::from(u16::from_be_bytes([octets[2], octets[3]]));
                    if length > LONGEST {
                        return Err(TrialError::Strange);
                    }
                    octets.resize(HEADER + length, 0);
                    stream.read_exact(&mut octets[HEADER..]).await?;
                    return Reply::parse(&octets, method, transaction).ok_or(TrialError::Strange);
                }
            }
        }
    }
}

type Attribute<'a> = (u16, &'a [u8]);

/// A request, signed where there is a key (RFC 8489 section 14.5).
fn message(method: u16, transaction: [u8; 12], attributes: &[Attribute<'_>], key: Option<&[u8]>) -> Vec<u8> {
    let mut octets = Vec::with_capacity(256);
    octets.extend(method.to_be_bytes());
    octets.extend([0, 0]);
    octets.extend(COOKIE.to_be_bytes());
    octets.extend(transaction);
    let put = |octets: &mut Vec<u8>, (kind, value): Attribute<'_>| {
        octets.extend(kind.to_be_bytes());
        // Names and nonces are far shorter; a longer one was never read.
        octets.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        octets.extend(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
    };
    attributes.iter().for_each(|attribute| put(&mut octets, *attribute));
    let signature = if key.is_some() { 24 } else { 0 };
    let length = u16::try_from(octets.len() - HEADER + signature).unwrap_or(u16::MAX);
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    if let Some(key) = key {
        let mut mac =
            Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104 section 2)");
        mac.update(&octets);
        put(&mut octets, (MESSAGE_INTEGRITY, &mac.finalize().into_bytes()));
    }
    octets
}

/// What a relay says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reply {
    error: Option<u16>,
    realm: Vec<u8>,
    nonce: Vec<u8>,
}

impl Reply {
    /// Reads the answer to a request; `None` where it is none.
    fn parse(octets: &[u8], method: u16, transaction: [u8; 12]) -> Option<Self> {
        let (header, mut rest) = octets.split_first_chunk::<HEADER>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let ours = header[4..8] == COOKIE.to_be_bytes() && header[8..] == transaction;
        if !ours || (kind != method | SUCCESS && kind != method | ERROR) {
            return None;
        }
        let mut reply = Self::default();
        while let Some((&[k0, k1, l0, l1], after)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let value = after.get(..length)?;
            match u16::from_be_bytes([k0, k1]) {
                ERROR_CODE => {
                    let [_, _, class, number, ..] = value else { return None };
                    reply.error = Some(u16::from(class & 7) * 100 + u16::from(*number));
                }
                REALM => reply.realm = value.to_vec(),
                NONCE => reply.nonce = value.to_vec(),
                _ => {}
            }
            rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        // An error without its number is none.
        (reply.error.is_some() == (kind == method | ERROR)).then_some(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn login() -> RelayLogin {
        RelayLogin { name: "1:check".to_owned(), password: Secret::new("p".to_owned()) }
    }

    #[test]
    fn what_is_no_answer_of_the_relay_is_passed_over() {
        let transaction = [7; 12];
        let refusal = |kind: u16| {
            message(kind, transaction, &[(ERROR_CODE, &[0, 0, 4, 1]), (REALM, b"r"), (NONCE, b"nonce")], None)
        };
        let good = refusal(ALLOCATE | ERROR);
        let reply = Reply::parse(&good, ALLOCATE, transaction).expect("an answer");
        assert_eq!(reply, Reply { error: Some(401), realm: b"r".to_vec(), nonce: b"nonce".to_vec() });
        for (octets, method, transaction) in [
            (good.clone(), REFRESH, transaction),
            (good.clone(), ALLOCATE, [8; 12]),
            (refusal(ALLOCATE), ALLOCATE, transaction),
            (refusal(ALLOCATE | SUCCESS), ALLOCATE, transaction),
            (message(ALLOCATE | ERROR, transaction, &[], None), ALLOCATE, transaction),
        ] {
            assert_eq!(Reply::parse(&octets, method, transaction), None);
        }
        for length in 0..good.len() {
            let whole = Reply::parse(&good[..length], ALLOCATE, transaction);
            assert!(whole.is_none_or(|reply| reply.error == Some(401)), "cut at {length}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_apart_from_a_refusal() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let url = format!("turn:{}?transport=udp", silent.local_addr().expect("bound"));
        let begun = std::time::Instant::now();
        let tried = attempt(&url, &login()).await.expect("tried");
        assert!(matches!(tried, Err(TrialError::Silent)), "{tried:?}");
        assert!(begun.elapsed() < Duration::from_secs(8));
        assert!(attempt("turns:relay.example:5349?transport=tcp", &login()).await.is_none());
    }
}
