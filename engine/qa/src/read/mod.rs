//! From YAML to a scorecard, with every problem reported where it stands.

mod condition;
mod kinds;

use std::collections::{BTreeMap, HashMap, HashSet};

use antiphon_engine_flow::file::{
    Fields, Node, Place, Problems, Value, entries, items, nearest, text, within,
};
use antiphon_media_frame::Span;

use crate::logic::Logic;
use crate::model::{Asks, Card, Condition, Exception, Group, Per, Reach, Rule};
use crate::result::{Action, ActionKind, ActionMode, Method, Scoring};

/// Conditions of a file, those within others counted too.
pub(crate) const MOST_CONDITIONS: usize = 5_000;
/// Rules of a file.
pub(crate) const MOST_RULES: usize = 1_000;
const MOST_GROUPS: usize = 100;
const MOST_EXCEPTIONS: usize = 32;
/// Conditions may name one another this deep.
const DEEPEST: usize = 48;
/// Beyond this no score means anything.
const MOST_POINTS: f64 = 1_000_000.0;
const LONGEST_ID: usize = 64;

/// What the reader knows while it reads.
pub(crate) struct Reader<'a> {
    problems: &'a mut Problems,
    /// The named conditions, as they are written.
    nodes: BTreeMap<String, (Place, &'a Node)>,
    /// Those that have been read, as such and as the target of a `must`; `None` where they cannot be.
    read: HashMap<(String, bool), Option<usize>>,
    /// Those that are being read.
    open: Vec<String>,
    conditions: Vec<Condition>,
    depth: usize,
    full: bool,
}

/// Reads the tree. `None` where it is too broken to go on; the problems say why.
pub(crate) fn read(root: &Node, problems: &mut Problems) -> Option<Card> {
    let fields =
        Fields::read(problems, root, "a rule file", &["scorecard", "conditions", "groups", "rules"])?;
    let Some(card) = fields.get("scorecard") else {
        problems
            .error(root.at, "the file has no `scorecard`: begin with `scorecard: {id: name, version: 1}`");
        return None;
    };
    let head = Head::read(problems, card)?;
    let mut reader = Reader {
        problems,
        nodes: BTreeMap::new(),
        read: HashMap::new(),
        open: Vec::new(),
        conditions: Vec::new(),
        depth: 0,
        full: false,
    };
    reader.announce(fields.get("conditions"));
    let names: Vec<(String, Place)> =
        reader.nodes.iter().map(|(name, (at, _))| (name.clone(), *at)).collect();
    let mut named = BTreeMap::new();
    for (name, at) in names {
        if let Some(n) = reader.named(&name, at, false) {
            named.insert(name, (at, n));
        }
    }
    let groups = reader.groups(fields.get("groups"));
    let rules = reader.rules(root, fields.get("rules"), &groups);
    let Head { id, version, name, scoring, margin } = head;
    Some(Card { id, version, name, scoring, margin, conditions: reader.conditions, rules, groups, named })
}

/// What stands under `scorecard`.
struct Head {
    id: String,
    version: String,
    name: Option<String>,
    scoring: Scoring,
    margin: Span,
}

