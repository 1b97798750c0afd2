"""The sample of docs/own-dataset.md: plays of music, with flaws that real logs have."""

from __future__ import annotations

from pathlib import Path

T = 1_704_067_200  # 2024-01-01, UTC
TRACKS = (
    ("Blue Train", "John Coltrane", "jazz"),
    ("So What", "Miles Davis", "jazz"),
    ("Naima", "John Coltrane", "jazz"),
    ("Footprints", "Wayne Shorter", "jazz"),
    ("Take Five", "Dave Brubeck", "jazz"),
    ("Teardrop", "Massive Attack", "trip hop"),
    ("Angel", "Massive Attack", "trip hop"),
    ("Roads", "Portishead", "trip hop"),
    ("Glory Box", "Portishead", "trip hop"),
    ("Aftermath", "Tricky", "trip hop"),
    ("Army of Me", "Bjork", "electronic"),
    ("Hyperballad", "Bjork", "electronic"),
    ("Windowlicker", "Aphex Twin", "electronic"),
    ("Xtal", "Aphex Twin", "ambient"),
    ("Roygbiv", "Boards of Canada", "ambient"),
    ("Avril 14th", "Aphex Twin", "ambient"),
)


def write_plays(folder: Path) -> tuple[Path, Path]:
    """plays.csv and tracks.csv in ``folder``.

    Eighty listeners play four to eight tracks on each of some evenings and return to some of them.
    One row in forty is there twice, and the last two of eighteen tracks have no words.
    """
    rows = []
    for listener in range(80):
        for evening in range(5 + listener % 4):
            now = T + 86_400 * evening * (1 + listener % 3) + 64_800 + 397 * listener
            for place in range(4 + (listener + evening) % 5):
                track = (listener * 7 + evening * 3 + place * 5 + place * place % 3) % 18
                rows.append(f"{1000 + listener},{track + 1},{now}")
                now += 170 + (listener * 31 + place * 47) % 120
                if len(rows) % 40 == 0:
                    rows.append(rows[-1])
    plays, tracks = folder / "plays.csv", folder / "tracks.csv"
    plays.write_text("\n".join(["listener,track,played_at", *rows]) + "\n")
    words = [f"{number},{','.join(track)}" for number, track in enumerate(TRACKS, 1)]
    tracks.write_text(
        "\n".join(["track,title,artist,genre", *words, "99,Idioteque,Radiohead,rock"])
    )
    return plays, tracks
