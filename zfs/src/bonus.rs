//! The header of a buffer of system attributes: what can be read of a bonus buffer before the file
//! system has said how it lays attributes out.

use crate::ByteOrder;

const SA_MAGIC: u32 = 0x2F_505A;

/// The byte order of an attribute buffer.
pub(crate) fn order_of(buffer: &[u8]) -> Option<ByteOrder> {
    [ByteOrder::Little, ByteOrder::Big]
        .into_iter()
        .find(|order| order.u32(buffer, 0) == Some(SA_MAGIC))
}

/// Length of the header of an attribute buffer.
pub(crate) fn header_len(order: ByteOrder, buffer: &[u8]) -> Option<usize> {
    Some(usize::from(order.u16(buffer, 4)? >> 10) * 8)
}
