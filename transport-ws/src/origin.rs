//! Whose page opens a connection, as a browser tells it (RFC 6454).

/// A scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    /// `None` where the scheme has no usual one and none was given.
    port: Option<u16>,
}

impl Origin {
    /// What the clients of the Go package say, wherever they are.
    pub(crate) fn of_go() -> Self {
        Self { scheme: "http".into(), host: "localhost".into(), port: Some(80) }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "not an origin; expected scheme://host[:port]";
        let (scheme, authority) = text.split_once("://").ok_or(EXPECTED)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !is_scheme {
            return Err(EXPECTED);
        }
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return Err("an origin has no user, path, query or slash at its end");
        }
        let (host, port) = match authority.rfind([':', ']']) {
            Some(at) if authority[at..].starts_with(':') => {
                (&authority[..at], Some(&authority[at + 1..]))
            }
            _ => (authority, None),
        };
        let is_host = if let Some(inner) = host.strip_prefix('[') {
            inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
        } else {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"[]:,".contains(c))
        };
        if !is_host {
            return Err(EXPECTED);
        }
        let scheme = scheme.to_ascii_lowercase();
        let port = match port {
            Some(port) => Some(number(port).ok_or("the port is not in 1..=65535")?),
            None => match &*scheme {
                "http" | "ws" => Some(80),
                "https" | "wss" => Some(443),
                _ => None,
            },
        };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

fn number(port: &str) -> Option<u16> {
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| is_plain && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_equal_whatever_their_case_and_with_the_usual_port() {
        for (one, other) in [
            ("http://localhost", "HTTP://LocalHost:80"),
            ("https://example.org", "https://EXAMPLE.org:443"),
            ("http://[::1]", "http://[::1]:80"),
            ("chrome-extension://abcdef", "Chrome-Extension://ABCDEF"),
        ] {
            assert_eq!(Origin::parse(one).unwrap(), Origin::parse(other).unwrap());
        }
        assert_eq!(Origin::parse("http://localhost").unwrap(), Origin::of_go());
    }

    #[test]
    fn origins_differ_by_scheme_host_or_port() {
        let all = [
            "http://localhost",
            "https://localhost",
            "http://localhost:8080",
            "http://localhost.",
            "http://localhost.evil.org",
            "http://127.0.0.1",
            "http://[::1]",
            "http://[::1]:8080",
            "x://y",
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(Origin::parse(one).unwrap(), Origin::parse(other).unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "localhost",
            "localhost:80",
            "//localhost",
            "://localhost",
            "http://",
            "http://:80",
            "http://localhost:",
            "http://localhost:0",
            "http://localhost:65536",
            "http://localhost:+80",
            "http://localhost/",
            "http://localhost/path",
            "http://u@localhost",
            "http://localhost?x",
            "http://localhost#x",
            "http://local host",
            "http://a, http://b",
            "http://[::1",
            "http://::1",
            "http://[x]",
            "1http://localhost",
            "http://localh\u{f6}st",
            "http://localhost\\",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
