//! The executable: everything is in the library's `cli` module.

use std::process::ExitCode;

fn main() -> ExitCode {
    weft_bench::cli::main()
}
