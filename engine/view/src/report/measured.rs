//! What was measured, as tables.

use antiphon_engine_measure::{SilenceCause, Stretch};
use antiphon_media_frame::Span;

use super::markup::{Html, Say, clock, figure};
use super::{Page, jump, jumps, role, role_class};

/// Silences and interruptions shown; the rest is counted.
const SHOWN: usize = 50;
/// A silence that is worth a line.
const WORTH_MS: u64 = 2_000;

fn cause(html: &mut Html, cause: SilenceCause) {
    let (both, who) = match cause {
        SilenceCause::Owed(who) => (Say("未应答：", "owed an answer: "), Some(who)),
        SilenceCause::Within(who) => (Say("自己停顿：", "paused: "), Some(who)),
        SilenceCause::Opening => (Say("开场", "before the first word"), None),
        SilenceCause::Closing => (Say("结尾", "after the last word"), None),
        SilenceCause::Hold => (Say("保持", "on hold"), None),
    };
    html.say(both);
    who.into_iter().for_each(|who| _ = html.say(role(who)));
}

fn seconds(span: Span) -> String {
    format!("{:.1} s", span.secs_f64())
}

fn maybe(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}

fn heads(html: &mut Html, heads: &[Say]) {
    html.raw("<div class=\"wide\"><table><thead><tr>");
    for (n, &head) in heads.iter().enumerate() {
        html.raw(if n == 0 { "<th scope=\"col\">" } else { "<th scope=\"col\" class=\"n\">" })
            .say(head)
            .raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
}

impl Page<'_> {
    pub(super) fn measured(&self, html: &mut Html) {
        html.raw("<section class=\"measures\"><h2>").say(Say("度量", "Measures")).raw("</h2>\n");
        self.shares(html);
        self.speakers(html);
        html.raw("<div class=\"columns\">");
        self.silences(html);
        self.interruptions(html);
        self.topics(html);
        self.summary(html);
        html.raw("</div></section>\n");
    }

    fn shares(&self, html: &mut Html) {
        html.raw("<div class=\"shares\" role=\"img\" aria-label=\"通话占比 · Talk ratio\">");
        for speaker in &self.report.measures.speakers {
            let percent = f64::from(speaker.ratio) * 100.0;
            html.raw("<span")
                .attr("class", role_class(speaker.role))
                .attr("style", &format!("flex-grow:{percent:.2}"))
                .raw(">");
            html.say(role(speaker.role)).raw(" ").text(&format!("{percent:.0} %")).raw("</span>");
        }
        html.raw("</div>");
    }

    fn speakers(&self, html: &mut Html) {
        heads(
            html,
            &[
                Say("说话人", "Speaker"),
                Say("说话时长", "Talk"),
                Say("话轮", "Turns"),
                Say("字/词数", "Words"),
                Say("语速（每分钟）", "Words a minute"),
                Say("平均应答", "Mean answer"),
                Say("最长独白", "Longest monologue"),
                Say("音量", "Loudness"),
                Say("音高", "Pitch"),
            ],
        );
        for speaker in &self.report.measures.speakers {
            html.raw("<tr><td><i")
                .attr("class", role_class(speaker.role))
                .raw("></i>")
                .say(role(speaker.role))
                .raw("</td>");
            let monologue = speaker.monologue.map(|at| seconds(at.end.since(at.start)));
            for cell in [
                seconds(speaker.talk),
                speaker.turns.to_string(),
                speaker.words.to_string(),
                maybe(speaker.rate.map(|rate| format!("{rate:.0}"))),
                maybe(speaker.response.map(seconds)),
                maybe(monologue),
                maybe(speaker.loudness_db.map(|db| format!("{db:.1} dBFS"))),
                maybe(speaker.pitch_hz.map(|hz| format!("{hz:.0} Hz"))),
            ] {
                html.raw("<td class=\"n\">").text(&cell).raw("</td>");
            }
            html.raw("</tr>");
        }
        html.raw("</tbody></table></div>");
    }

    fn silences(&self, html: &mut Html) {
        let worth = |at: Stretch| at.end.since(at.start).millis() >= WORTH_MS;
        let found: Vec<_> =
            self.report.measures.silences.iter().filter(|silence| worth(silence.at)).collect();
        html.raw("<div><h3>")
            .say(Say("静默（2 秒以上）", "Silences of 2 s or more"))
            .raw(" <small>")
            .text(&found.len().to_string());
        html.raw("</small></h3><ul class=\"list\">");
        for silence in found.iter().take(SHOWN) {
            html.raw("<li>");
            jumps(html, silence.at.start, silence.at.end);
            html.raw(" <b>").text(&seconds(silence.at.end.since(silence.at.start))).raw("</b> ");
            cause(html, silence.cause);
            html.raw("</li>");
        }
        self.rest(html, found.len());
    }

    fn rest(&self, html: &mut Html, count: usize) {
        if count > SHOWN {
            html.raw("<li class=\"quiet\">… +").text(&(count - SHOWN).to_string()).raw("</li>");
        }
        html.raw("</ul></div>");
    }

    fn interruptions(&self, html: &mut Html) {
        let found = &self.report.measures.interruptions;
        html.raw("<div><h3>")
            .say(Say("抢话", "Interruptions"))
            .raw(" <small>")
            .text(&found.len().to_string());
        html.raw("</small></h3><ul class=\"list\">");
        for one in found.iter().take(SHOWN) {
            html.raw("<li>");
            jump(html, one.overlap.start);
            html.raw(" <b>").text(&seconds(one.both)).raw("</b> ");
            if let Some(track) = self.report.conversation.tracks.get(one.by) {
                html.say(role(track.role)).raw(" ");
            }
            html.say(if one.took_over {
                Say("抢到话语权", "took the word")
            } else {
                Say("未抢到", "did not get the word")
            });
            html.raw("</li>");
        }
        self.rest(html, found.len());
    }

    fn topics(&self, html: &mut Html) {
        html.raw("<div><h3>").say(Say("关键话题", "Topics")).raw("</h3><p class=\"topics\">");
        for topic in &self.report.measures.topics {
            html.raw("<span>")
                .text(&topic.text)
                .raw(" <small>")
                .text(&topic.turns.len().to_string())
                .raw("</small></span>");
        }
        if self.report.measures.topics.is_empty() {
            html.raw("–");
        }
        html.raw("</p></div>");
    }

    fn summary(&self, html: &mut Html) {
        html.raw("<div class=\"broad\"><h3>")
            .say(Say("摘要（摘录）", "Summary, extracted"))
            .raw("</h3><ul class=\"list\">");
        for turn in
            self.report.measures.summary.iter().filter_map(|&turn| self.report.conversation.turns.get(turn))
        {
            html.raw("<li>");
            jump(html, turn.said.start);
            html.raw(" <b>")
                .say(role(self.report.conversation.role(turn)))
                .raw("</b> ")
                .text(&turn.said.text)
                .raw("</li>");
        }
        html.raw("</ul></div>");
    }

    /// A turn's agitation in words, for whoever points at it.
    pub(super) fn features(&self, turn: usize) -> Option<(f32, String)> {
        let found = self.report.measures.agitation.get(turn)?;
        let shares = found.features.iter().filter(|&(_, &share)| share >= 0.005);
        let shares: Vec<String> =
            shares.map(|(name, share)| format!("{name} {}", figure(f64::from(*share)))).collect();
        Some((found.score, shares.join(", ")))
    }

    /// When a turn was said, in words.
    pub(super) fn span_of(&self, start: i64, end: i64) -> String {
        format!("{}–{}", clock(start), clock(end))
    }
}
