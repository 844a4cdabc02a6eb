//! Everything that a lead looks at together, as one page.

use antiphon_engine_qa::insight::{Entry, Insight};
use antiphon_engine_view::{InsightLine, InsightPage};

/// Lines of the page's lists.
const LINES: usize = 50;

/// Calls as the page shows them.
pub(crate) struct Board {
    all: Insight,
    time: Insight,
    agents: Insight,
    queues: Insight,
}

/// By what a call is told on the page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told<'a> {
    pub(crate) agent: Option<&'a str>,
    pub(crate) queue: Option<&'a str>,
    /// The label of its period; empty where that is not known.
    pub(crate) period: &'a str,
}

impl Board {
    pub(crate) fn new() -> Self {
        let lean = Insight::lean;
        Self { all: Insight::default(), time: lean(), agents: lean(), queues: lean() }
    }

    pub(crate) fn add(&mut self, told: Told<'_>, entry: Entry<'_>) {
        let key = |value: &str, period: &str| (value.to_owned(), period.to_owned());
        self.all.add(&key("", ""), entry);
        self.agents.add(&key(told.agent.unwrap_or_default(), ""), entry);
        self.queues.add(&key(told.queue.unwrap_or_default(), ""), entry);
        if !told.period.is_empty() && !entry.before {
            self.time.add(&key("", told.period), entry);
        }
    }

    /// What all calls come to.
    pub(crate) fn all(&self) -> &Insight {
        &self.all
    }

    /// What agents' calls come to.
    pub(crate) fn agents(&self) -> &Insight {
        &self.agents
    }

    /// The page; `language` is the first of its two, `range` the time as it is read.
    pub(crate) fn page(&self, title: &str, language: &str, range: &str, calls: &[InsightLine]) -> String {
        let page = InsightPage {
            title,
            language,
            range,
            total: &self.all.total(),
            trend: &self.time.rows(),
            agents: &self.agents.rows(),
            queues: &self.queues.rows(),
            rules: &self.all.rules(),
            topics: &self.all.topics(LINES),
            reasons: &self.all.reasons(LINES),
            calls,
        };
        page.page()
    }
}
