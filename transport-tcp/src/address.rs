//! What may be dialled.

use std::error::Error;
use std::fmt;
use std::net::SocketAddrV6;

/// An address that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    address: Box<str>,
    problem: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address \"{}\": {}", self.address, self.problem)
    }
}

impl Error for AddressError {}

/// Returns the `host:port` of an address after a look at its form; nothing is resolved.
pub(crate) fn checked(address: &str) -> Result<&str, AddressError> {
    let result = match address.split_once("://") {
        None => host_and_port(address),
        Some(("tcp", rest)) => host_and_port(rest),
        Some(_) => Err("only tcp:// or a bare host:port is dialled by this transport"),
    };
    result.map_err(|problem| AddressError { address: address.into(), problem })
}

fn host_and_port(address: &str) -> Result<&str, &'static str> {
    let (host, port) = address.rsplit_once(':').ok_or("it needs a port, as in host:9000")?;
    if host.starts_with('[') {
        address
            .parse::<SocketAddrV6>()
            .map_err(|_| "in brackets stands an IPv6 address and after them a port: [::1]:9000")?;
    } else if host.contains(':') {
        return Err("an IPv6 address stands in brackets, as in [::1]:9000");
    }
    if host.is_empty() {
        return Err("it needs a host before the port");
    }
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:%".contains(&byte);
    if !host.bytes().all(of_a_host) {
        return Err("a host has letters, digits, dots and hyphens only");
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(address),
        _ => Err("the port is not in 1..=65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_lose_their_scheme_only() {
        for (given, dialled) in [
            ("10.0.0.8:9000", "10.0.0.8:9000"),
            ("tcp://10.0.0.8:9000", "10.0.0.8:9000"),
            ("worker-1.example.org:1", "worker-1.example.org:1"),
            ("tcp://docker_name:65535", "docker_name:65535"),
            ("[::1]:9000", "[::1]:9000"),
            ("tcp://[fe80::1%3]:9000", "[fe80::1%3]:9000"),
        ] {
            assert_eq!(checked(given), Ok(dialled), "{given}");
        }
    }

    #[test]
    fn bad_addresses_are_named_with_what_is_wrong() {
        for (given, problem) in [
            ("", "needs a port"),
            ("host", "needs a port"),
            (":9000", "needs a host"),
            ("host:", "not in 1..=65535"),
            ("host:0", "not in 1..=65535"),
            ("host:65536", "not in 1..=65535"),
            ("host:+80", "not a number"),
            ("host:80/path", "not a number"),
            ("ho st:80", "letters, digits"),
            ("user@host:80", "letters, digits"),
            ("::1:9000", "in brackets"),
            ("[::1]", "in brackets"),
            ("[nonsense]:80", "in brackets"),
            ("ws://host:80", "only tcp://"),
        ] {
            let text = checked(given).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
            assert!(text.contains(&format!("\"{given}\"")), "{text}");
        }
    }
}
