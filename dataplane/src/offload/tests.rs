//! Super-frames and checksums against etherparse.
