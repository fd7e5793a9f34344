//! NAT, the gateway and published ports on real packets, requirement by requirement.
//!
//! Each requirement of RFC 4787, 5382 and 5508 that packets can show within seconds, by the ids of the conformance list
//! (U, T, I, K), and each promise of the product's own, is one function of a [`lab::Kind`]: who translates. One test for
//! each holds the product to it. One more test puts the same questions to the kernel (bridge, veth and nftables as Docker
//! arranges them), and asserts nothing of it but that the rig works: what the kernel is known to break shows that the
//! battery can fail. Both columns are written to `target/nat-conformance.md`.
//!
//! "Nothing arrives" is never waited for where a good packet can be sent after the bad one. Timers are minutes: unit tests
//! on the injected clock hold them.
//!
//! ```text
//! lab, kernel, weft   the scene and who translates in it     ends, sockets, packet   who speaks, ordinarily or crafted
//! mapping, filtering, hairpin, icmp, size, tcp, input, ipv6   the RFCs and hostile input
//! gateway, hostleg, published, refused, uplink, limits, life   what the product promises besides
//! outcome                                                     holds, breaks, not applicable; the table
//! ```

mod ends;
mod filtering;
mod gateway;
mod hairpin;
mod hostleg;
mod icmp;
mod input;
mod ipv6;
mod kernel;
mod lab;
mod life;
mod limits;
mod mapping;
mod outcome;
mod packet;
mod published;
mod refused;
mod size;
mod sockets;
mod tcp;
mod uplink;
mod weft;

use harness::need;
use lab::Kind;
use outcome::Requirement;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What no packet shows within seconds, said below the table.
const NOT_HERE: &str = "
Held elsewhere: U-5, I-2, T-5 and the six seconds of T-4 are timers (unit tests on the injected clock); U-7 is the choice
of subnets that do not overlap the host's (tests of IPAM); U-10 and T-6 hold because there is no ALG; U-11 is the model
with random histories beside the table of sessions; C ids are limits (unit tests).
";

/// What is only recommended, and what the product does instead: told in the table, and no failure.
const DECLINED: &[(&str, &str)] = &[(
    "u_3a_a_privileged_port_stays_privileged",
    "recommended only; no privileged port of the host is ever taken",
)];

/// Makes one test of the product for each requirement, and the list for the kernel.
macro_rules! battery {
    ($($theme:ident: $($name:ident)+;)+) => {
        $($(
            #[test]
            fn $name() {
                outcome::weft_holds(Requirement { name: stringify!($name), check: $theme::$name });
            }
        )+)+

        const ALL: &[Requirement] =
            &[$($(Requirement { name: stringify!($name), check: $theme::$name }),+),+];
    };
}

