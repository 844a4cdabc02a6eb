//! Which intent a sentence carries: a linear classifier over n-grams, trained from the flow's own examples at load.
//!
//! Features are words and word pairs (characters, pairs and triples of them for Chinese) and, for English, character
//! n-grams inside words, which survive recogniser errors. They are weighted by how rarely they occur over the intents,
//! hashed and scaled to length one. A multinomial logistic regression decides between the intents and a background of
//! everyday talk; likeness to the nearest example guards against sentences unlike anything seen.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::entity::calendar::Date;
use crate::entity::{SlotKind, Tongue};
use crate::model::{Intent, Slot};
use crate::text::{join, tokens};

const BUCKETS: u32 = 1 << 15;
/// Passes over the examples; past this the held-out accuracy of both languages no longer moves.
const PASSES: usize = 60;
const RATE: f32 = 4.0;
const DECAY: f32 = 1e-4;
/// A sentence this like an example is taken at the classifier's word; below, confidence falls in proportion.
const LIKE_ENOUGH: f32 = 0.4;
/// The confidence of a keyword or pattern that matches.
const CERTAIN: f32 = 0.97;

type Features = Vec<(u32, f32)>;

/// A trained classifier.
#[derive(Debug)]
pub(crate) struct Classifier {
    tongue: Tongue,
    /// What entities are masked before classifying, most particular first.
    masks: Vec<(String, SlotKind)>,
    /// How telling a feature is.
    rarity: HashMap<u32, f32>,
    unseen: f32,
    /// One row a class, the background last.
    weights: Vec<HashMap<u32, f32>>,
    bias: Vec<f32>,
    /// Per intent, the features of its examples.
    examples: Vec<Vec<Features>>,
    exact: HashMap<String, usize>,
}

impl Classifier {
    /// Trains on the examples of `intents`. The same flow gives the same classifier.
    pub(crate) fn train(intents: &[Intent], slots: &BTreeMap<String, Slot>, tongue: Tongue) -> Self {
        let named: HashSet<&String> = intents.iter().flat_map(|intent| &intent.slots).collect();
        let mut masks: Vec<(String, SlotKind)> = slots
            .iter()
            .filter(|(name, slot)| named.contains(name) && !matches!(slot.kind, SlotKind::YesNo))
            .map(|(name, slot)| (name.clone(), slot.kind.clone()))
            .collect();
        masks.sort_by_key(|(_, kind)| kind.precedence());
        let mut classifier = Self {
            tongue,
            masks,
            rarity: HashMap::new(),
            unseen: 1.0,
            weights: vec![HashMap::new(); intents.len() + 1],
            bias: vec![0.0; intents.len() + 1],
            examples: Vec::new(),
            exact: HashMap::new(),
        };
        let mut texts: Vec<(Vec<String>, usize)> = Vec::new();
        for (n, intent) in intents.iter().enumerate() {
            for example in &intent.examples {
                let masked = classifier.mask(&example_tokens(example), None);
                classifier.exact.entry(join(&masked)).or_insert(n);
                texts.push((masked, n));
            }
            texts.extend(intent.keywords.iter().map(|keyword| (keyword.clone(), n)));
        }
        texts.extend(background(tongue).iter().map(|text| (tokens(text), intents.len())));
        classifier.weigh(&texts, intents.len() + 1);
        let samples: Vec<(Features, usize)> =
            texts.iter().map(|(words, class)| (classifier.features(words), *class)).collect();
        classifier.examples = (0..intents.len())
            .map(|n| {
                samples
                    .iter()
                    .filter(|(_, class)| *class == n)
                    .map(|(features, _)| features.clone())
                    .collect()
            })
            .collect();
        classifier.descend(&samples);
        classifier
    }

    /// A confidence from 0 to 1 for each intent.
    pub(crate) fn classify(&self, words: &[String], intents: &[Intent], today: Option<Date>) -> Vec<f32> {
        let masked = self.mask(words, today);
        let features = self.features(&masked);
        let mut scores = self.probabilities(&features);
        scores.pop();
        for (score, examples) in scores.iter_mut().zip(&self.examples) {
            let likeness = examples.iter().map(|example| dot(example, &features)).fold(0.0, f32::max);
            *score *= (likeness / LIKE_ENOUGH).min(1.0);
        }
        let text = join(words);
        for (n, intent) in intents.iter().enumerate() {
            let keyword =
                intent.keywords.iter().any(|key| words.windows(key.len()).any(|window| window == key));
            if keyword || intent.patterns.iter().any(|pattern| pattern.is_match(&text)) {
                scores[n] = scores[n].max(CERTAIN);
            }
        }
        if let Some(n) = self.exact.get(&join(&masked)) {
            scores.iter_mut().for_each(|score| *score = score.min(0.01));
            scores[*n] = 1.0;
        }
        scores
    }

