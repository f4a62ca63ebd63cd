//! Who may ask: whoever has the key or, where there is none, whoever is on this machine.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::header::HOST;
use sha2::Digest;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::address::is_loopback;
use crate::error::ApiError;
use crate::error::Result;

#[derive(Debug)]
pub(crate) struct Guard {
    /// The key's SHA-256: digests are of one length, so that comparing them tells nothing of the key's.
    key: Option<[u8; 32]>,
    host: IpAddr,
}

impl Guard {
    pub(crate) fn new(key: Option<&str>, host: IpAddr) -> Self {
        Self { key: key.map(|key| Sha256::digest(key).into()), host }
    }

    /// # Errors
    /// The key is wrong or missing. Without a key: the request is for a host that this machine is not called by everybody,
    /// as that of a web page whose name leads here.
    pub(crate) fn check(&self, headers: &HeaderMap, uri_host: Option<&str>) -> Result<()> {
        match &self.key {
            Some(key) => self.check_key(key, headers),
            None => match self.is_own(headers, uri_host) {
                true => Ok(()),
                false => Err(ApiError::foreign_host()),
            },
        }
    }

    fn check_key(&self, key: &[u8; 32], headers: &HeaderMap) -> Result<()> {
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.split_at_checked(7)).filter(|(scheme, _)| {
            // The scheme's case does not matter (RFC 9110, 11.1).
            scheme.eq_ignore_ascii_case(b"Bearer ")
        });
        let Some((_, given)) = given else { return Err(ApiError::wrong_key(false)) };
        let given: [u8; 32] = Sha256::digest(given.trim_ascii()).into();
        match given.ct_eq(key).into() {
            true => Ok(()),
            false => Err(ApiError::wrong_key(true)),
        }
    }

    /// Whether all that the request says of its host is an address of this server, or `localhost`.
    fn is_own(&self, headers: &HeaderMap, uri_host: Option<&str>) -> bool {
        let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let mut named = named.chain(uri_host).peekable();
        named.peek().is_some() && named.all(|host| self.is_own_name(without_port(host)))
    }

    fn is_own_name(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = address.parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| is_loopback(it) || it == self.host)
    }
}

/// A host without `:PORT`. Which port does not matter: the client may come through a forwarded one.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        let guard = Guard::new(None, [127, 0, 0, 1].into());
        for host in ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:80", "127.8.9.1", "[::1]", "[::1]:8000"] {
            assert!(guard.is_own_name(without_port(host)), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "[::2]:80",
            "::",
            "localhost:80:80",
            "0.0.0.0",
            "user@localhost",
            "localhost.",
        ] {
            assert!(!guard.is_own_name(without_port(host)), "{host}");
        }
    }
}
