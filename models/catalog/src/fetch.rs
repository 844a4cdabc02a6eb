//! Files over HTTP, resumed where they broke off, and from folders.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body, Proxy};

use crate::pull::Watch;

/// Where models lie besides where they are published: `<model>/<file>` below a base address or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// A base address, without the slash at its end.
    Http(String),
    /// A folder.
    Folder(PathBuf),
}

/// Why something is no mirror.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text} is no mirror: write http:// or https:// and an address, or the path of a folder")]
pub struct MirrorError {
    /// What was written.
    pub text: String,
}

impl Mirror {
    /// Reads `http://…`, `https://…`, `file:///…` or a path.
    ///
    /// # Errors
    /// An empty text, or another scheme.
    pub fn parse(text: &str) -> Result<Self, MirrorError> {
        let text = text.trim();
        let error = || MirrorError { text: text.to_owned() };
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "http" | "https" if !rest.is_empty() => Ok(Self::Http(text.trim_end_matches('/').to_owned())),
                "file" if rest.starts_with('/') => Ok(Self::Folder(rest.into())),
                _ => Err(error()),
            };
        }
        if text.is_empty() { Err(error()) } else { Ok(Self::Folder(text.into())) }
    }
}

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers there.
    #[error(
        "{url} cannot be reached: {reason}; \
         without a network, name a mirror ([models] mirror, ANTIPHON_MODELS_MIRROR or --mirror) \
         or copy the model's folder from another machine's store; behind a proxy, set HTTPS_PROXY"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The server refuses.
    #[error("{url}: the server answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// Its status.
        status: u16,
    },
    /// More came, or was announced, than the file may have.
    #[error("{url}: {found} bytes where at most {most} were expected")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// What was announced or came.
        found: u64,
        /// The bound.
        most: u64,
    },
    /// It broke off again and again without bringing anything new.
    #[error("{url}: broke off after {bytes} bytes: {reason}; what came is kept, pull again to go on")]
    Broken {
        /// What was asked for.
        url: String,
        /// How much is there.
        bytes: u64,
        /// The last reason.
        reason: String,
    },
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

/// So many attempts in a row may bring nothing new.
const PATIENCE: u32 = 4;
/// No file takes more attempts than this, whatever they bring.
const MOST_ATTEMPTS: u32 = 200;

/// A client that takes its proxy from the environment and never waits on a silent server.
pub(crate) fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(Proxy::try_from_env())
        .user_agent("antiphon")
        .timeout_resolve(Some(Duration::from_secs(20)))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        // A body of gigabytes takes its time; a silence in it does not.
        .timeout_per_read(Some(Duration::from_secs(30)))
        .build()
        .into()
}

/// How an attempt ended that is worth another one.
enum Cut {
    /// The connection or the server failed.
    Failed(String),
    /// What is there cannot be continued.
    Restart(String),
}

enum Attempt {
    Done,
    Again(Cut),
}

/// Fetches `url` into `partial`, going on where it broke off. Returns whether bytes of an earlier call were used.
pub(crate) fn fetch(
    agent: &Agent,
    url: &str,
    partial: &Path,
    most: u64,
    watch: &mut dyn Watch,
) -> Result<bool, FetchError> {
    let mut idle = 0;
    let mut resumed = false;
    for attempt in 0..MOST_ATTEMPTS {
        let before = length(partial);
        resumed |= attempt == 0 && before > 0;
        let cut = match once(agent, url, partial, most, watch)? {
            Attempt::Done => return Ok(resumed),
            Attempt::Again(cut) => cut,
        };
        let reason = match cut {
            Cut::Failed(reason) => reason,
            Cut::Restart(reason) => {
                remove(partial)?;
                resumed = false;
                reason
            }
        };
        let now = length(partial);
        idle = if now > before { 0 } else { idle + 1 };
        if idle > PATIENCE {
            return Err(FetchError::Broken { url: url.to_owned(), bytes: now, reason });
        }
        watch.retry(&reason);
        watch.wait(Duration::from_millis(500) * 2_u32.pow(idle));
    }
    let bytes = length(partial);
    Err(FetchError::Broken { url: url.to_owned(), bytes, reason: format!("{MOST_ATTEMPTS} attempts") })
}

