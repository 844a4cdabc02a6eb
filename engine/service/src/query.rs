//! Parameters of a URL.

use crate::Refusal;

/// The parameters of a URL, decoded, in their order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes pairs as they came.
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The last value of a parameter.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// Every value of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The names of all parameters, with their values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A switch: `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.value(name) {
            None => Ok(false),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Refusal::of(name, other, "true or false")),
        }
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let read = |value: &str| value.parse().map_err(|_| Refusal::of(name, value, "a whole number"));
        self.value(name).map(read).transpose()
    }
}
