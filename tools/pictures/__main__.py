"""python -m tools.pictures: write docs/images/*.svg that are drawn, anew."""

from __future__ import annotations

from . import head

FOLDER = head.ROOT / "docs" / "images"


def main() -> None:
    path = FOLDER / "picoformer.svg"
    path.write_text(head.draw(), "utf-8")
    print(f"{path.relative_to(head.ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