battery! {
    mapping:
        rig_udp_tcp_and_ping_pass
        u_1_one_outside_port_for_every_destination
        u_1_one_outside_port_also_when_two_hosts_use_the_same
        u_2_a_container_keeps_one_outside_address
        u_3_two_containers_never_share_an_outside_port
        u_3a_a_port_stays_unprivileged
        u_3a_a_privileged_port_stays_privileged
        u_4_a_port_keeps_its_parity
        t_1_one_outside_port_for_every_destination
        t_7_two_containers_never_share_an_outside_port
        u_6_what_leaves_keeps_a_mapping_alive;
    filtering:
        u_8_strangers_are_dropped_and_other_ports_of_a_peer_are_not
        u_8_endpoint_independent_filtering_can_be_chosen
        t_3_a_stranger_cannot_connect_to_a_mapping
        t_4_an_unsolicited_syn_is_met_with_silence
        shadow_udp_a_containers_port_never_takes_a_host_services
        shadow_tcp_a_containers_port_never_takes_a_host_services
        shadow_udp_a_containers_port_never_takes_a_published_one
        shadow_tcp_a_containers_port_never_takes_a_published_one
        shadow_the_host_cannot_take_a_mappings_port
        shadow_the_tunnel_port_is_nobodys_mapping;
    hairpin:
        u_9_two_mappings_reach_each_other_with_their_outside_addresses
        u_9a_a_published_udp_port_sees_a_siblings_outside_address
        u_9a_a_container_reaches_its_own_published_udp_port
        t_8_a_published_tcp_port_sees_a_siblings_outside_address
        t_8_a_container_reaches_its_own_published_tcp_port
        i_7_an_error_about_a_hairpinned_datagram_comes_back
        published_by_the_gateways_address_and_the_host_has_the_other_ports
        published_by_the_gateways_address_on_an_overlay;
    icmp:
        i_1_pings_with_the_same_id_from_two_containers
        i_1a_a_query_keeps_its_outside_id_for_every_host
        i_1_pings_of_every_size_pass
        i_1_a_request_from_outside_reaches_no_container
        u_12_a_closed_port_is_told_and_the_mapping_lives_on
        u_12a_an_error_from_a_router_on_the_way_is_told
        u_12_fragmentation_needed_further_on_is_told_with_its_mtu
        i_3_an_error_with_a_wrong_checksum_is_dropped
        i_3a_an_error_that_embeds_a_wrong_header_checksum_is_dropped
        i_3b_options_of_the_embedded_header_are_skipped
        i_3c_an_error_with_more_of_the_packet_and_extensions_is_told
        i_4_errors_from_outside_about_foreign_flows_are_dropped
        i_5_errors_from_inside_are_told_with_outside_addresses
        i_5_errors_from_inside_about_foreign_flows_are_dropped
        t_9_an_error_about_a_syn_is_told
        t_10_no_error_ends_a_connection;
    size:
        u_13_a_datagram_with_df_too_big_for_the_uplink_is_answered
        u_13_the_mtu_told_fits_and_tcp_gets_through
        u_13_a_datagram_with_df_too_big_for_the_network_is_answered_outside
        u_13a_a_datagram_without_df_is_cut_in_order
        u_14_large_datagrams_pass_both_ways
        u_14_pieces_out_of_order_leave_whole
        rfc6864_pieces_of_two_containers_with_one_identification_are_told_apart
        u_14_pieces_out_of_order_come_in_whole
        u_14a_overlapping_pieces_are_not_delivered_and_harm_nobody
        u_14a_pieces_of_many_strangers_do_not_stop_large_datagrams
        u_14_large_pings_come_back_in_pieces
        u_13_over_ipv6_packet_too_big_tells_the_mtu;
    tcp:
        t_2_a_connection_opens_and_closes
        t_2_a_simultaneous_open_works
        t_2_a_syn_may_be_repeated_and_refused
        t_2_a_closed_connections_port_may_be_used_again
        t_10_a_reset_out_of_the_window_ends_nothing
        t_10_forged_resets_do_not_end_a_real_connection
        t_10_a_right_reset_comes_in;
    input:
        k_2_a_udp_checksum_of_zero_stays_zero
        k_3_no_computed_udp_checksum_is_zero
        k_1_checksums_are_right_and_a_wrong_one_stays_wrong
        bad_source_routed_packets_are_dropped
        bad_source_addresses_never_leave
        bad_lengths_and_header_checksums_never_leave
        bad_ports_of_zero_never_leave
        bad_answers_to_nobody_do_not_come_in
        bad_sources_from_outside_do_not_come_in
        bad_ttl_ends_and_the_others_count_down;
    ipv6:
        nat66_pings_of_every_size_pass
        nat66_udp_keeps_one_outside_port_and_shares_none
        nat66_tcp_connects
        nat66_large_datagrams_pass_both_ways
        nat66_a_closed_port_is_told;
    gateway:
        gateway_answers_arp_and_nd_with_its_own_mac
        gateway_answers_pings_of_every_size_in_both_families
        gateway_tells_that_a_ttl_is_exceeded
        gateway_tells_that_a_hop_limit_is_exceeded
        gateway_answers_for_a_sibling_without_flooding
        gateway_answers_for_a_sibling_over_ipv6_and_not_for_a_probe
        gateway_leaves_probes_for_an_address_to_its_owner
        gateway_routes_between_subnets_of_a_network
        gateway_of_an_internal_network_is_not_there
        gateway_keeps_networks_apart
        gateway_follows_the_hosts_routes;
    published:
        published_tcp_sees_the_address_of_another_machine
        published_udp_sees_the_address_of_another_machine
        published_tcp_and_udp_answer_the_host_itself
        published_large_datagrams_pass_from_outside_and_from_the_host
        published_over_ipv6_sees_the_address_of_another_machine
        published_bulk_arrives_whole_from_outside_and_from_the_host
        published_ranges_lead_port_by_port
        published_without_a_host_port_gets_one_and_port_ls_tells_it
        published_udp_goes_to_the_new_container_at_once
        published_ends_with_the_connection_to_the_network
        published_on_one_address_answers_there_only
        published_ports_survive_a_daemon_and_its_successor
        published_is_shown_by_inspect_and_nat_show;
    hostleg:
        host_and_containers_reach_each_other
        host_services_on_the_gateways_address_are_reached
        host_access_can_be_switched_off;
    uplink:
        uplink_down_and_up_new_sessions_work
        uplink_down_and_up_sessions_live_on
        uplink_down_sessions_outlive_both_processes
        uplink_removed_and_made_anew_new_sessions_work
        uplink_with_another_address_new_sessions_have_it
        uplink_with_another_address_connections_by_the_former_one_are_reset
        uplink_with_a_smaller_mtu_is_followed
        uplink_by_two_links_each_destination_takes_its_own;
    refused:
        published_a_port_that_a_process_has_is_refused_with_its_name
        published_a_port_of_another_endpoint_is_refused_with_its_name;
    limits:
        limits_many_sessions_at_once_all_work
        limits_a_burst_of_new_sessions_loses_none
        limits_one_container_that_takes_all_ports_harms_no_other
        limits_a_flood_of_syns_does_not_stop_a_connection;
    life:
        life_a_daemon_killed_under_a_transfer_breaks_nothing
        life_sessions_outlive_the_packet_process
        life_sessions_outlive_a_daemon_and_its_successor_knows_them
        life_sessions_end_with_their_container
        life_a_transfer_goes_on_when_the_packet_process_is_killed
        speed_super_frames_stay_whole_on_the_way_out
        speed_super_frames_stay_whole_on_the_way_in
        drops_none_are_counted_under_plain_traffic
        rules_none_of_netfilter_are_made
        firewall_a_flush_of_all_rules_changes_nothing;
}

/// How many labs of the kernel's stand at once.
const SIDE_BY_SIDE: usize = 4;

#[test]
fn the_kernel_beside_it() {
    need!(Root, Nft);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(requirement) = ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    outcome::try_kernel(*requirement);
                }
            });
        }
    });
    println!("{}", outcome::table());
    if let Err(miss) = mapping::rig_udp_tcp_and_ping_pass(Kind::Kernel) {
        panic!("the rig does not work: {miss:?}");
    }
}