    /// Replaces values by the names of their slots.
    fn mask(&self, words: &[String], today: Option<Date>) -> Vec<String> {
        let today = today.or(Date::new(2026, 1, 1));
        let mut words = words.to_vec();
        for (name, kind) in &self.masks {
            if let Some(found) = kind.find(&words, self.tongue, today) {
                words.splice(found.start..found.end, [format!("<{name}>")]);
            }
        }
        words
    }

    /// Learns how telling each feature is: those that all classes share say nothing.
    fn weigh(&mut self, texts: &[(Vec<String>, usize)], classes: usize) {
        let mut seen: HashMap<u32, HashSet<usize>> = HashMap::new();
        for (words, class) in texts {
            for (feature, _) in raw_features(words, self.tongue) {
                seen.entry(feature).or_default().insert(*class);
            }
        }
        let telling = |count: usize| ((classes as f32 + 1.0) / (count as f32 + 0.5)).ln().max(0.1);
        self.rarity = seen.iter().map(|(feature, classes)| (*feature, telling(classes.len()))).collect();
        self.unseen = telling(1);
    }

    fn features(&self, words: &[String]) -> Features {
        let mut features: Features = raw_features(words, self.tongue)
            .into_iter()
            .map(|(feature, weight)| {
                (feature, weight * self.rarity.get(&feature).copied().unwrap_or(self.unseen))
            })
            .collect();
        let length = features.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        if length > 0.0 {
            features.iter_mut().for_each(|(_, weight)| *weight /= length);
        }
        features
    }

    fn probabilities(&self, features: &Features) -> Vec<f32> {
        let mut scores: Vec<f32> = self
            .weights
            .iter()
            .zip(&self.bias)
            .map(|(row, bias)| {
                bias + features.iter().map(|(n, x)| row.get(n).copied().unwrap_or(0.0) * x).sum::<f32>()
            })
            .collect();
        let most = scores.iter().copied().fold(f32::MIN, f32::max);
        scores.iter_mut().for_each(|score| *score = (*score - most).exp());
        let sum: f32 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        scores
    }

    /// Stochastic gradient descent in the order of the file, class by class in turn, so that no class comes in a lump.
    fn descend(&mut self, samples: &[(Features, usize)]) {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        let mut rank = HashMap::new();
        let ranks: Vec<usize> = samples
            .iter()
            .map(|(_, class)| {
                let count = rank.entry(*class).or_insert(0_usize);
                *count += 1;
                *count
            })
            .collect();
        order.sort_by_key(|n| (ranks[*n], samples[*n].1));
        for pass in 0..PASSES {
            let rate = RATE / (1.0 + pass as f32 * 0.1);
            for n in &order {
                let (features, class) = &samples[*n];
                let probabilities = self.probabilities(features);
                for (c, probability) in probabilities.iter().enumerate() {
                    let error = f32::from(u8::from(c == *class)) - probability;
                    if error.abs() < 1e-3 {
                        continue;
                    }
                    self.bias[c] += rate * error * 0.05;
                    for (feature, x) in features {
                        let weight = self.weights[c].entry(*feature).or_insert(0.0);
                        *weight += rate * (error * x - DECAY * *weight);
                    }
                }
            }
        }
    }
}

/// An example as tokens, its `{slot}` marks as masks.
pub(crate) fn example_tokens(example: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = example;
    while let Some((before, after)) = rest.split_once('{') {
        words.extend(tokens(before));
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        words.push(format!("<{name}>"));
        rest = behind;
    }
    words.extend(tokens(rest));
    words
}

fn dot(a: &Features, b: &Features) -> f32 {
    // Both are sorted by feature.
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while i < a.len() && j < b.len() {
        match a[i].0.cmp(&b[j].0) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                sum += a[i].1 * b[j].1;
                i += 1;
                j += 1;
            }
        }
    }
    sum
}

/// Hashed features with their counts damped, sorted by feature.
fn raw_features(words: &[String], tongue: Tongue) -> Features {
    let mut features: BTreeMap<u32, f32> = BTreeMap::new();
    let mut add = |kind: u8, parts: &[&str], weight: f32| {
        let slot = features.entry(hash(kind, parts)).or_insert(0.0);
        *slot = slot.max(weight);
    };
    for (n, word) in words.iter().enumerate() {
        let content =
            if tongue == Tongue::English && FUNCTION_WORDS.contains(&word.as_str()) { 0.4 } else { 1.0 };
        match tongue {
            Tongue::English => {
                add(b'w', &[word], content);
                let next = words.get(n + 1).map_or("$", String::as_str);
                add(b'p', &[word, next], 0.5);
                if content == 1.0 && !word.starts_with('<') {
                    let chars: Vec<char> = format!("^{word}$").chars().collect();
                    for length in 3..=4 {
                        for gram in chars.windows(length) {
                            add(b'c', &[&gram.iter().collect::<String>()], 0.35);
                        }
                    }
                }
            }
            Tongue::Chinese => {
                add(b'w', &[word], if CHINESE_PARTICLES.contains(&word.as_str()) { 0.2 } else { 0.6 });
                if let Some(next) = words.get(n + 1) {
                    add(b'p', &[word, next], 1.0);
                    if let Some(third) = words.get(n + 2) {
                        add(b't', &[word, next, third], 0.5);
                    }
                }
            }
        }
    }
    features.into_iter().collect()
}

