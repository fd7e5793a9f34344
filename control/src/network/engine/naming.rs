//! The names that people know networks and endpoints by, which an engine tells by other ways than its protocol.

use super::{HOME, both, no_network};
use crate::model::{Id, Name};
use crate::network::{Manager, NetworkError};

impl Manager {
    /// Gives a network the name that people know it by.
    ///
    /// # Errors
    /// [`NetworkError`] when it is not there, or the name belongs to another; nothing has changed.
    pub fn name_network(&self, id: Id, name: &Name) -> Result<(), NetworkError> {
        let mut book = self.open_book()?;
        let old = book.with_id(id).map(|record| record.network.name.clone());
        let old = old.ok_or_else(|| no_network(id))?;
        if old != *name {
            self.catalog.rename_network(id, name)?;
            book.rename_network(&old, name);
            tracing::info!(network = %name, formerly = %old, "network named");
        }
        Ok(())
    }

    /// Gives an endpoint the name that people know it by.
    ///
    /// # Errors
    /// As [`Manager::name_network`].
    pub fn name_endpoint(&self, network: Id, endpoint: Id, name: &Name) -> Result<(), NetworkError> {
        let mut book = self.open_book()?;
        let (network, endpoint) = both(&book, network, endpoint)?;
        if endpoint.name != *name {
            self.catalog.rename_endpoint(network.id, endpoint.id, name)?;
            book.rename_endpoint(&network.name, &endpoint.name, name);
        }
        Ok(())
    }
}

/// What an endpoint or a network is called as long as nobody has told its name.
///
/// # Errors
/// Never: the name is legal.
pub fn engine_name(id: Id) -> Result<Name, NetworkError> {
    let text = format!("docker-{}", id.short());
    Name::new(text).map_err(|source| NetworkError::Unnameable { netns: HOME.into(), source })
}
