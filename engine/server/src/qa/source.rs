//! Where the recordings of a job come from.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_engine_store::JudgedCall;
use axum::http::Uri;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde::{Deserialize, Serialize};

use crate::config::{QaSection, S3Section, Secret};

/// Where a recording, or what was heard of it, comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Source {
    /// A file on this machine.
    Path(PathBuf),
    /// A file that came with the job; its name in the job's folder.
    Upload(String),
    /// HTTP or HTTPS.
    Url(String),
    /// An object, `s3://BUCKET/KEY`.
    S3(String),
    /// One of our own recordings, by its call's identifier.
    Recording(String),
    /// Two files, one of each side.
    Sides {
        /// The customer's.
        customer: Box<Source>,
        /// The agent's.
        agent: Box<Source>,
    },
    /// What an earlier job has heard.
    Result {
        /// The job.
        job: String,
        /// The file's number in it.
        n: i64,
    },
}

impl Source {
    /// Names the call of it wherever that is judged; [`JudgedCall::OWN`] where only its file does.
    pub(crate) fn call(&self) -> String {
        let plain = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Url(url) | Self::S3(url) => plain(url),
            Self::Recording(call) => call.clone(),
            Self::Result { job, n } => format!("{job}/{n}"),
            Self::Upload(_) => JudgedCall::OWN.to_owned(),
            Self::Sides { customer, agent } => match (customer.call(), agent.call()) {
                (customer, agent) if customer == JudgedCall::OWN || agent == JudgedCall::OWN => {
                    JudgedCall::OWN.to_owned()
                }
                (customer, agent) => format!("{customer} + {agent}"),
            },
        }
    }
}

/// Why a source gives nothing. `code` is stable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The configuration does not let it be read.
    #[error("{0}")]
    Forbidden(String),
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// It cannot be fetched.
    #[error("{0}")]
    Fetch(String),
    /// It is larger than the limit.
    #[error("it is larger than {0} MiB (qa.largest_mib)")]
    TooLarge(u64),
}

impl SourceError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "source.forbidden",
            Self::Missing(_) => "source.missing",
            Self::Fetch(_) => "source.fetch",
            Self::TooLarge(_) => "source.too_large",
        }
    }

    /// Whether it may go well another time.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Fetch(_))
    }
}

/// A file within one of the folders that jobs may read from, with every link in its path followed.
///
/// # Errors
/// [`SourceError::Forbidden`] or [`SourceError::Missing`].
pub(crate) fn allowed(path: &Path, config: &QaSection) -> Result<PathBuf, SourceError> {
    let refuse =
        || SourceError::Forbidden(format!("{} is in none of the folders of qa.paths", path.display()));
    // Whether a file outside exists is nobody's business, so that is not told apart.
    let real = path.canonicalize();
    let folders = config.paths.iter().filter_map(|folder| folder.canonicalize().ok());
    let folders: Vec<PathBuf> = folders.collect();
    let looks_inside = config.paths.iter().any(|folder| path.starts_with(folder));
    match real {
        Ok(real) if folders.iter().any(|folder| real.starts_with(folder)) => Ok(real),
        Err(error) if looks_inside => Err(SourceError::Missing(format!("{}: {error}", path.display()))),
        _ => Err(refuse()),
    }
}

/// Whether an address may be asked: its host is one of `hosts`, given as `HOST` or `HOST:PORT`.
///
/// # Errors
/// [`SourceError::Forbidden`], which does not tell what may be secret in the address.
pub(crate) fn allowed_url(url: &str, hosts: &[String], key: &str) -> Result<(), SourceError> {
    let refuse = |what: &str| Err(SourceError::Forbidden(what.to_owned()));
    let Ok(uri) = url.parse::<Uri>() else { return refuse("it is no address") };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse("it is no address; write http:// or https://");
    };
    if !["http", "https"].contains(&scheme) {
        return refuse("only http:// and https:// are asked");
    }
    if authority.as_str().contains('@') {
        return refuse("an address must not hold a name or password");
    }
    let (host, port) = (authority.host(), authority.port_u16());
    let known = hosts.iter().any(|known| {
        let known: Option<axum::http::uri::Authority> = known.parse().ok();
        known.is_some_and(|known| {
            known.host().eq_ignore_ascii_case(host)
                && (known.port_u16().is_none() || known.port_u16() == port)
        })
    });
    if !known {
        return refuse(&format!("its host {host} is not named in {key}"));
    }
    Ok(())
}

/// How long the address of an object can be used: for its fetching to begin.
const SIGNED: Duration = Duration::from_secs(900);

