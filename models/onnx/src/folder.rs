//! Finding a published model's files in its folder.

use std::path::{Path, PathBuf};

use crate::LoadError;

/// Which of a model's files to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Eight-bit weights where the folder has them: a third of the time and a quarter of the memory.
    #[default]
    Int8,
    /// Floats where the folder has them.
    Float,
}

/// Entries of a folder that are looked at.
const MOST: usize = 10_000;

/// The file in `folder` whose name begins as one of `stems` and ends in `.onnx`, of the precision asked for or else of
/// the other one. Of several the first by name.
pub(crate) fn model(
    folder: &Path,
    stems: &[&str],
    precision: Precision,
) -> Result<Option<PathBuf>, LoadError> {
    let file = |source| LoadError::File { path: folder.display().to_string(), source };
    let mut found: Vec<(bool, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(file)?.take(MOST) {
        let path = entry.map_err(file)?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if name.ends_with(".onnx") && stems.iter().any(|stem| name.starts_with(stem)) {
            let int8 = name.contains("int8") || name.contains("quant");
            found.push((int8 != (precision == Precision::Int8), path));
        }
    }
    found.sort();
    Ok(found.into_iter().next().map(|(_, path)| path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_precision_asked_for_is_preferred() {
        let folder = fixtures::folder("zipformer2");
        let name = |stem: &str, precision| {
            let found = model(&folder, &[stem], precision).expect("a folder")?;
            found.file_name().and_then(|n| n.to_str()).map(str::to_owned)
        };
        assert_eq!(name("encoder", Precision::Int8).as_deref(), Some("encoder.int8.onnx"));
        assert_eq!(name("encoder", Precision::Float).as_deref(), Some("encoder.onnx"));
        assert_eq!(name("joiner", Precision::Int8).as_deref(), Some("joiner.onnx"));
        assert_eq!(name("whatever", Precision::Int8), None);
        assert!(model(Path::new("/nowhere/at/all"), &["x"], Precision::Int8).is_err());
    }
}