fn once(
    agent: &Agent,
    url: &str,
    partial: &Path,
    most: u64,
    watch: &mut dyn Watch,
) -> Result<Attempt, FetchError> {
    let mut have = length(partial);
    let tag = fs::read_to_string(tag_path(partial)).ok().filter(|tag| !tag.is_empty());
    // Without its tag nobody can tell whether the rest belongs to what is there.
    if tag.is_none() {
        have = 0;
    }
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if let Some(tag) = tag.as_deref().filter(|_| have > 0) {
        request = request.header(header::RANGE, format!("bytes={have}-")).header(header::IF_RANGE, tag);
    }
    let mut response = match request.call() {
        Ok(response) => response,
        Err(error) => return failed(url, &error),
    };
    match response.status() {
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT => match range(response.headers()) {
            Some((start, _)) if start == have => {}
            _ => {
                return Ok(Attempt::Again(Cut::Restart(
                    "the server sent another part than was asked for".into(),
                )));
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let total = response
                .headers()
                .get(header::CONTENT_RANGE)
                .and_then(|value| value.to_str().ok()?.strip_prefix("bytes */")?.parse::<u64>().ok());
            if total == Some(have) && have > 0 {
                return Ok(Attempt::Done);
            }
            return Ok(Attempt::Again(Cut::Restart("the file has changed since it broke off".into())));
        }
        status if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) => {
            return Ok(Attempt::Again(Cut::Failed(format!("the server answers {status}"))));
        }
        status => return Err(FetchError::Status { url: url.to_owned(), status: status.as_u16() }),
    }
    let total = announced(&response).map(|rest| have + rest);
    if let Some(found) = total.filter(|total| *total > most) {
        return Err(FetchError::TooLarge { url: url.to_owned(), found, most });
    }
    let io_error = |error| FetchError::Io { path: partial.to_owned(), error };
    keep_tag(partial, response.headers())?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(partial)
        .and_then(|file| file.set_len(have).map(|()| file))
        .map_err(io_error)?;
    watch.begin(have, total);
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Attempt::Again(Cut::Failed(error.to_string()))),
        };
        have += count as u64;
        if have > most {
            return Err(FetchError::TooLarge { url: url.to_owned(), found: have, most });
        }
        file.write_all(&buffer[..count]).map_err(io_error)?;
        watch.more(count as u64);
    }
    if total.is_some_and(|total| have < total) {
        return Ok(Attempt::Again(Cut::Failed("the connection ended early".into())));
    }
    file.sync_all().map_err(io_error)?;
    Ok(Attempt::Done)
}

/// Copies a file out of a folder; `false` where it is not there.
pub(crate) fn copy(
    from: &Path,
    partial: &Path,
    most: u64,
    watch: &mut dyn Watch,
) -> Result<bool, FetchError> {
    let io_error = |path: &Path, error| FetchError::Io { path: path.to_owned(), error };
    let mut source = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(from, error)),
    };
    let total = source.metadata().map_err(|error| io_error(from, error))?.len();
    if total > most {
        return Err(FetchError::TooLarge { url: from.display().to_string(), found: total, most });
    }
    remove(partial)?;
    watch.begin(0, Some(total));
    let mut file = File::create(partial).map_err(|error| io_error(partial, error))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = source.read(&mut buffer).map_err(|error| io_error(from, error))?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(|error| io_error(partial, error))?;
        watch.more(count as u64);
    }
    file.sync_all().map_err(|error| io_error(partial, error))?;
    Ok(true)
}

/// Removes a partial file and its tag.
pub(crate) fn remove(partial: &Path) -> Result<(), FetchError> {
    for path in [partial.to_owned(), tag_path(partial)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FetchError::Io { path, error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the tag of a file that is complete.
pub(crate) fn forget_tag(partial: &Path) {
    // A tag without its file is ignored, so nothing is lost if this fails.
    let _ = fs::remove_file(tag_path(partial));
}

fn failed(url: &str, error: &ureq::Error) -> Result<Attempt, FetchError> {
    let unreachable = match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
            true
        }
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable
        ),
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::TooManyRedirects => true,
        _ => false,
    };
    if unreachable {
        return Err(FetchError::Unreachable { url: url.to_owned(), reason: error.to_string() });
    }
    Ok(Attempt::Again(Cut::Failed(error.to_string())))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn tag_path(partial: &Path) -> PathBuf {
    let mut name = partial.as_os_str().to_owned();
    name.push(".tag");
    name.into()
}

/// Keeps what tells this version of the file from another: a strong entity tag, or else its date (RFC 9110, 13.1.5).
fn keep_tag(partial: &Path, headers: &HeaderMap) -> Result<(), FetchError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(header::LAST_MODIFIED));
    let path = tag_path(partial);
    fs::write(&path, tag.unwrap_or_default()).map_err(|error| FetchError::Io { path, error })
}

fn announced(response: &Response<Body>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The start and, where it is told, the whole of `Content-Range: bytes 5-9/10`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = value.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_addresses_or_folders() {
        assert_eq!(Mirror::parse("https://m.test/a/"), Ok(Mirror::Http("https://m.test/a".into())));
        assert_eq!(Mirror::parse("/srv/models"), Ok(Mirror::Folder("/srv/models".into())));
        assert_eq!(Mirror::parse("file:///srv"), Ok(Mirror::Folder("/srv".into())));
        assert!(Mirror::parse("ftp://m.test").is_err());
        assert!(Mirror::parse(" ").is_err());
    }
}
