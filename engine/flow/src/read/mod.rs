//! From YAML nodes to the model: shape, names and texts, with every problem reported where it stands.

mod steps;
mod transfer;
mod understanding;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use antiphon_models_speech::Language;
use serde_json::Value as Json;

use crate::entity::{SlotKind, Tongue};
use crate::fields::{Fields, entries, items, text, within};
use crate::model::{Intent, Settings, Slot, Step, StepId};
use crate::problem::{Problems, nearest};
use crate::template::is_name;
use crate::yaml::{Node, Place, Value};

/// Everything a flow file says.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) language: Language,
    pub(crate) tongue: Tongue,
    pub(crate) settings: Settings,
    pub(crate) variables: BTreeMap<String, Json>,
    pub(crate) slots: BTreeMap<String, Slot>,
    pub(crate) intents: Vec<Intent>,
    pub(crate) globals: Vec<(usize, StepId)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) start: StepId,
}

/// What the reader knows while it reads.
struct Reader<'a> {
    problems: &'a mut Problems,
    secrets: &'a dyn Fn(&str) -> Option<String>,
    folder: &'a Path,
    tongue: Tongue,
    settings: Settings,
    steps: HashMap<String, StepId>,
    slots: BTreeMap<String, Slot>,
    intents: Vec<Intent>,
    /// Every name that may be read as a variable.
    known: BTreeSet<String>,
}

/// Variables that the call brings along.
const OF_THE_CALL: [&str; 4] = ["caller", "called", "call_id", "today"];

/// Reads the tree. `None` where it is too broken to go on; the problems say why.
pub(crate) fn read(
    root: &Node,
    problems: &mut Problems,
    folder: &Path,
    secrets: &dyn Fn(&str) -> Option<String>,
) -> Option<Source> {
    let fields = Fields::read(
        problems,
        root,
        "a flow",
        &[
            "version",
            "name",
            "revision",
            "settings",
            "variables",
            "slots",
            "intents",
            "global",
            "start",
            "steps",
        ],
    )?;
    match fields.get("version") {
        None => problems.error(root.at, "a flow begins with `version: 1`, the version of its format"),
        Some(node) => {
            if text(node) != Some("1") {
                problems.error(node.at, "only version 1 of the format is known");
            }
        }
    }
    let name = fields.text(problems, "name");
    if name.is_none() {
        problems.error(root.at, "the flow has no `name`");
    }
    let (settings, language) = understanding::settings(problems, fields.get("settings"));
    let tongue = if language.primary() == "zh" { Tongue::Chinese } else { Tongue::English };
    let mut reader = Reader {
        problems,
        secrets,
        folder,
        tongue,
        settings,
        steps: HashMap::new(),
        slots: BTreeMap::new(),
        intents: Vec::new(),
        known: OF_THE_CALL.iter().map(|name| (*name).to_owned()).collect(),
    };
    let variables = reader.variables(fields.get("variables"));
    reader.read_slots(fields.get("slots"));
    reader.read_intents(fields.get("intents"));
    let Some(nodes) = fields.get("steps") else {
        reader.problems.error(root.at, "the flow has no `steps`");
        return None;
    };
    let entries = entries(reader.problems, nodes, "steps")?;
    if entries.is_empty() {
        reader.problems.error(nodes.at, "the flow has no `steps`");
        return None;
    }
    for (n, entry) in entries.iter().enumerate() {
        reader.name(&entry.key, entry.at, "step");
        reader.steps.insert(entry.key.clone(), n);
        reader.announce(&entry.node);
    }
    let globals = reader.routes(fields.get("global"), "global");
    let steps: Vec<Option<Step>> =
        entries.iter().enumerate().map(|(n, entry)| reader.step(n, entry, entries.len())).collect();
    let start = fields.get("start").map_or(Some(0), |node| reader.step_name(node));
    let Reader { settings, slots, intents, .. } = reader;
    let source = Source {
        name: name.unwrap_or_default(),
        revision: fields.text(problems, "revision").unwrap_or_else(|| "1".to_owned()),
        language,
        tongue,
        settings,
        variables,
        slots,
        intents,
        globals,
        steps: steps.into_iter().collect::<Option<_>>()?,
        start: start?,
    };
    Some(source)
}

