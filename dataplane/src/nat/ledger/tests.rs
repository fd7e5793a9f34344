//! Records, read and written.

use proptest::prelude::*;

use super::*;

fn entry() -> Entry {
    let end = |address: &str, port| End::new(address.parse().expect("an address"), port);
    Entry {
        net: Net { protocol: Protocol::Tcp, v6: false },
        published: false,
        filtering: Filtering::EndpointIndependent,
        class: Class::Established,
        phase: Phase::Open,
        port: PortId(7),
        inside: end("10.1.0.2", 4_000),
        outside: end("192.0.2.1", 40_000),
        remote: end("198.51.100.9", 443),
    }
}

#[test]
fn a_record_reads_as_it_was_written() {
    assert_eq!(Entry::read(&entry().write()), Some(entry()));
    assert_eq!(Entry::read(&[0; RECORD_LEN]), None);
}

#[test]
fn a_record_that_makes_no_sense_is_not_believed_although_its_checksum_fits() {
    let lies = [
        Entry { class: Class::Udp, ..entry() },
        Entry { phase: Phase::Closed, ..entry() },
        Entry { inside: End { port: 0, ..entry().inside }, ..entry() },
        Entry { outside: End { port: 0, ..entry().outside }, ..entry() },
        Entry { remote: End::default(), ..entry() },
        Entry { net: Net { protocol: Protocol::Icmp, v6: false }, class: Class::Icmp, ..entry() },
    ];
    assert!(lies.iter().all(|lie| Entry::read(&lie.write()).is_none()));
}

proptest! {
    #[test]
    fn a_record_with_any_wrong_bit_is_not_believed(at in 0..RECORD_LEN * 8) {
        let mut record = entry().write();
        record[at / 8] ^= 1 << (at % 8);
        prop_assert_eq!(Entry::read(&record), None);
    }

    #[test]
    fn anything_at_all_can_be_read(bytes: [u8; 32], checked: bool) {
        let mut record = [0; RECORD_LEN];
        record[..32].copy_from_slice(&bytes);
        record[32..64].copy_from_slice(&bytes);
        record[0] = VERSION;
        if checked {
            let sum = checksum(&record[..CHECKSUM]);
            record[CHECKSUM..].copy_from_slice(&sum);
        }
        if let Some(entry) = Entry::read(&record) {
            prop_assert!(checked && Entry::read(&entry.write()) == Some(entry));
        }
    }
}
