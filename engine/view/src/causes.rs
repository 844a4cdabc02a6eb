//! The catalogue of causes as a page of the manual.

use std::fmt::Write;

use antiphon_engine_call::{Cause, Severity};

/// The Markdown of `docs/ERRORS.md`, rendered from [`Cause::ALL`].
#[must_use]
pub fn causes_markdown() -> String {
    let mut page = String::from(
        "# Why a call ended\n\n\
         <!-- Rendered from the catalogue in engine/call/src/cause.rs; change it there. -->\n\n\
         Every call ends with exactly one of these causes. The code is stable: it stands in the `call.ended` event, in the\n\
         recording's sidecar and in the metrics, never changes its meaning and is never used again for another.\n\n\
         A SIP status stands where the call was refused before it was answered. Severity says how much a person should\n\
         care: **normal** calls went as calls go, a **warning** met a limit or somebody's choice, an **error** is something\n\
         broken or wrongly configured.\n\n\
         | code | severity | SIP | what happened | what to do |\n\
         |---|---|---|---|---|\n",
    );
    for cause in Cause::ALL {
        let status = if cause.sip_status == 0 { "–".to_owned() } else { cause.sip_status.to_string() };
        let advice = if cause.advice.is_empty() { "–" } else { cause.advice };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {status} | {} | {} |",
            cause.code,
            severity(cause.severity),
            cell(cause.text),
            cell(advice)
        );
    }
    page
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Normal => "normal",
        Severity::Warning => "warning",
        Severity::Error => "**error**",
    }
}

/// Text that cannot break the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_one_whole_row() {
        let page = causes_markdown();
        for cause in Cause::ALL {
            let rows: Vec<&str> =
                page.lines().filter(|l| l.starts_with(&format!("| `{}` |", cause.code))).collect();
            assert_eq!(rows.len(), 1, "{}", cause.code);
            assert!(rows[0].contains(cause.text) && rows[0].matches(" | ").count() == 4, "{}", rows[0]);
        }
    }
}
