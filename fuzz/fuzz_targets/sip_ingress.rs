//! Any datagram or stream message at the SIP gate. The gate is private to its crate, so its source is taken in here.
#![no_main]

#[path = "../../media/sip/src/access.rs"]
#[allow(dead_code, unreachable_pub, reason = "the agent uses more of it than the target")]
mod access;
#[path = "../../media/sip/src/address.rs"]
#[allow(dead_code, unreachable_pub, reason = "the agent uses more of it than the target")]
mod address;
/// What the modules taken in ask of their own crate.
mod flow {
    pub use antiphon_media_sip::SipTransport;
}
#[path = "../../media/sip/src/gate.rs"]
#[allow(dead_code, unreachable_pub, reason = "the agent uses more of it than the target")]
mod gate;
#[path = "../../media/sip/src/message.rs"]
#[allow(dead_code, unreachable_pub, reason = "the agent uses more of it than the target")]
mod message;

use gate::{Load, Rules, Verdict, admit};
use libfuzzer_sys::fuzz_target;

/// The agent's own limit.
const LONGEST: usize = 8_192;
const RULES: Rules = Rules { max_message: LONGEST, registrar: true };

/// The gate runs the stack's parsers behind a wall, and panics there are its business: libFuzzer's own hook would end
/// the process at the first one. Panics that reach the target's edge still count.
fn quiet() {
    std::panic::set_hook(Box::new(|panic| {
        let stack = panic.location().is_some_and(|at| at.file().contains("rsipstack"));
        if !stack {
            eprintln!("{panic}");
        }
    }));
}

fuzz_target!(init: quiet(), |data: &[u8]| {
    for load in [Load::Normal, Load::Busy, Load::Overrun] {
        match admit(data, &RULES, load) {
            Verdict::Pass(message) => {
                if message.len() <= LONGEST {
                    let again = admit(&message, &RULES, load);
                    assert!(matches!(again, Verdict::Pass(_)), "what was let in is let in again: {again:?}");
                }
            }
            Verdict::Answer(answer) => assert!(answer.starts_with(b"SIP/2.0 "), "an answer is a response"),
            Verdict::Drop(reason) => assert!(!reason.is_empty(), "a refusal says why"),
        }
    }
});
