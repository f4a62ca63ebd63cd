//! Jupyter messages over ZeroMQ. Nothing outside this file knows how they are framed, signed or sent.
//!
//! Contents are JSON values on their way in and out, not the typed ones of `jupyter_protocol`: those refuse a whole
//! message, its return address included, for one missing field, and write `null` where the specification wants an
//! object. Here a message whose header names its kind can always be answered. The parent of what is sent is the header as
//! it came, byte for byte, since clients compare them and may have fields of their own in it.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use jupyter_protocol::Header;
use jupyter_protocol::JupyterMessage;
use jupyter_protocol::UnknownMessage;
use jupyter_protocol::connection_info::Transport;
use jupyter_zmq_client::Connection;
use jupyter_zmq_client::ConnectionInfo;
use jupyter_zmq_client::RawMessage;
use jupyter_zmq_client::SubscriptionEvent;
use jupyter_zmq_client::create_client_control_connection;
use jupyter_zmq_client::create_client_iopub_connection;
use jupyter_zmq_client::create_client_shell_connection_with_identity;
use jupyter_zmq_client::create_client_stdin_connection_with_identity;
use jupyter_zmq_client::peer_identity_for_session;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tempfile::TempPath;
use tunebook_data::json_text;
use tunebook_quote::quote;
use uuid::Uuid;
use zeromq::RepSocket;
use zeromq::RouterSocket;
use zeromq::Socket;
use zeromq::SocketRecv;
use zeromq::SocketSend;
use zeromq::XPubSocket;
use zeromq::ZmqMessage;

use crate::error::Error;
use crate::error::Result;
use crate::port::Port;
use crate::request;

/// The version of the messaging protocol that is spoken.
pub(crate) const PROTOCOL_VERSION: &str = "5.4";
const USERNAME: &str = "tunebook";
/// Between the addresses of a message and its signature.
const DELIMITER: &[u8] = b"<IDS|MSG>";
/// How many signatures are remembered, as many as `jupyter_client` does.
const REMEMBERED: usize = 1 << 16;

/// Where a kernel's sockets are and how its messages are signed.
#[derive(Clone, Debug)]
pub(crate) struct Address(ConnectionInfo);

impl Address {
    /// Reads a connection file.
    ///
    /// # Errors
    /// It cannot be read, is no connection file, or asks for another signature than hmac-sha256.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let info: ConnectionInfo = serde_json::from_slice(&text)
            .map_err(|source| Error::ConnectionFile { path: path.to_path_buf(), source })?;
        if !matches!(info.signature_scheme.as_str(), "" | "hmac-sha256") {
            return Err(Error::SignatureScheme { path: path.to_path_buf(), scheme: quote(&info.signature_scheme) });
        }
        Ok(Self(info))
    }

    /// The name of the kernel in Jupyter.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.kernel_name.as_deref()
    }

    /// Whether somebody listens there: the file of a kernel that was killed stays.
    pub(crate) fn is_listening(&self) -> bool {
        match self.0.transport {
            Transport::TCP => std::net::TcpStream::connect((self.0.ip.as_str(), self.0.shell_port)).is_ok(),
            Transport::IPC => self.place(self.0.shell_port).exists(),
        }
    }

    /// The file of a socket, where sockets have files.
    fn place(&self, port: u16) -> PathBuf {
        format!("{}-{port}", self.0.ip).into()
    }

    /// A socket at one of the ports. What comes there is looked through first, and the socket itself is in `folder`.
    async fn listen<S: Socket>(&self, channel: &'static str, port: u16, folder: &Path) -> Result<S> {
        let mut socket = S::new();
        let outside = match self.0.transport {
            Transport::TCP => Port::Tcp(&self.0.ip, port),
            Transport::IPC => Port::Ipc(self.place(port)),
        };
        let bound = match crate::port::open(outside, folder, &port.to_string()).await {
            Ok(listener) => socket.bind_listener(listener).await,
            Err(error) => Err(error.into()),
        };
        bound.map_err(|error| Error::Bind { channel, problem: error.to_string() })?;
        Ok(socket)
    }
}

