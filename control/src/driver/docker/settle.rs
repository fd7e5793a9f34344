//! No call tells when the engine has put an interface into its sandbox, so it is looked for.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use crate::model::Id;
use crate::network::Manager;

/// The first pause; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(5);

/// The longest pause. What is not there after it is left to those who look at everything now and then.
const LAST: Duration = Duration::from_secs(2);

/// Looks for an endpoint until it is in its sandbox, or gone.
pub(super) async fn run(manager: Weak<Manager>, network: Id, endpoint: Id) {
    let mut pause = FIRST;
    while pause <= LAST {
        sleep(pause).await;
        pause *= 2;
        let Some(manager) = manager.upgrade() else { return };
        let look = tokio::task::spawn_blocking(move || manager.settle(network, endpoint));
        // A panic is a bug that is told elsewhere.
        if look.await.unwrap_or(true) {
            return;
        }
    }
}
