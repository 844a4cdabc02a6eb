//! The page of figures over many calls.

use std::collections::BTreeSet;
use std::fmt::Write;

use antiphon_engine_qa::insight::{Row, RuleRow, TopicRow};

use super::markup::{Html, Say, beside, clock, figure};
use super::{close, open};

/// What the page shows. Everything is in it; links lead to the calls.
#[derive(Clone, Copy, Debug)]
pub struct InsightPage<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Of the labels shown first: `zh`, or else English.
    pub language: &'a str,
    /// From when until when, and in which time zone, as it is read.
    pub range: &'a str,
    /// Everything together.
    pub total: &'a Row,
    /// By period, in order.
    pub trend: &'a [Row],
    /// By agent.
    pub agents: &'a [Row],
    /// By queue.
    pub queues: &'a [Row],
    /// All rules.
    pub rules: &'a [RuleRow],
    /// What calls are about, most first.
    pub topics: &'a [TopicRow],
    /// Why customers called, most first.
    pub reasons: &'a [TopicRow],
    /// Calls that are worth hearing, in the order in which they are shown.
    pub calls: &'a [InsightLine],
}

/// A call that is worth hearing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InsightLine {
    /// What it is called.
    pub name: String,
    /// Its report: a path of the server, or a file beside the page. `None` where there is none.
    pub href: Option<String>,
    /// Who served.
    pub agent: Option<String>,
    /// When it took place, as it is read.
    pub at: Option<String>,
    /// The score, and whether it passes.
    pub score: Option<(f64, bool)>,
    /// Risk of escalation, 0 to 1.
    pub risk: f64,
    /// Its features' shares.
    pub features: Vec<(String, f32)>,
}

/// Periods drawn; more have no room, and the last are shown.
const PERIODS: usize = 120;
/// Rows of each table.
const ROWS: usize = 200;
/// The chart, in its own units.
const WIDTH: f64 = 1_100.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 40.0;
const FOOT: f64 = 24.0;
const HEAD: f64 = 12.0;