/// Where a message came from; whatever is sent on its account carries it as parent.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<Parent>);

#[derive(Debug)]
struct Parent {
    /// Its addresses, and its header alone.
    raw: RawMessage,
    session: String,
    message_id: String,
}

impl Origin {
    /// The client's session; empty if it says none.
    pub(crate) fn session(&self) -> &str {
        &self.0.session
    }

    pub(crate) fn message_id(&self) -> &str {
        &self.0.message_id
    }
}

/// A message as it came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub origin: Origin,
    /// As in `execute_request`.
    pub kind: String,
    /// Null where it cannot be read.
    pub content: Value,
    /// Why it cannot be read.
    fault: Option<String>,
    /// The id of the message that this one is on account of, and the session that it came from; empty if there is none.
    pub parent_id: String,
    pub parent_session: String,
}

impl Incoming {
    /// Its content as a request.
    ///
    /// # Errors
    /// As [`Incoming::check`], or a field is of another type than it should be.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self) -> std::result::Result<T, String> {
        self.check()?;
        request::read(&self.content)
    }

    /// Whether its content can be read.
    ///
    /// # Errors
    /// It is no JSON; the message says where.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        self.fault.clone().map_or(Ok(()), |fault| Err(format!("the request cannot be read: {fault}")))
    }
}

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub origin: Option<Origin>,
    /// As in `execute_reply`.
    pub kind: &'static str,
    /// An object.
    pub content: Value,
    /// The same.
    pub metadata: Value,
}

impl Outgoing {
    pub(crate) fn new(origin: Option<Origin>, kind: &'static str, content: Value) -> Self {
        Self { origin, kind, content, metadata: json!({}) }
    }

    /// Its frames behind the addresses: signature, header, parent, metadata, content.
    fn signed(&self, session: &str, key: Option<&hmac::Key>) -> [Vec<u8>; 5] {
        let header = Header {
            username: USERNAME.to_string(),
            session: session.to_string(),
            msg_type: self.kind.to_string(),
            version: PROTOCOL_VERSION.to_string(),
            // With an id of its own, and the time.
            ..JupyterMessage::new(UnknownMessage::default(), None).header
        };
        let json = |value| serde_json::to_vec(value).unwrap_or_default();
        let parent = self.origin.as_ref().and_then(|origin| origin.0.raw.jparts.first());
        let parent = parent.map_or_else(|| b"{}".to_vec(), |header| header.to_vec());
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let parts = [header, parent, json(&self.metadata), json(&self.content)];
        let signature = key.map(|key| hmac::sign(key, &parts.concat()));
        let signature = signature.iter().flat_map(AsRef::as_ref).map(|byte| format!("{byte:02x}")).collect::<String>();
        let [header, parent, metadata, content] = parts;
        [signature.into_bytes(), header, parent, metadata, content]
    }
}

/// Signatures that have come, on any socket: a message that comes again was recorded by somebody and is not meant.
/// The oldest are forgotten.
#[derive(Default)]
struct Signatures {
    known: HashSet<Arc<[u8]>>,
    order: VecDeque<Arc<[u8]>>,
}

