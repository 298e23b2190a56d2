//! The control socket: what goes in comes out, nobody else gets in, and nobody's end disturbs the
//! others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use proptest::prelude::*;
use uor_node::control::{
    Canceller, Client, ControlError, Handler, Progress, Request, SESSIONS_MAX, SOCKET_NAME, Server,
    Session, Terminal, Unit,
};

/// A directory that is gone when the test is.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "uor-control-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn socket(&self) -> PathBuf {
        self.0.join(SOCKET_NAME)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A terminal that remembers.
#[derive(Default)]
struct Recorder {
    out: Vec<u8>,
    err: Vec<u8>,
    input: io::Cursor<Vec<u8>>,
    input_reads: u32,
    progress: Vec<Option<Progress>>,
}

impl Terminal for Recorder {
    fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn err(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.err.extend_from_slice(bytes);
        Ok(())
    }

    fn input(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.input_reads += 1;
        self.input.read(bytes)
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        self.progress.push(progress.cloned());
    }
}

fn request(args: &[&str]) -> Request {
    Request {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        args: args.iter().map(OsString::from).collect(),
        cwd: PathBuf::from("/somewhere"),
        stdin_is_terminal: false,
        stdout_is_terminal: true,
        stderr_is_terminal: false,
        colour: true,
    }
}

fn serve(dir: &Path, handler: impl Fn(Request, &Session) -> i32 + Send + Sync + 'static) -> Server {
    Server::start(dir, Arc::new(handler) as Handler).unwrap()
}

/// Copies standard input to standard output, in capitals on standard error, and counts its
/// arguments.
fn echo(request: Request, session: &Session) -> i32 {
    if request.args.contains(&OsString::from("-")) {
        let mut text = String::new();
        session.input().read_to_string(&mut text).unwrap();
        session.out().write_all(text.as_bytes()).unwrap();
        session
            .err()
            .write_all(text.to_uppercase().as_bytes())
            .unwrap();
    }
    session.progress(&Progress {
        label: "echoing".to_owned(),
        position: 1,
        total: Some(2),
        unit: Unit::Items,
    });
    session.progress_end();
    i32::try_from(request.args.len()).unwrap()
}

#[test]
fn a_command_s_output_progress_and_status_come_back() {
    let dir = Dir::new();
    let _server = serve(&dir.0, echo);
    let text = "line\n".repeat(300_000);
    let mut terminal = Recorder {
        input: io::Cursor::new(text.clone().into_bytes()),
        ..Recorder::default()
    };
    let status = Client::connect(&dir.0)
        .unwrap()
        .run(&request(&["add", "-", "x"]), &mut terminal)
        .unwrap();
    assert_eq!(status, 3);
    assert!(terminal.out == text.as_bytes(), "output differs");
    assert!(
        terminal.err == text.to_uppercase().as_bytes(),
        "errors differ"
    );
    let shown = Progress {
        label: "echoing".to_owned(),
        position: 1,
        total: Some(2),
        unit: Unit::Items,
    };
    assert_eq!(terminal.progress, [Some(shown), None]);
}

