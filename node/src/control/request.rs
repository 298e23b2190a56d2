//! A command, as the client was called.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use uor_index_format::DecodeError;
use uor_index_format::codec::{Reader, Writer};

use super::protocol::BODY_LEN_MAX;

const MAGIC: [u8; 4] = *b"UORC";

const VERSION: u16 = 1;

const ARGS_MAX: u32 = 1 << 17;

/// A command, as the client was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's release: a node runs only commands of its own release.
    pub release: String,
    /// The arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The client's working directory: what relative paths are relative to.
    pub cwd: PathBuf,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal: progress is shown there only then.
    pub stderr_is_terminal: bool,
    /// Whether output may be coloured.
    pub colour: bool,
}

impl Request {
    /// The body of a request frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.bytes(self.release.as_bytes()).count(self.args.len());
        self.args.iter().for_each(|arg| {
            writer.bytes(arg.as_bytes());
        });
        let flags = [
            self.stdin_is_terminal,
            self.stdout_is_terminal,
            self.stderr_is_terminal,
            self.colour,
        ];
        writer.bytes(self.cwd.as_os_str().as_bytes());
        writer.u8(flags
            .iter()
            .rev()
            .fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        writer.into_bytes()
    }

    /// Reads the body of a request frame.
    ///
    /// # Errors
    /// [`DecodeError`] at the first byte that is not part of a request.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let longest = u32::try_from(BODY_LEN_MAX).unwrap_or(u32::MAX);
        let mut reader = Reader::new(body);
        reader.header("request", MAGIC, VERSION)?;
        let release = reader.string("request release", 64)?.to_owned();
        let count = reader.count("request arguments", ARGS_MAX, 4)?;
        let args = (0..count)
            .map(|_| {
                Ok(OsString::from_vec(
                    reader.bytes("request argument", longest)?.to_vec(),
                ))
            })
            .collect::<Result<_, DecodeError>>()?;
        let cwd = PathBuf::from(OsString::from_vec(
            reader.bytes("request directory", longest)?.to_vec(),
        ));
        let offset = reader.offset();
        let flags = reader.u8("request flags")?;
        if flags > 15 {
            return Err(Reader::invalid("request flags", offset, "unknown flag"));
        }
        reader.finish("request")?;
        let flag = |bit: u8| flags >> bit & 1 == 1;
        Ok(Self {
            release,
            args,
            cwd,
            stdin_is_terminal: flag(0),
            stdout_is_terminal: flag(1),
            stderr_is_terminal: flag(2),
            colour: flag(3),
        })
    }
}