impl Reader<'_> {
    /// Reports a name that cannot be one.
    fn name(&mut self, name: &str, at: Place, what: &str) -> bool {
        let fits = is_name(name);
        if !fits {
            self.problems.error(at, format!("`{name}` cannot name a {what}: letters, digits and `_` can"));
        }
        fits
    }

    /// The step a node names.
    fn step_name(&mut self, node: &Node) -> Option<StepId> {
        let Some(name) = text(node) else {
            self.problems.error(node.at, format!("expected the name of a step, found {}", node.kind()));
            return None;
        };
        let found = self.steps.get(name).copied();
        if found.is_none() {
            let meant = nearest(name, self.steps.keys().map(String::as_str));
            self.problems.error_meant(node.at, format!("there is no step `{name}`"), meant);
        }
        found
    }

    /// The step under a key, if the key is there.
    fn step_field(&mut self, fields: &Fields<'_>, key: &str) -> Option<StepId> {
        fields.get(key).and_then(|node| self.step_name(node))
    }

    /// Remembers which variables a step may set, before any step is read.
    fn announce(&mut self, step: &Node) {
        let Value::Map(entries) = &step.value else { return };
        for entry in entries {
            match (entry.key.as_str(), &entry.node.value) {
                ("set", Value::Map(assigned)) => {
                    self.known.extend(assigned.iter().map(|entry| entry.key.clone()));
                }
                ("transfer", _) => {
                    self.known.insert("transfer_outcome".to_owned());
                }
                ("save", Value::Scalar { text, .. }) => {
                    self.known.insert(text.clone());
                }
                ("save", Value::Map(saved)) => self.known.extend(saved.iter().map(|entry| entry.key.clone())),
                ("http", Value::Map(_)) => self.announce(&entry.node),
                _ => {}
            }
        }
    }

    /// Reports a variable that nothing ever sets.
    fn check_variable(&mut self, name: &str, at: Place) {
        if !self.known.contains(name) && !name.starts_with("sip.") {
            let meant = nearest(name, self.known.iter().map(String::as_str));
            self.problems.error_meant(at, format!("there is no variable `{name}`"), meant);
        }
    }

    fn variables(&mut self, node: Option<&Node>) -> BTreeMap<String, Json> {
        let mut variables = BTreeMap::new();
        for entry in node.and_then(|node| entries(self.problems, node, "variables")).unwrap_or_default() {
            if self.name(&entry.key, entry.at, "variable") {
                self.known.insert(entry.key.clone());
                variables.insert(entry.key.clone(), json(&entry.node));
            }
        }
        variables
    }

    /// A slot by its name, or by the name of a type that needs no description.
    fn slot_name(&mut self, node: &Node) -> Option<String> {
        let name = text(node)?;
        if !self.slots.contains_key(name) {
            let Some(kind) = understanding::plain_kind(name) else {
                let meant =
                    nearest(name, self.slots.keys().map(String::as_str).chain(understanding::PLAIN_KINDS));
                self.problems.error_meant(node.at, format!("there is no slot `{name}`"), meant);
                return None;
            };
            self.slots.insert(name.to_owned(), Slot { at: node.at, kind });
            self.known.insert(name.to_owned());
        }
        Some(name.to_owned())
    }

    /// A map from intents to steps.
    fn routes(&mut self, node: Option<&Node>, what: &str) -> Vec<(usize, StepId)> {
        let mut routes = Vec::new();
        for entry in node.and_then(|node| entries(self.problems, node, what)).unwrap_or_default() {
            let intent = self.intents.iter().position(|intent| intent.name == entry.key);
            if intent.is_none() {
                let meant = nearest(&entry.key, self.intents.iter().map(|intent| intent.name.as_str()));
                self.problems.error_meant(entry.at, format!("there is no intent `{}`", entry.key), meant);
            }
            let step = self.step_name(&entry.node);
            routes.extend(intent.zip(step));
        }
        routes
    }
}

/// A node as JSON, plain scalars typed as in YAML's JSON schema.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { text, plain: true } => match text.as_str() {
            "" | "~" | "null" => Json::Null,
            "true" => true.into(),
            "false" => false.into(),
            // A leading zero or plus is an account or a telephone, not a number.
            _ => match serde_json::from_str::<Json>(text) {
                Ok(number @ Json::Number(_)) => number,
                _ => text.clone().into(),
            },
        },
        Value::Scalar { text, .. } => text.clone().into(),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|entry| (entry.key.clone(), json(&entry.node))).collect())
        }
    }
}

/// A choice in whose favour nothing speaks is no choice.
fn is_empty_choice(kind: &SlotKind) -> bool {
    matches!(kind, SlotKind::Choice(values) if values.is_empty())
}