#[test]
fn standard_input_is_read_only_when_the_command_reads_it() {
    let dir = Dir::new();
    let _server = serve(&dir.0, echo);
    let mut terminal = Recorder {
        input: io::Cursor::new(b"kept".to_vec()),
        ..Recorder::default()
    };
    Client::connect(&dir.0)
        .unwrap()
        .run(&request(&["ls"]), &mut terminal)
        .unwrap();
    assert_eq!(terminal.input_reads, 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the names are sorted")]
fn the_socket_is_its_owner_s_and_goes_with_the_server() {
    let dir = Dir::new();
    assert!(Client::connect(&dir.0).is_none());
    let server = serve(&dir.0, echo);
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&dir.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), [SOCKET_NAME]);
    assert_eq!(
        fs::metadata(dir.socket()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    server.stop();
    assert!(names().is_empty());
    assert!(Client::connect(&dir.0).is_none());
}

#[test]
fn a_path_too_long_for_a_socket_is_reached_all_the_same() {
    let dir = Dir::new();
    let deep = (0..8).fold(dir.0.clone(), |dir, _| {
        dir.join("a-directory-with-a-name-of-some-length")
    });
    fs::create_dir_all(&deep).unwrap();
    let server = serve(&deep, echo);
    assert_eq!(
        Client::connect(&deep)
            .unwrap()
            .run(&request(&["status"]), &mut Recorder::default())
            .unwrap(),
        1
    );
    server.stop();
    assert!(!deep.join(SOCKET_NAME).exists());
}

#[test]
fn a_dead_node_s_socket_is_replaced_and_a_living_one_s_is_not() {
    let dir = Dir::new();
    drop(UnixListener::bind(dir.socket()).unwrap());
    assert!(dir.socket().exists(), "a socket outlives its process");
    let _server = serve(&dir.0, echo);
    let second = Server::start(&dir.0, Arc::new(echo));
    assert!(matches!(second.err(), Some(ControlError::InUse { path }) if path == dir.socket()));
    assert_eq!(
        Client::connect(&dir.0)
            .unwrap()
            .run(&request(&[]), &mut Recorder::default())
            .unwrap(),
        0
    );
}

#[test]
fn a_client_that_goes_away_cancels_its_command_and_nothing_else() {
    let dir = Dir::new();
    let (told, ended) = mpsc::channel();
    let told = Mutex::new(told);
    let _server = serve(&dir.0, move |request, session| {
        if request.args.is_empty() {
            return 7;
        }
        let mut out = session.out();
        let error = loop {
            if let Err(error) = out.write_all(&[b'x'; 65_536]) {
                break error;
            }
        };
        while !session.cancel().is_cancelled() {
            thread::yield_now();
        }
        told.lock().unwrap().send(error.kind()).unwrap();
        0
    });
    let mut stream = UnixStream::connect(dir.socket()).unwrap();
    let body = request(&["endless"]).encode();
    stream.write_all(&[1]).unwrap();
    stream
        .write_all(&u32::try_from(body.len()).unwrap().to_le_bytes())
        .unwrap();
    stream.write_all(&body).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    drop(stream);
    assert_eq!(ended.recv().unwrap(), io::ErrorKind::BrokenPipe);
    assert_eq!(
        Client::connect(&dir.0)
            .unwrap()
            .run(&request(&[]), &mut Recorder::default())
            .unwrap(),
        7
    );
}

#[test]
fn another_release_is_refused_with_both_versions() {
    let dir = Dir::new();
    let _server = serve(&dir.0, echo);
    let foreign = Request {
        release: "99.0.0".to_owned(),
        ..request(&["ls"])
    };
    let refused = Client::connect(&dir.0)
        .unwrap()
        .run(&foreign, &mut Recorder::default())
        .unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("99.0.0") && said.contains(env!("CARGO_PKG_VERSION")),
        "{said}"
    );
}

#[test]
fn more_commands_than_allowed_are_refused_until_one_ends() {
    let dir = Dir::new();
    let (gate, waiting) = (Arc::new(Mutex::new(())), Arc::new(AtomicU32::new(0)));
    let (handler_gate, handler_waiting) = (Arc::clone(&gate), Arc::clone(&waiting));
    let _server = serve(&dir.0, move |_, _| {
        handler_waiting.fetch_add(1, Ordering::SeqCst);
        drop(handler_gate.lock());
        5
    });
    let held = gate.lock().unwrap();
    let run = |dir: &Path| {
        let client = Client::connect(dir).unwrap();
        thread::spawn(move || client.run(&request(&[]), &mut Recorder::default()))
    };
    let running: Vec<_> = (0..SESSIONS_MAX).map(|_| run(&dir.0)).collect();
    while (waiting.load(Ordering::SeqCst) as usize) < SESSIONS_MAX {
        thread::yield_now();
    }
    assert!(matches!(
        run(&dir.0).join().unwrap(),
        Err(ControlError::Busy)
    ));
    drop(held);
    assert!(
        running
            .into_iter()
            .all(|one| one.join().unwrap().unwrap() == 5)
    );
}

#[test]
fn malformed_frames_end_their_connection_only() {
    let dir = Dir::new();
    let _server = serve(&dir.0, echo);
    let too_long = [&[1][..], &u32::MAX.to_le_bytes()].concat();
    let not_a_request = [&[1][..], &3u32.to_le_bytes(), b"abc"].concat();
    let cut_short = [&[1][..], &100u32.to_le_bytes(), b"abc"].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        too_long,
        not_a_request,
        cut_short,
    ] {
        let mut stream = UnixStream::connect(dir.socket()).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // A connection that is closed with bytes unread may be reset: as good as closed.
        drop(stream.read_to_end(&mut answer));
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert_eq!(
        Client::connect(&dir.0)
            .unwrap()
            .run(&request(&[]), &mut Recorder::default())
            .unwrap(),
        0
    );
}

#[test]
fn stopping_hangs_up_on_a_command_that_waits_for_input() {
    struct Silent(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Terminal for Silent {
        fn out(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn err(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn input(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            self.1.recv().unwrap();
            Ok(0)
        }
        fn progress(&mut self, _: Option<&Progress>) {}
    }
    let dir = Dir::new();
    let server = serve(&dir.0, |_, session| {
        let read = session.input().read(&mut [0; 16]);
        if read.is_err() { 9 } else { 0 }
    });
    let (asked, was_asked) = mpsc::channel();
    let (answer, to_answer) = mpsc::channel();
    let client = Client::connect(&dir.0).unwrap();
    let running =
        thread::spawn(move || client.run(&request(&["-"]), &mut Silent(asked, to_answer)));
    was_asked.recv().unwrap();
    server.stop();
    answer.send(()).unwrap();
    assert!(matches!(
        running.join().unwrap(),
        Err(ControlError::Broken { .. })
    ));
    assert!(!dir.socket().exists());
}

#[test]
fn a_command_hears_that_it_is_cancelled_while_it_waits_for_input() {
    struct Cancelling(Canceller, mpsc::Receiver<()>);
    impl Terminal for Cancelling {
        fn out(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn err(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn input(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.cancel();
            self.1.recv().unwrap();
            Err(io::Error::other("given up"))
        }
        fn progress(&mut self, _: Option<&Progress>) {}
    }
    let dir = Dir::new();
    let (told, ended) = mpsc::channel();
    let told = Mutex::new(told);
    let _server = serve(&dir.0, move |_, session| {
        let read = session.input().read(&mut [0; 16]);
        let status = if read.is_err() && session.cancel().is_cancelled() {
            130
        } else {
            0
        };
        told.lock().unwrap().send(()).unwrap();
        status
    });
    let client = Client::connect(&dir.0).unwrap();
    let mut terminal = Cancelling(client.canceller(), ended);
    assert_eq!(client.run(&request(&["-"]), &mut terminal).unwrap(), 130);
}

#[test]
fn output_that_cannot_be_written_ends_the_command_s_output_and_is_the_client_s_error() {
    struct Full(io::ErrorKind);
    impl Terminal for Full {
        fn out(&mut self, _: &[u8]) -> io::Result<()> {
            Err(self.0.into())
        }
        fn err(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn input(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn progress(&mut self, _: Option<&Progress>) {}
    }
    let dir = Dir::new();
    let _server = serve(&dir.0, |_, session| {
        let mut out = session.out();
        while out.write_all(&[b'x'; 4096]).is_ok() {}
        7
    });
    let run = |kind| {
        Client::connect(&dir.0)
            .unwrap()
            .run(&request(&[]), &mut Full(kind))
    };
    assert!(matches!(
        run(io::ErrorKind::StorageFull),
        Err(ControlError::Output { .. })
    ));
    assert_eq!(run(io::ErrorKind::BrokenPipe).unwrap(), 7);
}

#[test]
fn a_command_whose_client_is_gone_before_it_begins_is_not_run() {
    let dir = Dir::new();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let server = serve(&dir.0, move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        0
    });
    for _ in 0..50 {
        let mut stream = UnixStream::connect(dir.socket()).unwrap();
        let body = request(&["add"]).encode();
        let frame = [
            &[1][..],
            &u32::try_from(body.len()).unwrap().to_le_bytes(),
            &body,
        ]
        .concat();
        // The command is given and taken back in one breath.
        stream
            .write_all(&[&frame[..], &[3, 0, 0, 0, 0]].concat())
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(
            answer,
            [&[21, 4, 0, 0, 0][..], &130_i32.to_le_bytes()].concat()
        );
    }
    server.stop();
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

fn arbitrary_request() -> impl Strategy<Value = Request> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(OsString::from_vec);
    (
        prop::collection::vec(bytes(), 0..8),
        bytes(),
        any::<[bool; 4]>(),
        "[0-9.]{1,10}",
    )
        .prop_map(
            |(args, cwd, [stdin, stdout, stderr, colour], release)| Request {
                release,
                args,
                cwd: PathBuf::from(cwd),
                stdin_is_terminal: stdin,
                stdout_is_terminal: stdout,
                stderr_is_terminal: stderr,
                colour,
            },
        )
}

proptest! {
    #[test]
    fn a_request_reads_back_as_it_was_written(request in arbitrary_request()) {
        prop_assert_eq!(Request::decode(&request.encode()).unwrap(), request);
    }

    #[test]
    fn a_damaged_request_never_panics(request in arbitrary_request(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = request.encode();
        let at = at.index(bytes.len());
        bytes[at] = with;
        drop(Request::decode(&bytes));
        drop(Request::decode(&bytes[..at]));
    }
}