/// FNV-1a, folded to a bucket.
fn hash(kind: u8, parts: &[&str]) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    eat(kind);
    for part in parts {
        part.bytes().for_each(&mut eat);
        eat(0);
    }
    ((hash ^ (hash >> 32)) as u32) % BUCKETS
}

const FUNCTION_WORDS: &[&str] = &[
    "a", "an", "the", "i", "you", "me", "my", "your", "we", "it", "is", "am", "are", "was", "be", "to", "of",
    "in", "on", "at", "for", "from", "and", "or", "do", "does", "did", "can", "could", "would", "will",
    "like", "want", "need", "please", "some", "that", "this", "with", "what", "how", "have", "has", "had",
    "there", "hi", "hello", "just", "so", "not", "about", "tell", "get", "make", "know", "much", "our", "us",
];

const CHINESE_PARTICLES: &[&str] = &[
    "我", "你", "您", "的", "了", "吗", "呢", "吧", "啊", "是", "在", "有", "想", "要", "请", "一", "个",
    "下", "们", "这", "那",
];

/// Everyday talk that belongs to no intent. A sentence that looks like this more than like an example is no match.
fn background(tongue: Tongue) -> &'static [&'static str] {
    match tongue {
        Tongue::English => &[
            "hello",
            "hi there",
            "um",
            "well let me think",
            "what is the weather like today",
            "it is raining outside",
            "i like your music",
            "can you order me a pizza",
            "i would like some coffee please",
            "the train was late this morning",
            "my dog is very hungry",
            "how old are you",
            "what is your name",
            "tell me a joke",
            "who won the game last night",
            "i am going to the park",
            "the children are at school",
            "turn on the television",
            "i want to book a flight to paris",
            "i need a new pair of shoes",
            "do you have any tickets for the concert",
            "my mother is coming for dinner",
            "i do not know what to say",
            "wait a moment please",
            "hold on i am driving",
            "is this a real person or a machine",
            "the food was very good",
            "can you play some music",
            "where is the nearest hospital",
            "how do i get to the station",
            "i lost my way",
            "my phone is broken",
            "i want to buy a car",
            "what time is the film",
            "thank you",
            "please",
            "i think so",
            "you are welcome",
            "what can you do",
            "one two three",
        ],
        Tongue::Chinese => &[
            "你好",
            "喂",
            "嗯",
            "那个",
            "让我想一想",
            "今天天气怎么样",
            "外面在下雨",
            "我想点一份外卖",
            "我要一杯咖啡",
            "火车晚点了",
            "我家的狗饿了",
            "你几岁了",
            "你叫什么名字",
            "给我讲个笑话",
            "昨天的比赛谁赢了",
            "我要去公园",
            "孩子们在学校",
            "把电视打开",
            "我想订一张去北京的机票",
            "我要买一双鞋",
            "还有电影票吗",
            "妈妈晚上来吃饭",
            "我不知道说什么",
            "等一下",
            "我在开车",
            "你是机器人吗",
            "这个菜很好吃",
            "放一首歌",
            "最近的医院在哪里",
            "去火车站怎么走",
            "我迷路了",
            "我的手机坏了",
            "我想买一辆车",
            "电影几点开始",
            "谢谢",
            "你会做什么",
            "一二三",
        ],
    }
}

/// How a caller asks to hear the last prompt again, where a flow does not say so itself.
pub(crate) fn repeat_examples(tongue: Tongue) -> Vec<String> {
    let examples: &[&str] = match tongue {
        Tongue::English => &[
            "repeat",
            "repeat that",
            "please repeat that",
            "say that again",
            "could you say that again please",
            "can you repeat the question",
            "pardon",
            "what did you say",
            "i did not hear you",
            "once more please",
        ],
        Tongue::Chinese => &[
            "再说一遍",
            "请再说一次",
            "重复一遍",
            "你说什么",
            "没听清",
            "我没有听清楚",
            "再讲一遍",
            "刚才说的什么",
        ],
    };
    examples.iter().map(|example| (*example).to_owned()).collect()
}
