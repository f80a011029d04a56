//! Embedding the migrations does not by itself make cargo look at the folder for new ones.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
