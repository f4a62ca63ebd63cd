//! Machines on which ranks run, and how many on each, as command lines and hosts files of the launchers say it.

use std::str::FromStr;

use thiserror::Error;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, or its IPv4 address.
    pub name: String,
    /// How many ranks it takes before the next machine gets some; at least 1.
    pub slots: usize,
}

/// At least one machine, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<Host>);

/// What is wrong with a list of machines.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HostsError {
    /// There is none in it.
    #[error("no host is named")]
    Empty,
    /// A name has a character that is in no name of a host.
    #[error("{0:?} is no name of a host")]
    Name(String),
    /// No launcher takes such an address.
    #[error("{0} is an IPv6 address; launchers of MPI take the host's name instead")]
    Ipv6(String),
    /// What should be the number of ranks is none.
    #[error("{0:?} is no number of ranks")]
    Slots(String),
    /// Something else in a line of a hosts file.
    #[error("{0:?} is neither `slots=` nor `max_slots=`")]
    Word(String),
}

/// The first line, from 1, of a hosts file with something wrong in it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {error}")]
pub struct LineError {
    pub line: usize,
    pub error: HostsError,
}

impl Hosts {
    /// The machines of a hosts file: one a line, `host`, `host:4` as MPICH has it, or `host slots=4` as Open MPI has it. What
    /// follows `#` is a comment. What else Open MPI lets a line say, `max_slots=`, does not matter for as many ranks as are
    /// asked for. A machine that is named again takes so many more.
    ///
    /// # Errors
    /// A line is something else, or there is none; the latter is reported of line 1.
    pub fn read(text: &str) -> Result<Self, LineError> {
        let mut hosts = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let host = of_line(line).map_err(|error| LineError { line: index + 1, error })?;
            hosts.extend(host);
        }
        Self::of(hosts).map_err(|error| LineError { line: 1, error })
    }

    fn of(hosts: Vec<Host>) -> Result<Self, HostsError> {
        let mut once: Vec<Host> = Vec::new();
        for host in hosts {
            match once.iter_mut().find(|other| other.name == host.name) {
                Some(other) => other.slots = other.slots.saturating_add(host.slots),
                None => once.push(host),
            }
        }
        if once.is_empty() { Err(HostsError::Empty) } else { Ok(Self(once)) }
    }

    /// The machines in the order in which they are filled.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.0.iter()
    }

    /// The same with one slot less on that machine; none if nothing is left.
    pub fn without_one(&self, name: &str) -> Option<Self> {
        let mut hosts = self.0.clone();
        hosts.iter_mut().filter(|host| host.name == name).for_each(|host| host.slots -= 1);
        hosts.retain(|host| host.slots > 0);
        (!hosts.is_empty()).then_some(Self(hosts))
    }

    /// How many ranks they take together.
    pub fn slots(&self) -> usize {
        self.0.iter().fold(0, |sum, host| sum.saturating_add(host.slots))
    }

    /// How many of `ranks` each machine gets; one that gets none is left out. Each is filled before the next one, and if all
    /// are full, all get as many again. So `a:2,b` has 2 + 1 of 3 ranks, and 4 + 1 of 5.
    pub(crate) fn share_out(&self, ranks: usize) -> Vec<(&str, usize)> {
        let (laps, mut left) = (ranks / self.slots(), ranks % self.slots());
        let shares = self.0.iter().map(|host| {
            let more = host.slots.min(left);
            left -= more;
            (host.name.as_str(), laps * host.slots + more)
        });
        shares.filter(|(_, ranks)| *ranks > 0).collect()
    }
}

impl FromStr for Hosts {
    type Err = HostsError;

    /// Machines with commas between them: `a,b:4`.
    fn from_str(text: &str) -> Result<Self, HostsError> {
        if text.trim().is_empty() {
            return Err(HostsError::Empty);
        }
        Self::of(text.split(',').map(|host| of_word(host.trim())).collect::<Result<_, _>>()?)
    }
}

/// `None` for a line of nothing but blanks.
fn of_line(line: &str) -> Result<Option<Host>, HostsError> {
    let mut words = line.split_whitespace();
    let Some(word) = words.next() else { return Ok(None) };
    let mut host = of_word(word)?;
    for word in words {
        match word.split_once('=') {
            Some(("slots", number)) => host.slots = slots(number)?,
            Some(("max_slots" | "max-slots", number)) => drop(slots(number)?),
            _ => return Err(HostsError::Word(word.to_owned())),
        }
    }
    Ok(Some(host))
}

