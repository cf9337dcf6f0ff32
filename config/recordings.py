"""What a configuration says of permanent recordings. Run on raw data."""

from config.problem import Findings, did_you_mean, shown
from config.tables import part, tables, text


def check_recording(findings: Findings) -> None:
    """They are of detectors that exist, and there is room for one file of each and one more."""
    settings = part(findings.data, "recording")
    named = settings.get("detectors")
    known = {name for _, each in tables(findings.data, "detector") if (name := text(each, "id"))}
    wanted = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    for index, name in enumerate(wanted):
        if name not in known:
            where = ("recording", "detectors", index)
            hint = did_you_mean(name, known) or "name the id of a [[detector]]"
            findings.error(where, f"no detector has the id {shown(name)}", hint)
    keep, size = settings.get("keep_mb", 1000), settings.get("file_mb", 20)
    if isinstance(keep, int) and isinstance(size, int) and wanted:
        least = size * (len(set(wanted)) + 1)
        if keep < least:
            findings.error(
                ("recording", "keep_mb" if "keep_mb" in settings else "file_mb"),
                f"{keep} MB hold less than a file of {size} MB of each detector and one more",
                f"at least {least} MB, or smaller files",
            )