impl Head {
    fn read(problems: &mut Problems, node: &Node) -> Option<Self> {
        let keys = ["id", "version", "name", "base", "pass", "floor", "ceiling", "method", "margin"];
        let fields = Fields::read(problems, node, "a scorecard", &keys)?;
        let mut wanted = |key: &str, example: &str| {
            let value = fields.text(problems, key);
            if fields.get(key).is_none() {
                problems.error(node.at, format!("the scorecard has no `{key}`: write `{key}: {example}`"));
            }
            value
        };
        let id = wanted("id", "sales");
        let version = wanted("version", "1");
        for (key, value) in [("id", &id), ("version", &version)] {
            let (Some(value), Some(at)) = (value, fields.get(key)) else { continue };
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            if value.chars().count() > LONGEST_ID || !value.chars().all(fits) {
                problems.error(
                    at.at,
                    format!("`{key}` is made of letters, digits, `_`, `-` and `.`, at most {LONGEST_ID}"),
                );
            }
        }
        let defaults = Scoring::DEFAULT;
        let mut points = |key: &str, default: f64| {
            fields.number(problems, key, -MOST_POINTS, MOST_POINTS).unwrap_or(default)
        };
        let base = points("base", defaults.base);
        let floor = points("floor", defaults.floor.min(base));
        let ceiling = points("ceiling", defaults.ceiling.max(base));
        let pass = points("pass", defaults.pass);
        if floor > ceiling {
            problems.error(node.at, format!("`floor` ({floor}) is above `ceiling` ({ceiling})"));
        }
        let method = match fields.get("method").map(|node| (node, text(node))) {
            None | Some((_, Some("points"))) => Method::Points,
            Some((_, Some("weights"))) => Method::Weights,
            Some((node, _)) => {
                problems.error(node.at, "`method` is `points` or `weights`");
                Method::Points
            }
        };
        let margin = span(problems, &fields, "margin", 0, 60_000).unwrap_or(Span::from_secs(2));
        let scoring = Scoring { method, base, pass, floor, ceiling };
        Some(Self {
            id: id.unwrap_or_default(),
            version: version.unwrap_or_default(),
            name: fields.text(problems, "name"),
            scoring,
            margin,
        })
    }
}

impl<'a> Reader<'a> {
    fn announce(&mut self, node: Option<&'a Node>) {
        for entry in node.and_then(|node| entries(self.problems, node, "conditions")).unwrap_or_default() {
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
            let reserved = matches!(entry.key.as_str(), "and" | "or" | "not");
            if entry.key.is_empty()
                || entry.key.len() > LONGEST_ID * 4
                || reserved
                || !entry.key.chars().all(fits)
            {
                let message = "a condition's name is made of letters, digits, `_` and `-`, and is not `and`, `or` or `not`";
                self.problems.error(entry.at, message);
                continue;
            }
            self.nodes.insert(entry.key.clone(), (entry.at, &entry.node));
        }
    }

    /// The condition of a name; `must` where a rule has it as what must happen.
    fn named(&mut self, name: &str, at: Place, must: bool) -> Option<usize> {
        let Some((_, node)) = self.nodes.get(name).copied() else {
            let meant = nearest(name, self.nodes.keys().map(String::as_str));
            self.problems.error_meant(at, format!("there is no condition `{name}`"), meant);
            return None;
        };
        // Only a window beside an anchor is read otherwise under `must`.
        let must = must && anchored(node);
        if let Some(read) = self.read.get(&(name.to_owned(), must)) {
            return *read;
        }
        if self.open.iter().any(|open| open == name) {
            self.problems.error(at, format!("the condition `{name}` depends on itself"));
            return None;
        }
        if self.open.len() == DEEPEST {
            self.problems.error(at, format!("conditions name one another more than {DEEPEST} deep"));
            return None;
        }
        self.open.push(name.to_owned());
        let read = self.condition(node, None, must);
        self.open.pop();
        self.read.insert((name.to_owned(), must), read);
        read
    }

    /// An expression over names, or a condition written in place.
    fn logic(&mut self, node: &'a Node, key: &str, must: bool) -> Option<Logic<usize>> {
        match &node.value {
            Value::Map(_) => Some(Logic::Is(self.condition(node, None, must)?)),
            Value::Scalar { text, .. } if !node.is_null() => self.expression(node, text, must),
            _ => {
                let kind = node.kind();
                self.problems.error(
                    node.at,
                    format!("`{key}` wants a condition's name, an expression or a condition, found {kind}"),
                );
                None
            }
        }
    }

    fn expression(&mut self, node: &Node, text: &str, must: bool) -> Option<Logic<usize>> {
        match Logic::parse(text) {
            Err(error) => {
                self.problems.error(within(node, error.offset), error.message);
                None
            }
            Ok(logic) => logic
                .map(&mut |(name, offset): (String, usize)| self.named(&name, within(node, offset), must)),
        }
    }

