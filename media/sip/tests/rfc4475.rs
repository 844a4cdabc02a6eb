//! The torture messages of RFC 4475, one by one: what each gets. They go over WebSocket, where an answer finds its way
//! back whatever the Via says, and where no length is needed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests own tasks, and fail by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_sip::{
    Access, Agent, AgentConfig, Decision, IncomingCall, Peer, Registrar, RegistrarConfig, RequestFacts,
    Secret,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// A call arrives, from a user whose name begins so; refused with 486.
    Call(&'static str),
    /// This status comes back.
    Status(u16),
    /// Nothing comes back.
    Nothing,
}

use Gets::{Call, Nothing, Status};

/// File, what it gets, why.
const TABLE: [(&str, Gets, &str); 50] = [
    // 3.1.1 valid messages
    (
        "TC_WSINV",
        Status(481),
        "3.1.1.1: white space, folding and quoting of every kind, and a tag of no call of ours",
    ),
    ("TC_INTMETH", Status(405), "3.1.1.2: an unknown method, well-formed"),
    ("TC_ESC01_V", Call("I have spaces"), "3.1.1.3: escapes"),
    ("TC_ESCNULL_V", Status(200), "3.1.1.4: escaped nulls"),
    ("TC_ESC02_V", Status(405), "3.1.1.5: an escape in a method is part of its name"),
    ("TC_LWSDISP_V", Status(200), "3.1.1.6: no space before the bracket"),
    ("TC_LONGREQ_V", Call("amazinglylongcallername"), "3.1.1.7: long values"),
    ("TC_DBLREQ", Status(200), "3.1.1.8: what follows the body is no part of the message"),
    ("TC_SEMIURI_V", Status(200), "3.1.1.9: semicolons in the user part"),
    ("TC_TRANSPORTS_V", Status(200), "3.1.1.10: Via headers of every transport"),
    ("TC_MPART01", Status(405), "3.1.1.11: MESSAGE is not served; the body does no harm"),
    ("TC_UNREASON_V", Nothing, "3.1.1.12: a response to nobody"),
    ("TC_NOREASON_V", Nothing, "3.1.1.13: a response to nobody"),
    // 3.1.2 invalid messages
    ("TC_BADINV01_I", Status(400), "3.1.2.1: extra separators"),
    ("TC_CLERR_I", Status(400), "3.1.2.2: more length than body"),
    ("TC_NCL_I", Status(400), "3.1.2.3: a negative length"),
    ("TC_SCALAR02_V", Status(400), "3.1.2.4: numbers out of range"),
    ("TC_SCALARLG_V", Nothing, "3.1.2.5: a response with numbers out of range"),
    ("TC_QUOTBAL_I", Status(400), "3.1.2.6: an unclosed quote"),
    ("TC_LTGTRURI_I", Status(400), "3.1.2.7: brackets around the Request-URI"),
    ("TC_LWSRURI_I", Status(400), "3.1.2.8: a space in the Request-URI"),
    ("TC_LWSSTART_V", Status(400), "3.1.2.9: more than one space in the start line"),
    ("TC_TRWS_I", Status(400), "3.1.2.10: spaces after the start line"),
    ("TC_ESCRURI_V", Status(400), "3.1.2.11: headers in the Request-URI"),
    ("TC_BADDATE_V", Call("caller"), "3.1.2.12: a date without GMT, which nobody reads"),
    ("TC_REGBADCT_I", Status(400), "3.1.2.13: a contact with headers outside brackets"),
    ("TC_BADASPEC_I", Status(400), "3.1.2.14: spaces in an address"),
    ("TC_BADDN_I", Nothing, "3.1.2.15: a display name that needs quotes; the empty line is missing too"),
    ("TC_BADVERS_V", Status(505), "3.1.2.16: an unknown version"),
    ("TC_MISMATCH01_V", Status(400), "3.1.2.17: start line and CSeq disagree"),
    ("TC_MISMATCH02_V", Status(400), "3.1.2.18: the same for an unknown method"),
    ("TC_BIGCODE_V", Nothing, "3.1.2.19: a status beyond all"),
    // 3.2 transactions
    ("TC_BADBRANCH_V", Status(200), "3.2.1: a branch of nothing but the cookie"),
    // 3.3 what applications see
    ("TC_INSUF_I", Nothing, "3.3.1: required headers are missing, so that nothing can be answered"),
    ("TC_UNKSCM_V", Status(416), "3.3.2: an unknown scheme in the Request-URI"),
    ("TC_NOVELSC_V", Status(416), "3.3.3: a known scheme that is none of ours"),
    ("TC_UNKSM2_V", Status(400), "3.3.4: unknown schemes in other headers"),
    ("TC_BEXT01_V", Status(420), "3.3.5: required extensions"),
    ("TC_INVUT_V", Status(415), "3.3.6: an unknown kind of body"),
    ("TC_REGAUT01_V", Status(200), "3.3.7: an unknown authorization scheme where none was asked for"),
    ("TC_MULTI01_I", Status(400), "3.3.8: single headers several times"),
    ("TC_MCL01_I", Status(400), "3.3.9: two lengths"),
    ("TC_BCAST_V", Nothing, "3.3.10: a response that was for somebody else"),
    ("TC_ZEROMF_V", Status(200), "3.3.11: no hops left, and none needed"),
    ("TC_CPARAM01_V", Status(200), "3.3.12: contact parameters within brackets"),
    ("TC_CPARAM02_V", Status(200), "3.3.13: and outside"),
    ("TC_REGESCRT_V", Status(200), "3.3.14: an escaped route in a contact"),
    ("TC_SDP01_V", Call("caller"), "3.3.15: Accept has no type we answer with, which is the caller's loss"),
    // 3.4 older versions
    ("TC_INV2543_I", Status(400), "3.4.1: RFC 2543 without branch, tag and Max-Forwards"),
    // not in the RFC
    ("TC_TEST_I", Nothing, "an INVITE without a version"),
];

