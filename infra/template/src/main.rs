//! Writes template.yaml anew: `cargo run -p template` in the project's folder.

fn main() -> std::io::Result<()> {
    std::fs::write("template.yaml", template::render().map_err(std::io::Error::other)?)
}