    fn groups(&mut self, node: Option<&Node>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for node in node.map(items).unwrap_or_default() {
            let Some(fields) = Fields::read(self.problems, node, "a group", &["id", "name", "cap", "weight"])
            else {
                continue;
            };
            let Some(id) = self.id(node, &fields) else { continue };
            if groups.iter().any(|group| group.id == id) {
                self.problems.error(node.at, format!("there is another group `{id}`"));
            }
            if groups.len() == MOST_GROUPS {
                self.problems.error(node.at, format!("more than {MOST_GROUPS} groups"));
                break;
            }
            groups.push(Group {
                at: node.at,
                id,
                name: fields.text(self.problems, "name"),
                cap: fields.number(self.problems, "cap", -MOST_POINTS, MOST_POINTS),
                weight: fields.number(self.problems, "weight", 0.0, MOST_POINTS).unwrap_or(1.0),
            });
        }
        groups
    }

    fn id(&mut self, node: &Node, fields: &Fields<'_>) -> Option<String> {
        let Some(at) = fields.get("id") else {
            self.problems.error(node.at, "this has no `id`");
            return None;
        };
        let id = fields.text(self.problems, "id")?;
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if id.chars().count() > LONGEST_ID || !id.chars().all(fits) {
            let message = format!("an `id` is made of letters, digits, `_` and `-`, at most {LONGEST_ID}");
            self.problems.error(at.at, message);
            return None;
        }
        Some(id)
    }

