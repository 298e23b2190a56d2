//! Contents come in any order, over each other, with holes, and are what was told last.

use proptest::prelude::*;
use uor_index_format::tree::EntryKind;

use crate::generate::{Step, told};
use crate::support::{Scratch, bytes_of, import, tree_of};

const SECTOR: u64 = 512;

/// Lengths around what is stored as one block, and what is not.
fn file_len() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..40_000_u64,
        (4 << 20) - 600..(4 << 20) + 600_u64,
        (5 << 20)..(6_u64 << 20)
    ]
}

/// Steps in rising order for the most part, as senders have them.
fn steps() -> impl Strategy<Value = Vec<(u64, u64, bool, u8)>> {
    let step = (
        0..2_u64,
        0..100_u64,
        prop::bool::weighted(0.85),
        any::<u8>(),
    );
    prop::collection::vec(step, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn files_are_what_was_told_last(lens in [file_len(), file_len()], steps in steps(), again in any::<bool>(), cut in 0..30_usize) {
        let mut models = lens.map(|len| vec![0_u8; usize::try_from(len).unwrap()]);
        let mut told_steps = vec![(0, Step::Declare(lens[0])), (1, Step::Declare(lens[1]))];
        let declared = told_steps.clone();
        let (mut ends, mut whole) = ([0_u64; 2], None);
        for (index, (file, place, is_write, byte)) in steps.iter().enumerate() {
            let at = usize::try_from(*file).unwrap();
            let sectors = lens[at] / SECTOR + 1;
            // Half of the steps go on where the last ended.
            let offset = if byte % 2 == 0 { ends[at] } else { place * sectors / 100 * SECTOR };
            let len = (1 + u64::from(*byte) % 64) * SECTOR;
            ends[at] = offset + len;
            let from = usize::try_from(offset).unwrap().min(models[at].len());
            let to = usize::try_from(offset + len).unwrap().min(models[at].len());
            if *is_write {
                // Bytes behind the end of a file are zeros, or else do not count.
                let mut bytes = vec![byte % 5; usize::try_from(len).unwrap()];
                models[at][from..to].copy_from_slice(&bytes[..to - from]);
                if byte % 3 > 0 {
                    bytes[to - from..].fill(0);
                }
                told_steps.push((*file, Step::Write(offset, bytes)));
            } else {
                models[at][from..to].fill(0);
                told_steps.push((*file, Step::Free(offset, len)));
            }
            if index == cut {
                // What follows comes as an increment.
                whole = Some(std::mem::replace(&mut told_steps, declared.clone()));
            } else if again && index == 10 {
                // Declared again as it was, an object keeps its contents.
                told_steps.push((*file, Step::Declare(lens[at])));
            }
        }
        let scratch = Scratch::new("order");
        let site = scratch.site("a");
        if let Some(whole) = &whole {
            import(&site, &told(whole, false), None).unwrap();
        }
        let last = told(&told_steps, whole.is_some());
        let imported = import(&site, &last, None).unwrap().imported.remove(0);
        let tree = tree_of(&site, imported.tree);
        for (entry, model) in tree.entries().iter().zip(models) {
            let EntryKind::File { key, len } = entry.kind else { panic!("there are only files") };
            prop_assert_eq!(len, model.len() as u64);
            prop_assert!(bytes_of(&site, key, u64::MAX) == model);
        }
    }
}
