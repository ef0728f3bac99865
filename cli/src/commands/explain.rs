//! `berth explain`: the page of a mistake's code.

use super::Ended;
use crate::exit::Exit;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The code, such as E0203; every code with its title if absent
    code: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Ended {
    let page = |code: &str| {
        berth_lang::explain(code).or_else(|| berth_engine::plan::explain::explain(code))
    };
    let codes = berth_lang::CODES.iter().chain(berth_engine::plan::explain::CODES);
    match &args.code {
        None => {
            for code in codes {
                let title = page(code).and_then(|page| page.lines().next()).unwrap_or(code);
                say!("{}", title.trim_start_matches("# "));
            }
            Ok(Exit::Done)
        }
        Some(code) => match page(&code.to_ascii_uppercase()) {
            Some(page) => {
                put!("{page}");
                Ok(Exit::Done)
            }
            None => Err(format!(
                "there is no code `{}`; `berth explain` lists them",
                code.escape_debug()
            )
            .into()),
        },
    }
}