impl Signatures {
    /// Whether it comes for the first time.
    fn is_new(&mut self, signature: Arc<[u8]>) -> bool {
        if !self.known.insert(Arc::clone(&signature)) {
            return false;
        }
        self.order.push_back(signature);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// The five sockets of a kernel.
pub(crate) struct KernelSockets {
    pub heartbeat: Heartbeat,
    pub shell: (Receiver<zeromq::RouterRecvHalf>, Sender<zeromq::RouterSendHalf>),
    pub control: (Receiver<zeromq::RouterRecvHalf>, Sender<zeromq::RouterSendHalf>),
    pub stdin: (Receiver<zeromq::RouterRecvHalf>, Sender<zeromq::RouterSendHalf>),
    pub iopub: Publisher,
    /// Where they are, behind their ports. It goes with this value, and so do the files that are their ports.
    _folder: TempDir,
    _places: Vec<TempPath>,
}

impl KernelSockets {
    /// Opens them.
    ///
    /// # Errors
    /// A port is taken.
    pub(crate) async fn bind(address: &Address) -> Result<Self> {
        let info = &address.0;
        let session = Uuid::new_v4().to_string();
        let folder = tunebook_files::private_folder("kernel").map_err(Error::Start)?;
        let at = folder.path();
        let heartbeat: RepSocket = address.listen("heartbeat", info.hb_port, at).await?;
        let shell: RouterSocket = address.listen("shell", info.shell_port, at).await?;
        let control: RouterSocket = address.listen("control", info.control_port, at).await?;
        let stdin: RouterSocket = address.listen("stdin", info.stdin_port, at).await?;
        let iopub: XPubSocket = address.listen("iopub", info.iopub_port, at).await?;
        let ports = [info.hb_port, info.shell_port, info.control_port, info.stdin_port, info.iopub_port];
        let are_files = matches!(info.transport, Transport::IPC);
        let places = ports.into_iter().filter(|_| are_files).map(|port| TempPath::try_from_path(address.place(port)));
        let places = places.collect::<std::io::Result<_>>().map_err(Error::Start)?;
        let signatures = Arc::<Mutex<Signatures>>::default();
        let halves = |socket: RouterSocket| {
            let (sender, receiver) = Connection::new(socket, &info.key, &session).split();
            (Receiver(receiver, Arc::clone(&signatures)), Sender(sender))
        };
        Ok(Self {
            heartbeat: Heartbeat(heartbeat),
            shell: halves(shell),
            control: halves(control),
            stdin: halves(stdin),
            iopub: Publisher(Connection::new(iopub, &info.key, &session)),
            _folder: folder,
            _places: places,
        })
    }
}

/// The sockets of a client. Shell and stdin share an identity, so that the kernel can ask back.
pub(crate) struct ClientSockets {
    pub shell: (Receiver<zeromq::DealerRecvHalf>, Sender<zeromq::DealerSendHalf>),
    pub control: (Receiver<zeromq::DealerRecvHalf>, Sender<zeromq::DealerSendHalf>),
    pub stdin: (Receiver<zeromq::DealerRecvHalf>, Sender<zeromq::DealerSendHalf>),
    pub iopub: Receiver<zeromq::SubSocket>,
    pub session: String,
}

impl ClientSockets {
    /// Connects them; a kernel that is not there is not noticed here.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(crate) async fn connect(Address(info): &Address) -> Result<Self> {
        let session = Uuid::new_v4().to_string();
        let to = |channel| {
            move |error: jupyter_zmq_client::RuntimeError| Error::Connect { channel, problem: error.to_string() }
        };
        let identity = peer_identity_for_session(&session).map_err(to("shell"))?;
        let iopub = create_client_iopub_connection(info, "", &session).await.map_err(to("iopub"))?;
        let shell = create_client_shell_connection_with_identity(info, &session, identity.clone());
        let shell = shell.await.map_err(to("shell"))?.split();
        let control = create_client_control_connection(info, &session).await.map_err(to("control"))?.split();
        let stdin = create_client_stdin_connection_with_identity(info, &session, identity);
        let stdin = stdin.await.map_err(to("stdin"))?.split();
        let signatures = Arc::<Mutex<Signatures>>::default();
        Ok(Self {
            shell: (Receiver(shell.1, Arc::clone(&signatures)), Sender(shell.0)),
            control: (Receiver(control.1, Arc::clone(&signatures)), Sender(control.0)),
            stdin: (Receiver(stdin.1, Arc::clone(&signatures)), Sender(stdin.0)),
            iopub: Receiver(iopub, signatures),
            session,
        })
    }
}

/// The reading half of a socket, and what all sockets have received.
pub(crate) struct Receiver<S>(Connection<S>, Arc<Mutex<Signatures>>);

impl<S: SocketRecv> Receiver<S> {
    /// The next message.
    ///
    /// # Errors
    /// What came is no message, is not signed as it should be, has come before, or has no header: it cannot be answered. The
    /// next one can be read all the same.
    pub(crate) async fn receive(&mut self) -> std::result::Result<Incoming, String> {
        let frames = self.0.socket.recv().await.map_err(|error| error.to_string())?;
        let signature = frames.iter().skip_while(|frame| &frame[..] != DELIMITER).nth(1);
        // A frame is a part of what was received, and would keep all of it.
        let signature = signature.filter(|_| self.0.mac.is_some()).map(|frame| Arc::<[u8]>::from(&frame[..]));
        let raw = RawMessage::from_multipart(frames, &self.0.mac).map_err(|error| error.to_string())?;
        let mut signatures = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if signature.is_some_and(|signature| !signatures.is_new(signature)) {
            return Err("it has come before: its signature is known".to_string());
        }
        drop(signatures);
        decode(raw)
    }
}

fn decode(mut raw: RawMessage) -> std::result::Result<Incoming, String> {
    let [header, parent, _, content, ..] = &raw.jparts[..] else { return Err("frames are missing".to_string()) };
    let header = json_text::message(header).map_err(|fault| format!("header: {fault}"))?;
    // A client may leave out of its header what a kernel has no use for, or say null.
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_string();
    let kind = header["msg_type"].as_str().ok_or("header: no msg_type")?.to_string();
    let parent = json_text::message(parent).unwrap_or_default();
    let (content, fault) = match json_text::message(content) {
        Ok(content) => (content, None),
        Err(fault) => (Value::Null, Some(fault)),
    };
    raw.jparts.truncate(1);
    let (session, message_id) = (text(&header, "session"), text(&header, "msg_id"));
    Ok(Incoming {
        origin: Origin(Arc::new(Parent { raw, session, message_id })),
        kind,
        content,
        fault,
        parent_id: text(&parent, "msg_id"),
        parent_session: text(&parent, "session"),
    })
}

/// The writing half of a socket.
pub(crate) struct Sender<S>(Connection<S>);

impl<S: SocketSend> Sender<S> {
    /// # Errors
    /// The other end is gone.
    pub(crate) async fn send(&mut self, message: Outgoing) -> std::result::Result<(), String> {
        let to = message.origin.iter().flat_map(|origin| &origin.0.raw.zmq_identities).map(|to| to.to_vec()).collect();
        send(&mut self.0, to, &message).await
    }
}

/// Sends a message to the peer of these addresses.
async fn send<S: SocketSend>(
    connection: &mut Connection<S>,
    mut frames: Vec<Vec<u8>>,
    message: &Outgoing,
) -> std::result::Result<(), String> {
    frames.push(DELIMITER.to_vec());
    frames.extend(message.signed(&connection.session_id, connection.mac.as_ref()));
    let frames = frames.into_iter().map(Into::into).collect::<VecDeque<_>>();
    let frames = ZmqMessage::try_from(frames).map_err(|error| error.to_string())?;
    connection.socket.send(frames).await.map_err(|error| error.to_string())
}

/// The socket on which everybody hears everything.
pub(crate) struct Publisher(Connection<zeromq::XPubSocket>);

impl Publisher {
    /// # Errors
    /// A subscriber is gone.
    pub(crate) async fn send(&mut self, message: Outgoing) -> std::result::Result<(), String> {
        send(&mut self.0, vec![message.kind.into()], &message).await
    }

