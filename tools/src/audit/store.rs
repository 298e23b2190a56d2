//! Opening what STORE arguments name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_node::audit::Audited;
use uor_node::service::replica;
use uor_node::site::Site;

use super::error::OpenError;
use crate::console::Console;
use crate::scratch::Scratch;

/// Opens what STORE arguments name: data directories, and running nodes by their multiaddress.
#[derive(Debug)]
pub struct Opener {
    /// Data directory of the member that vouches at running nodes.
    voucher: Option<PathBuf>,
    /// Where replicas are; they go when this does.
    replicas: Vec<Scratch>,
}

impl Opener {
    /// `voucher` as it was given, or else the first of `stores` that is a data directory.
    pub fn new(voucher: Option<&Path>, stores: &[&Path], console: &Console<'_>) -> Self {
        let directory = || stores.iter().copied().find(|store| !is_address(store));
        Self {
            voucher: voucher.or_else(directory).map(|dir| console.path(dir)),
            replicas: Vec::new(),
        }
    }

    /// Opens a store: a data directory for reading, beside any writer; or a replica of what a
    /// running node holds, pulled now.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, name: &Path, console: &mut Console<'_>) -> Result<Audited, OpenError> {
        if is_address(name) {
            self.pull(&name.to_string_lossy(), console)
        } else {
            Ok(Audited::open(name.to_string_lossy(), console.path(name))?)
        }
    }

    fn pull(&mut self, address: &str, console: &mut Console<'_>) -> Result<Audited, OpenError> {
        let voucher = self.voucher.as_ref().ok_or(OpenError::NoVoucher)?;
        if voucher.is_file() {
            let dir = voucher.clone();
            return Err(OpenError::VoucherIsFile { dir });
        }
        let member = Site::open(voucher, Mode::ReadOnly).map_err(OpenError::Voucher)?;
        let scratch = Scratch::new("uor-replay")?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(scratch.path().join("replica")));
        let pulled = replica(
            address,
            member.federation(),
            member.key(),
            disk,
            &mut |commits, payloads_missing| {
                let total = (payloads_missing > 0).then_some(commits + payloads_missing);
                console.meter.items("pulling", commits, total);
            },
        );
        console.meter.end();
        let failed = |source| OpenError::Node {
            name: address.to_owned(),
            source,
        };
        let store = Arc::new(pulled.map_err(failed)?);
        self.replicas.push(scratch);
        Ok(Audited {
            name: address.to_owned(),
            store,
            witnessed: None,
        })
    }
}

/// A path that begins like a multiaddress and names a peer is one.
pub(super) fn is_address(store: &Path) -> bool {
    let text = store.to_string_lossy();
    ["/ip4/", "/ip6/", "/dns"]
        .iter()
        .any(|start| text.starts_with(start))
        && text.contains("/p2p/")
}
