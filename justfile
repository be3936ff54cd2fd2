# Shortcuts; each is one command that can be typed as well.

# The main job, on this machine
demo *args:
    cargo run --release -- demo {{args}}

# Every test that needs nothing but Rust
test:
    cargo test --workspace

# What a change must pass before it lands
ci:
    .ci/run

# Format and lint
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Write template.yaml from the route table
template:
    cargo run -p template

# Deploy to the emulator and run the main job there
deploy-test:
    infra/deploy-test.sh

# The core under a deterministic simulation: 100,000 seeds, each guard switched off, R3 to R6 and R8
simulate *args:
    tests/simulate.sh {{args}}

# Print the figures of the README
bench:
    tests/bench.sh

# What does a correct answer cost? The worked example of evaluations
quiz *args:
    infra/local/examples/quiz.sh {{args}}
