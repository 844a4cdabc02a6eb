//! An utterance over a WebSocket.

use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_speech::append;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::shape::{Meaning, Message, authorization, ending, opening, read, sound, url};
use super::{Asked, News, Said, Teller, figures};
use crate::settings::RemoteShape;

/// The largest answer.
const ANSWER: usize = 4 << 20;
/// How long until a broken connection is opened again; doubled each time.
const PAUSE: Duration = Duration::from_millis(100);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why an attempt ended without words.
enum Broken {
    /// Another one may do better.
    Again(String),
    /// No answer came in time.
    Late(String),
    /// The service will not, whoever asks again.
    Refused(String),
}

/// Sends an utterance as it comes and tells what is answered.
pub(super) async fn utterance(asked: &Asked, mut pieces: mpsc::Receiver<Vec<i16>>, tell: &Teller) {
    figures::requested();
    let (mut kept, mut whole) = (Vec::new(), false);
    let mut pause = PAUSE;
    let mut attempt = 0;
    let broken = loop {
        let outcome = hear(asked, &mut pieces, &mut kept, &mut whole, tell).await;
        let broken = match outcome {
            Ok(said) => {
                return tell.last(News::Final(said)).await;
            }
            Err(broken) => broken,
        };
        attempt += 1;
        if matches!(broken, Broken::Again(_)) && attempt <= asked.settings.retries {
            figures::tried_again();
            tokio::time::sleep(pause).await;
            pause *= 2;
            continue;
        }
        break broken;
    };
    let (message, late) = match broken {
        Broken::Again(message) | Broken::Refused(message) => (message, false),
        Broken::Late(message) => (message, true),
    };
    figures::gave_up(late);
    tell.last(News::Failed(message)).await;
}

async fn hear(
    asked: &Asked,
    pieces: &mut mpsc::Receiver<Vec<i16>>,
    kept: &mut Vec<Vec<i16>>,
    whole: &mut bool,
    tell: &Teller,
) -> Result<Said, Broken> {
    let mut socket = connect(asked).await?;
    for message in opening(asked) {
        send(&mut socket, message).await?;
    }
    let mut account = Account { asked, said: Said::default(), pieces: String::new(), tell };
    for piece in kept.iter() {
        account.sent(&mut socket, piece).await?;
    }
    while !*whole {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some(piece) => {
                    kept.push(piece);
                    let last = kept.len() - 1;
                    account.sent(&mut socket, &kept[last]).await?;
                }
                None => *whole = true,
            },
            answer = socket.next() => {
                // What ends before its sound does has broken.
                if account.take(answer, false)? {
                    return Err(Broken::Again("the service closed in the middle".to_owned()));
                }
            }
        }
    }
    send(&mut socket, ending(asked)).await?;
    let answers = async {
        while !account.take(socket.next().await, true)? {}
        Ok(())
    };
    let limit = Duration::from(asked.settings.answer());
    match timeout(limit, answers).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(Broken::Late(format!("no answer within {} s", limit.as_secs_f64()))),
    }
    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
    Ok(account.said)
}

/// What has been answered so far.
struct Account<'a> {
    asked: &'a Asked,
    said: Said,
    /// Interim words of services that send them in pieces.
    pieces: String,
    tell: &'a Teller,
}

impl Account<'_> {
    async fn sent(&mut self, socket: &mut Socket, piece: &[i16]) -> Result<(), Broken> {
        figures::sent(self.asked.rate.span(piece.len()));
        send(socket, sound(self.asked, piece)).await
    }

    /// Takes an answer in; returns whether it was the last.
    fn take(
        &mut self,
        answer: Option<Result<tungstenite::Message, tungstenite::Error>>,
        ended: bool,
    ) -> Result<bool, Broken> {
        let text = match answer {
            Some(Ok(tungstenite::Message::Text(text))) => text,
            Some(Ok(tungstenite::Message::Close(frame))) => {
                let reason = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                return match reason {
                    Some((code, reason)) if code != 1000 => {
                        let message = format!("the service closed with {code} {reason}");
                        // 1008 is about what was asked, which will not change.
                        Err(if code == 1008 { Broken::Refused(message) } else { Broken::Again(message) })
                    }
                    _ if ended => Ok(true),
                    _ => Err(Broken::Again("the service closed in the middle".to_owned())),
                };
            }
            Some(Ok(_)) => return Ok(false),
            Some(Err(error)) => return Err(Broken::Again(error.to_string())),
            None if ended => return Ok(true),
            None => return Err(Broken::Again("the connection ended".to_owned())),
        };
        let pieces = matches!(self.asked.settings.shape, RemoteShape::Funasr | RemoteShape::Realtime);
        match read(self.asked, text.as_str(), ended) {
            Meaning::Nothing => {}
            Meaning::Partial(text) => {
                let text = if pieces {
                    self.pieces.push_str(&text);
                    self.pieces.clone()
                } else {
                    text
                };
                let mut whole = self.said.text.clone();
                append(&mut whole, &text);
                self.tell.partial(whole);
            }
            Meaning::Part(said) => {
                self.pieces.clear();
                append(&mut self.said.text, &said.text);
                self.said.words.extend(said.words);
                self.said.confidence = said.confidence;
                let last = matches!(self.asked.settings.shape, RemoteShape::Vosk | RemoteShape::Realtime);
                return Ok(ended && last);
            }
            Meaning::Done => return Ok(ended),
            Meaning::Refused(message) => return Err(Broken::Refused(message)),
        }
        Ok(false)
    }
}

async fn connect(asked: &Asked) -> Result<Socket, Broken> {
    let url = url(asked);
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| Broken::Refused(format!("remote.url cannot be connected to: {error}")))?;
    if let Some(value) = authorization(asked) {
        let value = value
            .parse()
            .map_err(|_| Broken::Refused("remote.key holds what no header may hold".to_owned()))?;
        request.headers_mut().insert("authorization", value);
    }
    let config = WebSocketConfig::default().max_message_size(Some(ANSWER)).max_frame_size(Some(ANSWER));
    let limit = Duration::from(asked.settings.connect());
    match timeout(limit, connect_async_with_config(request, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) if response.status().is_client_error() => {
            let status = response.status();
            let message = format!("the service refuses the connection: {status}");
            // 429: too many just now.
            Err(if status.as_u16() == 429 { Broken::Again(message) } else { Broken::Refused(message) })
        }
        Ok(Err(error)) => Err(Broken::Again(error.to_string())),
        Err(_) => Err(Broken::Again(format!("no connection within {}", Span::from(limit)))),
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Broken> {
    let message = match message {
        Message::Text(text) => tungstenite::Message::Text(text.into()),
        Message::Binary(octets) => tungstenite::Message::Binary(octets.into()),
    };
    match timeout(Duration::from_secs(10), socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Broken::Again(error.to_string())),
        Err(_) => Err(Broken::Again("the service takes no sound".to_owned())),
    }
}
