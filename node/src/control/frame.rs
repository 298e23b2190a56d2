//! Frames: a type byte, a 32-bit little-endian length, a body.

use std::io::{self, Read, Write};

use super::protocol::BODY_LEN_MAX;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Type {
    /// Client: the command.
    Request = 1,
    /// Client: bytes of standard input; none at its end.
    Input = 2,
    /// Client: the command is not wanted any more.
    Cancel = 3,
    /// Client: nobody reads standard output any more.
    OutClosed = 4,
    /// Client: standard input cannot be read; the system's number of the error.
    InputFailed = 5,
    /// Server: bytes for standard output.
    Out = 16,
    /// Server: bytes for standard error.
    Err = 17,
    /// Server: the command reads standard input.
    InputWanted = 18,
    /// Server: how far it has come.
    Progress = 19,
    /// Server: progress is over.
    ProgressEnd = 20,
    /// Server: the exit status, the last frame.
    Exit = 21,
    /// Server: it is still at it.
    Alive = 22,
    /// Server: it does not take the command; a kind, and what the client needs to know. The last
    /// frame.
    Refused = 23,
}

impl Type {
    const ALL: [Self; 13] = [
        Self::Request,
        Self::Input,
        Self::Cancel,
        Self::OutClosed,
        Self::InputFailed,
        Self::Out,
        Self::Err,
        Self::InputWanted,
        Self::Progress,
        Self::ProgressEnd,
        Self::Exit,
        Self::Alive,
        Self::Refused,
    ];
}

/// Writes one frame; the body has at most [`BODY_LEN_MAX`] bytes.
pub(super) fn write(stream: &mut impl Write, kind: Type, body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= BODY_LEN_MAX);
    let len =
        len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
    let mut bytes = Vec::with_capacity(5 + body.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)
}

/// Reads one frame. Memory grows with the bytes that arrive, not with the length that is claimed.
pub(super) fn read(stream: &mut impl Read) -> io::Result<(Type, Vec<u8>)> {
    let invalid = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut head = [0; 5];
    let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed it");
    let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    stream
        .read_exact(&mut head)
        .map_err(|error| if is_end(&error) { closed() } else { error })?;
    let [kind, len @ ..] = head;
    let kind = Type::ALL
        .into_iter()
        .find(|known| *known as u8 == kind)
        .ok_or_else(|| invalid("unknown frame type"))?;
    let len = u32::from_le_bytes(len);
    if len as usize > BODY_LEN_MAX {
        return Err(invalid("the frame is too long"));
    }
    let mut body = Vec::new();
    stream.take(len.into()).read_to_end(&mut body)?;
    if body.len() < len as usize {
        return Err(closed());
    }
    Ok((kind, body))
}
