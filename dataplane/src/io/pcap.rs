//! Packet captures as pcapng (draft-ietf-opsawg-pcapng), readable by Wireshark and tcpdump.
//!
//! One interface block per port, nanosecond timestamps, the direction in each packet's flags: *inbound* is what the
//! endpoint sent into the switch, *outbound* what the switch sent to the endpoint.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::{FrameIo, Gone, Received};
use crate::offload::Offload;
use crate::verdict::DropReason;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;
const OPT_END: u16 = 0;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFDROP: u16 = 5;
const NANOSECONDS: u8 = 9;

/// Which way a frame went, as the switch sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the endpoint into the switch.
    Inbound,
    /// From the switch to the endpoint.
    Outbound,
}

/// Writes one section.
#[derive(Debug)]
pub struct PcapWriter<W> {
    out: W,
    interfaces: u32,
}

impl<W: Write> PcapWriter<W> {
    /// Starts a section.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut body = Vec::new();
        body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        body.extend(1u16.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        // The section's length is not known while it is written.
        body.extend(u64::MAX.to_le_bytes());
        block(&mut out, SECTION_HEADER, &body)?;
        Ok(Self { out, interfaces: 0 })
    }

    /// Declares an interface; returns its number.
    pub fn interface(&mut self, name: &str) -> io::Result<u32> {
        let mut body = Vec::new();
        body.extend(LINKTYPE_ETHERNET.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        // Snapshot length zero: no limit.
        body.extend(0u32.to_le_bytes());
        option(&mut body, IF_NAME, name.as_bytes());
        option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
        option(&mut body, OPT_END, &[]);
        block(&mut self.out, INTERFACE, &body)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes one frame that crossed `interface` at `time` since the Unix epoch.
    pub fn frame(
        &mut self,
        interface: u32,
        time: Duration,
        direction: Direction,
        frame: &[u8],
    ) -> io::Result<()> {
        let time = time.as_nanos() as u64;
        let len = (frame.len() as u32).to_le_bytes();
        let mut body = Vec::with_capacity(frame.len() + 48);
        body.extend(interface.to_le_bytes());
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        body.extend(len);
        body.extend(len);
        body.extend(frame);
        pad(&mut body);
        let flags: u32 = match direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        option(&mut body, EPB_FLAGS, &flags.to_le_bytes());
        option(&mut body, OPT_END, &[]);
        block(&mut self.out, ENHANCED_PACKET, &body)
    }

    /// Notes at `time` how many frames of `interface` were not written because the reader was too slow.
    pub fn dropped(&mut self, interface: u32, time: Duration, count: u64) -> io::Result<()> {
        let time = time.as_nanos() as u64;
        let mut body = Vec::new();
        body.extend(interface.to_le_bytes());
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        option(&mut body, ISB_IFDROP, &count.to_le_bytes());
        option(&mut body, OPT_END, &[]);
        block(&mut self.out, INTERFACE_STATISTICS, &body)
    }

    /// The writer below.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&len)?;
    out.write_all(body)?;
    out.write_all(&len)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// A port that writes down everything that crosses it.
#[derive(Debug)]
pub struct Traced<P, W> {
    port: P,
    writer: PcapWriter<W>,
    interface: u32,
    clock: fn() -> Duration,
}

impl<P: FrameIo, W: Write + Send> Traced<P, W> {
    /// Wraps `port`, named `name` in the capture; `clock` gives the time since the Unix epoch.
    pub fn new(port: P, name: &str, out: W, clock: fn() -> Duration) -> io::Result<Self> {
        let mut writer = PcapWriter::new(out)?;
        let interface = writer.interface(name)?;
        Ok(Self { port, writer, interface, clock })
    }

    /// A capture that cannot be written must not stop traffic; it ends where writing failed.
    fn record(&mut self, direction: Direction, frame: &[u8]) {
        let _ = self.writer.frame(self.interface, (self.clock)(), direction, frame);
    }
}

impl<P: FrameIo, W: Write + Send> FrameIo for Traced<P, W> {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        let received = self.port.recv(buffer)?;
        if let Some(received) = &received {
            self.record(Direction::Inbound, &buffer[..received.len]);
        }
        Ok(received)
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        self.record(Direction::Outbound, frame);
        self.port.send(frame, offload)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.port.descriptor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryPort;

    #[test]
    fn a_traced_port_writes_a_section_an_interface_and_both_directions() {
        let mut file = Vec::new();
        let (near, mut far) = MemoryPort::pair();
        let mut traced =
            Traced::new(near, "eth0", &mut file, || Duration::from_nanos(0x1_0000_0002)).unwrap();
        far.send(&[1; 15], Offload::NONE).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(traced.recv(&mut buffer).unwrap().unwrap().len, 15);
        traced.send(&[2; 16], Offload::NONE).unwrap();
        assert_eq!(far.take().unwrap().0, [2; 16]);

        let mut rest = &file[..];
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let len = word(4) as usize;
            assert_eq!(len % 4, 0);
            assert_eq!(word(len - 4) as usize, len, "both lengths of a block agree");
            if word(0) == ENHANCED_PACKET {
                assert_eq!((word(12), word(16)), (1, 2), "upper and lower half of the time");
                assert_eq!(word(20), word(24));
            }
            kinds.push(word(0));
            rest = &rest[len..];
        }
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE, ENHANCED_PACKET, ENHANCED_PACKET]);
    }
}
