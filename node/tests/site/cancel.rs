//! What is cancelled commits nothing from then on, whatever it was doing.

use std::io;

use uor_node::cancel::Cancel;
use uor_node::site::{EraseError, GcError, ImportError, ImportOptions};

use super::*;

/// A site with a file, and what is done through a handle of it that is cancelled before it begins.
fn cancelled(name: &str) -> (Scratch, Site, Site) {
    let scratch = Scratch::new(name);
    let site = scratch.site("a");
    scratch.file("tree/one", b"one");
    let sources = vec![Source::Path(scratch.at("tree"))];
    site.add(
        sources,
        &AddOptions {
            reference: Some("tree"),
            ..AddOptions::default()
        },
        &mut |_| {},
    )
    .unwrap();
    let cancel = Cancel::default();
    cancel.cancel();
    let handle = site.cancellable(cancel);
    (scratch, site, handle)
}

/// Input that cancels once it has been read for a while.
struct Cancelling(Cancel, usize);

impl io::Read for Cancelling {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1 == 3 {
            self.0.cancel();
        }
        bytes.fill(7);
        Ok(bytes.len())
    }
}

#[test]
fn an_endless_stream_that_is_cancelled_is_not_added() {
    let (_scratch, site, _) = cancelled("cancel-stream");
    let before = site.head();
    let cancel = Cancel::default();
    let mut endless = Cancelling(cancel.clone(), 0);
    let sources = vec![Source::Reader {
        label: "-".to_owned(),
        reader: &mut endless,
    }];
    let options = AddOptions {
        reference: Some("endless"),
        ..AddOptions::default()
    };
    let added = site.cancellable(cancel).add(sources, &options, &mut |_| {});
    assert!(matches!(added, Err(AddError::Cancelled(_))), "{added:?}");
    assert_eq!(site.head(), before);
}

#[test]
fn nothing_is_committed_through_a_handle_that_is_cancelled() {
    let (scratch, site, handle) = cancelled("cancel-all");
    scratch.file("other", b"other");
    let before = site.head();
    let tree = site.resolve("tree", &before).unwrap();
    let sources = || vec![Source::Path(scratch.at("other"))];
    assert!(matches!(
        handle.add(sources(), &AddOptions::default(), &mut |_| {}),
        Err(AddError::Cancelled(_))
    ));
    assert!(handle.ref_set("name", &tree).is_err());
    assert!(handle.rm(&tree, &mut |_| {}).is_err());
    assert!(handle.snapshot_create(Some("label")).is_err());
    assert!(matches!(
        handle.gc(false, &mut |_, _| {}),
        Err(GcError::Cancelled(_))
    ));
    assert!(matches!(
        handle.erase("tree/one", &before),
        Err(EraseError::Cancelled(_))
    ));
    let options = ImportOptions::default();
    let imported = handle.import_zfs_mounted(&scratch.at("tree"), &options, &mut |_| {});
    assert!(matches!(imported, Err(ImportError::Cancelled(_))));
    assert!(matches!(
        handle.import_zfs(&mut io::repeat(0), &options, &mut |_| {}),
        Err(ImportError::Cancelled(_))
    ));
    let out = scratch.at("out");
    assert!(matches!(
        handle.materialise(&tree, &before, &out, &mut |_, _| {}),
        Err(ReadError::Cancelled(_))
    ));
    assert!(!out.exists());
    assert_eq!(site.head(), before);
    // The other handle is none the worse, and what was being done is over.
    site.gc(false, &mut |_, _| {}).unwrap();
    site.add(sources(), &AddOptions::default(), &mut |_| {})
        .unwrap();
}

#[test]
fn a_run_ends_between_two_nodes_and_leaves_nothing() {
    let (scratch, site, _) = cancelled("cancel-run");
    let file = scratch.file(
        "p.toml",
        b"inputs = [\"text\"]\n\
          [[node]]\nname = \"first\"\nop = \"pel.bytes.concat/1\"\ninputs = [\"text\"]\n\
          [[node]]\nname = \"second\"\nop = \"pel.bytes.hash/1\"\ninputs = [\"first\"]\n\
          [outputs]\nhash = \"second\"\n",
    );
    site.program_add(&file, Some("p")).unwrap();
    let before = site.head();
    let inputs = [("text".to_owned(), Binding::Text("tree/one".to_owned()))];
    let cancel = Cancel::default();
    let mut nodes = 0;
    let ran =
        site.cancellable(cancel.clone())
            .run("p", &inputs, &RunOptions::default(), &mut |_| {
                nodes += 1;
                cancel.cancel();
            });
    assert!(matches!(ran, Err(RunError::Cancelled(_))), "{ran:?}");
    assert_eq!((nodes, site.head()), (1, before));
    site.run("p", &inputs, &RunOptions::default(), &mut |_| {})
        .unwrap();
}

#[test]
fn garbage_that_was_looked_for_stays_when_it_is_cancelled() {
    let (_scratch, site, _) = cancelled("cancel-gc");
    let key = site
        .resolve("tree/one", &site.head())
        .unwrap()
        .key()
        .to_string();
    site.rm(&site.resolve(&key, &site.head()).unwrap(), &mut |_| {})
        .unwrap();
    let cancel = Cancel::default();
    let gathered = site.cancellable(cancel.clone()).gc(false, &mut |at, of| {
        // The last word before anything is freed.
        if at == of {
            cancel.cancel();
        }
    });
    assert!(gathered.is_err());
    assert_eq!(site.gc(false, &mut |_, _| {}).unwrap().payloads, 1);
}

#[test]
fn a_file_that_is_cancelled_on_its_way_out_leaves_nothing() {
    let (scratch, site, _) = cancelled("cancel-get");
    scratch.file("long", &vec![7; 32 << 20]);
    let options = AddOptions {
        reference: Some("long"),
        ..AddOptions::default()
    };
    site.add(
        vec![Source::Path(scratch.at("long"))],
        &options,
        &mut |_| {},
    )
    .unwrap();
    let (cancel, at) = (Cancel::default(), site.head());
    let target = site.resolve("long", &at).unwrap();
    let out = scratch.at("dir/out");
    fs::create_dir_all(scratch.at("dir")).unwrap();
    let written = site
        .cancellable(cancel.clone())
        .materialise(&target, &at, &out, &mut |_, _| cancel.cancel());
    assert!(
        matches!(written, Err(ReadError::Cancelled(_))),
        "{written:?}"
    );
    fs::remove_dir(scratch.at("dir")).unwrap();
}
