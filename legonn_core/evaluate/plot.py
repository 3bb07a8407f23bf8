"""A reliability plot as SVG: the share of right words over how sure the model was of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from legonn_core.search.confidence import Bin

_SIZE, _EDGE = 360, 48
_COLOURS = ("#1b6ca8", "#c1432e", "#3a7d44", "#8a5aa8", "#b07d2b", "#4a4a4a")


def reliability_svg(curves: Mapping[str, Sequence[Bin]], *, title: str) -> str:
    """One line a curve, its points as large as they hold words; the diagonal is what should be."""
    side = _SIZE - 2 * _EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SIZE + 220}" height="{_SIZE}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{_SIZE + 220}" height="{_SIZE}" fill="white"/>',
        f'<text x="{_EDGE}" y="24" font-size="14">{title}</text>',
        f'<rect x="{_EDGE}" y="{_EDGE}" width="{side}" height="{side}" fill="none" stroke="#999"/>',
        f'<path d="M{_EDGE} {_SIZE - _EDGE}L{_SIZE - _EDGE} {_EDGE}" stroke="#bbb"'
        ' stroke-dasharray="4"/>',
        f'<text x="{_SIZE // 2}" y="{_SIZE - 14}" text-anchor="middle">confidence</text>',
        f'<text x="16" y="{_SIZE // 2}" text-anchor="middle"'
        f' transform="rotate(-90 16 {_SIZE // 2})">words that are right</text>',
    ]
    for number, (name, bins) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        total = sum(one.count for one in bins)
        points = [
            (_EDGE + side * one.confidence, _SIZE - _EDGE - side * one.accuracy) for one in bins
        ]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 12 * one.count / total:.1f}"'
            f' fill="{colour}" fill-opacity="0.5"/>'
            for one, (x, y) in zip(bins, points, strict=True)
        ]
        row = _EDGE + 12 + 20 * number
        parts.append(f'<text x="{_SIZE}" y="{row}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])
