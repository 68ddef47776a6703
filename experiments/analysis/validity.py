"""Whether being valid has to do with what was varied. Pure.

If runs of one level are refused more often than those of others, what is left of that level may be
the lucky ones, and a comparison with them is one of luck.
"""

from collections.abc import Mapping, Sequence

from scipy.stats import fisher_exact

FALSE_ALARM = 0.05
"""Of all levels of all factors together (Bonferroni)."""


def dependent(attempts: Sequence[tuple[Mapping[str, object], bool]]) -> list[str]:
    """Levels of which the share of valid attempts differs from that of all others, in words.

    `attempts`: the levels of each run that was made, by factor, and whether it was valid; Fisher's
    exact test of each level against the rest.
    """
    levels = [
        (factor, level)
        for factor in (attempts[0][0] if attempts else ())
        for level in sorted({str(each[factor]) for each, _ in attempts})
    ]
    varied = [
        (factor, level)
        for factor, level in levels
        if len({name for known, name in levels if known == factor}) > 1
    ]
    found = []
    for factor, level in varied:
        here = [valid for each, valid in attempts if str(each[factor]) == level]
        rest = [valid for each, valid in attempts if str(each[factor]) != level]
        table = [[sum(each), len(each) - sum(each)] for each in (here, rest)]
        p = float(fisher_exact(table).pvalue)
        if p < FALSE_ALARM / len(varied):
            found.append(
                f"{factor} {level}: {len(here) - sum(here)} of {len(here)} runs invalid, of the "
                f"others {len(rest) - sum(rest)} of {len(rest)} (Fisher's exact test, p = {p:.2g})"
            )
    return found
