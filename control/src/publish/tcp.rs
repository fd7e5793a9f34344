//! TCP: connections of the host to a published port.

use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::target::Target;
use super::{BUFFER, CONNECT_TIMEOUT, Shared};

/// How long to wait when a connection cannot be accepted, for want of descriptors most likely.
const PAUSE: Duration = Duration::from_millis(100);

/// After how long a connection that says nothing is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Relays every connection to `target`; those that are open end with this.
pub(super) async fn serve(listener: TcpListener, target: Arc<Target>, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    open.spawn(relay(client, Arc::clone(&target), Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept on a published port");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn relay(mut client: TcpStream, target: Arc<Target>, shared: Arc<Shared>) {
    let Ok(_slot) = Arc::clone(&shared.slots).try_acquire_owned() else {
        shared.refuse();
        return reset(client);
    };
    let mut endpoint = match timeout(CONNECT_TIMEOUT, target.connect()).await {
        Ok(Ok(endpoint)) => endpoint,
        Ok(Err(error)) => {
            tracing::debug!(%error, endpoint = %target.address, "a relayed connection is refused");
            return reset(client);
        }
        Err(_) => return reset(client),
    };
    tune(&client);
    tune(&endpoint);
    // Each direction is ended by itself, when its sender ends it.
    if copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER).await.is_err() {
        reset(client);
        reset(endpoint);
    }
}

/// What is relayed is not to wait, and not to be remembered for ever. Without either it still arrives.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

/// Closes a connection so that the other side sees that it was not ended but broken.
fn reset(stream: TcpStream) {
    // If it cannot be done, the connection looks ended.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
