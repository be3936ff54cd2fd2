//! Money as this surface has it: US dollars, where everything else counts in whole micro-USD.

/// The most that a budget may be: our own limit.
const LIMIT_MICRO_USD: u64 = 1_000_000_000_000;
/// How many decimals a micro-USD has.
const DECIMALS: usize = 6;

/// So many micro-USD, which may be a fraction of one.
pub(super) fn of(micro_usd: f64) -> f64 {
    micro_usd / 1e6
}

/// So many whole micro-USD. The number that is nearest has six decimals at most when it is written.
#[expect(clippy::cast_precision_loss, reason = "up to 2^53 micro-USD, 9 milliards of dollars, it is exact")]
pub(super) fn of_whole(micro_usd: u64) -> f64 {
    of(micro_usd as f64)
}

/// How many micro-USD that is, exactly.
///
/// # Errors
/// What is wrong with it as a budget.
pub(super) fn to_micro(usd: f64) -> Result<u64, String> {
    if usd.is_nan() || usd <= 0.0 {
        return Err("must be more than 0".to_owned());
    }
    // The shortest decimal that is this number: without an exponent, as Rust writes it.
    let decimal = usd.to_string();
    let (whole, part) = decimal.split_once('.').unwrap_or((&decimal, ""));
    if part.len() > DECIMALS {
        return Err(format!("must have at most {DECIMALS} decimals"));
    }
    let micro_usd = format!("{whole}{part:0<DECIMALS$}").parse().ok().filter(|micro_usd| *micro_usd <= LIMIT_MICRO_USD);
    micro_usd.ok_or_else(|| format!("must be at most {}", of_whole(LIMIT_MICRO_USD)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_taken_exactly() {
        for (usd, micro_usd) in [
            (0.000_001, 1),
            (0.1, 100_000),
            (0.29, 290_000),
            (1.0, 1_000_000),
            (1.005, 1_005_000),
            (4.35, 4_350_000),
            (999_999.999_999, 999_999_999_999),
            (1e6, LIMIT_MICRO_USD),
        ] {
            assert_eq!(to_micro(usd), Ok(micro_usd), "{usd}");
            assert!((of_whole(micro_usd) - usd).abs() < f64::EPSILON * usd, "{usd}");
        }
        for micro_usd in (1..100_000).chain((1..2_000).map(|n| n * 499_999_999)) {
            assert_eq!(to_micro(of_whole(micro_usd)), Ok(micro_usd));
        }
    }

    #[test]
    fn what_is_no_budget_is_refused() {
        let (none, many, large) = ("must be more than 0", "must have at most 6 decimals", "must be at most 1000000");
        for (usd, why) in [
            (0.0, none),
            (-0.0, none),
            (-1.0, none),
            (f64::NAN, none),
            (f64::NEG_INFINITY, none),
            (f64::INFINITY, large),
            (0.000_000_1, many),
            (1.000_000_1, many),
            (0.1 + 0.2, many),
            (f64::MIN_POSITIVE, many),
            (1_000_000.000_001, large),
            (1e15, large),
            (f64::MAX, large),
        ] {
            assert_eq!(to_micro(usd), Err(why.to_owned()), "{usd}");
        }
    }
}
