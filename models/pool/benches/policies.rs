//! Our scheduler beside re-creations of what neighbours do, on virtual time and the same load: what a live caller waits for
//! the words of a chunk, and how much of the recordings gets done beside him.
//!
//! `cargo bench --package antiphon-models-pool --bench policies`

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::time::Duration;

use antiphon_models_pool::Shares;
use sim::{Antiphon, Cost, Fifo, FixedSlots, Load, Policy, SessionPool, run};

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn main() {
    // `cargo test` runs benches once, to see that they run.
    let once = std::env::args().any(|arg| arg == "--test") || !std::env::args().any(|arg| arg == "--bench");
    let seconds = if once { 20 } else { 600 };
    let core = Cost { fixed: Duration::from_millis(5), row: Duration::from_millis(8) };
    let card = Cost { fixed: Duration::from_millis(20), row: Duration::from_micros(500) };
    for (device, cost, live, batch) in [
        ("core: step 5 ms + 8 ms a row", core, 40, 0),
        ("core: step 5 ms + 8 ms a row", core, 40, 32),
        ("card: step 20 ms + 0.5 ms a row", card, 120, 0),
        ("card: step 20 ms + 0.5 ms a row", card, 120, 32),
    ] {
        println!("\n{device}; {live} live streams, {batch} recordings, chunks of 320 ms");
        println!(
            "{:<28} {:>9} {:>9} {:>9} {:>14} {:>7} {:>6}",
            "policy", "p50 ms", "p95 ms", "p99 ms", "recorded s/s", "busy %", "fill"
        );
        let policies: [(&str, Box<dyn Policy>); 4] = [
            ("antiphon", Box::new(Antiphon::new(Shares::default(), cost))),
            ("FIFO (re-created)", Box::new(Fifo)),
            ("fixed slots (re-created)", Box::new(FixedSlots)),
            ("session pool (re-created)", Box::new(SessionPool::default())),
        ];
        for (name, mut policy) in policies {
            let outcome = run(&mut *policy, cost, Load { seconds, ..Load::new(live, batch) });
            println!(
                "{name:<28} {:>9.0} {:>9.0} {:>9.0} {:>14.1} {:>7.0} {:>6.1}",
                outcome.live_ms(0.5),
                outcome.live_ms(0.95),
                outcome.live_ms(0.99),
                outcome.batch as f64 * sim::CHUNK.as_secs_f64() / seconds as f64,
                outcome.busy * 100.0,
                outcome.fill
            );
        }
    }
}
