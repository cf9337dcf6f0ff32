"""Numbers as people write them. Pure."""


def plain(value: float) -> str:
    """Without exponent below a million, thousands apart."""
    return f"{value:,.6g}".replace(",", " ") if abs(value) < 1e6 else f"{value:.3g}"