    /// Waits for the next subscription and says to what.
    ///
    /// # Errors
    /// What came is no subscription.
    pub(crate) async fn subscription(&mut self) -> std::result::Result<String, String> {
        loop {
            match self.0.recv_subscription().await {
                Ok(SubscriptionEvent::Subscribe(topic)) => return Ok(topic),
                Ok(SubscriptionEvent::Unsubscribe(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Sends back whatever comes.
pub(crate) struct Heartbeat(RepSocket);

impl Heartbeat {
    /// # Errors
    /// The other end is gone.
    pub(crate) async fn beat(&mut self) -> std::result::Result<(), String> {
        let ping = self.0.recv().await.map_err(|error| error.to_string())?;
        self.0.send(ping).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(header: &[u8], content: &[u8]) -> std::result::Result<Incoming, String> {
        let jparts = [header, b"{}", b"{}", content].map(|part| part.to_vec().into()).to_vec();
        decode(RawMessage { zmq_identities: Vec::new(), jparts })
    }

    #[test]
    fn a_parent_is_the_header_as_it_came() {
        let header =
            br#"{"msg_type":"execute_request", "msg_id" : "a","date":"2026-01-02T03:04:05.6+02:00","mine":[1]}"#;
        let message = incoming(header, b"{}").unwrap();
        let reply = Outgoing::new(Some(message.origin), "execute_reply", json!({}));
        let [signature, own, parent, metadata, content] = reply.signed("s", None);
        assert_eq!(
            (&signature[..], &parent[..], &metadata[..], &content[..]),
            (&b""[..], &header[..], &b"{}"[..], &b"{}"[..])
        );
        let own: Value = serde_json::from_slice(&own).unwrap();
        assert_eq!(
            (&own["msg_type"], &own["session"], &own["version"]),
            (&json!("execute_reply"), &json!("s"), &json!("5.4"))
        );
        assert_eq!(Outgoing::new(None, "status", json!({})).signed("s", None)[2], b"{}");
    }

    #[test]
    fn a_header_needs_no_more_than_its_kind() {
        let header = br#"{"msg_type": "a_request", "version": null, "username": null, "session": null, "date": null}"#;
        let message = incoming(header, b"{}").unwrap();
        assert_eq!(
            (message.kind.as_str(), message.origin.session(), message.origin.message_id()),
            ("a_request", "", "")
        );
        for header in [&b"[1]"[..], b"{}", b"no json", br#"{"msg_type": 5}"#] {
            assert!(incoming(header, b"{}").is_err());
        }
    }

    #[test]
    fn a_content_is_read_or_its_fault_is_known() {
        let header = br#"{"msg_type": "execute_request"}"#;
        let code = |content: &[u8]| incoming(header, content).unwrap().read::<request::Execute>().map(|read| read.code);
        assert_eq!(code(br#"{"code": "print \ud800"}"#).unwrap(), "print \u{fffd}");
        assert_eq!(code(b"{\"code\": \"print \xff\"}").unwrap(), "print \u{fffd}");
        assert!(code(b"no json").unwrap_err().starts_with("the request cannot be read: expected ident"));
        assert!(code(br#"{"code": 5}"#).is_err());
    }

    #[test]
    fn a_signature_counts_once_and_the_oldest_are_forgotten() {
        let mut signatures = Signatures::default();
        let of = |number: usize| Arc::<[u8]>::from(number.to_string().as_bytes());
        assert!(signatures.is_new(of(0)) && !signatures.is_new(of(0)));
        assert!((1..=REMEMBERED).all(|number| signatures.is_new(of(number))));
        assert!(!signatures.is_new(of(1)) && signatures.is_new(of(0)));
        assert_eq!(signatures.known.len(), REMEMBERED);
    }

    #[test]
    fn frames_are_signed_as_one() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let [signature, parts @ ..] = Outgoing::new(None, "status", json!({})).signed("s", Some(&key));
        let mut frames = vec![DELIMITER.to_vec(), signature];
        frames.extend(parts);
        let frames: VecDeque<_> = frames.into_iter().map(Into::into).collect();
        assert!(RawMessage::from_multipart(ZmqMessage::try_from(frames).unwrap(), &Some(key)).is_ok());
    }
}