/// `host` or `host:4`.
fn of_word(word: &str) -> Result<Host, HostsError> {
    if word.starts_with('[') || word.matches(':').count() > 1 {
        return Err(HostsError::Ipv6(word.to_owned()));
    }
    let (name, number) = word.split_once(':').map_or((word, None), |(name, number)| (name, Some(number)));
    // A name that began with a dash would be an option.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
        return Err(HostsError::Name(name.to_owned()));
    }
    Ok(Host { name: name.to_owned(), slots: number.map_or(Ok(1), slots)? })
}

fn slots(number: &str) -> Result<usize, HostsError> {
    // Far more than any launcher starts, and so few that sums stay numbers.
    number
        .parse()
        .ok()
        .filter(|slots| (1..=1_000_000).contains(slots))
        .ok_or_else(|| HostsError::Slots(number.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(hosts: &Hosts) -> Vec<(&str, usize)> {
        hosts.iter().map(|host| (host.name.as_str(), host.slots)).collect()
    }

    fn error(text: &str) -> HostsError {
        text.parse::<Hosts>().unwrap_err()
    }

    #[test]
    fn a_list_names_hosts_and_their_slots() {
        let hosts: Hosts = "node1, node2.example.org:4,10.0.0.3:2,node1".parse().unwrap();
        assert_eq!(list(&hosts), [("node1", 2), ("node2.example.org", 4), ("10.0.0.3", 2)]);
        assert_eq!(hosts.slots(), 8);
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        assert_eq!(error(" "), HostsError::Empty);
        assert_eq!(error("a,,b"), HostsError::Name(String::new()));
        assert_eq!(error("a,--mca"), HostsError::Name("--mca".to_owned()));
        assert_eq!(error("a b"), HostsError::Name("a b".to_owned()));
        assert_eq!(error("a:"), HostsError::Slots(String::new()));
        assert_eq!(error("a:0"), HostsError::Slots("0".to_owned()));
        assert_eq!(error("a:99999999999999999999"), HostsError::Slots("99999999999999999999".to_owned()));
        assert_eq!(error("b,[fe80::1]:4"), HostsError::Ipv6("[fe80::1]:4".to_owned()));
        assert_eq!(error("::1"), HostsError::Ipv6("::1".to_owned()));
        assert_eq!(
            error("a:4:eth0").to_string(),
            "a:4:eth0 is an IPv6 address; launchers of MPI take the host's name instead"
        );
    }

    #[test]
    fn files_of_both_kinds_are_read() {
        let text = "# ours\n\nnode1\nnode2:4   # fast\n\tnode3 slots=2 max_slots=8\r\nnode4 max-slots=3\n";
        assert_eq!(list(&Hosts::read(text).unwrap()), [("node1", 1), ("node2", 4), ("node3", 2), ("node4", 1)]);
        let wrong = |text| Hosts::read(text).unwrap_err();
        assert_eq!(wrong("# none\n"), LineError { line: 1, error: HostsError::Empty });
        assert_eq!(wrong("a\nb slots=x"), LineError { line: 2, error: HostsError::Slots("x".to_owned()) });
        assert_eq!(wrong("a\n\nb user=me").to_string(), "line 3: \"user=me\" is neither `slots=` nor `max_slots=`");
    }

    #[test]
    fn a_host_that_is_lost_is_left_out() {
        let hosts: Hosts = "a:2,b".parse().unwrap();
        let fewer = hosts.without_one("a").unwrap();
        assert_eq!(list(&fewer), [("a", 1), ("b", 1)]);
        assert_eq!(list(&fewer.without_one("a").unwrap()), [("b", 1)]);
        assert_eq!(fewer.without_one("a").unwrap().without_one("b"), None);
    }

    #[test]
    fn hosts_are_filled_one_after_the_other_and_then_evenly() {
        let hosts: Hosts = "a:2,b".parse().unwrap();
        assert_eq!(hosts.share_out(1), [("a", 1)]);
        assert_eq!(hosts.share_out(3), [("a", 2), ("b", 1)]);
        assert_eq!(hosts.share_out(5), [("a", 4), ("b", 1)]);
        assert_eq!(hosts.share_out(6), [("a", 4), ("b", 2)]);
        let pair: Hosts = "a,b".parse().unwrap();
        assert_eq!(pair.share_out(4), [("a", 2), ("b", 2)]);
        assert_eq!(pair.share_out(3), [("a", 2), ("b", 1)]);
    }
}