impl InsightPage<'_> {
    /// The page, as UTF-8 HTML.
    #[must_use]
    pub fn page(&self) -> String {
        let mut html = Html::default();
        open(&mut html, self.title, self.language);
        html.raw("<header><div class=\"title\"><h1>").text(self.title).raw("</h1><p class=\"facts\">");
        html.text(self.range).raw("</p></div></header>\n");
        self.cards(&mut html);
        self.trend(&mut html);
        people(&mut html, Say("坐席", "Agents"), self.agents);
        abilities(&mut html, self.agents);
        people(&mut html, Say("队列", "Queues"), self.queues);
        self.rules(&mut html);
        html.raw("<div class=\"columns\">");
        topics(&mut html, Say("热点话题", "Topics"), self.topics);
        topics(&mut html, Say("来电原因", "Reasons for calling"), self.reasons);
        html.raw("</div>");
        self.calls(&mut html);
        close(&mut html);
        html.finish()
    }

    fn cards(&self, html: &mut Html) {
        let now = &self.total.now;
        html.raw("<div class=\"cards\">");
        let calls = self.total.calls_before;
        let more = (calls > 0).then(|| now.calls as f64 / calls as f64 - 1.0);
        card(
            html,
            Say("通话", "calls"),
            &now.calls.to_string(),
            more.map(|more| (signed_percent(more), None)),
        );
        let rise = now.mean_score.zip(self.total.score_before).map(|(now, before)| now - before);
        let rise = rise.map(|rise| (signed(rise), Some(rise >= 0.0)));
        card(html, Say("平均分", "mean score"), &maybe(now.mean_score, figure1), rise);
        card(html, Say("中位分", "median score"), &maybe(now.median_score, figure1), None);
        card(html, Say("合格率", "pass rate"), &maybe(now.pass_rate, percent), None);
        card(html, Say("命中", "findings"), &now.hits.to_string(), None);
        card(html, Say("遗漏", "missed"), &now.missed.to_string(), None);
        card(html, Say("升级风险高", "at risk"), &now.at_risk.to_string(), None);
        html.raw("</div>\n");
    }

    /// Calls as bars, the mean score as a line above them.
    fn trend(&self, html: &mut Html) {
        let rows = &self.trend[self.trend.len().saturating_sub(PERIODS)..];
        if rows.len() < 2 {
            return;
        }
        html.raw("<section><h2>")
            .say(Say("趋势", "Trend"))
            .raw("</h2><div class=\"player\"><p class=\"legend\">");
        html.raw("<span><i class=\"agent\"></i>").say(Say("平均分", "mean score")).raw("</span>");
        html.raw("<span><i class=\"silence\"></i>").say(Say("通话数", "calls")).raw("</span></p>");
        let highest = rows.iter().filter_map(|row| row.now.mean_score).fold(100.0, f64::max);
        let most = rows.iter().map(|row| row.now.calls).max().unwrap_or(1).max(1) as f64;
        let step = (WIDTH - LEFT) / rows.len() as f64;
        let floor = HEIGHT - FOOT;
        let y = |part: f64| floor - part.clamp(0.0, 1.0) * (floor - HEAD);
        html.raw("<svg class=\"trend\" role=\"img\" aria-label=\"趋势 · Trend\" viewBox=\"0 0 1100 190\">");
        for part in [0.0, 0.5, 1.0] {
            let at = y(part);
            html.raw("<line class=\"grid\" x1=\"40\" x2=\"1100\"")
                .attr("y1", &number(at))
                .attr("y2", &number(at));
            html.raw("/><text x=\"34\" text-anchor=\"end\"").attr("y", &number(at + 4.0)).raw(">");
            html.text(&figure1(highest * part)).raw("</text>");
        }
        let mut line = String::new();
        let every = rows.len().div_ceil(12);
        for (n, row) in rows.iter().enumerate() {
            let x = LEFT + step * n as f64;
            // A call is drawn to half the height, so that the line stays readable.
            let top = y(row.now.calls as f64 / most * 0.5);
            html.raw("<rect class=\"calls\"").attr("x", &number(x + step * 0.15)).attr("y", &number(top));
            html.attr("width", &number(step * 0.7)).attr("height", &number(floor - top)).raw("><title>");
            html.text(&row.key.1).raw(": ").text(&row.now.calls.to_string()).raw("</title></rect>");
            if n % every == 0 {
                html.raw("<text text-anchor=\"middle\" y=\"184\"")
                    .attr("x", &number(x + step / 2.0))
                    .raw(">");
                html.text(short(&row.key.1)).raw("</text>");
            }
            if let Some(score) = row.now.mean_score {
                let sign = if line.is_empty() { 'M' } else { 'L' };
                let (x, y) = (number(x + step / 2.0), number(y(score / highest)));
                // Writing to a string does not fail.
                let _ = write!(line, "{sign}{x} {y} ");
                html.raw("<circle class=\"dot\" r=\"3\"").attr("cx", &x).attr("cy", &y).raw("><title>");
                html.text(&row.key.1).raw(": ").text(&figure1(score)).raw("</title></circle>");
            }
        }
        html.raw("<path class=\"mean\" d=\"").numbers(&line).raw("\"/></svg></div></section>\n");
    }

    fn rules(&self, html: &mut Html) {
        if self.rules.is_empty() {
            return;
        }
        let mut rules: Vec<&RuleRow> = self.rules.iter().collect();
        let rate =
            |row: &RuleRow| row.figures.hit_rate.unwrap_or(0.0).max(row.figures.missed_rate.unwrap_or(0.0));
        rules.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        html.raw("<section><h2>")
            .say(Say("规则", "Rules"))
            .raw("</h2><div class=\"wide\"><table class=\"sortable\">");
        heads(
            html,
            &[
                Say("规则", "Rule"),
                Say("评分卡", "Scorecard"),
                Say("适用", "Applied"),
                Say("命中率", "Found in"),
                Say("遗漏率", "Missed in"),
                Say("分值", "Points"),
                Say("已确认", "Confirmed"),
                Say("已推翻", "Overturned"),
            ],
            2,
        );
        for row in rules.iter().take(ROWS) {
            let figures = &row.figures;
            let name = figures.name.as_deref().unwrap_or(&row.rule);
            html.raw("<tr>");
            word(html, name);
            word(html, &row.card);
            count(html, figures.applied);
            bar(html, figures.hit_rate, "bad");
            bar(html, figures.missed_rate, "bad");
            cell(html, Some(figures.points), &figure(figures.points));
            count(html, figures.confirmed);
            count(html, figures.overturned);
            html.raw("</tr>\n");
        }
        html.raw("</tbody></table></div></section>\n");
    }

    fn calls(&self, html: &mut Html) {
        if self.calls.is_empty() {
            return;
        }
        html.raw("<section><h2>").say(Say("最该一听的通话", "Calls worth hearing"));
        html.raw("</h2><div class=\"wide\"><table class=\"sortable\">");
        heads(
            html,
            &[
                Say("通话", "Call"),
                Say("坐席", "Agent"),
                Say("时间", "When"),
                Say("升级风险", "Risk"),
                Say("得分", "Score"),
            ],
            3,
        );
        for call in self.calls.iter().take(ROWS) {
            html.raw("<tr><td").attr("data-by", &call.name).raw(">");
            match &call.href {
                Some(href) => {
                    let link = beside(href);
                    // A path of the server begins at its root, a file's lies beside the page.
                    let link = if href.starts_with('/') { link.trim_start_matches('.') } else { &link };
                    html.raw("<a").attr("href", link).raw(">").text(&call.name).raw("</a>");
                }
                None => _ = html.text(&call.name),
            }
            html.raw("</td>");
            word(html, call.agent.as_deref().unwrap_or_default());
            word(html, call.at.as_deref().unwrap_or_default());
            html.raw("<td class=\"n\"").attr("data-by", &number(call.risk)).raw(">");
            meter(html, call.risk, "hot");
            html.raw("<b>").text(&percent(call.risk)).raw("</b><span class=\"why\">");
            let mut features: Vec<_> = call.features.iter().filter(|(_, share)| *share >= 0.02).collect();
            features.sort_by(|a, b| b.1.total_cmp(&a.1));
            for (n, (name, share)) in features.iter().enumerate() {
                html.raw(if n == 0 { " " } else { ", " }).say(feature(name)).raw(" ");
                html.text(&percent(f64::from(*share)));
            }
            html.raw("</span></td>");
            let score = call.score.map(|(score, _)| score);
            html.raw("<td class=\"n\"").attr("data-by", &score.map(number).unwrap_or_default()).raw("><span");
            html.attr("class", if call.score.is_some_and(|(_, pass)| pass) { "pass" } else { "fail" })
                .raw(">");
            html.text(&maybe(score, figure1)).raw("</span></td></tr>\n");
        }
        html.raw("</tbody></table></div></section>\n");
    }
}

