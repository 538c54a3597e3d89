//! Addresses that are good on one link alone.

use std::net::{SocketAddr, SocketAddrV6};

/// An address of a link alone, with its interface by name: `[fe80::1%eth0]:7379`. By number the standard
/// library reads it itself.
pub(super) fn scoped(address: &str) -> Option<SocketAddr> {
    let (host, port) = address.strip_prefix('[')?.rsplit_once("]:")?;
    let (ip, interface) = host.split_once('%')?;
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let index = interfaces.iter().find(|it| it.name == interface).and_then(|it| it.index)?;
    Some(SocketAddrV6::new(ip.parse().ok()?, port.parse().ok()?, 0, index).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_may_be_named() {
        let interfaces = if_addrs::get_if_addrs().expect("there are interfaces");
        let loopback = interfaces.iter().find(|it| it.is_loopback()).expect("a loopback interface");
        let Some(SocketAddr::V6(read)) = scoped(&format!("[fe80::7%{}]:7379", loopback.name))
        else {
            panic!("it is not read")
        };
        assert_eq!((Some(read.scope_id()), read.port()), (loopback.index, 7379));
        assert_eq!(scoped("[fe80::7%nosuch]:7379"), None);
        assert_eq!(scoped("[::1]:7379"), None);
    }
}
