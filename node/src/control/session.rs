//! One command that runs: its line to its client, and an ear for what the client says meanwhile.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::frame::{self, Type};
use super::progress::Progress;
use super::protocol::BODY_LEN_MAX;
use super::request::Request;
use crate::cancel::{Cancel, Cancelled};

/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a client that waits hears that its command is still at it.
const ALIVE_EVERY: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// One running command's line to its client. Once the client is gone, writing fails with
/// `BrokenPipe`.
pub struct Session {
    stream: Arc<Mutex<UnixStream>>,
    input: Mutex<Receiver<io::Result<Vec<u8>>>>,
    cancel: Cancel,
    out_is_closed: Arc<AtomicBool>,
}

/// Listens to the client of a session until that ends.
pub(super) struct Ear {
    stream: UnixStream,
    to_client: Arc<Mutex<UnixStream>>,
    /// Where input goes: one piece at a time is asked for. Gone once the command is cancelled.
    input: Option<SyncSender<io::Result<Vec<u8>>>>,
    cancel: Cancel,
    out_is_closed: Arc<AtomicBool>,
}

fn lock(stream: &Mutex<UnixStream>) -> MutexGuard<'_, UnixStream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Both ends of a session on a connection.
    pub(super) fn new(stream: UnixStream) -> io::Result<(Self, Ear)> {
        let (sender, receiver) = sync_channel(1);
        let for_ear = stream.try_clone()?;
        let stream = Arc::new(Mutex::new(stream));
        let (cancel, out_is_closed) = (Cancel::default(), Arc::new(AtomicBool::new(false)));
        let ear = Ear {
            stream: for_ear,
            to_client: Arc::clone(&stream),
            input: Some(sender),
            cancel: cancel.clone(),
            out_is_closed: Arc::clone(&out_is_closed),
        };
        Ok((
            Self {
                stream,
                input: Mutex::new(receiver),
                cancel,
                out_is_closed,
            },
            ear,
        ))
    }

    pub(super) fn send(&self, kind: Type, body: &[u8]) -> io::Result<()> {
        let gone = |error: io::Error| io::Error::new(io::ErrorKind::BrokenPipe, error);
        frame::write(&mut *lock(&self.stream), kind, body).map_err(gone)
    }

    /// Whether the command is still wanted: not once the client has gone away, or said so.
    pub const fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The client's standard output.
    pub const fn out(&self) -> impl Write {
        Channel {
            session: self,
            kind: Type::Out,
        }
    }

    /// The client's standard error.
    pub const fn err(&self) -> impl Write {
        Channel {
            session: self,
            kind: Type::Err,
        }
    }

    /// The client's standard input, asked for piece by piece.
    pub const fn input(&self) -> impl Read {
        Input {
            session: self,
            buffer: Vec::new(),
            at: 0,
            ended: false,
        }
    }

    /// Shows progress at the client; one that is gone misses nothing.
    pub fn progress(&self, progress: &Progress) {
        drop(self.send(Type::Progress, &progress.encode()));
    }

    /// Ends the display of progress.
    pub fn progress_end(&self) {
        drop(self.send(Type::ProgressEnd, &[]));
    }

    /// Ends the line's reading side, so that its ear ends too.
    pub(super) fn close(&self) {
        // A line that is down already has ended it.
        drop(lock(&self.stream).shutdown(Shutdown::Read));
    }
}

impl Ear {
    /// The client's request.
    pub(super) fn request(&mut self) -> io::Result<Request> {
        self.stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        let (kind, body) = frame::read(&mut self.stream)?;
        self.stream.set_read_timeout(None)?;
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        match kind {
            Type::Request => Request::decode(&body).map_err(|error| invalid(error.to_string())),
            _ => Err(invalid("not a request".to_owned())),
        }
    }

    /// Takes in what has arrived by now: a client that has gone away before its command begins
    /// wants none.
    pub(super) fn catch_up(&mut self) {
        while !self.cancel.is_cancelled() && self.is_readable(&AT_ONCE) {
            self.hear();
        }
    }

    /// Listens until the line is down.
    pub(super) fn listen(mut self) {
        loop {
            if self.is_readable(&ALIVE_EVERY) {
                if !self.hear() {
                    return;
                }
            } else {
                self.say_alive();
            }
        }
    }

    fn is_readable(&self, timeout: &Timespec) -> bool {
        // What cannot be polled is read, and says what is wrong.
        poll(
            &mut [PollFd::new(&self.stream, PollFlags::IN)],
            Some(timeout),
        ) != Ok(0)
    }

    /// Takes the next frame; says whether there may be more.
    fn hear(&mut self) -> bool {
        let piece = match frame::read(&mut self.stream) {
            Ok((Type::OutClosed, _)) => {
                self.out_is_closed.store(true, Ordering::SeqCst);
                return true;
            }
            Ok((Type::Cancel, _)) => {
                self.give_up();
                return true;
            }
            Ok((Type::Input, body)) => Ok(body),
            Ok((Type::InputFailed, body)) => {
                let number = <[u8; 4]>::try_from(body.as_slice()).map_or(0, i32::from_le_bytes);
                Err(io::Error::from_raw_os_error(number))
            }
            _ => {
                self.give_up();
                return false;
            }
        };
        // What was not asked for is not kept: such a client is no client.
        let is_taken = self
            .input
            .as_ref()
            .is_none_or(|input| input.try_send(piece).is_ok());
        if !is_taken {
            self.give_up();
        }
        is_taken
    }

    /// The command is not wanted any more; if it waits for input, it hears so there.
    fn give_up(&mut self) {
        self.cancel.cancel();
        self.input = None;
    }

    /// Says that the command is still at it, unless something else is being said, or nobody takes
    /// what was said before.
    fn say_alive(&self) {
        let Ok(mut stream) = self.to_client.try_lock() else {
            return;
        };
        if poll(&mut [PollFd::new(&*stream, PollFlags::OUT)], Some(&AT_ONCE)) == Ok(1) {
            // A client that is gone is noticed where it is listened to.
            drop(frame::write(&mut *stream, Type::Alive, &[]));
        }
    }
}

/// Runs `action` while an ear listens.
pub(super) fn listening(session: &Session, ear: Ear, action: impl FnOnce() -> i32) -> i32 {
    /// Lets the ear end, even if the command panics.
    struct Closing<'a>(&'a Session);
    impl Drop for Closing<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    thread::scope(|scope| {
        let _closing = Closing(session);
        // Without a thread to listen, nobody would notice that the client has gone.
        match thread::Builder::new()
            .name("control-ear".to_owned())
            .spawn_scoped(scope, move || ear.listen())
        {
            Ok(_) => action(),
            Err(_) => 1,
        }
    })
}

struct Channel<'a> {
    session: &'a Session,
    kind: Type,
}

impl Write for Channel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.kind == Type::Out && self.session.out_is_closed.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let piece = bytes.get(..BODY_LEN_MAX).unwrap_or(bytes);
        if !piece.is_empty() {
            self.session.send(self.kind, piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Input<'a> {
    session: &'a Session,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() && !self.ended {
            self.session.send(Type::InputWanted, &[])?;
            let input = self
                .session
                .input
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let body = input.recv().map_err(|_| io::Error::other(Cancelled))??;
            self.ended = body.is_empty();
            (self.buffer, self.at) = (body, 0);
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        self.at += len;
        Ok(len)
    }
}
