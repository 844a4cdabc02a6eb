//! What a body is made of: one piece, several (`multipart/mixed`), or addresses of others (`text/uri-list`).

/// Most pieces of one body.
pub const MAX_PARTS: usize = 32;

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its media type in lower case, without parameters.
    pub kind: String,
    /// Its name, without the angle brackets.
    pub content_id: Option<String>,
    /// What it says.
    pub text: String,
}

/// Why a body cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It says nothing of what it is.
    #[error("a body without a Content-Type")]
    NoType,
    /// It is no text.
    #[error("the body is no UTF-8")]
    NotText,
    /// A multipart body without its boundary.
    #[error("multipart: {what}")]
    Multipart {
        /// What is wrong.
        what: &'static str,
    },
}

/// Takes a body apart.
///
/// # Errors
/// [`BodyError`].
pub fn parts(kind: Option<&str>, content_id: Option<&str>, body: &[u8]) -> Result<Vec<Part>, BodyError> {
    let kind = kind.ok_or(BodyError::NoType)?;
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotText)?;
    let name = media_type(kind);
    if !name.starts_with("multipart/") {
        return Ok(vec![Part { kind: name, content_id: content_id.map(bare), text: text.to_owned() }]);
    }
    let refuse = |what| BodyError::Multipart { what };
    let boundary = parameter(kind, "boundary").filter(|b| !b.is_empty() && b.len() <= 70);
    let boundary = format!("\r\n--{}", boundary.ok_or(refuse("no boundary"))?);
    // The first delimiter may have nothing before it.
    let text = format!("\r\n{text}");
    let mut pieces = text.split(boundary.as_str());
    pieces.next();
    let mut found = Vec::new();
    let mut closed = false;
    for piece in pieces {
        if piece.starts_with("--") {
            closed = true;
            break;
        }
        if found.len() == MAX_PARTS {
            return Err(refuse("more than 32 pieces"));
        }
        let piece = piece.trim_start_matches([' ', '\t']);
        let piece = piece.strip_prefix("\r\n").ok_or(refuse("a boundary that goes on"))?;
        let (head, body) = match piece.strip_prefix("\r\n") {
            Some(body) => ("", body),
            None => piece.split_once("\r\n\r\n").ok_or(refuse("a piece without an end of its headers"))?,
        };
        let header = |name: &str| {
            let mut all = head.split("\r\n").filter_map(|line| line.split_once(':'));
            all.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let kind = header("Content-Type").ok_or(BodyError::NoType)?;
        found.push(Part {
            kind: media_type(kind),
            content_id: header("Content-ID").map(bare),
            text: body.to_owned(),
        });
    }
    if !closed {
        return Err(refuse("no closing boundary"));
    }
    Ok(found)
}

/// The addresses of a `text/uri-list` (RFC 2483), or of a `text/grammar-ref-list` (RFC 6787 section 9.5.1) with their weights.
#[must_use]
pub fn uris(text: &str) -> Vec<(String, f32)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .take(MAX_PARTS)
        .map(|line| {
            let Some((uri, rest)) = line.strip_prefix('<').and_then(|line| line.split_once('>')) else {
                return (line.to_owned(), 1.0);
            };
            let weight = parameter(rest, "weight").and_then(|weight| weight.parse().ok());
            (uri.to_owned(), weight.filter(|w: &f32| w.is_finite() && *w > 0.0).unwrap_or(1.0))
        })
        .collect()
}

fn media_type(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn bare(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}

fn parameter<'a>(kind: &'a str, name: &str) -> Option<&'a str> {
    let mut all = kind.split(';').skip(1).filter_map(|part| part.split_once('='));
    let (_, value) = all.find(|(known, _)| known.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pieces_come_apart() {
        let body = "--break\r\nContent-Type: text/uri-list\r\nContent-ID: <one@a>\r\n\r\nbuiltin:grammar/digits\r\n\
                    --break\r\nContent-Type: Application/SRGS+xml; charset=utf-8\r\n\r\n<grammar/>\r\n--break--\r\n";
        let found = parts(Some("multipart/mixed; boundary=\"break\""), None, body.as_bytes()).expect("whole");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].content_id.as_deref(), Some("one@a"));
        assert_eq!(uris(&found[0].text), [("builtin:grammar/digits".to_owned(), 1.0)]);
        assert_eq!((found[1].kind.as_str(), found[1].text.as_str()), ("application/srgs+xml", "<grammar/>"));
    }

    #[test]
    fn references_have_weights() {
        let list = "<session:help@root.store>;weight=\"2.5\"\r\n# no\r\n<session:b>\r\nsession:c\r\n<d>;weight=\"-1\"";
        let found = uris(list);
        let weights: Vec<(&str, f32)> = found.iter().map(|(uri, weight)| (uri.as_str(), *weight)).collect();
        assert_eq!(
            weights,
            [("session:help@root.store", 2.5), ("session:b", 1.0), ("session:c", 1.0), ("d", 1.0)]
        );
    }

    #[test]
    fn broken_bodies_say_what_is_wrong() {
        let multipart = |what| Err(BodyError::Multipart { what });
        for (kind, body, expected) in [
            (None, &b"a"[..], Err(BodyError::NoType)),
            (Some("text/plain"), b"\xff", Err(BodyError::NotText)),
            (Some("multipart/mixed"), b"a", multipart("no boundary")),
            (Some("multipart/mixed;boundary=b"), b"--b\r\n\r\n", Err(BodyError::NoType)),
            (
                Some("multipart/mixed;boundary=b"),
                b"--b\r\nContent-Type: a/b\r\n\r\nx",
                multipart("no closing boundary"),
            ),
            (Some("multipart/mixed;boundary=b"), b"--bcd\r\n\r\n--b--", multipart("a boundary that goes on")),
        ] {
            assert_eq!(parts(kind, None, body), expected, "{kind:?}");
        }
    }
}
