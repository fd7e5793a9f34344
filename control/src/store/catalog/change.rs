//! Claiming, giving back, and trying again.

use super::documents::{ClaimDocument, NetworkDocument};
use super::{ATTEMPTS, Catalog, CatalogError, Claim, Key, StoreError, Transaction, decode, encode, keys};
use crate::model::Id;
use crate::store::Entry;

impl Catalog {
    /// Commits `transaction` together with `claims`, all of which must be free.
    pub(super) fn claim(
        &self,
        mut transaction: Transaction,
        claims: Vec<(Key, Claim)>,
        owner: ClaimDocument,
    ) -> Result<(), CatalogError> {
        for (key, _) in &claims {
            transaction = transaction.create(key.clone(), encode(key, &owner)?);
        }
        let conflict = match self.store.commit(&transaction) {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { key }) => key,
            Err(other) => return Err(other.into()),
        };
        let Some((key, claim)) = claims.into_iter().find(|(key, _)| *key == conflict) else {
            return Err(StoreError::Conflict { key: conflict }.into());
        };
        // Who it is may have left by now; that somebody was faster is the answer all the same.
        let owner = match self.store.get(&key)? {
            Some(entry) => decode::<ClaimDocument>(&key, &entry.value).ok().map(|claim| claim.name),
            None => None,
        };
        Err(CatalogError::Taken { claim, owner })
    }

    /// Adds to `transaction` the removal of those of `claims` that `owner` has.
    pub(super) fn unclaim(
        &self,
        mut transaction: Transaction,
        claims: Vec<(Key, Claim)>,
        owner: Id,
    ) -> Result<Transaction, CatalogError> {
        for (key, _) in claims {
            let Some(entry) = self.store.get(&key)? else { continue };
            if decode::<ClaimDocument>(&key, &entry.value)?.owner == owner {
                transaction = transaction.remove(&entry);
            }
        }
        Ok(transaction)
    }

    /// Writes `value` over `entry`, and claims what its owner has now and did not have before, and no more.
    pub(super) fn rename(
        &self,
        entry: &Entry,
        value: Vec<u8>,
        before: Vec<(Key, Claim)>,
        after: Vec<(Key, Claim)>,
        owner: ClaimDocument,
    ) -> Result<(), CatalogError> {
        let gone = before.iter().filter(|claim| !after.contains(claim)).cloned().collect();
        let new = after.iter().filter(|claim| !before.contains(claim)).cloned().collect();
        let written = Transaction::new().expect(entry.key.clone(), entry).put(entry.key.clone(), value);
        let transaction = self.unclaim(written, gone, owner.owner)?;
        self.claim(transaction, new, owner)
    }

    /// Does `work` again when somebody changed `key`, or another key that it had read, in the meantime.
    pub(super) fn retry<T>(
        &self,
        key: &Key,
        work: impl Fn() -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        for _ in 0..ATTEMPTS {
            match work() {
                Err(CatalogError::Store(StoreError::Conflict { .. })) => {}
                outcome => return outcome,
            }
        }
        Err(StoreError::Conflict { key: key.clone() }.into())
    }

    pub(super) fn network(&self, id: Id) -> Result<(Entry, NetworkDocument), CatalogError> {
        let key = keys::network(id);
        let entry = self.store.get(&key)?.ok_or(CatalogError::NoNetwork { id })?;
        let network = decode(&key, &entry.value)?;
        Ok((entry, network))
    }
}
