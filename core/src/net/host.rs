//! Who counts as one peer, where something is bounded for each.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Address;

/// Returns the host in the text `peer`, which names an end of a connection as `host:port`, or `None`
/// where it does not.
///
/// It is meant for limits, so what one machine can change at will is left out: the port, the zone, and
/// the lower half of an IPv6 address, of which a machine has as many as it likes (RFC 8981). Two
/// machines in one network of 64 bits count as one host by that, as two behind one IPv4 address do.
/// An IPv4 address that is written as IPv6 (`::ffff:0:0/96`, or `64:ff9b::/96` of RFC 6052) is that IPv4
/// address, and loopback is itself.
///
/// ```
/// use chargehand_core::net::host_of;
///
/// assert_eq!(host_of("10.0.0.8:9000").as_deref(), Some("10.0.0.8"));
/// assert_eq!(host_of("[::ffff:10.0.0.8]:9000").as_deref(), Some("10.0.0.8"));
/// assert_eq!(host_of("[2001:db8::7:8]:9000").as_deref(), Some("2001:db8::/64"));
/// assert_eq!(host_of("Worker-1:9000").as_deref(), Some("worker-1"));
/// assert_eq!(host_of("/run/socket"), None);
/// ```
pub fn host_of(peer: &str) -> Option<Box<str>> {
    if let Ok(address) = peer.parse::<SocketAddr>() {
        return Some(of_ip(address.ip()));
    }
    let address = Address::to_dial(peer).ok()?;
    let host = address.host().split_once('%').map_or(address.host(), |(ip, _zone)| ip);
    Some(host.parse().map_or_else(|_| host.to_ascii_lowercase().into(), of_ip))
}

fn of_ip(ip: IpAddr) -> Box<str> {
    match ip {
        IpAddr::V4(ip) => ip.to_string().into(),
        IpAddr::V6(ip) => match inner_v4(ip) {
            Some(ip) => ip.to_string().into(),
            None if ip.is_loopback() => ip.to_string().into(),
            None => {
                let network = Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX));
                format!("{network}/64").into()
            }
        },
    }
}

fn inner_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = ip.octets();
    let prefix = ip.to_bits() >> 32;
    matches!(prefix, 0xffff | 0x0064_ff9b_0000_0000_0000_0000).then(|| Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_can_change_at_will_is_left_out() {
        for (peer, host) in [
            ("10.0.0.8:9000", "10.0.0.8"),
            ("[::1]:9000", "::1"),
            ("[::ffff:127.0.0.1]:9000", "127.0.0.1"),
            ("[64:ff9b::10.1.2.3]:9000", "10.1.2.3"),
            ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2:ffff:ffff:ffff:ffff]:2", "2001:db8:1:2::/64"),
            ("[fe80::1%3]:9000", "fe80::/64"),
            ("[fe80::1%eth0]:9000", "fe80::/64"),
            ("Worker-1.example.org:9000", "worker-1.example.org"),
        ] {
            assert_eq!(host_of(peer).as_deref(), Some(host), "{peer}");
        }
    }

    #[test]
    fn what_names_no_host_is_none() {
        for peer in ["", "17", "/run/socket", "memory", "/dev/ttyUSB0", "(unnamed)", ":80"] {
            assert_eq!(host_of(peer), None, "{peer}");
        }
    }
}
