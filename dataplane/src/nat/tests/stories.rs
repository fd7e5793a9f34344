//! The stories of the kernel's packetdrill tests for connection tracking, told anew.

use super::tcp::{Connection, state};
use super::world::*;
use crate::nat::{Protocol, SessionState};
use crate::wire::TcpFlags;

const ACK: TcpFlags = TcpFlags::ACK;
const SYN: TcpFlags = TcpFlags::SYN;
const RST: TcpFlags = TcpFlags::RST;
const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);
const FIN_ACK: TcpFlags = TcpFlags::FIN.with(TcpFlags::ACK);
const RST_ACK: TcpFlags = TcpFlags::RST.with(TcpFlags::ACK);

fn open(world: &mut World) -> Connection {
    Connection::open(world, at("10.1.0.2", 5_000), at("8.8.8.8", 80))
}

/// Asked for and not yet answered.
fn asked(world: &mut World) -> Connection {
    let (inside, remote) = (at("10.1.0.2", 5_000), at("8.8.8.8", 80));
    let outside = world.out(1, syn(inside, remote).with(SYN, 100, 0, 0)).source();
    Connection { inside, remote, outside }
}

#[test]
fn ack_loss_stall_what_was_acknowledged_and_comes_again_is_believed() {
    let mut world = World::new();
    let c = open(&mut world);
    for n in 0..45 {
        assert!(c.comes(&mut world, ACK, 501 + n * 1_460, 101, 1_460));
        assert!(c.goes(&mut world, ACK, 101, 501 + (n + 1) * 1_460, 0));
    }
    world.wait(7_400);
    assert!(c.comes(&mut world, ACK, 501, 101, 1_460), "the acknowledgement was lost");
    world.wait(7_400);
    assert_eq!(state(&world), Some(SessionState::Open), "so it has refreshed");
}

#[test]
fn inexact_rst_after_a_fin_and_a_spurious_one_later() {
    let mut world = World::new();
    let c = open(&mut world);
    assert!(c.comes(&mut world, ACK, 501, 101, 1_000) && c.goes(&mut world, ACK, 101, 1_501, 1_000));
    assert!(c.comes(&mut world, FIN_ACK, 1_501, 1_101, 0) && c.goes(&mut world, ACK, 1_101, 1_502, 0));
    assert!(c.goes(&mut world, RST_ACK, 1_101, 1_502, 0));
    assert_eq!(state(&world), Some(SessionState::Closed));
    assert!(c.comes(&mut world, RST, 900, 0, 0), "it passes");
    assert_eq!(state(&world), Some(SessionState::Closed));
}

#[test]
fn rst_invalid_only_the_exact_number_closes() {
    let mut world = World::new();
    let c = open(&mut world);
    for n in 0..3 {
        assert!(c.comes(&mut world, ACK, 501 + n * 1_000, 101, 1_000));
        assert!(c.goes(&mut world, ACK, 101, 501 + (n + 1) * 1_000, 0));
    }
    for (flags, number) in [(RST, 500), (RST, 1_000_500), (RST, 542), (RST_ACK, 3_500)] {
        assert!(c.comes(&mut world, flags, number, 101, 0), "it passes");
        assert_eq!(state(&world), Some(SessionState::Open), "{number}");
    }
    assert!(c.comes(&mut world, RST_ACK, 3_501, 101, 0));
    assert_eq!(state(&world), Some(SessionState::Closed));
}

#[test]
fn syn_challenge_ack_of_an_old_incarnation_passes_and_the_new_one_opens() {
    let mut world = World::new();
    let c = asked(&mut world);
    assert!(c.comes(&mut world, ACK, 145_824_453, 643_160_523, 0));
    assert!(c.goes(&mut world, RST, 643_160_523, 0, 0));
    assert_eq!(state(&world), Some(SessionState::Opening));
    assert!(c.goes(&mut world, SYN, 100, 0, 0));
    assert!(c.comes(&mut world, SYN_ACK, 500, 101, 0) && c.goes(&mut world, ACK, 101, 501, 0));
    assert_eq!(state(&world), Some(SessionState::Open));
}

#[test]
fn synack_old_passes_and_does_not_spoil_the_right_one() {
    let mut world = World::new();
    let c = asked(&mut world);
    assert!(c.comes(&mut world, SYN_ACK, 145_824_453, 643_160_523, 0));
    assert!(c.goes(&mut world, SYN, 100, 0, 0));
    assert_eq!(state(&world), Some(SessionState::Opening));
    assert!(c.comes(&mut world, SYN_ACK, 145_758_918, 101, 0));
    assert!(c.goes(&mut world, ACK, 101, 145_758_919, 1));
    assert_eq!(state(&world), Some(SessionState::Open));
}

#[test]
fn synack_reuse_a_new_syn_is_challenged_reset_and_then_opens_anew() {
    let mut world = World::new();
    let (server, client) = (at("10.1.0.2", 80), at("8.8.8.8", 5_000));
    world.nat.publish(&[published(Protocol::Tcp, 8_080, 1, server)]);
    let c = Connection { inside: server, remote: client, outside: at(ONE, 8_080) };
    assert!(c.comes(&mut world, SYN, 0, 0, 0) && c.goes(&mut world, SYN_ACK, 0, 1, 0));
    assert_eq!(state(&world), Some(SessionState::HalfOpen));
    assert!(c.comes(&mut world, ACK, 1, 1, 0));
    assert!(c.comes(&mut world, ACK, 1, 1, 100) && c.goes(&mut world, ACK, 1, 101, 0));
    assert!(c.comes(&mut world, SYN, 2_000, 0, 0) && c.goes(&mut world, ACK, 1, 101, 0));
    assert_eq!(state(&world), Some(SessionState::Open), "a SYN proves nothing");
    assert!(c.comes(&mut world, RST_ACK, 101, 1, 0));
    assert!(c.comes(&mut world, SYN, 2_000, 0, 0));
    assert_eq!(state(&world), Some(SessionState::Opening));
    assert!(c.goes(&mut world, SYN_ACK, 7_000, 2_001, 0) && c.comes(&mut world, ACK, 2_001, 7_001, 0));
    assert_eq!(state(&world), Some(SessionState::Open));
}
