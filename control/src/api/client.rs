//! The client's side of the API: one connection per call over the Unix socket, every wait bounded.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::ClientError;
use super::types::{
    Connected, EndpointInfo, EndpointRequest, FdbEntry, Finding, NatInfo, NetworkInfo, NetworkRequest,
    NodeInfo, PortInfo, Stats, Status,
};

/// How long a daemon may take to accept a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a daemon may take to answer. Longer than anything it does: removing a network of 4,096 endpoints takes
/// seconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The largest answer that is read, in bytes: every endpoint there can be, twice over.
pub const ANSWER_MAX: usize = 32 << 20;

/// The socket that is asked when none is named.
pub const DEFAULT_HOST: &str = "unix:///run/weft/weft.sock";

/// Its path.
pub const DEFAULT_SOCKET: &str = "/run/weft/weft.sock";

/// The path of a socket that is named as users name it; `None` unless that is `unix://` and an absolute path.
#[must_use]
pub fn socket_path(host: &str) -> Option<PathBuf> {
    host.strip_prefix("unix://").filter(|path| path.starts_with('/')).map(PathBuf::from)
}

/// A daemon's API, reached through its socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The API behind `socket`; nothing is tried before the first call.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the daemon is and does.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// What differs from what there should be.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn doctor(&self) -> Result<Vec<Finding>, ClientError> {
        self.get("/v1/doctor").await
    }

    /// Packet counters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.get("/v1/stats").await
    }

    /// The hosts that share networks through one store: without a cluster store, this one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, ClientError> {
        self.get("/v1/nodes").await
    }

    /// All networks.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn networks(&self) -> Result<Vec<NetworkInfo>, ClientError> {
        self.get("/v1/networks").await
    }

    /// One network, by name, id, or the first 12 digits of an id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn network(&self, key: &str) -> Result<NetworkInfo, ClientError> {
        self.get(&format!("/v1/networks/{}", escape(key))).await
    }

    /// Creates a network.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_network(&self, request: &NetworkRequest) -> Result<NetworkInfo, ClientError> {
        self.call(Method::POST, "/v1/networks", Some(request)).await
    }

    /// Removes a network with its endpoints; gives what it was.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_network(&self, key: &str) -> Result<NetworkInfo, ClientError> {
        self.call(Method::DELETE, &format!("/v1/networks/{}", escape(key)), None::<&()>).await
    }

    /// Removes every network that has no endpoints; gives what they were.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn prune_networks(&self) -> Result<Vec<NetworkInfo>, ClientError> {
        self.call(Method::POST, "/v1/prune", None::<&()>).await
    }

    /// Connects a namespace to a network.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn connect(&self, network: &str, request: &EndpointRequest) -> Result<Connected, ClientError> {
        let path = format!("/v1/networks/{}/endpoints", escape(network));
        self.call(Method::POST, &path, Some(request)).await
    }

    /// Removes an endpoint from a network; gives what it was.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disconnect(&self, network: &str, endpoint: &str) -> Result<EndpointInfo, ClientError> {
        let path = format!("/v1/networks/{}/endpoints/{}", escape(network), escape(endpoint));
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    /// All endpoints.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn endpoints(&self) -> Result<Vec<EndpointInfo>, ClientError> {
        self.get("/v1/endpoints").await
    }

    /// The endpoints of this name or id, one for each network that has such a one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn endpoint(&self, key: &str) -> Result<Vec<EndpointInfo>, ClientError> {
        self.get(&format!("/v1/endpoints/{}", escape(key))).await
    }

    /// All published ports.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ports(&self) -> Result<Vec<PortInfo>, ClientError> {
        self.get("/v1/ports").await
    }

    /// Sessions of NAT: all, or those of a network, an endpoint, a protocol.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn nat(
        &self,
        network: Option<&str>,
        endpoint: Option<&str>,
        protocol: Option<&str>,
    ) -> Result<Vec<NatInfo>, ClientError> {
        let fields = [("network", network), ("endpoint", endpoint), ("protocol", protocol)];
        self.get(&format!("/v1/nat{}", query(&fields))).await
    }

    /// The forwarding tables, of one network or of all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fdb(&self, network: Option<&str>) -> Result<Vec<FdbEntry>, ClientError> {
        self.get(&format!("/v1/fdb{}", query(&[("network", network)]))).await
    }

    /// Starts a capture: pcapng as it comes, until `count` frames are there or the capture is dropped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn capture(
        &self,
        network: Option<&str>,
        endpoint: Option<&str>,
        count: Option<u64>,
    ) -> Result<CaptureStream, ClientError> {
        let count = count.map(|n| n.to_string());
        let fields = [("network", network), ("endpoint", endpoint), ("count", count.as_deref())];
        let path = format!("/v1/capture{}", query(&fields));
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        if response.status().is_success() {
            return Ok(CaptureStream { body: response.into_body(), socket: self.socket.clone() });
        }
        Err(self.refusal(response).await)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(ClientError::Encode)?.unwrap_or_default();
        tracing::debug!(%method, path, socket = %self.socket.display(), "asking the daemon");
        let response = self.send(method, path, body.into()).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let bytes = self.read(response).await?;
        serde_json::from_slice(&bytes).map_err(|source| self.strange(source.to_string()))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { socket: self.socket.clone(), source };
        let stream = match timeout(CONNECT_TIMEOUT, UnixStream::connect(&self.socket)).await {
            Ok(connected) => connected.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.lost(&e))?;
        // Ends with the last of sender and body.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "weft")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| self.strange(e.to_string()))?;
        match timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
            Ok(response) => response.map_err(|e| self.lost(&e)),
            Err(_) => Err(ClientError::Silent { socket: self.socket.clone() }),
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect();
        match timeout(ANSWER_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.strange(error.to_string())),
            Err(_) => Err(ClientError::Silent { socket: self.socket.clone() }),
        }
    }

    /// The problem that a refusal carries.
    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        match self.read(response).await {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(problem) => ClientError::Refused(problem),
                Err(_) => self.strange(format!("status {status} without a reason")),
            },
            Err(error) => error,
        }
    }

    fn lost(&self, error: &hyper::Error) -> ClientError {
        ClientError::Lost { socket: self.socket.clone(), what: error.to_string() }
    }

    fn strange(&self, what: String) -> ClientError {
        ClientError::Strange { socket: self.socket.clone(), what }
    }
}

