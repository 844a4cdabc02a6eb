//! Results as a table for people and as CSV for programs.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

/// One file's line.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) state: String,
    /// Seconds.
    pub(super) duration: Option<f64>,
    pub(super) score: Option<f64>,
    pub(super) passed: Option<bool>,
    /// The rules that were broken or earned, each once.
    pub(super) rules: Vec<String>,
    /// Why there is no result.
    pub(super) error: Option<String>,
}

/// Columns of a file's name.
const NAME: usize = 32;

pub(super) fn print(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} {:>8} {:>7} {:>6}  findings", pad("file", NAME), "length", "score", "pass")?;
    for row in rows {
        let length = row.duration.map_or_else(|| "-".to_owned(), clock);
        let score = row.score.map_or_else(|| "-".to_owned(), number);
        let pass = row.passed.map_or("-", |passed| if passed { "yes" } else { "NO" });
        let rest = match &row.error {
            Some(error) => format!("{}: {error}", row.state),
            None => row.rules.join(" "),
        };
        writeln!(out, "{} {length:>8} {score:>7} {pass:>6}  {}", pad(&row.name, NAME), harmless(&rest))?;
    }
    let scored: Vec<f64> = rows.iter().filter_map(|row| row.score).collect();
    if !scored.is_empty() {
        let passed = rows.iter().filter(|row| row.passed == Some(true)).count();
        let mean = scored.iter().sum::<f64>() / scored.len() as f64;
        writeln!(
            out,
            "\n{} of {} judged, {passed} pass, mean score {}",
            scored.len(),
            rows.len(),
            number((mean * 10.0).round() / 10.0)
        )?;
    }
    Ok(())
}

/// RFC 4180.
pub(super) fn csv(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["file", "state", "duration_s", "score", "passed", "findings", "error"])?;
    for row in rows {
        writer.write_record([
            formula(&row.name),
            row.state.clone(),
            row.duration.map(|seconds| format!("{seconds:.3}")).unwrap_or_default(),
            row.score.map(number).unwrap_or_default(),
            row.passed.map(|passed| passed.to_string()).unwrap_or_default(),
            row.rules.join(" "),
            formula(row.error.as_deref().unwrap_or_default()),
        ])?;
    }
    Ok(writer.into_inner()?)
}

/// A cell that a spreadsheet would compute is shown as text.
fn formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn number(value: f64) -> String {
    format!("{value}")
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Names of files are anybody's: they must not steer the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// So many columns, whatever the text is.
pub(super) fn pad(text: &str, width: usize) -> String {
    let mut cut = String::new();
    let mut columns = 0;
    for c in harmless(text).chars() {
        let more = c.width().unwrap_or(0);
        if columns + more > width {
            break;
        }
        columns += more;
        cut.push(c);
    }
    format!("{cut}{}", " ".repeat(width - columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_harmless() {
        let row =
            |name: &str| Row { name: name.into(), score: Some(80.0), passed: Some(true), ..Row::default() };
        let mut out = Vec::new();
        print(&[row("one.wav"), row("理财.wav"), row("evil\x1b[2J.wav")], &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(!text.contains('\x1b') && text.contains("3 of 3 judged, 3 pass, mean score 80"), "{text}");
        let ends: Vec<_> = text.lines().skip(1).take(2).map(unicode_width::UnicodeWidthStr::width).collect();
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn a_spreadsheet_computes_nothing() {
        let row = Row { name: "=cmd|' /C calc'!A0".into(), state: "done".into(), ..Row::default() };
        let text = String::from_utf8(csv(&[row]).expect("written")).expect("text");
        assert!(text.contains("'=cmd"), "{text}");
    }
}
