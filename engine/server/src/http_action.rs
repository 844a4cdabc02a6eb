//! Performs a flow's request to a web service.

use std::io::Read;

use antiphon_engine_call::{HttpOutcome, HttpRequest};
use tokio::sync::Semaphore;

/// A larger answer is refused: a flow reads a few fields.
const LARGEST: u64 = 1 << 20;

/// Requests of all calls at once: a bank computer that hangs must not take every thread that prompts are prepared on.
static AT_ONCE: Semaphore = Semaphore::const_new(128);

/// Performs `request` on a thread for it, within its time-out.
pub(crate) async fn perform(request: HttpRequest) -> HttpOutcome {
    let timeout = request.timeout;
    let Ok(Ok(_place)) = tokio::time::timeout(timeout, AT_ONCE.acquire()).await else {
        return HttpOutcome::TimedOut;
    };
    let work = tokio::task::spawn_blocking(move || perform_blocking(&request));
    work.await.unwrap_or_else(|_| HttpOutcome::Failed { reason: "the request broke off".into() })
}

/// Performs `request` within its time-out. Redirects are not followed: a flow's secrets go where the flow says.
pub(crate) fn perform_blocking(request: &HttpRequest) -> HttpOutcome {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(request.timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    match exchange(&agent, request) {
        Ok(reply) => reply,
        Err(ureq::Error::Timeout(_)) => HttpOutcome::TimedOut,
        Err(ureq::Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => HttpOutcome::TimedOut,
        Err(error) => HttpOutcome::Failed { reason: reason(&error) },
    }
}

fn exchange(agent: &ureq::Agent, request: &HttpRequest) -> Result<HttpOutcome, ureq::Error> {
    let mut builder =
        ureq::http::Request::builder().method(request.method.as_str()).uri(request.url.as_str());
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let body = match &request.body {
        Some(json) => {
            if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                builder = builder.header("content-type", "application/json");
            }
            serde_json::to_vec(json).map_err(|e| ureq::Error::Other(e.into()))?
        }
        None => Vec::new(),
    };
    let mut response = agent.run(builder.body(body)?)?;
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    response.body_mut().as_reader().take(LARGEST + 1).read_to_end(&mut bytes).map_err(ureq::Error::from)?;
    if bytes.len() as u64 > LARGEST {
        return Ok(HttpOutcome::Failed { reason: "the answer is larger than 1 MiB".into() });
    }
    let body = serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null);
    Ok(HttpOutcome::Reply { status, body })
}

/// What went wrong, without the address (it may carry a number or a token).
pub(crate) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "the host was not found".into(),
        ureq::Error::ConnectionFailed => "no connection".into(),
        ureq::Error::Io(error) => format!("no connection: {}", error.kind()),
        ureq::Error::BadUri(_) => "the address is not valid".into(),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "TLS failed".into(),
        _ => "no valid answer".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn serve(answer: &'static [u8], delay: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            std::thread::sleep(delay);
            let _ = stream.write_all(answer);
        });
        format!("http://{address}/balance")
    }

    fn get(url: String) -> HttpRequest {
        HttpRequest {
            method: "GET".into(),
            url,
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_millis(500),
        }
    }

    #[test]
    fn a_json_answer_is_read() {
        let url = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"amount\":42}", Duration::ZERO);
        let expected = HttpOutcome::Reply { status: 200, body: serde_json::json!({"amount": 42}) };
        assert_eq!(perform_blocking(&get(url)), expected);
    }

    #[test]
    fn a_status_is_an_answer() {
        let url = serve(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope", Duration::ZERO);
        assert_eq!(
            perform_blocking(&get(url)),
            HttpOutcome::Reply { status: 404, body: serde_json::Value::Null }
        );
    }

    #[test]
    fn a_slow_service_times_out() {
        assert_eq!(perform_blocking(&get(serve(b"", Duration::from_secs(2)))), HttpOutcome::TimedOut);
    }

    #[test]
    fn nobody_listening_is_a_failure_without_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("http://{}/?token=hunter2", listener.local_addr().expect("bound"));
        drop(listener);
        let HttpOutcome::Failed { reason } = perform_blocking(&get(url)) else { panic!("nobody listens") };
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}
