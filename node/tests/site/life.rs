//! Making, opening and closing a site.

use super::*;

#[test]
fn a_new_site_is_a_federation_of_one_and_opens_again() {
    let scratch = Scratch::new("new");
    let dir = scratch.at("deep/down/a");
    let made = Site::init(&dir, Some("Lab A"), ConflictRule::Quorum).unwrap();
    assert_eq!(
        fs::metadata(dir.join("key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let site = Site::open(&dir, Mode::Write).unwrap();
    let status = site.status().unwrap();
    assert_eq!(
        (status.site_id, status.federation_id),
        (made.site_id, made.federation_id)
    );
    assert_eq!(
        (status.name.as_str(), status.conflict_rule),
        ("Lab A", Some("quorum"))
    );
    assert_eq!(
        (status.entries, status.members.len(), status.domains.len()),
        (1, 1, 1)
    );
    assert_eq!(status.members[0].name, "Lab A");
    assert_eq!(status.state_root, site.store().view().state().root());
    assert!(status.disk.log_bytes > 0);
}

#[test]
fn a_site_without_a_name_is_called_something() {
    let scratch = Scratch::new("nameless");
    let made = Site::init(&scratch.at("a"), None, ConflictRule::First).unwrap();
    assert!(!made.name.is_empty());
    assert_eq!(
        Site::open(&scratch.at("a"), Mode::ReadOnly).unwrap().name(),
        made.name
    );
}

#[test]
fn init_refuses_what_is_there_and_leaves_it_as_it_was() {
    let scratch = Scratch::new("refuse");
    drop(scratch.site("a"));
    let before = listing(&scratch.0);
    let again = Site::init(&scratch.at("a"), None, ConflictRule::First);
    assert!(matches!(again, Err(InitError::Exists { .. })));
    scratch.file("b/mine.txt", b"mine");
    let other = Site::init(&scratch.at("b"), None, ConflictRule::First);
    assert!(matches!(other, Err(InitError::NotEmpty { .. })));
    let name = Site::init(&scratch.at("c"), Some("a \"name\""), ConflictRule::First);
    assert!(matches!(name, Err(InitError::Name { .. })));
    fs::remove_dir_all(scratch.at("b")).unwrap();
    assert_eq!(listing(&scratch.0), before);
}

#[test]
fn a_failed_init_leaves_no_trace() {
    let scratch = Scratch::new("trace");
    // A file where a directory is needed.
    scratch.file("file", b"");
    let before = listing(&scratch.0);
    let made = Site::init(&scratch.at("file/a"), None, ConflictRule::First);
    assert!(matches!(made, Err(InitError::Directory { .. })), "{made:?}");
    assert_eq!(listing(&scratch.0), before);
}

#[test]
fn a_directory_in_use_or_absent_or_newer_is_named() {
    let scratch = Scratch::new("use");
    let site = scratch.site("a");
    let second = Site::open(&scratch.at("a"), Mode::Write).err().unwrap();
    assert!(matches!(second, OpenError::InUse { .. }));
    assert!(
        second
            .to_string()
            .contains(&scratch.at("a").display().to_string())
    );
    // Readers are welcome beside it.
    assert_eq!(
        Site::open(&scratch.at("a"), Mode::ReadOnly).unwrap().head(),
        site.head()
    );
    drop(site);
    assert!(matches!(
        Site::open(&scratch.at("b"), Mode::Write),
        Err(OpenError::Absent { .. })
    ));
    assert!(!scratch.at("b").exists());

    let text = fs::read_to_string(scratch.at("a/site.toml")).unwrap();
    fs::write(
        scratch.at("a/site.toml"),
        text.replace("format = 1", "format = 2"),
    )
    .unwrap();
    let newer = Site::open(&scratch.at("a"), Mode::Write).err().unwrap();
    let source = std::error::Error::source(&newer).unwrap().to_string();
    assert!(
        source.contains("format version 2") && source.contains("up to 1"),
        "{source}"
    );
}

#[test]
fn a_site_opened_to_be_read_writes_nothing() {
    let scratch = Scratch::new("readonly");
    drop(scratch.site("a"));
    let before = listing(&scratch.0);
    let site = Site::open(&scratch.at("a"), Mode::ReadOnly).unwrap();
    let file = scratch.file("f", b"x");
    assert!(
        site.add(
            vec![Source::Path(file.clone())],
            &AddOptions::default(),
            &mut |_| {}
        )
        .is_err()
    );
    assert!(site.invite(vec![]).is_err());
    assert!(site.snapshot_create(None).is_err());
    assert!(
        site.set_addresses(&["/ip4/1.2.3.4/tcp/5".to_owned()])
            .is_err()
    );
    fs::remove_file(file).unwrap();
    assert_eq!(listing(&scratch.0), before);
}

#[test]
fn addresses_and_peers_are_remembered() {
    let scratch = Scratch::new("peers");
    let site = scratch.site("a");
    let peer = SiteKey::from_seed(&[7; 32]).site_id();
    site.remember_peer(peer, "/ip4/1.1.1.1/tcp/1").unwrap();
    site.remember_peer(peer, "/ip4/2.2.2.2/tcp/2").unwrap();
    site.remember_peer(peer, "/ip4/1.1.1.1/tcp/1").unwrap();
    let peers = site.peers().unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!(
        peers[0].addresses,
        ["/ip4/1.1.1.1/tcp/1", "/ip4/2.2.2.2/tcp/2"]
    );
    site.forget_peer(peer).unwrap();
    assert!(site.peers().unwrap().is_empty());
    site.set_addresses(&["/ip4/9.9.9.9/tcp/9".to_owned()])
        .unwrap();
    assert_eq!(site.addresses().unwrap(), ["/ip4/9.9.9.9/tcp/9"]);
}
