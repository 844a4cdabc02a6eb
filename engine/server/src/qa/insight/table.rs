//! Tables for programs: a cell has one type, a column one name.

use serde_json::{Map, Value, json};

use super::parquet;

/// What stands in the cells of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Count,
    Number,
    Yes,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(Option<String>),
    Count(u64),
    Number(Option<f64>),
    Yes(bool),
}

impl Cell {
    /// Of which kind it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Count(_) => Kind::Count,
            Self::Number(_) => Kind::Number,
            Self::Yes(_) => Kind::Yes,
        }
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

/// Columns, and rows of as many cells; the cells of a column are of its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Kind)>) -> Self {
        let mut table = Self::default();
        table.add(columns);
        table
    }

    /// Further columns; before there are rows.
    pub(crate) fn add<'a>(&mut self, columns: impl IntoIterator<Item = (&'a str, Kind)>) {
        let column = |(name, kind): (&str, Kind)| Column { name: name.to_owned(), kind };
        self.columns.extend(columns.into_iter().map(column));
    }

    /// The whole of it as a Parquet file.
    pub(crate) fn parquet(&self) -> Vec<u8> {
        parquet::write(self)
    }

    /// Columns of these names are members of one object `abilities` in JSON.
    pub(crate) const ABILITY: &str = "ability:";

    /// Each row as an object.
    pub(crate) fn json(&self) -> Vec<Value> {
        let row = |row: &Vec<Cell>| {
            let (mut object, mut abilities) = (Map::new(), Map::new());
            for (column, cell) in self.columns.iter().zip(row) {
                let value = match cell {
                    Cell::Text(text) => json!(text),
                    Cell::Count(count) => json!(count),
                    Cell::Number(number) => json!(number),
                    Cell::Yes(yes) => json!(yes),
                };
                match column.name.strip_prefix(Self::ABILITY) {
                    Some(group) => _ = abilities.insert(group.to_owned(), value),
                    None => _ = object.insert(column.name.clone(), value),
                }
            }
            if self.columns.iter().any(|column| column.name == "median_score") {
                object.insert("abilities".to_owned(), abilities.into());
            }
            object.into()
        };
        self.rows.iter().map(row).collect()
    }

    /// RFC 4180; what is unknown is empty.
    ///
    /// # Errors
    /// Where memory does not take it: none that is known.
    pub(crate) fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|column| formula(&column.name)))?;
        for row in &self.rows {
            writer.write_record(row.iter().map(|cell| match cell {
                Cell::Text(text) => formula(text.as_deref().unwrap_or_default()),
                Cell::Count(count) => count.to_string(),
                Cell::Number(number) => number.map(|number| number.to_string()).unwrap_or_default(),
                Cell::Yes(yes) => yes.to_string(),
            }))?;
        }
        Ok(writer.into_inner()?)
    }
}

/// A cell that a spreadsheet would compute is shown as text.
fn formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_comma_separated_and_computes_nothing() {
        let mut table = Table::new([
            ("agent", Kind::Text),
            ("calls", Kind::Count),
            ("mean", Kind::Number),
            ("pass", Kind::Yes),
        ]);
        table.rows.push(vec!["=cmd".into(), 3u64.into(), Some(1.5).into(), Cell::Yes(true)]);
        table.rows.push(vec![Cell::Text(None), 0u64.into(), Cell::Number(None), Cell::Yes(false)]);
        let text = String::from_utf8(table.csv().expect("written")).expect("text");
        assert_eq!(text, "agent,calls,mean,pass\n'=cmd,3,1.5,true\n,0,,false\n");
    }
}
