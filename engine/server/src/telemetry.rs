//! Logs and counters.

mod meter;

use std::io::IsTerminal;

use anyhow::Context;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub(crate) use meter::{Counts, Histogram, Meter};

/// The SIP stack, and the DTLS library, which warns of each extension of a browser that it does not know.
const STACKS: [&str; 2] = ["rsipstack", "rtc_dtls"];

/// Starts logging to standard error.
pub(crate) fn init(level: &str) -> anyhow::Result<()> {
    subscriber(level, std::io::stderr)?.try_init()?;
    Ok(())
}

fn subscriber<W>(level: &str, writer: W) -> anyhow::Result<impl Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level).with_context(|| {
        format!("log.level: `{level}` is no level or filter; write error, warn, info, debug or trace")
    })?;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .compact();
    Ok(tracing_subscriber::registry().with(filter).with(layer.with_filter(filter_fn(is_fit_to_log))))
}

/// The SIP stack's own log holds whole messages, personal data included, below `error`: it stays shut. This is no
/// directive of the filter, because a more specific directive of the user would win over it.
fn is_fit_to_log(metadata: &Metadata<'_>) -> bool {
    // A file that cannot be read is no fault of the server, and whoever sent it is told.
    if metadata.target().starts_with("symphonia") {
        return false;
    }
    let of_stack = STACKS.into_iter().any(|stack| {
        metadata.target().strip_prefix(stack).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    !of_stack || *metadata.level() == Level::ERROR
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use antiphon_engine_call::{Event, EventBody};
    use antiphon_media_frame::{CallId, MediaTime, Pii};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, speak: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(level, move || writer.clone()).expect("a filter");
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_sip_stack_stays_shut_whatever_the_filter_says() {
        for level in [
            "trace",
            "rsipstack=trace",
            "info,rsipstack::transaction=trace",
            "warn,rsipstack::transaction=debug",
        ] {
            let text = logged(level, || {
                tracing::warn!(target: "rsipstack", "secret one");
                tracing::info!(target: "rsipstack::transaction", "secret two");
                tracing::trace!(target: "rsipstack::transaction::endpoint", "secret three");
                tracing::error!(target: "rsipstack::transaction", "broken");
            });
            assert!(text.contains("broken") && !text.contains("secret"), "{level}: {text}");
        }
    }

    #[test]
    fn other_targets_obey_the_filter() {
        let speak = || {
            tracing::info!(target: "antiphon", "of ours");
            tracing::info!(target: "rsipstacked", "another crate");
            tracing::debug!(target: "antiphon", "too fine");
        };
        let text = logged("info", speak);
        assert!(
            text.contains("of ours") && text.contains("another crate") && !text.contains("too fine"),
            "{text}"
        );
        assert!(!logged("warn", speak).contains("of ours"));
        assert!(logged("warn,antiphon=debug", speak).contains("too fine"));
    }

    #[test]
    fn personal_data_is_not_logged() {
        let from = Pii::new("13800138000".to_owned());
        let body = EventBody::CallStarted { from: from.clone(), to: from.clone(), direction: "inbound" };
        let event = Event { call: CallId(1), seq: 1, at: MediaTime::ZERO, body };
        let text = logged("trace", || tracing::info!(%from, ?event, caller = ?from, "a call came in"));
        assert!(text.contains("a call came in") && text.contains("[redacted]"), "{text}");
        assert!(!text.contains("13800138000"), "{text}");
    }

    #[test]
    fn a_slip_in_the_filter_is_named() {
        let Err(error) = subscriber("loud=very", std::io::sink) else { panic!("taken") };
        assert!(error.to_string().contains("loud=very"), "{error}");
    }
}
