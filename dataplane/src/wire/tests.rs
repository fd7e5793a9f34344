//! The grammar against etherparse, on packets and on noise.
