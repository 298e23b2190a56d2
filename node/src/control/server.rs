//! The node's side: one thread accepts, one thread runs each command.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{collections::BTreeMap, fs};

use super::frame::{self, Type};
use super::{BODY_LEN_MAX, ControlError, Progress, Request, SESSIONS_MAX, SOCKET_NAME, address};

/// Runs one command; the result is its exit status.
pub type Handler = Arc<dyn Fn(Request, &Session) -> i32 + Send + Sync>;

/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long stopping waits for running commands.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket, served until this is stopped or dropped.
pub struct Server {
    path: PathBuf,
    dir: PathBuf,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    sessions: Mutex<BTreeMap<u64, UnixStream>>,
    ended: Condvar,
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u64, UnixStream>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Makes the socket in the data directory `dir` and serves it. The caller holds the store's lock, so a socket that is
    /// there and does not answer belongs to a dead process and is replaced.
    ///
    /// # Errors
    /// [`ControlError::InUse`] if somebody answers; [`ControlError::Bind`].
    pub fn start(dir: &Path, handler: Handler) -> Result<Self, ControlError> {
        let path = dir.join(SOCKET_NAME);
        if address::connect(dir).is_ok() {
            return Err(ControlError::InUse { path });
        }
        let listener = address::bind(dir).map_err(|source| ControlError::Bind { path: path.clone(), source })?;
        let shared = Arc::new(Shared::default());
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &handler, &for_acceptor))
            .map_err(|source| ControlError::Bind { path: path.clone(), source })?;
        Ok(Self { path, dir: dir.to_owned(), shared, acceptor: Some(acceptor) })
    }

    /// Takes no more commands, hangs up on those that run, waits for them a few seconds, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }

    fn shut(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Whoever connects wakes the acceptor; if nobody can, it is gone already.
        if address::connect(&self.dir).is_ok() {
            drop(acceptor.join());
        }
        drop(fs::remove_file(&self.path));
        let sessions = self.shared.sessions();
        sessions.values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        drop(self.shared.ended.wait_timeout_while(sessions, STOP_TIMEOUT, |sessions| !sessions.is_empty()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut();
    }
}

fn accept(listener: &UnixListener, handler: &Handler, shared: &Arc<Shared>) {
    for (number, stream) in (0..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (handler, shared) = (Arc::clone(handler), Arc::clone(shared));
        // Where no thread can be had, the client sees its connection close.
        drop(thread::Builder::new().name("command".to_owned()).spawn(move || {
            run(number, stream, &handler, &shared);
        }));
    }
}

fn run(number: u64, stream: UnixStream, handler: &Handler, shared: &Shared) {
    let Ok(for_stopping) = stream.try_clone() else { return };
    let session = Session { stream: Mutex::new(stream) };
    {
        let mut sessions = shared.sessions();
        if sessions.len() >= SESSIONS_MAX {
            drop(sessions);
            // A client that is still sending its request would not hear the refusal.
            drop(session.request());
            session.refuse(&format!("the running node is busy with {SESSIONS_MAX} commands"));
            return;
        }
        sessions.insert(number, for_stopping);
    }
    let _ended = Ended { number, shared };
    let Ok(request) = session.request() else { return };
    if request.release != env!("CARGO_PKG_VERSION") {
        let (theirs, ours) = (&request.release, env!("CARGO_PKG_VERSION"));
        session.refuse(&format!("the running node is release {ours}, this command {theirs}: use the same release"));
        return;
    }
    session.exit(handler(request, &session));
}

/// Takes the session off the list, even if its command panics.
struct Ended<'a> {
    number: u64,
    shared: &'a Shared,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.shared.sessions().remove(&self.number);
        self.shared.ended.notify_all();
    }
}

/// One running command's line to its client. Once the client is gone, writing fails with `BrokenPipe`.
pub struct Session {
    stream: Mutex<UnixStream>,
}

impl Session {
    fn stream(&self) -> MutexGuard<'_, UnixStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, kind: Type, body: &[u8]) -> io::Result<()> {
        let gone = |error: io::Error| io::Error::new(io::ErrorKind::BrokenPipe, error);
        frame::write(&mut *self.stream(), kind, body).map_err(gone)
    }

    fn request(&self) -> io::Result<Request> {
        let mut stream = self.stream();
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        let (kind, body) = frame::read(&mut *stream)?;
        stream.set_read_timeout(None)?;
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        match kind {
            Type::Request => Request::decode(&body).map_err(|error| invalid(error.to_string())),
            _ => Err(invalid("not a request".to_owned())),
        }
    }

    /// A client that is gone cannot be told anything: what fails here concerns nobody.
    fn refuse(&self, reason: &str) {
        drop(self.send(Type::Err, format!("Error: {reason}\n").as_bytes()));
        self.exit(1);
    }

    fn exit(&self, status: i32) {
        drop(self.send(Type::Exit, &status.to_le_bytes()));
    }

    /// The client's standard output.
    pub const fn out(&self) -> impl Write {
        Channel { session: self, kind: Type::Out }
    }

    /// The client's standard error.
    pub const fn err(&self) -> impl Write {
        Channel { session: self, kind: Type::Err }
    }

    /// The client's standard input, asked for piece by piece.
    pub const fn input(&self) -> impl Read {
        Input { session: self, buffer: Vec::new(), at: 0, ended: false }
    }

    /// Shows progress at the client; one that is gone misses nothing.
    pub fn progress(&self, progress: &Progress) {
        drop(self.send(Type::Progress, &progress.encode()));
    }

    /// Ends the display of progress.
    pub fn progress_end(&self) {
        drop(self.send(Type::ProgressEnd, &[]));
    }
}

struct Channel<'a> {
    session: &'a Session,
    kind: Type,
}

impl Write for Channel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
            let (kind, body) = frame::read(&mut *self.session.stream())?;
            if kind != Type::Input {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent no input"));
            }
            self.ended = body.is_empty();
            (self.buffer, self.at) = (body, 0);
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at += len;
        Ok(len)
    }
}
