//! Attributes: system attribute buffers, whose layout every file system defines for itself, and
//! znodes of old ones.

use std::collections::BTreeMap;

use crate::ByteOrder;
use crate::bonus::{header_len, order_of};
use crate::contents::Spool;
use crate::objects::{BONUS_SA, BONUS_ZNODE, Object, ObjectSet};
use crate::zap::{self, ZapError};

const ZNODE_LEN: usize = 264;

/// What attributes say about an object, before it is known what of it makes sense.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) links: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) rdev: u64,
    /// Object of the directory of extended attributes.
    pub(crate) xattr: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: Option<(u64, u64)>,
    pub(crate) symlink: Option<Vec<u8>>,
    /// Extended attributes as a list.
    pub(crate) xattrs: Option<Vec<u8>>,
}

/// The attributes that are of use here.
#[derive(Debug, Clone, Copy)]
enum Known {
    Mode,
    Size,
    Links,
    Uid,
    Gid,
    Rdev,
    Xattr,
    Mtime,
    Symlink,
    Xattrs,
    Other,
}

impl Known {
    fn of(name: &[u8]) -> Self {
        match name {
            b"ZPL_MODE" => Self::Mode,
            b"ZPL_SIZE" => Self::Size,
            b"ZPL_LINKS" => Self::Links,
            b"ZPL_UID" => Self::Uid,
            b"ZPL_GID" => Self::Gid,
            b"ZPL_RDEV" => Self::Rdev,
            b"ZPL_XATTR" => Self::Xattr,
            b"ZPL_MTIME" => Self::Mtime,
            b"ZPL_SYMLINK" => Self::Symlink,
            b"ZPL_DXATTR" => Self::Xattrs,
            _ => Self::Other,
        }
    }
}

/// What numbers and layouts mean in one file system.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    /// Meaning and length of each attribute; length 0 for those that vary.
    registry: BTreeMap<u16, (Known, u16)>,
    layouts: BTreeMap<u16, Vec<u16>>,
}

impl Layouts {
    /// Reads what the SA master ZAP names.
    pub(crate) fn read(set: &ObjectSet, master: u64, spool: &dyn Spool) -> Result<Self, ZapError> {
        let mut layouts = Self::default();
        for entry in zap::entries(set, master, spool)? {
            let Some(object) = entry.number() else {
                continue;
            };
            match entry.name.as_slice() {
                b"REGISTRY" => layouts.read_registry(zap::entries(set, object, spool)?),
                b"LAYOUTS" => layouts.read_layouts(zap::entries(set, object, spool)?),
                _ => {}
            }
        }
        Ok(layouts)
    }

    fn read_registry(&mut self, entries: Vec<zap::Entry>) {
        for entry in entries {
            if let Some(value) = entry.number() {
                let number = u16::try_from(value & 0xFFFF).unwrap_or_default();
                let len = u16::try_from(value >> 24 & 0xFFFF).unwrap_or_default();
                self.registry.insert(number, (Known::of(&entry.name), len));
            }
        }
    }

    fn read_layouts(&mut self, entries: Vec<zap::Entry>) {
        for entry in entries.into_iter().filter(|entry| entry.number_len == 2) {
            let number = std::str::from_utf8(&entry.name)
                .ok()
                .and_then(|name| name.parse().ok());
            let attributes = entry
                .value
                .chunks_exact(2)
                .filter_map(|number| ByteOrder::Big.u16(number, 0))
                .collect();
            if let Some(number) = number {
                self.layouts.insert(number, attributes);
            }
        }
    }

    /// Takes what a bonus buffer or spill block says; what is wrong with it otherwise.
    fn take(&self, buffer: &[u8], into: &mut Attributes) -> Result<(), &'static str> {
        let order = order_of(buffer).ok_or("the buffer has no magic")?;
        let header_len = header_len(order, buffer)
            .filter(|len| *len >= 8)
            .ok_or("the buffer has no header")?;
        let number = match order.u16(buffer, 4).unwrap_or_default() & 0x3FF {
            0 => 1,
            number => number,
        };
        let Some(layout) = self.layouts.get(&number) else {
            return if number == 1 {
                Ok(())
            } else {
                Err("no such layout")
            };
        };
        let (mut at, mut varying) = (header_len, 0);
        for attribute in layout {
            let (known, fixed_len) = *self
                .registry
                .get(attribute)
                .ok_or("the layout has an unknown attribute")?;
            let len = if fixed_len > 0 {
                fixed_len
            } else {
                let len = order
                    .u16(buffer, 6 + 2 * varying)
                    .filter(|_| 8 + 2 * varying <= header_len);
                varying += 1;
                len.ok_or("the header has too few lengths")?
            };
            let value = buffer
                .get(at..)
                .and_then(|rest| rest.get(..usize::from(len)));
            into.set(
                known,
                value.ok_or("an attribute goes beyond the buffer")?,
                order,
            );
            at += usize::from(len).next_multiple_of(8);
        }
        Ok(())
    }
}

impl Attributes {
    fn set(&mut self, known: Known, value: &[u8], order: ByteOrder) {
        let number = order.u64(value, 0);
        match known {
            Known::Mode => self.mode = number,
            Known::Size => self.size = number,
            Known::Links => self.links = number,
            Known::Uid => self.uid = number,
            Known::Gid => self.gid = number,
            Known::Rdev => self.rdev = number.unwrap_or_default(),
            Known::Xattr => self.xattr = number.unwrap_or_default(),
            Known::Mtime => self.mtime = number.zip(order.u64(value, 8)),
            Known::Symlink => self.symlink = Some(value.to_vec()),
            Known::Xattrs => self.xattrs = Some(value.to_vec()),
            Known::Other => {}
        }
    }

    /// What an object's bonus buffer and spill block say; what is wrong with them otherwise.
    pub(crate) fn of(
        object: &Object,
        spill: &[u8],
        layouts: Option<&Layouts>,
    ) -> Result<Self, &'static str> {
        match (object.bonus_kind, layouts) {
            (BONUS_ZNODE, _) => Self::of_znode(&object.bonus, object.order),
            (BONUS_SA, Some(layouts)) => {
                let mut attributes = Self::default();
                layouts.take(&object.bonus, &mut attributes)?;
                if !spill.is_empty() {
                    layouts.take(spill, &mut attributes)?;
                }
                Ok(attributes)
            }
            (BONUS_SA, None) => Err("the file system defines none"),
            _ => Err("the bonus buffer is of another type"),
        }
    }

    fn of_znode(bonus: &[u8], order: ByteOrder) -> Result<Self, &'static str> {
        if bonus.len() < ZNODE_LEN {
            return Err("the znode is too short");
        }
        let field = |at| order.u64(bonus, at);
        Ok(Self {
            mode: field(72),
            size: field(80),
            links: field(96),
            uid: field(128),
            gid: field(136),
            rdev: field(112).unwrap_or_default(),
            xattr: field(104).unwrap_or_default(),
            mtime: field(16).zip(field(24)),
            symlink: bonus
                .get(ZNODE_LEN..)
                .filter(|target| !target.is_empty())
                .map(<[u8]>::to_vec),
            xattrs: None,
        })
    }
}
