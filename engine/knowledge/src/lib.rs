//! What the house knows: documents and answers, found in milliseconds.
