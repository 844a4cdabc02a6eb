//! What was said, turn by turn.

use antiphon_engine_measure::Turn;
use antiphon_engine_qa::Hit;

use super::markup::{Html, Say, figure};
use super::{Page, jump, role, role_class};

/// A turn that sounds at least so worked up is marked.
const MARKED: f32 = 0.3;
/// Characters of the text in which the next word is looked for.
const NEAR: usize = 60;

impl Page<'_> {
    pub(super) fn turns(&self, html: &mut Html) {
        let conversation = self.report.conversation;
        let listening: std::collections::HashSet<usize> =
            self.report.measures.backchannels.iter().map(|found| found.turn).collect();
        let rules = self.report.judgements.iter().flat_map(|judgement| &judgement.rules);
        let mut findings: Vec<&Hit> = rules
            .flat_map(|rule| &rule.hits)
            .filter(|found| found.stands() && found.searched.is_empty())
            .collect();
        findings.sort_by_key(|found| found.start);
        html.raw("<section><h2>").say(Say("逐句文本", "Transcript")).raw("</h2>\n<ol class=\"turns\"");
        html.attr("lang", conversation.language.tag()).raw(">");
        for (index, turn) in conversation.turns.iter().enumerate() {
            let who = conversation.role(turn);
            let mut class = format!("turn {}", role_class(who));
            if listening.contains(&index) {
                class.push_str(" listening");
            }
            let past = findings.partition_point(|found| found.start < turn.said.end);
            let here: Vec<&Hit> = findings[..past]
                .iter()
                .rev()
                .take(64)
                .filter(|found| {
                    found.end > turn.said.start && found.track.is_none_or(|track| track == turn.track)
                })
                .copied()
                .collect();
            html.raw("<li").attr("class", &class).attr("id", &format!("turn-{index}"));
            html.seconds("data-from", turn.said.start.millis()).seconds("data-to", turn.said.end.millis());
            html.attr("title", &self.span_of(turn.said.start.millis(), turn.said.end.millis()))
                .raw("><span class=\"side\">");
            jump(html, turn.said.start);
            html.raw(" <b>").say(role(who)).raw("</b></span><p>");
            words(html, turn, &here);
            html.raw("</p><span class=\"marks\">");
            if let Some((score, features)) = self.features(index).filter(|&(score, _)| score >= MARKED) {
                html.raw("<span class=\"heat\"")
                    .attr("title", &features)
                    .raw(">")
                    .say(Say("情绪", "agitation"))
                    .raw(" ");
                html.text(&figure(f64::from(score))).raw("</span>");
            }
            for found in here {
                html.raw("<a")
                    .attr("class", if found.points < 0.0 || found.fatal { "mark bad" } else { "mark good" });
                html.attr("href", &format!("#hit-{}", found.id))
                    .raw(">")
                    .text(&figure(found.points))
                    .raw("</a>");
            }
            html.raw("</span></li>\n");
        }
        html.raw("</ol></section>\n");
    }
}

/// The text, each word that is found in it a place to jump to.
fn words(html: &mut Html, turn: &Turn, findings: &[&Hit]) {
    let mut rest = turn.said.text.as_str();
    for word in &turn.said.words {
        if word.text.is_empty() {
            continue;
        }
        // Marks and figures may stand where the words were others: whatever is not near is not this word.
        let near = rest.char_indices().nth(NEAR).map_or(rest, |(at, _)| &rest[..at]);
        let Some(at) = near.find(&word.text) else { continue };
        let quoted = findings.iter().any(|found| {
            !found.quote.expose().is_empty() && word.start < found.end && word.end > found.start
        });
        html.text(&rest[..at]).raw(if quoted { "<span class=\"w quoted\"" } else { "<span class=\"w\"" });
        html.seconds("data-t", word.start.millis());
        html.seconds("data-e", word.end.millis());
        if word.confidence < 0.5 {
            html.raw(" data-unsure");
        }
        html.raw(">").text(&word.text).raw("</span>");
        rest = &rest[at + word.text.len()..];
    }
    html.text(rest);
}
