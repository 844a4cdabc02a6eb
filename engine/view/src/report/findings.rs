//! What scorecards found, each with what plays it, and how every rule stands.

use antiphon_engine_qa::{Hit, HitKind, ReviewState, RuleOutcome, RuleState};

use super::markup::{Html, Say, figure};
use super::{Page, jump, jumps, role};

fn kind(kind: HitKind) -> Say {
    match kind {
        HitKind::Found => Say("命中", "found"),
        HitKind::Missed => Say("缺失", "missed"),
        HitKind::Met => Say("加分", "met"),
    }
}

fn standing(state: RuleState) -> (&'static str, Say) {
    match state {
        RuleState::Kept => ("kept", Say("符合", "kept")),
        RuleState::Hit => ("hit", Say("命中", "hit")),
        RuleState::NotApplicable => ("aside", Say("不适用", "not applicable")),
        RuleState::Excused => ("aside", Say("豁免", "excused")),
        RuleState::Open => ("aside", Say("未定", "open")),
    }
}

fn points(html: &mut Html, points: f64) {
    let class = match points {
        points if points < 0.0 => "points minus",
        points if points > 0.0 => "points plus",
        _ => "points",
    };
    html.raw("<span").attr("class", class).raw(">").text(if points > 0.0 { "+" } else { "" });
    html.text(&figure(points)).raw("</span>");
}

