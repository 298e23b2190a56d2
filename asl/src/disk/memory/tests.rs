use super::*;

/// A synced file with unsynced writes of several sectors over it, beside a file whose name is not
/// durable.
fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir_all("dir").unwrap();
    disk.sync_dir("").unwrap();
    let file = disk.open("dir/file", Mode::Write).unwrap();
    file.write_at(0, &[1; 1000]).unwrap();
    file.sync().unwrap();
    disk.sync_dir("dir").unwrap();
    file.write_at(100, &[2; 3000]).unwrap();
    file.write_at(200, &[3; 100]).unwrap();
    disk.open("dir/unsynced", Mode::Write)
        .unwrap()
        .write_at(0, b"x")
        .unwrap();
    disk
}

#[test]
fn a_seed_gives_the_same_crash_and_seeds_give_all_kinds() {
    let disk = written();
    let mut outcomes = BTreeSet::new();
    let mut named = BTreeSet::new();
    for seed in 0..200 {
        let survived = disk.crash(seed);
        assert_eq!(
            survived.contents("dir/file"),
            disk.crash(seed).contents("dir/file")
        );
        let bytes = survived.contents("dir/file").unwrap();
        assert_eq!(
            bytes[..100],
            [1; 100],
            "what is synced and not written again survives"
        );
        named.insert(survived.paths().len());
        outcomes.insert(bytes);
    }
    assert!(outcomes.contains(&vec![1; 1000]), "nothing kept");
    assert!(
        outcomes.contains(&disk.contents("dir/file").unwrap()),
        "everything kept"
    );
    assert!(outcomes.len() > 20, "{} outcomes", outcomes.len());
    assert_eq!(named, BTreeSet::from([1, 2]));
}

#[test]
fn a_failed_sync_loses_what_can_still_be_read() {
    let disk = MemoryDisk::new();
    let file = disk.open("file", Mode::Write).unwrap();
    disk.sync_dir("").unwrap();
    for byte in 0..20 {
        file.write_at(byte, b"x").unwrap();
    }
    disk.fail_at(disk.operations(), Fault::Io);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.contents("file").unwrap(), [b'x'; 20]);
    assert_ne!(disk.crash(0).contents("file").unwrap(), [b'x'; 20]);
}

#[test]
fn a_full_disk_fails_once_and_a_reader_writes_nothing() {
    let disk = written();
    disk.fail_at(disk.operations() + 1, Fault::NoSpace);
    let file = disk.open("dir/file", Mode::Write).unwrap();
    let error = file.write_at(0, &[9; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_at(0, &[9; 10]).unwrap();
    let reader = disk.open("dir/file", Mode::ReadOnly).unwrap();
    assert!(reader.write_at(0, b"no").is_err() && reader.sync().is_err());
    assert!(reader.read_at(3090, &mut [0; 11]).is_err());
    assert!(disk.open("elsewhere/file", Mode::Write).is_err());
}

#[test]
fn a_lock_is_held_once() {
    let disk = MemoryDisk::new();
    let lock = disk.try_lock("lock").unwrap();
    assert!(lock.is_some() && disk.try_lock("lock").unwrap().is_none());
    drop(lock);
    assert!(disk.try_lock("lock").unwrap().is_some());
}
