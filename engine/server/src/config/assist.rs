//! Help for agents on calls in progress.

use std::path::PathBuf;

use antiphon_models_speech::Language;
use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{Config, check_name};

/// `[[assist]]`: what the agents of some calls are helped with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssistSection {
    /// What it is called.
    pub(crate) name: String,
    /// The script, the dispositions, and when knowledge is suggested (YAML).
    #[serde(default)]
    pub(crate) book: Option<PathBuf>,
    /// Folders of documents and answers.
    #[serde(default)]
    pub(crate) knowledge: Vec<PathBuf>,
    /// Calls over these trunks; over any where there is none.
    #[serde(default)]
    pub(crate) trunks: Vec<String>,
    /// Calls that these flows answered; any where there is none.
    #[serde(default)]
    pub(crate) flows: Vec<String>,
    /// Calls in this language; in any where there is none.
    #[serde(default)]
    pub(crate) language: Option<String>,
    /// Calls of this tenant, and tokens of no other may ask its knowledge.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
}

impl AssistSection {
    pub(super) fn check(&self, config: &Config) -> anyhow::Result<()> {
        check_name("assist.name", &self.name)?;
        let key = format!("configuration: assist.{}", self.name);
        ensure!(
            self.book.is_some() || !self.knowledge.is_empty(),
            "{key} helps with nothing; name a book, or folders of knowledge"
        );
        for trunk in &self.trunks {
            let known = config.trunks.iter().any(|known| known.name == *trunk);
            ensure!(known, "{key}.trunks: there is no trunk `{}`", trunk.escape_debug());
        }
        if let Some(language) = &self.language {
            ensure!(
                Language::parse(language).is_some(),
                "{key}.language: `{}` is no language tag such as en or zh-CN",
                language.escape_debug()
            );
        }
        let twice = config.assist.iter().filter(|other| other.name == self.name).count();
        ensure!(twice == 1, "{key}: two entries have this name");
        Ok(())
    }

    /// Whether a call is one of those.
    pub(crate) fn takes(
        &self,
        trunk: Option<&str>,
        flow: Option<&str>,
        tenant: &str,
        language: &Language,
    ) -> bool {
        let among = |list: &[String], name: Option<&str>| {
            list.is_empty() || name.is_some_and(|name| list.iter().any(|known| known == name))
        };
        let spoken = |tag: &str| Language::parse(tag).is_some_and(|own| own.primary() == language.primary());
        among(&self.trunks, trunk)
            && among(&self.flows, flow)
            && self.tenant.as_deref().is_none_or(|own| own == tenant)
            && self.language.as_deref().is_none_or(spoken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_the_calls_that_meet_all_it_asks() {
        let entry: AssistSection = toml::from_str(
            "name = \"a\"\nknowledge = [\"k\"]\ntrunks = [\"pbx\"]\nflows = [\"bank\"]\nlanguage = \"en\"\n",
        )
        .expect("an entry");
        let (english, chinese) =
            (Language::parse("en-GB").expect("a tag"), Language::parse("zh").expect("a tag"));
        assert!(entry.takes(Some("pbx"), Some("bank"), "", &english));
        assert!(!entry.takes(Some("pbx"), Some("bank"), "", &chinese));
        assert!(!entry.takes(None, Some("bank"), "", &english));
        assert!(!entry.takes(Some("pbx"), None, "", &english));
        let all: AssistSection = toml::from_str("name = \"a\"\nknowledge = [\"k\"]\n").expect("an entry");
        assert!(all.takes(None, None, "x", &chinese));
    }
}