const LIMIT: Duration = Duration::from_secs(10);
/// What has not come by then does not come.
const SILENCE: Duration = Duration::from_millis(100);

/// Takes everybody for who he says he is.
struct Trusting;

impl Access for Trusting {
    fn decide(&self, facts: &RequestFacts<'_>) -> Decision {
        match facts.method {
            "REGISTER" => Decision::Accept(Peer::User(facts.to.user.expose().clone())),
            _ => Decision::Accept(Peer::Anonymous),
        }
    }

    fn secret(&self, _user: &str, _realm: &str) -> Option<Secret> {
        None
    }
}

/// All that comes of a message: the users whose calls arrive, and each status but 100.
async fn outcome(
    agent: &Agent,
    calls: &mut Receiver<IncomingCall>,
    message: Vec<u8>,
    nothing: bool,
) -> Vec<String> {
    let stream = TcpStream::connect(agent.ws()[0]).await.unwrap();
    let mut request = format!("ws://{}/", agent.ws()[0]).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    socket.send(Message::binary(message)).await.unwrap();
    let mut got = Vec::new();
    let mut limit = if nothing { SILENCE } else { LIMIT };
    loop {
        let event = async {
            tokio::select! {
                Some(call) = calls.recv() => {
                    let from = call.from().user.expose().clone();
                    call.reject(486, "", "").unwrap();
                    from
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => text.split(' ').nth(1).expect("a status").to_owned(),
                    other => format!("{other:?}"),
                },
            }
        };
        let Ok(event) = timeout(limit, event).await else { return got };
        if event != "100" {
            got.push(event);
            // A call has its refusal still to come.
            limit = if got == ["486"] || got.len() == 1 && got[0].parse::<u16>().is_err() {
                LIMIT
            } else {
                SILENCE
            };
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
async fn each_torture_message_gets_what_it_deserves() {
    let folder = Path::new("/work/shared/conformance/rfc4475");
    let Ok(files) = folder.read_dir() else {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    };
    let there =
        files.filter(|f| f.as_ref().is_ok_and(|f| f.path().extension().is_some_and(|e| e == "dat"))).count();
    assert_eq!(there, TABLE.len(), "each file is in the table");
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = AgentConfig {
        ws: vec![free],
        access: Arc::new(Trusting),
        registrar: Some(Registrar::new(RegistrarConfig::default())),
        ..AgentConfig::default()
    };
    let (agent, mut calls) = Agent::bind(config).await.unwrap();
    for (name, expected, why) in TABLE {
        let message = std::fs::read(folder.join(format!("{name}.dat"))).unwrap();
        let got = outcome(&agent, &mut calls, message, expected == Nothing).await;
        match expected {
            Call(from) => {
                assert_eq!(got.len(), 2, "{name} ({why}): {got:?}");
                assert!(got.iter().any(|g| g.starts_with(from)), "{name} ({why}): {got:?}");
                assert!(got.contains(&"486".to_owned()), "{name} ({why}): {got:?}");
            }
            Status(status) => assert_eq!(got, [status.to_string()], "{name} ({why})"),
            Nothing => assert_eq!(got, [""; 0], "{name} ({why})"),
        }
    }
}