/// Figures of people or queues.
fn people(html: &mut Html, title: Say, rows: &[Row]) {
    if !rows.iter().any(|row| !row.key.0.is_empty()) {
        return;
    }
    html.raw("<section><h2>").say(title).raw("</h2><div class=\"wide\"><table class=\"sortable dense\">");
    heads(
        html,
        &[
            title,
            Say("通话", "Calls"),
            Say("平均分", "Mean score"),
            Say("合格率", "Pass"),
            Say("命中", "Found"),
            Say("遗漏", "Missed"),
            Say("说话占比", "Talk"),
            Say("静默", "Silence"),
            Say("抢话/通", "Interrupts"),
            Say("应答", "Answer"),
            Say("语速", "Rate"),
            Say("客户激动", "Agitation"),
            Say("时长", "Length"),
            Say("风险", "Risk"),
        ],
        1,
    );
    for row in rows.iter().take(ROWS) {
        let now = &row.now;
        html.raw("<tr>");
        if row.key.0.is_empty() {
            html.raw("<td data-by=\"\" class=\"aside\">").say(Say("未知", "not known")).raw("</td>");
        } else {
            word(html, &row.key.0);
        }
        count(html, now.calls);
        html.raw("<td class=\"n\"").attr("data-by", &now.mean_score.map(number).unwrap_or_default()).raw(">");
        html.text(&maybe(now.mean_score, figure1));
        if let Some(rise) = now.mean_score.zip(row.score_before).map(|(now, before)| now - before) {
            html.raw(if rise >= 0.0 { " <small class=\"pass\">" } else { " <small class=\"fail\">" });
            html.text(&signed(rise)).raw("</small>");
        }
        html.raw("</td>");
        bar(html, now.pass_rate, "good");
        count(html, now.hits);
        count(html, now.missed);
        cell(html, now.agent_talk, &maybe(now.agent_talk, percent));
        cell(html, now.silence, &maybe(now.silence, percent));
        cell(html, now.agent_interrupts, &maybe(now.agent_interrupts, figure));
        cell(html, now.response, &maybe(now.response, |s| format!("{s:.1} s")));
        cell(html, now.rate, &maybe(now.rate, |rate| format!("{rate:.0}")));
        cell(html, now.agitation, &maybe(now.agitation, percent));
        cell(html, now.length, &maybe(now.length, |s| clock((s * 1_000.0) as i64)));
        bar(html, now.risk, "hot");
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

/// Agents by groups of rules.
fn abilities(html: &mut Html, rows: &[Row]) {
    let groups: BTreeSet<&str> =
        rows.iter().flat_map(|row| &row.now.abilities).map(|ability| ability.group.as_str()).collect();
    if groups.iter().all(|group| group.is_empty()) {
        return;
    }
    html.raw("<section><h2>").say(Say("能力画像", "Ability profile")).raw("</h2><p class=\"quiet\">");
    html.say(Say("各组规则中做到的权重占比", "The share of weight kept, by group of rules")).raw("</p>");
    html.raw("<div class=\"wide\"><table class=\"heat-map\"><thead><tr><th scope=\"col\">");
    html.say(Say("坐席", "Agent")).raw("</th>");
    for group in &groups {
        html.raw("<th scope=\"col\" class=\"n\">");
        if group.is_empty() {
            html.say(Say("未分组", "no group"));
        } else {
            html.text(group);
        }
        html.raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for row in rows.iter().take(ROWS) {
        html.raw("<tr><td>");
        if row.key.0.is_empty() {
            html.raw("<span class=\"aside\">").say(Say("未知", "not known")).raw("</span>");
        } else {
            html.text(&row.key.0);
        }
        html.raw("</td>");
        for group in &groups {
            match row.now.abilities.iter().find(|ability| ability.group == *group) {
                Some(ability) => {
                    // Below a half nobody tells shades of red apart.
                    let shade = ((ability.share - 0.5) * 200.0).clamp(0.0, 100.0);
                    html.raw("<td class=\"n share\"").attr("style", &format!("--share:{shade:.0}%")).raw(">");
                    html.text(&percent(ability.share)).raw("</td>");
                }
                None => _ = html.raw("<td class=\"n\">–</td>"),
            }
        }
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn topics(html: &mut Html, title: Say, rows: &[TopicRow]) {
    html.raw("<section><h2>").say(title).raw("</h2>");
    if rows.is_empty() {
        html.raw("<p class=\"quiet\">–</p></section>");
        return;
    }
    let most = rows.iter().map(|row| row.calls).max().unwrap_or(1).max(1) as f64;
    html.raw("<table class=\"ranks\"><tbody>");
    for row in rows.iter().take(20) {
        html.raw("<tr><td>").text(&row.text);
        if let Some(example) = row.example.as_ref().filter(|example| **example != row.text) {
            html.raw(" <span class=\"why\">").text(example).raw("</span>");
        }
        html.raw("</td><td class=\"n wide-bar\">");
        meter(html, row.calls as f64 / most, "plain");
        html.raw("<b>").text(&row.calls.to_string()).raw("</b></td><td class=\"n\">");
        match row.growth {
            Some(growth) => _ = html.text(&signed_percent(growth)),
            None => _ = html.say(Say("新", "new")),
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></section>\n");
}

fn card(html: &mut Html, label: Say, value: &str, change: Option<(String, Option<bool>)>) {
    html.raw("<div class=\"card\"><strong>").text(value);
    if let Some((change, good)) = change {
        html.raw(match good {
            Some(true) => " <small class=\"pass\">",
            Some(false) => " <small class=\"fail\">",
            None => " <small class=\"aside\">",
        });
        html.text(&change).raw("</small>");
    }
    html.raw("</strong><span>").say(label).raw("</span></div>");
}

/// The first so many columns are words, the rest numbers.
fn heads(html: &mut Html, heads: &[Say], words: usize) {
    html.raw("<thead><tr>");
    for (n, &head) in heads.iter().enumerate() {
        html.raw(if n < words { "<th scope=\"col\">" } else { "<th scope=\"col\" class=\"n\">" });
        html.raw("<button type=\"button\" class=\"sort\">").say(head).raw("</button></th>");
    }
    html.raw("</tr></thead><tbody>");
}

fn word(html: &mut Html, text: &str) {
    html.raw("<td").attr("data-by", text).raw(">").text(text).raw("</td>");
}

fn cell(html: &mut Html, by: Option<f64>, text: &str) {
    html.raw("<td class=\"n\"").attr("data-by", &by.map(number).unwrap_or_default()).raw(">");
    html.text(text).raw("</td>");
}

fn count(html: &mut Html, count: u64) {
    cell(html, Some(count as f64), &count.to_string());
}

/// A share with a bar as long.
fn bar(html: &mut Html, share: Option<f64>, class: &'static str) {
    html.raw("<td class=\"n\"").attr("data-by", &share.map(number).unwrap_or_default()).raw(">");
    if let Some(share) = share {
        meter(html, share, class);
    }
    html.text(&maybe(share, percent)).raw("</td>");
}

fn meter(html: &mut Html, share: f64, class: &'static str) {
    let width = (share * 100.0).clamp(0.0, 100.0);
    html.raw("<span class=\"meter\"><span").attr("class", class).attr("style", &format!("width:{width:.1}%"));
    html.raw("></span></span>");
}

fn feature(name: &str) -> Say {
    match name {
        "asks" => Say("要求主管或投诉", "asks for more"),
        "agitation" => Say("激动", "agitation"),
        "unsettled" => Say("结束时仍激动", "unsettled at the end"),
        "repeats" => Say("重复", "repeats"),
        "interrupts" => Say("打断", "interrupts"),
        "holds" => Say("等待保持", "holds"),
        "waits" => Say("无人应答", "waits"),
        _ => Say("其他", "other"),
    }
}

fn maybe(value: Option<f64>, told: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), told)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0 + 0.0)
}

fn signed_percent(share: f64) -> String {
    format!("{:+.0} %", share * 100.0)
}

fn signed(number: f64) -> String {
    format!("{number:+.1}")
}

fn figure1(number: f64) -> String {
    figure((number * 10.0).round() / 10.0)
}

fn number(value: f64) -> String {
    figure((value * 100.0).round() / 100.0)
}

/// A period's label without what all of them have.
fn short(label: &str) -> &str {
    match label.len() {
        // 2026-11-22T14:00+08:00
        17.. => label.get(8..16).unwrap_or(label),
        // 2026-11-22
        10 => label.get(5..).unwrap_or(label),
        _ => label,
    }
}
