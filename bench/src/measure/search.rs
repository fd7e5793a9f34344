//! The highest rate that still passes, by binary search.
//!
//! Close to what CSIT calls NDR and PDR (RFC 2544 throughput with a loss ratio), with two concessions to a machine whose
//! scheduler hiccups: a rate fails only when it fails twice, and trials are short. Rates are halved on a logarithmic
//! scale, so that the answer is equally precise, [`PRECISION`], at every rate.

/// The search ends when the answer is known to this ratio.
pub(crate) const PRECISION: f64 = 1.05;

/// It ends after this many rates in any case; 2^8 times [`PRECISION`]'s logarithm is more than any machine spans.
const MOST_RATES: usize = 8;

/// The highest rate between `low` and `high` at which `loss_at` is at most `allowed` (a fraction).
///
/// `high` is taken to fail and is not tried. `None` when not even `low` passes.
///
/// # Errors
/// What `loss_at` fails with.
pub(crate) fn highest_passing<E>(
    low: f64,
    high: f64,
    allowed: f64,
    mut loss_at: impl FnMut(f64) -> Result<f64, E>,
) -> Result<Option<f64>, E> {
    let mut passes = |rate: f64| Ok(loss_at(rate)? <= allowed || loss_at(rate)? <= allowed);
    let (mut good, mut bad) = (None, high);
    for _ in 0..MOST_RATES {
        let floor = good.unwrap_or(low);
        if bad / floor <= PRECISION {
            break;
        }
        let rate = (floor * bad).sqrt();
        if passes(rate)? {
            good = Some(rate);
        } else {
            bad = rate;
        }
    }
    if good.is_none() && passes(low)? {
        good = Some(low);
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Loses everything above `limit` packets per second.
    fn bottleneck(limit: f64) -> impl FnMut(f64) -> Result<f64, Infallible> {
        move |rate| Ok(if rate <= limit { 0.0 } else { 1.0 - limit / rate })
    }

    #[test]
    fn finds_the_bottleneck_to_its_precision() {
        for limit in [21e3, 60e3, 99e3, 180e3, 310e3] {
            let found = highest_passing(20e3, 320e3, 0.0, bottleneck(limit)).unwrap().unwrap();
            assert!(found <= limit && limit / found <= PRECISION * 1.001, "{limit}: {found}");
        }
    }

    #[test]
    fn an_allowance_raises_the_answer() {
        let strict = highest_passing(20e3, 320e3, 0.0, bottleneck(100e3)).unwrap().unwrap();
        let lax = highest_passing(20e3, 320e3, 0.25, bottleneck(100e3)).unwrap().unwrap();
        assert!(lax > strict * 1.2, "{lax} {strict}");
    }

    #[test]
    fn says_so_when_nothing_passes() {
        assert_eq!(highest_passing(20e3, 320e3, 0.0, bottleneck(1e3)).unwrap(), None);
    }

    #[test]
    fn a_single_hiccup_is_forgiven() {
        let mut trials = 0;
        let hiccup = |rate| {
            trials += 1;
            bottleneck(100e3)(rate).map(|loss| if trials == 1 { 0.5 } else { loss })
        };
        let found = highest_passing(20e3, 320e3, 0.0, hiccup).unwrap().unwrap();
        assert!(found > 95e3, "{found}");
    }

    #[test]
    fn an_error_ends_it() {
        assert_eq!(highest_passing(1.0, 2.0, 0.0, |_| Err("gone")), Err("gone"));
    }
}
