//! Where the store is: `redb:[PATH]`.

use std::fmt;
use std::path::{Path, PathBuf};

/// The embedded store's file within the state directory, unless the URL names another.
pub const FILE_NAME: &str = "weft.redb";

/// The schemes of stores that several hosts share.
const SHARED: [&str; 3] = ["etcd", "consul", "zk"];

/// Where the store is, and of which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// The embedded store in this file, an absolute path.
    Redb(PathBuf),
}

impl StoreUrl {
    /// Reads `redb:`, which means [`FILE_NAME`] in `state_dir`, or `redb:/absolute/path`.
    ///
    /// # Errors
    /// [`StoreUrlError`].
    pub fn parse(text: &str, state_dir: &Path) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(StoreUrlError::NotAStore)?;
        match scheme {
            "redb" if rest.is_empty() => Ok(Self::embedded(state_dir)),
            "redb" if Path::new(rest).is_absolute() && !rest.ends_with('/') => Ok(Self::Redb(rest.into())),
            "redb" => Err(StoreUrlError::NotAbsolute),
            _ if SHARED.contains(&scheme) => Err(StoreUrlError::NotInThisBuild),
            _ => Err(StoreUrlError::NotAStore),
        }
    }

    /// The embedded store in a state directory.
    #[must_use]
    pub fn embedded(state_dir: &Path) -> Self {
        Self::Redb(state_dir.join(FILE_NAME))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redb(path) => write!(f, "redb:{}", path.display()),
        }
    }
}

/// Why a text is no store of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// No scheme, or none that means a store.
    #[error("not the URL of a store")]
    NotAStore,
    /// A relative path, or one of a directory.
    #[error("not the absolute path of a file")]
    NotAbsolute,
    /// A kind of store that this build has not.
    #[error("this kind of store is not in this build")]
    NotInThisBuild,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redb_with_and_without_a_path() {
        let parse = |text| StoreUrl::parse(text, Path::new("/s")).map(|url| url.to_string());
        assert_eq!(parse("redb:"), Ok("redb:/s/weft.redb".into()));
        assert_eq!(parse("redb:/x/y"), Ok("redb:/x/y".into()));
        for path in ["redb:x/y", "redb:x", "redb:/x/", "redb:/"] {
            assert_eq!(parse(path), Err(StoreUrlError::NotAbsolute), "{path}");
        }
        for later in ["etcd://h:2379,i:2379/weft", "consul://h:8500/weft", "zk://h:2181/weft"] {
            assert_eq!(parse(later), Err(StoreUrlError::NotInThisBuild), "{later}");
        }
        for other in ["", "redb", "/x/y", "sqlite:/x", ":"] {
            assert_eq!(parse(other), Err(StoreUrlError::NotAStore), "{other}");
        }
    }
}
