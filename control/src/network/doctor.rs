//! What differs, for people: everything that the record, the book, the namespaces and the packet side do not agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Manager;
use super::connect::plug_of;
use super::recover::{about, find, subject_of};
use crate::model::{Id, Name, Sandbox};
use crate::reconcile::{Flaw, Subject, flaws};
use crate::sandbox::Plug;
use crate::store::catalog::Contents;

/// A difference between what there should be and what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// One line: what differs.
    pub what: String,
    /// One line: what to do.
    pub remedy: String,
}

/// An endpoint whose interface is to be looked at.
type Patient = (Subject, Plug);

impl Manager {
    /// Everything that differs between the record, the book, the namespaces and the packet side.
    #[must_use]
    pub fn doctor(&self) -> Vec<Finding> {
        let mut findings = self.check_record();
        findings.extend(self.check_inside());
        let steps = self.survey(true);
        let book = self.book();
        findings.extend(steps.iter().map(|step| {
            let trouble = about(&book, step).and_then(|id| book.troubles.about(id));
            let why = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            Finding { what: format!("{step}{why}"), remedy: step.remedy() }
        }));
        findings
    }

    /// What differs between the store and the book, and within the store.
    fn check_record(&self) -> Vec<Finding> {
        let book = self.book();
        let contents = match self.catalog.load() {
            Ok(contents) => contents,
            Err(error) => {
                let what = format!("the record cannot be read: {error}");
                return vec![Finding { what, remedy: "see the daemon's log; forwarding goes on".into() }];
            }
        };
        let strays = contents.strays.iter().map(|stray| Finding {
            what: format!("in the store, {stray}"),
            remedy: "disconnect and connect again what it belongs to; it harms nothing else".into(),
        });
        let recorded: BTreeSet<Id> =
            contents.networks.iter().map(|n| n.id).chain(contents.endpoints.iter().map(|e| e.id)).collect();
        let networks = book.networks().map(|record| (record.network.id, &record.network.name));
        let known: BTreeMap<Id, _> =
            networks.chain(book.endpoints().map(|(_, endpoint)| (endpoint.id, &endpoint.name))).collect();
        let unknown = recorded.iter().filter(|id| !known.contains_key(id)).map(|id| Finding {
            what: format!("'{}' is on record, and this daemon does not know it", id.short()),
            remedy: "restart the daemon".into(),
        });
        let unrecorded = known.iter().filter(|(id, _)| !recorded.contains(id)).map(|(_, name)| Finding {
            what: format!("'{name}' is not on record, and this daemon has it"),
            remedy: "restart the daemon".into(),
        });
        strays.chain(unknown).chain(unrecorded).chain(self.check_node(&contents)).collect()
    }

    /// Endpoints that another host has recorded: this one under another name.
    fn check_node(&self, contents: &Contents) -> Vec<Finding> {
        let mut others: BTreeMap<&Name, usize> = BTreeMap::new();
        for endpoint in contents.endpoints.iter().filter(|endpoint| endpoint.node != self.node) {
            *others.entry(&endpoint.node).or_default() += 1;
        }
        let finding = |(other, count): (&Name, usize)| Finding {
            what: format!(
                "{count} endpoints are on record for the host '{other}', and this one is '{}'",
                self.node
            ),
            remedy: format!(
                "if that is this host's former name, set node = \"{other}\" in the configuration, or disconnect and connect them again"
            ),
        };
        others.into_iter().map(finding).collect()
    }

    /// Interfaces that are served, and are not what they were made. Namespaces that cannot be looked at are not this
    /// check's business.
    fn check_inside(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (path, (sandbox, patients)) in self.patients() {
            let opened = self.plane.open_sandbox(&path).ok().filter(|netns| netns.id() == sandbox.key);
            let Some(Ok(found)) = opened.map(|netns| self.plane.interfaces(&netns)) else { continue };
            for (subject, plug) in patients {
                let wrong = flaws(&plug, &found);
                // It may have been disconnected meanwhile.
                if !wrong.is_empty() && find(&self.book(), &subject).is_some() {
                    findings.extend(wrong.iter().map(|flaw| describe(&subject, &plug.ifname, flaw)));
                }
            }
        }
        findings
    }

