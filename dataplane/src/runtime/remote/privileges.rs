//! Privileges, and how to be rid of them.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Takes every capability from the calling thread and from all that it will start, for good: threads, and programs, even
/// those of root. To be called before the first thread is started.
///
/// # Errors
/// The kernel's; some privileges may be left then.
pub fn drop_privileges() -> io::Result<()> {
    // Without CAP_SETPCAP there is nothing in the bounding set that could be had back: no_new_privs sees to that.
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}
