//! Finding nodes on the local network: `_miso._tcp.local.`, with TXT records `cl` (a hash of the
//! cluster's name), `rid` (the ReplicaId) and `v` (the version); `at0`, `at1` and so on say where the
//! node wants to be reached, if that is not where it listens: an address record can say neither a
//! name nor another host's address nor several ports.
//!
//! mDNS finds, and nothing more: records of the dead live on for minutes, and a record that is removed
//! says nothing about a stream that works. The identity of a node is in its Hello.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;

use super::peers::Event;
use super::settings::Mdns;
use crate::overlay::{ADDRESS_MAX, Config};

const SERVICE: &str = "_miso._tcp.local.";
/// The most addresses that are told or taken of one node.
const ADDRESSES: usize = 16;
/// The well-known UDP port of mDNS.
const PORT: u16 = 5353;
/// Ports below are other services'.
const PORT_MIN: u16 = 1024;
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// A TXT record's string, key and all, has no more bytes.
const TXT_MAX: usize = 255;

/// Announces this node until it is dropped.
pub(super) struct Announcement {
    daemon: ServiceDaemon,
    fullname: String,
    cluster: String,
    replica: String,
}

/// Announces this node and looks for others, for ever. If that cannot be, as when another program has the
/// UDP port for itself, it is said once and tried again.
pub(super) async fn run(
    settings: Mdns,
    config: Config,
    bound: Vec<SocketAddr>,
    events: mpsc::Sender<Event>,
) {
    let mut is_said = false;
    loop {
        let port = settings.port.unwrap_or(PORT);
        let started = probe(port).map_err(|error| error.to_string());
        let started = started
            .and_then(|()| start(&settings, &config, &bound).map_err(|error| error.to_string()));
        let error = match started {
            Ok(announcement) => {
                let began = tokio::time::Instant::now();
                browse(&announcement, &events).await;
                if events.is_closed() {
                    return;
                }
                is_said &= began.elapsed() < AGAIN * 2;
                "its daemon has ended".to_owned()
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(
                "no mDNS on UDP port {port}: {error}; nodes are found by seeds alone, and it is tried \
                 again every {AGAIN:?}"
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether the UDP port can be shared: the daemon goes on in silence if it cannot.
fn probe(port: u16) -> std::io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())
}

/// Announces this node.
fn start(
    settings: &Mdns,
    config: &Config,
    bound: &[SocketAddr],
) -> Result<Announcement, mdns_sd::Error> {
    let daemon = match settings.port {
        Some(port) => ServiceDaemon::new_with_port(port)?,
        None => ServiceDaemon::new()?,
    };
    let interfaces = interfaces(bound);
    if let Some(interfaces) = &interfaces {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(interfaces.clone())?;
    }
    let cluster = cluster_hash(&config.cluster);
    let replica = format!("{:016x}", config.replica.0);
    let txt = txt(&cluster, &replica, &config.version, &settings.announce);
    let service = service(&txt, &replica, bound, interfaces)?;
    let fullname = service.get_fullname().to_owned();
    daemon.register(service)?;
    Ok(Announcement { daemon, fullname, cluster, replica })
}

fn txt(cluster: &str, replica: &str, version: &str, announce: &[String]) -> Vec<(String, String)> {
    let own = [("cl", cluster), ("rid", replica), ("v", version)];
    let mut txt: Vec<(String, String)> =
        own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    for (at, address) in announce.iter().take(ADDRESSES).enumerate() {
        let key = format!("at{at}");
        if key.len() + 1 + address.len() > TXT_MAX {
            tracing::warn!(%address, "too long for mDNS: nodes do not find this one by it");
            continue;
        }
        txt.push((key, address.clone()));
    }
    txt
}

fn service(
    txt: &[(String, String)],
    replica: &str,
    bound: &[SocketAddr],
    interfaces: Option<Vec<IfKind>>,
) -> Result<ServiceInfo, mdns_sd::Error> {
    let ips: Vec<IpAddr> = match interfaces {
        Some(_) => bound.iter().map(SocketAddr::ip).collect(),
        None => Vec::new(),
    };
    let port = bound.first().map_or(0, SocketAddr::port);
    let name = format!("miso-{replica}");
    let host = format!("{name}.local.");
    let mut service = ServiceInfo::new(SERVICE, &name, &host, &ips[..], port, txt)?;
    // The name is random, so it need not be probed whether it is free; the node is found a second sooner.
    service.set_requires_probe(false);
    match interfaces {
        Some(interfaces) => service.set_interfaces(interfaces),
        None => service = service.enable_addr_auto(),
    }
    Ok(service)
}

/// The interfaces that peers can come in by; none: all.
fn interfaces(bound: &[SocketAddr]) -> Option<Vec<IfKind>> {
    let kind = |address: &SocketAddr| match address.ip() {
        ip if ip.is_unspecified() => None,
        IpAddr::V4(ip) if ip.is_loopback() => Some(IfKind::LoopbackV4),
        IpAddr::V6(ip) if ip.is_loopback() => Some(IfKind::LoopbackV6),
        ip => Some(IfKind::Addr(ip)),
    };
    bound.iter().map(kind).collect()
}

/// Looks for other nodes until the daemon ends.
async fn browse(announcement: &Announcement, events: &mpsc::Sender<Event>) {
    let Announcement { daemon, cluster, replica, .. } = announcement;
    // The daemon silently ends a browse that is not read fast enough: then it is begun anew.
    while let Ok(found) = daemon.browse(SERVICE) {
        while let Ok(event) = found.recv_async().await {
            let ServiceEvent::ServiceResolved(service) = event else { continue };
            if service.get_property_val_str("cl") != Some(cluster.as_str())
                || service.get_property_val_str("rid") == Some(replica.as_str())
            {
                continue;
            }
            for address in addresses(&service).into_iter().filter(|address| may_be_peer(address)) {
                if events.send(Event::Found { address }).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Where a node wants to be reached; else where it listens.
fn addresses(service: &ResolvedService) -> Vec<String> {
    let told = (0..ADDRESSES).filter_map(|at| service.get_property_val_str(&format!("at{at}")));
    let told: Vec<String> = told.map(str::to_owned).collect();
    if !told.is_empty() {
        return told;
    }
    let port = service.get_port();
    let socket = |ip: &ScopedIp| match ip {
        // An address of the link alone is one only together with its interface.
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into()
        }
        ip => SocketAddr::new(ip.to_ip_addr(), port),
    };
    let mut addresses: Vec<SocketAddr> = service.get_addresses().iter().map(socket).collect();
    addresses.sort_unstable();
    addresses.iter().map(SocketAddr::to_string).take(ADDRESSES).collect()
}

/// Anything on the network may announce anything: no other service's port is dialed.
fn may_be_peer(address: &str) -> bool {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    address.len() <= ADDRESS_MAX && port.is_some_and(|port| port >= PORT_MIN)
}

/// Not a secret: it only spares clusters on one network each other's dials. FNV-1a.
fn cluster_hash(cluster: &str) -> String {
    let hash = cluster.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The daemon has a thread of its own, which does both in order. It answers when it is done, but
        // a goodbye that is lost costs nothing.
        let told = self.daemon.unregister(&self.fullname);
        if let Ok(told) = told {
            let _ = told.recv_timeout(Duration::from_millis(200));
        }
        let _ = self.daemon.shutdown();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_of_another_service_is_dialed_for_an_announcement() {
        for good in ["192.0.2.1:1024", "[2001:db8::1]:7379", "node.example:65535"] {
            assert!(may_be_peer(good), "{good}");
        }
        let long = format!("{}:7379", "x".repeat(ADDRESS_MAX));
        for bad in ["192.0.2.1:22", "192.0.2.1:0", "192.0.2.1:1023", "192.0.2.1", "h:65536", &long]
        {
            assert!(!may_be_peer(bad), "{bad}");
        }
    }
}
