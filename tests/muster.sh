# Says in $muster which binary is checked: MUSTER, or the one that is built, or one that is built now. To be read by scripts, at the top folder.
target=${CARGO_TARGET_DIR:-$PWD/target}
muster=${MUSTER:-}
for found in "$target/release/muster" "$target/debug/muster"; do
    if [ -z "$muster" ] && [ -x "$found" ]; then muster=$found; fi
done
if [ -z "$muster" ]; then
    cargo build --quiet --package muster
    muster=$target/debug/muster
fi
