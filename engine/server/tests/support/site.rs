//! A web server of a few files, for pages that are not the product's own.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::HOST;

/// Serves a folder under `/lib/` and one page at `/`, until the test's process ends.
pub(crate) fn serve(page: &'static str, folder: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser that goes away in the middle is nobody's concern.
            let _ = answer(&stream, page, &folder);
        }
    });
    address
}

fn answer(mut stream: &TcpStream, page: &str, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head says nothing of interest, but is read so that the connection ends well.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).and_then(|path| path.split('?').next()).unwrap_or_default();
    let found = match path.strip_prefix("/lib/") {
        Some(name) => file(folder, name).map(|bytes| ("text/javascript", bytes)),
        None if path == "/" => Some(("text/html", page.as_bytes().to_vec())),
        None => None,
    };
    let (status, kind, body) = match found {
        Some((kind, body)) => ("200 OK", kind, body),
        None => ("404 Not Found", "text/plain", Vec::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

fn file(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| std::fs::read(folder.join(name)).ok()).flatten()
}
