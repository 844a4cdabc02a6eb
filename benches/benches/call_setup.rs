//! Setting calls up and ending them: two SIP agents on loopback, INVITE to BYE, with offer and answer, without media.

#![allow(clippy::disallowed_methods, reason = "a bench owns its tasks")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use antiphon_media_sip::sdp::{self, LocalMedia, Offer};
use antiphon_media_sip::{Agent, AgentConfig, CallRequest, DialogEvent, OutgoingEvent};
use divan::Bencher;
use divan::counter::ItemsCount;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Calls set up together.
const TOGETHER: usize = 20;

fn main() {
    divan::main();
}

fn config() -> AgentConfig {
    AgentConfig {
        udp: vec![SocketAddr::new(HOST, 0)],
        user_agent: Some("bench".into()),
        ..AgentConfig::default()
    }
}

async fn answer(mut incoming: tokio::sync::mpsc::Receiver<antiphon_media_sip::IncomingCall>) {
    while let Some(mut call) = incoming.recv().await {
        tokio::spawn(async move {
            call.ring().expect("wanted");
            let offer = Offer::parse(call.offer().expect("an offer")).expect("SDP");
            let (text, _) = sdp::answer(&offer, &LocalMedia::new(HOST, 20_000, 1)).expect("a common codec");
            let mut dialog = call.answer(&text).expect("wanted");
            while !matches!(dialog.next().await, DialogEvent::Bye { .. } | DialogEvent::Lost) {}
        });
    }
}

async fn call(agent: &Agent, to: SocketAddr) {
    let offer = sdp::offer(&LocalMedia::new(HOST, 30_000, 2));
    let request = CallRequest::new(&format!("sip:bank@{to}"), "sip:bench@localhost", offer);
    let mut outgoing = agent.call(request).await.expect("sent");
    loop {
        match outgoing.next().await {
            OutgoingEvent::Answered { dialog, .. } => return dialog.hang_up(None).await.expect("sent"),
            OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => {}
            failed => panic!("not answered: {failed:?}"),
        }
    }
}

/// From the INVITE to the BYE's answer, both sides in this process; 20 calls at a time.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn calls_over_udp(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (server, client) = runtime.block_on(async {
        let (server, incoming) = Agent::bind(config()).await.expect("bound");
        tokio::spawn(answer(incoming));
        let (client, _) = Agent::bind(config()).await.expect("bound");
        (server, client)
    });
    let to = server.udp()[0];
    let client = std::sync::Arc::new(client);
    bencher.counter(ItemsCount::new(TOGETHER)).bench_local(|| {
        runtime.block_on(async {
            let calls: Vec<_> = (0..TOGETHER)
                .map(|_| {
                    let client = std::sync::Arc::clone(&client);
                    tokio::spawn(async move { call(&client, to).await })
                })
                .collect();
            for call in calls {
                call.await.expect("a call");
            }
        });
    });
    runtime.block_on(async {
        client.shutdown().await;
        server.shutdown().await;
    });
}