    fn rules(&mut self, root: &Node, node: Option<&'a Node>, groups: &[Group]) -> Vec<Rule> {
        let nodes = node.map(items).unwrap_or_default();
        if nodes.is_empty() {
            self.problems.error(node.unwrap_or(root).at, "the file has no `rules`");
        }
        if nodes.len() > MOST_RULES {
            self.problems.error(nodes[MOST_RULES].at, format!("more than {MOST_RULES} rules"));
        }
        let mut seen = HashSet::new();
        let mut rules = Vec::new();
        for node in nodes.iter().take(MOST_RULES) {
            let Some(rule) = self.rule(node, groups) else { continue };
            if !seen.insert(rule.id.clone()) {
                self.problems.error(node.at, format!("there is another rule `{}`", rule.id));
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, node: &'a Node, groups: &[Group]) -> Option<Rule> {
        const KEYS: [&str; 15] = [
            "id", "name", "group", "must", "never", "expr", "when", "except", "points", "cap", "weight",
            "fatal", "per", "alert", "action",
        ];
        let fields = Fields::read(self.problems, node, "a rule", &KEYS)?;
        let id = self.id(node, &fields)?;
        let asked: Vec<&str> =
            ["must", "never", "expr"].into_iter().filter(|key| fields.get(key).is_some()).collect();
        let [key] = asked[..] else {
            let message = format!("the rule `{id}` needs exactly one of `must`, `never` and `expr`");
            self.problems.error(node.at, message);
            return None;
        };
        let logic = fields.get(key).and_then(|node| self.logic(node, key, key == "must"));
        let when = match fields.get("when") {
            Some(node) => Some(self.logic(node, "when", false)?),
            None => None,
        };
        let group = fields.text(self.problems, "group");
        if let (Some(group), Some(at)) = (&group, fields.get("group"))
            && groups.iter().all(|known| known.id != *group)
        {
            let meant = nearest(group, groups.iter().map(|group| group.id.as_str()));
            self.problems.error_meant(at.at, format!("there is no group `{group}`"), meant);
        }
        let except = self.exceptions(fields.get("except"));
        let per = match fields.get("per").map(|node| (node, text(node))) {
            None | Some((_, Some("occurrence"))) => Per::Occurrence,
            Some((_, Some("turn"))) => Per::Turn,
            Some((_, Some("call"))) => Per::Call,
            Some((node, _)) => {
                self.problems.error(node.at, "`per` is `occurrence`, `turn` or `call`");
                Per::Occurrence
            }
        };
        let action = fields.get("action").and_then(|node| self.action(node));
        let logic = logic?;
        Some(Rule {
            at: node.at,
            id,
            name: fields.text(self.problems, "name"),
            group,
            asks: match key {
                "must" => Asks::Must(logic),
                "never" => Asks::Never(logic),
                _ => Asks::Expr(logic),
            },
            when,
            except,
            points: fields.number(self.problems, "points", -MOST_POINTS, MOST_POINTS).unwrap_or(0.0),
            cap: fields.number(self.problems, "cap", -MOST_POINTS, MOST_POINTS),
            weight: fields.number(self.problems, "weight", 0.0, MOST_POINTS).unwrap_or(1.0),
            fatal: fields.flag(self.problems, "fatal").unwrap_or(false),
            per,
            alert: fields.text(self.problems, "alert"),
            action,
        })
    }

    fn exceptions(&mut self, node: Option<&'a Node>) -> Vec<Exception> {
        let mut exceptions = Vec::new();
        for node in node.map(items).unwrap_or_default() {
            if exceptions.len() == MOST_EXCEPTIONS {
                self.problems.error(node.at, format!("more than {MOST_EXCEPTIONS} exceptions of one rule"));
                break;
            }
            let wrapped =
                matches!(&node.value, Value::Map(entries) if entries.iter().any(|entry| entry.key == "expr"));
            let (inner, near) = if wrapped {
                let Some(fields) =
                    Fields::read(self.problems, node, "an exception", &["expr", "turns", "within"])
                else {
                    continue;
                };
                let reach = Reach {
                    turns: fields.count(self.problems, "turns", 0, 1_000),
                    time: span(self.problems, &fields, "within", 0, 86_400_000),
                };
                (fields.get("expr").unwrap_or(node), (reach != Reach::default()).then_some(reach))
            } else {
                (node, None)
            };
            let Some(logic) = self.logic(inner, "except", false) else { continue };
            if near.is_some() && logic.alternatives().is_none() {
                let message = "an exception near a hit is a condition, or conditions joined by `||`";
                self.problems.error(inner.at, message);
            }
            let text = text(inner).unwrap_or("except").to_owned();
            exceptions.push(Exception { at: node.at, text, logic, near });
        }
        exceptions
    }

    fn action(&mut self, node: &Node) -> Option<Action> {
        const KINDS: [(&str, ActionKind); 4] = [
            ("listen", ActionKind::Listen),
            ("whisper", ActionKind::Whisper),
            ("barge", ActionKind::Barge),
            ("hang_up", ActionKind::HangUp),
        ];
        let (kind, mode) = match &node.value {
            Value::Map(_) => {
                let fields = Fields::read(self.problems, node, "an action", &["offer", "take"])?;
                match (fields.get("offer"), fields.get("take")) {
                    (Some(kind), None) => (kind, ActionMode::Offer),
                    (None, Some(kind)) => (kind, ActionMode::Take),
                    _ => {
                        self.problems.error(node.at, "an action is either `offer: …` or `take: …`");
                        return None;
                    }
                }
            }
            _ => (node, ActionMode::Offer),
        };
        let name = text(kind).unwrap_or_default();
        let Some((_, what)) = KINDS.iter().find(|(known, _)| *known == name) else {
            let meant = nearest(name, KINDS.map(|(name, _)| name));
            let message = "an action is `listen`, `whisper`, `barge` or `hang_up`";
            self.problems.error_meant(kind.at, message, meant);
            return None;
        };
        Some(Action { what: *what, mode })
    }
}

/// Whether a condition's window stands beside an anchor and does not say which.
fn anchored(node: &Node) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    let Some(window) = entries.iter().find(|entry| entry.key == "window") else { return false };
    let Value::Map(window) = &window.node.value else { return false };
    let has = |key: &str| window.iter().any(|entry| entry.key == key);
    (has("after") || has("before") || has("around")) && !has("which")
}

/// A time of a key, within bounds in milliseconds.
fn span(problems: &mut Problems, fields: &Fields<'_>, key: &str, low: u64, high: u64) -> Option<Span> {
    let (low, high) = (std::time::Duration::from_millis(low), std::time::Duration::from_millis(high));
    fields.duration(problems, key, low, high).map(Span::from)
}
