//! Starts a node: its sockets, its thread, and the handle on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use miso_store::Store;
use tokio::sync::{Notify, mpsc, watch};

use super::driver::Driver;
use super::handle::Handle;
use super::mailbox::{Gauges, Mailbox};
use super::settings::Settings;
use crate::overlay::ADDRESSES_MAX;

/// Starts a node in a thread of its own.
///
/// # Errors
/// If an address cannot be listened on, or the thread not be started.
pub fn start(mut settings: Settings, store: Arc<Store>) -> io::Result<Handle> {
    let began = Instant::now();
    let mut listeners = Vec::new();
    for address in &settings.peer_bind {
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    let addresses =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let told = &mut settings.node.overlay.addresses;
    if told.is_empty() {
        *told = reachable(&addresses);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (requests, inbox) = mpsc::unbounded_channel();
    let (fatal, is_fatal) = watch::channel(None);
    let mailbox = Arc::new(Mailbox {
        began,
        wrote: Mutex::default(),
        wake: Notify::new(),
        gauges: Gauges::default(),
        requests,
        fatal: is_fatal,
        addresses,
        thread: Mutex::default(),
    });
    let driver = Driver::new(settings, store, Arc::clone(&mailbox), inbox, fatal);
    let run = move || {
        runtime.block_on(driver.run(listeners));
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("miso-replication".into()).spawn(run)?;
    *mailbox.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(Handle(mailbox))
}

/// Where peers reach this node, by what it listens on.
fn reachable(bound: &[SocketAddr]) -> Vec<String> {
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
