//! Reports of inspected calls: pages of HTML that a lead opens from a folder, without a server and without a network.
//!
//! Everything is in the page: style, script, sound. A content security policy lets nothing else in and runs only our own
//! script, told by its hash; whatever people said or files are called enters as text. Labels are in Chinese and English,
//! and a button changes between them.

mod findings;
mod index;
mod insight;
mod markup;
mod measured;
mod sound;
mod turns;
mod wave;

use antiphon_engine_measure::{Conversation, Measures, Role};
use antiphon_engine_qa::Judgement;
use antiphon_media_frame::MediaTime;
use sha2::{Digest, Sha256};

pub use index::{IndexRow, RuleCount, index_page};
pub use insight::{InsightLine, InsightPage};
pub use sound::{Embed, Sound};

use markup::{Html, Say, clock, figure};
use sound::Cutter;

const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// One call, ready to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What was said. Its language is the page's first.
    pub conversation: &'a Conversation,
    /// What was measured of it.
    pub measures: &'a Measures,
    /// What scorecards made of it.
    pub judgements: &'a [Judgement],
    /// What is heard and drawn; `None` where only words are known.
    pub sound: Option<Sound<'a>>,
    /// How much of it is put into the page.
    pub embed: Embed,
    /// What whoever reads should know: one track for two speakers, sound cut short.
    pub warnings: &'a [String],
}

/// What the parts of a page need.
struct Page<'a> {
    report: &'a Report<'a>,
    /// Milliseconds.
    duration: i64,
    cutter: Option<Cutter>,
    /// The whole call is heard; else each finding's own clip.
    whole: bool,
}

impl Report<'_> {
    /// The page, as UTF-8 HTML.
    #[must_use]
    pub fn page(&self) -> String {
        let conversation = self.conversation;
        let heard = MediaTime::ZERO + conversation.heard;
        let turns = conversation.turns.iter().map(|turn| turn.said.end);
        let speech = conversation.tracks.iter().flat_map(|track| &track.speech).map(|at| at.end);
        let end = turns.chain(speech).fold(heard, MediaTime::max);
        let cutter = self.sound.and_then(Cutter::new);
        let whole = cutter.as_ref().is_some_and(|cutter| cutter.len() <= self.embed.whole);
        let page = Page { report: self, duration: end.millis().clamp(1, LONGEST_MS), cutter, whole };
        let mut html = Html::default();
        open(&mut html, &conversation.id, &conversation.language.primary());
        page.head(&mut html);
        page.player(&mut html);
        page.findings(&mut html);
        page.rules(&mut html);
        page.measured(&mut html);
        page.turns(&mut html);
        close(&mut html);
        html.finish()
    }
}

/// A call of more than a day is drawn as a day.
const LONGEST_MS: i64 = 86_400_000;

/// Everything before the page's own content.
fn open(html: &mut Html, title: &str, language: &str) {
    let chinese = language == "zh" || language == "cmn" || language == "yue";
    html.raw("<!DOCTYPE html>\n<html").attr("data-ui", if chinese { "zh" } else { "en" });
    html.attr("lang", if chinese { "zh" } else { "en" }).raw(">\n<head><meta charset=\"utf-8\">");
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; ");
    html.raw("media-src data:; img-src data:; base-uri 'none'; form-action 'none'; script-src 'sha256-");
    html.base64(&Sha256::digest(SCRIPT.as_bytes())).raw("'\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html.raw("<meta name=\"referrer\" content=\"no-referrer\"><title>")
        .text(title)
        .raw(" · Antiphon</title>\n<style>");
    html.raw(STYLE).raw("</style></head>\n<body>\n");
    html.raw("<button id=\"language\" type=\"button\">")
        .say(Say("English", "中文"))
        .raw("</button>\n<main>\n");
}

fn close(html: &mut Html) {
    html.raw("</main>\n<script>").raw(SCRIPT).raw("</script>\n</body></html>\n");
}

fn role(role: Role) -> Say {
    match role {
        Role::Customer => Say("客户", "Customer"),
        Role::Agent => Say("坐席", "Agent"),
        Role::Other => Say("其他", "Other"),
    }
}

fn role_class(role: Role) -> &'static str {
    match role {
        Role::Customer => "customer",
        Role::Agent => "agent",
        Role::Other => "other",
    }
}

/// A time to be jumped to.
fn jump(html: &mut Html, at: MediaTime) {
    html.raw("<button type=\"button\" class=\"t\"").seconds("data-t", at.millis()).raw(">");
    html.text(&clock(at.millis())).raw("</button>");
}

fn jumps(html: &mut Html, start: MediaTime, end: MediaTime) {
    jump(html, start);
    html.raw("<span class=\"to\">–").text(&clock(end.millis())).raw("</span>");
}

impl Page<'_> {
    fn head(&self, html: &mut Html) {
        let Report { conversation, measures, judgements, warnings, .. } = self.report;
        html.raw("<header><div class=\"title\"><h1>")
            .text(&conversation.id)
            .raw("</h1><p class=\"facts\"><span>");
        html.text(&clock(self.duration))
            .raw("</span><span>")
            .text(conversation.language.tag())
            .raw("</span>");
        if !conversation.finished {
            html.raw("<span class=\"going\">").say(Say("通话进行中", "still in progress")).raw("</span>");
        }
        for (name, value) in &conversation.metadata {
            html.raw("<span><b>").text(name).raw("</b> ").text(value).raw("</span>");
        }
        html.raw("</p>");
        if let Some(reason) = &measures.reason {
            html.raw("<p class=\"reason\"><b>").say(Say("来电原因", "Reason for the call")).raw("</b> ");
            let at = conversation.turns.get(reason.turn).map(|turn| turn.said.start);
            at.iter().for_each(|&at| jump(html, at));
            html.raw(" <q>").text(&reason.text).raw("</q></p>");
        }
        html.raw("</div>");
        for judgement in *judgements {
            html.raw("<div")
                .attr("class", if judgement.pass { "score pass" } else { "score fail" })
                .raw("><strong>");
            html.text(&figure(judgement.score)).raw("</strong><span class=\"badge\">");
            html.say(if judgement.pass { Say("合格", "Pass") } else { Say("不合格", "Fail") });
            if judgement.fatal {
                html.raw(" · ").say(Say("一票否决", "fatal"));
            }
            html.raw("</span><small>")
                .text(&judgement.scorecard)
                .raw(" · ")
                .say(Say("版本", "version"))
                .raw(" ");
            html.text(&judgement.version).raw(" · ").say(Say("及格线", "pass mark")).raw(" ");
            html.text(&figure(judgement.scoring.pass)).raw("</small></div>");
        }
        html.raw("</header>\n");
        if !warnings.is_empty() {
            html.raw("<ul class=\"warnings\" role=\"note\">");
            for warning in *warnings {
                html.raw("<li>").text(warning).raw("</li>");
            }
            html.raw("</ul>\n");
        }
    }
}
