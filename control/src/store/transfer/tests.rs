use std::sync::Arc;

use super::*;
use crate::error::Problem;
use crate::store::catalog::tests::{catalog, endpoint, network};
use crate::store::{MemoryStore, RedbStore};

fn filled() -> Catalog {
    let catalog = catalog();
    [1, 2].iter().for_each(|&n| catalog.create_network(&network(n)).unwrap());
    catalog.create_endpoint(&endpoint(1, 3, 3)).unwrap();
    catalog
}

fn values(catalog: &Catalog) -> Vec<(Key, Vec<u8>)> {
    let listing = catalog.store().list(&Prefix::all()).unwrap();
    listing.entries.into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect()
}

#[test]
fn an_export_is_everything_byte_for_byte() {
    let from = filled();
    let json = from.export().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let to = Catalog::new(Arc::new(RedbStore::open(&directory.path().join("weft.redb")).unwrap()));
    let contents = to.import(&json, false).unwrap();
    assert_eq!((contents.networks.len(), contents.endpoints.len()), (2, 1));
    assert_eq!(values(&to), values(&from));
    assert_eq!(to.load().unwrap().revision, contents.revision);
    assert_eq!(to.export().unwrap(), json);
}

#[test]
fn an_empty_store_has_an_export_too() {
    let json = catalog().export().unwrap();
    assert!(filled().import(&json, false).is_err());
    let catalog = filled();
    catalog.import(&json, true).unwrap();
    assert!(values(&catalog).is_empty());
}

#[test]
fn what_is_there_is_overwritten_only_when_that_is_said() {
    let to = filled();
    to.create_endpoint(&endpoint(2, 9, 9)).unwrap();
    let (before, json) = (values(&to), filled().export().unwrap());
    let refused = to.import(&json, false).unwrap_err();
    assert!(matches!(refused, TransferError::Store(StoreError::NotEmpty { .. })), "{refused}");
    assert_eq!(refused.code(), Code::Conflict);
    assert_eq!(values(&to), before);
    to.import(&json, true).unwrap();
    assert_eq!(values(&to), values(&filled()));
}

/// Whatever is wrong with an import, the store is as it was.
#[test]
fn an_import_is_checked_whole_before_anything_is_written() {
    let to = filled();
    let before = to.store().list(&Prefix::all()).unwrap();
    let good = String::from_utf8(filled().export().unwrap()).unwrap();
    let refused = |json: &str| {
        assert_ne!(json, good, "something must be wrong with it");
        let error = to.import(json.as_bytes(), true).unwrap_err();
        assert_eq!(to.store().list(&Prefix::all()).unwrap(), before, "{error}");
        let text = Problem::from(error).to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert!(refused("").starts_with("this is not an export: "));
    assert!(refused("[]").starts_with("this is not an export: "));
    assert!(refused(&good[..good.len() / 2]).starts_with("this is not an export: "));
    let other = refused(&good.replace("weft-store", "other"));
    assert!(other.starts_with("this is not an export: its format is 'other'; "), "{other}");
    let newer = refused(&good.replacen("\"version\": 1", "\"version\": 2", 1));
    assert!(newer.starts_with("the export has version 2, this build knows up to 1; "), "{newer}");
    let document =
        refused(&good.replacen(r#""kind":"network","version":2"#, r#""kind":"network","version":3"#, 1));
    assert!(document.contains("has version 3, this build knows up to 2"), "{document}");
    let claim = refused(&good.replace("vnis/4097", "vnis/4999"));
    assert!(claim.starts_with("the export contradicts itself: "), "{claim}");
    let unknown = refused(&good.replace("vnis/4097", "colours/red"));
    assert!(unknown.contains("nobody knows what 'colours/red' is"), "{unknown}");
    let key = refused(&good.replace("vnis/4097", "vnis//4097"));
    assert!(key.contains("'vnis//4097' is not a key"), "{key}");
    let twice = refused(&good.replace("vnis/4098", "vnis/4097"));
    assert!(twice.contains("vnis/4097") || twice.contains("VNI 4098"), "{twice}");
}

#[test]
fn what_is_no_json_has_no_export() {
    let store = MemoryStore::default();
    let key = Key::new("a").unwrap();
    store.put(&key, b"\xff".to_vec()).unwrap();
    assert!(matches!(export(&store), Err(TransferError::NotJson { key: k, .. }) if k == key));
}

#[test]
fn what_is_too_large_is_not_even_read() {
    let error = import(&MemoryStore::default(), &vec![0; EXPORT_MAX + 1], false).unwrap_err();
    assert!(matches!(error, TransferError::TooLarge { len } if len == EXPORT_MAX + 1));
}
