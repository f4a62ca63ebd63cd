//! Jupyter messages over ZeroMQ. Nothing outside this file knows how they are framed, signed or sent.
//!
//! Contents are JSON values on their way in and out, not the typed ones of `jupyter_protocol`: those refuse a whole
//! message, its return address included, for one missing field, and write `null` where the specification wants an
//! object. Here a message that has a readable header can always be answered.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use jupyter_protocol::Header;
use jupyter_protocol::JupyterMessage;
use jupyter_protocol::JupyterMessageContent;
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
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tempfile::TempPath;
use tunebook_quote::quote;
use uuid::Uuid;
use zeromq::RepSocket;
use zeromq::RouterSocket;
use zeromq::Socket;
use zeromq::SocketRecv;
use zeromq::SocketSend;
use zeromq::XPubSocket;

use crate::error::Error;
use crate::error::Result;
use crate::port::Port;

/// The version of the messaging protocol that is spoken.
pub(crate) const PROTOCOL_VERSION: &str = "5.4";
const USERNAME: &str = "tunebook";

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

    /// Whether it is the address of a kernel of that name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.0.kernel_name.as_deref() == Some(name)
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
pub(crate) struct Origin(Arc<JupyterMessage>);

impl Origin {
    /// The client's session.
    pub(crate) fn session(&self) -> &str {
        &self.0.header.session
    }

    pub(crate) fn message_id(&self) -> &str {
        &self.0.header.msg_id
    }
}

/// A message as it came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub origin: Origin,
    /// As in `execute_request`.
    pub kind: String,
    pub content: Value,
    /// The id of the message that this one is on account of, and the session that it came from; empty if there is none.
    pub parent_id: String,
    pub parent_session: String,
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

    fn into_message(self) -> JupyterMessage {
        let content = UnknownMessage { msg_type: self.kind.to_string(), content: self.content };
        let parent = self.origin.as_ref().map(|origin| &*origin.0);
        let mut message = JupyterMessage::new(JupyterMessageContent::UnknownMessage(content), parent);
        message.header.username = USERNAME.to_string();
        message.header.version = PROTOCOL_VERSION.to_string();
        message.metadata = self.metadata;
        message
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
        let halves = |socket: RouterSocket| {
            let (sender, receiver) = Connection::new(socket, &info.key, &session).split();
            (Receiver(receiver), Sender(sender))
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
        Ok(Self {
            shell: (Receiver(shell.1), Sender(shell.0)),
            control: (Receiver(control.1), Sender(control.0)),
            stdin: (Receiver(stdin.1), Sender(stdin.0)),
            iopub: Receiver(iopub),
            session,
        })
    }
}

/// The reading half of a socket.
pub(crate) struct Receiver<S>(Connection<S>);

impl<S: SocketRecv> Receiver<S> {
    /// The next message.
    ///
    /// # Errors
    /// What came is no message, is not signed as it should be, or has no header: it cannot be answered. The next one
    /// can be read all the same.
    pub(crate) async fn receive(&mut self) -> std::result::Result<Incoming, String> {
        let frames = self.0.socket.recv().await.map_err(|error| error.to_string())?;
        let raw = RawMessage::from_multipart(frames, &self.0.mac).map_err(|error| error.to_string())?;
        decode(raw)
    }
}

fn decode(raw: RawMessage) -> std::result::Result<Incoming, String> {
    let [header, parent, _, content, ..] = &raw.jparts[..] else { return Err("frames are missing".to_string()) };
    let header: Map<String, Value> = serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
    let kind = header.get("msg_type").and_then(Value::as_str).ok_or("header: no msg_type")?.to_string();
    let mut message = JupyterMessage::new(UnknownMessage::default(), None);
    message.header = complete_header(header).map_err(|error| format!("header: {error}"))?;
    message.zmq_identities = raw.zmq_identities;
    let parent: Value = serde_json::from_slice(parent).unwrap_or_default();
    Ok(Incoming {
        origin: Origin(Arc::new(message)),
        kind,
        // A content that cannot be read is as good as none: what it lacks is said in the reply.
        content: serde_json::from_slice(content).unwrap_or_default(),
        parent_id: parent["msg_id"].as_str().unwrap_or_default().to_string(),
        parent_session: parent["session"].as_str().unwrap_or_default().to_string(),
    })
}

/// A client may leave out of its header what a kernel has no use for.
fn complete_header(mut header: Map<String, Value>) -> serde_json::Result<Header> {
    for (key, value) in [("msg_id", ""), ("username", ""), ("session", ""), ("version", PROTOCOL_VERSION)] {
        header.entry(key).or_insert_with(|| json!(value));
    }
    serde_json::from_value(Value::Object(header))
}

/// The writing half of a socket.
pub(crate) struct Sender<S>(Connection<S>);

impl<S: SocketSend> Sender<S> {
    /// # Errors
    /// The other end is gone.
    pub(crate) async fn send(&mut self, message: Outgoing) -> std::result::Result<(), String> {
        self.0.send(message.into_message()).await.map_err(|error| error.to_string())
    }
}

/// The socket on which everybody hears everything.
pub(crate) struct Publisher(Connection<zeromq::XPubSocket>);

impl Publisher {
    /// # Errors
    /// A subscriber is gone.
    pub(crate) async fn send(&mut self, message: Outgoing) -> std::result::Result<(), String> {
        let topic = message.kind;
        let mut message = message.into_message();
        message.zmq_identities = vec![topic.into()];
        self.0.send(message).await.map_err(|error| error.to_string())
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
