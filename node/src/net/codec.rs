//! One frame each way: a 4-byte little-endian length, then that many bytes.
//!
//! A reader promises not to panic on any input, not to allocate before bytes arrive, and never to
//! hold more than twice what has arrived. A length over the bound ends the stream with an error
//! that names both numbers. Questions are short, since anybody may ask. How long an answer may be,
//! the question says; and answers are read only as far as all of them together stay within a
//! budget, until they are handed over.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The name under which questions and answers are negotiated on the wire.
pub const DELTA_PROTOCOL: &str = "/uor/delta/2";

/// The name under which announcements are negotiated on the wire.
pub const ANNOUNCEMENT_PROTOCOL: &str = "/uor/bell/2";

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) body: Vec<u8>,
    /// The longest answer that is read, in bytes. Not sent, so unknown to whoever is asked.
    pub(super) answer_len_max: u32,
}

/// An answer, and what it takes of the budget while it waits to be handed over.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) held: Option<OwnedSemaphorePermit>,
}

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

/// Reads and writes questions and answers.
#[derive(Debug, Clone)]
pub(super) struct FrameCodec {
    question_len_max: u32,
    answer_len_max: u32,
    /// Bytes of answers that may be read or wait at the same time.
    budget: Arc<Semaphore>,
    /// What the question that was written says of its answer: a clone of the codec serves each
    /// stream.
    answer_len_expected: u32,
}

impl FrameCodec {
    pub(super) const fn new(
        question_len_max: u32,
        answer_len_max: u32,
        budget: Arc<Semaphore>,
    ) -> Self {
        Self {
            question_len_max,
            answer_len_max,
            budget,
            answer_len_expected: answer_len_max,
        }
    }
}

async fn read_len<T: AsyncRead + Unpin + Send>(io: &mut T, len_max: u32) -> io::Result<u32> {
    let mut header = [0; 4];
    let nothing = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            error.kind(),
            "the peer closed the stream before a frame came",
        ),
        _ => error,
    };
    io.read_exact(&mut header).await.map_err(nothing)?;
    let len = u32::from_le_bytes(header);
    if len > len_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            FrameTooLarge {
                len: len.into(),
                len_max,
            },
        ));
    }
    Ok(len)
}

async fn read_body<T: AsyncRead + Unpin + Send>(io: &mut T, len: u32) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let have = io.take(len.into()).read_to_end(&mut body).await?;
    if u32::try_from(have) != Ok(len) {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            FrameCutShort { have, need: len },
        ));
    }
    Ok(body)
}

async fn write<T: AsyncWrite + Unpin + Send>(
    io: &mut T,
    body: &[u8],
    len_max: u32,
) -> io::Result<()> {
    let len = match u32::try_from(body.len()) {
        Ok(len) if len <= len_max => len,
        _ => {
            let error = FrameTooLarge {
                len: body.len() as u64,
                len_max,
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
    };
    io.write_all(&len.to_le_bytes()).await?;
    io.write_all(body).await
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Question;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Question>
    where
        T: AsyncRead + Unpin + Send,
    {
        let len = read_len(io, self.question_len_max).await?;
        Ok(Question {
            body: read_body(io, len).await?,
            answer_len_max: 0,
        })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let len = read_len(io, self.answer_len_expected).await?;
        let held = self
            .budget
            .clone()
            .acquire_many_owned(len)
            .await
            .map_err(io::Error::other)?;
        Ok(Answer {
            body: read_body(io, len).await?,
            held: Some(held),
        })
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Question,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.answer_len_expected = question.answer_len_max.min(self.answer_len_max);
        write(io, &question.body, self.question_len_max).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &answer.body, self.answer_len_max).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], len_max: u32) -> io::Result<Vec<u8>> {
        let mut io = bytes;
        block_on(async {
            let len = read_len(&mut io, len_max).await?;
            read_body(&mut io, len).await
        })
    }

    fn write(body: &[u8], len_max: u32) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        block_on(super::write(&mut out, body, len_max)).map(|()| out)
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

    /// A peer that was asked for little cannot answer with much, and what all answer together is
    /// bounded.
    #[test]
    fn an_answer_is_as_long_as_the_question_says_and_the_budget_allows() {
        use request_response::Codec as _;
        let protocol = StreamProtocol::new(DELTA_PROTOCOL);
        let mut codec = FrameCodec::new(100, 1000, Arc::new(Semaphore::new(1500)));
        let ask = |codec: &mut FrameCodec, answer_len_max| {
            let question = Question {
                body: vec![],
                answer_len_max,
            };
            block_on(codec.write_request(&protocol, &mut Vec::new(), question)).unwrap();
        };
        let frame = write(&[7; 900], 1000).unwrap();
        ask(&mut codec, 899);
        let error = block_on(codec.read_response(&protocol, &mut &frame[..])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame of 900 bytes exceeds the bound of 899 bytes"
        );
        ask(&mut codec, u32::MAX);
        let first = block_on(codec.read_response(&protocol, &mut &frame[..])).unwrap();
        let mut other = codec.clone();
        let mut frame = &frame[..];
        let mut second = Box::pin(other.read_response(&protocol, &mut frame));
        assert!(
            futures::FutureExt::now_or_never(&mut second).is_none(),
            "it waits for the first to be handed over"
        );
        drop(first);
        assert_eq!(block_on(second).unwrap().body, [7; 900]);
    }
}
