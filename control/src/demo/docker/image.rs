//! The smallest image with a shell: a tar archive (POSIX.1-1988, "ustar") with busybox in it, called `sh`.

use hyper::body::Bytes;

/// What the image is made of: it is a shell when it is called one, and needs no libraries where it is linked statically.
pub(super) const BUSYBOX: &str = "/bin/busybox";

/// A tar archive consists of blocks of so many bytes, and ends with two of zeros.
const BLOCK: usize = 512;

/// Where its checksum is in a header, which counts as spaces in it.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The image; `None` when there is nothing to make it of.
pub(super) fn archive() -> Option<Bytes> {
    let shell = std::fs::read(BUSYBOX).ok()?;
    let mut archive = header("bin/", 0, b'5').to_vec();
    archive.extend(header("bin/sh", shell.len(), b'0'));
    archive.extend(&shell);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    Some(archive.into())
}

/// The header of a file of `size` bytes, or, of type `5`, of a directory; everybody may run it. The name fits.
fn header(name: &str, size: usize, kind: u8) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(CHECKSUM.start, "        ");
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_tar_writes_it() {
        let header = header("bin/sh", 1_982_256, b'0');
        assert_eq!(&header[..7], b"bin/sh\0");
        assert_eq!(&header[124..136], b"00007437460\0");
        assert_eq!(&header[257..265], b"ustar\x0000");
        let told = u32::from_str_radix(std::str::from_utf8(&header[148..154]).unwrap(), 8).unwrap();
        let others: u32 = header
            .iter()
            .enumerate()
            .filter(|(at, _)| !CHECKSUM.contains(at))
            .map(|(_, b)| u32::from(*b))
            .sum();
        assert_eq!(told, others + 8 * u32::from(b' '));
    }
}
