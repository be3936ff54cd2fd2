//! The addresses that lead inward, or nowhere that a user's URL should lead. At least as strict as Python's
//! `ipaddress.is_global`: addresses that carry an IPv4 address (mapped, NAT64, 6to4, Teredo) are refused whatever they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4: the first address of a range, and how many of its bits say what is in it.
const V4: [(Ipv4Addr, u32); 19] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // With what clouds tell their machines (169.254.169.254), containers (.170.2) and pods (.170.23): credentials.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // The same at Azure, in the middle of public addresses.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, and all that follows it up to broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// IPv6, as above. Public addresses are in 2000::/3 alone; the first three ranges are all else.
const V6: [(Ipv6Addr, u32); 8] = [
    // ::1, ::127.0.0.1, ::ffff:127.0.0.1, ::ffff:0:127.0.0.1, 64:ff9b::/96, 64:ff9b:1::/48, 100::/64, 100:0:0:1::/64
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 3),
    // 5f00::/16
    (Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 0), 2),
    // fc00::/7 with fd00:ec2::254, fe80::/10, fec0::/10, ff00::/8
    (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0), 1),
    // With Teredo, 2001::/32.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether the whole internet can reach this address, and nothing but it is reached there.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            !V4.iter().any(|(first, length)| (bits ^ first.to_bits()).leading_zeros() >= *length)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            !V6.iter().any(|(first, length)| (bits ^ first.to_bits()).leading_zeros() >= *length)
        }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::{IpNet, Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    /// What the design names, in the notation of the registries: written apart from the table, and held against it.
    const NOT_PUBLIC: &str = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
        192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
        224.0.0.0/4 240.0.0.0/4 168.63.129.16/32 255.255.255.255/32 169.254.170.2/32 169.254.170.23/32
        ::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16
        2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 fd00:ec2::254/128
        ::/3 4000::/2 8000::/1";

    fn ranges() -> Vec<IpNet> {
        NOT_PUBLIC.split_whitespace().map(|range| range.parse().unwrap()).collect()
    }

    fn neighbours(range: IpNet) -> Vec<IpAddr> {
        let (first, last) = (range.network(), range.broadcast());
        let (below, above) = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (
                first.to_bits().checked_sub(1).map(|bits| IpAddr::V4(bits.into())),
                last.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
            ),
            (IpAddr::V6(first), IpAddr::V6(last)) => (
                first.to_bits().checked_sub(1).map(|bits| IpAddr::V6(bits.into())),
                last.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
            ),
            _ => unreachable!("both ends are of one family"),
        };
        below.into_iter().chain(above).collect()
    }

    fn expected(address: IpAddr) -> bool {
        !ranges().iter().any(|range| range.contains(&address))
    }

    #[test]
    fn both_ends_of_each_range_are_refused_and_its_neighbours_are_what_the_list_says() {
        let mut open = 0;
        for range in ranges() {
            assert!(!is_public(range.network()) && !is_public(range.broadcast()), "{range}");
            for neighbour in neighbours(range) {
                assert_eq!(is_public(neighbour), expected(neighbour), "{neighbour}, beside {range}");
                open += usize::from(expected(neighbour));
            }
        }
        assert!(open >= 30, "{open} neighbours are public");
    }

    #[test]
    fn well_known_public_addresses_are_public() {
        for address in ["1.1.1.1", "8.8.8.8", "52.94.236.248", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn the_table_is_the_list(bits: u32, wide: u128, near in 0_usize..1_000, off in -3_i64..=3) {
            prop_assert_eq!(is_public(IpAddr::V4(bits.into())), expected(IpAddr::V4(bits.into())));
            prop_assert_eq!(is_public(IpAddr::V6(wide.into())), expected(IpAddr::V6(wide.into())));
            let public_half = (wide >> 3) | (1 << 125);
            prop_assert_eq!(is_public(IpAddr::V6(public_half.into())), expected(IpAddr::V6(public_half.into())));
            let ranges = ranges();
            let address = match ranges[near % ranges.len()] {
                IpNet::V4(range) => near_v4(range, off),
                IpNet::V6(range) => near_v6(range, off),
            };
            prop_assert_eq!(is_public(address), expected(address), "{}", address);
        }
    }

    fn near_v4(range: Ipv4Net, off: i64) -> IpAddr {
        let end = if off < 0 { range.network() } else { range.broadcast() };
        IpAddr::V4(end.to_bits().wrapping_add_signed(off.try_into().unwrap()).into())
    }

    fn near_v6(range: Ipv6Net, off: i64) -> IpAddr {
        let end = if off < 0 { range.network() } else { range.broadcast() };
        IpAddr::V6(end.to_bits().wrapping_add_signed(off.into()).into())
    }
}