impl Page<'_> {
    pub(super) fn findings(&self, html: &mut Html) {
        html.raw("<section><h2>").say(Say("命中与缺失", "Findings")).raw("</h2>\n");
        let rules = || self.report.judgements.iter().flat_map(|judgement| &judgement.rules);
        if rules().all(|rule| rule.hits.is_empty()) {
            html.raw("<p class=\"quiet\">")
                .say(Say("没有命中任何规则。", "No rule found anything."))
                .raw("</p>");
        }
        let mut room = if self.whole { 0 } else { self.report.embed.clips };
        html.raw("<ol class=\"findings\">");
        for rule in rules() {
            for finding in &rule.hits {
                self.finding(html, rule, finding, &mut room);
            }
        }
        html.raw("</ol></section>\n");
    }

    fn finding(&self, html: &mut Html, rule: &RuleOutcome, finding: &Hit, room: &mut usize) {
        let class = match (finding.stands(), finding.kind) {
            (false, _) => "finding void",
            (true, HitKind::Met) => "finding good",
            (true, _) if finding.fatal => "finding fatal",
            (true, _) => "finding bad",
        };
        html.raw("<li").attr("class", class).attr("id", &format!("hit-{}", finding.id)).raw(">");
        self.play(html, finding, room);
        html.raw("<div class=\"what\"><p class=\"rule\"><b>")
            .text(rule.name.as_deref().unwrap_or(&rule.rule))
            .raw("</b> <code>");
        html.text(&rule.rule).raw("</code> <span class=\"kind\">").say(kind(finding.kind)).raw("</span>");
        if let Some(who) = finding.role {
            html.raw(" <span class=\"who\">").say(role(who)).raw("</span>");
        }
        if finding.fatal {
            html.raw(" <span class=\"badge\">").say(Say("一票否决", "fatal")).raw("</span>");
        }
        html.raw("</p>");
        if finding.searched.is_empty() {
            html.raw("<p class=\"when\">");
            jumps(html, finding.start, finding.end);
            if let Some(value) = finding.value {
                html.raw(" <span class=\"value\">")
                    .say(Say("测得", "measured"))
                    .raw(" ")
                    .text(&figure(value))
                    .raw("</span>");
            }
            html.raw("</p>");
        }
        if !finding.quote.expose().is_empty() {
            html.raw("<blockquote>").text(finding.quote.expose()).raw("</blockquote>");
        }
        for part in &finding.parts {
            html.raw("<p class=\"part\">");
            jump(html, part.start);
            html.raw(" <code>")
                .text(part.condition.as_deref().unwrap_or(""))
                .raw("</code> <q>")
                .text(part.quote.expose())
                .raw("</q></p>");
        }
        for window in &finding.searched {
            html.raw("<p class=\"searched\">")
                .say(Say("在此范围内查找而未找到", "Looked for here and not found"))
                .raw(" ");
            jumps(html, window.start, window.end);
            html.raw(" · ").text(&window.turns.to_string()).raw(" ").say(Say("句", "turns")).raw("</p>");
        }
        if let Some(excused) = &finding.excused {
            html.raw("<p class=\"note\">").say(Say("豁免", "Excused")).raw(": ").text(excused).raw("</p>");
        }
        match finding.review {
            ReviewState::Confirmed => {
                _ = html.raw("<p class=\"note\">").say(Say("复核：确认", "Reviewed: confirmed")).raw("</p>");
            }
            ReviewState::Overturned => {
                _ = html
                    .raw("<p class=\"note\">")
                    .say(Say("复核：推翻，不计分", "Reviewed: overturned, counts for nothing"))
                    .raw("</p>");
            }
            ReviewState::Open => {}
        }
        html.raw("</div>");
        points(html, finding.points);
        html.raw("</li>\n");
    }

    /// The button that plays the clip: of the whole call, or with sound of its own.
    fn play(&self, html: &mut Html, finding: &Hit, room: &mut usize) {
        let (start, end) = (finding.clip.start.millis(), finding.clip.end.millis());
        let own = match &self.cutter {
            Some(cutter) if !self.whole => cutter.clip(start, end).filter(|clip| clip.len() <= *room),
            _ => None,
        };
        let heard = end > start && (self.whole || own.is_some());
        html.raw("<button type=\"button\" class=\"play\"")
            .seconds("data-play", start)
            .seconds("data-until", end);
        html.attr("aria-label", if heard { "播放片段 · Play clip" } else { "没有声音 · No sound" });
        html.raw(if heard { ">▶</button>" } else { " disabled>▷</button>" });
        if let Some(clip) = own {
            *room -= clip.len();
            html.raw("<audio preload=\"none\"")
                .seconds("data-start", start)
                .raw(" src=\"data:audio/wav;base64,")
                .base64(&clip);
            html.raw("\"></audio>");
        }
    }

    pub(super) fn rules(&self, html: &mut Html) {
        for judgement in self.report.judgements {
            html.raw("<section><h2>")
                .say(Say("规则", "Rules"))
                .raw(" · ")
                .text(&judgement.scorecard)
                .raw("</h2>");
            html.raw("<div class=\"wide\"><table><thead><tr><th scope=\"col\">").say(Say("规则", "Rule"));
            let grouped = judgement.rules.iter().any(|rule| rule.group.is_some());
            if grouped {
                html.raw("</th><th scope=\"col\">").say(Say("组", "Group"));
            }
            html.raw("</th><th scope=\"col\">").say(Say("状态", "State"));
            html.raw("</th><th scope=\"col\" class=\"n\">")
                .say(Say("次数", "Count"))
                .raw("</th><th scope=\"col\" class=\"n\">");
            html.say(Say("得分", "Points")).raw("</th></tr></thead><tbody>");
            for rule in &judgement.rules {
                let (class, state) = standing(rule.state);
                html.raw("<tr><td>")
                    .text(rule.name.as_deref().unwrap_or(""))
                    .raw(" <code>")
                    .text(&rule.rule)
                    .raw("</code>");
                if grouped {
                    html.raw("</td><td>").text(rule.group.as_deref().unwrap_or(""));
                }
                html.raw("</td><td><span").attr("class", class).raw(">").say(state);
                let standing = rule.hits.iter().filter(|finding| finding.stands()).count();
                html.raw("</span></td><td class=\"n\">")
                    .text(&standing.to_string())
                    .raw("</td><td class=\"n\">");
                points(html, rule.points);
                html.raw("</td></tr>");
            }
            html.raw("</tbody></table></div></section>\n");
        }
    }
}
