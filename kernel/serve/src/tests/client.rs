//! A client that writes and reads HTTP itself, so that a test says what goes over the wire.

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long a test waits for something to read.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub address: SocketAddr,
    pub key: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub status: u16,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Response {
        self.exchange(format!("GET {path} HTTP/1.1\r\n{}\r\n", self.headers()).as_bytes())
    }

    /// Asks for a chat completion.
    pub(crate) fn ask(&self, request: &Value) -> Response {
        self.ask_text(&request.to_string())
    }

    pub(crate) fn ask_text(&self, body: &str) -> Response {
        self.exchange(self.request(body).as_bytes())
    }

    /// The text of the only choice.
    pub(crate) fn answer(&self, request: &Value) -> String {
        let response = self.ask(request);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["choices"][0]["message"]["content"].as_str().unwrap().to_string()
    }

    /// Sends a request for a chat completion and does not wait for what comes.
    pub(crate) fn begin(&self, request: &Value) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(self.request(&request.to_string()).as_bytes()).unwrap();
        stream
    }

    pub(crate) fn request(&self, body: &str) -> String {
        let (headers, length) = (self.headers(), body.len());
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    fn headers(&self) -> String {
        let key = self.key.iter().map(|key| format!("Authorization: Bearer {key}\r\n")).collect::<String>();
        format!("Host: {}\r\nConnection: close\r\n{key}", self.address)
    }

    /// Sends bytes and reads until the server closes the connection.
    pub(crate) fn exchange(&self, sent: &[u8]) -> Response {
        let mut stream = self.connect();
        // The server may refuse before it has read all.
        drop(stream.write_all(sent));
        Response::read(stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Response {
    /// All until the server closes the connection.
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut read = Vec::new();
        let ended = stream.read_to_end(&mut read);
        Self::parse(&read).unwrap_or_else(|| panic!("{ended:?} after {:?}", String::from_utf8_lossy(&read)))
    }

    /// None if it is not whole.
    pub(crate) fn parse(read: &[u8]) -> Option<Self> {
        let end = read.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&read[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.to_string())).collect();
        let body = &read[end + 4..];
        let body = match (headers.get("content-length"), headers.get("transfer-encoding")) {
            (Some(length), _) => body.get(..length.parse().ok()?)?.to_vec(),
            (None, Some(_)) => joined(body)?,
            (None, None) => body.to_vec(),
        };
        Some(Self { status, headers, body })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text()))
    }

    /// Status, code and the field at fault of an error.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let error = self.json()["error"].clone();
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 5), "{error}");
        assert!(error["type"].is_string(), "{error}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        (self.status, text(&error["code"]), text(&error["param"]))
    }

    /// The data of a stream's events, without `[DONE]`, which must be the last one.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut events = self.data();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{}", self.text());
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// The data of a stream's events.
    pub(crate) fn data(&self) -> Vec<String> {
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let text = self.text();
        assert!(text.ends_with("\n\n"), "{text:?}");
        text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(String::from).collect()
    }
}

/// The text of one choice of a stream.
pub(crate) fn streamed(events: &[Value], choice: usize) -> String {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let deltas = choices.filter(|it| it["index"] == choice).filter_map(|it| it["delta"]["content"].as_str());
    deltas.collect()
}

/// A body that came in chunks; None if the last one is missing.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        chunks = &chunks[end + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(..length)?);
        chunks = chunks.get(length + 2..)?;
    }
}