    /// The endpoints with an interface that is served, by namespace.
    fn patients(&self) -> BTreeMap<PathBuf, (Sandbox, Vec<Patient>)> {
        let book = self.book();
        let mut patients = BTreeMap::new();
        for (record, endpoint) in book.serving.iter().filter_map(|port| book.behind(*port)) {
            let Some(interface) =
                endpoint.interface.as_ref().filter(|_| !book.offered.contains_key(&endpoint.id))
            else {
                continue;
            };
            let sandbox = &endpoint.sandbox;
            let (_, here) = patients.entry(sandbox.path.clone()).or_insert_with(|| (sandbox.clone(), vec![]));
            here.push((subject_of(record, endpoint), plug_of(&record.network, interface)));
        }
        patients
    }
}

fn describe(subject: &Subject, ifname: &str, flaw: &Flaw) -> Finding {
    let inside = |command| format!("'nsenter --net={} ip {command}'", subject.netns.display());
    let again = || {
        let Subject { network, name, .. } = subject;
        format!("undo that, or 'weft network disconnect {network} {name}' and connect it again")
    };
    Finding {
        what: format!("the interface {ifname} of {subject} {flaw}"),
        remedy: flaw.command(ifname).map_or_else(again, inside),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::network::fake::FakePlane;
    use crate::network::{EndpointRequest, NetworkRequest};
    use crate::store::{Catalog, MemoryStore, Store};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn furnish(manager: &Manager) {
        let subnets = vec!["10.1.0.0/24".parse().unwrap()];
        manager.create(&NetworkRequest { subnets, ..NetworkRequest::new(name("blue")) }).unwrap();
        manager.connect("blue", &EndpointRequest::new("/proc/self/ns/net")).unwrap();
    }

    #[test]
    fn what_somebody_did_to_an_interface_is_told_with_its_cure() {
        let plane = FakePlane::default();
        let manager = Manager::new(Box::new(plane.clone()), None, vec![]).unwrap();
        furnish(&manager);
        assert_eq!(manager.doctor(), []);
        plane.world(|world| {
            world.meddling = Some(|found| {
                found.up = false;
                found.addresses.clear();
            });
        });
        let told: Vec<_> = manager.doctor().into_iter().map(|f| (f.what, f.remedy)).collect();
        let about = "the interface eth0 of endpoint 'pid-self' on network 'blue'";
        let inside = "'nsenter --net=/proc/self/ns/net ip";
        let expected = [
            (format!("{about} is down"), format!("{inside} link set eth0 up'")),
            (
                format!("{about} has lost its address 10.1.0.2/24"),
                format!("{inside} address add 10.1.0.2/24 dev eth0'"),
            ),
        ];
        assert_eq!(told, expected);
        plane.world(|world| world.meddling = Some(|found| found.ifname = "wan".into()));
        let finding = manager.doctor().remove(0);
        assert!(finding.what.ends_with("was renamed or moved away"), "{}", finding.what);
        assert!(finding.remedy.contains("'weft network disconnect blue pid-self'"), "{}", finding.remedy);
    }

    #[test]
    fn endpoints_of_a_host_that_was_renamed_are_told() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let plane = FakePlane::default();
        furnish(&Manager::over(Arc::clone(&store), Box::new(plane.clone()), None, vec![]).unwrap());
        let renamed = Manager::open(Box::new(plane), Catalog::new(store), name("new"), None, vec![]).unwrap();
        renamed.reconcile();
        let findings = renamed.doctor();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(
            findings[0].what,
            "1 endpoints are on record for the host 'host-a', and this one is 'new'"
        );
        assert!(findings[0].remedy.contains("set node = \"host-a\""), "{}", findings[0].remedy);
    }
}
