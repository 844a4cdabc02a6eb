//! The inverted index: which entries may answer at all.

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query as Ask, TermQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term};

use crate::Filter;
use crate::entry::{Entry, primary};
use crate::query::Query;

/// Octets that indexing may hold before it writes a segment.
const BUDGET: usize = 64 << 20;
/// As many candidates are looked at closely.
const CANDIDATES: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    entry: Field,
    terms: Field,
    language: Field,
    tag: Field,
}

/// An index in memory, of terms that are cut already.
#[derive(Debug)]
pub(crate) struct Inverted {
    index: Index,
    pub(crate) fields: Fields,
}

impl Inverted {
    pub(crate) fn new() -> Self {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqs);
        let fields = Fields {
            entry: schema.add_u64_field("entry", INDEXED | FAST),
            terms: schema.add_text_field("terms", TextOptions::default().set_indexing_options(indexing)),
            language: schema.add_text_field("language", STRING),
            tag: schema.add_text_field("tag", STRING),
        };
        Self { index: Index::create_in_ram(schema.build()), fields }
    }

    /// Takes entries out and puts others in, all at once or not at all.
    pub(crate) fn change<'a>(
        &self,
        old: impl Iterator<Item = u64>,
        new: impl Iterator<Item = (u64, &'a Entry, String)>,
    ) -> Result<Searcher, TantivyError> {
        let mut writer: IndexWriter = self.index.writer_with_num_threads(1, BUDGET)?;
        for id in old {
            writer.delete_term(Term::from_field_u64(self.fields.entry, id));
        }
        for (id, entry, terms) in new {
            let mut document = TantivyDocument::default();
            document.add_u64(self.fields.entry, id);
            document.add_text(self.fields.terms, terms);
            document.add_text(self.fields.language, &entry.language);
            for tag in &entry.tags {
                document.add_text(self.fields.tag, tag.to_lowercase());
            }
            writer.add_document(document)?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        let reader: IndexReader =
            self.index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(reader.searcher())
    }
}

/// Every term of the index.
pub(crate) fn each_term(
    searcher: &Searcher,
    fields: Fields,
    mut visit: impl FnMut(&str),
) -> Result<(), TantivyError> {
    for segment in searcher.segment_readers() {
        let inverted = segment.inverted_index(fields.terms)?;
        let mut terms = inverted.terms().stream()?;
        while terms.advance() {
            if let Ok(term) = std::str::from_utf8(terms.key()) {
                visit(term);
            }
        }
    }
    Ok(())
}

/// The entries that have most of what is asked for, by BM25.
pub(crate) fn candidates(
    searcher: &Searcher,
    fields: Fields,
    query: &Query,
    filter: &Filter,
) -> Result<Vec<u64>, TantivyError> {
    let term = |field, text: &str| {
        Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::WithFreqs))
    };
    let mut wanted: Vec<(Occur, Box<dyn Ask>)> = Vec::new();
    for group in &query.groups {
        for alternative in &group.alternatives {
            for (word, _) in &alternative.terms {
                let ask = BoostQuery::new(term(fields.terms, word), alternative.weight * group.weight);
                wanted.push((Occur::Should, Box::new(ask)));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut clauses: Vec<(Occur, Box<dyn Ask>)> = Vec::new();
    if let Some(language) = &filter.language {
        clauses.push((Occur::Must, term(fields.language, &primary(language))));
    }
    for tag in &filter.tags {
        clauses.push((Occur::Must, term(fields.tag, &tag.trim().to_lowercase())));
    }
    let ask = if clauses.is_empty() {
        BooleanQuery::new(wanted)
    } else {
        clauses.push((Occur::Must, Box::new(BooleanQuery::new(wanted))));
        BooleanQuery::new(clauses)
    };
    let mut ids = Vec::new();
    for (_, address) in searcher.search(&ask, &TopDocs::with_limit(CANDIDATES).order_by_score())? {
        let column = searcher.segment_reader(address.segment_ord).fast_fields().u64("entry")?;
        ids.extend(column.first(address.doc_id));
    }
    Ok(ids)
}
