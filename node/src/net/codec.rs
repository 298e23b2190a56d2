//! One frame each way: a 4-byte little-endian length, then that many bytes.
//!
//! A reader promises not to panic on any input, not to allocate before bytes arrive, and never to hold more than
//! twice what has arrived. A length over the bound ends the stream with an error that names both numbers.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;

/// The name under which frames are negotiated on the wire.
pub const DELTA_PROTOCOL: &str = "/uor/delta/1";

/// A frame whose length is over the bound.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of {len} bytes exceeds the bound of {len_max} bytes")]
struct FrameTooLarge {
    len: u64,
    len_max: u32,
}

/// A frame that ended before its length was reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame cut short: {have} of {need} bytes")]
struct FrameCutShort {
    have: usize,
    need: u32,
}

/// Whether a body of `len` bytes keeps to the bound.
pub(super) fn fits(len: usize, len_max: u32) -> bool {
    u32::try_from(len).is_ok_and(|len| len <= len_max)
}

/// Reads and writes frames of at most `len_max` bytes; requests and responses are alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameCodec {
    pub(super) len_max: u32,
}

impl FrameCodec {
    async fn read<T: AsyncRead + Unpin + Send>(self, io: &mut T) -> io::Result<Vec<u8>> {
        let mut header = [0; 4];
        let nothing = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "the peer closed the stream before a frame came")
            }
            _ => error,
        };
        io.read_exact(&mut header).await.map_err(nothing)?;
        let len = u32::from_le_bytes(header);
        if len > self.len_max {
            let error = FrameTooLarge { len: len.into(), len_max: self.len_max };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        let mut body = Vec::new();
        let have = io.take(len.into()).read_to_end(&mut body).await?;
        if u32::try_from(have) != Ok(len) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, FrameCutShort { have, need: len }));
        }
        Ok(body)
    }

    async fn write<T: AsyncWrite + Unpin + Send>(self, io: &mut T, body: &[u8]) -> io::Result<()> {
        let len = match u32::try_from(body.len()) {
            Ok(len) if len <= self.len_max => len,
            _ => {
                let error = FrameTooLarge { len: body.len() as u64, len_max: self.len_max };
                return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
            }
        };
        io.write_all(&len.to_le_bytes()).await?;
        io.write_all(body).await
    }
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, body: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &body).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, body: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &body).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], len_max: u32) -> io::Result<Vec<u8>> {
        block_on(FrameCodec { len_max }.read(&mut &bytes[..]))
    }

    fn write(body: &[u8], len_max: u32) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        block_on(FrameCodec { len_max }.write(&mut out, body)).map(|()| out)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let len_max = u32::try_from(body.len()).unwrap();
            let frame = write(&body, len_max).unwrap();
            prop_assert_eq!(frame.len(), 4 + body.len());
            prop_assert_eq!(read(&frame, len_max).unwrap(), body);
        }

        #[test]
        fn a_frame_cut_anywhere_is_an_error(body in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index) {
            let frame = write(&body, 200).unwrap();
            let error = read(&frame[..at.index(frame.len())], 200).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), len_max: u32) {
            if let Ok(body) = read(&bytes, len_max) {
                prop_assert_eq!(&bytes[4..4 + body.len()], &body[..]);
            }
        }
    }

    #[test]
    fn a_frame_over_the_bound_is_refused_by_both_ends_with_both_numbers() {
        let said = "frame of 1001 bytes exceeds the bound of 1000 bytes";
        assert_eq!(write(&[0; 1001], 1000).unwrap_err().to_string(), said);
        let frame = write(&[0; 1001], 1001).unwrap();
        assert_eq!(read(&frame, 1000).unwrap_err().to_string(), said);
        assert!(write(&[0; 1000], 1000).is_ok());
    }

    /// Claims the largest length and delivers little: allocation follows delivery, not the claim.
    #[test]
    fn a_claimed_length_allocates_nothing() {
        let error = read(&[0xff, 0xff, 0xff, 0xff, 1, 2, 3], u32::MAX).unwrap_err();
        assert_eq!(error.to_string(), "frame cut short: 3 of 4294967295 bytes");
    }
}
