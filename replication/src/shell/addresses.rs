//! Where peers reach this node, by what it listens on: followed while it runs, since a node may be
//! started before its network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;

use super::peers::Event;
use crate::overlay::ADDRESSES_MAX;

/// How often the interfaces are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// Tells whenever peers reach this node at other addresses than before.
pub(super) async fn follow(
    bound: Vec<SocketAddr>,
    mut told: Vec<String>,
    events: mpsc::Sender<Event>,
) {
    if bound.iter().all(|address| !address.ip().is_unspecified()) {
        return;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let now = reachable(&bound);
        if now != told {
            told.clone_from(&now);
            if events.send(Event::Addresses { addresses: now }).await.is_err() {
                return;
            }
        }
    }
}

/// Where peers reach this node now.
pub(super) fn reachable(bound: &[SocketAddr]) -> Vec<String> {
    let mut told = Vec::new();
    for address in bound {
        if !address.ip().is_unspecified() {
            told.push(address.to_string());
            continue;
        }
        let same_family = |ip: &IpAddr| address.is_ipv6() || ip.is_ipv4();
        let reaches = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        };
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let ips = interfaces.iter().map(if_addrs::Interface::ip);
        let mut ips: Vec<IpAddr> = ips.filter(same_family).filter(reaches).collect();
        ips.sort_unstable();
        if ips.is_empty() {
            ips.push(Ipv4Addr::LOCALHOST.into());
        }
        told.extend(ips.iter().map(|ip| SocketAddr::new(*ip, address.port()).to_string()));
    }
    told.truncate(ADDRESSES_MAX);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_listened_on_is_told_as_it_is() {
        let address: SocketAddr = "127.0.0.3:7379".parse().expect("an address");
        assert_eq!(reachable(&[address]), ["127.0.0.3:7379"]);
    }
}