/// The address of an object, `s3://BUCKET/KEY`, signed so that it can be fetched (AWS Signature Version 4).
///
/// # Errors
/// [`SourceError::Forbidden`].
pub(crate) fn object_url(name: &str, config: &QaSection) -> Result<String, SourceError> {
    let refuse = |what: String| SourceError::Forbidden(what);
    let (bucket, key) = name
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| refuse("it is no object's name; write s3://BUCKET/KEY".to_owned()))?;
    let Some(S3Section { endpoint, region, buckets, path_style, access_key, secret_key, .. }) = &config.s3
    else {
        return Err(refuse("there is no [qa.s3] in the configuration".to_owned()));
    };
    if !buckets.iter().any(|known| known == bucket) {
        return Err(refuse(format!("the bucket {bucket} is not named in qa.s3.buckets")));
    }
    let style = if *path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
    let endpoint = endpoint.parse().map_err(|_| refuse("qa.s3.endpoint is no address".to_owned()))?;
    let bucket = Bucket::new(endpoint, style, bucket.to_owned(), region.clone())
        .map_err(|error| refuse(format!("qa.s3: {error}")))?;
    let secret = secret_key.as_ref().map(Secret::expose).unwrap_or_default();
    let credentials = Credentials::new(access_key.as_str(), secret);
    Ok(bucket.get_object(Some(&credentials), key).sign(SIGNED).to_string())
}

/// Fetches a file, at most `largest` octets. Redirects are not followed: they could lead anywhere.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn fetch(url: &str, to: &Path, largest_mib: u64, timeout: Duration) -> Result<(), SourceError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_recv_body(Some(timeout * 360))
        .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let failed = |what: String| SourceError::Fetch(what);
    let mut response = agent.get(url).call().map_err(|error| failed(crate::http_action::reason(&error)))?;
    match response.status().as_u16() {
        200 => {}
        status @ (404 | 410) => return Err(SourceError::Missing(format!("the answer was {status}"))),
        status @ 300..=399 => {
            return Err(SourceError::Forbidden(format!(
                "the answer was {status}, and redirections are not followed: give the address it leads to"
            )));
        }
        status @ (401 | 403) => return Err(SourceError::Forbidden(format!("the answer was {status}"))),
        status => return Err(failed(format!("the answer was {status}"))),
    }
    let mut file = std::fs::File::create(to).map_err(|error| failed(format!("cannot keep it: {error}")))?;
    let largest = largest_mib << 20;
    let mut body = response.body_mut().as_reader().take(largest + 1);
    let length = std::io::copy(&mut body, &mut file)
        .and_then(|length| file.flush().map(|()| length))
        .map_err(|error| failed(format!("it broke off: {error}")))?;
    if length > largest {
        return Err(SourceError::TooLarge(largest_mib));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_within_the_folders_are_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let inside = dir.path().join("recordings");
        std::fs::create_dir(&inside).expect("made");
        std::fs::write(inside.join("one.wav"), "x").expect("written");
        std::fs::write(dir.path().join("secret.wav"), "x").expect("written");
        std::os::unix::fs::symlink(dir.path().join("secret.wav"), inside.join("link.wav")).expect("linked");
        let config = QaSection { paths: vec![inside.clone()], ..QaSection::default() };
        assert!(allowed(&inside.join("one.wav"), &config).is_ok());
        for outside in ["secret.wav", "recordings/link.wav", "recordings/../secret.wav", "none.wav"] {
            let error = allowed(&dir.path().join(outside), &config).expect_err(outside);
            assert_eq!(error.code(), "source.forbidden", "{outside}");
        }
        let missing = allowed(&inside.join("none.wav"), &config).expect_err("not there");
        assert_eq!(missing.code(), "source.missing");
        assert!(allowed(&inside.join("one.wav"), &QaSection::default()).is_err(), "nothing without qa.paths");
    }

    #[test]
    fn objects_are_signed_for_and_only_those_of_named_buckets() {
        let s3 = S3Section {
            endpoint: "https://s3.example".into(),
            region: "eu-west-1".into(),
            buckets: vec!["calls".into()],
            path_style: true,
            access_key: "reader".into(),
            secret_key: Some(Secret::new("hunter2".into())),
            secret_key_env: None,
            secret_key_file: None,
        };
        let config = QaSection { s3: Some(s3), ..QaSection::default() };
        let url = object_url("s3://calls/2026/a b.wav", &config).expect("signed");
        assert!(
            url.starts_with("https://s3.example/calls/2026/a%20b.wav?") && !url.contains("hunter2"),
            "{url}"
        );
        assert!(url.contains("X-Amz-Signature=") && url.contains("X-Amz-Expires=900"), "{url}");
        for name in ["s3://other/x.wav", "s3://calls", "s3://calls/", "calls/x.wav", "s3:///x"] {
            assert_eq!(object_url(name, &config).expect_err(name).code(), "source.forbidden");
        }
        assert!(object_url("s3://calls/x.wav", &QaSection::default()).is_err());
    }

    #[test]
    fn only_hosts_that_are_named_are_asked() {
        let hosts = ["files.example".to_owned(), "127.0.0.1:9000".to_owned()];
        let ask = |url| allowed_url(url, &hosts, "qa.hosts");
        for url in
            ["https://files.example/a.wav", "http://FILES.example:8080/a.wav", "http://127.0.0.1:9000/x"]
        {
            assert!(ask(url).is_ok(), "{url}");
        }
        for url in [
            "https://files.example.evil/a.wav",
            "http://127.0.0.1:9001/x",
            "http://127.0.0.1/x",
            "https://user:pass@files.example/a.wav",
            "https://evil@files.example/a.wav",
            "file:///etc/passwd",
            "files.example/a.wav",
            "",
        ] {
            let error = ask(url).expect_err(url);
            assert!(!error.to_string().contains("pass@"), "{error}");
        }
    }
}
