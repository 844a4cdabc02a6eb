//! The page of a run of many files.

use antiphon_media_frame::Span;

use super::markup::{Html, Say, beside, clock, figure};
use super::{close, open};

/// One file of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexRow {
    /// What it is called.
    pub file: String,
    /// Its report's path, as seen from the index; `None` where there is none.
    pub report: Option<String>,
    /// The score and whether it passes; `None` where it was not judged.
    pub score: Option<(f64, bool)>,
    /// Findings that count.
    pub findings: usize,
    /// How long it is.
    pub duration: Option<Span>,
    /// The agent's part of the talking, 0 to 1.
    pub agent_ratio: Option<f32>,
    /// Why it could not be inspected.
    pub failure: Option<String>,
}

/// How often a rule found something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleCount {
    /// Its identifier.
    pub rule: String,
    /// What people call it.
    pub name: Option<String>,
    /// In how many files.
    pub files: usize,
    /// How often.
    pub findings: usize,
    /// What it took or gave.
    pub points: f64,
}

fn card(html: &mut Html, label: Say, value: &str) {
    html.raw("<div class=\"card\"><strong>")
        .text(value)
        .raw("</strong><span>")
        .say(label)
        .raw("</span></div>");
}

fn heads(html: &mut Html, heads: &[(Say, bool)]) {
    html.raw("<thead><tr>");
    for &(head, number) in heads {
        html.raw(if number { "<th scope=\"col\" class=\"n\">" } else { "<th scope=\"col\">" });
        html.raw("<button type=\"button\" class=\"sort\">").say(head).raw("</button></th>");
    }
    html.raw("</tr></thead><tbody>");
}

/// A cell with what it is sorted by; an empty one comes last.
fn cell(html: &mut Html, by: Option<f64>, text: &str) {
    html.raw("<td class=\"n\"")
        .attr("data-by", &by.map(|by| by.to_string()).unwrap_or_default())
        .raw(">")
        .text(text)
        .raw("</td>");
}

/// The page of a run: a table that can be sorted, a link to each report, failures with their reasons, and how often each
/// rule found something. `language` is that of the labels shown first: `zh`, or else English.
#[must_use]
pub fn index_page(title: &str, language: &str, rows: &[IndexRow], rules: &[RuleCount]) -> String {
    let mut html = Html::default();
    open(&mut html, title, language);
    html.raw("<header><div class=\"title\"><h1>")
        .text(title)
        .raw("</h1></div></header>\n<div class=\"cards\">");
    let judged: Vec<(f64, bool)> = rows.iter().filter_map(|row| row.score).collect();
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    card(&mut html, Say("录音", "recordings"), &rows.len().to_string());
    card(&mut html, Say("合格", "pass"), &judged.iter().filter(|(_, pass)| *pass).count().to_string());
    card(&mut html, Say("不合格", "fail"), &judged.iter().filter(|(_, pass)| !pass).count().to_string());
    card(&mut html, Say("无法质检", "could not be inspected"), &failed.to_string());
    let mean = judged.iter().map(|(score, _)| score).sum::<f64>() / judged.len().max(1) as f64;
    card(
        &mut html,
        Say("平均分", "mean score"),
        &if judged.is_empty() { "–".to_owned() } else { figure(mean) },
    );
    html.raw("</div>\n<section><h2>")
        .say(Say("录音", "Recordings"))
        .raw("</h2><div class=\"wide\"><table class=\"sortable\">");
    heads(
        &mut html,
        &[
            (Say("文件", "File"), false),
            (Say("得分", "Score"), true),
            (Say("结果", "Result"), false),
            (Say("命中", "Findings"), true),
            (Say("时长", "Duration"), true),
            (Say("坐席占比", "Agent's talk"), true),
        ],
    );
    for row in rows {
        html.raw("<tr><td").attr("data-by", &row.file).raw(">");
        match &row.report {
            Some(report) => {
                _ = html.raw("<a").attr("href", &beside(report)).raw(">").text(&row.file).raw("</a>");
            }
            None => _ = html.text(&row.file),
        }
        html.raw("</td>");
        cell(
            &mut html,
            row.score.map(|(score, _)| score),
            &row.score.map(|(score, _)| figure(score)).unwrap_or_default(),
        );
        let (by, class, said) = match (&row.failure, row.score) {
            (Some(_), _) => ("2", "fail", Say("失败", "failed")),
            (None, Some((_, true))) => ("0", "pass", Say("合格", "pass")),
            (None, Some((_, false))) => ("1", "fail", Say("不合格", "fail")),
            (None, None) => ("3", "aside", Say("未评分", "not judged")),
        };
        html.raw("<td")
            .attr("data-by", by)
            .raw("><span")
            .attr("class", class)
            .raw(">")
            .say(said)
            .raw("</span>");
        if let Some(failure) = &row.failure {
            html.raw(" <span class=\"why\">").text(failure).raw("</span>");
        }
        html.raw("</td>");
        let findings = row.failure.is_none().then_some(row.findings);
        cell(
            &mut html,
            findings.map(|count| count as f64),
            &findings.map(|count| count.to_string()).unwrap_or_default(),
        );
        let millis = row.duration.map(|duration| duration.millis().min(i64::MAX as u64) as i64);
        cell(&mut html, millis.map(|millis| millis as f64), &millis.map(clock).unwrap_or_default());
        let percent = row.agent_ratio.map(|ratio| f64::from(ratio) * 100.0);
        cell(&mut html, percent, &percent.map(|percent| format!("{percent:.0} %")).unwrap_or_default());
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div></section>\n<section><h2>")
        .say(Say("按规则", "By rule"))
        .raw("</h2><div class=\"wide\">");
    html.raw("<table class=\"sortable\">");
    heads(
        &mut html,
        &[
            (Say("规则", "Rule"), false),
            (Say("录音数", "Recordings"), true),
            (Say("命中", "Findings"), true),
            (Say("得分", "Points"), true),
        ],
    );
    for rule in rules {
        let name = rule.name.as_deref().unwrap_or(&rule.rule);
        html.raw("<tr><td")
            .attr("data-by", name)
            .raw(">")
            .text(name)
            .raw(" <code>")
            .text(&rule.rule)
            .raw("</code></td>");
        cell(&mut html, Some(rule.files as f64), &rule.files.to_string());
        cell(&mut html, Some(rule.findings as f64), &rule.findings.to_string());
        cell(&mut html, Some(rule.points), &figure(rule.points));
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
    close(&mut html);
    html.finish()
}
