//! Engines behind the speech traits, one feature each.
