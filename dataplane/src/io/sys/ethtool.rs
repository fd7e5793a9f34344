//! `SIOCETHTOOL`: the commands of linux/ethtool.h that tell a device's features.
//!
//! Every command is a struct with an array at its end; here it is a slice of words, the first of which is the command.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
/// The string set of the features' names.
const ETH_SS_FEATURES: u32 = 4;
/// Bytes and words of one name.
const ETH_GSTRING_LEN: usize = 32;
const NAME_WORDS: usize = ETH_GSTRING_LEN / 4;

/// The names of all features this kernel knows, in the order of their bits.
pub(crate) fn feature_names(fd: BorrowedFd<'_>, device: &str) -> io::Result<Vec<String>> {
    let count = feature_count(fd, device)?;
    let mut words = vec![0; 3 + count * NAME_WORDS];
    (words[0], words[1], words[2]) = (ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32);
    // SAFETY: the kernel writes three words and a name for each feature, whose number it has just told and never changes.
    unsafe { call(fd, device, &mut words) }?;
    let bytes: Vec<u8> = words[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = |field: &[u8]| {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    Ok(bytes.chunks_exact(ETH_GSTRING_LEN).map(name).collect())
}

/// Which of the first `count` features are on, 32 in each word.
pub(crate) fn active_features(fd: BorrowedFd<'_>, device: &str, count: usize) -> io::Result<Vec<u32>> {
    /// Words for each 32 features: available, requested, active, never changed.
    const BLOCK: usize = 4;
    let blocks = count.div_ceil(32);
    let mut words = vec![0; 2 + blocks * BLOCK];
    (words[0], words[1]) = (ETHTOOL_GFEATURES, blocks as u32);
    // SAFETY: the kernel writes two words and at most as many blocks as the second one says.
    unsafe { call(fd, device, &mut words) }?;
    Ok(words[2..].chunks_exact(BLOCK).map(|block| block[2]).collect())
}

fn feature_count(fd: BorrowedFd<'_>, device: &str) -> io::Result<usize> {
    // Command, reserved, the mask of the wanted sets in 64 bits, one length for each set that exists.
    let mut words = [0; 5];
    words[0] = ETHTOOL_GSSET_INFO;
    let mask = (1u64 << ETH_SS_FEATURES).to_ne_bytes();
    let (low, high) = mask.split_at(4);
    words[2] = u32::from_ne_bytes([low[0], low[1], low[2], low[3]]);
    words[3] = u32::from_ne_bytes([high[0], high[1], high[2], high[3]]);
    // SAFETY: the kernel writes four words and one more for each bit of the mask, of which there is one.
    unsafe { call(fd, device, &mut words) }?;
    Ok(words[4] as usize)
}

/// # Safety
/// `words` must be as long as the kernel takes the command in its first word to be. `device` must not be longer than
/// an interface name.
unsafe fn call(fd: BorrowedFd<'_>, device: &str, words: &mut [u32]) -> io::Result<()> {
    // SAFETY: ifreq is a C struct of integers and arrays, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the request and the words it points to outlive the call, and the caller vouches for their number.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