/// A capture under way: pcapng in pieces.
#[derive(Debug)]
pub struct CaptureStream {
    body: Incoming,
    socket: PathBuf,
}

impl CaptureStream {
    /// The next piece; `None` at the end. Waits as long as no frame passes.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when the daemon went away.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let lost =
                |e: hyper::Error| ClientError::Lost { socket: self.socket.clone(), what: e.to_string() };
            if let Ok(data) = frame.map_err(lost)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// `?a=1&b=2` of the fields that are set.
fn query(fields: &[(&str, Option<&str>)]) -> String {
    let set = fields.iter().filter_map(|(key, value)| Some(format!("{key}={}", escape((*value)?))));
    let joined = set.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escape(text: &str) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| if unreserved(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[test]
    fn text_is_escaped_for_its_place() {
        assert_eq!(escape("a b/c?d"), "a%20b%2Fc%3Fd");
        assert_eq!(socket_path(DEFAULT_HOST), Some(DEFAULT_SOCKET.into()));
        assert_eq!([socket_path("/run/weft.sock"), socket_path("unix://weft.sock")], [None, None]);
        assert_eq!(query(&[("network", None), ("count", None)]), "");
        assert_eq!(
            query(&[("network", Some("a&b")), ("endpoint", None), ("count", Some("3"))]),
            "?network=a%26b&count=3"
        );
    }

    #[tokio::test]
    async fn no_daemon_is_said_so() {
        let directory = tempfile::tempdir().unwrap();
        let error = Client::new(directory.path().join("weft.sock")).status().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }));
        assert_eq!(error.code().exit(), 5);
    }
}
