#!/bin/sh
# Rebuilds the checked-in guests. Needs a Rust compiler with the wasm32-unknown-unknown target (`RUSTC` names another).
set -eu
cd "$(dirname "$0")"
RUSTC=${RUSTC:-rustc}
if ! "$RUSTC" --target wasm32-unknown-unknown --print target-libdir >/dev/null 2>&1 ||
    [ ! -d "$("$RUSTC" --target wasm32-unknown-unknown --print target-libdir)" ]; then
    echo "build.sh: $RUSTC has no wasm32-unknown-unknown target: try \`rustup target add wasm32-unknown-unknown\`" >&2
    exit 1
fi
# The gate wants a declared maximum for the memory; 17 pages hold the window, the stack and the data.
"$RUSTC" --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=s -C panic=abort -C strip=symbols \
    -C link-arg=-zstack-size=16384 -C link-arg=--max-memory=1114112 wordcount.rs -o wordcount.wasm
