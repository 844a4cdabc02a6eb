//! Dialogue without I/O: schema, checker, interpreter, slots, intents.
