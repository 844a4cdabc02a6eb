//! Any text as a flow file.
#![no_main]

use std::path::Path;

use antiphon_engine_flow::Flow;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // No file of that name exists, so recordings beside it are missing, whatever they are called.
    match Flow::parse_with(text, Path::new("/nonexistent/fuzz.yaml"), &|_| Some("secret".to_owned())) {
        Ok(flow) => {
            assert!(!flow.name().contains("secret"));
        }
        Err(problems) => {
            let said = problems.to_string();
            assert!(!said.is_empty(), "a refusal says why");
        }
    }
});
