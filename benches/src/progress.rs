//! A progress bar on standard error, shown only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `steps`; `title` says what runs.
pub(crate) fn bar(title: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    // The template is ours and constant; a bar in the default style is no reason to stop.
    if let Ok(style) = ProgressStyle::with_template(
        "{prefix:>12} [{bar:32}] {pos}/{len}  {elapsed} (left {eta})  {wide_msg}",
    ) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title.to_owned());
    bar
}
