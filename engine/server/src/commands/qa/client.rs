//! A client of a server's inspection API.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use ureq::{Agent, SendBody};

/// For an answer to begin.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer that is kept in memory.
const LARGEST: u64 = 256 << 20;
/// Between the parts of a form: no recording holds it.
const BOUNDARY: &str = "antiphon-f0b1c6a94d3e";

/// Which server, and as whom.
#[derive(clap::Args)]
pub(super) struct Server {
    /// The server's HTTP address
    #[arg(long, env = "ANTIPHON_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// The token of the server; set it in the environment, where no other user sees it
    #[arg(long, env = "ANTIPHON_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Server {
    fn agent() -> Agent {
        Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .max_redirects(0)
            .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.trim_end_matches('/'))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: SendBody<'_>,
    ) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = Self::agent().run(request.body(body)?);
        let mut response = response.map_err(|error| anyhow!("{}: {error}", self.server))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let mut text = String::new();
        response.body_mut().as_reader().take(64 << 10).read_to_string(&mut text).ok();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let error = &problem["error"];
        match (error["message"].as_str(), error["advice"].as_str()) {
            (Some(message), Some(advice)) => bail!("{}: {message} {advice}", self.server),
            _ => bail!("{} answered {status}", self.server),
        }
    }

    fn json(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
        let reader = response.body_mut().as_reader().take(LARGEST);
        serde_json::from_reader(reader).context("the answer is no JSON: is this an antiphon server?")
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        Self::json(self.send("GET", path, &[], SendBody::none())?)
    }

    /// The octets of an answer.
    pub(super) fn fetch(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut response = self.send("GET", path, &[], SendBody::none())?;
        let mut octets = Vec::new();
        response.body_mut().as_reader().take(LARGEST).read_to_end(&mut octets)?;
        Ok(octets)
    }

    pub(super) fn post(&self, path: &str, key: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let octets = serde_json::to_vec(body)?;
        let mut reader = Cursor::new(&octets);
        let length = octets.len().to_string();
        let mut headers = vec![("content-type", "application/json"), ("content-length", length.as_str())];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        Self::json(self.send("POST", path, &headers, SendBody::from_reader(&mut reader))?)
    }

    /// Sends a job with its recordings, which are read as they are sent. `sent` is told how many octets have gone.
    pub(super) fn upload(
        &self,
        key: Option<&str>,
        job: &Value,
        files: &[PathBuf],
        sent: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<Value> {
        let head = |name: &str, file: Option<&str>| {
            let file = file.map(|file| format!("; filename=\"{}\"", file.replace(['"', '\r', '\n'], "_")));
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{}\r\n\r\n",
                file.unwrap_or_default()
            )
        };
        let mut body: Box<dyn Read> = Box::new(Cursor::new(format!("{}{job}\r\n", head("job", None))));
        let mut total = head("job", None).len() as u64 + job.to_string().len() as u64 + 2;
        for path in files {
            let name = file_name(path);
            let head = head("file", Some(&name));
            let length = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
            total += head.len() as u64 + length + 2;
            let later = Later { path: path.clone(), file: None };
            // Exactly as much as was announced, should the file grow meanwhile.
            body =
                Box::new(body.chain(Cursor::new(head)).chain(later.take(length)).chain(Cursor::new("\r\n")));
        }
        let tail = format!("--{BOUNDARY}--\r\n");
        total += tail.len() as u64;
        let mut body = Told { inner: body.chain(Cursor::new(tail)), count: 0, total, tell: sent };
        let (kind, length) = (format!("multipart/form-data; boundary={BOUNDARY}"), total.to_string());
        let mut headers = vec![("content-type", kind.as_str()), ("content-length", length.as_str())];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        Self::json(self.send("POST", "/v1/qa/jobs", &headers, SendBody::from_reader(&mut body))?)
    }

    /// Reads an answer line by line as it comes, each a JSON value.
    pub(super) fn lines(
        &self,
        path: &str,
        mut line: impl FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut response = self.send("GET", path, &[], SendBody::none())?;
        for text in BufReader::new(response.body_mut().as_reader()).lines() {
            let text = text.context("the server broke off")?;
            line(serde_json::from_str(&text).context("the answer is no JSON")?)?;
        }
        Ok(())
    }
}

/// What a file is called without its folder.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A file that is opened when its turn comes: thousands at once would be too many.
struct Later {
    path: PathBuf,
    file: Option<std::fs::File>,
}

impl Read for Later {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.file.is_none() {
            self.file = Some(std::fs::File::open(&self.path)?);
        }
        self.file.as_mut().map_or(Ok(0), |file| file.read(buffer))
    }
}

/// Tells how much was read.
struct Told<'a, R> {
    inner: R,
    count: u64,
    total: u64,
    tell: &'a mut dyn FnMut(u64, u64),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        (self.tell)(self.count, self.total);
        Ok(read)
    }
}
