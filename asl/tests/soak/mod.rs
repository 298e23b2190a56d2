//! How many cases a property is tried with: the usual number, or as many as `UOR_CASES` says.

pub(crate) fn cases(usual: u32) -> u32 {
    match std::env::var("UOR_CASES") {
        Ok(number) => number.parse().expect("UOR_CASES is a number of cases"),
        Err(_) => usual,
    }
}
