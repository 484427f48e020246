"""Profiles of sites in words, for the log, the command line and the pages."""

from __future__ import annotations

from collections.abc import Sequence

from skin_pipeline.contracts import Interval, SiteProfile

HEAD = ("SITE", "NO", "THRESHOLD", "SENSITIVITY", "SPECIFICITY", "BEFORE", "IMAGES", "MADE")
SECONDS = len("2026-11-24T12:00:00")


def described(profile: SiteProfile) -> list[str]:
    """Returns a profile in sentences."""
    before, after = profile.before, profile.after
    return [
        f"Site {profile.site}, profile {profile.number}, for version {profile.version} of "
        f"{profile.model}: threshold {profile.threshold:.3f} on the recalibrated probability "
        f"(intercept {profile.intercept:.3f}, slope {profile.slope:.3f}), to find "
        f"{profile.target_sensitivity:.1%} of the malignant images ({profile.threshold_by}).",
        f"Made from {profile.malignant} malignant and {profile.benign} benign images "
        f"({profile.malignant_patients} and {profile.benign_patients} patients, or images where "
        f"patients are not known); {profile.unreadable} unreadable; {profile.known} left out, "
        "which the version knows.",
        "On new images of the site, with 95 % intervals: "
        f"sensitivity {shown(after.sensitivity)} (the version's own threshold: "
        f"{shown(before.sensitivity)}), specificity {shown(after.specificity)} "
        f"({shown(before.specificity)}), Brier score {after.brier} ({before.brier}), calibration "
        f"error {after.calibration_error} ({before.calibration_error}), AUC {profile.auc}.",
        _more(profile),
    ]


def _more(profile: SiteProfile) -> str:
    needs = {
        "malignant": (profile.malignant_patients, profile.needed_malignant),
        "benign": (profile.benign_patients, profile.needed_benign),
    }
    lacking = [f"{least:,} {name}" for name, (there, least) in needs.items() if there < least]
    width = f"±{profile.width:g}"
    if not lacking:
        return f"Sensitivity and specificity are known to about {width}."
    return f"To know sensitivity and specificity to {width} takes about {' and '.join(lacking)}."


def shown(interval: Interval) -> str:
    """Returns an interval in whole percent: `90 % [79 %, 97 %]`."""
    return f"{interval.value:.0%} [{interval.low:.0%}, {interval.high:.0%}]".replace("%", " %")


def table(profiles: Sequence[SiteProfile]) -> list[tuple[str, ...]]:
    """Returns a row for each profile, below a head."""
    rows = [
        (
            profile.site,
            str(profile.number),
            f"{profile.threshold:.3f}",
            shown(profile.after.sensitivity),
            shown(profile.after.specificity),
            f"{profile.before.sensitivity.value:.2f} / {profile.before.specificity.value:.2f}",
            f"{profile.malignant} + {profile.benign}",
            profile.made_at[:SECONDS],
        )
        for profile in profiles
    ]
    return [HEAD, *rows]
