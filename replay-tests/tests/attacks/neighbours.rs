//! Neighbours: other users and other programs on a site's machine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use uor_asl::disk::Mode;
use uor_index_format::membership::ConflictRule;
use uor_node::control::{Handler, SOCKET_NAME, Server};
use uor_node::net::{self, NetConfig, NetEvent};
use uor_node::site::{AddOptions, InitError, OpenError, Site, Source};

use crate::network::runtime;
use crate::running::directory;

/// Said at once, and by name: two programs cannot both listen on one port.
#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_address() {
    runtime().block_on(async {
        for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
            let mut config = NetConfig::new([1; 32]);
            config.listen.push(listen.parse().unwrap());
            let (_net, mut events) = net::spawn(config).unwrap();
            let event = tokio::time::timeout(Duration::from_secs(20), events.recv())
                .await
                .unwrap()
                .unwrap();
            let NetEvent::Listening(mut address) = event else {
                panic!("{event:?}")
            };
            address.pop();
            let mut config = NetConfig::new([2; 32]);
            config.listen.push(address.clone());
            let error = net::spawn(config).err().unwrap();
            assert_eq!(
                error.to_string(),
                format!("cannot listen on {address}: another program listens there")
            );
        }
    });
}

/// Everything below a directory, itself included, in any order.
pub(crate) fn everything(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (vec![dir.to_owned()], vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        #[expect(
            clippy::disallowed_methods,
            reason = "each is held to the same rule, in any order"
        )]
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

fn founded(root: &Path) -> PathBuf {
    let dir = directory(root, "a");
    Site::init(&dir, Some("a"), ConflictRule::First).unwrap();
    dir
}

/// Bounded: what others may read. Nothing of a site in use is open to anybody else, whatever the
/// umask, and its control socket answers its owner only.
#[test]
fn another_user_reads_nothing_and_commands_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let dir = founded(root.path());
    let site = Site::open(&dir, Mode::Write).unwrap();
    fs::write(root.path().join("secret"), b"secret").unwrap();
    site.add(
        vec![Source::Path(root.path().join("secret"))],
        &AddOptions::default(),
        &mut |_| {},
    )
    .unwrap();
    site.invite(vec![]).unwrap();
    let handler: Handler = Arc::new(|_, _| panic!("somebody was let in"));
    let server = Server::start(&dir, handler).unwrap();
    for path in everything(&dir) {
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    // Where this runs as somebody who may, another user tries for real.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        for (tool, path) in [
            ("ls", dir.clone()),
            ("cat", dir.join("key")),
            ("cat", dir.join(SOCKET_NAME)),
        ] {
            let mut command = Command::new(tool);
            command
                .arg(path)
                .uid(65_534)
                .gid(65_534)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            assert!(!command.status().unwrap().success(), "{tool}");
        }
    }
    server.stop();
}

/// Bounded: what is written where. What somebody has planted in the place of a data directory is
/// neither used nor followed.
#[test]
fn what_is_planted_in_the_place_of_a_data_directory_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for (number, planted) in ["key", "log", "blocks", "staging", "store", "lock", "index"]
        .into_iter()
        .enumerate()
    {
        let dir = directory(root.path(), &number.to_string());
        fs::create_dir(&dir).unwrap();
        symlink(outside.join(planted), dir.join(planted)).unwrap();
        let refused = Site::init(&dir, Some("a"), ConflictRule::First);
        assert!(
            matches!(refused, Err(InitError::NotEmpty { .. })),
            "{planted}: {refused:?}"
        );
        assert!(
            dir.join(planted).symlink_metadata().unwrap().is_symlink(),
            "it is left as it was"
        );
    }
    assert_eq!(everything(&outside), [outside]);
}

/// Bounded: writers. A second process is told, and changes nothing, however often it tries.
#[test]
fn a_second_process_is_kept_out() {
    let root = tempfile::tempdir().unwrap();
    let dir = founded(root.path());
    let site = Site::open(&dir, Mode::Write).unwrap();
    let before = site.head();
    for _ in 0..20 {
        assert!(matches!(
            Site::open(&dir, Mode::Write),
            Err(OpenError::InUse { .. })
        ));
        assert!(matches!(
            Site::init(&dir, None, ConflictRule::First),
            Err(InitError::Exists { .. })
        ));
    }
    assert_eq!(Site::open(&dir, Mode::ReadOnly).unwrap().head(), before);
    drop(site);
    assert_eq!(Site::open(&dir, Mode::Write).unwrap().head(), before);
}
