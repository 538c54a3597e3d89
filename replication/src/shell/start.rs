//! Starts a node: its sockets, its thread, and the handle on it.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use miso_store::Store;
use tokio::sync::{Notify, mpsc, watch};

use super::addresses::reachable;
use super::driver::Driver;
use super::handle::Handle;
use super::mailbox::{Gauges, Mailbox};
use super::settings::Settings;

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
    settings.follow_addresses = told.is_empty();
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
